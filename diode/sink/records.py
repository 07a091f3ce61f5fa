"""The ledger as other processes read it, while a receiver writes it or when none runs.

It is opened for reading only. Where a receiver runs, readers and it do not wait for each other
(sqlite's write-ahead log). Where none runs, the ledger is one file at rest; a reader that may not
make sqlite's helper files beside it reads it as a file that does not change (`immutable`). What the
log holds of a receiver that was killed is then not seen until the next one starts.

Each row is held against its check. A ledger that is not there is an empty one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from diode.database import Damaged
from diode.health import Delivery, Refused
from diode.objects import escape
from diode.sink.ledger import BEGUN
from diode.sink.tables import LEDGER, TABLES, check_of

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 5.0
"""Seconds to wait where a receiver has the ledger for itself: at its start and its end."""


class Records:
    """What a ledger says. Raises sqlite3.Error where it cannot be read, Damaged where it is."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @property
    def name(self) -> str:
        """As `Ledger.name`; empty where there is none."""
        (number,) = self._db.execute("PRAGMA user_version").fetchone()
        return f"{number & 0xFFFFFFFF:08x}" if self._tables() else ""

    def recent(self, most: int) -> list[Delivery]:
        """The objects that were delivered last, the newest first."""
        rows = self._rows(
            "objects",
            "WHERE member=0 AND state IN ('delivered', 'duplicate', 'bundle')"
            " ORDER BY time DESC LIMIT ?",
            most,
        )
        return [_delivery(row, self._files(row)) for row in rows]

    def places(self) -> Iterator[list[dict[str, Any]]]:
        """What was put into the inbox, files of bundles too: rows by column, those of each path
        together and the newest of them last. To be asked once, and to its end before `has_place`.
        """
        self._db.execute("CREATE TEMP TABLE place (path BLOB PRIMARY KEY) WITHOUT ROWID")
        for row in self._rows("objects", "WHERE state=?", BEGUN):
            self._remember(row)
        rows = self._rows(
            "objects", "WHERE state IN ('delivered', 'duplicate') ORDER BY path, time"
        )
        for _, of_one in itertools.groupby(rows, lambda row: row["path"]):
            found = list(of_one)
            self._remember(found[-1])
            yield found

    def has_place(self, path: bytes) -> bool:
        """Whether `places` had that path, or something is being delivered there."""
        row = self._db.execute("SELECT 1 FROM temp.place WHERE path=?", (path,)).fetchone()
        return row is not None

    def which(self, paths: set[bytes]) -> set[bytes]:
        """Those of these paths that anything was ever delivered to; reads all rows."""
        rows = self._rows("objects", "WHERE state IN ('begun', 'delivered', 'duplicate')")
        return {row["path"] for row in rows if row["path"] in paths}

    def _remember(self, row: dict[str, Any]) -> None:
        self._db.execute("INSERT OR IGNORE INTO temp.place VALUES (?)", (row["path"],))

    def count(self) -> tuple[int, int]:
        """How many places something was put into, and how many bytes that were."""
        if not self._tables():
            return 0, 0
        places, size = self._db.execute(
            "SELECT COUNT(*), SUM(size) FROM (SELECT path, MAX(size) AS size FROM objects"
            " WHERE state IN ('delivered', 'duplicate') GROUP BY path)"
        ).fetchone()
        return int(places), int(size or 0)

    def refused(self, most: int) -> list[Refused]:
        """The objects that were refused last, the newest last."""
        rows = list(self._rows("refusals", "ORDER BY time DESC LIMIT ?", most))
        return [
            Refused(
                row["time"],
                f"{row['sender']:08x}",
                row["number"],
                escape(row["name"]),
                escape(row["reason"]),
            )
            for row in reversed(rows)
        ]

    def gaps(self) -> list[tuple[int, int, int]]:
        """Sender, first, last: numbers missing between those of which anything is known."""
        if not self._tables():
            return []
        rows = self._db.execute(
            "SELECT sender, before + 1, number - 1 FROM (SELECT sender, number, LAG(number) OVER"
            " (PARTITION BY sender ORDER BY number) AS before FROM (SELECT sender, number FROM"
            " objects UNION SELECT sender, number FROM refusals)) WHERE number > before + 1"
        )
        return rows.fetchall()

    def _files(self, row: dict[str, Any]) -> int:
        if row["state"] != "bundle":
            return 1
        (count,) = self._db.execute(
            "SELECT COUNT(*) FROM objects WHERE sender=? AND number=? AND member>0",
            (row["sender"], row["number"]),
        ).fetchone()
        return int(count)

    def _rows(self, table: str, where: str, *values: object) -> Iterator[dict[str, Any]]:
        if not self._tables():
            return
        names = list(TABLES[table])
        try:
            for *row, crc in self._db.execute(f"SELECT * FROM {table} {where}", values):  # noqa: S608
                if check_of(tuple(row)) != crc:
                    raise Damaged("a row contradicts its check")
                yield dict(zip(names, row, strict=True))
        except ValueError as error:  # columns that are not those of a ledger
            raise Damaged(str(error)) from error

    def _tables(self) -> bool:
        """Whether there is a ledger at all."""
        return bool(self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())


@contextlib.contextmanager
def opened(folder: str) -> Iterator[Records]:
    """The ledger in that state folder. Raises as `Records`."""
    path = os.path.join(folder, LEDGER)
    db = connected(path) if os.path.exists(path) else sqlite3.connect(":memory:")
    with contextlib.closing(db):
        yield Records(db)


def connected(path: str) -> sqlite3.Connection:
    """The ledger there, for reading only."""
    where = f"file:{quote(path)}"
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        db = sqlite3.connect(f"{where}?{mode}", uri=True, timeout=WAIT, isolation_level=None)
        try:
            db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.Error as error:
            db.close()
            # Its helper files can neither be read nor made by this user.
            if mode == "mode=ro" and error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
            ):
                continue
            raise
        return db
    raise AssertionError("the last way raises what is wrong")


def _delivery(row: dict[str, Any], files: int) -> Delivery:
    return Delivery(
        row["time"],
        f"{row['sender']:08x}",
        row["number"],
        escape(row["name"]),
        escape(os.fsdecode(row["path"])),
        row["size"],
        row["sha256"].hex(),
        files,
        row["state"] == "duplicate",
        escape(row["signed_by"]),
        row["signed_by_key"],
        row["loss"],
        row["passes"],
        row["frames"],
        row["seconds"],
        row["blocks"],
        row["blocks_decoded"],
        row["parity_used"],
        row["repair"],
    )
