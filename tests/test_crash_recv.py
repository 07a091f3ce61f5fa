"""A receiver killed with SIGKILL on a stream that goes on loses no more than the last moment.

The stream is a FIFO that a slow sender feeds and that a second descriptor keeps open, so that it
outlives its readers. What a dead process had read and not yet written down is lost like
frames on a bad line; all else must be there after the next start.

It is counted: where in the stream each process began and ended to read, how many frames it said at
what time it had heard, and after its death, which symbols are in the inbox's state. What it said
AGE seconds before must be there, symbol by symbol. And the object must be whole no later in the
stream than for a receiver in this process that is never killed but hears nothing of those
last seconds: so nothing was needed that the line's loss and they do not explain.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from cli import Shell, wait_until
from pair import BytesSource, Listener, content, everything

from diode import frame, line
from diode.events import Key
from diode.frame import Frames
from diode.plan import Link, Settings
from diode.service.receiver import CHECKPOINT
from diode.sink.folder import Inbox
from diode.transmitter import Transmitter

AGE = CHECKPOINT + 1.0
"""Seconds after which what was heard is written down, also on a busy machine."""
KEY = Key(7, 1)


@pytest.fixture
def shell(tmp_path: Path):
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def passes(data: bytes, loss: float, count: int, code: str | None = None) -> list[np.ndarray]:
    """The frames on the line; some are lost."""
    settings = Settings(symbol_size=1024, redundancy=0.2, passes=count, code=code)
    transmitter = Transmitter(7, settings, Link(), highest_number=0)
    transmitter.add(1, BytesSource(data, b"big"))
    frames = everything(transmitter)
    keep = np.random.default_rng(5).random(len(frames)) >= loss
    return [f for f, kept in zip(frames, keep, strict=True) if kept]


def on_the_line(frames: list[np.ndarray]) -> list[bytes]:
    """Each frame as the line has it."""
    whole = bytes(line.encoder("cobs").encode(Frames.of_pieces(frames)).data)
    pieces = [piece + b"\0" for piece in whole.split(b"\0") if piece]
    assert len(pieces) == len(frames)
    return pieces


@dataclass
class Feed:
    """Writes the frames at an even pace, whoever reads. `still` holds it where it is."""

    fifo: int
    pieces: list[bytes]
    seconds: float
    still: threading.Lock = field(default_factory=threading.Lock)
    written: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        lengths = [len(piece) for piece in self.pieces]
        self.starts = np.cumsum([0, *lengths[:-1]])
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        begin, step = time.monotonic(), 16
        for at in range(0, len(self.pieces), step):
            wait = begin + self.seconds * at / len(self.pieces) - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            with self.still:
                if self.over:
                    return
                view = memoryview(b"".join(self.pieces[at : at + step]))
                while view:
                    done = os.write(self.fifo, view)
                    self.written += done
                    view = view[done:]

    def close(self) -> None:
        """Write no more, read what nobody wants, and close the pipe."""
        self.over = True
        os.set_blocking(self.fifo, False)
        while self.thread.is_alive():
            with contextlib.suppress(BlockingIOError):
                os.read(self.fifo, 1 << 16)
            self.thread.join(0.01)
        os.close(self.fifo)

    def taken(self) -> int:
        """How many frames were read from the line, one that was begun with them."""
        left = array.array("i", [0])
        fcntl.ioctl(self.fifo, termios.FIONREAD, left)
        return int(np.searchsorted(self.starts, self.written - left[0]))


@dataclass
class Run:
    """One life of the receiver: the frames it could read are those from `first` on."""

    process: subprocess.Popen
    first: int
    said: list[tuple[float, dict]] = field(default_factory=list)
    """Its events, and when they came."""

    def __post_init__(self) -> None:
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        for text in self.process.stdout:
            if text.endswith(b"}\n"):
                self.said.append((time.monotonic(), json.loads(text)))

    def end(self, timeout: float) -> str:
        """Wait for it; what it said on stderr."""
        err = self.process.stderr.read().decode()
        assert self.process.wait(timeout) in (-signal.SIGKILL, 0), err
        assert "Traceback" not in err, err
        self._ear.join()
        return err

    def events(self, name: str) -> list[tuple[float, dict]]:
        return [(when, event) for when, event in self.said if event["event"] == name]

    def heard(self, before: float) -> int:
        """Number of the frame up to which it had heard all at that time, by its own word."""
        told = [e["frames"] for when, e in self.events("progress") if when <= before]
        return self.first + (told[-1] if told else 0)

    @property
    def whole_after(self) -> int | None:
        """The same, for when the object was delivered; None where it was not, or died before
        it could say so.
        """
        told = [self.first + event["frames"] for _, event in self.events("object_delivered")]
        return told[0] if told else None


Kept = dict[int, set[int] | None]
"""Symbols by block; None of a block that is recovered."""


def kept(inbox: Path, copy: Path) -> Kept | None:
    """What is in the state of a dead receiver; None where the object is delivered."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(inbox, copy)
    sink = Inbox(str(copy))
    try:
        found = list(sink.unfinished())
        if not found:
            return None if (inbox / "big").exists() else {}
        (object_,) = found
        held: Kept = {int(block): None for block in np.flatnonzero(object_.done)}
        for block in object_.parked:
            held[block] = set(sink.parked(KEY, block)[0].tolist())
        return held
    finally:
        sink.close()


