"""The meter: how loud it is, whether it clips, and what the spectrum looks like.

It stands beside a demodulator, for the eyes of the operator only, so it must cost next to
nothing. Samples are cut into hops of 10 ms; of each, four sums are kept (squares, greatest
absolute value, samples at full scale, plain sum), for one second. Every figure is derived from
those when it is asked for, and so does not depend on how the samples were cut. For the
spectrum the last quarter of a second is kept as it is, and transformed on demand.

Levels are mean squares in dB relative to full scale (dBFS): a sine that fills the scale is at
-3.01 dB, a square wave at 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from diode.modem import F32

F64 = NDArray[np.float64]

HOPS = 100
"""Hops per second, and hops kept."""
SMOOTHING = 0.3
"""Seconds after which a sound counts 1/e in the level."""
GLIMPSE = 0.25
"""Seconds of sound in one line of the waterfall: bins of 4 Hz."""
FULL = 0.99
"""From here on a sample is at full scale; 127/128 of an 8-bit sound is."""
FLOOR = -120.0
"""Level of silence, in dB."""

_SQUARES, _PEAK, _FULL, _SUM = range(4)


class Meter:
    """Measures one channel of sound; made for a sample rate in Hz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._hop = max(1, rate // HOPS)
        self._hops: F64 = np.zeros((0, 4))
        self._rest: F32 = np.empty(0, np.float32)
        self._recent: F32 = np.zeros(round(rate * GLIMPSE), np.float32)

    def feed(self, samples: F32) -> None:
        """Take note of a block of samples, of any length."""
        keep = len(self._recent)
        self._recent = np.concatenate([self._recent[len(samples) :], samples[-keep:]])[-keep:]
        samples = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(samples) // self._hop
        self._rest = samples[whole * self._hop :].copy()
        first = max(0, whole - HOPS)
        if whole:
            rows = samples[first * self._hop : whole * self._hop].reshape(-1, self._hop)
            self._hops = np.concatenate([self._hops, _sums(rows)])[-HOPS:]

    @property
    def level_db(self) -> float:
        """The level, in dBFS, smoothed over about 0.3 s."""
        age = np.arange(len(self._hops))[::-1] / HOPS
        weights = np.exp(-age / SMOOTHING)
        power = weights @ self._hops[:, _SQUARES]
        return _decibels(power / (weights.sum() * self._hop) if len(age) else 0.0)

    @property
    def peak_db(self) -> float:
        """The greatest sample of the last second, in dB relative to full scale."""
        return _decibels(float(self._hops[:, _PEAK].max(initial=0.0)) ** 2)

    @property
    def clipped(self) -> float:
        """Share of samples at full scale in the last second, 0 … 1."""
        return self._mean(_FULL)

    @property
    def dc(self) -> float:
        """Mean of the samples of the last second."""
        return self._mean(_SUM)

    def spectrum(self, columns: int, low: float, high: float) -> F32:
        """Level per band over the last 0.25 s: float32, shape (columns,), dBFS, -120 at least.

        The bands share low … high Hz evenly. One narrower than a bin shows the bin it lies in.
        """
        size = len(self._recent)
        window = np.hanning(size)
        bins = np.abs(np.fft.rfft(self._recent * window)) ** 2 * (2 / (size * (window @ window)))
        edges = np.linspace(low, high, columns + 1) * size / self._rate
        first = np.clip(np.round(edges).astype(np.int64), 0, len(bins) - 1)
        last = np.maximum(first[1:], first[:-1] + 1)
        total = np.concatenate([[0.0], np.cumsum(bins)])
        power = total[last] - total[first[:-1]]
        levels: F32 = (10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))).astype(np.float32)
        return levels

    def _mean(self, column: int) -> float:
        count = len(self._hops) * self._hop
        return float(self._hops[:, column].sum()) / count if count else 0.0


def _sums(rows: F32) -> F64:
    """The four figures of each hop: float64, shape (hops, 4)."""
    size = np.abs(rows)
    return np.stack(
        [
            np.einsum("ij,ij->i", rows, rows, dtype=np.float64),
            size.max(axis=1),
            (size >= FULL).sum(axis=1),
            rows.sum(axis=1, dtype=np.float64),
        ],
        axis=1,
    )


def _decibels(power: float) -> float:
    return max(FLOOR, 10 * math.log10(power)) if power > 0 else FLOOR
