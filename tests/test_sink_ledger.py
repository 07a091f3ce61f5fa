"""The ledger: what came is known for ever, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inboxes import Thing, descriptors

from diode.errors import DestinationError, OtherState
from diode.events import Key
from diode.incoming import Course
from diode.sink import records
from diode.sink.folder import Inbox
from diode.sink.ledger import Ledger, Placed, Refusal

MANIFEST = Thing(b"content", "naïve.txt".encode()).manifest
LAST = (1 << 32) - 1


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(str(tmp_path / "ledger.db"))
    yield ledger
    ledger.close()


def rows(path: Path) -> list[tuple]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT * FROM objects ORDER BY sender, number").fetchall()
    db.close()
    return found


@pytest.mark.parametrize("state", ["delivered", "duplicate", "void"])
def test_recorded_objects_are_finished(tmp_path: Path, ledger: Ledger, state: str) -> None:
    assert not ledger.finished(Key(7, 1))
    ledger.record(Key(7, 1), MANIFEST, state, "folder/naïve.2.txt")
    assert ledger.finished(Key(7, 1))
    assert not ledger.finished(Key(7, 2))
    assert not ledger.finished(Key(8, 1))
    (row,) = rows(tmp_path / "ledger.db")
    path = os.fsencode("folder/naïve.2.txt")
    assert row[:8] == (7, 1, 0, state, MANIFEST.name, path, 7, MANIFEST.digest)
    assert row[8] > 1e9


def test_largest_ids_fit(ledger: Ledger) -> None:
    ledger.record(Key(LAST, LAST), MANIFEST, "delivered")
    assert ledger.finished(Key(LAST, LAST))
    assert not ledger.finished(Key(LAST, LAST - 1))


def test_paths_need_not_be_text(tmp_path: Path, ledger: Ledger) -> None:
    name = b"\xff\x80 \n"
    ledger.record(Key(7, 1), Thing(b"", name).manifest, "delivered", os.fsdecode(name))
    assert rows(tmp_path / "ledger.db")[0][4:6] == (name, name)


def test_what_was_ever_put_in_a_place(ledger: Ledger) -> None:
    other = Thing(b"other", b"x").manifest
    ledger.record(Key(8, 3), MANIFEST, "duplicate", "a")
    ledger.record(Key(7, 9), other, "delivered", "a")
    ledger.record(Key(7, 1), other, "delivered", "b")
    ledger.record(Key(7, 2), other, "void", "c")
    ledger.begin(Key(7, 4), other, "a")
    assert ledger.placed({"a", "c"}) == {
        "a": [
            Placed(Key(8, 3), MANIFEST.name, MANIFEST.size, MANIFEST.digest),
            Placed(Key(7, 9), b"x", 5, other.digest),
        ]
    }


def test_later_word_replaces_the_earlier(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(Key(7, 1), MANIFEST, "void")
    ledger.record(Key(7, 1), MANIFEST, "delivered", "x")
    assert [row[3] for row in rows(tmp_path / "ledger.db")] == ["delivered"]


def test_reopened_ledger_knows_everything(tmp_path: Path, ledger: Ledger) -> None:
    for number in range(100):
        ledger.record(Key(7, number), MANIFEST, "delivered")
    ledger.close()
    again = Ledger(str(tmp_path / "ledger.db"))
    assert all(again.finished(Key(7, number)) for number in range(100))
    assert not again.finished(Key(7, 100))
    again.close()


def test_killed_process_loses_no_row(tmp_path: Path) -> None:
    program = """
import sys
from diode.events import Key
from diode.objects import Manifest
from diode.incoming import Course
from diode.sink import records
from diode.sink.ledger import Ledger, Placed, Refusal
ledger = Ledger("ledger.db")
for number in range(1_000_000):
    ledger.record(Key(7, number), Manifest(0, 0, b"x", 0, bytes(32), 1, 1, 1, 64, 1, None), "void")
    print(number, flush=True)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        for _ in range(50):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        last = max([last, *map(int, process.stdout.read().split())])
    ledger = Ledger(str(tmp_path / "ledger.db"))
    assert last >= 49
    assert all(ledger.finished(Key(7, number)) for number in range(last + 1))
    assert not ledger.finished(Key(7, last + 2))
    ledger.close()


@pytest.mark.parametrize(
    "content", [b"not a database " * 100, b"SQLite format 3\0" + b"\xff" * 500]
)
def test_damaged_file_is_moved_aside_and_leaks_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.db").write_bytes(content)
    before = descriptors()
    ledger = Ledger(str(tmp_path / "ledger.db"))
    assert ledger.aside.endswith("ledger.db.corrupt-1")
    assert not ledger.finished(Key(7, 1))
    ledger.close()
    assert descriptors() == before
    assert (tmp_path / "ledger.db.corrupt-1").read_bytes() == content


def sound_or_aside(folder: Path, content: bytes, right: list[tuple]) -> bool:
    """Whether such a ledger was moved aside; else it must say what was written."""
    for old in folder.iterdir():
        old.unlink()
    (folder / "ledger.db").write_bytes(content)
    ledger = Ledger(str(folder / "ledger.db"))
    try:
        said = ledger._db.execute("SELECT * FROM objects ORDER BY number").fetchall()
    finally:
        ledger.close()
    assert said == ([] if ledger.aside else right)
    return bool(ledger.aside)


