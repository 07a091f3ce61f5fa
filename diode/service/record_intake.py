"""Records from their sources to a transmitter: threads that ask, and a supply that hands over.

    source process ─> thread ─┬─ latest: the newest of each topic ──────────┐
                              └─ every: numbered, on disk, acknowledged ────┴─> poll() ─> Outflow

The thread that sends never waits for a source or a disk. What it does not take in time, since the
line is slow or away, is bounded: of `latest` the newest value of each topic, of `every` what the
spool has room for. What comes from a source's process is checked again here: it has a network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from diode import record
from diode.bucket import Bucket
from diode.errors import DestinationError
from diode.objects import escape
from diode.record import EVERY, LATEST, Record
from diode.record_health import PATIENCE, RecordsOut, Source
from diode.service.record_presence import Presence
from diode.service.record_process import Batch, End, Ready, Said, Taken, shown
from diode.supply import Supplied

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.outflow import Outflow
    from diode.service.record_process import Process, Reading
    from diode.service.record_spool import RecordSpool
    from diode.supply import Supply

TOPICS = 65_536
"""Topics of each class that a sender has."""
SWEEP = 1.0
"""Seconds between two removals of what was sent for the last time."""
TOLD = 10.0
"""Seconds between two refusals that are told, but for the first ones."""
NEWS = 100
"""Things to tell that nobody has asked for yet."""
MOST_COUNTED = 1 << 32
"""Of what a process says that it has refused or dropped: no sum of these leaves 64 bits."""


class Along:
    """A supply of objects (supply.py), and records along with it."""

    def __init__(self, intake: Intake, objects: Supply) -> None:
        self._intake = intake
        self._objects = objects

    def poll(self) -> Supplied:
        self._intake.poll()
        objects = self._objects.poll()
        if objects is Supplied.CLOSED and not self._intake.over:
            return Supplied.OPEN
        return objects

    def stop(self) -> None:
        self._objects.stop()


class _Source:
    """One of them, and what is known of it."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.channel = process.channel
        self.presence = Presence()
        self.ended = False
        self.taken = 0

    @property
    def health(self) -> Source:
        away, there = self.presence.away, self.presence.there
        return Source(self.name, there, *away, self.taken, self.ended)


