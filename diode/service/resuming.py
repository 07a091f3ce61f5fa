"""Taking up a run that was not finished: which objects keep their numbers, and where it goes on.

Sources of the new run are held against the manifests of the old one. One whose manifest is the same
keeps its number, and its place in the order on air; the others, new or changed, get numbers of
their own and come last. What is left of the old run has no source any more: it takes part with
one that fails, so that the transmitter announces it void when its turn comes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from diode.errors import SourceError
from diode.objects import Manifest, Type, escape
from diode.service.logbook import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.assembly import Source
    from diode.frame import U8
    from diode.service.logbook import Unfinished
    from diode.transmitter import Transmitter


class Withdrawn:
    """The source of an object that is not to be sent any more."""

    def __init__(self, manifest: Manifest) -> None:
        self.name = manifest.name
        self.type = Type(manifest.type)
        self.size = manifest.size
        self.digest = manifest.digest
        self.mtime = manifest.mtime

    def read(self, offset: int, into: U8) -> None:
        del offset, into
        self.check()

    def check(self) -> None:
        raise SourceError(f"{escape(self.name)} changed, or is gone, since it was announced")

    def close(self) -> None:
        """Nothing is open."""


class Returned(Protocol):
    """What is known of objects sent before (NothingKnown, returned.Receipted)."""

    def has(self, number: int) -> bool:
        """Whether that object arrived."""

    def arrived(self, manifest: Manifest) -> int | None:
        """The number under which this arrived, if it did."""

    def again(self, manifest: Manifest) -> int | None:
        """The number under which this, the same to the last bit, is to be sent once more."""


class NothingKnown:
    """No receipt: everything is to be sent."""

    def has(self, number: int) -> bool:  # noqa: ARG002
        return False

    def arrived(self, manifest: Manifest) -> int | None:  # noqa: ARG002
        return None

    def again(self, manifest: Manifest) -> int | None:  # noqa: ARG002
        return None


NOTHING_KNOWN = NothingKnown()


@dataclass(slots=True)
class Queue:
    """What a run sends, in the order on air."""

    entries: list[Entry] = field(default_factory=list)
    sources: dict[int, Source] = field(default_factory=dict)
    """By number; none for what every pass was sent of."""
    withdrawn: set[int] = field(default_factory=set)
    arrived: dict[int, int] = field(default_factory=dict)
    """Places among the sources of what need not be sent, and the numbers that it arrived under."""
    again: set[int] = field(default_factory=set)
    """Numbers of finished runs that are sent once more."""
    number_of_pass: int = 1

    def fill(self, transmitter: Transmitter) -> dict[int, Manifest]:
        """Add everything to a transmitter; the manifests by number."""
        return {
            entry.number: transmitter.add(
                entry.number, self.sources[entry.number], self.number_of_pass - entry.since
            )
            for entry in self.entries
            if entry.number in self.sources
        }


def encoded(manifest: Manifest) -> bytes:
    """A manifest as an entry keeps it."""
    return msgspec.msgpack.encode(manifest)


def queue(
    found: Unfinished | None,
    sources: Sequence[tuple[Source, Manifest]],
    passes: int,
    reserve: Callable[[int], int],
    returned: Returned = NOTHING_KNOWN,
) -> Queue:
    """Numbers for these sources; `found` is the run to go on with.

    reserve: makes so many numbers ours and gives the first. returned: what is known to be there.
    """
    made = Queue()
    waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for at, (_, manifest) in enumerate(sources):
        waiting[encoded(manifest)].append(at)
    kept = set()
    if found is not None:
        place = found.reached.place
        made.number_of_pass = place.number_of_pass if place else 1
        for entry in found.run.entries:
            same = waiting.get(entry.manifest)
            over = passes and made.number_of_pass - entry.since >= passes
            there = returned.has(entry.number)
            over = over or there
            made.entries.append(entry)
            if same and not entry.void:
                kept.add(at := same.popleft())
                if there:
                    made.arrived[at] = entry.number
                if not over:
                    made.sources[entry.number] = sources[at][0]
            elif not over:
                made.withdrawn.add(entry.number)
                manifest = msgspec.msgpack.decode(entry.manifest, type=Manifest)
                made.sources[entry.number] = Withdrawn(manifest)
    left = [at for at in range(len(sources)) if at not in kept]
    old = _known(made, returned, {at: sources[at][1] for at in left})
    new = [at for at in left if at not in old and at not in made.arrived]
    first = reserve(len(new))
    numbers = old | {at: number for number, at in enumerate(new, first)}
    for at in sorted(numbers):
        source, manifest = sources[at]
        made.entries.append(Entry(numbers[at], encoded(manifest), made.number_of_pass))
        made.sources[numbers[at]] = source
    return made


def _known(made: Queue, returned: Returned, manifests: dict[int, Manifest]) -> dict[int, int]:
    """Numbers of finished runs for what is missing of them, by place; notes what arrived."""
    taken = {entry.number for entry in made.entries}
    old = {}
    for at, manifest in manifests.items():
        number = returned.arrived(manifest)
        if number is not None:
            made.arrived[at] = number
            continue
        number = returned.again(manifest)
        if number is not None and number not in taken:
            old[at] = number
            made.again.add(number)
    return old
