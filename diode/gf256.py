"""The field GF(256): tables, matrices, and the matrix of the code `zfec` (wire 4.2).

The field is GF(2)[x]/(x^8+x^4+x^3+x^2+1), 0x11d, with generator 2. Adding is XOR. The
powers of the generator run through all 255 elements that are not zero, so that
`EXP[i] = 2^i` and its inverse `LOG` turn a product into a sum of logarithms; `MUL` is
the whole multiplication table (64 KiB: it stays in the second cache level) and one row of it
is the table "times c", which turns a symbol into its multiple in one pass.

An erasure code over this field is a matrix G of 256 rows and k columns: symbol i of a block is
row i of G times the k source symbols, byte by byte. When any k rows of G are linearly
independent, any k symbols give the block back: invert those rows, multiply. G comes
from a Vandermonde matrix, whose k x k minors are all invertible, made systematic by multiplying
with the inverse of its top (Rizzo, "Effective erasure codes for reliable computer
communication protocols", 1997; this is what zfec does).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]

POLYNOMIAL = 0x11D
SYMBOLS = 256
"""Rows of the code's matrix: symbol numbers 0 … 255."""

_NARROW = 256
"""Columns up to which one product is looked up element by element instead of row by row:
below it the cost of a call outweighs that of an index."""


def _powers() -> tuple[U8, NDArray[np.int64]]:
    """Powers of the generator, twice over so that a sum of two logarithms needs no modulo."""
    exp = np.zeros(510, np.uint8)
    log = np.zeros(256, np.int64)
    value = 1
    for i in range(255):
        exp[i] = exp[i + 255] = value
        log[value] = i
        value <<= 1
        if value & 0x100:
            value ^= POLYNOMIAL
    return exp, log


def _products() -> U8:
    table: U8 = EXP[LOG[:, None] + LOG[None, :]]
    table[0, :] = 0
    table[:, 0] = 0
    return table


EXP, LOG = _powers()
"""EXP: uint8, shape (510,), EXP[i] = 2^i. LOG: int64, shape (256,); LOG[0] means nothing."""

MUL = _products()
"""uint8, shape (256, 256): MUL[a, b] = a·b."""

INVERSE = EXP[(255 - LOG) % 255]
"""uint8, shape (256,): 1/a; INVERSE[0] is 0, so that a quotient by zero is zero."""
INVERSE[0] = 0

for _table in (EXP, LOG, MUL, INVERSE):
    _table.flags.writeable = False

_TIMES = [row.tobytes() for row in MUL]
"""Rows of MUL as tables for bytes.translate, which is faster than an index into numpy."""


def matmul(a: U8, b: U8) -> U8:
    """The product of two matrices over the field.

    a: uint8, shape (m, k). b: uint8, shape (k, columns); few or very many columns.
    Returns uint8, shape (m, columns).
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"shapes {a.shape} and {b.shape} cannot be multiplied")
    out = np.zeros((a.shape[0], b.shape[1]), np.uint8)
    if b.shape[1] <= _NARROW:
        for j in range(a.shape[1]):
            out ^= MUL[a[:, j, None], b[None, j]]
        return out
    for j in range(a.shape[1]):
        column = b[j].tobytes()
        for i, factor in enumerate(a[:, j].tolist()):
            if factor == 1:
                out[i] ^= b[j]
            elif factor:
                out[i] ^= np.frombuffer(column.translate(_TIMES[factor]), np.uint8)
    return out


def inverse(matrix: U8) -> U8:
    """The inverse of a square matrix, by Gauss and Jordan.

    matrix: uint8, shape (k, k), k <= 255 in practice. Raises ValueError when singular.
    """
    size = matrix.shape[0]
    if matrix.shape != (size, size):
        raise ValueError(f"a matrix of shape {matrix.shape} is not square")
    work = np.concatenate([matrix.astype(np.uint8), np.eye(size, dtype=np.uint8)], axis=1)
    for column in range(size):
        pivots = np.flatnonzero(work[column:, column])
        if not len(pivots):
            raise ValueError("the matrix is singular")
        pivot = column + int(pivots[0])
        if pivot != column:
            work[[column, pivot]] = work[[pivot, column]]
        work[column] = MUL[INVERSE[work[column, column]], work[column]]
        factors = work[:, column].copy()
        factors[column] = 0
        rows = np.flatnonzero(factors)
        work[rows] ^= MUL[factors[rows, None], work[None, column]]
    return work[:, size:].copy()


@functools.lru_cache(maxsize=32)
def zfec_matrix(k: int) -> U8:
    """G of wire 4.2: uint8, shape (256, k), read-only; rows 0 … k-1 are the identity.

    Raises ValueError for a k outside 1 … 255.
    """
    if not 1 <= k < SYMBOLS:
        raise ValueError(f"k = {k} is not in 1 … 255")
    vandermonde = np.zeros((SYMBOLS, k), np.uint8)
    vandermonde[0, 0] = 1
    exponents = np.arange(SYMBOLS - 1)[:, None] * np.arange(k)[None, :]
    vandermonde[1:] = EXP[exponents % 255]
    matrix = matmul(vandermonde, inverse(vandermonde[:k]))
    matrix.flags.writeable = False
    return matrix
