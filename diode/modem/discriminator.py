"""Energy of the mark and the space tone, at sixteen positions a bit.

The noncoherent matched filter for a tone of unknown phase that lasts one bit is the energy
of the signal's projection upon the cosine and sine of that tone within the bit
(Proakis & Salehi, Digital Communications, 5th ed., 4.5): sign(mark - space) is
the decision with the fewest errors, and no better one exists without knowing the phase. Cosine
and sine are made orthonormal first, which matters where a bit holds about one cycle or less.

Where it costs next to nothing, a constant is kept out of that subspace, so DC and most of a hum
do not count; where a bit holds too few cycles for it, the mean of a block is taken off instead.

The correlators of all positions within a bit are the columns of one matrix, so that filtering
is one matrix product of overlapping pieces of the signal: no sum runs on from piece to piece and
no error accumulates.

Tones may be off by 5 % of the shift. Against the bit rate that is little, unless the shift is many
times the baud (RTTY with 850 Hz); there the filters follow. Every block measures the
energy around both tones in steps of a quarter of the baud, and takes the step with the most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.modem import F32

POSITIONS = 16
"""Positions a bit. Half a step off the true bit edge costs 0.1 dB on average."""

OFFSET = 0.05
"""Frequency offset that must be tolerated, as a share of the shift."""

_STEP = 0.25
"""Grid of frequency offsets, in bauds: at most 0.2 dB is lost between two of them."""

_FOLLOW = 0.15
"""Largest offset, in bauds, that the filters need not follow."""

_DC_LOSS = 0.03
"""Share of a tone's energy that may be lost for immunity against DC."""

_FORGET = 0.5
"""What is left of a block's offset measurement in the next block."""

_BAND = 0.91
"""Share of a band that resampling leaves flat."""


class Discriminator:
    """Samples at `rate` to the energies of both tones, in whole blocks of bits.

    `rate` is a whole number of samples a position, `hop`, high enough for both tones.
    """

    def __init__(self, baud: float, mark: float, space: float) -> None:
        top = 2 * (max(mark, space) + baud) / _BAND
        self.hop = max(1, math.ceil(top / (POSITIONS * baud)))
        self.bit = POSITIONS * self.hop
        self.rate = self.bit * baud
        self._baud = baud
        largest = OFFSET * abs(mark - space) / baud
        self._follow = largest > _FOLLOW
        steps = max(1, math.ceil(largest / _STEP))
        self._offsets = np.arange(-steps, steps + 1) * _STEP
        self._tones = (mark / baud, space / baud)
        pairs = [self._pairs(offset) for offset in self._offsets]
        self._bank = np.concatenate([pair[:, :4] for pair in pairs], axis=1)
        self._heard = np.zeros(len(pairs))
        self._banded = [_banded(pair, self.hop) if self._follow else None for pair in pairs]
        self._banded[steps] = _banded(pairs[steps], self.hop)
        self._chosen = steps

    @property
    def offset_hz(self) -> float | None:
        """Where the tones are, against where they should be; None before any was heard."""
        heard = self._heard
        top = int(np.argmax(heard))
        if heard[top] <= 0:
            return None
        step = 0.0
        if 0 < top < len(heard) - 1:
            before, here, after = heard[top - 1 : top + 2]
            step = 0.5 * (before - after) / max(before - 2 * here + after, -1e-300, key=abs)
        return float((self._offsets[top] + step * _STEP) * self._baud)

    def energies(self, samples: F32) -> F32:
        """Energies in the bit that begins at each position: of mark, of space, of both together.

        samples: float32, shape (bits * bit + bit - hop,); the last bit - hop of them are
        the next block's first. Returns float32, shape (3, bits * POSITIONS). Tones that
        are not orthogonal have less energy together than one by one.
        """
        windows = np.lib.stride_tricks.sliding_window_view(samples, 2 * self.bit - self.hop)
        rows = windows[:: self.bit] - samples.mean()
        self._measure(rows)
        kernel = self._banded[self._chosen]
        assert kernel is not None
        parts = (rows @ kernel).reshape(len(rows), 6, POSITIONS)
        np.square(parts, out=parts)
        out = np.empty((3, len(rows), POSITIONS), np.float32)
        for i in range(3):
            np.add(parts[:, 2 * i], parts[:, 2 * i + 1], out=out[i])
        out[2] += out[0]
        return out.reshape(3, -1)

    def _measure(self, rows: F32) -> None:
        """Add what was heard at every frequency offset, and follow it."""
        self._heard *= _FORGET
        for first in (0, self.bit // 2):
            parts = np.square(rows[:, first : first + self.bit] @ self._bank)
            tones = parts.reshape(len(rows), -1, 2, 2).sum(axis=3)
            self._heard += np.square(tones.max(axis=2).astype(np.float64)).sum(axis=0)
        if self._follow:
            self._chosen = int(np.argmax(self._heard))

    def _pairs(self, offset: float) -> F32:
        """Orthonormal cosine and sine of both tones, `offset` bauds off; shape (bit, 6).

        The last two columns are those of space as far as it is orthogonal to mark.
        """
        time = (np.arange(self.bit) + 0.5) / self.bit
        both = []
        for tone in self._tones:
            cycles = tone + offset
            angle = 2 * np.pi * cycles * time
            pair = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            if 2 * np.sinc(cycles) ** 2 < _DC_LOSS:
                pair -= pair.mean(axis=0)
            both.append(np.linalg.qr(pair)[0])
        rest = np.linalg.qr(np.concatenate(both, axis=1))[0][:, 2:]
        return np.concatenate([*both, rest], axis=1).astype(np.float32)


def _banded(pair: F32, hop: int) -> F32:
    """The correlators `pair` at each position within a bit.

    pair: shape (bit, 6). Returns shape (2 * bit - hop, 6 * POSITIONS), component by component.
    """
    bit, parts = pair.shape
    out = np.zeros((2 * bit - hop, parts, POSITIONS), np.float32)
    for position in range(POSITIONS):
        out[position * hop : position * hop + bit, :, position] = pair
    return out.reshape(2 * bit - hop, parts * POSITIONS)
