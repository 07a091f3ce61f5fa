"""Error rates that theory allows: what the measured ones stand beside.

All for receivers that do not know the phase, in white noise; Eb/N0 and Es/N0 as plain ratios.
The formulas are in Proakis & Salehi, Digital Communications, 5th ed., section 4.5 (noncoherent
detection of orthogonal signals, envelope detection of correlated binary signals).
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def ratio(db: float) -> float:
    return 10 ** (db / 10)


def bfsk(ebn0: float) -> float:
    """Bit error rate of two orthogonal tones: exp(-Eb/2N0)/2."""
    return float(np.exp(-ebn0 / 2) / 2)


def marcum_q(a: float, b: float) -> float:
    """Q1(a, b), the integral of x·exp(-(x² + a²)/2)·I0(a·x) from b up."""
    x = np.linspace(b, max(a, b) + 12, 20_001)
    # I0(ax) = exp(ax)·(something tame): keeps both factors in range
    tame = np.i0(a * x) * np.exp(-a * x)
    return float(np.trapezoid(x * np.exp(-((x - a) ** 2) / 2) * tame, x))


def correlated(ebn0: float, rho: float) -> float:
    """Bit error rate of two tones whose complex envelopes have that correlation.

    Pe = Q1(a, b) - exp(-(a² + b²)/2)·I0(ab)/2, with a, b = sqrt(Eb/2N0·(1 -+ sqrt(1 - |rho|²))).
    """
    root = np.sqrt(1 - rho * rho)
    a, b = np.sqrt(ebn0 / 2 * (1 - root)), np.sqrt(ebn0 / 2 * (1 + root))
    return marcum_q(a, b) - float(np.exp(-((a - b) ** 2) / 2) * np.i0(a * b) * np.exp(-a * b) / 2)


def tone_correlation(baud: float, mark: float, space: float) -> float:
    """|rho| of two tones over one bit: sin(pi·d)/(pi·d), d = |mark - space|/baud."""
    return float(abs(np.sinc((mark - space) / baud)))


def mfsk(esn0: float, tones: int) -> float:
    """Symbol error rate of one tone of that many. Es: of the symbol."""
    return float(
        sum(
            (-1) ** (n + 1) * comb(tones - 1, n) / (n + 1) * np.exp(-n / (n + 1) * esn0)
            for n in range(1, tones)
        )
    )


def words_simulated(esn0: float, words: np.ndarray, draws: int, seed: int = 1) -> float:
    """Symbol error rate of words of several tones, for a receiver that knows both levels.

    No closed form is in use; drawn from the distribution of the energies. words: bool, (words,
    tones). Es: of a whole word, which its tones share evenly.
    """
    random = np.random.default_rng(seed)
    each = esn0 / words[0].sum()
    wrong = 0
    for first in range(0, draws, 100_000):
        count = min(100_000, draws - first)
        sent = random.integers(0, len(words), count)
        noise = random.standard_normal((2, count, words.shape[1])) / np.sqrt(2)
        energy = (noise[0] + words[sent] * np.sqrt(each)) ** 2 + noise[1] ** 2
        root = 2 * np.sqrt(each * energy)
        # ln I0, by its expansion where np.i0 would overflow
        tone = np.where(
            root < 500,
            np.log(np.i0(np.minimum(root, 500))),
            root - 0.5 * np.log(2 * np.pi * np.maximum(root, 1)),
        )
        wrong += int(np.count_nonzero((tone @ words.T.astype(float)).argmax(1) != sent))
    return wrong / draws


def needed_db(rate: float, theory: Callable[[float], float]) -> float:
    """The Eb/N0 in dB at which theory has that error rate."""
    low, high = -20.0, 40.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if theory(ratio(middle)) > rate else (low, middle)
    return middle
