"""A receiver killed with SIGKILL on a stream that goes on loses no more than the last moment.

The stream is a FIFO that a slow sender feeds and that a second descriptor keeps open, so that it
outlives its readers. What a dead process had read and not yet written down is lost like
frames on a bad line; all else must be there after the next start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cli import Shell
from pair import BytesSource, content, everything

from diode import line
from diode.frame import Frames
from diode.plan import Link, Settings
from diode.transmitter import Transmitter


@pytest.fixture
def shell(tmp_path: Path):
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def passes(data: bytes, loss: float, count: int, k: int = 128, symbol: int = 1024) -> list[bytes]:
    """The frames on the line, in pieces; some are lost."""
    settings = Settings(symbol_size=symbol, redundancy=0.2, passes=count)
    transmitter = Transmitter(7, settings, Link(), highest_number=0)
    transmitter.add(1, BytesSource(data, b"big"))
    frames = everything(transmitter)
    keep = np.random.default_rng(5).random(len(frames)) >= loss
    frames = [f for f, kept in zip(frames, keep, strict=True) if kept]
    step = 64
    return [
        bytes(line.encoder("cobs").encode(Frames.of_pieces(frames[at : at + step])).data)
        for at in range(0, len(frames), step)
    ]


def feed(fifo: int, pieces: list[bytes], seconds: float) -> threading.Thread:
    """Write them at an even pace, whoever reads."""

    def run() -> None:
        begin = time.monotonic()
        for index, piece in enumerate(pieces):
            wait = begin + seconds * index / len(pieces) - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            view = memoryview(piece)
            while view:
                view = view[os.write(fifo, view) :]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def killed(shell: Shell, size: int, kills: int, seconds: float, loss: float, count: int) -> None:
    data = content(size)
    path = shell.folder / "fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)  # keeps the pipe alive between two readers
    rng = np.random.default_rng(3)
    thread = feed(both, passes(data, loss, count), seconds)
    command = [sys.executable, "-m", "diode", "recv", "inbox", "--from", "-", "--json"]
    said = b""
    for run in range(kills + 1):
        process = subprocess.Popen(
            [*command, "--idle", "6"] if run == kills else command,
            stdin=both,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=shell.folder,
            env=shell.environment,
        )
        if run < kills:
            process.stdout.readline()  # it listens
            time.sleep(seconds / (kills + 1) * rng.uniform(0.2, 0.9))
            process.kill()
        out, err = process.communicate(timeout=seconds + 120)
        said += out
        assert b"Traceback" not in err, err.decode()
        assert process.returncode in (-signal.SIGKILL, 0), err.decode()
    thread.join(timeout=30)
    os.close(both)
    assert (shell.folder / "inbox/big").read_bytes() == data
    assert sorted(p.name for p in (shell.folder / "inbox").iterdir()) == [".diode", "big"]
    told = [json.loads(text) for text in said.splitlines() if text.endswith(b"}")]
    assert sum(e["event"] == "object_delivered" for e in told) <= 1


def test_killed_on_a_continuing_stream(shell) -> None:
    killed(shell, 5_000_000, kills=3, seconds=8, loss=0.05, count=4)


@pytest.mark.slow
def test_killed_twenty_times_with_a_tenth_lost(shell) -> None:
    killed(shell, 50_000_000, kills=20, seconds=90, loss=0.1, count=4)


def test_symbols_older_than_a_checkpoint_survive(shell) -> None:
    """One block, far from whole: all that came before the last checkpoint is still there."""
    pieces = passes(content(120_000), 0.0, 1)
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
