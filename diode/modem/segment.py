"""Where the characters of an asynchronous line begin: the most likely cut into idle and characters.

A UART looks for a start bit, reads ten bits and looks for the next one; a wrong bit there makes
it read garbage until it falls into step by chance. Here all ways to cut the signal are
compared. Between two boundaries lies either a character of ten bits, worth what its start bit says
for space, its stop bit for mark and its data bits for either, or one step of idle, worth what
it says for mark. The best way to reach every boundary is found from those before it (dynamic
programming; Viterbi 1967, Bellman 1957), so that the framing of many characters together
decides where one begins, and one wrong stop bit changes nothing.

A character may be one position of sixteen a bit shorter or longer than ten bits, which is
a clock error of 6,250 ppm followed at every character. It costs something, so that noise does
not shake the clock, and so does every spell of idle, so that noise in idle is no character.

    ended[t]  a character ends at t     max(open[t-160], open[t-159] - SLIP, open[t-161] - SLIP)
    idle[t]   idle since some u < t     max(ended[u] - idle gain to u) + idle gain to t - IDLE
    open[t]   both, and the character that begins at t     max(ended[t], idle[t]) + worth[t]

No character is shorter than 159 positions, so that many boundaries depend on earlier ones only and
are computed at a time. A cut is settled `DELAY` positions later, when all
ways that are still open agree about it but for freaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diode.modem.discriminator import POSITIONS

if TYPE_CHECKING:
    from diode.modem import F32

Index = NDArray[np.int64]

BITS = 10
"""Bits of a character: start, eight of data, stop."""

LENGTH = BITS * POSITIONS

DELAY = 12 * LENGTH
"""Positions after which a cut is settled."""

HISTORY = DELAY + 4 * LENGTH
"""Positions before the newest that a settled character can begin at."""

SLIP = 0.35
"""What a character of another length costs, in mean bits."""

IDLE, MIN_IDLE, MAX_IDLE = 9.0, 0.7, 1.8
"""What a spell of idle costs, in mean bits: the first figure over the SNR, within the others.

