"""The outbox: what waits in it, what it has room for, what leaves it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from inboxes import Thing, some

from diode.errors import DestinationError
from diode.events import Key
from diode.objects import Type
from diode.sink.outbox import Outbox, Waiting


def opened(folder: Path, quota: int | None = None) -> Outbox:
    return Outbox(str(folder / "st"), mode=0o440, quota=quota)


def thing(number: int, size: int, name: str = "") -> Thing:
    return Thing(some(size, number), name=(name or f"{number}").encode(), key=Key(7, number))


def test_what_an_earlier_run_left_waits(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    thing(1, 300, "b/deep/file").give(outbox)
    thing(2, 200, "a").give(outbox)
    Thing(b"", name=b"empty/folder", key=Key(7, 3), type=Type.DIRECTORY).give(outbox)
    outbox.close()
    outbox = opened(tmp_path)
    os.symlink("/etc/passwd", tmp_path / "st/outbox/link")
    waiting = outbox.waiting()
    assert [one._replace(known=None) for one in waiting] == [
        Waiting("a", 200, folder=False),
        Waiting("b/deep/file", 300, folder=False),
        Waiting("empty/folder", 0, folder=True),
    ]
    assert [one.known and one.known.key.number for one in waiting] == [2, 1, 3]
    assert outbox.elsewhere == 500
    outbox.close()


def test_what_waits_is_told_from_what_left_under_the_same_name(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    for number in (1, 2, 3):
        thing(number, 300, "report").give(outbox)
        if number < 3:
            outbox.take_away("report", 300)
    file = tmp_path / "st/outbox/report"
    for number in (3, 1):
        file.unlink()
        file.write_bytes(some(300, number))
        (waiting,) = outbox.waiting()
        assert waiting.known is not None
        assert waiting.known.sha256 == hashlib.sha256(some(300, number)).digest()
        assert waiting.known.key == Key(7, number)
    outbox.close()


@pytest.mark.parametrize("content", [b"x" * 300, b"cut short"])
def test_what_waits_and_was_never_put_there_is_known_to_be_another(
    tmp_path: Path, content: bytes
) -> None:
    outbox = opened(tmp_path)
    thing(1, 300, "a").give(outbox)
    file = tmp_path / "st/outbox/a"
    file.unlink()
    file.write_bytes(content)
    (waiting,) = outbox.waiting()
    assert waiting.known is not None
    assert waiting.known.sha256 != hashlib.sha256(content).digest()
    outbox.close()


def test_what_is_stored_leaves_no_folder_behind(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    thing(1, 300, "b/deep/file").give(outbox)
    thing(2, 200, "b/other").give(outbox)
    Thing(b"", name=b"empty/folder", key=Key(7, 3), type=Type.DIRECTORY).give(outbox)
    assert outbox.elsewhere == 500
    outbox.take_away("b/deep/file", 300)
    outbox.take_away("empty/folder", 0)
    assert (os.listdir(outbox.path), os.listdir(f"{outbox.path}/b")) == (["b"], ["other"])
    outbox.take_away("b/other", 200)
    assert (os.listdir(outbox.path), outbox.elsewhere) == ([], 0)
    outbox.take_away("b/other", 0)  # somebody was faster
    outbox.close()


def test_the_ledger_remembers_what_left(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    one = thing(1, 300)
    one.give(outbox)
    outbox.take_away("1", 300)
    assert not one.announce(outbox)
    outbox.close()
    outbox = opened(tmp_path)
    assert list(outbox.unfinished()) == []
    assert not one.announce(outbox)
    outbox.close()


def test_nothing_is_begun_that_has_no_room_beside_what_waits(tmp_path: Path) -> None:
    outbox = opened(tmp_path, quota=1000)
    evicted = []
    outbox.evicted = lambda key, _why: evicted.append(key)
    begun, late = thing(1, 400), thing(3, 400)
    begun.announce(outbox)
    thing(2, 500).give(outbox)
    with pytest.raises(DestinationError, match="the outbox is full: 500 bytes"):
        thing(9, 600).announce(outbox)
    assert begun.announce(outbox)  # it is there already
    begun.write(outbox)
    begun.deliver(outbox)  # moves from one side to the other
    assert (outbox.elsewhere, evicted) == (900, [])
    with pytest.raises(DestinationError) as caught:
        late.announce(outbox)
    assert "more --quota" in caught.value.hint
    outbox.take_away("2", 500)
    late.give(outbox)
    assert (outbox.elsewhere, evicted) == (800, [])
    outbox.close()


def test_the_same_content_once_more_takes_no_room(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    thing(1, 300, "a").give(outbox)
    again = Thing(some(300, 1), name=b"a", key=Key(7, 2))
    assert again.give(outbox).duplicate
    assert outbox.elsewhere == 300
    outbox.close()
