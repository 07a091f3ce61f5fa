"""The receiving core: checked frames in, events out. No file, no socket, no clock of its own.

    rows -> kinds -> records    -> Inflow -> RecordsHeard, RecordGap
                  -> manifests  -> Admission -> ObjectAnnounced, ObjectVoided, ObjectQuarantined
                  -> heartbeats -> Senders -> loss counts, SenderFellSilent
                  -> data       -> Collector -> BlockRecovered … ObjectCompleted
                                -> orphans, until the manifest comes

Everything that arrives is hostile. A frame is used only inside an object whose manifest has
passed every limit; whatever does not fit is counted under a `frame.Reject` reason. Memory is
bounded by `Limits`: objects and senders by number (the least recently heard unfinished object
goes first), data without a manifest by bytes, unfinished blocks by bytes (the oldest are
parked, that is handed to whoever keeps them). The order and the duplication of
frames change nothing in the result.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.admission import Admission, Anyone, Gate, Judged, NoIdentity, Opener, Quarantine
from diode.announcements import Announcements
from diode.collector import Collector, Recovered
from diode.distinct import parted
from diode.events import (
    BlockRecovered,
    BlockSpoiled,
    BlockWanted,
    Event,
    FrameRejected,
    Key,
    ObjectAnnounced,
    ObjectCompleted,
    ObjectEvicted,
    ObjectQuarantined,
    ObjectVoided,
)
from diode.frame import Kind, Reject
from diode.incoming import Incoming
from diode.inflow import Inflow
from diode.limits import Limits
from diode.objects import Status
from diode.orphans import Orphans, Part
from diode.parking import Parking
from diode.reception import NOBODY
from diode.senders import Senders
from diode.tag import MARK, Untagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diode.events import BlockSaved, GapSeen
    from diode.frame import I64, U8, Bool
    from diode.reception import Reception
    from diode.tag import Tags

NO_KIND = 0xFF
"""That of frames of another version."""


class Receiver:
    """Frames of any number of senders and objects, in any order, to events."""

    def __init__(
        self,
        limits: Limits | None = None,
        gate: Gate | None = None,
        opener: Opener | None = None,
        tags: Tags | None = None,
        *,
        records: bool = False,
    ) -> None:
        """records: whether they are wanted; counted as frames of an unknown kind otherwise."""
        self.limits = limits or Limits()
        self.records = Inflow(self._reject)
        self._kinds = {Kind.DATA, Kind.MANIFEST, Kind.HEARTBEAT, Kind.IDLE}
        self._kinds |= {Kind.RECORD} if records else set()
        self.quarantine = Quarantine(self.limits.quarantined)
        self._admission = Admission(
            self.limits, gate or Anyone(), opener or NoIdentity(), self._reject
        )
        self._tags = tags or Untagged()
        self.rejected: Counter[str] = Counter()
        self.frames = 0
        self.late = 0
        """Data frames of objects already finished."""
        self.idle = 0
        """Frames that carry nothing, for a constant rate."""
        self._senders = Senders(self.limits.senders, self._reject, self._tell)
        self.objects: OrderedDict[Key, Incoming] = OrderedDict()
        self._finished: OrderedDict[Key, int] = OrderedDict()
        self._aliases: dict[int, Key] = {}
        self._orphans = Orphans(self.limits.orphans)
        self._announcements = Announcements(self.limits.announcements, self._reject)
        self._lent: list[Collector] = []
        """Collectors whose buffers the events handed out last point into."""
        self._parking = Parking(self.objects)
        self._events: list[Event] = []
        self._counted: Counter[tuple[str, str]] = Counter()
        self._now = 0.0

    @property
    def senders(self) -> OrderedDict[int, Reception]:
        """All that were heard, the last one heard of last."""
        return self._senders.known

    # The public door ----------------------------------------------------------------------

    def receive(self, batches: Iterable[U8], now: float) -> list[Event]:
        """Take rows of frames that passed their check; return what happened.

        batches: uint8 arrays (frames x bytes), each contiguous, as a line's decoder gives them.
        now: monotonic seconds, for rates only. Never raises because of the frames' content.
        """
        self._now = now
        for collector in self._lent:
            collector.release()
        self._lent.clear()
        # Before new frames, not after: a block wanted in the last call has been restored by now.
        self._events += self._parking.park_beyond(self.limits.memory)
        data: list[tuple[U8, bool]] = []
        for heard in batches:
            rows = self._tags.accepted(heard, self._reject)
            self.frames += len(rows)
            if len(rows):
                self._sort(rows, data)
        for rows, compact in data:
            self._take_compact(rows) if compact else self._take_data(rows)
        self._senders.settle(self.frames, now)
        return self._drain()

    def tick(self, now: float) -> list[Event]:
        """What time alone brings about: records that are waited for no longer."""
        self._events += self.records.tick(now)
        return self._drain()

    def restore(self, key: Key, block: int, numbers: I64, symbols: U8) -> list[Event]:
        """Give back the symbols of a parked block, as `BlockWanted` asks. (n,), (n, S)."""
        incoming = self.objects.get(key)
        if incoming is None or not len(numbers):
            return []
        collector = incoming.collector
        good = collector.valid(np.full(len(numbers), block, np.int64), numbers)
        if symbols.shape[1] == collector.geometry.symbol_size and good.all():
            self._recovered(key, incoming, collector.restore(block, numbers, symbols))
        return self._drain()

    def hold(self, key: Key, block: int) -> None:
        """A block recovered in the last call is needed longer than that, until `give_back`."""
        incoming = self.objects.get(key)
        if incoming is not None:
            incoming.collector.hold(block)

    def give_back(self, key: Key, block: int) -> None:
        """A block that was held is needed no longer."""
        incoming = self.objects.get(key)
        if incoming is not None:
            incoming.collector.give_back(block)

    def resume(
        self,
        key: Key,
        announcement: bytes,
        done: Bool,
        parked: Sequence[int],
        counts: Sequence[int] = (),
    ) -> list[Event]:
        """Go on with an object of an earlier run: its blocks done (blocks,), those parked, and how
        many symbols of each there are, where that is known.

        An announcement that no longer passes limits, gate and opener is dropped with its count.
        """
        admitted = None if key in self.objects else self._admit(key, announcement)
        if admitted is not None:
            incoming = self._open(key, admitted, frame.crc32c(announcement))
            collector = incoming.collector
            if len(done) == len(collector.done):
                collector.mark_done(done)
            for block, count in zip_longest(parked, counts, fillvalue=0):
                if 0 <= block < len(collector.done) and not collector.done[block]:
                    collector.parked[block] = count
            if collector.complete:
                self._events.append(ObjectCompleted(key, incoming.manifest))
        return self._drain()

    def park_all(self) -> list[Event]:
        """Hand out every unfinished block, at the end of a run."""
        self._events += self._parking.park_beyond(0)
        return self._drain()

    def save(self) -> Iterator[BlockSaved]:
        """What came since the last time of blocks in memory; `unsave` what could not be kept."""
        return self._parking.save()

    def unsave(self, key: Key, block: int) -> None:
        """What was handed out of a block in memory could not be kept."""
        self._parking.lost(key, (block,))

    def finish(self, key: Key) -> None:
        """The object is delivered, or never to be: forget its state, ignore its repeats."""
        incoming = self.objects.pop(key, None)
        self._parking.account(incoming, closed=True)
        self._finished[key] = incoming.tag if incoming else self._finished.get(key, 0)
        self._finished.move_to_end(key)
        while len(self._finished) > self.limits.finished:
            self._finished.popitem(last=False)
        self._orphans.take(key)

    def forget(self, key: Key) -> Incoming | None:
        """Drop an unfinished object; its next manifest begins it anew."""
        incoming = self.objects.pop(key, None)
        self._parking.account(incoming, closed=True)
        return incoming

    def begin_anew(self, key: Key, blocks: Sequence[int]) -> None:
        """The object's digest is wrong: these blocks (none named: all) must come again."""
        incoming = self.objects.get(key)
        if incoming is None:
            return
        if blocks:
            incoming.collector.mark_missing(blocks)
        else:
            old = incoming.collector
            incoming.collector = Collector(old.geometry, old.code, old.check)
            self._parking.account(incoming)

    def gaps(self) -> list[GapSeen]:
        """Object numbers that senders have used and of which nothing was heard."""
        return self._senders.gaps()

    @property
    def lost(self) -> int:
        """Frames lost on the way, by the senders' sequence numbers."""
        return self._senders.lost

    # Sorting ------------------------------------------------------------------------------

    def _sort(self, rows: U8, data: list[tuple[U8, bool]]) -> None:
        """Deal rows of one length out by version and kind; data waits for the manifests."""
        length = rows.shape[1]
        first = rows[:, 0] & ~np.uint8(MARK)
        for kind, where in parted(np.where(first >> 4 == frame.VERSION, first & 0x0F, NO_KIND)):
            chosen = rows[where]
            if kind == NO_KIND:
                self._reject(Reject.VERSION, len(chosen))
            elif kind == Kind.COMPACT:
                data.append((chosen, True))
            elif kind not in self._kinds:
                self._reject(Reject.KIND, len(chosen), f"kind {kind}")
            elif length < frame.HEADER + frame.CHECK:
                self._reject(Reject.LENGTH, len(chosen))
            elif kind == Kind.DATA:
                data.append((chosen, False))
            elif kind == Kind.MANIFEST:
                self._take_manifests(chosen)
            elif kind == Kind.IDLE:
                self.idle += len(chosen)
                self._senders.count(chosen)
            elif kind == Kind.RECORD:
                self._senders.count(chosen)
                self._events += self.records.take(chosen, self._now)
            else:
                self._senders.heartbeats(chosen)

    # Manifests --------------------------------------------------------------------------------

    def _take_manifests(self, rows: U8) -> None:
        parsed = frame.parse_full(rows)
        for index in range(len(rows)):
            key = Key(int(parsed.sender[index]), int(parsed.number[index]))
            reception = self._senders.of(key.sender)
            reception.heard(parsed.sequence[index : index + 1])
            tag = int(parsed.block[index])
            if self._already_known(key, tag):
                reception.numbered(key.number)  # one of an earlier run is no gap either
                continue
            whole = self._announcements.take(
                key,
                tag,
                int(parsed.code[index]),
                int(parsed.symbol[index]),
                parsed.payload[index],
            )
            if whole is not None:
                self._announced(key, tag, whole)

    def _already_known(self, key: Key, tag: int) -> bool:
        """Whether this announcement has been dealt with; refreshes the object's age."""
        incoming = self.objects.get(key)
        if incoming is not None and incoming.tag == tag:
            self.objects.move_to_end(key)
            self._bind(key)
            return True
        if key in self._finished:
            self.late += 1
            self._bind(key)
            return True
        return False

    def _admit(self, key: Key, data: bytes) -> Judged | None:
        """What these bytes announce if form, limits, gate and opener let it in."""
        judged = self._admission.judge(key, data, self._now)
        if judged is None:
            return None
        refusal = judged.verdict.refusal
        if refusal is None:
            self.quarantine.release(key)
            return judged
        if key not in self.objects and key not in self._finished:
            if self.quarantine.add(key, refusal):
                self._events.append(ObjectQuarantined(key, judged.manifest, refusal.value))
            for name in (key, frame.alias(*key)):
                dropped = sum(len(part.blocks) for part in self._orphans.take(name))
                if dropped:
                    self._reject(Reject.QUARANTINE, dropped)
        return None

    def _announced(self, key: Key, tag: int, data: bytes) -> None:
        admitted = self._admit(key, data)
        if admitted is not None or key in self.quarantine:
            self._senders.of(key.sender).numbered(key.number)
        if admitted is None:
            return
        manifest = admitted.manifest
        incoming = self.objects.get(key)
        if manifest.status == Status.VOID:
            self.finish(key)
            self._events.append(ObjectVoided(key, manifest))
            return
        if incoming is not None:
            self._reject(Reject.CONFLICT, 1, f"{key}: a second manifest for this number")
            return
        incoming = self._open(key, admitted, tag)
        self._events.append(ObjectAnnounced(key, manifest, data))
        if incoming.collector.complete:
            self._events.append(ObjectCompleted(key, manifest))
        for part in self._orphans.take(key):
            self._collect(key, part.blocks, part.symbols, part.payload)
        for part in self._orphans.take(frame.alias(*key)):
            # Only now is it known whose they are.
            self._senders.of(key.sender).count(len(part.blocks), part.heard)
            self._collect(key, part.blocks, part.symbols, part.payload)

    def _open(self, key: Key, admitted: Judged, tag: int) -> Incoming:
        manifest = admitted.manifest
        blocks, limits = manifest.geometry.blocks, self.limits
        while self.objects and (
            len(self.objects) >= limits.objects
            or self._parking.blocks + blocks > limits.blocks_in_all
        ):
            # What nothing came of goes first: made-up manifests must not push out real objects.
            idle = (k for k, i in self.objects.items() if not i.frames)
            oldest = next(idle, next(iter(self.objects)))
            self._events.append(ObjectEvicted(oldest, self.objects[oldest].manifest))
            self.forget(oldest)
        self._parking.blocks += blocks
        collector = Collector(manifest.geometry, manifest.geometry.coding, admitted.check)
        heard = self._senders.known.get(key.sender, NOBODY)
        before = heard.frames, heard.lost
        verdict, now = admitted.verdict, self._now
        incoming = Incoming(manifest, tag, collector, verdict, started=now, before=before)
        self.objects[key] = incoming
        self._bind(key)
        return incoming

    def _bind(self, key: Key) -> None:
        """The last manifest heard owns its alias (wire 3.2)."""
        self._aliases[frame.alias(*key)] = key

    # Data -----------------------------------------------------------------------------------

    def _take_data(self, rows: U8) -> None:
        parsed = frame.parse_full(rows)
        for name, chosen in parted(parsed.name):
            key = Key(name & 0xFFFF_FFFF, name >> 32)
            self._senders.of(key.sender).heard(parsed.sequence[chosen])
            self._collect(
                key,
                parsed.block[chosen].astype(np.int64),
                parsed.symbol[chosen].astype(np.int64),
                parsed.payload[chosen],
            )

    def _take_compact(self, rows: U8) -> None:
        parsed = frame.parse_compact(rows)
        for name, chosen in parted(parsed.alias):
            key = self._aliases.get(name)
            blocks = parsed.block[chosen].astype(np.int64)
            symbols = parsed.symbol[chosen].astype(np.int64)
            if key is None:
                self._keep_orphans(name, blocks, symbols, parsed.payload[chosen])
                continue
            self._senders.of(key.sender).count(len(blocks), self.frames)
            self._collect(key, blocks, symbols, parsed.payload[chosen])

    def _collect(self, key: Key, blocks: I64, symbols: I64, payload: U8) -> None:
        incoming = self.objects.get(key)
        if incoming is None:
            if key in self._finished:
                self.late += len(blocks)
            else:
                self._keep_orphans(key, blocks, symbols, payload)
            return
        collector = incoming.collector
        if payload.shape[1] != collector.geometry.symbol_size:
            self._reject(Reject.LENGTH, len(blocks), f"{key}: symbols of {payload.shape[1]} bytes")
            return
        good = collector.valid(blocks, symbols)
        if not good.all():
            self._reject(Reject.INDEX, int((~good).sum()), str(key))
            blocks, symbols, payload = blocks[good], symbols[good], payload[good]
        most = self.limits.memory + self.limits.begun
        room = (most - self._parking.memory) // collector.block_memory
        if len(blocks) > room:
            begun = collector.beginning(blocks)[max(0, room) :]
            if len(begun):
                over = np.isin(blocks, begun)
                self._reject(Reject.LIMIT, int(over.sum()), f"{key}: blocks begun at a time")
                blocks, symbols, payload = blocks[~over], symbols[~over], payload[~over]
        if len(blocks):
            incoming.frames += len(blocks)
            self._recovered(key, incoming, collector.add(blocks, symbols, payload))

    def _recovered(self, key: Key, incoming: Incoming, found: list[Recovered]) -> None:
        """Turn what a collector has to say into events."""
        collector = incoming.collector
        self._parking.account(incoming)
        if found:
            self._lent.append(collector)
        for recovered in found:
            incoming.decoded_blocks += recovered.decoded
            offset = recovered.block * collector.geometry.block_data
            self._events.append(
                BlockRecovered(key, recovered.block, offset, recovered.data, recovered.decoded)
            )
        self._events += [BlockSpoiled(key, b) for b in collector.spoiled]
        self._events += [BlockWanted(key, b) for b in collector.wanted]
        collector.spoiled.clear()
        collector.wanted.clear()
        if found and collector.complete:
            self._events.append(ObjectCompleted(key, incoming.manifest))

    def _keep_orphans(self, name: Key | int, blocks: I64, symbols: I64, payload: U8) -> None:
        if name in self.quarantine:
            self._reject(Reject.QUARANTINE, len(blocks))
            return
        dropped = self._orphans.keep(name, Part(blocks, symbols, payload, self.frames))
        if dropped:
            self._reject(Reject.ORPHAN, dropped)

    # Bounds ---------------------------------------------------------------------------------

    def _reject(self, reason: Reject, count: int, detail: str = "") -> None:
        self.rejected[reason.value] += count
        self._counted[reason.value, detail] += count

    def _tell(self, event: Event) -> None:
        self._events.append(event)

    def _drain(self) -> list[Event]:
        if self._counted:
            self._events += [
                FrameRejected(reason, count, detail)
                for (reason, detail), count in self._counted.items()
            ]
            self._counted.clear()
        events, self._events = self._events, []
        return events
