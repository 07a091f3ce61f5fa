"""Flows: what is to be sent, in several queues, and whose frames come next.

A flow has a name, a priority and a weight. The flow of the highest priority that has something to
send goes first, between any two slices of frames (transmitter.py): what is more urgent never
waits for the end of an object. Flows of one priority share the line by their weights, byte for
byte, however long their objects are: start-time fair queueing (Goyal, Vin and Cheng, 1996). Each
has a tag, the virtual time at which what it sent last began plus that many bytes over its weight;
the lowest tag goes first. Virtual time is that of the slice on air, and a flow that had nothing to
send begins there: it neither saves up for later nor pays for having been idle.

A `Carousel` keeps what has been sent as often as was planned, and sends it again, with fresh
parity, while nothing else is to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Flow:
    """One queue of objects. priority: higher goes first. passes: None is what the settings say."""

    name: str
    priority: int = 0
    weight: float = 1.0
    passes: int | None = None


@dataclass(frozen=True, slots=True)
class Carousel:
    """How much of what was sent is kept to be sent again; None is no limit, of one of both."""

    last: int | None = None
    """Objects."""
    seconds: float | None = None
    """Since the last planned pass of an object was sent."""

    @property
    def empty(self) -> bool:
        """Whether nothing is kept."""
        return self.last == 0 or (self.last is None and self.seconds is None)


NOTHING_KEPT = Carousel(last=0)
ROUND = Flow("", priority=-(1 << 31), passes=0)
"""The flow of a carousel: behind all others."""


@dataclass(slots=True)
class Precedence:
    """Whose frames come next."""

    _now: dict[int, float] = field(default_factory=dict)
    """Virtual time, of each priority."""
    _finish: dict[str, float] = field(default_factory=dict)
    """Where the last slice of a flow has ended in it."""

    def order(self, wanting: Iterable[Flow]) -> Sequence[Flow]:
        """These flows, which have something to send, the one that comes next first."""
        return sorted(wanting, key=lambda flow: (-flow.priority, self._start(flow)))

    def took(self, flow: Flow, size: int) -> None:
        """A slice of that many bytes of this flow goes on air."""
        start = self._start(flow)
        self._now[flow.priority] = start
        self._finish[flow.name] = start + size / flow.weight

    def _start(self, flow: Flow) -> float:
        return max(self._now.get(flow.priority, 0.0), self._finish.get(flow.name, 0.0))
