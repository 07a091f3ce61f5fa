"""The inner code: a repeat-accumulate LDPC code over GF(16) (wire 7.3).

A binary code behind 16-ary FSK has to take the 16 likelihoods of a channel symbol apart into four
bits, which costs about 1 dB; a code over GF(16) uses them as they are (Davey & MacKay, "Low-Density
Parity Check Codes over GF(q)", IEEE Communications Letters 2(6), 1998).

The k information symbols u are joined with m checks, every second one with two and the others
with three. The m parity symbols p form a chain through the checks (an accumulator: Divsalar,
Jin & McEliece, Allerton 1998), so that check i says

    p[i] + a[i]·p[i-1] + sum over its edges e of c[e]·u[symbol(e)] = 0

and encoding is one running sum. Which edge meets which check, and the coefficients, come from a
generator of 32 bits, so that both ends and any other implementation have the same code.

Decoding is belief propagation with the checks in the Walsh-Hadamard domain, where the
convolution of 16 likelihoods is a product (Barnault & Declercq, "Fast Decoding Algorithm for LDPC
over GF(2^q)", ITW 2003). All edges are worked on at once: a message is a row of 16 float32. A word
that satisfies every check after some round is the answer; a wrong one that does was not seen,
and the frame's own check is behind it.

Measured over noncoherent 16-FSK, rate 1/2, n = 896: one word in thirty is lost at 3.1 dB Eb/N0,
where no code of that rate could do with less than 2.1 dB.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from diode.modem.profile import VALUES, xorshift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from diode.frame import U8
    from diode.modem import F32

    Index = NDArray[np.int64]

ROUNDS = 60
"""Rounds after which a word is given up. One that comes out at all seldom needs 30."""
APART = 4
"""Least distance along the chain of the checks of one information symbol: closer ones would make
a short cycle through it."""

_SEED = 0x2545F491
_TINY = np.float32(1e-12)


def _exponentials() -> list[int]:
    powers = [1]
    while len(powers) < VALUES - 1:
        double = powers[-1] << 1
        powers.append(double ^ 0b10011 if double >= VALUES else double)  # x^4 + x + 1
    return powers


EXP = _exponentials()
"""Powers of x in GF(16) = GF(2)[x] / (x^4 + x + 1)."""
_LOG = {value: power for power, value in enumerate(EXP)}
MUL = np.array(
    [
        [EXP[(_LOG[a] + _LOG[b]) % (VALUES - 1)] if a and b else 0 for b in range(VALUES)]
        for a in range(VALUES)
    ],
    np.uint8,
)
INVERSE = np.array([0] + [EXP[-_LOG[a] % (VALUES - 1)] for a in range(1, VALUES)], np.uint8)

_WALSH = np.array(
    [[(-1) ** (i & j).bit_count() for j in range(VALUES)] for i in range(VALUES)], np.float32
)


def _joints(k: int, m: int, random: Iterator[int]) -> tuple[Index, Index]:
    """The information symbol and the check of every edge, in order of symbols."""
    symbols = [i for i in range(k) for _ in range(2 + i % 2)]
    edges = len(symbols)
    checks = [e % m for e in range(edges)]
    for e in range(edges - 1, 0, -1):
        other = next(random) % (e + 1)
        checks[e], checks[other] = checks[other], checks[e]
    first = {i: e for e, i in reversed(list(enumerate(symbols)))}

    def fits(edge: int, check: int) -> bool:
        own = range(first[symbols[edge]], first[symbols[edge]] + 2 + symbols[edge] % 2)
        return all(abs(checks[o] - check) >= APART for o in own if o != edge)

    for e in range(edges):
        other = e
        while not fits(e, checks[e]):
            other = (other + 1) % edges
            if symbols[other] != symbols[e] and fits(e, checks[other]) and fits(other, checks[e]):
                checks[e], checks[other] = checks[other], checks[e]
    return np.array(symbols, np.int64), np.array(checks, np.int64)


def _table(owner: Index, owners: int) -> Index:
    """The edges of each owner, one row each, filled up with the number behind the last edge."""
    order = np.argsort(owner, kind="stable")
    degree = np.bincount(owner, minlength=owners)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(degree) - degree, degree)
    table = np.full((owners, int(degree.max())), len(owner))
    table[owner[order], place] = order
    return table


class Code:
    """The code with k information and m parity symbols; a code word is u, then p."""

    def __init__(self, k: int, m: int) -> None:
        self.k, self.m = k, m
        random = xorshift(_SEED ^ k << 16 ^ m)
        symbols, checks = _joints(k, m, random)
        self._edges = len(symbols)
        powers = np.array(EXP, np.uint8)
        drawn = [next(random) % (VALUES - 1) for _ in range(self._edges + m - 1)]
        coefficients = powers[drawn]
        chain = np.ones(m, np.uint8)
        chain[1:] = coefficients[self._edges :]
        # the chain a, and products along it by which a running sum becomes the parity
        self._run = powers[np.cumsum([_LOG[int(a)] for a in chain]) % (VALUES - 1)]
        self._symbol = np.concatenate([symbols, k + np.arange(m - 1), k + np.arange(m)])
        self._check = np.concatenate([checks, np.arange(1, m), np.arange(m)])
        ones = np.ones(m, np.uint8)
        self._factor = np.concatenate([coefficients[: self._edges], chain[1:], ones])
        self._of_check = _table(self._check, m)
        self._of_symbol = _table(self._symbol, k + m)
        # a message about x becomes one about factor·x by taking element factor^-1·y for y
        base = np.arange(len(self._check) + 1)[:, None] * VALUES
        self._scale = np.arange(len(base) * VALUES).reshape(-1, VALUES)
        self._scale[:-1] = base[:-1] + MUL[INVERSE[self._factor]]
        self._unscale = np.arange(len(base) * VALUES).reshape(-1, VALUES)
        self._unscale[:-1] = base[:-1] + MUL[self._factor]

    def encode(self, information: U8) -> U8:
        """The code word. information: uint8 below 16, shape (k,). Returns shape (k + m,)."""
        edges = self._edges
        sums = np.zeros(self.m, np.uint8)
        terms = MUL[self._factor[:edges], information[self._symbol[:edges]]]
        np.bitwise_xor.at(sums, self._check[:edges], terms)
        # p[i] = sums[i] + a[i]·p[i-1]; with p = run·q that is q[i] = q[i-1] + sums[i]/run[i]
        running = np.bitwise_xor.accumulate(MUL[sums, INVERSE[self._run]])
        return np.concatenate([information, MUL[running, self._run]])

    def satisfied(self, word: U8) -> bool:
        """Whether every check holds. word: uint8 below 16, shape (k + m,)."""
        sums = np.zeros(self.m, np.uint8)
        np.bitwise_xor.at(sums, self._check, MUL[self._factor, word[self._symbol]])
        return not sums.any()

    def decode(self, likelihood: F32, rounds: int = ROUNDS) -> U8 | None:
        """The code word that is likely, or None when none was found in that many rounds.

        likelihood: float32, shape (k + m, 16), each row in any scale, not all zero.
        """
        prior = likelihood / likelihood.sum(axis=1, keepdims=True)
        word: U8 = prior.argmax(axis=1).astype(np.uint8)
        if self.satisfied(word):
            return word
        # one row more than there are edges: a message that says nothing, for unused places
        message = np.ones((len(self._check) + 1, VALUES), np.float32)
        message[:-1] = prior[self._symbol]
        for _ in range(rounds):
            heard = self._checks(message)[self._of_symbol]
            total = prior * heard.prod(axis=1)
            word = total.argmax(axis=1).astype(np.uint8)
            if self.satisfied(word):
                return word
            for place in range(heard.shape[1]):
                others = np.delete(heard, place, axis=1).prod(axis=1)
                message[self._of_symbol[:, place]] = _normal(prior * others)
            message[-1] = 1
        return None

    def _checks(self, message: F32) -> F32:
        """What the checks say about the symbol of each edge, from what is said of the others."""
        scaled = message.reshape(-1)[self._scale]
        scaled[-1] = 0
        scaled[-1, 0] = 1  # a zero adds nothing to a check
        spectrum = (scaled @ _WALSH)[self._of_check]
        degree = spectrum.shape[1]
        product = np.ones_like(spectrum)
        for place in range(1, degree):
            np.multiply(product[:, place - 1], spectrum[:, place - 1], out=product[:, place])
        behind = spectrum[:, -1].copy()
        for place in range(degree - 2, -1, -1):
            product[:, place] *= behind
            behind *= spectrum[:, place]
        said = np.ones_like(scaled)
        said[self._of_check] = product @ _WALSH
        said = _normal(said).reshape(-1)[self._unscale]
        said[-1] = 1
        return said


def _normal(message: F32) -> F32:
    """Rows that add up to 1, no element quite zero."""
    np.maximum(message, _TINY, out=message)
    message /= message.sum(axis=1, keepdims=True)
    return message


@functools.cache
def code(k: int, n: int) -> Code:
    """The code with k information symbols in n."""
    return Code(k, n - k)
