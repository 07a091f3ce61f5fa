import sqlite3
import time

import pytest

from diode import endpoint
from diode.errors import UsageError
from diode.publish.sqlite import Sink
from diode.service.record_process import Reading


def sink(path, more=""):
    one = Sink(endpoint.parse(f"sqlite:{path}{more}", {}))
    one.open(print)
    return one


def rows(path):
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT * FROM records ORDER BY id").fetchall()
    db.close()
    return found


def test_a_row_for_each_record(tmp_path):
    path = tmp_path / "r.db"
    one = sink(path)
    one.publish([Reading(1, b"a", b"21.5", 3, 1, True, 5, 2, 7, 99)])
    one.publish([Reading(0, b"b", b"\xff", None, 2)])
    first, second = rows(path)
    assert first[1:] == ("a", "21.5", 3, 99, "uncertain", 1, "every", "00000007", 5, 2)
    assert second[1:4] == ("b", b"\xff", None)
    assert (second[5], second[7]) == ("bad", "latest")
    one._db.close()


def test_a_batch_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "r.db"
    one = sink(path)
    with pytest.raises(UnicodeDecodeError):
        one.publish([Reading(1, b"a", b"1"), Reading(1, b"\xff", b"2")])
    assert rows(path) == []
    one._db.close()


def test_old_rows_go(tmp_path):
    path = tmp_path / "r.db"
    one, now = sink(path, "?keep=1h"), time.time_ns()
    one.publish([Reading(1, b"a", b"old", heard=now - 2 * 3600 * 10**9)])
    one._swept = 0.0
    one._swept -= 1e6
    one.publish([Reading(1, b"a", b"new", heard=now)])
    assert [row[2] for row in rows(path)] == ["new"]
    one._db.close()


def test_a_folder_that_is_not_there():
    with pytest.raises(UsageError):
        Sink(endpoint.parse("sqlite:/nowhere/r.db", {}))
