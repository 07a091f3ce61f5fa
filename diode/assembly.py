"""What is to be sent, read and coded: members of interleaving groups become frames.

A member of a group is one block of an object or its announcement. A block is read straight to the
place where its symbols stay until they go on air (group.py), and its parity is computed beside
them. Numbers and checks come later, with `frame.stamp`, when a slice of the group goes to the line.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import frame, plan
from diode.block import CRC, PLAIN
from diode.coder import Here
from diode.errors import SourceError
from diode.frame import I64, Beat, Frames, Kind
from diode.group import Group, Spare, Stack
from diode.lanes import lanes_of
from diode.objects import Announcement, Enclosed, Manifest, Status
from diode.schedule import spread, symbol_numbers, turns, walk_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.announcements import AnnouncementSymbols
    from diode.block import BlockCheck
    from diode.coder import Coder, Making
    from diode.frame import U8, Bool
    from diode.geometry import Geometry
    from diode.group import Place
    from diode.objects import Type
    from diode.plan import Link, Settings


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


def describe(source: Source, settings: Settings, link: Link) -> Manifest:
    """The manifest of an object that is to be sent whole."""
    cut = plan.geometry(source.size, settings, link)
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
        settings.passes,
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
    passes_done: int = 0
    gone: bool = False
    """It has left the queue: sent as often as planned, or its source failed."""


@dataclass(slots=True)
class Member:
    """What one block, or one announcement, sends in a group. block < 0: the announcement."""

    outgoing: Outgoing
    block: int
    count: int
    number_of_pass: int
    first: int = 0
    """Of an announcement: symbols of it sent before; the walk round their numbers."""


@dataclass(slots=True)
class _Part:
    """What a member puts into its stack: its frames' symbol numbers, and where they lie there."""

    member: Member
    numbers: I64
    lanes: U8
    """Which lane each of its frames goes on, (frames,)."""
    compact: bool
    size: int
    rows: int
    """Symbols it keeps in the stack."""
    first_frame: int = 0
    first_row: int = 0

    @property
    def shape(self) -> tuple[bool, int]:
        """What frames of one stack have in common."""
        return self.compact, self.size


@dataclass(slots=True)
class Assembled:
    """Members read, coded and headed, and whose sources failed."""

    stacks: list[Stack]
    members: list[Member]
    """Those that are there, in order, each with `counts` frames, the first at `firsts`."""
    counts: I64
    stack: I64
    """Which stack each member is in."""
    firsts: I64
    failed: dict[Outgoing, str]

    def group(self, place: Place) -> Group:
        """Their frames in the order on air."""
        phases = [0.0 if m.block < 0 else 0.5 for m in self.members]
        order, index = spread(self.counts.tolist(), phases)
        return Group(self.stacks, self.stack[order], self.firsts[order] + index, place)


def assemble(
    members: Sequence[Member],
    sender: int,
    link: Link,
    spare: Spare | None = None,
    coder: Coder | None = None,
) -> Assembled:
    """Read, code and head these members. Nothing but their sources is touched, so that this may
    be done in another thread while the group before is sent.

    spare: memory for their symbols. coder: computes their parity.
    """
    spare, coder = spare or Spare(), coder or Here()
    parts = [_part(member, link) for member in members]
    stacks: dict[tuple[bool, int], Stack] = {}
    for shape in dict.fromkeys(part.shape for part in parts):
        frames = rows = 0
        for part in parts:
            if part.shape == shape:
                part.first_frame, part.first_row = frames, rows
                frames += len(part.numbers)
                rows += part.rows
        header = frame.COMPACT_HEADER if shape[0] else frame.HEADER
        stacks[shape] = Stack(header, frames, spare.rows(rows, shape[1]))
    failed: dict[Outgoing, str] = {}
    making: deque[tuple[Making, U8]] = deque()
    for part in parts:
        if part.member.outgoing not in failed:
            if len(making) >= coder.width:
                _put(making)
            try:
                making.extend(_fill(part, stacks[part.shape], sender, coder))
            except SourceError as error:
                failed[part.member.outgoing] = str(error)
    while making:
        _put(making)
    there = [part for part in parts if part.member.outgoing not in failed]
    places = {shape: place for place, shape in enumerate(stacks)}
    return Assembled(
        list(stacks.values()),
        [part.member for part in there],
        np.array([len(part.numbers) for part in there], np.int64),
        np.array([places[part.shape] for part in there], np.int64),
        np.array([part.first_frame for part in there], np.int64),
        failed,
    )


def _part(member: Member, link: Link) -> _Part:
    outgoing, cut = member.outgoing, member.outgoing.geometry
    if member.block < 0:
        announcement = outgoing.announcement
        numbers = announcement.numbers(member.first, member.count)
        lanes = _announcement_lanes(outgoing, member.first, member.count, link)
        return _Part(member, numbers, lanes, False, announcement.size, len(numbers))
    most, count = cut.coding.walk(cut.k), cut.frames(member.block)
    walk = symbol_numbers(cut, most, member.block, member.number_of_pass)
    there = walk_length(cut, most, member.block)
    begin = outgoing.number + member.block
    lanes = lanes_of(turns(member.number_of_pass * count, count, there, begin), link)
    parity = int((walk >= cut.k).sum())
    compact = plan.uses_compact(link, cut)
    return _Part(member, walk, lanes, compact, cut.symbol_size, cut.k + parity)


