"""What a sender has sent under which number, kept when the run is over: for receipts.

An object is here, on disk, before it is first on air, with its manifest and the paths it was read
from. So when a receipt (receipt.py) comes back weeks later, it is known what its numbers stand
for: what arrived need not be sent again, and what is missing can be, under its old number if it is
still the same. The last MOST objects are kept; what is older counts as unknown.

It is also where the newest receipt is noted, since an older one must not be taken for it.

sqlite3 in the state folder. It is no journal of what goes out, the logbook is: damaged or lost it
costs nothing but that receipts are of no use for what was sent before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from diode import database
from diode.objects import Manifest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

FILE = "history.db"
MOST = 100_000
"""Objects that are remembered."""
PATIENCE = 30.0
"""Seconds to wait for another thread: at a constant rate one reads what is to be sent."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    sender INTEGER NOT NULL,
    number INTEGER NOT NULL,
    content BLOB NOT NULL,    -- what it is, whatever its geometry
    manifest BLOB NOT NULL,   -- MessagePack
    files TEXT NOT NULL,      -- JSON: where it was read, and under which names it was sent
    PRIMARY KEY (sender, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contents ON sent (sender, content);
CREATE TABLE IF NOT EXISTS receipts (
    sender INTEGER PRIMARY KEY,
    ledger INTEGER NOT NULL,  -- of the newest receipt
    received INTEGER NOT NULL
);
"""


class Sent(NamedTuple):
    """An object, and where it was read."""

    number: int
    manifest: bytes
    """As an entry of the logbook has it."""
    files: tuple[tuple[str, str], ...]
    """Absolute path and name of each, as file system strings; none of standard input."""

    @property
    def name(self) -> bytes:
        return self.decoded.name

    @property
    def decoded(self) -> Manifest:
        return msgspec.msgpack.decode(self.manifest, type=Manifest)


class Newest(NamedTuple):
    """The newest receipt that was accepted."""

    ledger: int
    received: int


def content_of(manifest: Manifest) -> bytes:
    """The same for the same thing under the same name, however it was cut, coded or dated."""
    what = (manifest.type, manifest.name, manifest.size, manifest.digest)
    return hashlib.sha256(msgspec.msgpack.encode(what)).digest()[:16]


class History:
    """The objects that one sender has sent. Raises DestinationError."""

    def __init__(self, folder: str, sender: int, most: int = MOST) -> None:
        """folder: the state folder, locked. `aside` names a damaged one that was put aside."""
        self.sender = sender
        self._most = most
        path = os.path.join(folder, FILE)
        with _explained():
            self._db, self.aside, _ = database.opened_or_anew(path, _check, PATIENCE)

    def record(self, objects: Iterable[Sent]) -> None:
        """These are about to be on air; on disk when it returns."""
        rows = [
            (self.sender, o.number, content_of(o.decoded), o.manifest, json.dumps(o.files))
            for o in objects
        ]
        with _explained(), database.whole(self._db):
            self._db.executemany("INSERT OR REPLACE INTO sent VALUES (?,?,?,?,?)", rows)
            self._db.execute(
                "DELETE FROM sent WHERE (sender, number) IN (SELECT sender, number FROM sent"
                " ORDER BY sender=? DESC, number DESC LIMIT -1 OFFSET ?)",
                (self.sender, self._most),
            )

    def forget(self, number: int) -> None:
        """That object was made void: nobody will take it under its number."""
        with _explained():
            self._db.execute("DELETE FROM sent WHERE sender=? AND number=?", (self.sender, number))

    def alike(self, manifest: Manifest) -> list[Sent]:
        """Every time that this content was sent under this name, the oldest first."""
        return self._select("content=?", content_of(manifest))

    def within(self, first: int, last: int) -> list[Sent]:
        """What was sent under these numbers and is remembered."""
        return self._select("number BETWEEN ? AND ?", first, last)

    @property
    def newest(self) -> Newest | None:
        """The newest receipt that was accepted; None before the first one."""
        with _explained():
            row = self._db.execute(
                "SELECT ledger, received FROM receipts WHERE sender=?", (self.sender,)
            ).fetchone()
        return None if row is None else Newest(*row)

    def accepted(self, ledger: int, received: int) -> None:
        """That receipt is the newest one now."""
        with _explained():
            self._db.execute(
                "INSERT OR REPLACE INTO receipts VALUES (?,?,?)", (self.sender, ledger, received)
            )

    def close(self) -> None:
        self._db.close()

    def _select(self, where: str, *values: object) -> list[Sent]:
        with _explained():
            rows = self._db.execute(
                f"SELECT number, manifest, files FROM sent WHERE sender=? AND {where}"  # noqa: S608
                " ORDER BY number",
                (self.sender, *values),
            ).fetchall()
        found = []
        for number, manifest, files in rows:
            with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError, TypeError):
                pairs = tuple((str(path), str(name)) for path, name in json.loads(files))
                one = Sent(number, manifest, pairs)
                if not one.decoded.problem():
                    found.append(one)
        return found


def _check(db: sqlite3.Connection) -> None:
    db.executescript(_SCHEMA)


def _explained() -> contextlib.AbstractContextManager[None]:
    return database.explained(
        "state folder: what was sent cannot be remembered",
        "--state DIR keeps the sender's state elsewhere",
    )
