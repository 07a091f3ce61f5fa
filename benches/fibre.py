"""Files across a wire that loses frames: diode beside what else there is for it, in one run.

For each path (one_way_wire.py: a loopback, a wire without and with losses), each size and each
tool (fibre_tools.py has their settings and the reasons) the fastest rate is looked for at which the
file arrives, in every one of `--runs` runs, whole and with the right SHA-256. A tool that is asked
for more than it can do loses what its receiver does not take in time, or gets no faster; so the
rate goes up from 1 Gbit/s until one of the two happens, or down until the file arrives. A larger
file begins at the rate of the smaller one, and what did not arrive small is not tried large.

With `--redundancy 10` all get that much instead, or, where a tool has only whole copies, the least
that it has: what the coding costs where nothing is lost.

Time runs from the start of the sending process, with the receiver listening, to the end of the
receiving one, the digest taken included. CPU time is that of all processes of a side, as
the kernel counts it for whoever waits for them (wait4); what the kernel does for the wire
itself falls on either. Bytes on the wire are those of the sender's interface: whole frames, those
that are lost later included. All files are in memory. Both ends run as root: diode and the program
around flute-alc take receive buffers as large as they like, the others what
net.core.rmem_max allows, so set it as the README says for diode's receiver.

    python benches/fibre.py --peers /tmp/peers --sizes 100M,1G --only diode,udpcast
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import fibre_tools
import numpy as np
import one_way_wire
from fibre_tools import Command, Job, Tool
from side_by_side import Cost, heading, median

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from one_way_wire import Path as Wire

RATES = [r * 1e6 for r in (50, 100, 200, 300, 500, 700, 1000, 1400, 2000, 2800, 4000, 5600, 8000)]
FIRST = RATES.index(1e9)
FASTER = 1.03
"""A rate that brings less than this over the one before brings nothing."""
IDLE = 2.0
"""Seconds without CPU time after which a receiver is taken to wait for what will not come."""
SLOWEST = 2e6
"""Bytes of file per second below which a run is ended."""
PATHS = "loopback,0%,1%,5%,10%,5%x10"


@dataclass(frozen=True)
class Run:
    """One file sent. on_wire: bytes; lost: share of frames that did not reach the other end."""

    rate: float
    delivered: bool
    sending: Cost
    receiving: Cost
    on_wire: int
    lost: float

    @property
    def wall(self) -> float:
        return self.receiving.wall


# One run --------------------------------------------------------------------------------------


class Process:
    """A program in one of the namespaces, and what it cost in the end."""

    def __init__(self, space: str, command: Command, environment: dict[str, str]) -> None:
        with contextlib.ExitStack() as files:
            stdin = files.enter_context(command.stdin.open("rb")) if command.stdin else None
            stdout = files.enter_context(command.stdout.open("wb")) if command.stdout else None
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", space, *command.words],
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self.cost: Cost | None = None

    def ended(self) -> bool:
        """Whether it is over; then `cost` is there, its children included."""
        if self.cost is None:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                wall = time.monotonic() - self.began
                self.cost = Cost(wall, used.ru_utime, used.ru_stime)
        return self.cost is not None

    def spent(self) -> int:
        """Clock ticks of CPU time of its session so far, as /proc has them."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    ticks += sum(map(int, fields[11:15]))
        return ticks

    def listens(self, port: int) -> bool:
        """Whether some socket of its namespace is bound to that UDP port."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self.process.pid}/net/udp").read_text().splitlines()[1:]
            return any(int(each.split()[1].split(":")[1], 16) == port for each in lines)
        return False

    def end(self) -> None:
        """Kill it and its children, if they are still there."""
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        while not self.ended():
            time.sleep(0.005)


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def wait_for(condition: Callable[[], bool], until: float) -> bool:
    """Whether it came true before that time of the clock."""
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def gave_up(receiving: Process, until: float) -> bool:
    """Wait for a receiver whose sender has ended; whether it only waits for more."""
    spent, changed = -1, time.monotonic()
    while not wait_for(receiving.ended, time.monotonic() + 0.2):
        now = receiving.spent()
        if now != spent:
            spent, changed = now, time.monotonic()
        if time.monotonic() > min(until, changed + IDLE):
            return True
    return False


@contextlib.contextmanager
def running(space: str, command: Command, environment: dict[str, str]) -> Iterator[Process]:
    process = Process(space, command, environment)
    try:
        yield process
    finally:
        process.end()


def once(tool: Tool, settings: list[str], job: Job, wanted: bytes) -> Run:
    """Send the file and see what comes of it."""
    job.inbox.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(job.inbox / "state")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled already
    before = job.wire.carried()
    until = time.monotonic() + 20 + job.size / SLOWEST
    with running(job.wire.high, tool.receive(job), environment) as receiving:
        ready = wait_for(lambda: receiving.ended() or receiving.listens(tool.port), until)
        if not ready or receiving.ended():
            words = " ".join(tool.receive(job).words)
            raise RuntimeError(f"the receiver does not listen: {words}")
        began = time.monotonic()
        with running(job.wire.low, tool.send(job, settings), environment) as sending:
            wait_for(sending.ended, until)
            stuck = gave_up(receiving, until)
    wall = receiving.began + receiving.cost.wall - began
    whole = [p for p in job.inbox.glob("*") if p.is_file() and p.stat().st_size == job.size]
    hashing = time.monotonic()
    delivered = not stuck and any(digest(path) == wanted for path in whole)
    if not tool.verifies:
        wall += time.monotonic() - hashing
    received = Cost(wall, receiving.cost.user, receiving.cost.system)
    carried = job.wire.carried().since(before)
    return Run(job.rate, delivered, sending.cost, received, carried.bytes, carried.lost)


# The fastest rate -----------------------------------------------------------------------------


def fastest(attempt: Callable[[float], Run], runs: int, first: int, *, climb: bool) -> list[Run]:
    """That many runs at the fastest rate at which all deliver; without one, what failed last.

    first: where in RATES to begin. climb: whether to look above.
    """
    at, tried = first, attempt(RATES[first])
    while climb and tried.delivered and at + 1 < len(RATES):
        more = attempt(RATES[at + 1])
        if not more.delivered or more.wall * FASTER > tried.wall:
            break
        at, tried = at + 1, more
    while True:
        done = [tried]
        while done[-1].delivered and len(done) < runs:
            done.append(attempt(RATES[at]))
        if done[-1].delivered or at == 0:
            return done
        at -= 1
        tried = attempt(RATES[at])


# Tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What a tool did with a file on a path."""

    tool: str
    size: int
    runs: list[Run]
    settings: list[str]

    @property
    def delivered(self) -> bool:
        return all(run.delivered for run in self.runs)

    def typical(self, value: Callable[[Run], float]) -> float:
        return median([value(run) for run in self.runs])

    @property
    def speed(self) -> float:
        """Megabytes of file a second."""
        return self.size / 1e6 / self.typical(lambda run: run.wall)

    @property
    def cpu(self) -> tuple[float, float]:
        """CPU seconds a gigabyte of file: sender, receiver."""
        sending = self.typical(lambda run: run.sending.cpu)
        receiving = self.typical(lambda run: run.receiving.cpu)
        return sending * 1e9 / self.size, receiving * 1e9 / self.size

    @property
    def expansion(self) -> float:
        """Bytes on the wire for each byte of file."""
        return self.typical(lambda run: run.on_wire) / self.size

    def __str__(self) -> str:
        good = sum(run.delivered for run in self.runs)
        head = f"  {self.tool:17} {self.size / 1e6:6.0f} MB {good:4}/{len(self.runs)}"
        lost = f"{self.typical(lambda run: run.lost):7.2%}"
        tail = f" {lost}  {' '.join(self.settings)}"
        if not self.delivered:
            return f"{head} {'-':>6} {'-':>7} {'-':>9} {'-':>9} {self.expansion:8.3f}{tail}"
        rate = self.runs[0].rate / 1e6
        sending, receiving = self.cpu
        return (
            f"{head} {rate:6.0f} {self.speed:7.1f} {sending:9.2f} {receiving:9.2f}"
            f" {self.expansion:8.3f}{tail}"
        )


