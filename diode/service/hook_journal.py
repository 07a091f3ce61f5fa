"""Calls of a delivery hook that are owed, on disk: at least one call for each file delivered.

    intended --delivered--> due --command ended well--> gone
        |                    |
        |                    '--failed too often--> failed (kept, told, tried again when asked)
        '--into an outbox--> waiting --stored--> due

A call is written down before its object is delivered, with all that will be told, and synced. So
whatever ends the receiver, at whatever instant: either the object is not delivered, and will be,
or the call is here. One of which only the intention is here is settled at the next start by
the ledger, which knows whether the object was delivered and where. What nobody knows can happen is
that a command had ended and its end was not written down: then it is called once more.

Where order matters, calls are due by sender and number, and one that waits for another attempt
holds back those of its sender that are behind it; so does an intention that is not settled yet.

sqlite3 in the state folder, since a queue may get long while a command is slow. Used by two
threads, each with a connection of its own: deliveries write, the hooks read and remove.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from diode import database
from diode.events import Key

if TYPE_CHECKING:
    import contextlib
    import sqlite3
    from collections.abc import Iterable

FILE = "hooks.db"
PATIENCE = 60.0
"""Seconds to wait for the other thread that writes here."""
MOST_FAILED = 10_000
"""Failed calls that are kept; of more, the oldest are forgotten."""
Facts = dict[str, Any]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender INTEGER NOT NULL,
    number INTEGER NOT NULL,
    member INTEGER NOT NULL,     -- 0 the object; 1, 2, 3 … the files of a bundle
    state TEXT NOT NULL,         -- intended, waiting, due, failed
    run INTEGER NOT NULL,        -- start of the receiver that wrote it down
    attempts INTEGER NOT NULL,
    path BLOB NOT NULL,          -- as the sink has it
    facts TEXT NOT NULL,         -- JSON
    UNIQUE (sender, number, member)
);
CREATE INDEX IF NOT EXISTS states ON calls (state, id);
CREATE TABLE IF NOT EXISTS runs (run INTEGER NOT NULL);
"""
_INSERT = (
    "INSERT OR REPLACE INTO calls (sender, number, member, state, run, attempts, path, facts)"
    " VALUES (?,?,?,?,?,0,?,?)"
)

_FIRST = """
SELECT id, attempts, facts FROM calls AS one WHERE state='due' AND NOT EXISTS (
    SELECT 1 FROM calls AS other WHERE other.sender=one.sender
    AND other.state IN ('due', 'waiting', 'intended')
    AND (other.number, other.member) < (one.number, one.member)
) ORDER BY id
"""
"""The first call of each sender; the constraint of the table is its index."""


class Owed(NamedTuple):
    """A call that is to be made."""

    id: int
    attempts: int
    """Made before, in vain."""
    facts: Facts


