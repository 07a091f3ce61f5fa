"""The databases in state folders: how they are opened, looked through, and put aside when damaged.

sqlite3 with a write-ahead log, each step synced. All are used by one thread at a time, which need
not be the one that opened them: what is confined later opens before, and works in a thread that is
confined, too. Damage is not trouble with the disk: a damaged database is renamed, never deleted,
and another begun, while one that cannot be read or written for now is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from diode.errors import DestinationError
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[sqlite3.Connection], object]
    """Makes tables where there are none; raises sqlite3.Error where there are other ones."""

PATIENCE = 5.0
"""Seconds to wait for another connection."""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


class Damaged(sqlite3.DatabaseError):
    """A database does not say what was written into it."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether that means a damaged file, and not trouble with the disk."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, Damaged) or (code is not None and code & 0xFF in _DAMAGE)


def opened(path: str, check: Check, patience: float = PATIENCE) -> sqlite3.Connection:
    """The database there, looked through. Raises sqlite3.Error."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=patience)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Damaged(verdict)
        check(db)
    except sqlite3.Error:
        db.close()
        raise
    return db


class Opened(NamedTuple):
    """A database that can be used, and what became of the one that was damaged."""

    db: sqlite3.Connection
    aside: str = ""
    """Where that one is now; empty where there was none."""
    why: str = ""


def opened_or_anew(path: str, check: Check, patience: float = PATIENCE) -> Opened:
    """The same; a damaged one is put aside and another begun."""
    try:
        return Opened(opened(path, check, patience))
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        why = str(error)
    aside = put_aside(path)
    return Opened(opened(path, check, patience), aside, why)


def put_aside(path: str) -> str:
    """Rename a damaged database, which nobody has open; its path then."""
    number = 1
    while os.path.lexists(f"{path}.corrupt-{number}"):
        number += 1
    aside = f"{path}.corrupt-{number}"
    for tail in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + tail, aside + tail)
    return aside


@contextlib.contextmanager
def whole(db: sqlite3.Connection) -> Iterator[None]:
    """What is done inside is done, all of it, or nothing is."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        yield


@contextlib.contextmanager
def explained(what: str, hint: str) -> Iterator[None]:
    """Trouble with the disk as an operator's error: what cannot be done, and what may help."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DestinationError(f"{what}: {escape(str(error))}", hint=hint) from error
