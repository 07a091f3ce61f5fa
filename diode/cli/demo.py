"""diode demo: both ends on this machine, over a damaged one-way serial line.

Nothing is simulated but the wire: `diode send` and `diode recv` run as two processes on two
pseudo-terminals, and a coupling between them paces the bytes at the baud rate, drops, flips and
slips some, falls silent now and then, and carries nothing back.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.columns import Columns
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import diode
from diode.carrier.coupling import Coupling
from diode.carrier.impairment import Impairment
from diode.cli import options
from diode.cli.progress import Interval
from diode.cli.report import Report
from diode.errors import DiodeError
from diode.objects import escape
from diode.wording import seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator

DAMAGE = "drop=2%,flip=1e-5,slip=1e-4,burst=300ms/8s,seed=3"
PASSES = 3
"""More than should be needed: the demonstration stops when everything has arrived."""
WIDTH, HEIGHT = 256, 260
PATIENCE = 10.0


class DemoFailed(DiodeError):
    """What arrived is not what was sent."""


@dataclass(slots=True)
class End:
    """One of the two processes and the last word of each kind it said."""

    process: subprocess.Popen[str]
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    delivered: dict[str, dict[str, Any]] = field(default_factory=dict)

    def listen(self) -> None:
        """Take in the process's JSON events until it ends."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(text)
                self.said[event["event"]] = event
                if event["event"] == "object_delivered":
                    self.delivered[event["path"]] = event

    def last(self, event: str, key: str) -> Any:
        return self.said.get(event, {}).get(key, 0)


