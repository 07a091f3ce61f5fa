"""Frames of what is to be sent, unnumbered and unchecked, in the order on air.

A member of an interleaving group is one block of an object or its announcement. Its frames are
built as rows of equal length; `interleave` then lays the rows of all members into one flat batch.
Numbers and checks come later, with `frame.stamp`, when a slice of the batch goes to the line.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import frame, plan
from diode.block import CRC, PLAIN
from diode.code import by_id
from diode.envelope import Enclosed
from diode.frame import I64, Beat, Frames, Kind
from diode.objects import Announcement, Manifest, Status
from diode.schedule import symbol_numbers

if TYPE_CHECKING:
    from diode.announcements import AnnouncementSymbols
    from diode.block import BlockCheck
    from diode.frame import U8
    from diode.objects import Type
    from diode.plan import Geometry, Link


class Signer(Protocol):
    """Signs announcements, or not (seal.SecretKey, Unsigned)."""

    @property
    def id(self) -> bytes:
        """The key id that its signatures name; empty where there are none."""

    def sign(self, sender: int, number: int, announcement: Announcement) -> Announcement: ...


class Unsigned:
    """Signs nothing."""

    id = b""

    def sign(self, sender: int, number: int, announcement: Announcement) -> Announcement:  # noqa: ARG002
        return announcement


class Encloser(Protocol):
    """Puts objects into envelopes, or not (envelope.Recipients, Unenclosed)."""

    cipher: int
    """What it encrypts blocks with (wire 5.2)."""

    def enclose(self, sender: int, number: int, manifest: Manifest, signer: bytes) -> Enclosed:
        """The announcement of an object, not signed yet, and what closes its blocks.

        signer: id of the key that will sign it.
        """


class Unenclosed:
    """Sends everything in the open."""

    cipher = PLAIN

    def enclose(self, sender: int, number: int, manifest: Manifest, signer: bytes) -> Enclosed:  # noqa: ARG002
        return Enclosed(Announcement(manifest), CRC)


class Source(Protocol):
    """Where an object's bytes come from. All methods may raise SourceError."""

    name: bytes
    type: Type
    size: int
    digest: bytes
    mtime: int | None

    def read(self, offset: int, into: U8) -> None:
        """Fill `into` with the object's bytes from that offset on."""

    def check(self) -> None:
        """Raise SourceError if the content is no longer what the digest was made of."""

    def close(self) -> None: ...


def describe(source: Source, cut: Geometry, passes: int) -> Manifest:
    """The manifest of an object that is to be sent whole."""
    return Manifest(
        Status.COMPLETE,
        source.type,
        source.name,
        source.size,
        source.digest,
        cut.code,
        cut.k,
        cut.n,
        cut.symbol_size,
        passes,
        source.mtime,
        cut.cipher,
    )


@dataclass(slots=True, eq=False)
class Outgoing:
    """An object on its way. Compared by identity: the queue is searched for it all the time."""

    number: int
    source: Source
    geometry: Geometry
    manifest: Manifest
    announcement: AnnouncementSymbols
    check: BlockCheck
    announced: int = 0
    """Announcement symbols sent so far; the walk round their numbers."""
    passes_done: int = 0


@dataclass(slots=True)
class Member:
    """What one block, or one announcement, sends in a group. block < 0: the announcement."""

    outgoing: Outgoing
    block: int
    count: int
    number_of_pass: int


@dataclass(slots=True)
class Group:
    """Frames in the order on air and how far they have been handed out."""

    frames: Frames
    data_frames: int
    next: int = 0
    finished: list[Outgoing] = field(default_factory=list)


