"""Floods: whatever arrives, memory and disk stay bounded, and an honest object comes through.

Each flood runs in a process of its own, whose peak of resident memory is asked for at the end. The
frames are given to the session as rows, as a line's decoder gives them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = 256 << 20

PROGRAM = """
import hashlib, itertools, json, os, sys
sys.path[:0] = [{tests!r}]
import numpy as np
from pair import BytesSource, content, everything
from sessions import Observer
from diode import frame
from diode.announcements import AnnouncementSymbols
from diode.frame import Kind, crc32c
from diode.objects import Announcement, Manifest, Status, Type
from diode.plan import Link, Settings
from diode.service.disk import Beside
from diode.service.receiver import Session, Stop
from diode.sink.folder import Inbox
from diode.transmitter import Transmitter

KIND, COUNT, BATCH = {kind!r}, {count}, 1000
rng = np.random.default_rng(1)

def manifest(number, sender, size, k, symbol):
    cut = (1, k, k + 8, symbol)
    made = Manifest(Status.COMPLETE, Type.FILE, b"f%d" % number, size, bytes(32), *cut, 1, None)
    data = Announcement(made).serialize()
    rows = frame.blank_rows(1, len(data))
    frame.fill_full(rows, Kind.MANIFEST, code=1, sender=sender, number=number, block=crc32c(data),
                    symbol=np.zeros(1, np.int64))
    frame.payload(rows)[:] = np.frombuffer(data, np.uint8)
    return rows

def symbols(first, count, size, senders=None):
    rows = frame.blank_rows(count, size)
    ids = np.arange(first, first + count)
    frame.fill_full(rows, Kind.DATA, code=1, sender=3, number=0, block=0,
                    symbol=np.zeros(count, np.int64))
    return rows

def flood():
    for first in range(1, COUNT, BATCH):
        numbers = range(first, first + BATCH)
        if KIND == "objects":
            yield [manifest(n, 3, 1000, 4, 256) for n in numbers]
        elif KIND == "senders":
            yield [manifest(1, 1000 + n, 1000, 4, 256) for n in numbers]
        elif KIND == "huge":
            yield [manifest(n, 3, (1 << 24) * 200, 1, 208) for n in numbers]
        elif KIND == "early":
            yield [early(first, BATCH)]
        elif KIND == "begun":
            yield [r for n in numbers for r in (manifest(n, 3, 1000, 4, 256), one(n))]

def one(number):
    rows = frame.blank_rows(1, 256)
    frame.fill_full(rows, Kind.DATA, code=1, sender=3, number=number, block=0,
                    symbol=np.zeros(1, np.int64))
    return rows

def early(first, count):
    return np.concatenate([one_wide(n) for n in range(first, first + count)])

def one_wide(number):
    rows = frame.blank_rows(1, 1000)
    frame.fill_full(rows, Kind.DATA, code=1, sender=3, number=number, block=0,
                    symbol=np.zeros(1, np.int64))
    return rows

honest = Transmitter(7, Settings(symbol_size=256, passes=2), Link(), highest_number=0)
honest.add(1, BytesSource(content(200_000), b"honest"))
frames = [np.frombuffer(f, np.uint8)[None] if np.ndim(f) == 1 else f for f in everything(honest)]
pieces = max(1, COUNT // BATCH)
step = -(-len(frames) // pieces)
shares = [frames[at:at + step] for at in range(0, len(frames), step)]

class Line:
    noise, rejected = 0, {{}}
    def __init__(self):
        self.batches = itertools.zip_longest(flood(), shares, fillvalue=[])
    def feed(self, _array):
        got = next(self.batches, None)
        return [] if got is None else [*got[0], *got[1]]
    def flush(self):
        return []

class Carrier:
    rate = None
    left = max(pieces, len(shares)) + 1
    def read(self, _timeout):
        self.left -= 1
        return b"x" if self.left >= 0 else b""

class Quiet(Observer):
    def event(self, event, session): pass
    def refused(self, *args): pass

quota = 64 << 20
inbox = Inbox("inbox", quota=quota)
session = Session(Carrier(), Line(), inbox, Quiet(), disk=Beside())
inbox.evicted, inbox.lost = session.deliveries.evicted, session.deliveries.lost
session.run(Stop())
good = os.path.exists("inbox/honest") and open("inbox/honest", "rb").read() == content(200_000)
disk = sum(os.stat(os.path.join(h, f)).st_blocks * 512 for h, _, fs in os.walk("inbox") for f in fs)
inbox.close()
# not ru_maxrss, which begins with that of whoever started us
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak.split()[1]) * 1024, disk, bool(good)]))
"""


def flooded(tmp_path: Path, kind: str, count: int) -> tuple[int, int, bool]:
    program = PROGRAM.format(tests=str(Path(__file__).parent), kind=kind, count=count)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=1200,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    memory, disk, good = json.loads(ran.stdout)
    print(kind, count, memory >> 20, "MB resident", disk >> 20, "MB on disk", good)
    return memory, disk, good


KINDS = ["objects", "senders", "huge", "early", "begun"]


@pytest.mark.parametrize("kind", KINDS)
def test_flood(tmp_path: Path, kind: str) -> None:
    memory, disk, good = flooded(tmp_path, kind, 5_000 if kind != "early" else 100_000)
    assert memory < MEMORY
    assert disk < (64 << 20) + (64 << 20), "the quota, and the folders of what is unfinished"
    assert good, "the honest object came through"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_long_flood(tmp_path: Path, kind: str) -> None:
    memory, disk, good = flooded(tmp_path, kind, 100_000 if kind != "early" else 1_000_000)
    assert memory < MEMORY
    assert disk < (64 << 20) + (64 << 20)
    assert good