COLUMNS = (
    f"  {'':17} {'size':>9} {'whole':>6} {'Mbit/s':>6} {'MB/s':>7}"
    f" {'s/GB send':>9} {'s/GB recv':>9} {'wire/B':>8} {'lost':>7}  settings"
)
RATIOS = "  by which diode is better (1: the same)       speed     CPU   bytes"


def compared(ours: Row, theirs: Row) -> str:
    """Ratios, each of them above 1 where diode does better: speed, CPU time of both ends, bytes."""
    head = f"  {f'than {theirs.tool}, {ours.size / 1e6:.0f} MB':41}"
    if not theirs.delivered:
        return f"{head}   it does not deliver"
    cpu = sum(theirs.cpu) / sum(ours.cpu)
    bytes_ = theirs.expansion / ours.expansion
    return f"{head} {ours.speed / theirs.speed:8.2f} {cpu:7.2f} {bytes_:7.3f}"


def comparisons(rows: list[Row]) -> Iterator[str]:
    """diode with each of the others that had a file of the same size."""
    for ours in (row for row in rows if row.tool == "diode" and row.delivered):
        for theirs in rows:
            if theirs.size == ours.size and theirs is not ours:
                yield compared(ours, theirs)


# The whole ------------------------------------------------------------------------------------


def on_path(
    wire: Wire, tools: list[Tool], source: Source, runs: int, share: float | None
) -> list[Row]:
    """Every tool with every size on that path, printed as they come.

    share: of redundancy for all of them; None: what the path's loss takes.
    """
    print(f"\n  {wire.title}\n{COLUMNS}", flush=True)
    rows = []
    for tool in tools:
        first, climb = FIRST, True
        for size, file, wanted in source.files:
            settings = tool.settings(wire.loss, size) if share is None else tool.redundant(share)
            if settings is None:
                print(f"  {tool.name:17} {size / 1e6:6.0f} MB  not tried: it would take too much")
                break

            def attempt(rate: float, size: int = size, file: Path = file) -> Run:
                job = Job(wire, file, size, source.inbox(), rate)
                try:
                    return once(tool, settings, job, wanted)  # noqa: B023 (called at once)
                finally:
                    source.clear()

            done = fastest(attempt, runs, first, climb=climb)
            rows.append(Row(tool.name, size, done, settings))
            print(rows[-1], flush=True)
            if not rows[-1].delivered:
                break
            first, climb = RATES.index(done[0].rate), False
    return rows


