"""The records of `every` that a receiver has heard and its sinks have not taken yet, on disk.

In one transaction with them stands how far each topic has come (`inflow.Position`): after a kill
the next run goes on exactly behind what is on disk, and what was not there yet comes again with the
sender's repeats. Each sink has a place of its own in the queue; what all have taken is removed. How
much may wait is bounded. Beyond, the oldest go, and who asks is told which.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING

from diode import database
from diode.inflow import Position
from diode.objects import escape
from diode.service.record_process import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

NAME = "records-heard.db"
QUOTA = 64 << 20
POSITIONS = 65_536
"""Topics whose places are remembered, of all senders."""
OVERHEAD = 100
"""Bytes that a record takes besides its topic and payload, about."""
_TABLES = """
CREATE TABLE IF NOT EXISTS position (
  sender INTEGER NOT NULL, topic BLOB NOT NULL, stream INTEGER NOT NULL, next INTEGER NOT NULL,
  UNIQUE (sender, topic));
CREATE TABLE IF NOT EXISTS sink (name TEXT PRIMARY KEY, taken INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
  id INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER NOT NULL,
  class INTEGER NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL, time INTEGER,
  quality INTEGER NOT NULL, retain INTEGER NOT NULL, sequence INTEGER NOT NULL,
  repeats INTEGER NOT NULL, sender INTEGER NOT NULL, heard INTEGER NOT NULL);
"""
_COLUMNS = "class, topic, payload, time, quality, retain, sequence, repeats, sender, heard"


def _check(db: sqlite3.Connection) -> None:
    db.executescript(_TABLES)
    db.execute(f"SELECT id, size, {_COLUMNS} FROM record LIMIT 1")  # noqa: S608


class RecordStore:
    """Used by several threads, one at a time."""

    def __init__(
        self,
        folder: str,
        sinks: Sequence[str],
        warn: Callable[[str], object],
        quota: int = QUOTA,
    ) -> None:
        """sinks: their names; one that there was and is not any more is forgotten.

        DestinationError where it cannot be had.
        """
        self._folder = folder
        self._quota = quota
        self._kept = 0
        self._one = threading.Lock()
        with self._explained():
            opened = database.opened_or_anew(os.path.join(folder, NAME), _check)
            self._db = opened.db
            if opened.aside:
                warn(f"the store of records was damaged and is now {escape(opened.aside)}")
            self._begin(sinks)

    def _begin(self, sinks: Sequence[str]) -> None:
        with database.whole(self._db):
            for (name,) in self._db.execute("SELECT name FROM sink").fetchall():
                if name not in sinks:
                    self._db.execute("DELETE FROM sink WHERE name=?", (name,))
            last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='record'"
            self._last: int = self._db.execute(last).fetchone()[0]
            first = "SELECT coalesce(min(id), ?) FROM record"
            self._first: int = self._db.execute(first, (self._last + 1,)).fetchone()[0]
            for name in sinks:
                begin = name, self._first - 1
                self._db.execute("INSERT OR IGNORE INTO sink VALUES (?, ?)", begin)
        self._taken: dict[str, int] = dict(self._db.execute("SELECT name, taken FROM sink"))
        (self._held,) = self._db.execute("SELECT coalesce(sum(size), 0) FROM record").fetchone()

    @property
    def waiting(self) -> int:
        """Records that not all sinks have taken."""
        return self._last + 1 - self._first

    def waiting_for(self, sink: str) -> int:
        """Records that this one has not taken. Numbers have no holes, so nothing is asked."""
        return self._last - max(self._taken[sink], self._first - 1)

    def close(self) -> None:
        with self._one:
            self._db.close()

    def positions(self) -> list[Position]:
        """How far each topic has come."""
        with self._one:
            rows = self._db.execute("SELECT sender, topic, stream, next FROM position").fetchall()
        return [Position(*row) for row in rows]

    def keep(self, readings: Iterable[Reading], positions: Iterable[Position]) -> Counter[bytes]:
        """Store these; what had to go for it, by topic. DestinationError, and nothing is stored."""
        before = self._held, self._first, self._last
        gone: Counter[bytes] = Counter()
        with self._one, self._explained():
            try:
                with database.whole(self._db):
                    self._db.executemany(
                        "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?)", positions
                    )
                    for one in readings:
                        self._insert(one)
                    if self._held > self._quota:
                        gone = self._make_room()
                    self._forget()
            except sqlite3.Error:
                self._held, self._first, self._last = before
                raise
        return gone

    def _insert(self, one: Reading) -> None:
        size = len(one.topic) + len(one.payload) + OVERHEAD
        values = (
            *(size, one.class_, one.topic, one.payload, one.time, one.quality, one.retain),
            *(one.sequence, one.repeats, one.sender, one.heard),
        )
        marks = ", ".join("?" * len(values))
        insert = f"INSERT INTO record (size, {_COLUMNS}) VALUES ({marks})"  # noqa: S608
        self._last = self._db.execute(insert, values).lastrowid or self._last
        self._held += size

    def _forget(self) -> None:
        """Remove the topics that were heard of longest ago, where there are too many.

        A row that is replaced gets a number behind all others.
        """
        self._kept += 1
        if self._kept % 100 and self._kept > 1:
            return
        (count,) = self._db.execute("SELECT count(*) FROM position").fetchone()
        if count > POSITIONS:
            self._db.execute(
                "DELETE FROM position WHERE rowid IN"
                " (SELECT rowid FROM position ORDER BY rowid LIMIT ?)",
                (count - POSITIONS,),
            )

    def _make_room(self) -> Counter[bytes]:
        """Remove the oldest, a tenth of the quota, so that it is not for each one anew."""
        gone: Counter[bytes] = Counter()
        last = 0
        for id_, size, topic in self._db.execute("SELECT id, size, topic FROM record ORDER BY id"):
            if self._held <= self._quota * 0.9:
                break
            gone[topic] += 1
            last = id_
            self._held -= size
            self._first = id_ + 1
        self._db.execute("DELETE FROM record WHERE id<=?", (last,))
        return gone

    def next(self, sink: str, size: int) -> tuple[int, list[Reading]]:
        """What that sink gets next, about so many bytes, and the number to be given to `taken`."""
        found: list[Reading] = []
        last = 0
        with self._one:
            rows = self._db.execute(
                f"SELECT id, {_COLUMNS} FROM record WHERE id > "  # noqa: S608
                "(SELECT taken FROM sink WHERE name=?) ORDER BY id LIMIT 2000",
                (sink,),
            )
            for id_, *values in rows:
                last = id_
                values[5] = bool(values[5])
                found.append(Reading(*values))
                size -= found[-1].size
                if size <= 0:
                    break
        return last, found

    def taken(self, sink: str, number: int) -> None:
        """That sink has all up to there. DestinationError."""
        with self._one:
            with self._explained(), database.whole(self._db):
                self._db.execute("UPDATE sink SET taken=? WHERE name=?", (number, sink))
                (least,) = self._db.execute("SELECT min(taken) FROM sink").fetchone()
                size = "SELECT coalesce(sum(size), 0) FROM record WHERE id<=?"
                (gone,) = self._db.execute(size, (least,)).fetchone()
                self._db.execute("DELETE FROM record WHERE id<=?", (least,))
            self._held -= gone
            self._taken[sink] = number
            self._first = max(self._first, least + 1)

    def _explained(self) -> AbstractContextManager[None]:
        what = f"the store of records in {escape(self._folder)}"
        return database.explained(what, "is the disk full, or the folder another user's?")