def member_rows(member: Member, sender: int, link: Link) -> U8:
    """The frames of one member, unnumbered and unchecked: uint8 (count, bytes)."""
    outgoing, cut = member.outgoing, member.outgoing.geometry
    if member.block < 0:
        return announcement_rows(outgoing, sender, member.count)
    code = by_id(cut.code)
    assert code is not None
    walk = symbol_numbers(cut, code.numbers(cut.k), member.block, member.number_of_pass)
    symbols = code.encode(_read_block(outgoing, member.block), walk)
    compact = plan.uses_compact(link, cut)
    rows = frame.blank_rows(len(walk), cut.symbol_size, compact=compact)
    identity = {"sender": sender, "number": outgoing.number}
    if compact:
        frame.fill_compact(rows, **identity, block=member.block, symbol=walk)
    else:
        frame.fill_full(rows, Kind.DATA, code=cut.code, **identity, block=member.block, symbol=walk)
    frame.payload(rows, compact=compact)[:] = symbols
    return rows


def _read_block(outgoing: Outgoing, block: int) -> U8:
    """Data, check, zeros (wire 4.1): uint8 (k, S)."""
    cut = outgoing.geometry
    flat = np.empty(cut.k * cut.symbol_size, np.uint8)
    length = cut.length(block)
    outgoing.source.read(block * cut.block_data, flat[:length])
    outgoing.check.close(flat, length, block)
    return flat.reshape(cut.k, cut.symbol_size)


def announcement_rows(outgoing: Outgoing, sender: int, count: int) -> U8:
    """The next `count` symbols of an announcement as frames: uint8 (count, bytes)."""
    announcement = outgoing.announcement
    numbers, symbols = announcement.symbols(outgoing.announced, count)
    outgoing.announced += count
    rows = frame.blank_rows(count, symbols.shape[1])
    frame.fill_full(
        rows,
        Kind.MANIFEST,
        code=announcement.count,
        sender=sender,
        number=outgoing.number,
        block=announcement.tag,
        symbol=numbers,
    )
    frame.payload(rows)[:] = symbols
    return rows


def interleave(rows: list[U8], member: I64, index: I64) -> Frames:
    """Rows of several members in the order (member, index): one flat batch."""
    lengths = np.array([r.shape[1] for r in rows])
    firsts = np.cumsum([0, *(len(r) for r in rows[:-1])])
    at = firsts[member] + index
    if (lengths == lengths[0]).all():
        return Frames.of_rows((np.concatenate(rows) if len(rows) > 1 else rows[0])[at])
    of_frame = lengths[member]
    ends = np.cumsum(of_frame)
    starts = ends - of_frame
    data = np.empty(int(ends[-1]), np.uint8)
    for length in np.unique(lengths).tolist():
        same = [i for i, n in enumerate(lengths) if n == length]
        stacked = np.concatenate([rows[i] for i in same]) if len(same) > 1 else rows[same[0]]
        base = np.zeros(len(rows), np.int64)
        base[same] = np.cumsum([0, *(len(rows[i]) for i in same[:-1])])
        places = np.flatnonzero(of_frame == length)
        _scatter(data, starts[places], stacked, base[member[places]] + index[places])
    return Frames(data, ends)


def _scatter(data: U8, starts: I64, rows: U8, chosen: I64) -> None:
    """Copy the chosen rows to their offsets, those that lie back to back there in one go."""
    length = rows.shape[1]
    breaks = np.flatnonzero(np.diff(starts) != length) + 1
    edges = [0, *breaks.tolist(), len(starts)]
    for first, last in itertools.pairwise(edges):
        at = int(starts[first])
        run = data[at : at + (last - first) * length].reshape(last - first, length)
        np.take(rows, chosen[first:last], axis=0, out=run, mode="clip")  # clip: no buffering


def heartbeat_rows(
    sender: int, number: int, beat: Beat, line: tuple[int, ...], sending: tuple[int, ...]
) -> U8:
    """A heartbeat as a frame: uint8 (1, bytes).

    number: highest object number used. line, sending: the fields of frame.HEARTBEAT in their order
    up to `rate`, and from `queue` on.
    """
    body = np.array([line + sending], frame.HEARTBEAT)
    rows = frame.blank_rows(1, frame.HEARTBEAT.itemsize)
    frame.fill_full(
        rows, Kind.HEARTBEAT, code=beat, sender=sender, number=number, block=0, symbol=0
    )
    frame.payload(rows)[0] = body.view(np.uint8)
    return rows
