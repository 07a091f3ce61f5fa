"""Reading a ledger: what came whole, by somebody who changes nothing in it.

A receiver may be running and writing meanwhile (records.py); what is read is one state of it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from diode.errors import DestinationError, UsageError
from diode.objects import escape
from diode.sink import records
from diode.sink.place import STATE
from diode.sink.tables import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.events import Key

WHOLE = ("delivered", "duplicate", "bundle")
"""States of an object that is here."""


class Row(NamedTuple):
    """A file that was delivered. path: as the sink has it."""

    member: int
    name: bytes
    path: str
    size: int
    sha256: bytes


class Tally(NamedTuple):
    """What a ledger knows of one sender; ranges are (first, last), in order, not touching."""

    received: list[tuple[int, int]]
    closed: list[tuple[int, int]]
    """Numbers that are not here and will not be taken any more."""
    highest: int
    """Of all numbers that anything is known of."""


def state_of(path: str) -> str:
    """The state folder that is meant: this one, or that of this inbox. UsageError for neither."""
    for folder in (os.path.join(path, STATE), path):
        if os.path.exists(os.path.join(folder, LEDGER)):
            return folder
    raise UsageError(
        f"there is no ledger in {escape(path)}",
        hint="name the inbox of a receiver, or its --state folder",
    )


def delivered(folder: str, key: Key) -> list[Row]:
    """Where the file, or the files, of that object were delivered; none where they were not."""
    with _opened(folder) as db:
        rows = db.execute(
            "SELECT member, name, path, size, sha256 FROM objects WHERE sender=? AND number=?"
            " AND state IN ('delivered', 'duplicate') ORDER BY member",
            key,
        ).fetchall()
    return [Row(member, name, os.fsdecode(path), *rest) for member, name, path, *rest in rows]


def senders(folder: str) -> list[int]:
    """Those of whom something came whole."""
    with _opened(folder) as db:
        rows = db.execute(
            f"SELECT DISTINCT sender FROM objects WHERE member=0 AND state IN {WHOLE}"  # noqa: S608
            " ORDER BY sender"
        ).fetchall()
    return [sender for (sender,) in rows]


def name_of(folder: str) -> int:
    """The number that the ledger drew when it was begun."""
    with _opened(folder) as db:
        (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number) & 0xFFFFFFFF


def tally(folder: str, sender: int) -> Tally:
    """What is here of that sender, and what will not be."""
    with _opened(folder) as db:
        received = ranges(
            number
            for (number,) in db.execute(
                f"SELECT number FROM objects WHERE sender=? AND member=0 AND state IN {WHOLE}"  # noqa: S608
                " ORDER BY number",
                (sender,),
            )
        )
        given_up = _given_up(db, sender)
        (highest,) = db.execute(
            "SELECT MAX(number) FROM objects WHERE sender=?", (sender,)
        ).fetchone()
    last = max([highest or 0, *(gap[1] for gap in given_up)])
    return Tally(received, _without(given_up, received), last)


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """These numbers, which come in order, as ranges."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(number, found[-1][1]))
        else:
            found.append((number, number))
    return found


def _given_up(db: sqlite3.Connection, sender: int) -> list[tuple[int, int]]:
    """Ranges that were waited for in vain."""
    rows = db.execute("SELECT first, last FROM gaps WHERE sender=?", (sender,)).fetchall()
    return [(first, last) for first, last in rows]


def _without(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of some ranges is in none of the others, in order."""
    left = []
    for first, last in sorted(some):
        at = first
        for begin, end in others:
            if end < at or begin > last:
                continue
            if begin > at:
                left.append((at, begin - 1))
            at = end + 1
        if at <= last:
            left.append((at, last))
    found: list[tuple[int, int]] = []
    for first, last in left:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[sqlite3.Connection]:
    """Read only. DestinationError where it cannot be."""
    path = os.path.join(folder, LEDGER)
    try:
        with contextlib.closing(records.connected(path)) as db:
            db.execute("BEGIN")  # one state, however many questions
            yield db
    except sqlite3.Error as error:
        raise DestinationError(
            f"the ledger {escape(path)} cannot be read: {error}",
            hint="run this as the receiver's user or as root",
        ) from error
