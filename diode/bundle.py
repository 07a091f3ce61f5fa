"""Bundles: many small files as the content of one object (wire 5.7).

    | count | entries | names | contents |

A hundred thousand files of a kilobyte are a hundred thousand manifests, each repeated so that it
surely arrives, and each with its own block, digest, row in the ledger and fsync. In a bundle they
share them. It is no archive format: no compression, no links, no modes, no owners, nothing
that refers to anything else, and so nothing to expand.

The content is the sender's claim even where it is signed. Both directions are here, so the bounds
meet once: `members` looks at the count before it looks at entries, and at all lengths and their
sum, as columns of one array, before it makes a single object.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diode.objects import MAX_BUNDLE, MAX_NAME, Malformed, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MEMBERS = 16_384
"""Files that one object may make a receiver create: inodes, and some 2 MB of memory."""
_COUNT = struct.Struct("<I")
_ENTRY = np.dtype(
    [("type", "u1"), ("flags", "u1"), ("name", "<u2"), ("size", "<u4"), ("mtime", "<i8")]
)
_TIMED = 1
EMPTY = _COUNT.size
"""Bytes of a bundle without anything in it."""


class Member(NamedTuple):
    """A file, or an empty directory, in a bundle. offset: where its content begins there."""

    type: Type
    name: bytes
    size: int
    mtime: int | None
    offset: int = 0


def entry_size(name: bytes) -> int:
    """Bytes of a bundle that something of that name takes besides its content."""
    return _ENTRY.itemsize + len(name)


def head(listed: Sequence[Member]) -> bytes:
    """What comes before the contents; they follow in this order."""
    entries = np.array(
        [
            (m.type, 0 if m.mtime is None else _TIMED, len(m.name), m.size, m.mtime or 0)
            for m in listed
        ],
        _ENTRY,
    )
    return _COUNT.pack(len(listed)) + entries.tobytes() + b"".join(m.name for m in listed)


def members(content: bytes) -> list[Member]:
    """What a bundle holds. Raises Malformed, and nothing else, whatever the bytes."""
    if not _COUNT.size <= len(content) <= MAX_BUNDLE:
        raise Malformed(f"a bundle of {len(content)} bytes")
    (count,) = _COUNT.unpack_from(content)
    if not 1 <= count <= MAX_MEMBERS:
        raise Malformed(f"{count} entries, possible are 1 … {MAX_MEMBERS}")
    begin = _COUNT.size + count * _ENTRY.itemsize
    if begin > len(content):
        raise Malformed(f"{count} entries do not fit {len(content)} bytes")
    entries = np.frombuffer(content, _ENTRY, count, _COUNT.size)
    _check(entries, len(content) - begin)
    ends = (begin + np.cumsum(entries["name"], dtype=np.int64)).tolist()
    names = [content[a:b] for a, b in itertools.pairwise([begin, *ends])]
    if any(b"\0" in name for name in names):
        raise Malformed("a name with NUL")
    if len(set(names)) < count:
        raise Malformed("two entries with one name")
    sizes, offset = entries["size"].tolist(), ends[-1]
    found = []
    types = entries["type"].tolist()
    known = {each: Type(each) for each in set(types)}
    columns = zip(types, entries["flags"].tolist(), names, sizes,
                  entries["mtime"].tolist(), strict=True)  # fmt: skip
    for type_, flags, name, size, mtime in columns:
        found.append(Member(known[type_], name, size, mtime if flags else None, offset))
        offset += size
    return found


def _check(entries: np.ndarray, room: int) -> None:
    """Each number of the entries by itself, and all against the bytes that are there."""
    directory = entries["type"] == Type.DIRECTORY
    for wrong, what in (
        (~directory & (entries["type"] != Type.FILE), "a type that is not known"),
        (entries["flags"] & ~np.uint8(_TIMED), "flags that are not known"),
        ((entries["flags"] == 0) & (entries["mtime"] != 0), "a time that says nothing"),
        ((entries["name"] < 1) | (entries["name"] > MAX_NAME), "a name that is empty or too long"),
        (directory & (entries["size"] != 0), "a directory with content"),
    ):
        if np.any(wrong):
            raise Malformed(f"entry {int(np.flatnonzero(wrong)[0])}: {what}")
    named, sized = (int(entries[field].sum(dtype=np.int64)) for field in ("name", "size"))
    if named + sized != room:
        raise Malformed(f"names of {named} bytes and contents of {sized} in {room}")
