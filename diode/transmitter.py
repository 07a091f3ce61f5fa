"""The sending core: objects and a clock in, batches of frames out. No socket, no port.

The objects queued are sent in passes: every object once, then every object once more, so that
a repeated pass comes after the whole previous one. Within a pass, blocks are collected into
interleaving groups (schedule.py), read from their source, coded, put into frames in the order
on air, and handed out in slices of at most `SLICE_BYTES`; numbering and checks come last, when the
order is final. What is held in memory is one group.

A source can fail: it cannot be read, or it changed after it was announced. Its object is then
announced void, as often as a manifest needs to be sure, and leaves the queue; a
receiver never delivers it.

The sender never knows what arrived. Its words are "sent" and "passes".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from diode import frame, plan
from diode.announcements import AnnouncementSymbols
from diode.assembly import (
    Group,
    Member,
    Outgoing,
    Source,
    Unenclosed,
    Unsigned,
    announcement_rows,
    describe,
    heartbeat_rows,
    interleave,
    member_rows,
)
from diode.errors import SourceError
from diode.frame import Beat, Frames
from diode.objects import Status
from diode.plan import Geometry, Link, Settings
from diode.schedule import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.assembly import Encloser, Signer
    from diode.block import BlockCheck
    from diode.frame import U8
    from diode.objects import Manifest

SLICE_BYTES = 256 << 10
"""Frames handed out at a time on a link without a rate: fits a processor's cache."""
SLICE_SECONDS = 0.05
HEARTBEAT_FRAMES = 4096
"""Frames between heartbeats on a link without a rate; with one, about a second."""


@dataclass(frozen=True, slots=True)
class ObjectSent:
    """Every planned pass of an object is on its way to the carrier."""

    number: int
    name: bytes
    passes: int


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """An object was made void because its source failed."""

    number: int
    name: bytes
    reason: str


@dataclass(slots=True)
class Progress:
    """Where the transmission stands; frames are those of the passes planned so far."""

    frames: int = 0
    total_frames: int = 0
    number_of_pass: int = 0
    passes: int = 1
    objects: int = 0
    line_frames: int = 0
    """Frames of every kind since the start of this run."""
    line_bytes: int = 0
    """Bytes they made on the line; counted by whoever encodes them."""
    line_time: float = 0.0
    """Bytes of line time that they are expected to take."""