def _announcement_lanes(outgoing: Outgoing, first: int, count: int, link: Link) -> U8:
    """Which lane each of `count` symbols of an announcement goes on, from that one on."""
    there = outgoing.announcement.walk
    return lanes_of(turns(first, count, there, outgoing.number), link)


def _put(making: deque[tuple[Making, U8]]) -> None:
    """Wait for the parity that was begun first, and put it where it belongs."""
    parity, where = making.popleft()
    parity.put(where)


def _fill(part: _Part, stack: Stack, sender: int, coder: Coder) -> list[tuple[Making, U8]]:
    """Write a member's headers and symbols where the stack has room for them; parity that is being
    computed, and where it goes.
    """
    making: list[tuple[Making, U8]] = []
    member, outgoing = part.member, part.member.outgoing
    symbols = stack.symbols[part.first_row : part.first_row + part.rows]
    frames = slice(part.first_frame, part.first_frame + len(part.numbers))
    headers = stack.headers[frames]
    stack.lane[frames] = part.lanes
    identity = {"sender": sender, "number": outgoing.number}
    if member.block < 0:
        announcement = outgoing.announcement
        symbols[:] = announcement.symbols(part.numbers)
        stack.row[frames] = part.first_row + np.arange(part.rows)
        kind, code, block = Kind.MANIFEST, announcement.count, announcement.tag
    else:
        row, of_parity = _fill_block(part, symbols)
        stack.row[frames] = part.first_row + row
        if of_parity.any():
            cut = outgoing.geometry
            made = coder.begin(cut, symbols[: cut.k], part.numbers[of_parity])
            making.append((made, symbols[cut.k :]))
        kind, code, block = Kind.DATA, outgoing.geometry.code, member.block
    if part.compact:
        frame.fill_compact(headers, **identity, block=block, symbol=part.numbers)
    else:
        frame.fill_full(headers, kind, code=code, **identity, block=block, symbol=part.numbers)
    return making


def _fill_block(part: _Part, symbols: U8) -> tuple[I64, Bool]:
    """A block's source symbols, with room for the parity that it sends behind them, (k + parity,
    S); which of these rows each frame carries, and whether it is parity.
    """
    outgoing, cut = part.member.outgoing, part.member.outgoing.geometry
    length = cut.length(part.member.block)
    source = symbols[: cut.k]
    flat = source.reshape(-1)
    outgoing.source.read(part.member.block * cut.block_data, flat[:length])
    outgoing.check.close(flat, length, part.member.block)
    of_parity = part.numbers >= cut.k
    row = part.numbers.copy()
    row[of_parity] = cut.k + np.arange(int(of_parity.sum()))
    return row, of_parity


def announcement_frames(
    outgoing: Outgoing, sender: int, first: int, count: int, link: Link
) -> tuple[Frames, U8]:
    """`count` symbols of an announcement, from that one on, as frames of their own, and which lane
    each of them goes on.
    """
    announcement = outgoing.announcement
    numbers = announcement.numbers(first, count)
    rows = frame.blank_rows(count, announcement.size)
    frame.fill_full(
        rows,
        Kind.MANIFEST,
        code=announcement.count,
        sender=sender,
        number=outgoing.number,
        block=announcement.tag,
        symbol=numbers,
    )
    frame.payload(rows)[:] = announcement.symbols(numbers)
    return Frames.of_rows(rows), _announcement_lanes(outgoing, first, count, link)


def heartbeat_rows(
    sender: int,
    number: int,
    beat: Beat,
    line: tuple[int, ...],
    sending: tuple[int, ...],
    length: int = 0,
    on_lanes: Sequence[int] | I64 = (0,),
) -> U8:
    """A heartbeat as frames that follow each other, one for each lane: uint8 (lanes, bytes).

    number: highest object number used. line, sending: the fields of frame.HEARTBEAT in their order
    up to `rate`, and from `queue` on. length: of the frame; 0: no longer than it need be.
    on_lanes: frames that each lane has had in this run.
    """
    count = len(on_lanes)
    beats = np.array([line + sending] * count, frame.HEARTBEAT)
    beats["frames"] += np.arange(count, dtype=np.uint64)
    said = [beats.view(np.uint8).reshape(count, -1)]
    if count > 1:
        lanes = np.array([(n, lane, count) for lane, n in enumerate(on_lanes)], frame.LANE)
        said.append(lanes.view(np.uint8).reshape(count, -1))
    body = np.concatenate(said, axis=1)
    size = body.shape[1]
    rows = frame.blank_rows(count, max(size, length - frame.HEADER - frame.CHECK))
    frame.fill_full(
        rows, Kind.HEARTBEAT, code=beat, sender=sender, number=number, block=0, symbol=0
    )
    frame.payload(rows)[:] = 0
    frame.payload(rows)[:, :size] = body
    return rows
