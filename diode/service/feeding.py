"""What brings the objects of drop folders to a transmitter that stays on air: a thread of its own.

    drop folders ── scans, watch ──> ripe files, by flow
                                        │  read, hashed, bundled            this thread
                                        ▼
                     queue on disk: numbered, fsynced
                                        │
                                        ▼  poll()                   the thread that sends
                                   Transmitter
                                        │  what became of them
                                        ▼
                     passes counted, files moved or deleted                 this thread

Sending never waits for any of it. Nor does what is urgent: while a long file is hashed, every
piece of it is an occasion to look for files of a higher priority, and to queue them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.errors import DestinationError, DiodeError
from diode.objects import escape
from diode.sent import ObjectSent, SourceFailed
from diode.service.leaving import Leaving
from diode.service.resuming import Withdrawn
from diode.service.settling import News, Settling, trouble
from diode.service.spool import Entry
from diode.supply import Supplied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diode.assembly import Source
    from diode.errors import SourceError
    from diode.flow import Flow
    from diode.sent import Sent
    from diode.service.building import Built, Workbench
    from diode.service.config import Drop
    from diode.service.places import Waiting
    from diode.service.queues import Queues
    from diode.service.spool import Spool
    from diode.service.state import SenderState
    from diode.source.drop import Ripe
    from diode.source.watch import Watch
    from diode.transmitter import Transmitter

AT_ONCE = 16
"""Objects that are numbered together, with one fsync, or added to the transmitter at a time."""
PROMPT = 0.05
"""Seconds after which what is ready is numbered though there are fewer, and between two looks for
what is more urgent."""
TICK = 1.0
"""Seconds between two words about how it goes, and a rest at most."""
RETRY = 2.0
"""Seconds after which what the disk did not take is tried again."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A numbered object for the transmitter."""

    entry: Entry
    source: Source
    flow: str


class Stopped(Exception):
    """It is to end."""


