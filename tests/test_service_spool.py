"""The sender's queue: what a start finds of what was there."""

import os

import pytest

from diode.errors import DestinationError
from diode.objects import Manifest
from diode.service.spool import NAME, Entry, File, Spool


def manifest(name=b"n"):
    return Manifest(0, 0, name, 300, bytes(32), 1, 5, 7, 64, 1, None)


def file(name="a", folder="/out", inode=1 << 63):
    return File(folder, tuple(name.split("/")), (1, inode, 300, -5))


@pytest.fixture
def queue(tmp_path):
    """Open the queue of a sender again and again: (highest number reserved) -> Spool."""
    opened = []

    def again(number=9, sender=7):
        for one in opened:
            one.close()
        opened[:] = [Spool(str(tmp_path), sender, number, told.append)]
        return opened[0]

    told = again.told = []
    yield again
    opened[0].close()


def test_what_was_queued_is_found_with_its_passes(queue):
    spool = queue()
    files = [file("x/\udce4"), file("b", inode=2)]
    spool.add([Entry(1, manifest(), files), Entry(2, manifest(b"m"), [file("c")])])
    spool.passed({1: 2})
    spool.step([1], "sent")
    first, second = queue().unfinished()
    assert (first.number, first.passes_done, first.state) == (1, 2, "sent")
    assert sorted(f.parts for f in first.files) == [("b",), ("x", "\udce4")]
    assert second == Entry(2, manifest(b"m"), [file("c")])
    assert queue().taken("/out")["x", "\udce4"] == (1, 1 << 63, 300, -5)
    assert queue().taken("/other") == {}


def test_what_was_never_on_air_is_dropped(queue):
    """Its number is used for something else."""
    queue(1).add([Entry(1, manifest(), [file()]), Entry(2, manifest(), [file("b")])])
    assert [entry.number for entry in queue(1).unfinished()] == [1]
    assert list(queue(1).taken("/out")) == [("a",)]


def test_the_queue_of_another_identity_is_dropped(queue):
    queue().add([Entry(1, manifest(), [file()])])
    spool = queue(sender=8)
    assert spool.unfinished() == []
    assert spool.taken("/out") == {}


@pytest.mark.parametrize("forget", [False, True])
def test_what_is_retired_is_no_more_to_be_done(queue, forget):
    spool = queue()
    spool.add([Entry(1, manifest(), [file()])])
    spool.step([1], "leaving")
    spool.retire([1], forget=forget)
    assert queue().unfinished() == []
    assert len(queue().taken("/out")) == (not forget)


def test_a_file_that_changed_belongs_to_the_new_object(queue):
    spool = queue()
    spool.add([Entry(1, manifest(), [file()])])
    spool.add([Entry(2, manifest(), [file(inode=5)])])
    old, new = queue().unfinished()
    assert (old.files, new.files) == ([], [file(inode=5)])
    queue().forget([("/out", ("a",))])
    assert queue().taken("/out") == {}


def test_retired_objects_are_remembered_for_a_while(queue, monkeypatch):
    monkeypatch.setattr("diode.service.spool.KEPT", 3)
    spool = queue(20)
    for number in range(1, 11):
        spool.add([Entry(number, manifest(), [])])
        spool.retire([number], forget=True)
    rows = spool._db.execute("SELECT number FROM object").fetchall()
    assert [number for (number,) in rows] == [8, 9, 10]


@pytest.mark.parametrize("damage", [b"", b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_queue_is_set_aside(queue, tmp_path, damage):
    queue().add([Entry(1, manifest(), [file()])])
    queue().close()
    (tmp_path / NAME).write_bytes(damage)
    for suffix in ("-wal", "-shm"):
        (tmp_path / (NAME + suffix)).unlink(missing_ok=True)
    assert queue().unfinished() == []
    queue().add([Entry(1, manifest(), [])])
    if damage:
        assert "set aside as queue.db.corrupt-" in queue.told[-1]
        assert list(tmp_path.glob("queue.db.corrupt-*"))


def test_rows_that_make_no_sense_set_it_aside(queue):
    spool = queue()
    spool.add([Entry(1, manifest(), [])])
    spool._db.execute("UPDATE object SET manifest = x'00'")
    assert queue().unfinished() == []
    assert "an object cannot be read" in queue.told[-1]


def test_a_disk_that_takes_nothing_is_an_error_for_the_operator(tmp_path):
    if os.geteuid() == 0:
        (tmp_path / NAME).mkdir()
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(DestinationError, match="the queue in the state folder"):
        Spool(str(tmp_path), 7, 9)
    tmp_path.chmod(0o700)
