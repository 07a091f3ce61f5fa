"""Small files that say how things are: whole or not there, whoever reads or writes."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from healths import a_health

from diode.health import Clock, Health
from diode.service import snapshots
from diode.service.snapshots import HEALTH


@pytest.fixture
def folder(tmp_path: Path) -> int:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_written_and_read(tmp_path: Path, folder: int) -> None:
    before = os.umask(0o077)
    try:
        snapshots.write(folder, HEALTH, a_health())
    finally:
        os.umask(before)
    assert snapshots.read(str(tmp_path), HEALTH, Health) == a_health()
    assert stat.S_IMODE((tmp_path / HEALTH).stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == [HEALTH]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"time": "noon"}', b"\xff\xfe" * 9])
def test_what_is_none_is_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / HEALTH).write_bytes(content)
    assert snapshots.read(str(tmp_path), HEALTH, Health) is None


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a \\x1b b", "a \\x1b b"),
        ('"quoted"', '"quoted"'),
        ("\\\\n", "\\\\n"),
        ("\x1b[31m", "?[31m"),
        ("a\nb\tc\\", "a?b?c\\"),
        ("\u202ee\x7f", "?e?"),
        ("\\" * 3 + "\n", "\\" * 3 + "?"),
    ],
)
def test_only_printable_ascii_is_read(tmp_path: Path, folder: int, given: str, read: str) -> None:
    snapshots.write(folder, HEALTH, [given])
    assert snapshots.read(str(tmp_path), HEALTH, list[str]) == [read]


def test_nothing_is_followed_and_nothing_waited_for(tmp_path: Path, folder: int) -> None:
    snapshots.write(folder, "real.json", a_health())
    (tmp_path / HEALTH).symlink_to("real.json")
    assert snapshots.read(str(tmp_path), HEALTH, Health) is None
    (tmp_path / HEALTH).unlink()
    os.mkfifo(tmp_path / HEALTH)
    assert snapshots.read(str(tmp_path), HEALTH, Health) is None
    (tmp_path / HEALTH).unlink()
    (tmp_path / HEALTH).touch()
    os.truncate(tmp_path / HEALTH, 1 << 30)
    assert snapshots.read(str(tmp_path), HEALTH, Health) is None


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path, folder: int) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / f"{HEALTH}.new").symlink_to("precious")
    with pytest.raises(OSError):
        snapshots.write(folder, HEALTH, a_health())
    assert (tmp_path / "precious").read_text() == "x"


def test_readers_never_see_half_of_one(tmp_path: Path, folder: int) -> None:
    snapshots.write(folder, HEALTH, a_health())
    over = threading.Event()

    def rewrite() -> None:
        while not over.is_set():
            snapshots.write(folder, HEALTH, a_health())

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = [snapshots.read(str(tmp_path), HEALTH, Health) for _ in range(300)]
    finally:
        over.set()
        writer.join()
    assert all(health == a_health() for health in seen)


def test_age_is_measured_by_a_clock_that_nobody_sets() -> None:
    here = Clock("this boot", 100.0)
    assert snapshots.age(Clock("this boot", 97.0), 5e9, here, 1.0) == 3.0
    assert snapshots.age(Clock("this boot", 101.0), 5e9, here, 1.0) == 0.0
    assert snapshots.age(Clock("another", 97.0), 1000.0, here, 1060.0) == 60.0
    assert snapshots.age(Clock(), 1000.0, here, 1060.0) == 60.0
    assert snapshots.age(Clock("", 97.0), 1000.0, Clock("", 97.0), 1060.0) == 60.0
