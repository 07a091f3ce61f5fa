"""Both ends of a service over a bad line for a long time: every file once and right, nothing grows.

`make soak` is an hour; the ten minutes are among the slow tests. A round is a minute of traffic: a
hundred files into three folders, an outage of five seconds; twice the receiver is restarted.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from cli import Shell, proportional, wait_until
from services import Ends, drop

FOLDERS = (("urgent", 9), ("normal", 5), ("bulk", 0))
GROWTH = 40 << 20
"""Bytes by which a process may be larger at the end than after the first tenth."""


@pytest.fixture
def ends(shell: Shell) -> Iterator[Ends]:
    ends = Ends(shell, 12_000_000, "drop=1%,flip=1e-7,seed=9")
    yield ends
    ends.close()


@pytest.mark.parametrize(
    ("files", "largest", "outage", "seconds"),
    [
        pytest.param(45, 100_000, 1.0, 0.1, id="short"),
        pytest.param(1000, 5_000_000, 5.0, 0.55, id="ten minutes", marks=pytest.mark.slow),
    ],
)
def test_every_file_arrives_once_and_right(
    ends: Ends, files: int, largest: int, outage: float, seconds: float
) -> None:
    files = int(os.environ.get("SOAK_FILES", files))
    receiver = ends.receives('silence = "2s"')
    # What an outage took comes again with the carousel, once the line has time for it.
    kept = f'redundancy = "40%"\ncarousel = {{ last = {files} }}'
    sender = ends.sends(*FOLDERS, more=kept)
    receiver.start()
    sender.start()
    rng = np.random.default_rng(1)
    sent: dict[str, bytes] = {}
    sizes: list[tuple[int, int, int, int]] = []
    for number in range(files):
        folder = FOLDERS[number % 3][0]
        size = int(200 * (largest / 200) ** (rng.random() ** 3))  # most are small
        content = rng.bytes(size)
        name = f"{folder}-{number}"
        sent[name] = hashlib.sha256(content).digest()
        drop(ends.shell.folder / folder / name, content)
        if number in (files // 3, 2 * files // 3):
            assert receiver.stop() in (0, 130)
            receiver.start()
        if number % max(1, files // 10) == files // 20:
            ends.line.unplugged = True
            time.sleep(outage)
            ends.line.unplugged = False
        if number % max(1, files // 10) == 0:
            sizes.append(size_of(ends))
        time.sleep(seconds)
    wait_until(lambda: all_there(ends, sent), 60 + files)
    wait_until(lambda: len(receiver.events("object_delivered")) >= files)
    for name, digest in sent.items():
        assert hashlib.sha256(ends.inbox(name).read_bytes()).digest() == digest
    names = [event["name"] for event in receiver.events("object_delivered")]
    assert sorted(names) == sorted(sent)  # once
    there = {path.name for path in (ends.shell.folder / "in").iterdir() if path.is_file()}
    assert there == set(sent)
    sizes.append(size_of(ends))
    after_start, last = sizes[min(1, len(sizes) - 1)], sizes[-1]
    assert last[0] - after_start[0] < GROWTH and last[1] - after_start[1] < GROWTH, sizes
    assert last[2] <= after_start[2] + 4 and last[3] <= after_start[3] + 4, sizes
    assert sum(e["name"] == "silent" for e in receiver.events("alarm")) >= (outage > 2)
    assert sender.stop() == 0
    assert receiver.stop() in (0, 130)
    (status,) = ends.shell.run("status", "in", "--json").events("status")
    health = status["health"]
    assert (status["missing_objects"], health["unfinished_objects"]) == (0, 0)
    assert health["line"]["lost"] > 0
    assert health["repair"]["worst"] > 0
    assert ends.shell.run("verify", "in", "--json").code == 0


def all_there(ends: Ends, sent: dict[str, bytes]) -> bool:
    return all(ends.inbox(name).exists() for name in sent)


def size_of(ends: Ends) -> tuple[int, int, int, int]:
    """Memory of both ends, and their descriptors."""
    sender, receiver = ends.sender.process, ends.receiver.process
    assert sender is not None
    assert receiver is not None
    return (
        proportional(sender.pid),
        proportional(receiver.pid),
        ends.sender.descriptors,
        ends.receiver.descriptors,
    )
