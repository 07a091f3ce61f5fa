"""The order on air.

Frames of a pass are dealt out in interleaving groups. Each member of a group (a block of some
object, or an object's announcement) has a number of frames to send in it, and `spread`
places them at even distances over the whole group, so that an outage takes from every member in
proportion. Groups are as large as the burst to be survived asks (plan.group_frames) and
never larger than memory allows; small objects that follow each other share one.

`symbol_numbers` walks round the symbol numbers a block has, so that each pass sends
numbers no earlier pass has sent for as long as the code has any (wire 4.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.frame import I64
    from diode.geometry import Geometry


def spread(counts: Sequence[int], phases: Sequence[float]) -> tuple[I64, I64]:
    """Order frames of several members evenly.

    counts: frames of each member. phases: where in its interval each member's frames lie,
    0 (first frame at the very start of the group) to 1. Returns (member, index): which member is
    on air at each place, and which of its frames, both int64 (sum(counts),). Frames of one
    member stay in order; members whose frames fall together take turns in their given order.
    """
    sizes = np.asarray(counts, np.int64)
    member = np.repeat(np.arange(len(sizes)), sizes)
    index = np.arange(len(member)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    time = (index + np.asarray(phases, float)[member]) / sizes[member]
    order = np.lexsort((member, time))
    return member[order], index[order]


def symbol_numbers(geometry: Geometry, numbers: int, block: int, number_of_pass: int) -> I64:
    """The symbol numbers that pass sends of that block, int64 (frames,).

    numbers: how many numbers the code lets a sender walk through for this k. The walk leaves out
    the source symbols that are zero by definition. number_of_pass counts from 0.
    """
    known = geometry.k - geometry.source_symbols(block)
    there = walk_length(geometry, numbers, block)
    count = geometry.frames(block)
    walk = (np.arange(count) + number_of_pass * count) % there
    return np.where(walk < geometry.k - known, walk, walk + known)


def walk_length(geometry: Geometry, numbers: int, block: int) -> int:
    """Symbol numbers of that block that a pass walks through, of so many that the code has."""
    return numbers - (geometry.k - geometry.source_symbols(block))


def turns(first: int, count: int, there: int, begin: int) -> I64:
    """The turns (lanes.py) of `count` steps of a walk round `there` numbers, from step `first` on.

    Each step is the next turn, from `begin` on, but that each time round the walk comes to its
    numbers one turn later than a round before.
    """
    steps = np.arange(first, first + count)
    return begin + steps % there + steps // there
