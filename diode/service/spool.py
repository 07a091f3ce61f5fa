"""The queue of a sender that stays on air, in its state folder: what was numbered, how far it is.

An object is in here, fsynced, before its number is used on air; so after a kill the same files go
on under the same numbers, and passes that were sent are not sent again. A pass counts when its last
frame has left (service/logbook.py says when that is). Files of a folder in which they stay are
remembered after they were sent, for as long as they are there.

    queued ── every pass sent ──> sent ── not repeated any more ──> leaving ── its files moved,
      │                                                                        deleted or kept
      └── a file changed: void                                                        │
                                                                                   retired

Numbers are written here first and reserved in `sender.json` (state.py) second, then used. What is
here and was not reserved was never on air, and is dropped at the next start.

sqlite3 with a write-ahead log, each step one transaction. A queue that is damaged is set aside and
a new one begun: what lies in drop folders is then sent again, under new numbers.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from diode import database
from diode.database import Damaged
from diode.objects import Manifest, escape

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diode.source.drop import Parts
    from diode.source.files import Identity

NAME = "queue.db"
KEPT = 10_000
"""Retired objects that are remembered for whoever asks."""
VERSION = 1
SCHEMA = """
CREATE TABLE object (
    number INTEGER PRIMARY KEY, sender INTEGER NOT NULL, manifest BLOB NOT NULL,
    passes_done INTEGER NOT NULL, state TEXT NOT NULL,
    queued REAL NOT NULL, sent REAL, retired REAL
);
CREATE TABLE file (
    folder BLOB NOT NULL, path BLOB NOT NULL, identity TEXT NOT NULL, number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
CREATE INDEX file_number ON file (number);
CREATE INDEX object_state ON object (state);
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a drop folder, as it was when it was taken."""

    folder: str
    parts: Parts
    identity: Identity


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the queue."""

    number: int
    manifest: Manifest
    files: Sequence[File]
    """Of a bundle, in its order."""
    passes_done: int = 0
    state: str = "queued"


class Spool:
    """The queue. All methods raise DestinationError where the disk does not take it."""

    def __init__(
        self, folder: str, sender: int, number: int, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        """sender, number: who this is, and the highest number reserved so far."""
        self._sender = sender
        path = os.path.join(folder, NAME)
        with _explained():
            self._db, aside, why = database.opened_or_anew(path, _check)
            self._tidy(number)
        if aside:
            notice(
                f"the queue is damaged ({escape(why)}) and set aside as "
                f"{escape(os.path.basename(aside))}; what lies in the drop folders is sent again"
            )

    def close(self) -> None:
        self._db.close()

    # What is there --------------------------------------------------------------------------

    def unfinished(self) -> list[Entry]:
        """What was not retired, by number."""
        with _explained():
            files: dict[int, list[File]] = {}
            for *row, number in self._db.execute(
                "SELECT folder, path, identity, number FROM file JOIN object "
                "USING (number) WHERE state != 'retired' ORDER BY number, position"
            ):
                files.setdefault(number, []).append(_file(row))
            rows = self._db.execute(
                "SELECT number, manifest, passes_done, state FROM object "
                "WHERE state != 'retired' ORDER BY number"
            ).fetchall()
            return [
                Entry(number, _decoded(manifest), files.get(number, []), done, state)
                for number, manifest, done, state in rows
            ]

    def taken(self, folder: str) -> dict[Parts, Identity]:
        """What was taken from that folder and should not be taken again while it is the same."""
        with _explained():
            rows = self._db.execute(
                "SELECT folder, path, identity FROM file WHERE folder = ?",
                (os.fsencode(folder),),
            )
            return {file.parts: file.identity for file in map(_file, rows)}

    # What happens ---------------------------------------------------------------------------

    def add(self, entries: Iterable[Entry]) -> None:
        """Queue objects. On disk when this returns."""
        now = time.time()
        with self._changing():
            for entry in entries:
                manifest = msgspec.msgpack.encode(entry.manifest)
                # A number that could not be reserved is used again.
                self._db.execute("DELETE FROM file WHERE number = ?", (entry.number,))
                self._db.execute(
                    "INSERT OR REPLACE INTO object VALUES (?, ?, ?, 0, 'queued', ?, NULL, NULL)",
                    (entry.number, self._sender, manifest, now),
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)",
                    [(*_row(f), entry.number, at) for at, f in enumerate(entry.files)],
                )

    def passed(self, passes: dict[int, int]) -> None:
        """So many passes of these objects were sent."""
        with self._changing():
            self._db.executemany(
                "UPDATE object SET passes_done = max(passes_done, ?) WHERE number = ?",
                [(done, number) for number, done in passes.items()],
            )

    def step(self, numbers: Iterable[int], state: str) -> None:
        """These objects were `sent` in every planned pass, or are `leaving`."""
        with self._changing():
            self._db.executemany(
                "UPDATE object SET state = ?, sent = coalesce(sent, ?) WHERE number = ?",
                [(state, time.time(), number) for number in numbers],
            )

    def retire(self, numbers: Iterable[int], *, forget: bool) -> None:
        """Nothing more is to be done for these. forget: their files too, which are not there."""
        with self._changing():
            for number in numbers:
                self._db.execute(
                    "UPDATE object SET state = 'retired', retired = ? WHERE number = ?",
                    (time.time(), number),
                )
                if forget:
                    self._db.execute("DELETE FROM file WHERE number = ?", (number,))
            self._db.execute(
                "DELETE FROM object WHERE state = 'retired' AND number <= "
                "(SELECT max(number) FROM object) - ?",
                (KEPT,),
            )

    def forget(self, files: Iterable[tuple[str, Parts]]) -> None:
        """These files are not there any more, or are to be looked at anew."""
        with self._changing():
            self._db.executemany(
                "DELETE FROM file WHERE folder = ? AND path = ?",
                [(os.fsencode(folder), os.fsencode("/".join(parts))) for folder, parts in files],
            )

    # ----------------------------------------------------------------------------------------

    def _tidy(self, number: int) -> None:
        """Drop what was never on air, and what another identity of this sender has queued."""
        with self._changing():
            for where, value in (("number > ?", number), ("sender != ?", self._sender)):
                of = f"SELECT number FROM object WHERE {where}"  # noqa: S608  both are ours
                self._db.execute(f"DELETE FROM file WHERE number IN ({of})", (value,))  # noqa: S608
                self._db.execute(f"DELETE FROM object WHERE {where}", (value,))  # noqa: S608

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with _explained(), database.whole(self._db):
            yield


def _check(db: sqlite3.Connection) -> None:
    """Make the tables, or see that they are ours and can be read. DatabaseError."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise Damaged(f"version {version} is not known")
    for (manifest,) in db.execute("SELECT manifest FROM object WHERE state != 'retired'"):
        _decoded(manifest)


def _decoded(manifest: bytes) -> Manifest:
    try:
        decoded = msgspec.msgpack.decode(manifest, type=Manifest)
        problem = decoded.problem()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged("an object cannot be read") from error
    if problem:
        raise Damaged(f"an object has {problem}")
    return decoded


def _row(file: File) -> tuple[bytes, bytes, str]:
    # As text: an inode number may have 64 bits, an integer of SQLite 63.
    path = os.fsencode("/".join(file.parts))
    return os.fsencode(file.folder), path, " ".join(map(str, file.identity))


def _file(row: Sequence[bytes | str]) -> File:
    folder, path, text = row
    numbers = [int(word) for word in str(text).split() if word.lstrip("-").isdecimal()]
    if len(numbers) != 4 or isinstance(folder, str) or isinstance(path, str):
        raise Damaged("a file cannot be read")
    device, inode, size, mtime = numbers
    parts = tuple(os.fsdecode(path).split("/"))
    return File(os.fsdecode(folder), parts, (device, inode, size, mtime))


def _explained() -> contextlib.AbstractContextManager[None]:
    return database.explained(
        "the queue in the state folder",
        "an object must be on disk before it goes on air: make room there",
    )