In noise a high price keeps the framing together; without noise it would, where every byte
is followed by a little idle, outweigh a bit read wrong.
"""

_CHUNK = LENGTH - 1
_LAST = (BITS - 1) * POSITIONS
_CENTRE = POSITIONS // 2


class Segmenter:
    """Soft bits to beginnings of characters, streaming; positions count from 0 at the first."""

    def __init__(self) -> None:
        self._base = -LENGTH - 1  # position of the first element of all arrays
        self._soft = np.zeros(LENGTH + 1, np.float32)
        self._open = np.full(LENGTH + 1, -np.inf, np.float32)
        self._ended = np.full(LENGTH + 1, -LENGTH - 1, np.int64)
        self._length = np.full(LENGTH + 1, LENGTH, np.int64)
        self._idle = np.float32(0)  # worth of idle up to the next boundary
        self._since = -LENGTH - 1  # the boundary at which that idle began
        self._settled = 0

    def feed(self, soft: F32, snr: float, *, last: bool = False) -> tuple[Index, int]:
        """Take these soft bits; returns where characters begin, and how many are settled.

        soft: float32, shape (positions,): the bit that begins there, positive for mark. snr:
        Es/N0 as far as known, a ratio. Characters
        behind the settled ones may come again; with `last` all are settled.
        """
        self._soft = np.concatenate([self._soft, soft])
        first, end = len(self._open), len(self._soft) - _LAST
        if end <= first:
            return np.empty(0, np.int64), 0
        scale = np.abs(self._soft[first:]).mean(dtype=np.float64)
        idle = min(max(IDLE / snr, MIN_IDLE), MAX_IDLE)
        ended = self._forward(first, end, np.float32(SLIP * scale), np.float32(idle * scale))
        starts = self._back(ended, float(scale))
        edge = self._base + end - (0 if last else DELAY)
        count = int(np.searchsorted(starts + LENGTH, edge + (2 * LENGTH if last else 0)))
        if count:
            self._settled = int(starts[count - 1]) + LENGTH - 1
        self._drop(max(0, end - HISTORY))
        return starts, count

    def _forward(self, first: int, end: int, slip: np.float32, idle: np.float32) -> F32:
        """Find the best way to all boundaries from `first` to `end`, and the characters open there.

        Returns the worth of the characters that end at the _CHUNK boundaries from `end` on.
        """
        worth = self._worth(first, end)
        gain = np.zeros(end - first + 1, np.float32)
        shifted = self._soft[first - _CENTRE : end - _CENTRE]
        np.cumsum(shifted / POSITIONS, out=gain[1:])
        level = self._open[-LENGTH:].max()
        level = self._idle if np.isneginf(level) else level
        open_ = np.concatenate([self._open - level, np.empty(end - first, np.float32)])
        ended = np.empty(end - first + _CHUNK, np.float32)
        best = np.empty(end - first, np.float32)
        carry = self._idle - level
        for a in range(first, end, _CHUNK):
            b = min(a + _CHUNK, end)
            i, j = a - first, b - first
            done = _end(open_, a, b, slip, ended[i:j])
            run = best[i:j]
            np.subtract(done, gain[i:j], out=run)
            run -= idle
            run[0] = max(run[0], carry)
            np.maximum.accumulate(run, out=run)
            carry = run[-1]
            waited = run + gain[i:j]
            np.maximum(waited, done, out=waited)
            np.add(waited, worth[i:j], out=open_[a:b])
        _end(open_, end, end + _CHUNK, slip, ended[end - first :])
        self._point(open_, ended[: end - first], best, gain, (self._idle - level, idle, slip))
        self._open = open_
        self._idle = carry + gain[-1]
        return ended[end - first :]

    def _worth(self, first: int, end: int) -> F32:
        """What a character is worth that begins at each position."""
        soft = self._soft
        out = soft[first + _LAST : end + _LAST] - soft[first:end]
        size = np.abs(soft[first : end + _LAST])
        for bit in range(1, BITS - 1):
            out += size[bit * POSITIONS : bit * POSITIONS + end - first]
        return out

    def _point(
        self,
        open_: F32,
        ended: F32,
        best: F32,
        gain: F32,
        start: tuple[np.float32, np.float32, np.float32],
    ) -> None:
        """Note for all new boundaries how they are reached: what ended there, and how long it was.

        best: worth of the best idle, gain taken off; start: its worth before, costs of idle
        and of a slip.
        """
        carry, idle, slip = start
        first = len(open_) - len(ended)
        position = np.arange(first, len(open_), dtype=np.int64)
        new = ended - gain[:-1]
        new -= idle
        new = (new == best) & (new > np.concatenate([[carry], best[:-1]]))
        since = np.maximum.accumulate(np.where(new, position + self._base, self._since))
        waited = best + gain[:-1] > ended
        self._since = int(since[-1])
        self._ended = np.concatenate([self._ended, np.where(waited, since, position + self._base)])
        self._length = np.concatenate(
            [self._length, _lengths(open_, first, len(open_), float(slip))]
        )

    def _back(self, ended: F32, scale: float) -> Index:
        """The characters on the best way, from the last settled one on; in order.

        ended: worth of the characters that end beyond the last boundary.
        """
        ahead = np.arange(_CHUNK, dtype=np.float32) * np.float32(scale / POSITIONS)
        best = int(np.argmax(ended - ahead))
        end = len(self._open)
        out = []
        here = end + self._base
        if ended[best] - ahead[best] > self._idle:
            length = int(_lengths(self._open, end + best, end + best + 1, SLIP * scale)[0])
            here += best - length
            out.append(here)
        else:
            here -= 1
        oldest = max(self._settled, self._base + LENGTH + 1)
        while True:
            done = int(self._ended[here - self._base])
            if done <= oldest:
                break
            here = done - int(self._length[done - self._base])
            if here < oldest - LENGTH // 2:
                break
            out.append(here)
        return np.array(out[::-1], np.int64)

    def _drop(self, count: int) -> None:
        """Forget the oldest positions."""
        self._base += count
        self._soft = self._soft[count:]
        self._open = self._open[count:]
        self._ended = self._ended[count:]
        self._length = self._length[count:]


def _end(open_: F32, first: int, end: int, slip: np.float32, out: F32) -> F32:
    """Worth of the best character that ends at each boundary from `first` to `end`."""
    near, exact = open_[first - LENGTH + 1 : end - LENGTH + 1], open_[first - LENGTH : end - LENGTH]
    np.maximum(near, open_[first - LENGTH - 1 : end - LENGTH - 1], out=out)
    out -= slip
    return np.maximum(out, exact, out=out)


def _lengths(open_: F32, first: int, end: int, slip: float) -> Index:
    """Length of that character."""
    near = open_[first - LENGTH + 1 : end - LENGTH + 1]
    far = open_[first - LENGTH - 1 : end - LENGTH - 1]
    exact = open_[first - LENGTH : end - LENGTH]
    other = np.where(near > far, LENGTH - 1, LENGTH + 1)
    slipped = np.maximum(near, far) - np.float32(slip) > exact
    return np.where(slipped, other, LENGTH).astype(np.int64)
