"""Groups lay their frames out slice by slice: the same frames, however they are cut."""

from __future__ import annotations

import numpy as np
import pytest

from diode.frame import CHECK
from diode.group import Group, Place, Spare, Stack

PLACE = Place(1, 1, 0, 0)


def stack(header: int, size: int, frames: int, seed: int) -> Stack:
    """A stack whose frames carry half as many symbols, in any order."""
    rng = np.random.default_rng(seed)
    made = Stack(header, frames, np.empty((max(1, frames // 2), size), np.uint8))
    made.headers[:] = rng.integers(0, 256, made.headers.shape)
    made.symbols[:] = rng.integers(0, 256, made.symbols.shape)
    made.row[:] = rng.integers(0, len(made.symbols), frames)
    return made


def bodies(stacks: list[Stack], which: np.ndarray, frame: np.ndarray) -> list[bytes]:
    """What each frame is but for its check, one by one."""
    return [
        stacks[s].headers[f].tobytes() + stacks[s].symbols[stacks[s].row[f]].tobytes()
        for s, f in zip(which.tolist(), frame.tolist(), strict=True)
    ]


@pytest.mark.parametrize("shapes", [[(20, 64)], [(8, 210), (20, 99)], [(20, 5), (20, 700), (8, 5)]])
@pytest.mark.parametrize("room", [1, 100, 777, 1 << 20])
def test_slices_are_the_frames_in_their_order(shapes: list[tuple[int, int]], room: int) -> None:
    stacks = [stack(h, s, 40, i) for i, (h, s) in enumerate(shapes)]
    which = np.repeat(np.arange(len(shapes)), 40)
    frame = np.tile(np.arange(40), len(shapes))
    order = np.random.default_rng(9).permutation(len(which))
    which, frame = which[order], frame[order]
    group = Group(stacks, which, frame, PLACE)
    pieces = []
    while group.next < len(group):
        part = group.take(room)
        assert len(part) == 1 or len(part.data) <= room
        pieces += [p[:-CHECK].tobytes() for p in part.pieces()]
        assert group.next == len(pieces)
    assert pieces == bodies(stacks, which, frame)
    assert group.bytes == sum(len(p) + CHECK for p in pieces)


def test_a_slice_of_equal_frames_is_rows() -> None:
    one = stack(20, 100, 10, 1)
    group = Group([one], np.zeros(10, np.int64), np.arange(10), PLACE)
    rows = group.take(1 << 20).equal_rows()
    assert rows is not None and rows.shape == (10, one.length)


def test_rows_that_follow_each_other() -> None:
    one = stack(20, 64, 40, 1)
    one.row[:20] = np.arange(20)
    group = Group([one], np.zeros(20, np.int64), np.arange(20), PLACE)
    part = group.take(1 << 20)
    assert part.size == one.length
    assert [bytes(p[:-CHECK]) for p in part.pieces()] == bodies([one], group.stack, group.frame)


def test_memory_of_groups_is_used_again() -> None:
    spare = Spare()
    first = spare.rows(1000, 2048)
    spare.give_back([Stack(20, 10, first)])
    assert not np.shares_memory(spare.rows(400, 2048), first)  # too much would lie idle
    assert not np.shares_memory(spare.rows(1001, 2048), first)
    again = spare.rows(999, 2048)
    assert again.shape == (999, 2048) and np.shares_memory(again, first)
    assert not np.shares_memory(spare.rows(999, 2048), first)  # given out once
