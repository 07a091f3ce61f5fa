"""The order in which whole objects are delivered: as they come, or strictly by number.

A sender numbers its objects. With `Strict`, object n+1 is held back, whole, until n is delivered,
taken back, or given up after a time: whoever applies increments in order must not get one early,
and cannot use one late. One that comes whole after a later one was delivered is refused.

It begins where the ledger ends. For a sender of which nothing was ever delivered it begins with
the lowest number that is known when the first object is whole.

Nothing here is certain about who says a number: without signatures anybody on the line can make
a receiver wait for a number that never comes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diode.events import Key

if TYPE_CHECKING:
    from collections.abc import Callable


class Turn(enum.Enum):
    """What is to become of a whole object."""

    DUE = enum.auto()
    HELD = enum.auto()
    LATE = enum.auto()


class GivenUp(NamedTuple):
    """Objects of a sender that are waited for no longer."""

    sender: int
    first: int
    last: int


class Order(Protocol):
    """Says when a whole object may be delivered. Times are monotonic seconds."""

    def turn(self, key: Key, lowest: Callable[[], int], now: float) -> Turn:
        """Whether it is due; it is remembered if it is held.

        lowest: gives the lowest number of its sender among the unfinished objects known.
        """

    def settled(self, key: Key) -> None:
        """That object needs nothing more: delivered, taken back, or known from before."""

    def due(self, sender: int) -> Key | None:
        """A held object whose turn has come; it is held no longer."""

    def overdue(self, now: float) -> list[GivenUp]:
        """Give up what was waited for too long."""


class AsTheyCome:
    """Every object is due."""

    def turn(self, key: Key, lowest: Callable[[], int], now: float) -> Turn:  # noqa: ARG002
        return Turn.DUE

    def settled(self, key: Key) -> None:
        """Nobody waits for it."""

    def due(self, sender: int) -> Key | None:  # noqa: ARG002
        return None

    def overdue(self, now: float) -> list[GivenUp]:  # noqa: ARG002
        return []


@dataclass(slots=True)
class _Sender:
    """Where one sender's objects stand."""

    next: int
    held: dict[int, float] = field(default_factory=dict)
    """Whole objects by number, and since when they wait."""
    settled: set[int] = field(default_factory=set)
    """Numbers beyond `next` that need nothing more."""

    def advance(self) -> None:
        while self.next in self.settled:
            self.settled.remove(self.next)
            self.next += 1


class Strict:
    """Objects of a sender in the order of their numbers."""

    def __init__(
        self, delivered_up_to: Callable[[int], int], give_up_after: float | None = None
    ) -> None:
        """delivered_up_to: a sender's highest number delivered in earlier runs, 0 for none.

        give_up_after: seconds that a whole object waits for those before it; None: for ever.
        """
        self._delivered_up_to = delivered_up_to
        self._patience = give_up_after
        self._senders: dict[int, _Sender] = {}

    def turn(self, key: Key, lowest: Callable[[], int], now: float) -> Turn:
        sender = self._senders.get(key.sender)
        if sender is None:
            before = self._delivered_up_to(key.sender)
            sender = self._senders[key.sender] = _Sender(before + 1 if before else lowest())
        if key.number < sender.next:
            return Turn.LATE
        if key.number == sender.next:
            return Turn.DUE
        sender.held.setdefault(key.number, now)
        return Turn.HELD

    def settled(self, key: Key) -> None:
        sender = self._senders.get(key.sender)
        if sender is not None and key.number >= sender.next:
            sender.held.pop(key.number, None)
            sender.settled.add(key.number)
            sender.advance()

    def due(self, sender: int) -> Key | None:
        state = self._senders.get(sender)
        if state is None or state.held.pop(state.next, None) is None:
            return None
        return Key(sender, state.next)

    def overdue(self, now: float) -> list[GivenUp]:
        if self._patience is None:
            return []
        given_up = []
        for number, sender in self._senders.items():
            if sender.held and now - min(sender.held.values()) >= self._patience:
                lowest = min(sender.held)
                given_up.append(GivenUp(number, sender.next, lowest - 1))
                sender.next = lowest
                sender.settled = {n for n in sender.settled if n >= lowest}
        return given_up
