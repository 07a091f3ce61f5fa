"""Records on their way out: which go on air next, and which again (wire 11).

    latest ─> table of last values ─┬─> fresh ─┐
    every ──────────────────────────┘          ├─> payloads ─> groups ─> frames
             again, when their time comes ─────┘

*Latest*: a value that waits is replaced by a newer one of its topic, in its place, so that a line
that is too slow for all values carries the newest of each topic in turn. *Every*: all are sent, in
order. What is fresh goes first; it waits for `latency` at most for others to share a frame with.
Then parity, then what is sent again: repetition is spread over time, since an outage takes all that
is on air during it. What has not been replaced by then is sent again at growing distances, and a
last value after that once a `cycle` for ever: whoever begins to listen knows all of them one cycle
later.

Delays are constants, so what is due is at the front of a queue for each, and nothing is ever
sorted; a value that was replaced is left out when its turn comes.

Sans-IO, and never waits: time is an argument. `every` records come numbered, by whoever keeps them
over a restart (service/record_spool.py), and are told there when they have been sent for the last
time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame, plan, record, record_group
from diode.frame import Frames, Kind
from diode.lanes import lanes_of
from diode.record import EVERY, LATEST, Record

if TYPE_CHECKING:
    from diode.frame import U8
    from diode.plan import Link, Settings

FASTEST = 32
"""Source frames of a group at most."""
PATIENCE = 0.25
"""Seconds that a repeat waits for others to share a frame with."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When what is sent. Times in seconds."""

    latency: float = 0.05
    """That a fresh record waits for others, at most."""
    group: float = 0.2
    """After which a group gets its parity, full or not."""
    redundancy: float = 0.25
    """Parity frames for each source frame; one for each group at least."""
    latest: tuple[float, ...] = (1.5, 2.5, 8.0)
    """Before a value that is still the newest is sent again, each after the one before."""
    cycle: float = 20.0
    """And then each time: whoever listens for a minute has three chances."""
    every: tuple[float, ...] = (2.5, 5.5, 17.0)

    @property
    def longest(self) -> float:
        """Seconds from the first to the last time that a record is sent for its own sake."""
        return max(sum(self.latest), sum(self.every))


@dataclass(slots=True, eq=False)
class _Item:
    """A record on its way: one of `every`, or the last value of a topic."""

    record: Record
    sequence: int
    token: int = 0
    sent: int = 0
    waiting: bool = False


@dataclass(slots=True)
class _Queue:
    """Records that wait to go on air."""

    class_: int
    patience: float
    items: deque[tuple[_Item, int]] = field(default_factory=deque)
    """With the sequence number that each had when it was put here."""
    size: int = 0
    since: float = 0.0

    def put(self, item: _Item, size: int, now: float) -> None:
        if not self.items:
            self.since = now
        self.items.append((item, item.sequence))
        self.size += size

    def due(self) -> float:
        return self.since + self.patience if self.items else math.inf

    def ready(self, room: int, now: float) -> bool:
        return bool(self.items) and (self.size >= room or now >= self.due())


@dataclass(slots=True)
class _Open:
    """The group of a class that is on air."""

    number: int = 0
    payloads: list[bytes] = field(default_factory=list)
    since: float = 0.0


class NoRecords:
    """Nothing to send, ever."""

    empty = True

    def take(self, now: float, room: int) -> tuple[Frames, U8] | None:  # noqa: ARG002
        return None

    def wake_at(self) -> float:
        return math.inf

    def stop(self) -> None:
        """There is nothing to stop."""


