"""What numbers of frames heard say about a link: loss, bursts, and how sure that is.

The model is Gilbert's (BSTJ 39, 1960), in the form in which the bad state loses everything: a
frame behind a received one is lost with probability p, a frame behind a lost one is received with
probability r. Loss p/(p+r), mean burst 1/r; independent loss is the case p + r = 1. Its
maximum likelihood estimate is the shares of the transitions (Yajnik, Moon, Kurose, Towsley,
"Measurement and modelling of the temporal dependence in packet loss", INFOCOM 1999).

How sure. The bound on the loss is that of Clopper and Pearson (Biometrika 26, 1934): the loss
at which so few lost frames would be seen with probability 5 % only; when none is lost of n it is
3/n. Losses that come in bursts say less: the variance of their mean is (1+c)/(1-c)
times as large, c = 1-p-r being the correlation of neighbours, so n and the count of losses are
divided by that first. The bound on r is the lower one on its share of transitions.

Reordering is counted as RFC 4737 has it: a frame is late when one with a higher number came
before it. What is missing before the first frame of a run is not taken for loss: who
listens late has missed it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.frame import I64

CONFIDENCE = 0.95
"""Of the bounds: one-sided."""
UNSEEN_BURST = 2.0
"""Mean burst, in frames, that is assumed where no frame was lost."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What became of the frames of a segment, by their numbers."""

    sent: int = 0
    """From the first that counts to the last."""
    lost: int = 0
    missed: int = 0
    """Before the first one heard, not counted as lost."""
    duplicates: int = 0
    reordered: int = 0
    latest: int = 0
    """Places that the frame that was most late came late."""
    bursts: dict[int, int] = field(default_factory=dict)
    """Lengths of runs of lost frames, and how many there were of each."""
    entries: tuple[int, int] = (0, 0)
    """Losses behind a received frame, and frames behind a received one."""
    exits: tuple[int, int] = (0, 0)
    """Received frames behind a lost one, and frames behind a lost one."""

    @property
    def loss(self) -> float:
        return self.lost / self.sent if self.sent else 0.0

    @property
    def longest(self) -> int:
        return max(self.bursts, default=0)

    @property
    def p(self) -> float | None:
        """Gilbert's probability of a loss behind a received frame."""
        return self.entries[0] / self.entries[1] if self.entries[1] else None

    @property
    def r(self) -> float | None:
        """Gilbert's probability that a loss is the last of its burst; None where none was lost."""
        return self.exits[0] / self.exits[1] if self.exits[1] else None

    @property
    def bursty(self) -> bool:
        """Whether losses come together more than chance explains (at two standard deviations)."""
        n = self.exits[1]
        if not n or not self.sent or self.lost == self.sent:
            return False
        expected = 1 - self.loss
        again = n - self.exits[0]
        return again > n * self.loss + 2 * math.sqrt(n * self.loss * expected) + 1

    @property
    def bound(self) -> float:
        """The loss that is not exceeded, as sure as CONFIDENCE."""
        if not self.sent:
            return 1.0
        inflation = 1.0
        if self.bursty and self.p is not None and self.r is not None:
            kept = min(0.999, max(0.0, 1 - self.p - self.r))
            inflation = (1 + kept) / (1 - kept)
        return upper_bound(self.lost / inflation, self.sent / inflation)

    @property
    def burst_bound(self) -> float:
        """The mean burst, in frames, that is not exceeded, as sure as CONFIDENCE."""
        if not self.exits[1]:
            return UNSEEN_BURST
        out, n = self.exits
        low = 1 - upper_bound(n - out, n)
        return min(1 / low if low > 0 else math.inf, max(1.0, 2.0 * self.longest))


def losses(arrivals: I64, count: int, *, late: bool) -> Losses:
    """The losses among frames 0 … count-1 of which those numbers arrived, in that order.

    late: whether what lies before the first one may have been sent before anyone listened.
    """
    if not len(arrivals) or not count:
        return Losses(count, count, bursts={count: 1} if count else {})
    heard = np.zeros(count, np.bool_)
    heard[arrivals] = True
    first = int(heard.argmax()) if late else 0
    lost = ~heard[first:]
    peaks = np.maximum.accumulate(arrivals)
    before, after = lost[:-1], lost[1:]
    return Losses(
        len(lost),
        int(lost.sum()),
        first,
        len(arrivals) - int(heard.sum()),
        int((arrivals < peaks).sum()),
        _latest(arrivals),
        _runs(lost),
        (int((~before & after).sum()), int((~before).sum())),
        (int((before & ~after).sum()), int(before.sum())),
    )


def _latest(arrivals: I64) -> int:
    """The largest displacement (RFC 5236): places between where a frame came and its rank.

    Of what came twice the first counts.
    """
    firsts = np.unique(arrivals, return_index=True)[1]  # by rank
    places = np.empty_like(firsts)
    places[np.argsort(firsts)] = np.arange(len(firsts))
    return int((places - np.arange(len(firsts))).max(initial=0))


def _runs(lost: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[int, int]:
    """Lengths of the runs of True and how often each occurs."""
    edges = np.diff(np.concatenate([[False], lost, [False]]).astype(np.int8))
    lengths = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    return dict(sorted(Counter(lengths.tolist()).items()))


# Bounds -------------------------------------------------------------------------------------


def upper_bound(hits: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The share at which no more than `hits` of `n` occur with probability 1 - confidence."""
    if hits >= n:
        return 1.0
    low, high = hits / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        # P[Binomial(n, x) <= h] = I(1-x; n-h, h+1)
        if beta(1 - middle, n - hits, hits + 1) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I(x; a, b).

    By its continued fraction, evaluated as Lentz does (Press et al., Numerical Recipes, 6.4).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta(1 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x)
    front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            total *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return math.exp(front) * total / a


def _not_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
