"""A table of an SQLite database: `sqlite:/var/lib/plant/records.db?keep=90d`.

A row for each record, in the order in which they are published, in transactions that are synced.
With `keep` rows that were heard longer ago than that are removed. Readers need not stop writing,
nor writing readers (write-ahead log).
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from diode import confine, database
from diode.errors import UsageError
from diode.record import CLASSES, QUALITIES
from diode.service.record_process import Said

if TYPE_CHECKING:
    import sqlite3

    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

SWEEP = 60.0
"""Seconds between two removals of old rows."""
_TABLE = """
CREATE TABLE IF NOT EXISTS records (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload NOT NULL, time_ns INTEGER,
  heard_ns INTEGER NOT NULL, quality TEXT NOT NULL, retain INTEGER NOT NULL, class TEXT NOT NULL,
  sender TEXT NOT NULL, sequence INTEGER NOT NULL, repeats INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS records_topic ON records (topic, time_ns);
"""


def _check(db: sqlite3.Connection) -> None:
    db.executescript(_TABLE)
    db.execute("SELECT topic, heard_ns, repeats FROM records LIMIT 1")


class Sink:
    """Inserts rows."""

    kept = ()

    def __init__(self, place: Endpoint) -> None:
        place.known("keep", "stale")
        self._path = os.path.abspath(place.path)
        self._keep = place.seconds("keep", "0")
        folder = os.path.dirname(self._path)
        if not place.path or not os.path.isdir(folder):
            raise UsageError(f"{place.shown}: there is no such folder", hint="sqlite:/path/file.db")
        self.bounds = confine.Bounds(sends=False, own=(folder,))
        self._swept = 0.0

    def open(self, say: Say) -> None:
        opened = database.opened_or_anew(self._path, _check)
        self._db = opened.db
        if opened.aside:
            say(Said(f"{self._path} was damaged and is now {opened.aside}"))
        say(Said(there=True))

    def publish(self, readings: list[Reading]) -> None:
        with database.whole(self._db):
            self._db.executemany(
                "INSERT INTO records (topic, payload, time_ns, heard_ns, quality, retain, class,"
                " sender, sequence, repeats) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_row, readings),
            )
            if self._keep and time.monotonic() - self._swept > SWEEP:
                self._swept = time.monotonic()
                oldest = time.time_ns() - int(self._keep * 1e9)
                self._db.execute("DELETE FROM records WHERE heard_ns < ?", (oldest,))


def _row(one: Reading) -> tuple[Any, ...]:
    """Text where the payload is text, else bytes."""
    payload: str | bytes = one.payload
    with contextlib.suppress(UnicodeDecodeError):
        payload = one.payload.decode()
    return (
        *(one.topic.decode(), payload, one.time, one.heard, QUALITIES[one.quality], one.retain),
        *(CLASSES[one.class_], f"{one.sender:08x}", one.sequence, one.repeats),
    )
