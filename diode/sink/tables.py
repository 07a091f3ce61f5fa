"""What a ledger consists of: its tables, their rows' checks, and how damage shows.

sqlite3 finds damage in its own structure, not in what is stored. So each row has a CRC-32C. Both
ends are here: who writes (ledger.py) and who only reads (records.py).
"""

from __future__ import annotations

import secrets
import sqlite3

from diode.database import Damaged
from diode.frame import crc32c

LEDGER = "ledger.db"
"""Its name in a state folder."""
TABLES = {
    "objects": {
        "sender": "INTEGER NOT NULL",
        "number": "INTEGER NOT NULL",
        "member": "INTEGER NOT NULL",  # 0 the object; 1, 2, 3 … the files of a bundle
        "state": "TEXT NOT NULL",  # begun, delivered, duplicate, bundle, void
        "name": "BLOB NOT NULL",  # as the sender gave it
        "path": "BLOB NOT NULL",  # as delivered, relative to the inbox; need not be UTF-8
        "size": "INTEGER NOT NULL",
        "sha256": "BLOB NOT NULL",
        "time": "REAL NOT NULL",  # wall clock, seconds since 1970
        # How it came (incoming.Course), of objects; of the files of a bundle nothing.
        "signed_by": "TEXT NOT NULL",
        "signed_by_key": "TEXT NOT NULL",
        "seconds": "REAL NOT NULL",
        "loss": "REAL NOT NULL",
        "frames": "INTEGER NOT NULL",
        "passes": "INTEGER NOT NULL",
        "blocks": "INTEGER NOT NULL",
        "blocks_decoded": "INTEGER NOT NULL",
        "parity_used": "INTEGER NOT NULL",
        "repair": "REAL",
    },
    "refusals": {
        "sender": "INTEGER NOT NULL",
        "number": "INTEGER NOT NULL",
        "name": "BLOB NOT NULL",
        "reason": "TEXT NOT NULL",
        "time": "REAL NOT NULL",
    },
    "gaps": {
        "sender": "INTEGER NOT NULL",
        "last": "INTEGER NOT NULL",
        "first": "INTEGER NOT NULL",
        "time": "REAL NOT NULL",
    },
}
"""Columns; behind them each row has `crc`, the CRC-32C of all of it."""
_KEYS = {"objects": "sender, number, member", "refusals": "sender, number", "gaps": "sender, last"}
_INDEXES = {
    "unusual": "objects (state) WHERE state IN ('begun', 'void')",
    "lately": "objects (time) WHERE member = 0",
}
INSERT = {
    table: f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * (len(columns) + 1))})"  # noqa: S608
    for table, columns in TABLES.items()
}


def checked(row: tuple[object, ...]) -> tuple[object, ...]:
    return (*row, check_of(row))


def check_of(row: tuple[object, ...]) -> int:
    """The CRC of a row without it."""
    return crc32c(repr(row).encode())


def check_rows(db: sqlite3.Connection) -> None:
    """Every row against its CRC."""
    try:
        for table in TABLES:
            for *row, crc in db.execute(f"SELECT * FROM {table} NOT INDEXED"):  # noqa: S608
                if check_of(tuple(row)) != crc:
                    raise Damaged("a row contradicts its check")
    except sqlite3.OperationalError as error:
        if "decode" in str(error):  # text that is none
            raise Damaged(str(error)) from error
        raise


def check_schema(db: sqlite3.Connection) -> None:
    """Make the tables; damage may have renamed what is there."""
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if not names:
        db.executescript(_schema(secrets.randbits(31)))
        return
    if not TABLES.keys() | _INDEXES.keys() <= names:
        raise Damaged("the tables are not those of a ledger")
    for table, columns in TABLES.items():
        there = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        if there != [*columns, "crc"]:
            raise Damaged("the columns are not those of a ledger")


def _schema(name: int) -> str:
    """What makes the tables, in one transaction. name: the ledger's."""
    tables = [
        f"CREATE TABLE {table} ({', '.join(f'{c} {kind}' for c, kind in columns.items())},"
        f" crc INTEGER NOT NULL, PRIMARY KEY ({_KEYS[table]})) WITHOUT ROWID;"
        for table, columns in TABLES.items()
    ]
    indexes = [f"CREATE INDEX {index} ON {what};" for index, what in _INDEXES.items()]
    return "\n".join(["BEGIN;", *tables, *indexes, f"PRAGMA user_version = {name};", "COMMIT;"])
