"""Records from a receiver to its sinks: threads, so that listening waits for neither disk nor
broker.

    RecordsHeard ─┬─ latest: the newest of each topic, for each sink ─────────┐
                  └─ every: thread that stores ─> disk, with how far it came ─┴─> thread of each
                  sink

What a sink does not take in time is bounded: of `latest` the newest value of each topic, of `every`
what the store has room for. What is dropped is counted and named.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Protocol

from diode import events
from diode.errors import DestinationError
from diode.inflow import Position
from diode.objects import escape
from diode.record import EVERY, LATEST, SEQUENCES
from diode.record_health import PATIENCE, Dropped, RecordsIn, Sink
from diode.service.record_presence import Presence
from diode.service.record_process import BATCH, Batch, End, Reading, Ready, Said, Taken, shown
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.service.record_process import Message, Process
    from diode.service.record_store import RecordStore

ROOM = 16 << 20
"""Bytes of last values that wait for a sink, and of `every` that wait for the disk."""
SENDERS = 1000
"""Whose streams are remembered in memory."""
NEWS = 100
"""Things to tell that nobody has asked for yet."""
NAMED = 10
"""Topics of dropped records that are named one by one."""
AGAIN = 2.0
"""Seconds until a disk that failed is asked again."""
LINGER = 5.0
"""Seconds that sinks have at the end to take what there is."""


class Recipient(Protocol):
    """Where a session's records go."""

    wanted: bool

    def positions(self) -> Sequence[Position]:
        """How far earlier runs have come."""

    def take(self, event: events.RecordsHeard | events.RecordGap) -> None:
        """Some were heard, or are missing. Does not wait."""

    def tick(self, *, live: bool) -> None:
        """Some time has passed. live: the link has not been silent for longer than it may."""

    def health(self) -> RecordsIn | None:
        """What is known here of them, for an operator; None where nobody wants any."""


class NoRecipient:
    """Nobody wants records."""

    wanted = False

    def positions(self) -> Sequence[Position]:
        return ()

    def take(self, event: events.RecordsHeard | events.RecordGap) -> None:
        """Nobody."""

    def tick(self, *, live: bool) -> None:
        """At any time."""

    def health(self) -> None:
        """There is nothing to know."""