class Journal:
    """The calls that are owed. Raises DestinationError where the disk does not take them."""

    def __init__(self, folder: str, *, ordered: bool = False) -> None:
        """folder: the state folder. `aside` names a damaged journal, put aside; mostly empty.

        ordered: a sender's calls are made by number only.
        """
        self.ordered = ordered
        path = os.path.join(folder, FILE)
        with _explained():
            self._db, self.aside, _ = database.opened_or_anew(path, _check, PATIENCE)
            self._worker = database.opened(path, _check, PATIENCE)
            self._db.execute("INSERT INTO runs SELECT COUNT(*) + 1 FROM runs")
            (self._run,) = self._db.execute("SELECT MAX(run) FROM runs").fetchone()
            self._db.execute("DELETE FROM runs WHERE run < ?", (self._run,))

    # Deliveries -------------------------------------------------------------------------------

    def intend(self, key: Key, facts: Facts) -> None:
        """An object is about to be delivered."""
        with _explained():
            self._db.execute(
                "INSERT INTO calls (sender, number, member, state, run, attempts, path, facts)"
                " VALUES (?,?,0,'intended',?,0,x'',?)"
                " ON CONFLICT DO UPDATE SET facts=excluded.facts WHERE state='intended'",
                (*key, self._run, json.dumps(facts)),
            )

    def settle(self, key: Key, files: Iterable[tuple[int, Facts]], *, waits: bool) -> None:
        """What was intended has happened, to these files (member, facts with the path); none
        where nothing was delivered. waits: they have yet to get to their place.

        A duplicate is called only where an earlier run may have been the one that delivered it.
        """
        state = "waiting" if waits else "due"
        with _explained(), database.whole(self._db):
            row = self._db.execute(
                "SELECT run FROM calls WHERE sender=? AND number=? AND state='intended'", key
            ).fetchone()
            if row is None:
                return
            earlier = row[0] != self._run
            self._db.execute(
                "DELETE FROM calls WHERE sender=? AND number=? AND state='intended'", key
            )
            self._db.executemany(
                _INSERT,
                [
                    (*key, n, state, row[0], os.fsencode(facts["path"]), json.dumps(facts))
                    for n, facts in files
                    if earlier or not facts["duplicate"]
                ],
            )

    def intended(self) -> list[tuple[Key, Facts]]:
        """What earlier runs intended and did not settle."""
        with _explained():
            rows = self._db.execute(
                "SELECT sender, number, facts FROM calls WHERE state='intended' AND run<?"
                " ORDER BY id",
                (self._run,),
            ).fetchall()
        return [(Key(sender, number), json.loads(facts)) for sender, number, facts in rows]

    def stored(self, path: str, at: str) -> None:
        """What waited in an outbox under that path is in the store, there."""
        with _explained(), database.whole(self._db):
            rows = self._db.execute(
                "SELECT id, facts FROM calls WHERE state='waiting' AND path=?", (os.fsencode(path),)
            ).fetchall()
            for id_, facts in rows:
                placed = json.dumps(json.loads(facts) | {"path": at})
                self._db.execute("UPDATE calls SET state='due', facts=? WHERE id=?", (placed, id_))

    def retry(self) -> int:
        """Make failed calls due again; how many."""
        with _explained():
            return self._db.execute(
                "UPDATE calls SET state='due', attempts=0 WHERE state='failed'"
            ).rowcount

    def failed(self) -> list[Facts]:
        """What is told of those, the oldest first."""
        with _explained():
            rows = self._db.execute("SELECT facts FROM calls WHERE state='failed' ORDER BY id")
            return [json.loads(facts) for (facts,) in rows]

    # The hooks' own thread --------------------------------------------------------------------

    def next(self, after: int, unless: Iterable[int] = ()) -> Owed | None:
        """The first call that is due behind that one, and not one of these; None where none is."""
        skipped = set(unless)
        if self.ordered:
            return self._next_in_order(skipped)
        with _explained():
            for id_, attempts, facts in self._worker.execute(
                "SELECT id, attempts, facts FROM calls WHERE state='due' AND id>? ORDER BY id"
                " LIMIT ?",
                (after, len(skipped) + 1),
            ):
                if id_ not in skipped:
                    return Owed(id_, attempts, json.loads(facts))
        return None

    def _next_in_order(self, waiting: set[int]) -> Owed | None:
        """The first call of a sender none of whose earlier calls is waiting, or may come yet."""
        with _explained():
            for id_, attempts, facts in self._worker.execute(_FIRST):
                if id_ not in waiting:
                    return Owed(id_, attempts, json.loads(facts))
        return None

    def get(self, id_: int) -> Owed | None:
        """That call, if it is still due."""
        with _explained():
            row = self._worker.execute(
                "SELECT id, attempts, facts FROM calls WHERE id=? AND state='due'", (id_,)
            ).fetchone()
        return None if row is None else Owed(row[0], row[1], json.loads(row[2]))

    def made(self, owed: Owed) -> None:
        """The command has ended well."""
        with _explained():
            self._worker.execute("DELETE FROM calls WHERE id=?", (owed.id,))

    def tried(self, owed: Owed, *, given_up: bool, counted: bool = True) -> None:
        """The command has failed once more. counted: towards the attempts that it has."""
        with _explained():
            self._worker.execute(
                "UPDATE calls SET attempts=?, state=? WHERE id=?",
                (owed.attempts + counted, "failed" if given_up else "due", owed.id),
            )
            self._worker.execute(
                "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE state='failed'"
                " ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (MOST_FAILED,),
            )

    def close(self) -> None:
        self._worker.close()
        self._db.close()


def _check(db: sqlite3.Connection) -> None:
    db.executescript(_SCHEMA)
    db.execute("SELECT id, sender, number, member, state, run, attempts, path, facts FROM calls")


def _explained() -> contextlib.AbstractContextManager[None]:
    return database.explained(
        "the calls of --on-delivery cannot be written down",
        "see the disk of the state folder",
    )
