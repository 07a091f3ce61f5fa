"""The receiving loop: carrier -> line -> receiver -> sink.

`Session.run` reads and decodes, and returns when the carrier ends, when enough was delivered, or
when nothing was heard for the time allowed. What the sink has to do is done by a `Disk`
(disk.py), which may be another thread: each event is carried out in two halves, what is asked of
the sink, and what follows from its answer.

Trouble with the disk (DestinationError) ends nothing while there is something to hear. An object
that has no room is announced again with its next manifest; a block that cannot be written is
missing again, so that a later pass fills it; an object that is complete waits. Each checkpoint
tries again. The first failure and one a minute are told, all are counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from diode import events
from diode.admission import Anyone, Gate, NoIdentity, Opener
from diode.errors import DestinationError
from diode.frame import flat, portions
from diode.limits import Limits
from diode.ordering import AsTheyCome, Order, Turn
from diode.receiver import Receiver
from diode.service.disk import AtOnce, Disk
from diode.sink.trouble import Lost
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
    from diode.sink import Delivered, Sink
    from diode.tag import Tags

PIECE = 1 << 20
"""Bytes of line handled at a time: what fits a processor's cache is fastest."""
REUSED = (
    "its number was delivered before with other content: was the sender's state restored from a "
    "backup? Remove that state, so that it draws a new identity, and send again"
)
TOLD = 60.0
"""Seconds between two reports of trouble with the disk."""
CHECKPOINT = 1.0
"""Seconds between two checkpoints of unfinished objects."""
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
    receiver: Receiver = field(init=False)
    delivered: int = 0
    refused: int = 0
    known: int = 0
    """Objects heard that had been delivered before."""
    line_bytes: int = 0
    """Bytes heard, of whatever kind."""
    unwritten: int = 0
    """Times that something could not be written."""
    trouble: DestinationError | None = None
    """What the disk said last."""
    homeless: set[Key] = field(default_factory=set)
    """Objects that had no room when they were announced."""
    waiting: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects that cannot be delivered for now."""
    held: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects whose turn has not come."""
    unanswered: dict[Key, bool] = field(default_factory=dict)
    """Objects of which the sink has yet to say whether they are news; which are whole."""
    delivering: dict[Key, Incoming] = field(default_factory=dict)
    """Complete objects that the sink is delivering; the receiver may have forgotten them since."""
    stopped: bool = False
    """Whether `stop` was called."""
    started: float = 0.0
    last_frame: float = 0.0
    _checkpoint: float = 0.0
    _kept: bool = True
    """Whether the last checkpoint is over: a slow disk is not given one on top of the other."""
    _undecided: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects of which it is not known whether it is their turn."""
    _silent: set[int] = field(default_factory=set)
    _told: float | None = None
    _stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.limits, self.gate, self.opener, self.tags)

    def run(self, stop: Stop) -> None:
        """Receive until the carrier ends or `stop` says so; then keep what is unfinished."""
        self._stop = stop
        self.started = self.last_frame = self._checkpoint = self.clock()
        self.sink.evicted, self.sink.lost = self.disk.tell(self.evict), self.disk.tell(self.lost)
        unwanted = []
        for old in self.sink.unfinished():
            self._act(self.receiver.resume(old.key, old.announcement, old.done, old.parked))
            if old.key not in self.receiver.objects:
                unwanted.append(old.key)  # of a run that asked for no signature, or had more room
        self.sink.first_to_go(unwanted)
        self._pass_on_notices()
        try:
            while not self._enough():
                data = self.carrier.read(self._patience())
                if isinstance(data, bytes) and not data:
                    self._take(self.line.flush())
                    break
                self._hear(data or b"")
                self.disk.settle(wait=self._counted())
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

    def lost(self, key: Key, why: str) -> None:
        """The disk has lost an unfinished object: its next manifest begins it anew."""
        self.waiting.pop(key, None)
        self.held.pop(key, None)
        incoming = self.receiver.forget(key)
        if incoming is not None:
            self.observer.refused(key, incoming.manifest, why, self)

    def evict(self, key: Key, why: str) -> None:
        """The sink had to drop an unfinished object."""
        self.waiting.pop(key, None)
        self.held.pop(key, None)
        incoming = self.receiver.forget(key)
        if incoming is not None:
            self._refused(key, incoming.manifest, why)

    def _enough(self) -> bool:
        idle = self._stop.idle
        silent = idle is not None and self.clock() - self.last_frame >= idle
        return self._counted() or silent or self._turned_away()

    def _turned_away(self) -> bool:
        """Whether too few are left to come: their senders are done and others were refused."""
        if self._stop.count is None or not self._silent or self.receiver.objects:
            return False
        refused = sum(key.sender in self._silent for key in self.receiver.quarantine.keys)
        return self._done + refused >= self._stop.count

    @property
    def _done(self) -> int:
        return self.delivered + self.refused + self.known

    @property
    def unaccepted(self) -> bool:
        """Whether fewer objects came than asked for, and some were refused."""
        count = self._stop.count
        return count is not None and self._done < count and self.receiver.quarantine.unsigned > 0

    def _counted(self) -> bool:
        if self.stopped:
            return True
        # One that waits for room counts: whoever asked for so many is told that there is none.
        under_way = len(self.waiting.keys() | self.delivering.keys())
        return self._stop.count is not None and self._done + under_way >= self._stop.count

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
            self._do(
                partial(self.sink.park, saved.key, saved.block, saved.numbers, saved.symbols),
                instead=partial(self.receiver.unsave, saved.key, saved.block),
                size=saved.symbols.nbytes,
            )
        self._kept = False
        self._do(self.sink.checkpoint, lambda _: self._over(), self._over)
        for key, manifest in list(self.waiting.items()):
            self._deliver(key, manifest)
        undecided, self._undecided = self._undecided, {}
        for key, manifest in undecided.items():
            self._completed(key, manifest)
        for gap in self.order.overdue(self.clock()):
            self._do(partial(self.sink.give_up, *gap))
            self.observer.gave_up(gap, self)
            self._release(gap.sender)
        self._pass_on_notices()

    def _over(self) -> None:
        self._kept = True

    def _do(
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
                self._troubled(answer)
                instead()
            else:
                then(answer)

        self.disk.do(work, answered, size)

    def _pass_on_notices(self) -> None:
        while self.sink.notices:
            self.observer.notice(self.sink.notices.pop(0))

    def _troubled(self, error: DestinationError) -> None:
        self.unwritten += 1
        self.trouble = error
        now = self.clock()
        if self._told is None or now - self._told >= TOLD:
            self._told = now
            self.observer.trouble(error, self.needed, self)

    @property
    def no_room(self) -> bool:
        """Whether something is not delivered because of trouble with the disk."""
        return bool(self.waiting or self.homeless or (self.unwritten and self.short()))

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
                self._announced(event)
                return False
            case events.BlockRecovered(key, block, offset, data):
                self._write(key, block, offset, data)
            case events.BlockParked(key, block, numbers, symbols):
                self._do(partial(self.sink.park, key, block, numbers, symbols), size=symbols.nbytes)
            case events.BlockWanted(key, block):
                self._do(partial(self.sink.parked, key, block), partial(self._restore, key, block))
            case events.ObjectCompleted(key, manifest):
                self._completed(key, manifest)
            case events.ObjectEvicted(key) if key in self.delivering:
                pass  # it was whole in time
            case events.ObjectEvicted(key, manifest):
                self.waiting.pop(key, None)
                self._do(partial(self.sink.discard, key))
                self._refused(key, manifest, "too many unfinished objects")
            case events.ObjectVoided(key, manifest):
                self.waiting.pop(key, None)
                self._do(partial(self.sink.void, key, manifest))
                self._refused(key, manifest, "void: its source failed")
                self._settled(key)
            case events.SenderFellSilent(sender):
                self._silent = {s for s in self._silent if s in self.receiver.senders}
                self._silent.add(sender)
        return True

    def _announced(self, event: events.ObjectAnnounced) -> None:
        key, manifest = event.key, event.manifest
        self.unanswered[key] = False

        def known(news: bool) -> None:
            whole = self.unanswered.pop(key, False)
            if news:
                self.homeless.discard(key)
                self.observer.event(event, self)
                if whole:
                    self._completed(key, manifest)
            else:
                self.receiver.finish(key)
                contradicts = partial(self.sink.contradicts, key, manifest)
                self._do(contradicts, partial(self._heard_before, key, manifest))
                self._settled(key)

        def no_room() -> None:
            self.unanswered.pop(key, None)
            self.receiver.forget(key)  # its next manifest announces it again
            if len(self.homeless) < self.limits.objects:
                self.homeless.add(key)

        self._do(partial(self.sink.announce, key, manifest, event.announcement), known, no_room)

    def _write(self, key: Key, block: int, offset: int, data: U8) -> None:
        self.receiver.hold(key, block)

        def missing() -> None:
            self.receiver.give_back(key, block)
            self.receiver.begin_anew(key, [block])

        self._do(
            partial(self.sink.write, key, block, offset, data),
            lambda _: self.receiver.give_back(key, block),
            missing,
            size=data.nbytes,
        )

    def _restore(self, key: Key, block: int, parked: tuple[I64, U8]) -> None:
        self._act(self.receiver.restore(key, block, *parked))

    def _refused(self, key: Key, manifest: Manifest, why: str) -> None:
        self.refused += 1
        self.observer.refused(key, manifest, why, self)

    def _settled(self, key: Key) -> None:
        """Nothing more will come of that number: later ones need not wait for it."""
        self.order.settled(key)
        self._release(key.sender)

    def _completed(self, key: Key, manifest: Manifest) -> None:
        """Deliver an object if it is whole, known to be news, and not beyond those asked for."""
        incoming = self.receiver.objects.get(key)
        if key in self.unanswered:
            self.unanswered[key] = True
        elif incoming is not None and incoming.collector.complete and not self._counted():
            self._complete(key, manifest)

    def _heard_before(self, key: Key, manifest: Manifest, contradicts: bool) -> None:
        if contradicts:
            self._refused(key, manifest, REUSED)
        else:
            self.known += 1
            self.observer.known(key, manifest, self)

    def _complete(self, key: Key, manifest: Manifest) -> None:
        """Deliver a whole object if it is its turn, and then those that waited for it."""
        lowest = min(k.number for k in self.receiver.objects if k.sender == key.sender)
        try:
            turn = self.order.turn(key, lowest, self.clock())
        except DestinationError as error:  # the ledger cannot be asked
            self._troubled(error)
            self._undecided[key] = manifest
            return
        match turn:
            case Turn.HELD:
                if key not in self.held:
                    self.held[key] = manifest
                    self.observer.held(key, manifest, self)
            case Turn.LATE:
                self._do(partial(self.sink.discard, key))
                self.receiver.finish(key)
                self._refused(key, manifest, "out of order: later ones came before")
            case Turn.DUE:
                self._deliver(key, manifest)

    def _release(self, sender: int) -> None:
        """Deliver held objects of a sender as long as it is their turn."""
        while (key := self.order.due(sender)) is not None:
            manifest = self.held.pop(key, None)
            if manifest is not None:
                self._deliver(key, manifest)

    def _deliver(self, key: Key, manifest: Manifest) -> None:
        incoming = self.receiver.objects.get(key)
        if incoming is None:
            self.waiting.pop(key, None)
        elif key not in self.delivering:
            self.delivering[key] = incoming
            self.disk.do(
                partial(self.sink.deliver, key, manifest), partial(self._delivered, key, manifest)
            )

    def _delivered(
        self, key: Key, manifest: Manifest, answer: Delivered | list[int] | DestinationError | None
    ) -> None:
        """What the sink says of a delivery; None where it had dropped the object before."""
        incoming = self.delivering.pop(key)
        if isinstance(answer, DestinationError):
            self._troubled(answer)
        if isinstance(answer, Lost):
            self.lost(key, str(answer))
        elif isinstance(answer, DestinationError):
            self.waiting[key] = manifest
        elif answer is not None:
            self.waiting.pop(key, None)
            if isinstance(answer, list):
                self.receiver.begin_anew(key, answer)
                self.observer.refused(key, manifest, "digest", self)
            else:
                self.delivered += 1
                self.observer.delivered(key, incoming, answer, self)
                self.receiver.finish(key)
                self._settled(key)
