"""The ledger: which objects came, from whom, when, where they are.

sqlite3 in the state directory. A row is written when its file is in place and durable; a crash
between the two makes the repeat a duplicate of identical content, which is not delivered twice;
times are for people and decide nothing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diode.events import Key
    from diode.objects import Manifest

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    sender INTEGER NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,      -- delivered, duplicate, void
    name BLOB NOT NULL,       -- as the sender gave it
    path BLOB NOT NULL,       -- as delivered, relative to the inbox; need not be UTF-8
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    time REAL NOT NULL,       -- wall clock, seconds since 1970
    PRIMARY KEY (sender, number)
) WITHOUT ROWID;
"""


class Ledger:
    """Objects finished so far. Raises sqlite3.Error, which the sink translates."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error:
            self._db.close()
            raise

    def finished(self, key: Key) -> bool:
        """Whether this object needs nothing more."""
        row = self._db.execute("SELECT 1 FROM objects WHERE sender=? AND number=?", key).fetchone()
        return row is not None

    def record(self, key: Key, manifest: Manifest, state: str, path: str = "") -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?)",
            (
                *key,
                state,
                manifest.name,
                os.fsencode(path),
                manifest.size,
                manifest.digest,
                time.time(),
            ),
        )

    def close(self) -> None:
        self._db.close()
