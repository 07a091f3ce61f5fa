"""Sequence numbers and checks: written, and asked of many frames at once."""

import numpy as np
import pytest
from test_frame import compact, full

from diode import frame, stamp
from diode.frame import Frames


@pytest.mark.parametrize("make", [full, compact])
@pytest.mark.parametrize("size", [0, 1, 200])
def test_every_flipped_bit_is_refused(make, size):
    good = make(size=size)[0]
    bits = good.size * 8
    rows = np.repeat(good[None, :], bits + 1, axis=0)
    rows[np.arange(bits), np.arange(bits) // 8] ^= (1 << np.arange(bits) % 8).astype(np.uint8)
    assert np.flatnonzero(stamp.check_rows(rows)).tolist() == [bits]


@pytest.mark.parametrize("length", [1, frame.MIN_FRAME - 1, frame.MAX_FRAME + 1])
def test_lengths_out_of_range_are_refused(length):
    rows = np.zeros((2, length), np.uint8)
    body = length - frame.CHECK
    if body > 0:
        check = frame.crc32c(rows[0, :body].tobytes())
        rows[:, body:] = np.frombuffer(check.to_bytes(4, "little"), np.uint8)
    assert stamp.check_rows(rows).tolist() == [False, False]


@pytest.mark.parametrize("size", [1, 231, 232, 233, 1408])
def test_many_rows_are_checked_together_as_each_alone(size):
    """From LONG bytes on, one call tells that all are right; which is wrong is asked of each."""
    rng, rows = np.random.default_rng(size), full(300, size=size)
    for count in (1, 2, 7, 300):
        assert stamp.check_rows(rows[:count].copy()).all()
    for wrong in ([0], [299], [5, 6], list(range(40, 80)), list(range(300))):
        damaged = rows.copy()
        for row in wrong:
            damaged[row, rng.integers(rows.shape[1])] ^= 1 << rng.integers(8)
        assert np.flatnonzero(~stamp.check_rows(damaged)).tolist() == wrong
    same = rows.copy()
    same[:, 9] ^= 4  # the same bit of an even number: a sum of checks would not see it
    assert not stamp.check_rows(same).any()
    assert not stamp.check_rows(np.zeros((8, 300), np.uint8)).any()
    exchanged = rows[::-1].copy()
    assert stamp.check_rows(exchanged).all()


def test_check_rows_takes_any_memory_layout():
    rows = np.asfortranarray(full(3))
    assert stamp.check_rows(rows).all()
    assert stamp.check_rows(full(6)[::2]).all()
    assert stamp.check_rows(np.empty((0, 50), np.uint8)).shape == (0,)


@pytest.mark.parametrize("size", [0, frame.MAX_FRAME - 24])
def test_shortest_and_longest_frame(size):
    assert stamp.check_rows(full(size=size)).all()


def test_stamp_counts_through_mixed_frames():
    frames = Frames.of_pieces([full(size=30)[0], compact(size=30)[0], full(size=8)[0]])
    stamp.stamp(frames, 255)
    a, b, c = frames.pieces()
    assert frame.parse_full(a[None]).sequence[0] == 255
    assert frame.parse_compact(b[None]).sequence[0] == 0
    assert frame.parse_full(c[None]).sequence[0] == 257
    assert all(stamp.check_rows(p[None]).all() for p in (a, b, c))
