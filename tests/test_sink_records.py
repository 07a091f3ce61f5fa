"""The ledger as other processes read it: while it is written, at rest, and not theirs to write."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest
from inboxes import Thing, reachable, unprivileged

from diode.bundle import Member
from diode.database import Damaged, is_damage
from diode.events import Key
from diode.incoming import Course
from diode.objects import Type
from diode.sink import Delivered, Unpacked, records
from diode.sink.ledger import Ledger, Refusal

COURSE = Course("plant 7", "ab12cd34", 1.5, 0.25, 40, 2, 9, 3, 5, 0.625)
THING = Thing(b"content", b"a\x1b[31m\xff")


def filled(folder: Path) -> Ledger:
    ledger = Ledger(str(folder / "ledger.db"))
    ledger.record(Key(7, 1), THING.manifest, "delivered", "a/b", COURSE)
    ledger.record(Key(7, 2), THING.manifest, "void")
    ledger.record(Key(7, 5), THING.manifest, "duplicate", "a/b")
    return ledger


def test_what_was_delivered_last_and_how_it_came(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    with records.opened(str(tmp_path)) as found:
        assert found.name == ledger.name
        newest, oldest = found.recent(5)
        assert [one.number for one in found.recent(1)] == [5]
    ledger.close()
    assert newest.duplicate and newest.repair is None and newest.signed_by == ""
    assert oldest.name == "a\\x1b[31m\\xff"
    assert (oldest.sender, oldest.number, oldest.path, oldest.size) == ("00000007", 1, "a/b", 7)
    assert (oldest.signed_by, oldest.signed_by_key) == ("plant 7", "ab12cd34")
    assert (oldest.loss, oldest.passes, oldest.frames, oldest.seconds) == (0.25, 2, 40, 1.5)
    assert (oldest.blocks, oldest.blocks_decoded, oldest.parity_used) == (9, 3, 5)
    assert oldest.repair == 0.625
    assert abs(oldest.time - time.time()) < 60


def test_a_bundle_is_one_delivery_of_so_many_files(tmp_path: Path) -> None:
    with_ledger = Ledger(str(tmp_path / "ledger.db"))
    files = [(Member(Type.FILE, b"%d" % n, 3, None), f"{n}.txt") for n in range(3)]
    how = Unpacked(tuple((m, Delivered(path, "ab" * 32, duplicate=False)) for m, path in files))
    with_ledger.unpacked(Key(7, 1), THING.manifest, how, COURSE)
    with_ledger.close()
    with records.opened(str(tmp_path)) as found:
        (bundle,) = found.recent(5)
        assert found.count() == (3, 9)
        paths = [os.fsdecode(rows[0]["path"]) for rows in found.places()]
        assert paths == [path for _, path in files]
    assert (bundle.files, bundle.loss) == (3, 0.25)


def test_refusals_and_gaps(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    ledger.refuse([Refusal(Key(7, 9), b"x\n", "unsigned"), Refusal(Key(8, 1), b"y", "void")])
    with records.opened(str(tmp_path)) as found:
        refused = found.refused(10)
        assert found.gaps() == [(7, 3, 4), (7, 6, 8)]
    ledger.close()
    assert [(one.sender, one.number, one.name, one.reason) for one in refused] == [
        ("00000008", 1, "y", "void"),
        ("00000007", 9, "x\\x0a", "unsigned"),
    ]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    with records.opened(str(tmp_path)) as found:
        assert (found.name, found.recent(5), list(found.places())) == ("", [], [])
        assert (found.count(), found.refused(5), found.gaps()) == ((0, 0), [], [])
    assert os.listdir(tmp_path) == []


def test_read_in_the_middle_of_writing(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    ledger.record(Key(7, 6), THING.manifest, "delivered", "c")
    with records.opened(str(tmp_path)) as found:
        places = found.places()
        assert len(next(places)) == 2
        for number in range(100, 200):
            ledger.record(Key(7, number), THING.manifest, "delivered", f"x{number}")
        assert len(list(places)) == 1, "what a reader sees is of one moment"
        assert found.count() == (102, 714)
        assert found.has_place(b"c")
        assert not found.has_place(b"x100")
        assert found.which({b"c", b"x100", b"y"}) == {b"c", b"x100"}
    ledger.close()


@pytest.mark.parametrize("running", [True, False])
def test_a_reader_who_may_not_write_there(tmp_path: Path, running: bool) -> None:
    reachable(tmp_path)
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    ledger = filled(tmp_path)
    os.umask(before)
    if not running:
        ledger.close()
    there = sorted(os.listdir(tmp_path))
    with unprivileged(), records.opened(str(tmp_path)) as found:
        assert found.count() == (1, 7)
    assert sorted(os.listdir(tmp_path)) == there
    ledger.close()


def test_a_row_that_was_changed(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute("UPDATE objects SET path='elsewhere' WHERE number=1")
    db.close()
    with records.opened(str(tmp_path)) as found, pytest.raises(Damaged):
        list(found.places())


def test_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"nothing of that kind" * 500)
    with (
        pytest.raises(sqlite3.DatabaseError) as caught,
        records.opened(str(tmp_path)) as found,
    ):
        found.recent(1)
    assert is_damage(caught.value)