class Transmitter:
    """Queue objects with `add`, take frames with `step` until it returns None."""

    def __init__(
        self,
        sender: int,
        settings: Settings,
        link: Link,
        *,
        frames_before: int = 0,
        highest_number: int = 0,
        signer: Signer | None = None,
        encloser: Encloser | None = None,
    ) -> None:
        """frames_before: frames this sender id has ever sent, so that the count goes on."""
        self.sender = sender
        self._signer = signer or Unsigned()
        self._encloser = encloser or Unenclosed()
        self.settings = replace(settings, cipher=self._encloser.cipher)
        self.link = link
        self.frames_sent = frames_before
        self.progress = Progress(passes=settings.passes)
        self._started_at: float | None = None
        self._highest = highest_number
        self._queue: list[Outgoing] = []
        self._members: Iterator[tuple[Outgoing, int]] | None = None
        self._of_pass: tuple[Outgoing, ...] = ()
        self._ahead: deque[tuple[Outgoing, int]] = deque()
        self._group: Group | None = None
        self._voiding: deque[Frames] = deque()
        self._since_heartbeat = 0
        self._closed = False
        self._events: list[ObjectSent | SourceFailed] = []

    def add(self, number: int, source: Source) -> Manifest:
        """Queue an object under a number never used before; its manifest, for the record."""
        cut = plan.geometry(source.size, self.settings, self.link)
        manifest = describe(source, cut, self.settings.passes)
        symbols, check = self._announcement(number, manifest)
        self._queue.append(Outgoing(number, source, cut, manifest, symbols, check))
        self._highest = max(self._highest, number)
        self.progress.objects += 1
        self.progress.total_frames += self._frames_of(cut, symbols.count) * max(
            1, self.settings.passes
        )
        return manifest

    def step(self, now: float) -> Frames | None:
        """The next frames for the line, or None when every pass of every object is out.

        now: monotonic seconds; only heartbeats show it. At the end of a run the last
        heartbeat comes out once; after that None.
        """
        if self._started_at is None:
            self._started_at = now
            self._group = self._next_group()  # before the line is first used, not while it waits
            return self._stamped(self._heartbeat(now, Beat.FIRST))
        if self._since_heartbeat >= self._heartbeat_frames:
            return self._stamped(self._heartbeat(now, Beat.GOING_ON))
        if self._voiding:
            return self._stamped(self._voiding.popleft())
        if self._group is None:
            self._group = self._next_group()
        if self._group is not None:
            return self._stamped(self._slice(self._group))
        if self._voiding:
            return self._stamped(self._voiding.popleft())
        if not self._closed:
            self._closed = True
            return self._stamped(self._heartbeat(now, Beat.LAST))
        return None

    def stop(self) -> None:
        """Send nothing more but the last heartbeat."""
        self._members, self._group = iter(()), None
        self._ahead.clear()
        self._voiding.clear()
        for outgoing in self._queue:
            outgoing.source.close()
        self._queue.clear()

    def events(self) -> list[ObjectSent | SourceFailed]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    # Passes and groups ----------------------------------------------------------------------

    def _blocks_of_pass(self) -> Iterator[tuple[Outgoing, int]]:
        """Every block of every object, once; an object without blocks shows up as block -1."""
        for outgoing in self._of_pass:
            for block in range(outgoing.geometry.blocks) or (-1,):
                if outgoing not in self._queue:  # its source failed meanwhile
                    break
                yield outgoing, block

    def _next_block(self, before: list[tuple[Outgoing, int]]) -> tuple[Outgoing, int] | None:
        """The next block of the pass; None where the group that ends with `before` must end."""
        assert self._members is not None
        item = self._ahead.popleft() if self._ahead else next(self._members, None)
        if item and before and self.settings.keep_order and item[0] is not before[0][0]:
            self._ahead.appendleft(item)
            return None
        return item

    def _next_group(self) -> Group | None:
        """Collect, read and code the next interleaving group; None when all passes are done."""
        while self._queue:
            if self._members is None:
                self._of_pass = tuple(self._queue)  # what is added from now on waits for the next
                self._members = self._blocks_of_pass()
                self.progress.number_of_pass += 1
            chosen = self._choose()
            if not chosen:
                self._members = None
                self._end_pass()
                continue
            members = self._members_of(chosen)
            if members:
                return self._build(members)
        return None

    def _end_pass(self) -> None:
        for outgoing in self._of_pass:
            if outgoing not in self._queue:  # its source failed meanwhile
                continue
            try:
                outgoing.source.check()
            except SourceError as error:
                self._void(outgoing, str(error))
                continue
            outgoing.passes_done += 1
            if outgoing.passes_done == self.settings.passes:
                self._queue.remove(outgoing)
                outgoing.source.close()
                self._events.append(
                    ObjectSent(outgoing.number, outgoing.source.name, outgoing.passes_done)
                )

    def _choose(self) -> list[tuple[Outgoing, int]]:
        """Blocks until the group is long enough for the burst to be survived.

        A rest of the pass shorter than half a group joins the last group rather than
        standing alone, with less protection.
        """
        chosen: list[tuple[Outgoing, int]] = []
        frames = size = wanted = 0
        while (item := self._next_block(chosen[-1:])) is not None:
            outgoing, block = item
            count = max(1, self._frames_of_block(outgoing, block))
            bytes_ = count * plan.frame_bytes(self.link, outgoing.geometry)
            if chosen and size + bytes_ > plan.MAX_GROUP_BYTES:
                self._ahead.appendleft(item)
                return chosen
            chosen.append(item)
            frames += count
            size += bytes_
            wanted = max(wanted, plan.group_frames(self.settings, self.link, outgoing.geometry))
            if frames >= wanted:
                break
        return chosen + self._short_rest(chosen, wanted // 2, plan.MAX_GROUP_BYTES - size)

    def _short_rest(
        self, chosen: list[tuple[Outgoing, int]], frames: int, room: int
    ) -> list[tuple[Outgoing, int]]:
        """What is left of the pass if that is fewer than `frames` frames."""
        rest: list[tuple[Outgoing, int]] = []
        count = size = 0
        while (item := self._next_block(chosen[-1:])) is not None:
            rest.append(item)
            outgoing, block = item
            more = max(1, self._frames_of_block(outgoing, block))
            count += more
            size += more * plan.frame_bytes(self.link, outgoing.geometry)
            if count >= frames or size > room:
                self._ahead.extendleft(reversed(rest))
                return []
        return rest

    def _frames_of_block(self, outgoing: Outgoing, block: int) -> int:
        return outgoing.geometry.frames(block) if block >= 0 else 0

    def _frames_of(self, cut: Geometry, symbols: int) -> int:
        """Frames of an object in one pass; `symbols`: those of its announcement."""
        return cut.data_frames + symbols * plan.manifests(cut, self.settings, self.link, symbols)

    def _members_of(self, chosen: list[tuple[Outgoing, int]]) -> list[Member]:
        """The blocks chosen, and before them the announcement of each object among them."""
        members: list[Member] = []
        position = 0
        while position < len(chosen):
            outgoing = chosen[position][0]
            end = position
            while end < len(chosen) and chosen[end][0] is outgoing:
                end += 1
            if outgoing in self._queue:
                members += self._members_of_object(outgoing, [b for _, b in chosen[position:end]])
            position = end
        return members

    def _members_of_object(self, outgoing: Outgoing, blocks: list[int]) -> list[Member]:
        cut, done = outgoing.geometry, outgoing.passes_done
        data = [Member(outgoing, b, cut.frames(b), done) for b in blocks if b >= 0]
        symbols = outgoing.announcement.count
        copies = plan.manifests(cut, self.settings, self.link, symbols)
        if data:  # this group's part of the pass's announcements, rounded so that they add up
            first, last = blocks[0], blocks[-1] + 1
            copies = -(-copies * last // cut.blocks) + (-copies * first // cut.blocks)
        announcing = [Member(outgoing, -1, copies * symbols, done)] if copies else []
        return announcing + data

    # Frames ---------------------------------------------------------------------------------

    def _build(self, members: list[Member]) -> Group | None:
        """Frames of these members in the order on air; None when every source among them failed."""
        built: list[tuple[Member, U8]] = []
        for member in members:
            if member.outgoing not in self._queue:
                continue
            try:
                built.append((member, member_rows(member, self.sender, self.link)))
            except SourceError as error:
                self._void(member.outgoing, str(error))
        built = [(m, r) for m, r in built if m.outgoing in self._queue]
        if not built:
            return None
        phases = [0.0 if m.block < 0 else 0.5 for m, _ in built]
        order, index = spread([len(r) for _, r in built], phases)
        frames = interleave([r for _, r in built], order, index)
        return Group(frames, len(frames))

    def _announcement(
        self, number: int, manifest: Manifest
    ) -> tuple[AnnouncementSymbols, BlockCheck]:
        """The announcement as it goes on air, and what closes the object's blocks."""
        signer = self._signer
        enclosed = self._encloser.enclose(self.sender, number, manifest, signer.id)
        announcement = signer.sign(self.sender, number, enclosed.announcement)
        room = plan.announcement_room(self.settings, self.link)
        return AnnouncementSymbols.of(announcement, room), enclosed.check

    def _void(self, outgoing: Outgoing, reason: str) -> None:
        """Announce that this object will never be whole, and forget it."""
        self._queue.remove(outgoing)
        outgoing.source.close()
        void = msgspec.structs.replace(outgoing.manifest, status=int(Status.VOID))
        outgoing.announcement, _ = self._announcement(outgoing.number, void)
        copies = plan.manifest_copies(outgoing.announcement.count, Settings())
        for _ in range(copies):  # one at a time, so that a burst between slices spares some
            rows = announcement_rows(outgoing, self.sender, outgoing.announcement.count)
            self._voiding.append(Frames.of_rows(rows))
        self._events.append(SourceFailed(outgoing.number, outgoing.source.name, reason))

    def _heartbeat(self, now: float, beat: Beat) -> Frames:
        assert self._started_at is not None
        self._since_heartbeat = 0
        rate = self.link.rate or 0
        progress, passes = self.progress, self.settings.passes
        rows = heartbeat_rows(
            self.sender,
            self._highest,
            beat,
            (self.frames_sent, int(now - self._started_at), 1000 if rate else 0, int(rate)),
            (len(self._queue), min(progress.number_of_pass, 0xFFFF), min(passes, 0xFFFF)),
        )
        return Frames.of_rows(rows)

    @property
    def _heartbeat_frames(self) -> int:
        if not self.link.rate:
            return HEARTBEAT_FRAMES
        longest = plan.symbol_size(self.settings, self.link) + frame.HEADER + frame.CHECK
        return max(16, int(self.link.rate / self.link.line_bytes(longest)))

    def _slice(self, group: Group) -> Frames:
        """The next frames of the group: few enough that a stop or a heartbeat is prompt."""
        frames = group.frames
        room = SLICE_BYTES
        if self.link.rate:
            room = max(1, min(room, int(self.link.rate * SLICE_SECONDS)))
        start = int(frames.ends[group.next - 1]) if group.next else 0
        last = int(np.searchsorted(frames.ends, start + room, side="right"))
        last = min(max(last, group.next + 1), len(frames))
        part = frames.part(group.next, last)
        self.progress.frames += last - group.next
        group.next = last
        if last == len(frames):
            self._group = None
        return part

    def _stamped(self, frames: Frames) -> Frames:
        frame.stamp(frames, self.frames_sent)
        self.frames_sent += len(frames)
        self.progress.line_frames += len(frames)
        if self.link.rate:
            lengths, counts = np.unique(frames.lengths, return_counts=True)
            each = zip(lengths.tolist(), counts.tolist(), strict=True)
            self.progress.line_time += sum(n * self.link.line_bytes(length) for length, n in each)
        self._since_heartbeat += len(frames)
        return frames
