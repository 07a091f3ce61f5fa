"""The order on air: even, in order, and with fresh symbol numbers on every pass."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.geometry import Geometry
from diode.schedule import spread, symbol_numbers

counts_and_phases = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=8
)


@examples(100)
@given(counts_and_phases)
def test_spread_keeps_every_members_order(members):
    counts, phases = zip(*members, strict=True)
    member, index = spread(counts, phases)
    assert len(member) == len(index) == sum(counts)
    for m, count in enumerate(counts):
        assert index[member == m].tolist() == list(range(count))


@examples(60)
@given(counts_and_phases)
def test_any_window_holds_about_a_members_share(members):
    counts = [count for count, _ in members]
    member, _ = spread(counts, [0.5] * len(counts))
    total = sum(counts)
    for m, count in enumerate(counts):
        before = np.concatenate([[0], np.cumsum(member == m)])
        for window in range(1, total + 1):
            most = int((before[window:] - before[:-window]).max())
            # q frames of it span (q-1)/count of the group's time, and in that each of the
            # others has its share of frames, or one less.
            assert most <= 1 + (window + len(counts) - 2) * count / total


@examples(30)
@given(st.integers(1, 12), st.integers(1, 40))
def test_equal_members_share_every_window_exactly(members, count):
    member, _ = spread([count] * members, [0.5] * members)
    for window in range(1, len(member) + 1):
        held = np.lib.stride_tricks.sliding_window_view(member, window) == 0
        assert held.sum(axis=1).max() <= math.ceil(window / members)


def test_equal_members_take_turns():
    member, index = spread([3, 3, 3], [0.5] * 3)
    assert member.tolist() == [0, 1, 2] * 3
    assert index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_phase_zero_comes_first():
    member, _ = spread([10, 2], [0.5, 0.0])
    assert member[0] == 1
    assert np.flatnonzero(member == 1).tolist() == [0, 6]


def test_an_empty_member():
    member, index = spread([2, 0], [0.5, 0.5])
    assert member.tolist() == [0, 0] and index.tolist() == [0, 1]


geometries = st.builds(
    lambda k, more, size, blocks, rest: Geometry(
        max(1, blocks * (k * size - 8) - rest % (k * size - 8)), 1, k, min(256, k + more), size
    ),
    st.integers(1, 100),
    st.integers(0, 100),
    st.integers(16, 64),
    st.integers(1, 3),
    st.integers(0, 10_000),
)


@examples(100)
@given(geometries)
def test_passes_send_fresh_numbers_while_there_are_any(geometry):
    for block in {0, geometry.blocks - 1}:
        known = set(range(geometry.source_symbols(block), geometry.k))
        there = 256 - len(known)
        sent = []
        for number_of_pass in range(4):
            numbers = symbol_numbers(geometry, 256, block, number_of_pass).tolist()
            assert len(numbers) == geometry.frames(block)
            assert not known & set(numbers)
            assert all(0 <= n < 256 for n in numbers)
            sent += numbers
        for start in range(0, len(sent), there):
            turn = sent[start : start + there]
            assert len(set(turn)) == len(turn)
        if len(sent) >= there:
            assert set(sent[:there]) == set(range(256)) - known


@pytest.mark.parametrize("number_of_pass", [0, 1, 7])
def test_repeat_walks_round_its_source_symbols(number_of_pass):
    geometry = Geometry(5 * 16 - 8, 0, 5, 8, 16)
    numbers = symbol_numbers(geometry, 5, 0, number_of_pass)
    assert numbers.tolist() == [(8 * number_of_pass + i) % 5 for i in range(8)]