class Source:
    """Files of random bytes in memory, smallest first, and a folder for what arrives."""

    def __init__(self, folder: Path, sizes: list[int]) -> None:
        self.folder = folder
        self.files: list[tuple[int, Path, bytes]] = []
        rng = np.random.default_rng(1)
        for size in sorted(sizes):
            path = folder / f"source-{size}"
            with path.open("wb") as file:
                for at in range(0, size, 1 << 20):
                    file.write(rng.bytes(min(1 << 20, size - at)))
            self.files.append((size, path, digest(path)))

    def inbox(self) -> Path:
        """A name that is free for a folder."""
        return self.folder / "inbox"

    def clear(self) -> None:
        subprocess.run(["rm", "-rf", self.inbox()], check=True)


def options() -> argparse.Namespace:
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("--sizes", default="100M", help="of files, such as 100M,1G")
    parse.add_argument("--losses", default=PATHS, help="paths: %(default)s")
    parse.add_argument(
        "--redundancy", type=float, help="percent for each of them, not what the loss takes"
    )
    parse.add_argument("--only", default="", help="names of tools; all without")
    parse.add_argument("--runs", type=int, default=2, help="that must all deliver (2)")
    parse.add_argument("--peers", type=Path, default=Path("/tmp/peers"), help="environment")
    return parse.parse_args()


def megabytes(text: str) -> int:
    units = {"k": 10**3, "M": 10**6, "G": 10**9}
    number = text.rstrip("B")
    return int(float(number.rstrip("kMG")) * units.get(number[-1], 1))


def present(tools: dict[str, Tool], only: str) -> list[Tool]:
    """The tools asked for that are installed; the others are named."""
    chosen = [tools[name] for name in only.split(",")] if only else list(tools.values())
    for tool in chosen:
        if tool.missing():
            print(f"  {tool.name} is not installed: {tool.missing()}")
    return [tool for tool in chosen if not tool.missing()]


def main() -> int:
    asked = options()
    heading(f"files over UDP, best of the rates at which {asked.runs} of {asked.runs} arrive")
    if one_way_wire.missing():
        print(f"  not measured, it needs {', '.join(one_way_wire.missing())}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"  {fibre_tools.versions(asked.peers)}")
    print(f"  net.core.rmem_max {Path('/proc/sys/net/core/rmem_max').read_text().strip()}")
    share = None if asked.redundancy is None else asked.redundancy / 100
    tools = present(fibre_tools.tools(asked.peers), asked.only)
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        source = Source(Path(folder), [megabytes(size) for size in asked.sizes.split(",")])
        for name in asked.losses.split(","):
            with one_way_wire.path(name) as wire:
                rows = on_path(wire, tools, source, asked.runs, share)
            for text in [RATIOS, *comparisons(rows)]:
                print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