class Delivery:
    """All sinks of one receiver."""

    wanted = True

    def __init__(
        self,
        store: RecordStore,
        sinks: list[tuple[str, str, Process]],
        clock: Callable[[], int] = time.time_ns,
        patience: float = PATIENCE,
    ) -> None:
        """sinks: each with the name that it has in the store, one for people, and its process.

        clock: what is written down as the time at which a record was heard. patience: seconds for
        which a sink may take nothing.
        """
        self._store = store
        self._clock = clock
        self._one = threading.Condition()
        self._heard: deque[Reading] = deque()
        self._reached: dict[tuple[int, bytes], Position] = {}
        self._streams: dict[int, int] = {}
        """The stream of `latest` that was heard last of each sender."""
        self._held = 0
        self._news: deque[Said] = deque(maxlen=NEWS)
        self.dropped: Counter[str] = Counter()
        """Records that there was no room for, by topic."""
        self.taken = 0
        """Records that were heard."""
        self.live = True
        self._patience = patience
        self._over = False
        self._sinks = [_Sink(self, *sink) for sink in sinks]
        self._keeper = threading.Thread(target=self._keep, name="records", daemon=True)

    # The thread that listens ------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Confined by then: a thread shares the confinement only if it starts after it."""
        self._keeper.start()
        for sink in self._sinks:
            sink.start()

    def positions(self) -> Sequence[Position]:
        return self._store.positions()

    def take(self, event: events.RecordsHeard | events.RecordGap) -> None:
        if isinstance(event, events.RecordGap):
            following = (event.last + 1) % SEQUENCES
            self._reach(Position(event.sender, event.topic, event.stream, following))
            return
        now, sender = self._clock(), event.sender
        readings = [
            Reading(
                *(event.class_, one.topic, one.payload, one.time, one.quality, one.retain),
                *(one.sequence, one.repeats, sender, now),
            )
            for one in event.records
        ]
        self.taken += len(readings)
        if event.class_ == LATEST:
            if self._streams.get(sender) != event.stream:
                if len(self._streams) >= SENDERS:
                    self._streams.clear()
                self._streams[sender] = event.stream
                self._reach(Position(sender, b"", event.stream, 0))
            for sink in self._sinks:
                sink.latest(readings)
            return
        with self._one:
            for reading in readings:
                self._heard.append(reading)
                self._held += reading.size
            while self._held > ROOM:  # the disk takes nothing
                gone = self._heard.popleft()
                self._held -= gone.size
                self._drop(gone.topic)
        last = readings[-1]
        following = (last.sequence + 1) % SEQUENCES
        self._reach(Position(sender, last.topic, event.stream, following))

    def _reach(self, position: Position) -> None:
        with self._one:
            self._reached[position.sender, position.topic] = position
            self._one.notify_all()

    def tick(self, *, live: bool) -> None:
        if live != self.live:
            self.live = live
            for sink in self._sinks:
                sink.wake()

    def health(self) -> RecordsIn:
        """What is known here: of what is dropped, of what waits, of the sinks."""
        dropped = Counter(dict(self.dropped))  # other threads add to it
        return RecordsIn(
            dropped=sum(dropped.values()),
            dropped_of=[Dropped(*one) for one in dropped.most_common(NAMED)],
            unstored=len(self._heard),
            sinks=[sink.health for sink in self._sinks],
            patience=self._patience,
        )

    def news(self) -> list[Said]:
        """What is to be told, since the last call."""
        told = []
        while self._news:
            told.append(self._news.popleft())
        return told

    def close(self) -> None:
        """Store what was heard, and give sinks a little time to take it."""
        with self._one:
            self._over = True
            self._one.notify_all()
        if self._keeper.is_alive():
            self._keeper.join(LINGER)
        until = time.monotonic() + LINGER
        for sink in self._sinks:
            sink.finish(max(0.1, until - time.monotonic()))
        self._store.close()

    # The threads ------------------------------------------------------------------------------

    def tell(self, text: str, *, warning: bool = True) -> None:
        self._news.append(Said(text, warning))

    def _drop(self, topic: bytes, count: int = 1) -> None:
        name = escape(topic)
        if not self.dropped:
            self.tell(f"records of {name} and others are dropped: there is no room for them")
        self.dropped[name] += count
        if len(self.dropped) > NEWS * 10:
            rarest, times = min(self.dropped.items(), key=lambda item: item[1])
            del self.dropped[rarest]
            self.dropped["others"] += times

    def _keep(self) -> None:
        """Store what is heard of `every`."""
        told = ""
        while True:
            with self._one:
                while not (self._reached or self._over):
                    self._one.wait()
                if not self._reached:
                    return
                heard, self._heard, self._held = self._heard, deque(), 0
                reached, self._reached = self._reached, {}
            try:
                for topic, count in self._store.keep(heard, reached.values()).items():
                    self._drop(topic, count)
            except DestinationError as error:
                if str(error) != told:
                    told = str(error)
                    self.tell(f"{error}; it is tried again")
                with self._one:
                    self._heard.extendleft(reversed(heard))
                    self._held += sum(one.size for one in heard)
                    self._reached = reached | self._reached
                    if self._over:
                        return
                    self._one.wait(AGAIN)
                continue
            if told:
                told = ""
                self.tell("the store of records takes them again", warning=False)
            for sink in self._sinks:
                sink.wake()


