"""Sinks: where delivered objects go.

`folder` an inbox, `stream` one object to standard output. Both collect in part files
(`parts`) first, and hand on only what is whole and has the right digest. `unpack` makes files of
bundles, and `ledger` remembers what came. What is to go into a `store` lies in an `outbox` first,
from which `uploader`, a process of its own, brings it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diode.events import Key
from diode.incoming import NOTHING_KNOWN, Course

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.bundle import Member
    from diode.frame import I64, U8, Bool
    from diode.objects import Manifest
    from diode.sink.ledger import Refusal


class Delivered(NamedTuple):
    """An object is in its place. duplicate: the same content was already there."""

    path: str
    sha256: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The files of a bundle are in their places. Each: what it is, and where."""

    files: tuple[tuple[Member, Delivered], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """An object is whole and as it was sent, and will not be delivered all the same."""

    why: str


class Unfinished(NamedTuple):
    """An object of an earlier run: what `Receiver.resume` needs."""

    key: Key
    announcement: bytes
    done: Bool
    parked: list[int]
    counts: tuple[int, ...] = ()


Delivery = Delivered | Unpacked | Refused | list[int] | None
"""What becomes of an object that is to be delivered: see `Sink.deliver`."""
Evicted = Callable[[Key, str], object]
"""Is told which unfinished object had to go, and why."""


class Sink(Protocol):
    """Takes what a receiver's events carry. Raises DestinationError when it cannot."""

    evicted: Evicted
    lost: Evicted
    """Is told which object the disk has lost: it must come again."""
    notices: list[str]
    """What the operator should know; whoever tells of it empties the list."""
    folders: tuple[str, ...]
    """Where it makes, renames and removes files."""
    state: str
    """Name of what remembers the objects that came, see `Ledger`; empty where nothing does."""

    def unfinished(self) -> Iterator[Unfinished]:
        """Objects begun in earlier runs."""

    def first_to_go(self, keys: Iterable[Key]) -> None:
        """Where there is no room for all unfinished objects, these go before the others."""

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        """Make room for an object; False when it has been delivered before."""

    def write(self, key: Key, block: int, offset: int, data: U8) -> None:
        """Put a recovered block in its place."""

    def park(self, key: Key, block: int, numbers: I64, symbols: U8) -> None:
        """Keep symbols of an unfinished block: (n,), (n, S)."""

    def parked(self, key: Key, block: int) -> tuple[I64, U8]:
        """All symbols kept for that block."""

    def deliver(self, key: Key, manifest: Manifest, course: Course = NOTHING_KNOWN) -> Delivery:
        """Verify and deliver; or the blocks that are wrong (none named: all of them).

        course: how it came, to be remembered.
        None where the object is not here any more: `evicted` or `lost` was told of it.
        """

    def discard(self, key: Key) -> None:
        """Forget an unfinished object and its parts."""

    def void(self, key: Key, manifest: Manifest) -> None:
        """The sender took the object back."""

    def contradicts(self, key: Key, manifest: Manifest) -> bool:
        """Whether that number was delivered before with other content."""

    def delivered_up_to(self, sender: int) -> int:
        """The highest number of that sender's objects finished in any run; 0 where none is."""

    def give_up(self, sender: int, first: int, last: int) -> None:
        """Those objects will not be waited for any more."""

    def refuse(self, refusals: list[Refusal]) -> None:
        """Those objects are not delivered, and why: to be remembered."""

    def numbers(self, sender: int, most: int) -> list[tuple[int, int]]:
        """Ranges (first, last) of that sender's object numbers of which anything was heard in any
        run, the last `most` of them.
        """

    def checkpoint(self) -> None:
        """Write down how far each object has come."""

    def close(self) -> None: ...
