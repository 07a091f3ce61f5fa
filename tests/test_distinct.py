"""What differs in a column, against sets and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.distinct import different, parted

columns = st.one_of(
    st.lists(st.integers(0, 3), max_size=40),
    st.lists(st.integers(0, 2**63 - 1), max_size=40),
    st.lists(st.integers(2**40, 2**40 + 90), max_size=40),
)


@examples(200)
@given(columns, st.sampled_from(["<u8", "<i8"]))
def test_each_value_and_its_places(values: list[int], kind: str) -> None:
    column = np.array(values, kind)
    found = parted(column)
    assert [value for value, _ in found] == sorted(set(values))
    for value, where in found:
        places = np.arange(len(values))[where].tolist()
        assert places == [place for place, one in enumerate(values) if one == value]
        assert column[where].tolist() == [value] * len(places)


@examples(200)
@given(columns)
def test_different_values_are_numbered(values: list[int]) -> None:
    column = np.array(values, np.int64)
    found, which = different(column)
    assert found.tolist() == sorted(set(values))
    assert found[which].tolist() == values


@pytest.mark.parametrize("count", [1, 1500])
def test_one_value_alone_is_everywhere(count: int) -> None:
    assert parted(np.full(count, 7, "u1")) == [(7, slice(None))]


def test_nothing_but_different_ones() -> None:
    """As a hostile batch is: a mask for each would take time by the square."""
    values = np.random.default_rng(1).permutation(100_000).astype("<u8")
    found = parted(values)
    assert [value for value, _ in found] == list(range(100_000))
    assert [int(where[0]) for _, where in found] == np.argsort(values).tolist()