@click.command(short_help="both ends on this machine, shown live")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--baud", type=click.IntRange(1200, 12_000_000), default=115_200, show_default=True)
@click.option("--impair", default=DAMAGE, show_default=True, metavar="SPEC", help="Damage.")
@options.line
@options.manners
def command(
    files: tuple[str, ...],
    baud: int,
    impair: str,
    line: str | None,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Send the README and a picture, or FILES, over a damaged one-way line and watch.

    \b
      diode demo
      diode demo report.pdf --baud 2000000 --impair drop=10%,burst=1s/20s
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    impairment = Impairment.parse(impair)
    with tempfile.TemporaryDirectory(prefix="diode-demo-") as folder:
        sent = [Path(f) for f in files] or _own_files(Path(folder))
        report.say(
            f"sending {', '.join(escape(p.name) for p in sent)} one way "
            f"at {baud} baud through {impair}"
        )
        started = time.monotonic()
        with (
            Coupling(baud, impairment) as coupling,
            _ends(folder, sent, coupling, baud, line or "cobs") as ends,
        ):
            _watch(report, ends, coupling, len(sent), started)
        return _conclude(report, sent, Path(folder) / "inbox", ends, coupling, started)


def _own_files(folder: Path) -> list[Path]:
    """This project's README, and a picture of 200 kB that nobody has drawn before."""
    readme = folder / "README.md"
    # An installed wheel has no README beside it, but carries its text.
    text = importlib.metadata.metadata("diode-fec").json.get("description") or diode.__doc__
    readme.write_text(str(text), encoding="utf-8")
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    phase = np.hypot(x - WIDTH / 2, y - HEIGHT / 2)
    colours = [128 + 127 * np.sin(phase / 9 + shift + x / 40) for shift in (0, 2.1, 4.2)]
    noise = np.random.default_rng().integers(-8, 9, (HEIGHT, WIDTH, 3))
    pixels = np.clip(np.stack(colours, axis=-1) + noise, 0, 255).astype(np.uint8)
    picture = folder / "rings.ppm"
    picture.write_bytes(b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + pixels.tobytes())
    return [readme, picture]


@contextlib.contextmanager
def _ends(
    folder: str, sent: list[Path], coupling: Coupling, baud: int, line: str
) -> Iterator[tuple[End, End]]:
    """Start the receiver, then the sender; stop both at the end."""
    me = [sys.executable, "-m", "diode"]
    environment = {**os.environ, "XDG_STATE_HOME": str(Path(folder) / "state")}
    inbox = str(Path(folder) / "inbox")
    receiving = [*me, "recv", inbox, "--json", "--count", str(len(sent)), "--idle", str(PATIENCE)]
    receiving += ["--from", f"serial:{coupling.rx_path}?baud={baud}"]
    sending = [*me, "send", *map(str, sent), "--json", "--passes", str(PASSES), "--line", line]
    sending += ["--to", f"serial:{coupling.tx_path}?baud={baud}"]
    ends = []
    try:
        for arguments in (receiving, sending):
            process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            ends.append(End(process))
            threading.Thread(target=ends[-1].listen, daemon=True).start()
            if len(ends) == 1:
                _wait_until_listening(ends[0])
        yield ends[1], ends[0]
    finally:
        for end in reversed(ends):
            end.process.terminate()
            end.process.wait()
            assert end.process.stdout is not None
            end.process.stdout.close()


def _wait_until_listening(receiver: End) -> None:
    """The line does not wait for a receiver, so the demonstration does."""
    until = time.monotonic() + PATIENCE
    while (
        "listening" not in receiver.said
        and receiver.process.poll() is None
        and time.monotonic() < until
    ):
        time.sleep(0.02)


def _watch(
    report: Report, ends: tuple[End, End], coupling: Coupling, files: int, started: float
) -> None:
    """Show both sides until the receiver is done."""
    _, receiver = ends
    interval = Interval(1.0)
    live = Live(console=report.live.console, transient=True) if report.live else None
    with live or contextlib.nullcontext():
        while receiver.process.poll() is None:
            if live is not None:
                live.update(_screen(ends, coupling, files, started))
            elif interval.due():
                report.event("demo", **_numbers(ends, coupling))
            time.sleep(0.1)
    receiver.process.wait()
    time.sleep(0.1)  # let the listening thread take in the last events


def _numbers(ends: tuple[End, End], coupling: Coupling) -> dict[str, Any]:
    sender, receiver = ends
    return {
        "sent_frames": sender.last("progress", "frames"),
        "heard_frames": receiver.last("progress", "frames"),
        "lost_frames": receiver.last("progress", "lost"),
        "delivered": len(receiver.delivered),
        "bytes_in": coupling.bytes_in,
        "bytes_out": coupling.bytes_out,
    }


def _screen(ends: tuple[End, End], coupling: Coupling, files: int, started: float) -> Columns:
    sender, receiver = ends
    left = Table.grid(padding=(0, 1))
    number, total = (
        sender.last("progress", "number_of_pass"),
        sender.last("progress", "total_frames"),
    )
    frames = sender.last("progress", "frames")
    once = total // PASSES if total else 0
    left.add_row(
        f"pass {number or 1}", ProgressBar(once or 1, frames - max(0, number - 1) * once, 24)
    )
    left.add_row("frames", f"{frames:,}")
    left.add_row("line", f"{size(coupling.bytes_in)}, {seconds(time.monotonic() - started)}")
    left.add_row("", "")
    right = Table.grid(padding=(0, 1))
    needed, held = receiver.last("progress", "total_symbols"), receiver.last("progress", "symbols")
    right.add_row("symbols", ProgressBar(needed or 1, held, 24))
    right.add_row("frames", f"{receiver.last('progress', 'frames'):,} heard")
    lost, rejected = receiver.last("progress", "lost"), receiver.last("progress", "rejected")
    right.add_row("", Text(f"{lost:,} lost ({rejected:,} damaged)", "red" if lost else ""))
    right.add_row("files", Text(f"{len(receiver.delivered)} of {files} delivered", "green"))
    arrow = Text("\n\n ──▶ \n one\n way", style="bold")
    return Columns([Panel(left, title="diode send"), arrow, Panel(right, title="diode recv")])


def _conclude(
    report: Report,
    sent: list[Path],
    inbox: Path,
    ends: tuple[End, End],
    coupling: Coupling,
    started: float,
) -> int:
    """Both digests side by side, and what happened on the way."""
    _, receiver = ends
    good = True
    for path in sent:
        there = inbox / path.name
        ours = hashlib.sha256(path.read_bytes()).hexdigest()
        theirs = hashlib.sha256(there.read_bytes()).hexdigest() if there.exists() else "(not there)"
        good &= ours == theirs
        told = receiver.delivered.get(path.name, {})
        report.event("demo_result", name=escape(path.name), sent=ours, received=theirs)
        report.say(f"{escape(path.name)}, {size(path.stat().st_size)}", "bold")
        report.say(f"  sent      {ours}")
        report.say(f"  received  {theirs}", "green" if ours == theirs else "red")
        report.say(
            f"  {told.get('blocks_decoded', 0)} of {told.get('blocks', 0)} blocks "
            "rebuilt from parity"
        )
    tally = coupling.tally
    report.say(
        f"on the line: {size(coupling.bytes_in)} in {seconds(time.monotonic() - started)}; "
        f"{tally.pieces_dropped} pieces of 256 bytes dropped, {tally.bits_flipped} bits flipped, "
        f"{tally.bytes_slipped} bytes slipped, "
        f"{tally.outages} outages took {size(tally.bytes_burst)}"
    )
    frames, lost = receiver.last("link", "frames"), receiver.last("link", "lost")
    report.say(
        f"at the receiver: {frames:,} frames good, {lost:,} lost or damaged "
        f"({lost / max(1, lost + frames):.1%}), "
        f"{len(receiver.delivered)} of {len(sent)} files delivered"
    )
    if not good:
        raise DemoFailed(
            "what arrived is not what was sent", hint="was --impair too much to survive?"
        )
    return 0
