"""A pass: every block of every object once, cut into interleaving groups.

The order of a pass is that of the objects and, within one, of its blocks. A group is taken from it
until it is long enough for the burst to be survived (plan.group_frames); blocks of several small
objects share one. All of it follows from the objects, the settings and the link, and from nothing
else. So a `Place`, the first block of a group and how many of the group's frames were handed out,
says for ever what is before it and what is behind, and a sender that was killed goes on there
(service/logbook.py). A group that turns out otherwise, because an object in it has failed
meanwhile, has another check, and is sent from its first frame.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from diode import plan
from diode.assembly import Member
from diode.group import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diode.assembly import Outgoing
    from diode.plan import Link, Settings

Block = tuple["Outgoing", int]
"""A block of an object; -1 where the object has none and consists of its announcement."""


def place_of(members: Sequence[Member], number_of_pass: int) -> Place:
    """Where the group of these members begins."""
    first = members[0].outgoing
    blocks = (m.block for m in members if m.outgoing is first and m.block >= 0)
    return Place(number_of_pass, first.number, next(blocks, -1), _check(members))


def _check(members: Sequence[Member]) -> int:
    """A CRC-32 over what a group consists of: objects, blocks, numbers of frames."""
    table = [(m.outgoing.number, m.block, m.count) for m in members]
    return zlib.crc32(np.array(table, "<i8").tobytes())


def copies(outgoing: Outgoing, settings: Settings, link: Link) -> int:
    """Times an object's announcement is sent in a pass."""
    return plan.manifests(outgoing.geometry, settings, link, outgoing.announcement.count)


def frames_before(outgoing: Outgoing, block: int, settings: Settings, link: Link) -> int:
    """Frames of an object that a pass sends in groups that end before that block."""
    cut, symbols = outgoing.geometry, outgoing.announcement.count
    if not cut.blocks:
        return copies(outgoing, settings, link) * symbols if block >= 0 else 0
    shared = -(-copies(outgoing, settings, link) * block // cut.blocks)
    last = cut.data_frames if block >= cut.blocks else max(0, block) * cut.n
    return last + shared * symbols


class Pass:
    """One round over the objects."""

    def __init__(
        self,
        objects: Sequence[Outgoing],
        settings: Settings,
        link: Link,
        start: Place | None = None,
    ) -> None:
        """start: the block to begin with, if it is one of this pass."""
        self.objects = tuple(objects)
        self._settings = settings
        self._link = link
        self._blocks = self._in_order(start)
        self._ahead: deque[Block] = deque()

    def next_group(self) -> list[Member]:
        """The next group's members; none when the pass is over."""
        while chosen := self._choose():
            members = self._members_of(chosen)
            if members:
                return members
        return []

    def _in_order(self, start: Place | None) -> Iterator[Block]:
        numbers = [outgoing.number for outgoing in self.objects]
        known = start is not None and start.number in numbers
        begin = numbers.index(start.number) if start is not None and known else 0
        for at, outgoing in enumerate(self.objects[begin:]):
            blocks = range(outgoing.geometry.blocks) or (-1,)
            skipped = max(0, start.block) if start is not None and known and not at else 0
            for block in blocks[skipped:]:
                if outgoing.gone:
                    break
                yield outgoing, block

    def _next_block(self, before: list[Block]) -> Block | None:
        """The next block of the pass; None where the group that ends with `before` must end."""
        item = self._ahead.popleft() if self._ahead else next(self._blocks, None)
        if item and before and self._settings.keep_order and item[0] is not before[0][0]:
            self._ahead.appendleft(item)
            return None
        return item

    def _choose(self) -> list[Block]:
        """Blocks until the group is long enough for the burst to be survived.

        A rest of the pass shorter than half a group joins the last group rather than
        standing alone, with less protection.
        """
        chosen: list[Block] = []
        frames = size = wanted = objects = 0
        while (item := self._next_block(chosen[-1:])) is not None:
            outgoing, block = item
            count = _frames_of(outgoing, block)
            bytes_ = count * plan.frame_bytes(self._link, outgoing.geometry)
            objects += not chosen or outgoing is not chosen[-1][0]
            full = size + bytes_ > plan.MAX_GROUP_BYTES or objects > plan.MAX_GROUP_OBJECTS
            if chosen and full:
                self._ahead.appendleft(item)
                return chosen
            chosen.append(item)
            frames += count
            size += bytes_
            wanted = max(wanted, plan.group_frames(self._settings, self._link, outgoing.geometry))
            if frames >= wanted:
                break
        return chosen + self._short_rest(chosen, wanted // 2, plan.MAX_GROUP_BYTES - size)

    def _short_rest(self, chosen: list[Block], frames: int, room: int) -> list[Block]:
        """What is left of the pass if that is fewer than `frames` frames."""
        rest: list[Block] = []
        count = size = 0
        while (item := self._next_block(chosen[-1:])) is not None:
            rest.append(item)
            outgoing, block = item
            more = _frames_of(outgoing, block)
            count += more
            size += more * plan.frame_bytes(self._link, outgoing.geometry)
            if count >= frames or size > room:
                self._ahead.extendleft(reversed(rest))
                return []
        return rest

    def _members_of(self, chosen: list[Block]) -> list[Member]:
        """The blocks chosen, and before them the announcement of each object among them."""
        members: list[Member] = []
        position = 0
        while position < len(chosen):
            outgoing = chosen[position][0]
            end = position
            while end < len(chosen) and chosen[end][0] is outgoing:
                end += 1
            if not outgoing.gone:
                members += self._members_of_object(outgoing, [b for _, b in chosen[position:end]])
            position = end
        return members

    def _members_of_object(self, outgoing: Outgoing, blocks: list[int]) -> list[Member]:
        cut, done = outgoing.geometry, outgoing.passes_done
        data = [Member(outgoing, b, cut.frames(b), done) for b in blocks if b >= 0]
        each, symbols = copies(outgoing, self._settings, self._link), outgoing.announcement.count
        before, after = 0, each
        if data:  # this group's part of the pass's announcements, rounded so that they add up
            before, after = (-(-each * b // cut.blocks) for b in (blocks[0], blocks[-1] + 1))
        if before == after:
            return data
        first = (done * each + before) * symbols
        return [Member(outgoing, -1, (after - before) * symbols, done, first), *data]


def _frames_of(outgoing: Outgoing, block: int) -> int:
    return max(1, outgoing.geometry.frames(block)) if block >= 0 else 1
