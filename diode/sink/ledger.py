"""The ledger: which objects came, from whom, when, where they are; and so, which are replays.

sqlite3 in the state directory. A row is written, and synced, before its file is put in place
(`begin`), and completed afterwards (`record`): whatever is heard of that number again is dropped,
also when the file was taken out of the inbox in the meantime. After a crash between the two the
inbox itself tells which of both holds (`begun`). Times are for people and decide nothing.

All numbers that were delivered are remembered, not only a window of them: a row takes less than the
file it stands for. What costs a sender nothing, taking back an object, is
remembered only for the last `MAX_VOID`.

sqlite3 finds damage in its own structure, not in what is stored. So each row has a CRC-32C, and all
are checked at the start. A damaged ledger is renamed and a new one begun: what lies in
the inbox is still not delivered twice, since the same content under the same name is a
duplicate.

Beside what came it keeps what did not: objects that were refused, and numbers that were waited for
in vain, the last MAX_REFUSALS and MAX_GAPS of them, since a link can make up as many as it likes.
They are for people, and for `diode status`; they decide nothing about a replay. Other processes
read all of it while a receiver runs (records.py).

A ledger that was deleted knows no replay. So each draws a name when it is begun, and whoever asks
for that name (`required`) gets that ledger or none: not a new one, nor one begun after damage. An
older copy of the same ledger has the same name; nothing here can tell it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from diode import database
from diode.database import Damaged, is_damage
from diode.errors import OtherState
from diode.events import Key
from diode.incoming import NOTHING_KNOWN, Course
from diode.objects import escape
from diode.sink.tables import INSERT, check_rows, check_schema, checked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.objects import Manifest
    from diode.sink import Unpacked

BEGUN = "begun"
MAX_VOID = 4096
MAX_REFUSALS = 4096
MAX_GAPS = 4096
_LEAST = 4096
"""Bytes of the shortest ledger: one page."""
_DELIBERATELY = (
    "without it a replay cannot be told: restore the state from a backup, or begin another on "
    "purpose by a run without --require-state, whose name -v tells"
)


class Begun(NamedTuple):
    """An object whose delivery had begun when the process ended."""

    key: Key
    path: str
    size: int
    sha256: bytes


class Refusal(NamedTuple):
    """An object that is not delivered, and why."""

    key: Key
    name: bytes
    reason: str


class Placed(NamedTuple):
    """An object, or a file of a bundle, that was delivered to some place."""

    key: Key
    name: bytes
    size: int
    sha256: bytes


def must_exist(path: str, required: str | None) -> None:
    """OtherState where a certain ledger is asked for and there is none at all."""
    if required is not None and not os.path.exists(path):
        raise OtherState(f"there is no state at {escape(path)}", hint=_DELIBERATELY)


class Ledger:
    """Objects finished so far. Raises sqlite3.Error, which the sink translates."""

    def __init__(self, path: str, required: str | None = None) -> None:
        """Open, or begin; `aside` names the damaged one where there was one.

        required: `name` of the ledger that this has to be. OtherState where it is not, and then
        nothing is begun, moved or changed.
        """
        self.aside = ""
        self.required = required
        self._path = path
        try:
            must_exist(path, required)
            if os.path.exists(path) and 0 < os.path.getsize(path) < _LEAST:
                raise Damaged("it is cut short")  # sqlite3 would call it empty
            self._db = database.opened(path, _check)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            if required is not None:
                raise OtherState(
                    f"the state {escape(path)} is damaged: {error}", hint=_DELIBERATELY
                ) from error
            self._db = self._anew()
        if required not in (None, self.name):
            name = self.name
            self._db.close()
            raise OtherState(
                f"the state of {escape(path)} is {name}, not {escape(required)}",
                hint=_DELIBERATELY,
            )

    @property
    def name(self) -> str:
        """Eight hexadecimal digits, drawn when it was begun."""
        (number,) = self._db.execute("PRAGMA user_version").fetchone()
        return f"{number & 0xFFFFFFFF:08x}"

    def finished(self, key: Key) -> bool:
        """Whether this object needs nothing more."""
        row = self._db.execute(
            "SELECT 1 FROM objects WHERE sender=? AND number=? AND state!=?", (*key, BEGUN)
        ).fetchone()
        return row is not None

    def contradicts(self, key: Key, manifest: Manifest) -> bool:
        """Whether that number stands for other content here."""
        row = self._db.execute(
            "SELECT sha256 FROM objects WHERE sender=? AND number=? AND member=0 AND state IN"
            " ('delivered', 'duplicate', 'bundle')",
            key,
        ).fetchone()
        return row is not None and row[0] != manifest.digest

    def placed(self, paths: set[str]) -> dict[str, list[Placed]]:
        """What was ever delivered to each of these places, by number; reads all rows."""
        found: dict[str, list[Placed]] = {}
        for path, sender, number, *rest in self._db.execute(
            "SELECT path, sender, number, name, size, sha256 FROM objects WHERE state IN"
            " ('delivered', 'duplicate') ORDER BY number"
        ):
            if (place := os.fsdecode(path)) in paths:
                found.setdefault(place, []).append(Placed(Key(sender, number), *rest))
        return found

    def begin(
        self, key: Key, manifest: Manifest, path: str, course: Course = NOTHING_KNOWN
    ) -> None:
        """Its delivery to that path begins now: from here on a repeat is a replay."""
        self.record(key, manifest, BEGUN, path, course)

    def begun(self) -> list[Begun]:
        """Deliveries that an earlier run began and did not complete."""
        rows = self._db.execute(
            "SELECT sender, number, path, size, sha256 FROM objects WHERE state=?", (BEGUN,)
        ).fetchall()
        return [Begun(Key(a, b), os.fsdecode(path), size, sha) for a, b, path, size, sha in rows]

    def withdraw(self, key: Key) -> None:
        """The delivery that had begun will not be completed."""
        self._db.execute(
            "DELETE FROM objects WHERE sender=? AND number=? AND state=?", (*key, BEGUN)
        )

    def complete(self, begun: Begun) -> None:
        """The delivery that had begun turns out to be done."""
        (row,) = self._db.execute(
            "SELECT * FROM objects WHERE sender=? AND number=? AND member=0", begun.key
        )
        self._insert("objects", [checked((*row[:3], "delivered", *row[4:-1]))])

    def record(
        self,
        key: Key,
        manifest: Manifest,
        state: str,
        path: str = "",
        course: Course = NOTHING_KNOWN,
    ) -> None:
        """What became of an object, and how it came. A refusal of it is over."""
        self._write(key, state, manifest.name, path, manifest.size, manifest.digest, course)
        if state != BEGUN:
            self._db.execute("DELETE FROM refusals WHERE sender=? AND number=?", key)
        if state == "void":
            self._db.execute(
                "DELETE FROM objects WHERE state='void' AND (sender, number) IN (SELECT sender,"
                " number FROM objects WHERE state='void' ORDER BY time DESC LIMIT -1 OFFSET ?)",
                (MAX_VOID,),
            )

    def unpacked(
        self, key: Key, manifest: Manifest, how: Unpacked, course: Course = NOTHING_KNOWN
    ) -> None:
        """A bundle is delivered: a row for it, and one for each of its files, all or none."""
        whole = ("bundle", manifest.name, "", manifest.size, manifest.digest)
        rows = [_row(key, 0, *whole, course)]
        for number, (member, delivered) in enumerate(how.files, 1):
            state = "duplicate" if delivered.duplicate else "delivered"
            sha256 = bytes.fromhex(delivered.sha256)
            rows.append(_row(key, number, state, member.name, delivered.path, member.size, sha256))
        self._insert("objects", rows)

    def highest(self, sender: int) -> int:
        """The high-water mark: the highest object number finished or given up; 0 for none."""
        rows = self._db.execute(
            "SELECT MAX(number) FROM objects WHERE sender=?1 AND state!=?2"
            " UNION SELECT MAX(last) FROM gaps WHERE sender=?1",
            (sender, BEGUN),
        ).fetchall()
        return max(number or 0 for (number,) in rows)

    def give_up(self, sender: int, first: int, last: int) -> None:
        """Those numbers are waited for no longer; one row stands for all."""
        self._insert("gaps", [checked((sender, last, first, time.time()))])
        self._bound("gaps", "sender, last", MAX_GAPS)

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        """Those objects are not let in, or will not be delivered."""
        now = time.time()
        rows = [checked((*one.key, one.name, one.reason, now)) for one in refusals]
        self._insert("refusals", rows)
        self._bound("refusals", "sender, number", MAX_REFUSALS)

    def numbers(self, sender: int, most: int) -> list[tuple[int, int]]:
        """Ranges (first, last) of numbers that something is known of here, the last `most`."""
        rows = self._db.execute(
            "SELECT MIN(number), MAX(number) FROM ("
            "SELECT number, number - ROW_NUMBER() OVER (ORDER BY number) AS island FROM ("
            "SELECT number FROM objects WHERE sender=?1"
            " UNION SELECT number FROM refusals WHERE sender=?1"
            ")) GROUP BY island ORDER BY 1 DESC LIMIT ?2",
            (sender, most),
        )
        return sorted(rows.fetchall())

    def replace(self) -> str:
        """It turned out damaged: move it aside and begin another; the name it has now."""
        self._db.close()
        self._db = self._anew()
        return self.aside

    def close(self) -> None:
        self._db.close()

    def _write(
        self,
        key: Key,
        state: str,
        name: bytes,
        path: str,
        size: int,
        sha256: bytes,
        course: Course = NOTHING_KNOWN,
    ) -> None:
        row = _row(key, 0, state, name, path, size, sha256, course)
        self._db.execute(INSERT["objects"], row)

    def _insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        """All of these rows or none."""
        with database.whole(self._db):
            self._db.executemany(INSERT[table], rows)

    def _bound(self, table: str, key: str, most: int) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608  our own names
            f" (SELECT {key} FROM {table} ORDER BY time DESC LIMIT -1 OFFSET ?)",
            (most,),
        )

    def _anew(self) -> sqlite3.Connection:
        self.aside = database.put_aside(self._path)
        return database.opened(self._path, _check)


def _row(
    key: Key,
    member: int,
    state: str,
    name: bytes,
    path: str,
    size: int,
    sha256: bytes,
    course: Course = NOTHING_KNOWN,
) -> tuple[object, ...]:
    row = (*key, member, state, name, os.fsencode(path), size, sha256, time.time())
    return checked((*row, *course))


def _check(db: sqlite3.Connection) -> None:
    check_schema(db)
    check_rows(db)
