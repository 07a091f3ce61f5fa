"""Small files of a listing as bundles: which, in what order, and what is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diode import bundle, plan
from diode.errors import SourceError
from diode.objects import Type
from diode.plan import Link, Settings
from diode.source.bundle import BundleSource, Source, Spool, StandingSpool, gather
from diode.source.folder import find

ROOM = 4000


@pytest.fixture
def spool() -> Iterator[Spool]:
    spool = Spool()
    yield spool
    spool.close()


def skipped(path: str, why: str) -> None:
    raise AssertionError(f"{path}: {why}")


def gathered(spool: Spool, *paths: Path, most: int = ROOM) -> list[Source]:
    things = [thing for path in paths for thing in find(str(path), None, skipped)]

    def failed(thing: object, error: SourceError) -> None:
        raise error

    return list(gather(things, most, spool, failed))


def content(source: Source) -> bytes:
    into = np.empty(source.size, np.uint8)
    source.read(0, into)
    assert hashlib.sha256(into).digest() == source.digest
    return into.tobytes()


def names(source: Source) -> list[bytes]:
    if not isinstance(source, BundleSource):
        return [source.name]
    return [member.name for member in bundle.members(content(source))]


def test_what_is_small_goes_together_and_order_is_kept(tmp_path: Path, spool: Spool) -> None:
    top = tmp_path / "top"
    (top / "empty").mkdir(parents=True)
    for name, size in {"a": 10, "b": 0, "c": 3000, "d": 5, "e": 6, "f": 3000, "g": 1}.items():
        (top / name).write_bytes(os.urandom(size))
    sources = gathered(spool, top)
    assert [names(source) for source in sources] == [
        [b"top/a", b"top/b"],
        [b"top/c"],
        [b"top/d", b"top/e"],
        [b"top/f"],
        [b"top/g", b"top/empty"],
    ]
    assert [s.type for s in sources] == [Type.BUNDLE, Type.FILE] * 2 + [Type.BUNDLE]
    first, last = sources[0], sources[-1]
    assert isinstance(first, BundleSource)
    assert first.name == b"top/a and 1 more"
    whole = content(first)
    for member, sent in zip(bundle.members(whole), first.members, strict=True):
        data = (tmp_path / member.name.decode()).read_bytes()
        assert whole[member.offset :][: member.size] == data
        assert (sent.size, sent.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert member.mtime == (tmp_path / member.name.decode()).stat().st_mtime_ns
    assert bundle.members(content(last))[1].type == Type.DIRECTORY


def test_bundles_keep_to_their_room_and_to_one_of_a_name(tmp_path: Path, spool: Spool) -> None:
    for folder in "xy":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").write_bytes(folder.encode())
    many = tmp_path / "many"
    many.mkdir()
    for number in range(100):
        (many / f"{number:03}").write_bytes(bytes(200))
    sources = gathered(spool, many)
    assert all(isinstance(s, BundleSource) and s.size <= ROOM for s in sources)
    assert len(sources) == -(-100 // ((ROOM - bundle.EMPTY) // (200 + 16 + len("many/000"))))
    assert [n for s in sources for n in names(s)] == [b"many/%03d" % n for n in range(100)]
    same = gathered(spool, tmp_path / "x/same", tmp_path / "y/same")
    assert [(s.type, s.name) for s in same] == [(Type.FILE, b"same")] * 2


def test_none_are_made_where_none_are_wanted(tmp_path: Path, spool: Spool) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"x")
    assert [s.type for s in gathered(spool, tmp_path, most=0)] == [Type.FILE] * 2
    assert plan.bundle_room(Settings(bundle=False), Link()) == 0
    assert plan.bundle_room(Settings(), Link()) == plan.BUNDLE_BYTES
    assert plan.bundle_room(Settings(), Link(rate=11_520)) == 115_200


def test_a_bundle_is_a_snapshot(tmp_path: Path, spool: Spool) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"before")
    (source,) = gathered(spool, tmp_path)
    before = content(source)
    (tmp_path / "a").write_bytes(b"after")
    (tmp_path / "b").unlink()
    source.check()
    assert content(source) == before
    source.close()


def test_the_same_files_make_the_same_bundle(tmp_path: Path, spool: Spool) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    (one,), (two,) = gathered(spool, tmp_path), gathered(spool, tmp_path)
    assert (one.digest, one.size, one.name) == (two.digest, two.size, two.name)
    os.utime(tmp_path / "b", ns=(1, 1))
    assert gathered(spool, tmp_path)[0].digest != one.digest


def test_what_is_no_regular_file_any_more_is_not_read(tmp_path: Path, spool: Spool) -> None:
    for name in "abcd":
        (tmp_path / name).write_bytes(name.encode())
    things = list(find(str(tmp_path), None, skipped))
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/passwd")
    (tmp_path / "b").unlink()
    os.mkfifo(tmp_path / "b")
    (tmp_path / "c").write_bytes(bytes(3000))  # has grown beyond a small one
    failed: dict[str, str] = {}
    sources = list(gather(things, ROOM, spool, lambda t, e: failed.setdefault(t.path[-1:], str(e))))
    assert [s.name.rpartition(b"/")[2] for s in sources] == [b"c", b"d"]
    assert [s.size for s in sources] == [3000, 1]
    assert failed.keys() == {"a", "b"}
    assert all("not a regular file" in why for why in failed.values())


def test_a_spool_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    assert spool.keep(b"abc") == 0
    assert spool.keep(b"defg") == 3
    into = bytearray(4)
    spool.read(3, memoryview(into))
    assert into == b"defg"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SourceError, match="shorter"):
        spool.read(5, memoryview(into))
    spool.close()


@given(st.lists(st.one_of(st.integers(1, 400), st.none()), max_size=40))
def test_a_spool_that_lasts_uses_its_room_again(steps: list[int | None]) -> None:
    """None takes out the oldest; the file is never longer than what was in it at the worst."""
    spool, held = StandingSpool(), []
    for number, size in enumerate(steps):
        if size is not None:
            data = bytes([number]) * size
            held.append((spool.keep(data), data))
        elif held:
            at, data = held.pop(0)
            spool.release(at, len(data))
        for at, data in held:
            into = memoryview(bytearray(len(data)))
            spool.read(at, into)
            assert into == data
    for at, data in held:
        spool.release(at, len(data))
    assert os.fstat(spool._file.fileno()).st_size == 0
    spool.close()