def test_required_ledger_is_not_replaced(tmp_path: Path) -> None:
    """Neither at the start nor where the damage shows later, when nothing can be delivered."""
    inbox = Inbox(str(tmp_path / "inbox"))
    thing = Thing(b"content", b"name")
    thing.give(inbox)
    inbox.close()
    inbox = Inbox(str(tmp_path / "inbox"), required=inbox.state)
    path = tmp_path / "inbox/.diode/ledger.db"
    inbox._ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    inbox._ledger._db.execute("PRAGMA cache_size=0")
    path.write_bytes(b"\xff" * path.stat().st_size)
    for number in (2, 3):
        inbox._ledger._db.execute("PRAGMA shrink_memory")
        with pytest.raises(DestinationError, match="the ledger of"):
            Thing(b"more", b"other", Key(7, number)).give(inbox)
    inbox.close()
    assert [p.name for p in path.parent.glob("ledger.db*corrupt*")] == []
    with pytest.raises(OtherState, match="damaged"):
        Inbox(str(tmp_path / "inbox"), required=inbox.state)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_ledger_damaged_anywhere(tmp_path: Path, damage: str) -> None:
    """Every row is as it was written, or none is believed."""
    ledger = Ledger(str(tmp_path / "ledger.db"))
    for number in range(1, 30):
        ledger.record(Key(7, number), MANIFEST, "delivered", "naïve.txt")
    right = ledger._db.execute("SELECT * FROM objects ORDER BY number").fetchall()
    ledger.close()
    whole = (tmp_path / "ledger.db").read_bytes()
    (tmp_path / "tried").mkdir()
    aside = 0
    for at in range(1, len(whole), 127):
        content = bytearray(whole)
        if damage == "cut":
            content = content[:at]
        else:
            content[at] ^= 1 << at % 8
        aside += sound_or_aside(tmp_path / "tried", bytes(content), right)
    assert aside > 20


def test_objects_taken_back_cost_a_bounded_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diode.sink.ledger.MAX_VOID", 5)
    ledger.record(Key(7, 1), MANIFEST, "delivered", "x")
    for number in range(2, 40):
        ledger.record(Key(7, number), MANIFEST, "void")
    assert ledger._db.execute("SELECT COUNT(*) FROM objects").fetchone() == (6,)
    assert ledger.finished(Key(7, 1))
    assert ledger.finished(Key(7, 39))
    assert ledger.highest(7) == 39


# What did not come --------------------------------------------------------------------------


def test_refusals_are_bounded_and_the_last_ones_are_kept(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diode.sink.ledger.MAX_REFUSALS", 10)
    for number in range(1, 31):
        ledger.refuse([Refusal(Key(7, number), b"x", "void"), Refusal(Key(7, 1), b"x", "again")])
    with records.opened(str(tmp_path)) as found:
        assert [one.number for one in found.refused(100)] == [*range(22, 31), 1]
    assert not ledger.finished(Key(7, 30)), "a refusal decides nothing"


def test_numbers_of_which_something_is_known(ledger: Ledger) -> None:
    for number in (1, 2, 5, 6, 9):
        ledger.record(Key(7, number), MANIFEST, "delivered")
    ledger.record(Key(8, 3), MANIFEST, "delivered")
    ledger.refuse([Refusal(Key(7, 7), b"x", "void"), Refusal(Key(7, 6), b"x", "void")])
    assert ledger.numbers(7, 10) == [(1, 2), (5, 7), (9, 9)]
    assert ledger.numbers(7, 2) == [(5, 7), (9, 9)]
    assert ledger.numbers(9, 10) == []


def test_given_up_numbers_count_for_the_high_water_mark(ledger: Ledger) -> None:
    ledger.record(Key(7, 3), MANIFEST, "delivered")
    ledger.give_up(7, 4, 9)
    assert (ledger.highest(7), ledger.highest(8)) == (9, 0)
    assert not ledger.finished(Key(7, 9))


def test_how_it_came_survives_a_crash_between_the_two(tmp_path: Path, ledger: Ledger) -> None:
    course = Course(signed_by="plant 7", loss=0.5, passes=2)
    ledger.begin(Key(7, 1), MANIFEST, "a", course)
    ledger.complete(ledger.begun()[0])
    with records.opened(str(tmp_path)) as found:
        (one,) = found.recent(1)
    assert (one.path, one.signed_by, one.loss, one.passes) == ("a", "plant 7", 0.5, 2)
    ledger.close()
    again = Ledger(str(tmp_path / "ledger.db"))
    assert (again.aside, again.finished(Key(7, 1))) == ("", True)
    again.close()


@pytest.mark.parametrize("table", ["refusals", "gaps"])
def test_damage_shows_in_every_table(tmp_path: Path, ledger: Ledger, table: str) -> None:
    ledger.refuse([Refusal(Key(7, 1), b"x", "void")])
    ledger.give_up(7, 4, 9)
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute(f"UPDATE {table} SET time = time + 1")
    db.close()
    again = Ledger(str(tmp_path / "ledger.db"))
    assert again.aside.endswith("corrupt-1")
    again.close()
