"""Reed-Solomon code words RS(255,223) in batches (wire 6.2).

A word is 223 data bytes and 32 parity bytes, the coefficients of a polynomial over GF(256),
highest power first, that has the roots 2^0 … 2^31. Any two words differ in at least
33 places, so 16 wrong bytes can be found and put right, or 32 missing ones.

All words of a batch are worked on at once; rows of an array are words:

- Encoding is linear: the parity is the XOR of 223 rows of 32 bytes, row i chosen from a table
  by data byte i. Four machine words each, so a byte costs some 3 ns.
- Checking is encoding again. The difference of the parities is the remainder of the
  received polynomial; syndromes are its values at the 32 roots and are needed only
  for words where it is not zero.
- Correcting: Berlekamp and Massey's algorithm makes the error locator of all words in 32 steps
  (Massey, IEEE Transactions on Information Theory 15(1), 1969), Chien's search evaluates it
  at all 255 places by table, Forney's formula gives the values. Words that claim
  more errors than roots, and any that still fail the check afterwards, are refused.

Words with known missing bytes go to reedsolo, which decodes errors and erasures together and
is the reference in the tests: everything here gives the same bytes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import reedsolo

from diode.gf256 import EXP, INVERSE, MUL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diode.frame import U8, Bool

    Index = NDArray[np.int64]

WORD = 255
PARITY = 32
DATA = WORD - PARITY
CORRECTABLE = PARITY // 2

_LOCATOR = CORRECTABLE + 1
"""Coefficients of a locator of at most 16 errors."""

_BATCH = 128
"""Words summed up at a time: their terms (223 · 32 bytes each) stay in the second cache level."""

_LARGEST = 2048
"""Words corrected at a time; bounds the memory that takes."""

_PRODUCTS = MUL.reshape(-1)


def _times(a: U8, b: U8) -> U8:
    """Products element by element. a, b: uint8 of shapes that broadcast."""
    product: U8 = _PRODUCTS[(a.astype(np.uint16) << np.uint16(8)) | b]
    return product


def _table(matrix: U8) -> NDArray[np.uint64]:
    """Multiples of each row of a matrix, as machine words.

    matrix: uint8, shape (k, 8·w). Returns uint64, shape (k, 256, w): [i, v] is v times row i.
    """
    multiples = np.ascontiguousarray(MUL[matrix].transpose(0, 2, 1))
    return multiples.view(np.uint64)


def _sum(table: NDArray[np.uint64], columns: U8) -> U8:
    """The product of words with the matrix of a table.

    columns: uint8, shape (words, k). Returns uint8, shape (words, 8·w).
    """
    rows, values, width = table.shape
    multiples = table.reshape(rows * values, width)
    offset = (np.arange(rows) * values)[:, None]
    out = np.empty((len(columns), width), np.uint64)
    for first in range(0, len(columns), _BATCH):
        index = columns[first : first + _BATCH].T + offset
        # mode: the index is always inside, and "clip" is the mode without a second look
        terms = multiples.take(index, axis=0, mode="clip")
        np.bitwise_xor.reduce(terms, axis=0, out=out[first : first + _BATCH])
    return out.view(np.uint8)


@functools.cache
def _parity_table() -> NDArray[np.uint64]:
    """Parity of a word that has only one data byte: x^(254-i) modulo the generator polynomial."""
    generator = np.array([1], np.uint8)
    for root in EXP[:PARITY].tolist():
        longer = np.zeros(len(generator) + 1, np.uint8)
        longer[:-1] = generator
        longer[1:] ^= MUL[root, generator]
        generator = longer
    tail = generator[1:]
    rows = np.zeros((DATA, PARITY), np.uint8)
    row = tail.copy()
    for i in range(DATA - 1, -1, -1):
        rows[i] = row
        row = np.concatenate([row[1:], [np.uint8(0)]]) ^ MUL[row[0], tail]
    return _table(rows)


@functools.cache
def _syndrome_table() -> NDArray[np.uint64]:
    """Values of x^(31-i) at the 32 roots."""
    power = np.arange(PARITY - 1, -1, -1)[:, None] * np.arange(PARITY)[None, :]
    return _table(EXP[power % WORD])


@functools.cache
def _chien_table() -> NDArray[np.uint64]:
    """Values of x^i at 2^-(254-place) for all places, and a 256th column that means nothing."""
    power = np.arange(_LOCATOR)[:, None] * (np.arange(WORD + 1)[None, :] + 1)
    return _table(EXP[power % WORD])


def parity(data: U8) -> U8:
    """Parity bytes. data: uint8, shape (words, 223). Returns uint8, shape (words, 32)."""
    return _sum(_parity_table(), data)


def remainder(words: U8) -> U8:
    """What the words are modulo the generator polynomial: all zero for a valid one.

    words: uint8, shape (words, 255). Returns uint8, shape (words, 32).
    """
    return parity(words[:, :DATA]) ^ words[:, DATA:]


def valid(words: U8) -> Bool:
    """Which words are code words. words: uint8, shape (words, 255)."""
    return np.asarray(~remainder(words).any(axis=1), np.bool_)


def correct(words: U8, erasures: Sequence[Sequence[int]] | None = None) -> tuple[U8, Bool]:
    """Correct words, up to 16 wrong bytes each.

    words: uint8, shape (words, 255), not changed. erasures: per word the places known to be
    missing; a word with e of them is correct up to (32 - e) / 2 further wrong bytes.
    Returns the words corrected, and which of them are now code words; a word that cannot be
    corrected comes back as it was.
    """
    out = words.copy()
    good = np.zeros(len(words), np.bool_)
    plain = np.arange(len(words))
    if erasures is not None:
        marked = np.array([bool(len(places)) for places in erasures], np.bool_)
        for i in np.flatnonzero(marked).tolist():
            good[i] = _erasures(out[i], erasures[i])
        plain = np.flatnonzero(~marked)
    for first in range(0, len(plain), _LARGEST):
        part = plain[first : first + _LARGEST]
        out[part], good[part] = _correct(out[part])
    return out, good


def _correct(words: U8) -> tuple[U8, Bool]:
    """Correct words without erasures, in place; they come back with which are code words."""
    left = remainder(words)
    good: Bool = np.asarray(~left.any(axis=1), np.bool_)
    bad: Index = np.flatnonzero(~good)
    if not len(bad):
        return words, good
    syndromes = _sum(_syndrome_table(), left[bad])
    locator, errors = _locators(syndromes)
    # a locator cut at 17 coefficients means nothing, and its error count is above 16
    roots = _sum(_chien_table(), locator)[:, :WORD] == 0
    possible = (errors <= CORRECTABLE) & (np.count_nonzero(roots, axis=1) == errors)
    bad = bad[possible]
    if not len(bad):
        return words, good
    row, place = np.nonzero(roots[possible])
    fixed = words[bad]
    fixed[row, place] ^= _values(syndromes[possible], locator[possible], row, place)
    done = valid(fixed)
    words[bad[done]] = fixed[done]
    good[bad[done]] = True
    return words, good


def _locators(syndromes: U8) -> tuple[U8, Index]:
    """Error locators by Berlekamp and Massey, all words in step.

    syndromes: uint8, shape (words, 32). Returns uint8, shape (words, 17), lowest power first,
    and the number of errors of each word, which may be more than 16; the locator is then cut.
    """
    count = len(syndromes)
    locator = np.zeros((count, _LOCATOR), np.uint8)
    locator[:, 0] = 1
    # the locator before the last change of length, times x for every step since then
    earlier = np.zeros_like(locator)
    earlier[:, 1] = 1
    earlier_inverse = np.ones(count, np.uint8)  # of the discrepancy at that change
    length = np.zeros(count, np.int64)
    for step in range(PARITY):
        reach = min(step + 1, _LOCATOR)
        window = syndromes[:, step - reach + 1 : step + 1][:, ::-1]
        products = _times(locator[:, :reach], window)
        discrepancy = np.bitwise_xor.reduce(products, axis=1)
        change = (discrepancy != 0) & (2 * length <= step)
        factor = _times(discrepancy, earlier_inverse)
        following = locator ^ _times(earlier, factor[:, None])
        earlier = np.where(change[:, None], locator, earlier)
        earlier_inverse = np.where(change, INVERSE[discrepancy], earlier_inverse)
        length = np.where(change, step + 1 - length, length)
        earlier[:, 1:] = earlier[:, :-1].copy()
        earlier[:, 0] = 0
        locator = following
    return locator, length


def _values(syndromes: U8, locator: U8, row: Index, place: Index) -> U8:
    """Error values by Forney's formula: X·Ω(1/X) / Λ'(1/X), X = 2^(254-place).

    Ω = S·Λ modulo x^32; its degree is below the number of errors. Value i is that of place[i]
    in word row[i].
    """
    evaluator = np.zeros((len(syndromes), CORRECTABLE), np.uint8)
    for i in range(CORRECTABLE):
        evaluator[:, i:] ^= _times(locator[:, i, None], syndromes[:, : CORRECTABLE - i])
    inverse_log = (place + 1) % WORD  # of 1/X
    above = np.zeros(len(row), np.uint8)
    below = np.zeros(len(row), np.uint8)
    for i in range(CORRECTABLE):
        power = EXP[inverse_log * i % WORD]
        above ^= _times(evaluator[row, i], power)
        if i % 2 == 0:  # the derivative keeps the odd powers, one lower
            below ^= _times(locator[row, i + 1], power)
    x = EXP[(WORD - inverse_log) % WORD]
    return _times(_times(x, above), INVERSE[below])


@functools.cache
def _reference() -> reedsolo.RSCodec:
    return reedsolo.RSCodec(PARITY)


def _erasures(word: U8, places: Sequence[int]) -> bool:
    """Correct one word in place by reedsolo, with the places that are missing."""
    if len(places) > PARITY:
        return False
    try:
        _, whole, _ = _reference().decode(word.tobytes(), erase_pos=list(places))
    except (reedsolo.ReedSolomonError, ZeroDivisionError):
        return False
    fixed = np.frombuffer(bytes(whole), np.uint8)
    if len(fixed) != WORD or not valid(fixed[None])[0]:
        return False
    word[:] = fixed
    return True
