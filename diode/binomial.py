"""How many of n frames are lost when each is lost with probability p, independently.

Terms are computed in logarithms (lgamma), since factorials of thousands are no floating point
numbers; only those that count are: beyond sqrt(100·mean) from the mean the tail weighs less than
e^-50 (Chernoff's bound), and behind the mean terms only fall. Small objects ask the same again and
again, so the answers are kept.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def binomial_tail(n: int, p: float, more_than: int) -> float:
    """P[Binomial(n, p) > more_than]."""
    if p <= 0 or more_than >= n:
        return 0.0
    if p >= 1 or more_than < 0:
        return 1.0
    log_p, log_q, mean = math.log(p), math.log1p(-p), n * p
    terms: list[float] = []
    for i in range(max(more_than + 1, int(mean - math.sqrt(100 * mean)) - 1), n + 1):
        ways = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        terms.append(math.exp(ways + i * log_p + (n - i) * log_q))
        if i > mean and terms[-1] <= 1e-17 * terms[0]:
            break
    return min(1.0, math.fsum(terms))


def binomial(n: int, p: float) -> NDArray[np.float64]:
    """P[Binomial(n, p) = i] for i = 0 … n."""
    if p <= 0 or p >= 1:
        return np.asarray(np.arange(n + 1) == (n if p >= 1 else 0), np.float64)
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i = np.arange(n + 1)
    ways = factorial[n] - factorial - factorial[::-1]
    return np.asarray(np.exp(ways + i * math.log(p) + (n - i) * math.log1p(-p)), np.float64)


@functools.lru_cache(4096)
def copies_needed(k: int, most: int, loss: float, failure: float) -> int:
    """Smallest n <= most such that n symbols bring k across with at most that failure."""
    low, high = k, most
    while low < high:
        middle = (low + high) // 2
        if binomial_tail(middle, loss, middle - k) <= failure * (1 + 1e-9):
            high = middle
        else:
            low = middle + 1
    return low
