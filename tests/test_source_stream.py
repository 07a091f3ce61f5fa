"""Standard input: spooled whole, sent like a file, and gone afterwards."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inboxes import descriptors, some

from diode.errors import DestinationError, SourceError
from diode.source.stream import StreamSource

CONTENT = some(300_000)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        if Path(f"/proc/self/fd/{descriptor}").exists():
            os.close(descriptor)


def written(writing: int, *pieces: bytes) -> threading.Thread:
    """Somebody who writes these and closes the pipe."""

    def write() -> None:
        with open(writing, "wb", buffering=0) as file:
            file.writelines(pieces)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"ab"] * 1000, [CONTENT] * 10])
def test_stream_is_an_object(spool: Path, pipe: tuple[int, int], pieces: list[bytes]) -> None:
    writer = written(pipe[1], *pieces)
    told: list[int] = []
    source = StreamSource(pipe[0], b"name", folder=str(spool), hashed=told.append)
    writer.join()
    content = b"".join(pieces)
    assert source.size == sum(told) == len(content)
    assert source.digest == hashlib.sha256(content).digest()
    assert (source.name, source.mtime) == (b"name", None)
    for _ in range(2):
        into = np.zeros(len(content), np.uint8)
        if content:
            source.read(0, into)
        assert into.tobytes() == content
        source.check()
        source.close()
    source.discard()


def test_spool_is_private_and_goes_with_the_object(spool: Path, pipe: tuple[int, int]) -> None:
    written(pipe[1], b"secret").join()
    before = descriptors()
    source = StreamSource(pipe[0], b"name", folder=str(spool))
    (path,) = spool.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    source.read(0, np.zeros(1, np.uint8))
    source.discard()
    assert list(spool.iterdir()) == []
    assert descriptors() == before
    with pytest.raises(SourceError):
        source.check()


def test_change_of_the_spool_is_noticed(spool: Path, pipe: tuple[int, int]) -> None:
    written(pipe[1], b"content").join()
    source = StreamSource(pipe[0], b"name", folder=str(spool))
    (path,) = spool.iterdir()
    os.truncate(path, 3)
    with pytest.raises(SourceError, match=r"changed|became shorter"):
        source.read(0, np.zeros(7, np.uint8))
    source.discard()


def test_read_error_makes_no_object(spool: Path) -> None:
    folder = os.open(spool, os.O_RDONLY)
    before = descriptors()
    with pytest.raises(SourceError, match="standard input: Is a directory"):
        StreamSource(folder, b"name", folder=str(spool))
    assert list(spool.iterdir()) == []
    assert descriptors() == before
    os.close(folder)


def test_read_error_in_the_middle_makes_no_object(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([b"some", b"more"])

    def read(_descriptor: int, _size: int) -> bytes:
        piece = next(answers, None)
        if piece is None:
            raise OSError(errno.EIO, "gone")
        return piece

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(SourceError, match="standard input: Input/output error"):
        StreamSource(0, b"name", folder=str(spool))
    assert list(spool.iterdir()) == []


def test_interruption_while_reading_leaves_no_spool(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_descriptor: int, _size: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(KeyboardInterrupt):
        StreamSource(0, b"name", folder=str(spool))
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("fails", ["write", "flush"])
def test_no_room_for_the_spool(
    spool: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    real = tempfile.NamedTemporaryFile

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    def made(**options: str) -> object:
        file = real(**options)
        setattr(file, fails, full)
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", made)
    written(pipe[1], CONTENT[:5000]).join()
    with pytest.raises(DestinationError, match="No space left") as caught:
        StreamSource(pipe[0], b"name", folder=str(spool))
    assert caught.value.exit_code == 13
    assert "TMPDIR" in caught.value.hint
    assert list(spool.iterdir()) == []


def test_nowhere_to_spool(spool: Path, pipe: tuple[int, int]) -> None:
    with pytest.raises(DestinationError, match="No such file") as caught:
        StreamSource(pipe[0], b"name", folder=str(spool / "gone"))
    assert "TMPDIR" in caught.value.hint


def test_more_than_may_be_spooled(spool: Path, pipe: tuple[int, int]) -> None:
    writer = written(pipe[1], b"x" * 1000)
    with pytest.raises(DestinationError, match="more than the 999 B of --max-spool"):
        StreamSource(pipe[0], b"name", folder=str(spool), most=999)
    writer.join()
    assert os.listdir(spool) == []
    reading, writing = os.pipe()
    writer = written(writing, b"x" * 999)
    assert StreamSource(reading, b"name", folder=str(spool), most=999).size == 999
    writer.join()
    os.close(reading)


def test_given_up_by_its_writer(spool: Path, pipe: tuple[int, int], tmp_path: Path) -> None:
    abort = tmp_path / "abort"
    writer = written(pipe[1], CONTENT)
    source = StreamSource(pipe[0], b"name", folder=str(spool), abort_file=str(abort))
    writer.join()
    source.check()
    abort.touch()
    with pytest.raises(SourceError, match=r"given up by its writer: .*abort is there"):
        source.check()
    source.discard()
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(SourceError, match="given up by its writer"):
        StreamSource(reading, b"name", folder=str(spool), abort_file=str(abort))
    os.close(reading)
    assert os.listdir(spool) == []
