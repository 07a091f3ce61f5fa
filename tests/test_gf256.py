"""The field's axioms, matrices, and the code's matrix against the package zfec."""

import numpy as np
import pytest
import zfec
from hypothesis import given
from hypothesis import strategies as st

from diode import gf256


def slow_product(a: int, b: int) -> int:
    """Long multiplication of polynomials, reduced bit by bit."""
    out = 0
    while b:
        if b & 1:
            out ^= a
        a <<= 1
        if a & 0x100:
            a ^= gf256.POLYNOMIAL
        b >>= 1
    return out


def test_mul_is_the_product_of_polynomials():
    expected = [[slow_product(a, b) for b in range(256)] for a in range(256)]
    assert (np.array(expected) == gf256.MUL).all()


def test_inverse_of_elements():
    nonzero = np.arange(1, 256)
    assert (gf256.MUL[nonzero, gf256.INVERSE[nonzero]] == 1).all()
    assert gf256.INVERSE[0] == 0
    assert sorted(gf256.EXP[:255].tolist()) == list(range(1, 256))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_matmul_is_a_sum_of_products(m, k, n, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (m, k), np.uint8)
    b = rng.integers(0, 256, (k, n), np.uint8)
    expected = np.zeros((m, n), np.uint8)
    for i in range(m):
        for j in range(n):
            for x in range(k):
                expected[i, j] ^= slow_product(int(a[i, x]), int(b[x, j]))
    assert (gf256.matmul(a, b) == expected).all()


def test_matmul_of_wide_and_narrow_agree():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (5, 9), np.uint8)
    a[0] = 1
    b = rng.integers(0, 256, (9, 1000), np.uint8)
    whole = gf256.matmul(a, b)
    parts = [gf256.matmul(a, b[:, i : i + 100]) for i in range(0, 1000, 100)]
    assert (whole == np.concatenate(parts, axis=1)).all()


def test_matmul_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError):
        gf256.matmul(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_inverse_times_matrix_is_identity(k, seed):
    matrix = np.random.default_rng(seed).integers(0, 256, (k, k), np.uint8)
    try:
        inverted = gf256.inverse(matrix)
    except ValueError:
        return
    assert (gf256.matmul(matrix, inverted) == np.eye(k, dtype=np.uint8)).all()


def test_singular_and_oblong_are_refused():
    with pytest.raises(ValueError, match="singular"):
        gf256.inverse(np.ones((3, 3), np.uint8))
    with pytest.raises(ValueError, match="square"):
        gf256.inverse(np.ones((3, 2), np.uint8))


@pytest.mark.parametrize("k", [1, 2, 3, 17, 200, 255])
def test_matrix_gives_the_symbols_of_zfec(k):
    rng = np.random.default_rng(k)
    source = rng.integers(0, 256, (k, 37), np.uint8)
    symbols = gf256.matmul(gf256.zfec_matrix(k), source)
    # a fresh list: zfec reorders the one it is given
    theirs = zfec.Encoder(k, 256).encode([row.tobytes() for row in source])
    assert [row.tobytes() for row in symbols] == theirs
    assert (gf256.zfec_matrix(k)[:k] == np.eye(k, dtype=np.uint8)).all()


@pytest.mark.parametrize("k", [1, 3, 40, 255])
def test_any_k_symbols_give_the_block_back(k):
    rng = np.random.default_rng(k)
    source = rng.integers(0, 256, (k, 11), np.uint8)
    matrix = gf256.zfec_matrix(k)
    rows = rng.permutation(256)[:k]
    symbols = gf256.matmul(matrix[rows], source)
    assert (gf256.matmul(gf256.inverse(matrix[rows]), symbols) == source).all()


@pytest.mark.parametrize("k", [0, -1, 256])
def test_k_out_of_range(k):
    with pytest.raises(ValueError):
        gf256.zfec_matrix(k)


def test_matrix_is_cached_and_read_only():
    assert gf256.zfec_matrix(7) is gf256.zfec_matrix(7)
    with pytest.raises(ValueError):
        gf256.zfec_matrix(7)[0, 0] = 2
