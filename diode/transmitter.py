"""The sending core: objects and a clock in, batches of frames out. No socket, no port.

The objects queued are sent in passes: every object once, then every object once more, so that
a repeated pass comes after the whole previous one. Within a pass (passes.py), blocks are collected
into interleaving groups, read from their source, coded, put into frames in the order
on air, and handed out in slices of at most `SLICE_BYTES`; numbering and checks come last, when the
order is final. What is held in memory is the group on air and the one that comes next, which may be
assembled beside the sending (`Ahead`).

A source can fail: it cannot be read, or it changed after it was announced. Its object is then
announced void, as often as a manifest needs to be sure, and leaves the queue; a
receiver never delivers it.

The sender never knows what arrived. Its words are "sent" and "passes".
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from diode import plan
from diode.ahead import AtOnce
from diode.announcements import AnnouncementSymbols
from diode.assembly import (
    Outgoing,
    Source,
    Unenclosed,
    Unsigned,
    announcement_frames,
    assemble,
    describe,
    heartbeat_rows,
)
from diode.coder import Here
from diode.errors import SourceError
from diode.frame import Beat, Frames
from diode.group import Spare
from diode.objects import Status
from diode.passes import Pass, frames_before, place_of
from diode.plan import Link, Settings
from diode.tag import Untagged

if TYPE_CHECKING:
    from diode.ahead import Ahead, Pending
    from diode.assembly import Encloser, Signer
    from diode.block import BlockCheck
    from diode.coder import Coder
    from diode.frame import U8
    from diode.group import Group, Place
    from diode.objects import Manifest
    from diode.tag import Tagger

SLICE_BYTES = 512 << 10
"""Frames handed out at a time on a link without a rate: fits a processor's cache."""
SLICE_SECONDS = 0.05


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
    idle_frames: int = 0
    """Those of them that carried nothing."""
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
        tagger: Tagger | None = None,
        ahead: Ahead = AtOnce,
        coder: Coder | None = None,
    ) -> None:
        """frames_before: frames this sender id has ever sent, so that the count goes on.

        tagger: what its `extra` bytes a frame are, `link` must know of.
        ahead: how the next group is assembled while one is sent. coder: computes its parity.
        """
        self.sender = sender
        self._signer = signer or Unsigned()
        self._encloser = encloser or Unenclosed()
        self._tagger = tagger or Untagged()
        self.settings = dataclasses.replace(settings, cipher=self._encloser.cipher)
        self.link = link
        self.lanes: U8 = np.zeros(0, np.uint8)
        """Which lane of the link each frame of the last step goes on, (frames,)."""
        self._on_lanes = np.zeros(max(link.lanes) + 1, np.int64)
        self.frames_sent = frames_before
        self.progress = Progress(passes=settings.passes)
        self._started_at: float | None = None
        self._highest = highest_number
        self._queue: dict[Outgoing, None] = {}
        self._pass: Pass | None = None
        self._over = False
        """Whether all groups of the pass have been begun."""
        self._ahead = ahead
        self._coder = coder or Here()
        self._coming: Pending | None = None
        self._start: Place | None = None
        self.place: Place | None = None
        """How far it has come; None before the first frame of a group is handed out."""
        self._group: Group | None = None
        self._spare = Spare()
        self._voiding: deque[tuple[Frames, U8]] = deque()
        self._since_heartbeat = 0
        self._closed = False
        self._events: list[ObjectSent | SourceFailed] = []

    def add(self, number: int, source: Source, passes_done: int = 0) -> Manifest:
        """Queue an object under a number never used before; its manifest, for the record.

        passes_done: passes of it that an earlier run has sent, of the same content.
        """
        manifest = describe(source, self.settings, self.link)
        symbols, check = self._announcement(number, manifest)
        outgoing = Outgoing(
            number, source, manifest.geometry, manifest, symbols, check, passes_done
        )
        self._queue[outgoing] = None
        self._highest = max(self._highest, number)
        self.progress.objects += 1
        frames = self._frames_of(outgoing)
        self.progress.total_frames += frames * max(1, self.settings.passes)
        self.progress.frames += frames * passes_done
        return manifest

    def go_on(self, place: Place) -> None:
        """Begin where an earlier run with the same objects has stopped; before the first step."""
        self._start = self.place = place
        self.progress.number_of_pass = place.number_of_pass - 1
        for outgoing in self._queue:
            if outgoing.number == place.number:
                self.progress.frames += frames_before(
                    outgoing, place.block, self.settings, self.link
                )
                break
            self.progress.frames += self._frames_of(outgoing)

    def step(self, now: float) -> Frames | None:
        """The next frames for the line, or None when every pass of every object is out.

        now: monotonic seconds; only heartbeats show it. At the end of a run the last
        heartbeat comes out once; after that None.
        """
        if self._started_at is None:
            self._group = self._next_group()  # before the line is first used, not while it waits
            return self.first(now)
        frames = self.heartbeat(now)
        frames = self._due(SLICE_BYTES, wait=True) if frames is None else frames
        if frames is None and not self._closed:
            frames = self.last(now)
        return frames

    # The parts of a step, for constant_rate.py

    @property
    def empty(self) -> bool:
        """Whether nothing is left to send."""
        return not (self._queue or self._group or self._coming or self._pass or self._voiding)

    def first(self, now: float) -> Frames:
        """The first heartbeat of a run."""
        self._started_at = now
        return self._beat(now, Beat.FIRST)

    def heartbeat(self, now: float) -> Frames | None:
        """A heartbeat if one is due."""
        if self._since_heartbeat < plan.heartbeat_interval(self.settings, self.link):
            return None
        return self._beat(now, Beat.GOING_ON)

    def ready(self, most: int) -> Frames | None:
        """`most` frames, or an announcement, without waiting for a source; None: not now."""
        return self._due(most * self.link.max_frame, wait=False)

    def idle(self, rows: U8) -> Frames:
        """These idle frames, (frames, bytes), numbered and checked."""
        self.progress.idle_frames += len(rows)
        return self._stamped(Frames.of_rows(rows.copy()), np.zeros(len(rows), np.uint8))

    def last(self, now: float) -> Frames:
        """The last heartbeat of a run."""
        self._closed = True
        return self._beat(now, Beat.LAST)

    def stop(self) -> None:
        """Send nothing more but the last heartbeat."""
        if self._coming is not None:
            self._coming.result()  # whoever reads the sources must have finished by then
        self._pass = self._group = self._coming = None
        self._over = False
        self._voiding.clear()
        for outgoing in self._queue:
            outgoing.source.close()
        self._queue.clear()

    def events(self) -> list[ObjectSent | SourceFailed]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    # Passes and groups ----------------------------------------------------------------------

    def _next_group(self, *, wait: bool = True) -> Group | None:
        """The next interleaving group; None when all passes are done. The one after is begun.

        wait: for one that is not assembled yet; None otherwise.
        """
        while self._coming is not None or self._begin_next():
            if not (wait or self._coming is None or self._coming.done()):
                return None
            coming, self._coming = self._coming, None
            if coming is None:
                self._end_pass()
                continue
            assembled = coming.result()
            for outgoing, reason in assembled.failed.items():
                if not outgoing.gone:
                    self._void(outgoing, reason)
            self._begin_next()
            if assembled.members:
                place = place_of(assembled.members, self.progress.number_of_pass)
                group = self._begun_before(assembled.group(place))
                if group.next < len(group):
                    return group
        return None

    def _begin_next(self) -> bool:
        """Have the next group assembled, or see that the pass is over; False: nothing is left."""
        if self._over:
            return True
        if not self._queue:
            return False
        if self._pass is None:  # what is added from now on waits for the next
            self._pass = Pass(tuple(self._queue), self.settings, self.link, self._start)
            self.progress.number_of_pass += 1
        members = self._pass.next_group()
        if members:
            work = partial(assemble, members, self.sender, self.link, self._spare, self._coder)
            self._coming = self._ahead(work)
        self._over = not members
        return True

    def _end_pass(self) -> None:
        over, self._pass, self._start, self._over = self._pass, None, None, False
        assert over is not None
        for outgoing in over.objects:
            if outgoing.gone:
                continue
            try:
                outgoing.source.check()
            except SourceError as error:
                self._void(outgoing, str(error))
                continue
            outgoing.passes_done += 1
            if outgoing.passes_done == self.settings.passes:
                self._leave(outgoing)
                self._events.append(
                    ObjectSent(outgoing.number, outgoing.source.name, outgoing.passes_done)
                )

    def _leave(self, outgoing: Outgoing) -> None:
        """Take an object out of the queue."""
        outgoing.gone = True
        del self._queue[outgoing]
        outgoing.source.close()

    def _frames_of(self, outgoing: Outgoing) -> int:
        """Frames of an object in one pass."""
        whole = max(1, outgoing.geometry.blocks)
        return frames_before(outgoing, whole, self.settings, self.link)

    # Frames ---------------------------------------------------------------------------------

    def _begun_before(self, group: Group) -> Group:
        """Leave out what an earlier run has sent of the group with which this one starts."""
        start, self._start = self._start, None
        if start is not None and start.check == group.place.check:
            group.next = min(start.frames, len(group))
            self.progress.frames += group.next
        return group

    def _announcement(
        self, number: int, manifest: Manifest
    ) -> tuple[AnnouncementSymbols, BlockCheck]:
        """The announcement as it goes on air, and what closes the object's blocks."""
        signer = self._signer
        enclosed = self._encloser.enclose(self.sender, number, manifest, signer.id)
        announcement = signer.sign(self.sender, number, enclosed.announcement)
        room = plan.announcement_room(self.settings, self.link)
        symbols = AnnouncementSymbols.of(announcement, room, filled=self.settings.filled)
        return symbols, enclosed.check

    def _void(self, outgoing: Outgoing, reason: str) -> None:
        """Announce that this object will never be whole, and forget it."""
        self._leave(outgoing)
        void = replace(outgoing.manifest, status=int(Status.VOID))
        outgoing.announcement, _ = self._announcement(outgoing.number, void)
        count = outgoing.announcement.count
        # One at a time, so that a burst between slices spares some.
        for copy in range(plan.manifest_copies(count, Settings())):
            self._voiding.append(
                announcement_frames(outgoing, self.sender, copy * count, count, self.link)
            )
        self._events.append(SourceFailed(outgoing.number, outgoing.source.name, reason))

    def _beat(self, now: float, beat: Beat) -> Frames:
        """A heartbeat on every lane."""
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
            self.link.max_frame if self.settings.filled else 0,
            self._on_lanes,
        )
        return self._stamped(Frames.of_rows(rows), np.arange(len(rows), dtype=np.uint8))

    def _due(self, room: int, *, wait: bool) -> Frames | None:
        """The next frames that are no heartbeats, about `room` bytes; None: none, or none yet."""
        if not self._voiding and self._group is None:
            self._group = self._next_group(wait=wait)
        if self._voiding:
            return self._stamped(*self._voiding.popleft())
        return None if self._group is None else self._stamped(*self._slice(self._group, room))

    def _slice(self, group: Group, room: int) -> tuple[Frames, U8]:
        """The next frames of the group: few enough that a stop or a heartbeat is prompt."""
        if self.link.rate:
            room = max(1, min(room, int(self.link.rate * SLICE_SECONDS)))
        first = group.next
        part = group.take(room)
        lanes = group.lane[first : group.next]
        self.progress.frames += len(part)
        self.place = replace(group.place, frames=group.next)
        if group.next == len(group):
            self._group = None
            self._spare.give_back(group.stacks)
        return part, lanes

    def _stamped(self, frames: Frames, lanes: U8) -> Frames:
        """These frames numbered and checked, the next on these lanes."""
        self.lanes = lanes
        self._on_lanes += np.bincount(lanes, minlength=len(self._on_lanes))
        frames = self._tagger.stamp(frames, self.frames_sent)
        self.frames_sent += len(frames)
        self.progress.line_frames += len(frames)
        if self.link.rate:
            each = frames.counts().items()
            self.progress.line_time += sum(n * self.link.line_bytes(length) for length, n in each)
        self._since_heartbeat += len(frames)
        return frames