class Feed:
    """The supply of a transmitter (supply.py), from drop folders."""

    def __init__(
        self,
        transmitter: Transmitter,
        state: SenderState,
        spool: Spool,
        queues: Queues,
        bench: Workbench,
        watch: Watch,
        *,
        ring: Callable[[], object],
        each_second: Callable[[Feed], object] = lambda _feed: None,
        reread: Callable[[], Sequence[Drop] | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """ring: wakes the thread that sends. each_second: is called about that often. reread:
        gives the drop folders of a configuration that was changed, None where it is not to be used.
        """
        self._transmitter = transmitter
        self._state = state
        self._spool = spool
        self.queues = queues
        self._bench = bench
        self._watch = watch
        self._ring = ring
        self._each_second = each_second
        self._reread = reread
        self._clock = clock
        self.leaving = Leaving(clock)
        self.settling = Settling(spool, queues, state.sender)
        self.trouble = ""
        """Why nothing can be queued for now."""
        self._flow_of: dict[int, Waiting] = {}
        self._offers: deque[Offer] = deque()
        self._over: deque[int] = deque()
        """Objects that the transmitter has no planned passes of any more."""
        self._flows: list[Flow] | None = None
        self.running = True
        """Whether it has not been closed."""
        self._reload = False
        self._broken: BaseException | None = None
        self._levels: list[int] = []
        """Priorities of the flows that objects are being built for, one inside the other."""
        self._looked = self._ticked = self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    # The thread that sends --------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Confined by then: a thread shares the confinement only if it starts after it."""
        self._thread.start()

    def poll(self) -> Supplied:
        if self._broken is not None:
            raise self._broken
        flows, self._flows = self._flows, None
        if flows is not None:
            self._transmitter.arrange(flows)
        for _ in range(min(AT_ONCE, len(self._offers))):
            offer = self._offers.popleft()
            entry = offer.entry
            self._transmitter.add(entry.number, offer.source, entry.passes_done, flow=offer.flow)
        return Supplied.OPEN

    def stop(self) -> None:
        """Offer nothing more. The thread goes on with what has left, until `close`."""
        self._offers.clear()

    def see(self, events: Sequence[Sent]) -> None:
        """What the transmitter says has become of objects."""
        for event in events:
            self.leaving.told(event, self._transmitter.progress.line_frames)
            if isinstance(event, ObjectSent | SourceFailed):
                self._over.append(event.number)
                self._watch.wake()

    def reload(self) -> None:
        """Read the configuration again, soon. May be called by a signal handler."""
        self._reload = True
        self._watch.wake()

    @property
    def highest(self) -> int:
        """Highest object number used."""
        return self._state.number

    def under_way(self, most: int) -> list[tuple[Entry, int, int, str]]:
        """Objects that the transmitter has passes to send of, those of higher priorities first:
        each with its passes done and planned, and its flow. Called where `each_second` is.
        """
        found = []
        for number, waiting in sorted(
            self._flow_of.items(), key=lambda item: (-item[1].flow.priority, item[0])
        )[:most]:
            entry, planned = self.settling.entries[number], waiting.flow.passes
            passes = self._transmitter.settings.passes if planned is None else planned
            done = max(entry.passes_done, self.settling.passes.get(number, 0))
            found.append((entry, done, passes, waiting.flow.name))
        return found

    def news(self) -> Iterator[News]:
        """What is to be told, by the thread that tells."""
        while self.settling.news:
            yield self.settling.news.popleft()

    def close(self) -> None:
        """Settle what has left, and end."""
        self.running = False
        self._watch.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._settle()
        self._each_second(self)

    # Its own thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._take_up()
            while self.running:
                self._turn()
                self.queues.came(self._watch.wait(self._pause()))
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised where frames come from
            self._broken = error
            self._ring()

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        now = self._clock()
        if any(w.room and (w.ripe or w.returning) for w in self.queues.waiting.values()):
            return max(0.0, self._retry_at - now)
        return min(self.queues.due(now), max(0.0, self._ticked + TICK - now))

    def _turn(self) -> None:
        now = self._clock()
        if self._reload:
            self._reload = False
            drops = self._reread()
            if drops is not None:
                self.queues.arrange(drops)
                self._flows = self.queues.flows
                self._ring()
        self._settle()
        self.queues.look(self._clock)
        if now >= self._retry_at:
            for waiting in self.queues.urgent:
                self._feed(waiting)
        if now - self._ticked >= TICK:
            self._ticked = now
            self._each_second(self)

    def _meanwhile(self, _count: int) -> None:
        """While something long is read: see to what is more urgent."""
        if not self.running:
            raise Stopped
        now = self._clock()
        if now - self._looked < PROMPT:
            return
        self._looked = now
        self._see_over()
        self.queues.came(self._watch.wait(0))
        self.queues.look(self._clock)
        for waiting in self.queues.urgent:
            if waiting.flow.priority <= self._levels[-1]:
                break
            self._feed(waiting)
        if now - self._ticked >= TICK:
            self._ticked = now
            self._each_second(self)

    def _see_over(self) -> None:
        """Make room in flows for what has been sent."""
        while self._over:
            number = self._over.popleft()
            if waiting := self._flow_of.pop(number, None):
                waiting.done(number)

    def _settle(self) -> None:
        self._see_over()
        try:
            self.settling.settle(self.leaving.left())
        except DestinationError as error:
            self._in_trouble(error)

    def _in_trouble(self, error: DestinationError) -> None:
        self._retry_at = self._clock() + RETRY
        text = trouble(error)
        if text != self.trouble:
            self.trouble = text
            self.settling.news.append(News("warning", {"message": text}, text, warning=True))

    # Objects ----------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """What was queued before this process was started."""
        for entry in self._spool.unfinished():
            self.settling.entries[entry.number] = entry
            belongs = self.queues.of_entry(entry)
            over = entry.state == "leaving" or (entry.state == "sent" and not self._bench.kept)
            if over or (belongs is None and entry.state == "sent"):
                self.settling.leave(entry)
            elif belongs is None:
                self._withdraw(next(iter(self.queues.waiting.values())), entry)
            else:
                belongs.returning.append(entry)

    def _feed(self, waiting: Waiting) -> None:
        """Build objects for a flow while the transmitter has room for more."""
        self._levels.append(waiting.flow.priority)
        try:
            while waiting.room and waiting.returning:
                self._return(waiting, waiting.returning.popleft())
            if waiting.room and waiting.ripe:
                self._feed_new(waiting)
        finally:
            self._levels.pop()

    def _feed_new(self, waiting: Waiting) -> None:
        popped: list[tuple[str, Ripe]] = []
        batch: list[Built] = []
        since = self._clock()

        def things() -> Iterator[tuple[str, Ripe]]:
            size = sum(built.manifest.size for built in batch)
            while waiting.ripe and waiting.has_room(len(batch), size):
                popped.append(waiting.pop())
                yield popped[-1]

        try:
            for built in self._bench.build(waiting.flow, things(), self._failed, self._meanwhile):
                batch.append(built)
                idle = not waiting.out and len(batch) == 1
                if idle or len(batch) >= AT_ONCE or self._clock() - since > PROMPT:
                    self._number(waiting, batch)
                    since = self._clock()
            self._number(waiting, batch)
            self.trouble = ""
        except DestinationError as error:
            self._in_trouble(error)
            numbered = {f for e in self.settling.entries.values() for f in e.files}
            for folder, ripe in popped:
                if not any((f.folder, f.parts) == (folder, ripe.parts) for f in numbered):
                    self._look_again(folder, ripe)
            for built in batch:
                built.discard()

    def _number(self, waiting: Waiting, batch: list[Built]) -> None:
        """Number what was built, on disk, and offer it. Empties the batch."""
        if not batch:
            return
        if not self._state.room(len(batch)):
            raise DiodeError(
                "this sender has used all its object numbers",
                hint="start it again: it will draw a new identity",
            )
        first = self._state.number + 1
        entries = [
            Entry(number, built.manifest, built.files) for number, built in enumerate(batch, first)
        ]
        self._spool.add(entries)
        self._state.reserve(len(entries))
        for entry, built in zip(entries, batch, strict=True):
            self._offer(waiting, entry, built)
            self.settling.news.append(self._queued(entry, waiting))
        batch.clear()

    def _offer(self, waiting: Waiting, entry: Entry, built: Built) -> None:
        self.settling.entries[entry.number] = entry
        self.settling.built[entry.number] = built
        self._put(waiting, Offer(entry, built.source, waiting.flow.name))

    def _put(self, waiting: Waiting, offer: Offer) -> None:
        number = offer.entry.number
        if offer.entry.state == "sent":  # only the carousel gets it, and no word comes of that
            self.settling.kept.add(number)
        else:
            waiting.took(number, offer.entry.manifest.size)
            self._flow_of[number] = waiting
        self._offers.append(offer)
        self._ring()

    def _return(self, waiting: Waiting, entry: Entry) -> None:
        """Offer again what was queued before, if it is still the same."""
        belongs = self.queues.of_entry(entry)
        things = [] if belongs is None else self.queues.files_of(entry)
        built = self._bench.again(waiting.flow, entry, things, self._meanwhile)
        if built is not None:
            self._offer(waiting, entry, built)
        elif entry.state == "sent":  # only what the carousel would have had of it is lost
            self.settling.leave(entry)
        else:
            self._withdraw(waiting, entry)

    def _withdraw(self, waiting: Waiting, entry: Entry) -> None:
        """The transmitter announces void what has no source any more."""
        source = Withdrawn(entry.manifest)
        fresh = Entry(entry.number, entry.manifest, entry.files)
        self._put(waiting, Offer(fresh, source, waiting.flow.name))

    def _failed(self, folder: str, ripe: Ripe, error: SourceError) -> None:
        """A file that cannot be read, or changed when its turn came."""
        self._look_again(folder, ripe)
        if place := self.queues.place(folder):
            place.files.skip(ripe.parts, str(error))

    def _look_again(self, folder: str, ripe: Ripe) -> None:
        if place := self.queues.place(folder):
            place.files.forget(ripe.parts, ripe.found.identity)

    def _queued(self, entry: Entry, waiting: Waiting) -> News:
        name = escape(entry.manifest.name)
        fields = {
            "name": name,
            "sender": self._state.sender,
            "number": entry.number,
            "size": entry.manifest.size,
            "files": len(entry.files),
            "flow": escape(waiting.flow.name),
            "priority": waiting.flow.priority,
        }
        return News("object_queued", fields, f"queued {name} as {entry.number}")
