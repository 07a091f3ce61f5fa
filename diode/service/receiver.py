"""The receiving loop: carrier -> line -> receiver -> sink.

`Session.run` reads and decodes, and returns when the carrier ends, when enough was delivered, or
when nothing was heard for the time allowed. What the sink has to do is done by a `Disk`
(disk.py), which may be another thread: each event is carried out in two halves, what is asked of
the sink, and what follows from its answer.

What becomes of objects that are whole is in deliveries.py.

Trouble with the disk (DestinationError) ends nothing while there is something to hear. An object
that has no room is announced again with its next manifest; a block that cannot be written is
missing again, so that a later pass fills it; an object that is complete waits. Each checkpoint
tries again. The first failure and one a minute are told, all are counted.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from diode import events
from diode.admission import Anyone, Gate, NoIdentity, Opener
from diode.errors import DestinationError
from diode.frame import flat, portions
from diode.limits import Limits
from diode.ordering import AsTheyCome, Order
from diode.receiver import Receiver
from diode.service.deliveries import Deliveries, plainly
from diode.service.disk import AtOnce, Disk
from diode.service.record_delivery import NoRecipient, Recipient
from diode.tag import Untagged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.carrier import ReceivingCarrier
    from diode.events import Key
    from diode.frame import I64, U8, Received
    from diode.incoming import Incoming
    from diode.line import Decoder
    from diode.objects import Manifest
    from diode.service.observer import Observer
    from diode.sink import Delivery, Sink
    from diode.tag import Tags

PIECE = 5 << 19
"""Bytes of line handled at a time: so many that the work a batch makes whatever its size hardly
counts, and so few that a processor's cache holds them. What one read of a carrier of
datagrams brings (carrier/separate.py) is one piece."""
TOLD = 60.0
"""Seconds between two reports of trouble with the disk."""
BEATS, SLACK = 3, 2.0
"""Heartbeats, and seconds besides, that may be missing of a link that is up."""
PROMISE = 10.0
"""Seconds between two heartbeats where none has said it."""
CHECKPOINT = 0.5
"""Seconds between two checkpoints of unfinished objects. What came is kept by the second one at the
latest: so a kill costs what came in the last second."""
WAIT = 0.5
SOON = 0.02
"""Seconds to wait for the carrier while the disk has something to tell."""


@dataclass(frozen=True, slots=True)
class Short:
    """An object that is not whole at the end of a session."""

    key: Key
    manifest: Manifest
    blocks_short: int
    blocks: int


@dataclass(slots=True)
class Stop:
    """When a session ends, besides the end of its carrier."""

    count: int | None = None
    idle: float | None = None


@dataclass(slots=True)
class Session:
    """One run of a receiver."""

    carrier: ReceivingCarrier
    line: Decoder
    sink: Sink
    observer: Observer
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    gate: Gate = field(default_factory=Anyone)
    opener: Opener = field(default_factory=NoIdentity)
    order: Order = field(default_factory=AsTheyCome)
    tags: Tags = field(default_factory=Untagged)
    disk: Disk = field(default_factory=AtOnce)
    records: Recipient = field(default_factory=NoRecipient)
    around: Callable[[Key, Incoming, Session], Callable[[Callable[[], Delivery]], Delivery]] = (
        plainly
    )
    """Asked in this loop, it gives what delivers an object with something before and after."""
    receiver: Receiver = field(init=False)
    deliveries: Deliveries = field(init=False)
    line_bytes: int = 0
    """Bytes heard, of whatever kind."""
    unwritten: int = 0
    """Times that something could not be written."""
    trouble: DestinationError | None = None
    """What the disk said last."""
    stopped: bool = False
    """Whether `stop` was called."""
    started: float = 0.0
    last_frame: float = 0.0
    _checkpoint: float = 0.0
    _kept: bool = True
    """Whether the last checkpoint is over: a slow disk is not given one on top of the other."""
    _silent: set[int] = field(default_factory=set)
    _told: float | None = None
    _stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        wanted = self.records.wanted
        self.receiver = Receiver(self.limits, self.gate, self.opener, self.tags, records=wanted)
        self.receiver.records.resume(self.records.positions())
        self.deliveries = Deliveries(self)

    def run(self, stop: Stop) -> None:
        """Receive until the carrier ends or `stop` says so; then keep what is unfinished."""
        self._stop = stop
        self.started = self.last_frame = self._checkpoint = self.clock()
        self.sink.evicted = self.disk.tell(self.deliveries.evicted)
        self.sink.lost = self.disk.tell(self.deliveries.lost)
        unwanted = []
        for old in self.sink.unfinished():
            self._act(self.receiver.resume(*old))
            if old.key not in self.receiver.objects:
                unwanted.append(old.key)  # of a run that asked for no signature, or had more room
        self.sink.first_to_go(unwanted)
        self._pass_on_notices()
        try:
            # What an earlier run had whole is held against its digest before anything is heard:
            # what a power cut took of it comes again with what is heard now.
            self.disk.settle(wait=True)
            while not self._at_end():
                data = self.carrier.read(self._patience())
                if isinstance(data, bytes) and not data:
                    self._take(self.line.flush())
                    self._act(self.receiver.tick(math.inf))  # nothing is waited for any more
                    break
                self._hear(data or b"")
                self._act(self.receiver.tick(self.clock()))
                self.records.tick(live=self._live)
                self.disk.settle(wait=self.enough)
                self.observer.tick(self)
            self.disk.settle(wait=True)
        finally:
            self._act(self.receiver.park_all())
            self._keep()
            self.disk.settle(wait=True)
            self._pass_on_notices()

    def _patience(self) -> float:
        """Seconds to wait for the carrier."""
        if self.disk.busy:
            return SOON
        return WAIT if self._stop.idle is None else min(WAIT, self._stop.idle)

    def stop(self) -> None:
        """Make `run` return soon, with everything in order. May be called by a signal handler."""
        self.stopped = True

    def short(self) -> list[Short]:
        """Objects announced and not whole."""
        return [
            Short(
                key,
                incoming.manifest,
                incoming.collector.geometry.blocks - incoming.collector.done_count,
                incoming.collector.geometry.blocks,
            )
            for key, incoming in self.receiver.objects.items()
            if not incoming.collector.complete  # beyond the count asked for: of the next run
        ]

    def _at_end(self) -> bool:
        idle = self._stop.idle
        silent = idle is not None and self.clock() - self.last_frame >= idle
        return self.enough or silent or self._turned_away()

    def _turned_away(self) -> bool:
        """Whether too few are left to come: their senders are done and others were refused."""
        if self._stop.count is None or not self._silent or self.receiver.objects:
            return False
        refused = sum(key.sender in self._silent for key in self.receiver.quarantine.keys)
        return self.deliveries.done + refused >= self._stop.count

    @property
    def unaccepted(self) -> bool:
        """Whether fewer objects came than asked for, and some were refused."""
        count = self._stop.count
        return (
            count is not None
            and self.deliveries.done < count
            and self.receiver.quarantine.unsigned > 0
        )

    @property
    def enough(self) -> bool:
        """Whether no more objects are wanted."""
        if self.stopped:
            return True
        # One that waits for room counts: whoever asked for so many is told that there is none.
        ours = self.deliveries.done + self.deliveries.under_way
        return self._stop.count is not None and ours >= self._stop.count

    def _hear(self, data: Received) -> None:
        self.line_bytes += len(flat(data))
        for portion in portions(data, PIECE):
            self._take(self.line.feed(portion))
        now = self.clock()
        if self._kept and now - self._checkpoint >= CHECKPOINT:
            self._checkpoint = now
            self._keep()

    def _keep(self) -> None:
        """A checkpoint: what came since the last one goes to disk, what waits is tried again."""
        for saved in self.receiver.save():
            self.do(
                partial(self.sink.park, saved.key, saved.block, saved.numbers, saved.symbols),
                instead=partial(self.receiver.unsave, saved.key, saved.block),
                size=saved.symbols.nbytes,
            )
        self._kept = False
        self.do(self.sink.checkpoint, lambda _: self._over(), self._over)
        self.deliveries.try_again()
        self._pass_on_notices()

    def _over(self) -> None:
        self._kept = True

    def do(
        self,
        work: Callable[[], object],
        then: Callable[[Any], object] = lambda _: None,
        instead: Callable[[], object] = lambda: None,
        *,
        size: int = 0,
    ) -> None:
        """Have the sink do something, `then` go on with its answer, or `instead` where the disk
        did not take it. size: bytes that this keeps in memory.
        """

        def answered(answer: object) -> None:
            if isinstance(answer, DestinationError):
                self.troubled(answer)
                instead()
            else:
                then(answer)

        self.disk.do(work, answered, size)

    def _pass_on_notices(self) -> None:
        while self.sink.notices:
            self.observer.notice(self.sink.notices.pop(0))

    def troubled(self, error: DestinationError) -> None:
        """The disk does not take something: count it, and tell it now and then."""
        self.unwritten += 1
        self.trouble = error
        now = self.clock()
        if self._told is None or now - self._told >= TOLD:
            self._told = now
            self.observer.trouble(error, self.needed, self)

    @property
    def _live(self) -> bool:
        """Whether the link has not been silent for longer than its heartbeats promise."""
        promised = [one.interval for one in self.receiver.senders.values() if one.interval]
        return self.clock() - self.last_frame <= BEATS * max(promised, default=PROMISE) + SLACK

    @property
    def no_room(self) -> bool:
        """Whether something is not delivered because of trouble with the disk."""
        whole = self.deliveries
        return bool(whole.waiting or whole.homeless or (self.unwritten and self.short()))

    @property
    def needed(self) -> int:
        """Bytes that the objects known so far still want to write, at least."""
        return sum(
            max(0, i.manifest.size - i.collector.done_count * i.collector.geometry.block_data)
            for i in self.receiver.objects.values()
        )

    def _take(self, batches: list[U8]) -> None:
        if batches:
            self._act(self.receiver.receive(batches, self.clock()))
            self.last_frame = self.clock()  # a slow disk is no silence of the line

    def _act(self, happened: Iterable[events.Event]) -> None:
        """Carry out what the receiver's events ask of the sink."""
        for event in happened:
            if self._carry_out(event):
                self.observer.event(event, self)

    def _carry_out(self, event: events.Event) -> bool:
        """Do what one event asks; whether the observer should hear of it now."""
        match event:
            case events.ObjectAnnounced():
                self.deliveries.announced(event)
                return False
            case events.BlockRecovered(key, block, offset, data):
                self._write(key, block, offset, data)
            case events.BlockParked(key, block, numbers, symbols):
                self.do(partial(self.sink.park, key, block, numbers, symbols), size=symbols.nbytes)
            case events.BlockWanted(key, block):
                self.do(partial(self.sink.parked, key, block), partial(self._restore, key, block))
            case events.ObjectCompleted(key, manifest):
                self.deliveries.completed(key, manifest)
            case events.ObjectEvicted(key, manifest):
                self.deliveries.crowded_out(key, manifest)
            case events.ObjectVoided(key, manifest):
                self.deliveries.voided(key, manifest)
            case events.RecordsHeard() | events.RecordGap():
                self.records.take(event)
            case events.SenderFellSilent(sender):
                self._silent = {s for s in self._silent if s in self.receiver.senders}
                self._silent.add(sender)
        return True

    def _write(self, key: Key, block: int, offset: int, data: U8) -> None:
        self.receiver.hold(key, block)

        def missing() -> None:
            self.receiver.give_back(key, block)
            self.receiver.begin_anew(key, [block])

        self.do(
            partial(self.sink.write, key, block, offset, data),
            lambda _: self.receiver.give_back(key, block),
            missing,
            size=data.nbytes,
        )

    def _restore(self, key: Key, block: int, parked: tuple[I64, U8]) -> None:
        self._act(self.receiver.restore(key, block, *parked))
