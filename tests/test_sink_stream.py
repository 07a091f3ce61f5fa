"""One object to standard output: all of it or nothing."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inboxes import BLOCK, SYMBOL, Thing, descriptors, some

from diode.errors import CarrierError, DestinationError
from diode.events import Key
from diode.sink import Delivered
from diode.sink.stream import Output

THING = Thing(some(20 * BLOCK + 5))
OTHER = Thing(some(BLOCK, 2), key=Key(7, 2))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def output(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with written.open("wb") as file:
        output = Output(file.fileno())
        yield output
        output.close()


def test_nothing_is_written_before_all_is_there(output: Output, written: Path) -> None:
    assert list(output.unfinished()) == []
    assert THING.announce(output)
    for block in reversed(range(THING.blocks)):
        THING.write(output, block)
        output.checkpoint()
        assert written.stat().st_size == 0
    delivered = THING.deliver(output)
    assert delivered == Delivered("-", THING.manifest.digest.hex(), duplicate=False)
    assert written.read_bytes() == THING.content


def test_empty_object(output: Output, written: Path) -> None:
    assert Thing(b"").give(output).path == "-"
    assert written.read_bytes() == b""


def test_wrong_digest_writes_nothing(output: Output, written: Path) -> None:
    liar = Thing(THING.content, digest=bytes(32))
    liar.announce(output)
    liar.write(output)
    assert liar.deliver(output) == []
    assert written.read_bytes() == b""
    liar.write(output)
    assert liar.deliver(output) == []


def test_wrong_block_is_asked_for_again(output: Output, written: Path, tmp_path: Path) -> None:
    THING.announce(output)
    THING.write(output, *range(1, THING.blocks))
    (data,) = (tmp_path / "tmp").glob("*/*/data")
    with data.open("r+b") as file:
        file.seek(5 * BLOCK)
        file.write(bytes(10))
    THING.write(output, 0)
    assert THING.deliver(output) == [5]
    assert written.read_bytes() == b""
    THING.write(output, 5)
    assert isinstance(THING.deliver(output), Delivered)
    assert written.read_bytes() == THING.content


def test_parked_symbols_come_back(output: Output) -> None:
    THING.announce(output)
    symbols = np.arange(2 * SYMBOL, dtype=np.uint8).reshape(2, SYMBOL)
    output.park(THING.key, 3, np.array([1, 5]), symbols)
    output.park(THING.key, 3, np.array([2]), symbols[:1])
    numbers, found = output.parked(THING.key, 3)
    assert numbers.tolist() == [1, 5, 2]
    assert np.array_equal(found, symbols[[0, 1, 0]])


def test_only_the_first_object_is_written(output: Output, written: Path) -> None:
    OTHER.give(output)
    THING.give(output)
    assert written.read_bytes() == OTHER.content


@pytest.mark.parametrize("gone", ["discard", "void"])
def test_object_that_is_gone_takes_nothing_more(output: Output, tmp_path: Path, gone: str) -> None:
    THING.announce(output)
    THING.write(output, 0)
    if gone == "void":
        output.void(THING.key, THING.manifest)
    else:
        output.discard(THING.key)
    THING.write(output, 1)
    output.park(THING.key, 2, np.array([0]), np.zeros((1, SYMBOL), np.uint8))
    assert not len(output.parked(THING.key, 2)[0])
    assert list((tmp_path / "tmp").glob("*/*")) == []
    output.discard(THING.key)


def test_repeated_announcement_of_other_content(output: Output, written: Path) -> None:
    OTHER.announce(output)
    longer = Thing(THING.content, key=OTHER.key)
    longer.give(output)
    assert written.read_bytes() == THING.content


def test_many_objects_use_up_no_descriptors(output: Output) -> None:
    before = descriptors()
    for number in range(1, 200):
        Thing(OTHER.content, key=Key(9, number)).announce(output)
    assert descriptors() <= before + 20


def test_closing_removes_what_was_collected(tmp_path: Path, output: Output) -> None:
    THING.announce(output)
    THING.write(output, 0)
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    before = descriptors()
    extra = Output(1)
    THING.announce(extra)
    assert len(list((tmp_path / "tmp").iterdir())) == 2
    extra.close()
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert descriptors() == before


def test_reader_that_went_away(output: Output) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    broken = Output(writing)
    with pytest.raises(CarrierError, match="went away"):
        THING.give(broken)
    broken.close()
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_full_destination() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        output = Output(full.fileno())
        with pytest.raises(DestinationError, match="standard output: No space left") as caught:
            THING.give(output)
        assert caught.value.exit_code == 13
        output.close()


def test_short_writes_are_gone_on_with(
    output: Output, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    THING.announce(output)
    THING.write(output)
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:1000]))
    THING.deliver(output)
    monkeypatch.undo()
    assert written.read_bytes() == THING.content


def test_full_temporary_folder(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    THING.announce(output)
    monkeypatch.setattr(os, "pwrite", full)
    for trouble in (OTHER.announce, THING.write):
        with pytest.raises(DestinationError, match="No space left") as caught:
            trouble(output)
        assert "TMPDIR" in caught.value.hint
    with pytest.raises(DestinationError):
        output.park(THING.key, 0, np.array([0]), np.zeros((1, SYMBOL), np.uint8))
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(DestinationError, match="No such file"):
        Output(1)
