"""Sums of the binomial distribution against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.binomial import binomial, binomial_tail, copies_needed

LOSS, FAILURE = 0.1, 1e-6


def exact_tail(n, p, more_than):
    p = Fraction(p)
    terms = range(max(0, more_than + 1), n + 1)
    return float(sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in terms))


@examples(100)
@given(st.integers(0, 120), st.floats(0, 1), st.integers(-3, 125))
def test_binomial_tail(n, p, more_than):
    expected = exact_tail(n, p, more_than)
    assert binomial_tail(n, p, more_than) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("p", [1 / 1024, 1 / 64, 1 / 8, 1 / 2])  # few digits: quick fractions
@pytest.mark.parametrize("off", [-12, -3, 0, 3, 8])
def test_the_tail_of_a_wide_block(p, off):
    n = 2000
    more_than = round(n * p + off * math.sqrt(n * p))
    expected = exact_tail(n, p, more_than)
    assert binomial_tail(n, p, more_than) == pytest.approx(expected, rel=1e-9)


@examples(60)
@given(st.integers(0, 120), st.floats(0, 1))
def test_all_terms(n, p):
    exact = Fraction(p)
    terms = [float(math.comb(n, i) * exact**i * (1 - exact) ** (n - i)) for i in range(n + 1)]
    assert np.allclose(binomial(n, p), terms, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("k", [1, 2, 20, 150, 8192])
def test_copies_needed_are_the_fewest(k):
    n = copies_needed(k, 64 * k, LOSS, FAILURE)
    assert binomial_tail(n, LOSS, n - k) <= FAILURE * (1 + 1e-9)
    assert binomial_tail(n - 1, LOSS, n - 1 - k) > FAILURE
    assert copies_needed(k, k, LOSS, FAILURE) == k