def missing(wanted: Kept, held: Kept) -> Kept:
    """What of it is not held; the blocks of which nothing is missing are left out."""
    nothing: set[int] = set()
    here = {block: numbers for block, numbers in wanted.items() if held.get(block, 0) is not None}
    gone = {b: n if n is None else n - (held.get(b) or nothing) for b, n in here.items()}
    return {block: numbers for block, numbers in gone.items() if numbers != nothing}


def symbols(frames: list[np.ndarray]) -> Kept:
    """Symbols that these frames carry, by block."""
    found: Kept = {}
    for each in frames:
        head = frame.parse_full(each[None])
        if head.kind[0] == frame.Kind.DATA:
            found.setdefault(int(head.block[0]), set()).add(int(head.symbol[0]))
    return found


def start(shell: Shell, fifo: int, first: int, *more: str) -> Run:
    process = subprocess.Popen(
        [sys.executable, "-m", "diode", "recv", "inbox", "--from", "-", "--json", *more],
        stdin=fifo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    )
    shell.processes.append(process)
    return Run(process, first)


def killed(
    shell: Shell,
    size: int,
    kills: int,
    seconds: float,
    loss: float,
    count: int,
    life: tuple[float, float],
    code: str | None = None,
) -> None:
    """life: least and most seconds from where a process listens to where it is killed."""
    data = content(size)
    path, inbox = shell.folder / "fifo", shell.folder / "inbox"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)  # keeps the pipe alive between two readers
    rng = np.random.default_rng(3)
    frames = passes(data, loss, count, code)
    feed = Feed(both, on_the_line(frames), seconds)
    runs: list[Run] = []
    unsure: list[range] = []  # frames that were read and need not have been written down
    before: Kept = {}
    first = 0
    for _ in range(kills):
        run = start(shell, both, first)
        runs.append(run)
        wait_until(lambda run=run: run.events("listening"), 60)
        reader = shell.reader(run.process)
        time.sleep(rng.uniform(*life))
        with feed.still:
            run.process.kill()
            when = time.monotonic()
            wait_until(lambda reader=reader: not Path(f"/proc/{reader}").exists())
            first = feed.taken()
        run.end(60)
        after = kept(inbox, shell.folder / "copy")
        if after is None:
            break
        sure = run.heard(when - AGE)
        assert run.first <= sure <= first
        gone = missing(symbols(frames[run.first : sure]), after)
        assert not gone, f"{gone} were heard {AGE} s before a kill and are gone"
        assert not missing(before, after), "what one life had kept did not survive another"
        unsure.append(range(sure, first))
        before = after
    if not (inbox / "big").exists():
        runs.append(start(shell, both, first, "--once", "--idle", "30"))
        runs[-1].end(seconds + 120)
    feed.close()
    assert (inbox / "big").read_bytes() == data
    assert sorted(p.name for p in inbox.iterdir()) == [".diode", "big"]
    assert sum(len(run.events("object_delivered")) for run in runs) <= 1
    account(frames, runs, unsure)


def account(frames: list[np.ndarray], runs: list[Run], unsure: list[range]) -> None:
    """Hold the frames that were needed against those that one receiver needs without them."""
    gone = set(itertools.chain.from_iterable(unsure))
    assert len(unsure) >= len(runs) - 2
    reference = needed(frames, gone)
    print(
        f"{len(unsure)} kills before it was whole; {len(frames)} frames on the line; "
        f"{needed(frames, set())} needed without a kill, {reference} without the "
        f"{len(gone)} of the last {AGE} s before each kill"
    )
    print(f"whole after frame {runs[-1].whole_after}")
    assert runs[-1].whole_after is None or runs[-1].whole_after <= reference


def needed(frames: list[np.ndarray], gone: set[int]) -> int:
    """Number of the frame with which the object is whole for a receiver that misses these."""
    listener, step = Listener(), 64
    for at in range(0, len(frames), step):
        listener.hear([frames[i] for i in range(at, min(at + step, len(frames))) if i not in gone])
        if listener.delivered:
            return min(at + step, len(frames))
    raise AssertionError("not even that receiver got it: the line is too short for so many kills")


def test_killed_on_a_continuing_stream(shell) -> None:
    killed(shell, 5_000_000, kills=3, seconds=24, loss=0.05, count=4, life=(0.8, 2.5))


@pytest.mark.slow
@pytest.mark.parametrize("code", ["zfec", "leopard"])
def test_killed_twenty_times_with_a_tenth_lost(shell, code) -> None:
    if code == "leopard":
        pytest.importorskip("reed_solomon_leopard")
    life = (1.0, 5.0)
    killed(shell, 50_000_000, kills=20, seconds=150, loss=0.1, count=4, life=life, code=code)


def test_symbols_older_than_a_checkpoint_survive(shell) -> None:
    """One block, far from whole: all that came before the last checkpoint is still there."""
    pieces = on_the_line(passes(content(120_000), 0.0, 1))
    line_bytes = b"".join(pieces).split(b"\0")
    half = len(line_bytes) // 2
    (shell.folder / "rest").write_bytes(b"\0".join([b"", *line_bytes[half:]]))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "diode", "recv", "inbox", "--from", "-", "--json"],
        stdin=reader,
        stdout=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    )
    os.close(reader)
    process.stdout.readline()
    os.write(writer, b"\0".join([*line_bytes[:half], b""]))
    journal = shell.folder / "inbox/.diode/parts/00000007-1/journal"
    for _ in range(200):
        if journal.exists() and journal.stat().st_size > 20_000:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    os.close(writer)
    ran = shell.run("recv", "inbox", "--from", "file:rest")
    assert ran.code == 0, ran.err
    assert (shell.folder / "inbox/big").read_bytes() == content(120_000)