class _Sink:
    """One sink, and the thread that serves it."""

    def __init__(self, delivery: Delivery, name: str, shown: str, process: Process) -> None:
        self._delivery = delivery
        self._name = name
        self._shown = shown
        self._process = process
        self._changed = threading.Condition()
        self._latest: OrderedDict[tuple[int, bytes], Reading] = OrderedDict()
        self._held = 0
        self._number = 0
        self._woken = self._over = False
        self._live = True
        self._presence = Presence()
        self._taken = self._in_hand = 0
        self._thread = threading.Thread(target=self._serve, name="sink", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def latest(self, readings: list[Reading]) -> None:
        """Newer values, which replace those that wait."""
        with self._changed:
            for one in readings:
                old = self._latest.pop((one.sender, one.topic), None)
                self._held += one.size - (old.size if old else 0)
                self._latest[one.sender, one.topic] = one
            while self._held > ROOM:
                _, gone = self._latest.popitem(last=False)
                self._held -= gone.size
                self._delivery._drop(gone.topic)  # noqa: SLF001  two halves of one thing
            self._woken = True
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def health(self) -> Sink:
        """How it is now."""
        stored = self._delivery._store.waiting_for(self._name)  # noqa: SLF001
        waiting = stored + len(self._latest) + self._in_hand
        presence = self._presence
        return Sink(self._shown, presence.there, *presence.away, self._taken, waiting)

    def finish(self, seconds: float) -> None:
        """Take what there is, and end."""
        with self._changed:
            self._over = self._woken = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._process.channel.hang_up()
        if self._thread.is_alive():
            self._thread.join(1.0)
            waiting = len(self._latest)
            if waiting:
                self._delivery.tell(f"{self._shown}: {plural(waiting, 'last value')} not taken")

    def _serve(self) -> None:
        delivery = self._delivery
        try:
            while (batch := self._next()) is not None:
                last, readings = batch
                self._number += 1
                self._in_hand = sum(one.class_ == LATEST for one in readings)
                self._publish(Batch(self._number, readings, delivery.live))
                self._in_hand = 0
                self._taken += len(readings)
                if last:
                    self._take_off(last)
        except (EOFError, OSError):
            if not self._over:
                self._presence.lose("its process has ended")
                delivery.tell(f"{self._shown}: its process has ended")

    def _publish(self, batch: Batch) -> None:
        """Return when it is published. EOFError when nobody will do that."""
        channel = self._process.channel
        channel.send(batch)
        self._presence.gave()
        while True:
            match channel.receive():
                case Taken(number) if number == batch.number:
                    self._presence.took()
                    return
                case End():
                    raise EOFError
                case message:
                    self._hear(message)
                    if isinstance(message, Ready):  # another worker, which does not know of it
                        channel.send(batch)

    def _take_off(self, number: int) -> None:
        """What was published leaves the disk; as soon as the disk takes that."""
        while True:
            try:
                self._delivery._store.taken(self._name, number)  # noqa: SLF001
            except DestinationError as error:
                self._delivery.tell(str(error))
                if self._over:
                    return
                time.sleep(AGAIN)
            else:
                return

    def _next(self) -> tuple[int, list[Reading]] | None:
        """What is to be published next, waited for; None when it is over."""
        while True:
            with self._changed:
                self._woken, size, latest = False, 0, []
                while self._latest and size < BATCH // 2:
                    _, one = self._latest.popitem(last=False)
                    latest.append(one)
                    size += one.size
                self._held -= size
            number, every = self._delivery._store.next(self._name, BATCH - size)  # noqa: SLF001
            assert all(one.class_ == EVERY for one in every)
            said = self._live
            self._live = self._delivery.live
            if latest or every or said != self._live:
                return number, [*latest, *every]
            with self._changed:
                if self._over and not self._latest:
                    return None
                while not (self._woken or self._over):
                    self._changed.wait(0.5)
                    self._hear(self._process.channel.receive(0.0))

    def _hear(self, message: Message | None) -> None:
        """What the sink says without being asked."""
        if isinstance(message, Ready):
            self._presence.begun()
        elif isinstance(message, Said):
            self._presence.hear(message)
            if message.text:
                self._delivery.tell(shown(self._shown, message.text), warning=message.warning)
