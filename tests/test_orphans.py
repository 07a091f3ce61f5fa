from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.orphans import OVERHEAD, Orphans, Part


def part(frames: int, size: int = 10, heard: int = 0) -> Part:
    numbers = np.arange(frames)
    return Part(numbers, numbers, np.full((frames, size), frames, np.uint8), heard)


def test_kept_under_their_name_and_taken_once() -> None:
    orphans = Orphans(1 << 20)
    first = part(3, heard=5)
    assert orphans.keep(17, first) == 0
    first.payload[:] = 0  # the line's buffer is used again
    orphans.keep(17, part(2))
    orphans.keep(18, part(4))
    taken = orphans.take(17)
    assert [len(p.blocks) for p in taken] == [3, 2]
    assert (taken[0].payload == 3).all()
    assert taken[0].heard == 5
    assert orphans.take(17) == []
    assert orphans.bytes == sum(p.bytes for p in orphans._parts[18])


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), max_size=60))
def test_bytes_are_bounded_and_the_least_recent_name_goes(kept: list[tuple[int, int]]) -> None:
    orphans = Orphans(3 * OVERHEAD)
    total = dropped = 0
    for name, frames in kept:
        total += frames
        dropped += orphans.keep(name, part(frames))
        assert 0 <= orphans.bytes <= orphans.limit
    left = sum(len(p.blocks) for name in range(6) for p in orphans.take(name))
    assert left == total - dropped
    assert orphans.bytes == 0
