"""Records and their bytes (firmware-notes/wire-format.md, section 11.1).

A record is one reading. Many share a frame; a topic that begins like the one before it in the
frame, up to its last `/`, leaves that part out. Nothing in a frame refers to another frame, so each
one that comes through is worth all it holds.

What is read here comes from the link: every length is held against what is there, a record that
breaks a rule is refused alone, and nothing is raised.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from diode import topics

if TYPE_CHECKING:
    from collections.abc import Iterable

LATEST, EVERY = 0, 1
"""Classes of records (wire 11.2)."""
CLASSES = ("latest", "every")
GOOD, UNCERTAIN, BAD = 0, 1, 2
"""Qualities."""
QUALITIES = ("good", "uncertain", "bad")
MAX_PAYLOAD = 8192
"""Bytes of a record's payload. A reading has tens; what is longer is a file."""
SEQUENCES = 1 << 32
"""Numbers of a topic, of which the first is 1; 0 comes behind the last one."""
MOST_TOLD = 7
"""Repeats that can be told of."""

_HEAD = struct.Struct("<BBBHI")
_TIMED = struct.Struct("<BBBHIq")
_THERE, _TIME, _RETAIN = 0x80, 0x08, 0x01


class Record(msgspec.Struct, frozen=True, gc=False):
    """One reading."""

    topic: bytes
    payload: bytes
    time: int | None = None
    """When it was measured, by its source: nanoseconds since 1970."""
    quality: int = GOOD
    retain: bool = False
    sequence: int = 0
    repeats: int = 0
    """How often it was sent before; MOST_TOLD or more are MOST_TOLD."""


def level(topic: bytes) -> bytes:
    """What topics of one level have in common: all up to the last `/`."""
    return topic[: topic.rfind(b"/") + 1]


def packed(record: Record, sequence: int, repeats: int, shared: int = 0) -> bytes:
    """The bytes of a record, `shared` bytes of whose topic are those of the topic before it."""
    head = _THERE | min(repeats, MOST_TOLD) << 4 | record.quality << 1 | record.retain
    topic, payload, time = record.topic, record.payload, record.time
    rest = len(topic) - shared
    if time is None:
        return b"%b%b%b" % (
            _HEAD.pack(head, shared, rest, len(payload), sequence),
            topic[shared:],
            payload,
        )
    return b"%b%b%b" % (
        _TIMED.pack(head | _TIME, shared, rest, len(payload), sequence, time),
        topic[shared:],
        payload,
    )


def length(record: Record) -> int:
    """Bytes of a record that shares nothing."""
    head = _HEAD.size if record.time is None else _TIMED.size
    return head + len(record.topic) + len(record.payload)


def refusal(record: Record, room: int) -> str:
    """Why a record cannot be sent in a payload of that many bytes; empty where it can."""
    if not topics.good(record.topic):
        return topics.refusal(record.topic)
    if len(record.payload) > MAX_PAYLOAD:
        return f"a payload has at most {MAX_PAYLOAD:,} bytes, not {len(record.payload):,}"
    if length(record) > room:
        return f"it takes {length(record):,} bytes, and a frame here has room for {room:,}"
    return ""


class Unpacked(msgspec.Struct):
    """What a payload holds."""

    records: list[Record]
    refused: int = 0
    """Records that broke a rule; the rest of a payload that cannot be read counts as one."""


def unpacked(payload: bytes) -> Unpacked:
    """The records of a payload, whatever it is."""
    found, at, end, topic = Unpacked([]), 0, len(payload), b""
    while at < end and payload[at] & _THERE:
        timed = payload[at] & _TIME
        behind = at + (_TIMED.size if timed else _HEAD.size)
        if behind > end:
            found.refused += 1
            return found
        time = None
        if timed:
            head, shared, rest, size, sequence, time = _TIMED.unpack_from(payload, at)
        else:
            head, shared, rest, size, sequence = _HEAD.unpack_from(payload, at)
        at = behind + rest + size
        if at > end or shared > len(topic):
            found.refused += 1
            return found
        topic = topic[:shared] + payload[behind : behind + rest]
        if size > MAX_PAYLOAD or not topics.good(topic):
            found.refused += 1
            continue
        found.records.append(
            Record(
                topic,
                payload[behind + rest : at],
                time,
                min(head >> 1 & 3, BAD),
                bool(head & _RETAIN),
                sequence,
                head >> 4 & MOST_TOLD,
            )
        )
    if any(payload[at:]):
        found.refused += 1
    return found


class Packer:
    """Collects records into payloads of at most `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._parts: list[bytes] = []
        self._level = b""
        self.size = 0

    def add(self, record: Record, sequence: int, repeats: int) -> bool:
        """Put one in; False where it has no room any more."""
        mine = level(record.topic)
        shared = len(mine) if self._parts and mine == self._level else 0
        data = packed(record, sequence, repeats, shared)
        if self.size + len(data) > self._room and self._parts:
            return False
        self._parts.append(data)
        self.size += len(data)
        self._level = mine
        return True

    def taken(self) -> bytes:
        """What was collected; the next begins anew."""
        whole = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return whole


def pack(records: Iterable[Record], room: int = 1 << 20) -> list[bytes]:
    """These records as payloads, their own sequence and repeats in them."""
    packer, done = Packer(room), []
    for record in records:
        if not packer.add(record, record.sequence, record.repeats):
            done.append(packer.taken())
            packer.add(record, record.sequence, record.repeats)
    return [*done, packer.taken()] if packer.size else done