class Outflow:
    """The records of one sender."""

    def __init__(
        self,
        sender: int,
        settings: Settings,
        link: Link,
        *,
        streams: tuple[int, int],
        pace: Pace | None = None,
    ) -> None:
        """streams: numbers of those of `latest` and `every` (wire 11.2)."""
        self.pace = pace = pace or Pace()
        self._sender = sender
        self._link = link
        self._streams = streams
        whole = link.max_frame - frame.HEADER - frame.CHECK
        self._filled = whole if settings.filled else 0
        self.longest = min(whole - record_group.CHECK, plan.longest_record(link))
        """Bytes that a record may have."""
        usual = plan.announcement_room(settings, link) - record_group.CHECK
        self._room = self.longest if settings.filled else min(self.longest, usual)
        self._table: dict[bytes, _Item] = {}
        self._fresh = _Queue(LATEST, pace.latency), _Queue(EVERY, pace.latency)
        self._again = _Queue(LATEST, PATIENCE), _Queue(EVERY, PATIENCE)
        self._later: tuple[list[deque[tuple[float, _Item, int]]], ...] = (
            [deque() for _ in (*pace.latest, pace.cycle)],
            [deque() for _ in pace.every],
        )
        self._delays = (*pace.latest, pace.cycle), pace.every
        self._open = _Open(), _Open()
        self._turn = 0
        self._last = LATEST
        self.offered = [0, 0]
        self.replaced = 0
        """Values that a newer one has replaced before they were sent."""
        self.repeated = 0
        self.finished: list[int] = []
        """Tokens of records that were sent for the last time; for who keeps them to take away."""

    # Records in -------------------------------------------------------------------------------

    def latest(self, new: Record, now: float) -> None:
        """A newer value of its topic. The caller has seen to it that it can be sent."""
        self.offered[LATEST] += 1
        item = self._table.get(new.topic)
        if item is None:
            item = self._table[new.topic] = _Item(new, 0)
        if item.waiting:  # in its place, under the number that nobody has heard yet
            self.replaced += 1
            item.record = new
            return
        item.record, item.sent, item.waiting = new, 0, True
        item.sequence = item.sequence + 1 & record.SEQUENCES - 1
        self._fresh[LATEST].put(item, record.length(new), now)

    def every(self, new: Record, token: int, now: float) -> None:
        """The next record of its topic, numbered. token: comes back in `finished`."""
        self.offered[EVERY] += 1
        item = _Item(new, new.sequence, token, waiting=True)
        self._fresh[EVERY].put(item, record.length(new), now)

    @property
    def waiting(self) -> tuple[int, int]:
        """Records of each class that were not sent once."""
        return len(self._fresh[LATEST].items), len(self._fresh[EVERY].items)

    @property
    def topics(self) -> int:
        """Topics of which there is a last value."""
        return len(self._table)

    @property
    def empty(self) -> bool:
        """Whether all that is left is the cycle."""
        queued = any(q.items for q in (*self._fresh, *self._again))
        grouped = any(group.payloads for group in self._open)
        lines = (*self._later[LATEST][:-1], *self._later[EVERY])
        return not (queued or grouped or any(self._live(line) for line in lines))

    def _live(self, line: deque[tuple[float, _Item, int]]) -> bool:
        while line and line[0][1].sequence != line[0][2]:
            line.popleft()
        return bool(line)

    # Frames out -------------------------------------------------------------------------------

    def take(self, now: float, room: int) -> tuple[Frames, U8] | None:
        """Frames that are due, `room` bytes and one frame more at most, and their lanes."""
        self._recall(now)
        pieces: list[U8] = []
        size = 0
        while size < room:
            more = self._next(now)
            if not more:
                break
            pieces += more
            size += sum(map(len, more))
        if not pieces:
            return None
        turns = np.arange(self._turn, self._turn + len(pieces))
        self._turn += len(pieces)
        return Frames.of_pieces(pieces), lanes_of(turns, self._link)

    def wake_at(self) -> float:
        """When something is due that is not yet."""
        times = [q.due() for q in (*self._fresh, *self._again)]
        times += [g.since + self.pace.group for g in self._open if g.payloads]
        times += [line[0][0] for lines in self._later for line in lines if self._live(line)]
        return min(times, default=math.inf)

    def stop(self) -> None:
        """Send nothing more."""
        for queue in (*self._fresh, *self._again):
            queue.items.clear()
        for group in self._open:
            group.payloads.clear()
        for lines in self._later:
            for line in lines:
                line.clear()

    def _recall(self, now: float) -> None:
        """What is to be sent again by now, and was not replaced."""
        for class_, lines in enumerate(self._later):
            for line in lines:
                while line and line[0][0] <= now:
                    _, item, sequence = line.popleft()
                    if item.sequence == sequence:
                        self._again[class_].put(item, record.length(item.record), now)

    def _next(self, now: float) -> list[U8]:
        """One source frame, or the parity of one group; nothing where nothing is due."""
        for queues in (self._fresh, None, self._again):
            for class_ in (1 - self._last, self._last):
                if queues is None:
                    group = self._open[class_]
                    if group.payloads and now >= group.since + self.pace.group:
                        return self._close(class_)
                elif queues[class_].ready(self._room, now):
                    self._last = class_
                    found = self._source(queues[class_], now)
                    if found:
                        return found
        return []

    def _source(self, queue: _Queue, now: float) -> list[U8]:
        """A source frame of what waits there, and parity if that ends the group."""
        packer, items = record.Packer(self._room), queue.items
        while items:
            item, sequence = items[0]
            if item.sequence == sequence:
                if not packer.add(item.record, sequence, item.sent):
                    break
                self._sent(item, queue.class_, now)
            items.popleft()
            queue.size -= record.length(item.record)
        if not items:
            queue.size = 0  # values are replaced in their places by longer and shorter ones
        if not packer.size:
            return []
        group = self._open[queue.class_]
        if not group.payloads:
            group.since = now
        payload = packer.taken()
        frames = [self._frame(queue.class_, 0, group.number, len(group.payloads), payload)]
        group.payloads.append(payload)
        if len(group.payloads) == FASTEST:
            frames += self._close(queue.class_)
        return frames

    def _sent(self, item: _Item, class_: int, now: float) -> None:
        """See when it is sent again."""
        self.repeated += item.sent > 0
        item.waiting = False
        delays = self._delays[class_]
        stage = min(item.sent, len(delays) - 1) if class_ == LATEST else item.sent
        item.sent += 1
        if stage < len(delays):
            self._later[class_][stage].append((now + delays[stage], item, item.sequence))
        else:
            self.finished.append(item.token)

    def _close(self, class_: int) -> list[U8]:
        """Parity of the group on air; the next one begins."""
        group = self._open[class_]
        width = self._filled and self._filled - record_group.CHECK
        added = record_group.parity(group.payloads, self.pace.redundancy, width)
        numbered = zip(added.numbers, added.payloads, strict=True)
        frames = [self._frame(class_, added.k, group.number, n, p.tobytes()) for n, p in numbered]
        group.payloads.clear()
        group.number = group.number + 1 & 0xFFFFFFFF
        return frames

    def _frame(self, class_: int, code: int, group: int, number: int, payload: bytes) -> U8:
        payload = payload.ljust(self._filled, b"\0")
        rows = frame.blank_rows(1, len(payload))
        frame.fill_full(
            rows,
            Kind.RECORD,
            code=code,
            sender=self._sender,
            number=self._streams[class_],
            block=group,
            symbol=class_ << 8 | number,
        )
        frame.payload(rows)[0] = np.frombuffer(payload, np.uint8)
        return rows.reshape(-1)
