"""Ranges of object numbers: as sets of numbers would have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from healths import a_health, a_sender
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.health import Numbers
from diode.service import gaps

RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda r: (r[0], r[0] + r[1])), max_size=9
)


def as_set(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@examples(200)
@given(RANGES, RANGES)
def test_ranges_are_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    both = gaps.union(one, other)
    assert as_set(both) == as_set(one) | as_set(other)
    left = gaps.without(one, other)
    assert as_set(left) == as_set(one) - as_set(other)
    for found in (both, left):
        assert gaps.total(found) == len(as_set(found))
        assert found == gaps.union(found), "in order and apart"


def test_what_is_dismissed_adds_up(tmp_path: Path) -> None:
    assert gaps.read(str(tmp_path)) == {}
    health = a_health()
    assert gaps.dismiss(str(tmp_path), health) == 5
    dismissed = gaps.read(str(tmp_path))
    assert dismissed == {"0badcafe": [Numbers(7, 7), Numbers(9, 12)]}
    more = a_sender(missing=[Numbers(8, 8), Numbers(12, 14)], missing_objects=104)
    left = gaps.seen_to(more, dismissed)
    assert left.missing == [Numbers(8, 8), Numbers(13, 14)]
    assert left.missing_objects == 103, "those that are not named are missing still"
    gaps.dismiss(str(tmp_path), a_health(senders=[more]))
    assert gaps.read(str(tmp_path)) == {"0badcafe": [Numbers(7, 14)]}
    assert gaps.seen_to(a_sender(sender="00000001"), dismissed).missing_objects == 5


def test_the_receiver_can_read_what_root_dismissed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can write for others")
    os.chown(tmp_path, 65534, 65534)
    gaps.dismiss(str(tmp_path), a_health())
    status = (tmp_path / "dismissed.json").stat()
    assert (status.st_uid, status.st_gid) == (65534, 65534)
