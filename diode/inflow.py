"""Records as they come in: what is new, in order, and what is missing (wire 11).

    record frames ─> groups ─> records ─┬─ latest: newer than the last one ──────────> RecordsHeard
                                        └─ every: next in order, or held until it is ─> RecordsHeard
                                                  waited for long enough ─────────────> RecordGap

A record that comes again is known by its number and changes nothing, so the order, the duplication
and the repair of frames change nothing either. What is missing of `every` is waited for as long as
a sender repeats it, and a little more; then it is a gap, told by topic and range, and what was held
behind it goes on. Of a topic never heard of before, the first numbers may be on their way too, or
long gone: these are waited for a shorter time.

Everything that arrives is hostile. Topics, streams and what is held are bounded; beyond, the topic
least recently heard is forgotten, and what is held behind a gap stops waiting for it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from diode import frame, record
from diode.events import RecordGap, RecordsHeard
from diode.frame import Reject
from diode.record import EVERY, LATEST
from diode.record_group import Groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.events import Event
    from diode.frame import U8
    from diode.record import Record

PATIENCE = 40.0
"""Seconds that a missing record is waited for: senders repeat for 25 (outflow.py)."""
JOINING = 12.0
"""Seconds that what may have been before the first one heard is waited for."""
TOPICS = 65_536
"""Topics known at a time, of each class."""
HELD = 16 << 20
"""Bytes of records that wait for others."""
OVERHEAD = 200
"""Bytes that a held record takes besides its topic and payload, about."""
RECENT = 16
"""A record of stream 0 that is further behind is one of a sender that has begun anew."""
_HALF = record.SEQUENCES // 2


def _after(number: int, other: int) -> int:
    """By how much a number is after another one; negative where it is before."""
    return (number - other + _HALF) % record.SEQUENCES - _HALF


class Name(NamedTuple):
    """A topic of a sender."""

    sender: int
    topic: bytes


class Position(NamedTuple):
    """How far a topic of `every` has been delivered: what a receiver keeps over a restart.

    Without a topic it is the highest stream of `latest` that was heard of the sender.
    """

    sender: int
    topic: bytes
    stream: int
    next: int


@dataclass(slots=True)
class _Line:
    """A topic of `every`."""

    stream: int
    next: int
    """The number that comes next."""
    held: dict[int, Record] = field(default_factory=dict)
    size: int = 0
    give_up_at: float = 0.0
    """Until when what is missing is waited for; of no meaning while nothing is held."""


@dataclass(slots=True)
class Inflow:
    """The records that a receiver hears, of all senders."""

    reject: Callable[[Reject, int, str], None]
    patience: float = PATIENCE
    joining: float = JOINING
    new: list[int] = field(default_factory=lambda: [0, 0])
    """Records that were, of each class."""
    known: int = 0
    """Records that had come before."""
    gaps: int = 0
    """Records given up."""
    _groups: OrderedDict[tuple[int, int, int], Groups] = field(default_factory=OrderedDict)
    _streams: dict[tuple[int, int], int] = field(default_factory=dict)
    """The highest stream of each sender and class."""
    _latest: OrderedDict[Name, int] = field(default_factory=OrderedDict)
    _every: OrderedDict[Name, _Line] = field(default_factory=OrderedDict)
    _holding: dict[Name, None] = field(default_factory=dict)
    """Topics of which something is held, the longest first."""
    _held: int = 0
    _due: float = math.inf
    """Nothing of that is given up before."""

    @property
    def heard(self) -> int:
        """Records that were new."""
        return sum(self.new)

    @property
    def topics(self) -> int:
        """Topics that something is known of, of all senders."""
        return len(self._latest) + len(self._every)

    @property
    def repaired(self) -> int:
        """Frames given back by parity, of the groups at hand."""
        return sum(groups.repaired for groups in self._groups.values())

    def resume(self, positions: Iterable[Position]) -> None:
        """Go on behind what an earlier run has delivered."""
        for sender, topic, stream, following in positions:
            self._see_stream(sender, EVERY if topic else LATEST, stream)
            if topic:
                self._every[Name(sender, topic)] = _Line(stream, following)

    def take(self, rows: U8, now: float) -> list[Event]:
        """Rows of record frames of one length, in the order in which they came."""
        parsed = frame.parse_full(rows)
        events: list[Event] = []
        columns = (parsed.sender, parsed.number, parsed.symbol, parsed.code, parsed.block)
        each = zip(*(column.tolist() for column in columns), parsed.payload, strict=True)
        for sender, stream, symbol, code, group, payload in each:
            class_, number = symbol >> 8, symbol & 0xFF
            if class_ not in (LATEST, EVERY):
                self.reject(Reject.INDEX, 1, f"records of class {class_}")
                continue
            if stream < self._see_stream(sender, class_, stream):
                self.known += 1
                continue
            groups = self._groups_of(sender, class_, stream)
            data = payload.tobytes()
            if code:
                payloads = groups.parity(group, code, number, data)
            else:
                payloads = [data, *groups.source(group, number, data)]
            for one in payloads:
                events += self._records(sender, class_, stream, one, now)
        return events

    def tick(self, now: float) -> list[Event]:
        """What is waited for no longer."""
        events: list[Event] = []
        if now < self._due and self._held <= HELD:
            return events
        for name in list(self._holding):
            line = self._every[name]
            while line.held and (now >= line.give_up_at or self._held > HELD):
                events += self._give_up(name, line, now)
        times = (self._every[name].give_up_at for name in self._holding)
        self._due = min(times, default=math.inf)
        return events

    def _see_stream(self, sender: int, class_: int, stream: int) -> int:
        """The highest stream heard, this one included."""
        highest = max(stream, self._streams.get((sender, class_), 0))
        self._streams[sender, class_] = highest
        while len(self._streams) > 2 * TOPICS:
            del self._streams[next(iter(self._streams))]
        return highest

    def _groups_of(self, sender: int, class_: int, stream: int) -> Groups:
        key = sender, class_, stream
        groups = self._groups.get(key)
        if groups is None:
            groups = self._groups[key] = Groups()
            while len(self._groups) > 16:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end(key)
        return groups

    def _records(
        self, sender: int, class_: int, stream: int, payload: bytes, now: float
    ) -> list[Event]:
        found = record.unpacked(payload)
        if found.refused:
            self.reject(Reject.RECORD, found.refused, "records that cannot be read")
        if class_ == LATEST:
            new = [one for one in found.records if self._newer(sender, stream, one)]
            self.new[LATEST] += len(new)
            return [RecordsHeard(sender, LATEST, stream, new)] if new else []
        events: list[Event] = []
        for one in found.records:
            events += self._in_order(sender, stream, one, now)
        return events

    def _newer(self, sender: int, stream: int, one: Record) -> bool:
        name = Name(sender, one.topic)
        last = self._latest.get(name, -1)
        if last >= 0 and last >> 32 == stream:
            ahead = _after(one.sequence, last & 0xFFFFFFFF)
            if ahead == 0 or (ahead < 0 and (stream or ahead > -RECENT)):
                self.known += 1
                return False
        self._latest[name] = stream << 32 | one.sequence
        self._latest.move_to_end(name)
        if len(self._latest) > TOPICS:
            self._latest.popitem(last=False)
        return True

    # Every ------------------------------------------------------------------------------------

    def _in_order(self, sender: int, stream: int, one: Record, now: float) -> list[Event]:
        name = Name(sender, one.topic)
        line = self._every.get(name)
        events: list[Event] = []
        if line is not None and line.stream != stream:
            while line.held:  # nothing more comes of the stream before
                events += self._give_up(name, line, now)
            line = None
        if line is None:
            line = self._every[name] = _Line(stream, 1 if stream else one.sequence)
            events += self._forget(now)
        self._every.move_to_end(name)
        ahead = _after(one.sequence, line.next)
        if stream == 0 and ahead <= -RECENT and not line.held:
            line.next, ahead = one.sequence, 0  # whoever keeps nothing may have begun anew
        if ahead < 0 or one.sequence in line.held:
            self.known += 1
            return events
        if not line.held and ahead:
            patience = self.joining if line.next == 1 else self.patience
            self._wait(name, line, now + patience)
        line.held[one.sequence] = one
        if ahead:
            size = len(one.topic) + len(one.payload) + OVERHEAD
            line.size += size
            self._held += size
            return events + (self.tick(now) if self._held > HELD else [])
        return events + self._go_on(name, line, now)

    def _go_on(self, name: Name, line: _Line, now: float) -> list[Event]:
        """Deliver what is next in order, of what is held."""
        ready: list[Record] = []
        while (one := line.held.pop(line.next, None)) is not None:
            ready.append(one)
            line.next = (line.next + 1) % record.SEQUENCES
        self.new[EVERY] += len(ready)
        if not line.held:
            self._held -= line.size
            line.size = 0
            self._holding.pop(name, None)
        elif name in self._holding:  # the next one missing has its own time
            del self._holding[name]
            self._wait(name, line, now + self.patience)
        return [RecordsHeard(name.sender, EVERY, line.stream, ready)] if ready else []

    def _wait(self, name: Name, line: _Line, until: float) -> None:
        line.give_up_at = until
        self._holding[name] = None
        self._due = min(self._due, until)

    def _give_up(self, name: Name, line: _Line, now: float) -> list[Event]:
        """Wait no longer for the first one missing of a topic of which something is held."""
        first = line.next
        following = min(line.held, key=lambda number: _after(number, first))
        self.gaps += _after(following, first)
        last = (following - 1) % record.SEQUENCES
        line.next = following
        gap = RecordGap(name.sender, line.stream, name.topic, first, last)
        return [gap, *self._go_on(name, line, now)]

    def _forget(self, now: float) -> list[Event]:
        """The topics that were not heard of for the longest time, where there are too many."""
        events: list[Event] = []
        while len(self._every) > TOPICS:
            name, line = next(iter(self._every.items()))
            while line.held:
                events += self._give_up(name, line, now)
            del self._every[name]
        return events