class Intake:
    """All sources of one sender."""

    def __init__(
        self,
        outflow: Outflow,
        spool: RecordSpool,
        sources: list[tuple[str, Process]],
        ring: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        """sources: each with its name for people. ring: wakes the thread that sends. patience:
        seconds for which a source may be away.
        """
        self._outflow = outflow
        self._spool = spool
        self._sources = [_Source(*source) for source in sources]
        self._ring = ring
        self._clock = clock
        self._one = threading.Lock()
        self._latest: dict[bytes, Record] = {}
        self._every: deque[tuple[int, Record]] = deque(spool.pending())
        self.resumed = len(self._every)
        """Records of earlier runs that are sent again."""
        self._known: tuple[set[bytes], set[bytes]] = set(), spool.topics()
        """Topics of each class: both tables, the one here and the one on disk, are bounded."""
        self._open = len(sources)
        self._news: deque[Said] = deque(maxlen=NEWS)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, args=(one,), name="records", daemon=True)
            for one in self._sources
        ]
        self._threads.append(threading.Thread(target=self._sweep, name="swept", daemon=True))
        self._finished: deque[int] = deque()
        self._refusals = Bucket(1 / TOLD, 3)
        self._patience = patience
        self._replaced = self._refused = self._dropped = 0

    def start(self) -> None:
        """Begin. Confined by then: a thread shares the confinement only if it starts after it."""
        for thread in self._threads:
            thread.start()

    # The thread that sends --------------------------------------------------------------------

    def poll(self) -> None:
        """Hand over what has come."""
        now, outflow = self._clock(), self._outflow
        if self._latest or self._every:
            with self._one:
                latest, self._latest = self._latest, {}
                every, self._every = self._every, deque()
            for new in latest.values():
                outflow.latest(new, now)
            for token, new in every:
                outflow.every(new, token, now)
        if outflow.finished:
            self._finished.extend(outflow.finished)
            outflow.finished.clear()

    @property
    def over(self) -> bool:
        """Whether all sources have ended and nothing of them is left to send."""
        return not (self._open or self._latest or self._every) and self._outflow.empty

    @property
    def ended(self) -> bool:
        """Whether all sources have, and what they gave is sent once."""
        left = self._open or self._latest or self._every or any(self._outflow.waiting)
        return not left

    def news(self) -> list[Said]:
        """What is to be told, since the last call."""
        told = []
        while self._news:
            told.append(self._news.popleft())
        return told

    def close(self) -> None:
        """Ask no more; what was sent for the last time by now is taken off the disk."""
        self._stopping.set()
        for source in self._sources:
            source.channel.hang_up()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5.0)
        self.poll()
        self._take_off()

    @property
    def health(self) -> RecordsOut:
        """How it is now, for an operator. Asked by any thread."""
        outflow, spool = self._outflow, self._spool
        latest, every = outflow.offered
        return RecordsOut(
            latest + self._replaced,
            every,
            outflow.replaced + self._replaced,
            outflow.repeated,
            sum(outflow.waiting) + len(self._latest) + len(self._every),
            spool.waiting,
            spool.held,
            spool.quota,
            self._refused,
            self._dropped,
            sum(map(len, self._known)),
            [source.health for source in self._sources],
            self._patience,
        )

    # The threads ------------------------------------------------------------------------------

    def _listen(self, source: _Source) -> None:
        channel, presence = source.channel, source.presence
        try:
            while True:
                match channel.receive():
                    case Batch(number, readings):
                        channel.send(Taken(number, self._take(source, readings)))
                    case Ready():
                        presence.begun()
                    case Said() as said:
                        self._hear(source, said)
                    case End():
                        source.ended = True
                        break
                    case _:
                        self._tell(f"{source.name}: its process sends what makes no sense")
        except (EOFError, OSError):
            if not self._stopping.is_set():
                presence.lose("its process has ended")
                self._tell(f"{source.name}: its process has ended")
        self._open -= 1
        self._ring()

    def _hear(self, source: _Source, said: Said) -> None:
        source.presence.hear(said)
        with self._one:
            self._refused += min(max(0, said.refused), MOST_COUNTED)
            self._dropped += min(max(0, said.dropped), MOST_COUNTED)
        if said.text:
            self._tell(shown(source.name, said.text), warning=said.warning)

    def _take(self, source: _Source, readings: list[Reading]) -> int:
        """What of it could be taken, of `every`."""
        name = source.name
        every = [one for one in readings if one.class_ == EVERY]
        latest = [one for one in readings if one.class_ == LATEST and self._good(name, one)]
        source.taken += len(latest)
        if latest:
            with self._one:
                for one in latest:
                    self._replaced += one.topic in self._latest
                    new = Record(one.topic, one.payload, one.time, one.quality, one.retain)
                    self._latest[one.topic] = new
            self._ring()
        places = [place for place, one in enumerate(every) if self._good(name, one)]
        if not places:
            return len(every)
        try:
            stored = self._spool.add([every[place] for place in places])
        except DestinationError as error:
            self._tell(str(error))
            return 0
        source.taken += len(stored)
        with self._one:
            self._every.extend(stored)
        self._ring()
        return len(every) if len(stored) == len(places) else places[len(stored)]

    def _good(self, name: str, one: Reading) -> bool:
        """Whether it can be sent; told by name where it cannot."""
        new = Record(one.topic, one.payload, one.time, one.quality, one.retain)
        why = record.refusal(new, self._outflow.longest)
        if not why and not (one.class_ in (LATEST, EVERY) and 0 <= one.quality <= record.BAD):
            why = "it is of no class and quality that there is"
        if not why and one.time is not None and not -(1 << 63) <= one.time < 1 << 63:
            why = "its time is beyond all that there is"
        if not why and one.topic not in (known := self._known[one.class_]):
            if len(known) < TOPICS:
                known.add(one.topic)
            else:
                why = f"there are {TOPICS:,} topics already"
        if why:
            self._refuse(f"{name}: refused {escape(one.topic[:80])}: {why}")
        return not why

    def _refuse(self, text: str) -> None:
        """Tell of one of many."""
        with self._one:
            self._refused += 1
        if not self._refusals.full(self._clock()):
            self._refusals.pour()
            self._tell(text + (f"; {self._refused:,} by now" if self._refused > 1 else ""))

    def _tell(self, text: str, *, warning: bool = True) -> None:
        self._news.append(Said(text, warning))
        self._ring()

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP):
            self._take_off()

    def _take_off(self) -> None:
        """Take off the disk what was sent for the last time."""
        finished = [self._finished.popleft() for _ in range(len(self._finished))]
        if finished:
            try:
                self._spool.sent(finished)
            except DestinationError as error:
                self._finished.extend(finished)
                self._tell(str(error))
