"""The sending core: objects and a clock in, batches of frames out. No socket, no port.

    records ─> Outflow ───────────────────────────┐
    objects ─> flows ─┬─ Traffic: passes, groups ─┤
                      ├─ Traffic                  ├─ Precedence ─> frames, numbered and checked
                      └─ carousel ────────────────┘

Records go first (outflow.py). Objects are sent in passes by the flow that they belong to
(traffic.py), and whose frames come next is a matter of priorities and shares (flow.py). Frames are
handed out in slices of at most `SLICE_BYTES`; numbering and checks come last, when the order is
final. Objects that have been sent as planned are retired, or go to the carousel before.

A source can fail: it cannot be read, or has changed. Its object is then announced void, as often
as a manifest needs to be sure, and leaves the queue; a receiver never delivers it.

The sender never knows what arrived. Its words are "sent" and "passes".
"""

from __future__ import annotations

import dataclasses
from collections import deque
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
    describe,
    heartbeat_rows,
)
from diode.coder import Here
from diode.flow import NOTHING_KEPT, ROUND, Flow, Precedence
from diode.frame import Beat, Frames
from diode.group import Spare
from diode.objects import Status
from diode.outflow import NoRecords
from diode.plan import Link, Settings
from diode.sent import ObjectRetired, ObjectSent, PassSent, SourceFailed
from diode.tag import Untagged
from diode.traffic import Progress, Traffic, Workshop

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diode.ahead import Ahead
    from diode.assembly import Encloser, Signer
    from diode.block import BlockCheck
    from diode.coder import Coder
    from diode.flow import Carousel
    from diode.frame import U8
    from diode.group import Place
    from diode.objects import Manifest
    from diode.outflow import Outflow
    from diode.sent import Sent
    from diode.tag import Tagger

