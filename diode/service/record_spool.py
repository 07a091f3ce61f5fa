"""The records of `every` that a sender has not sent for the last time, on disk over restarts.

Each is numbered here, by topic (wire 11.2), in the transaction that stores it: what was
acknowledged to its source has its number for good. A new database is a new stream, since nobody
knows what numbers the one before had used. How much may wait is bounded; what is beyond is left to
its source, and goes on when there is room.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from diode import database
from diode.objects import escape
from diode.record import SEQUENCES, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from diode.service.record_process import Reading

NAME = "records.db"
QUOTA = 64 << 20
"""Bytes of records that wait; they are in memory, too."""
OVERHEAD = 400
"""Bytes that one takes in memory besides its topic and payload, about."""
_TABLES = """
CREATE TABLE IF NOT EXISTS stream (number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS topic (topic BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic BLOB NOT NULL, sequence INTEGER NOT NULL,
  time INTEGER, quality INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL);
"""


def _check(db: sqlite3.Connection) -> None:
    db.executescript(_TABLES)
    db.execute("SELECT id, topic, sequence, time, quality, retain, payload FROM record LIMIT 1")


class RecordSpool:
    """Used by several threads, one at a time."""

    def __init__(
        self,
        folder: str,
        begin_stream: Callable[[], int],
        warn: Callable[[str], object],
        quota: int = QUOTA,
    ) -> None:
        """begin_stream: gives the number of a new one. DestinationError where it cannot be had."""
        path = os.path.join(folder, NAME)
        self._folder = folder
        self._one = threading.Lock()
        self.quota = quota
        with self._explained():
            opened = database.opened_or_anew(path, _check)
            self._db = opened.db
            if opened.aside:
                warn(
                    f"the spool of records was damaged and is now {escape(opened.aside)}; what "
                    "waited in it is not sent"
                )
            row = self._db.execute("SELECT number FROM stream").fetchone()
            self.stream = row[0] if row else begin_stream()
            if not row:
                self._db.execute("INSERT INTO stream VALUES (?)", (self.stream,))
            sizes = self._db.execute("SELECT id, length(topic) + length(payload) FROM record")
            self._sizes = {id_: size + OVERHEAD for id_, size in sizes}
        self.held = sum(self._sizes.values())
        """Bytes of what waits."""

    @property
    def waiting(self) -> int:
        """Records that were not sent for the last time."""
        return len(self._sizes)

    def close(self) -> None:
        with self._one:
            self._db.close()

    def topics(self) -> set[bytes]:
        """Those that have had a number."""
        with self._one:
            return {topic for (topic,) in self._db.execute("SELECT topic FROM topic")}

    def pending(self) -> list[tuple[int, Record]]:
        """What earlier runs left, each with its token, in order."""
        columns = "id, topic, payload, time, quality, retain, sequence"
        with self._one:
            rows = self._db.execute(f"SELECT {columns} FROM record ORDER BY id").fetchall()  # noqa: S608
        return [(id_, Record(t, p, at, q, bool(r), n)) for id_, t, p, at, q, r, n in rows]

    def add(self, readings: Iterable[Reading]) -> list[tuple[int, Record]]:
        """Store these, or as many of them as there is room for, numbered; DestinationError.

        What it returns is on disk: each record with its token.
        """
        stored: list[tuple[int, Record]] = []
        last: dict[bytes, int] = {}
        with self._one, self._explained():
            try:
                with database.whole(self._db):
                    for one in readings:
                        if self.held > self.quota:
                            break
                        stored.append(self._store(one, last))
            except sqlite3.Error:
                for token, _ in stored:
                    self.held -= self._sizes.pop(token, 0)
                raise
        return stored

    def _store(self, one: Reading, last: dict[bytes, int]) -> tuple[int, Record]:
        if one.topic not in last:
            row = self._db.execute("SELECT last FROM topic WHERE topic=?", (one.topic,)).fetchone()
            last[one.topic] = row[0] if row else 0
        sequence = last[one.topic] = (last[one.topic] + 1) % SEQUENCES
        self._db.execute("INSERT OR REPLACE INTO topic VALUES (?, ?)", (one.topic, sequence))
        values = one.topic, sequence, one.time, one.quality, one.retain, one.payload
        done = self._db.execute("INSERT INTO record VALUES (NULL, ?, ?, ?, ?, ?, ?)", values)
        assert done.lastrowid is not None
        size = len(one.topic) + len(one.payload) + OVERHEAD
        self._sizes[done.lastrowid] = size
        self.held += size
        whole = Record(one.topic, one.payload, one.time, one.quality, one.retain, sequence)
        return done.lastrowid, whole

    def sent(self, tokens: list[int]) -> None:
        """These were sent for the last time; DestinationError."""
        with self._one:
            with self._explained(), database.whole(self._db):
                self._db.executemany("DELETE FROM record WHERE id=?", [(t,) for t in tokens])
            for token in tokens:
                self.held -= self._sizes.pop(token, 0)

    def _explained(self) -> AbstractContextManager[None]:
        what = f"the spool of records ({escape(self._folder)})"
        return database.explained(what, "is the disk full, or the folder another user's?")