SLICE_BYTES = 1 << 20
"""Frames handed out at a time at most: fits a processor's cache."""
SLICE_SECONDS = 0.05
PROMISE = 1.0
"""Seconds in which the next heartbeat is due while there is something to send (plan.py)."""


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
        depth: int = 1,
        flows: Sequence[Flow] = (Flow(""),),
        carousel: Carousel = NOTHING_KEPT,
        records: Outflow | NoRecords | None = None,
    ) -> None:
        """frames_before: frames this sender id has ever sent, so that the count goes on.

        tagger: what its `extra` bytes a frame are, `link` must know of.
        ahead: how the next `depth` groups of a flow are assembled while one is sent. coder:
        computes their parity. records: go before all objects.
        """
        self.sender = sender
        self._signer = signer or Unsigned()
        self._encloser = encloser or Unenclosed()
        self._tagger = tagger or Untagged()
        self.settings = dataclasses.replace(settings, cipher=self._encloser.cipher)
        self.link = link
        self.records = records or NoRecords()
        self.lanes: U8 = np.zeros(0, np.uint8)
        """Which lane of the link each frame of the last step goes on, (frames,)."""
        self._on_lanes = np.zeros(max(link.lanes) + 1, np.int64)
        self.frames_sent = frames_before
        self.progress = Progress(passes=settings.passes)
        self.promise = PROMISE if link.rate else 0.0
        """Seconds in which the next heartbeat is due, as heartbeats say it; 0: not known."""
        self._started_at: float | None = None
        self._highest = highest_number
        spare = Spare(depth + 1)
        self._shop = Workshop(sender, link, ahead, coder or Here(), spare, depth)
        self._traffic: dict[str, Traffic] = {}
        self._round = self._traffic_of(ROUND)
        self._carousel = carousel
        self._kept: dict[Outgoing, float] = {}
        """What the carousel has, and since when; the oldest first."""
        self._now = 0.0
        self._precedence = Precedence()
        self._served: Traffic | None = None
        self.once: set[int] = set()
        """Objects that cannot be sent again: void if it is stopped within their first pass."""
        self._voiding: deque[tuple[Frames, U8]] = deque()
        self._since_heartbeat = 0
        self._closed = False
        self._events: list[Sent] = []
        self.arrange(flows)

    def arrange(self, flows: Iterable[Flow]) -> None:
        """From now on these are the flows. What is queued in one that is not among them goes on
        as before, until nothing is left of it. Passes hold for objects added from now on.
        """
        for flow in flows:
            there = self._traffic.get(flow.name)
            if there is None:
                self._traffic[flow.name] = self._traffic_of(flow)
            else:
                there.flow, there.settings = flow, self._settings_of(flow)

    def add(self, number: int, source: Source, passes_done: int = 0, *, flow: str = "") -> Manifest:
        """Queue an object under a number never used before; its manifest, for the record.

        passes_done: passes of it that an earlier run has sent, of the same content.
        """
        traffic, settings = self._traffic[flow], self._traffic[flow].settings
        if not self._carousel.empty:  # it is sent more often than planned then
            settings = dataclasses.replace(settings, passes=0)
        manifest = describe(source, settings, self.link)
        closed = self._announcement(number, manifest)
        outgoing = Outgoing(number, source, manifest.geometry, manifest, *closed, passes_done)
        self._highest = max(self._highest, number)
        self.progress.objects += 1
        if 0 < traffic.settings.passes <= passes_done:  # only what is kept of it is left
            self._keep(outgoing)
        else:
            traffic.add(outgoing)
        return manifest

    def drop(self, number: int) -> None:
        """Send no more of an object, and say nothing of it. What is assembled of it still goes."""
        for traffic in self._everything:
            for outgoing in [o for o in traffic.objects if o.number == number]:
                traffic.leave(outgoing)
                self._retire(outgoing)

    @property
    def place(self) -> Place | None:
        """How far the flow has come that was served last."""
        return self._served.place if self._served else None

    @property
    def places(self) -> dict[str, Place]:
        """How far each flow has come that has begun."""
        return {name: t.place for name, t in self._traffic.items() if t.place is not None}

    @property
    def queued(self) -> dict[str, int]:
        """Objects of each flow that are waiting or on air."""
        return {name: len(traffic.objects) for name, traffic in self._traffic.items()}

    def go_on(self, place: Place, *, flow: str = "") -> None:
        """Begin where an earlier run with the same objects has stopped; before the first step."""
        self._served = self._traffic[flow]
        self._served.go_on(place)
        self.progress.number_of_pass = self._served.number_of_pass

    def step(self, now: float) -> Frames | None:
        """The next frames for the line, or None when every pass of every object is out.

        now: monotonic seconds; heartbeats show it, and a carousel lets go by it. At the end of a
        run the last heartbeat comes out once; after that None.
        """
        if self._started_at is None:
            for traffic in self._order()[:1]:
                traffic.prepare()  # before the line is first used, not while it waits
                self._see(traffic)
            return self.first(now)
        frames = self.heartbeat(now)
        frames = self.next(now) if frames is None else frames
        if frames is None and not self._closed:
            frames = self.last(now)
        return frames

    # The parts of a step, for constant_rate.py and standing.py

    @property
    def empty(self) -> bool:
        """Whether nothing is left to send."""
        everything = (*self._everything, self.records)
        return not self._voiding and all(one.empty for one in everything)

    def first(self, now: float) -> Frames:
        """The first heartbeat of a run."""
        self._started_at = now
        return self._beat(now, Beat.FIRST)

    def heartbeat(self, now: float, *, due: bool = False) -> Frames | None:
        """A heartbeat if one is due, by what has been sent or because the caller says so."""
        if not due and self._since_heartbeat < plan.heartbeat_interval(self.settings, self.link):
            return None
        return self._beat(now, Beat.GOING_ON)

    def next(self, now: float) -> Frames | None:
        """The next frames that are no heartbeats; None: there are none."""
        self._now = now
        return self._due(SLICE_BYTES, wait=True)

    def ready(self, now: float, most: int) -> Frames | None:
        """`most` frames, or an announcement, without waiting for a source; None: not now."""
        self._now = now
        return self._due(most * self.link.max_frame, wait=False)

    def idle(self, rows: U8) -> Frames:
        """These idle frames, (frames, bytes), numbered and checked."""
        self.progress.idle_frames += len(rows)
        return self._stamped(Frames.of_rows(rows.copy()), np.zeros(len(rows), np.uint8))

    def last(self, now: float) -> Frames:
        """The last heartbeat of a run."""
        self._closed = True
        return self._beat(now, Beat.LAST)

    def wake_at(self) -> float:
        """When records are due."""
        return self.records.wake_at()

    def stop(self) -> None:
        """Send nothing more but what is void now, and the last heartbeat."""
        self.records.stop()
        queued = [outgoing for traffic in self._everything for outgoing in traffic.objects]
        for traffic in self._everything:
            traffic.stop()
        self._kept.clear()
        self._voiding.clear()
        for outgoing in queued:
            if outgoing.number in self.once and not outgoing.passes_done:
                self._void(outgoing, "it was stopped before it was sent once")

    def events(self) -> list[Sent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    # Flows ----------------------------------------------------------------------------------

    @property
    def _everything(self) -> tuple[Traffic, ...]:
        return (*self._traffic.values(), self._round)

    def _traffic_of(self, flow: Flow) -> Traffic:
        return Traffic(flow, self._settings_of(flow), self._shop, self.progress)

    def _settings_of(self, flow: Flow) -> Settings:
        passes = self.settings.passes if flow.passes is None else flow.passes
        return dataclasses.replace(self.settings, passes=passes)

    def _order(self) -> list[Traffic]:
        """What has something to send, the one first that comes next."""
        wanting = {t.flow: t for t in self._everything if not t.empty}
        return [wanting[flow] for flow in self._precedence.order(wanting)]

    def _due(self, room: int, *, wait: bool) -> Frames | None:
        """The next frames that are no heartbeats, about `room` bytes; None: none, or none yet.

        wait: for a source, when no flow has anything that is ready.
        """
        if self.link.rate:  # few enough that a stop, a heartbeat, what is more urgent, is prompt
            room = max(1, min(room, int(self.link.rate * SLICE_SECONDS)))
        if (due := self.records.take(self._now, room)) is not None:
            return self._stamped(*due)
        self._let_go()
        while not self._voiding and (order := self._order()):
            # What is being assembled lets others go first; only when all are is one waited for.
            for traffic, patient in (*((each, False) for each in order), (order[0], wait)):
                slice_ = traffic.take(room, wait=patient)
                self._see(traffic)
                if slice_ is not None:
                    self._served = traffic
                    self._precedence.took(traffic.flow, len(slice_[0].data))
                    return self._stamped(*slice_)
            if not wait:
                break
        return self._stamped(*self._voiding.popleft()) if self._voiding else None

    def _see(self, traffic: Traffic) -> None:
        """What has come of its objects."""
        for outgoing, reason in traffic.failed:
            self._void(outgoing, reason)
        traffic.failed.clear()
        for outgoing in traffic.over:
            done, name = outgoing.passes_done, outgoing.source.name
            self._events.append(PassSent(outgoing.number, done))
            if outgoing.gone:
                self._events.append(ObjectSent(outgoing.number, name, done))
                self._keep(outgoing)
        traffic.over.clear()

    def _keep(self, outgoing: Outgoing) -> None:
        """Put what has been sent as often as planned where it may be sent again."""
        if self._carousel.empty:
            self._retire(outgoing)
            return
        outgoing.gone = False
        self._kept[outgoing] = self._now
        self._round.add(outgoing)
        self._let_go()

    def _let_go(self) -> None:
        """Retire what the carousel has no room or no time for."""
        carousel = self._carousel
        while self._kept:
            oldest, since = next(iter(self._kept.items()))
            too_many = carousel.last is not None and len(self._kept) > carousel.last
            too_old = carousel.seconds is not None and self._now - since > carousel.seconds
            if not (too_many or too_old or oldest.gone):
                return
            if oldest.gone:  # its source has failed
                del self._kept[oldest]
            else:
                self._round.leave(oldest)
                self._retire(oldest)

    def _retire(self, outgoing: Outgoing) -> None:
        self._kept.pop(outgoing, None)
        outgoing.source.close()
        self._events.append(ObjectRetired(outgoing.number))

    # Frames ---------------------------------------------------------------------------------

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
        """Announce that this object will never be whole."""
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
        rate, progress = self.link.rate or 0, self.progress
        queued = sum(self.queued.values())
        self._since_heartbeat = 0
        rows = heartbeat_rows(
            self.sender,
            self._highest,
            beat,
            (self.frames_sent, int(now - self._started_at), int(self.promise * 1000), int(rate)),
            (queued, min(progress.number_of_pass, 0xFFFF), min(progress.passes, 0xFFFF)),
            self.link.max_frame if self.settings.filled else 0,
            self._on_lanes,
        )
        return self._stamped(Frames.of_rows(rows), np.arange(len(rows), dtype=np.uint8))

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
