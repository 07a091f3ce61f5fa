"""Plain FSK: the bytes of a UART as two tones, with continuous phase (wire 7.1).

Every byte is a start bit (space), eight data bits, the lowest first, and a stop bit (mark); between
bytes and around them the line idles at mark. That is the format of Bell 103 and Bell 202 modems
and of minimodem, with whose tables for other rates this one agrees.

The sender's phase is the integral of a frequency that changes at the bit edges, evaluated at
the times of the samples; so bits need not last a whole number of samples.

The receiver converts to a rate at which a bit has a whole number of samples, takes
the energies of both tones at sixteen positions a bit (discriminator.py) and looks for
the characters (segment.py) in the difference of the amplitudes, which is their log-likelihood
ratio where the signal is not weak. It works in blocks of its own, so that it does not matter how
the samples arrive.

It finds characters in noise, too. They are kept back unless around them the
stronger tones have, together, several times the energy of the weaker ones, and most start and
stop bits are as they should be. What gets through does no harm: the line above has checks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diode.errors import UsageError
from diode.modem import MAX_RATE, MIN_RATE, Signal
from diode.modem.discriminator import POSITIONS, Discriminator
from diode.modem.resample import resampler
from diode.modem.segment import BITS, HISTORY, LENGTH, Segmenter

if TYPE_CHECKING:
    from diode.frame import Frames
    from diode.modem import F32

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.int64]

MIN_BAUD, MAX_BAUD = 45, 12_000

LEAD_IN, TAIL = 0.6, 0.5
"""Seconds of mark before the first byte and behind the last; a sound server may eat 0.4 s."""

TAIL_BITS = 3 * BITS
"""The tail in bits, where that is longer: the receiver judges a byte by those around it."""

BATCH = 0.05
"""Seconds worth modulating in one call."""

BLOCK = 0.1
"""Seconds that the receiver works on at a time."""

MIN_BLOCK = 32
"""Bits that it works on at least."""

SQUELCH = 4.6
"""Energy of the stronger tones over the rest, around a character, below which nothing is heard.

Without noise it is thousands, at an Eb/N0 of 6 dB 6 (1 % of characters have less than 5), in
noise alone 3.9 (1 % have more than 4.7).
"""

MAX_BROKEN = 0.32
"""Share of wrong start and stop bits from which on nothing is heard."""

UNKNOWN_SNR = 9.0
"""Es/N0 to reckon with before anything was heard."""

MIN_LEVEL = 0.03
"""Energy of a character over the mean of those around it, below which it is silence."""

AROUND = 8
"""Characters before and behind one that it is judged by."""

LOUDEST = 1e6
"""Samples of a file may be any float; what is louder than this is no sound."""

DRIFT = 6
"""Positions that a character may be off and still tell of the clock rather than of idle."""

KEPT = 1 - 1 / 256
"""What a character leaves of the figures measured before it."""

_BIT_PLACES = np.arange(BITS) * POSITIONS


def defaults(baud: float) -> tuple[float, float]:
    """Mark and space for a rate, in Hz: minimodem's, thus Bell 103 at 300 and Bell 202 at 1200."""
    if baud >= 400:
        mark = baud / 2 + 600
        return mark, mark + int(baud * 5 / 6)
    return (1270.0, 1070.0) if baud >= 100 else (1585.0, 1415.0)


class Afsk:
    """Asynchronous FSK at `baud` bits/s with tones at `mark` and `space` Hz."""

    max_piece: int | None = None

    def __init__(self, baud: float, mark: float, space: float, name: str = "fsk") -> None:
        """Raises UsageError for what cannot be told apart or is out of range."""
        if not MIN_BAUD <= baud <= MAX_BAUD:
            raise UsageError(
                f"{baud:g} baud is out of range",
                hint=f"plain FSK has {MIN_BAUD} to {MAX_BAUD} baud",
            )
        if not baud / 2 <= min(mark, space) <= max(mark, space) < MAX_RATE / 2:
            raise UsageError(
                f"tones at {mark:g} and {space:g} Hz are out of range",
                hint=f"at {baud:g} baud they must be {baud / 2:g} Hz or more",
            )
        if abs(mark - space) < baud / 2:
            raise UsageError(
                f"mark {mark:g} Hz and space {space:g} Hz are too close for {baud:g} baud",
                hint=f"they must be {baud / 2:g} Hz apart or more",
            )
        self.name = name
        self.baud, self.mark, self.space = baud, mark, space
        self.rate = baud / BITS
        self.batch = max(1, int(self.rate * BATCH))

    def air_bytes(self, piece: float) -> float:
        """Line time of a piece of that many bytes, in bytes at `rate`: as many."""
        return piece

    def modulator(self, sample_rate: int) -> Modulator:
        """A modulator; raises UsageError where the tones do not fit below half the rate."""
        self._check(sample_rate)
        return Modulator(self, sample_rate)

    def demodulator(self, sample_rate: int) -> Demodulator:
        """A demodulator; raises UsageError where the tones do not fit below half the rate."""
        self._check(sample_rate)
        return Demodulator(self, sample_rate)

    def _check(self, sample_rate: int) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise UsageError(
                f"a sample rate of {sample_rate} Hz is out of range",
                hint=f"it can be {MIN_RATE} to {MAX_RATE} Hz",
            )
        top = max(self.mark, self.space) + self.baud / 2
        if top > sample_rate / 2:
            raise UsageError(
                f"{self.name} reaches up to {top:g} Hz, too high for {sample_rate} samples/s",
                hint=f"take a sample rate of {2 * top:g} Hz or more, or lower tones",
            )


def named(name: str) -> Afsk:
    """The modem of that name in NAMED. Raises KeyError for another one."""
    return Afsk(*NAMED[name], name)


NAMED = {"bell103": (300.0, 1270.0, 1070.0), "bell202": (1200.0, 1200.0, 2200.0)}
"""Baud, mark and space of modems with a name."""


class Modulator:
    """Bytes to tones of amplitude 1. Bits are exactly as long as the baud says."""

    def __init__(self, modem: Afsk, sample_rate: int) -> None:
        self._baud = modem.baud
        self._step = modem.baud / sample_rate  # bits a sample
        self._cycles = np.array([modem.space, modem.mark]) / modem.baud  # in a bit
        self._bits = 0  # sent so far
        self._samples = 0
        self._phase = 0.0  # at the end of those bits, in cycles

    def begin(self) -> F32:
        """Mark, for a sound card to wake up and a receiver to settle."""
        return self._tones(np.ones(math.ceil(LEAD_IN * self._baud), np.uint8))

    def modulate(self, pieces: Frames) -> F32:
        """The characters of these pieces, one behind the other."""
        bits = np.zeros((len(pieces.data), BITS), np.uint8)
        bits[:, 1:-1] = np.unpackbits(pieces.data[:, None], axis=1, bitorder="little")
        bits[:, -1] = 1
        return self._tones(bits.reshape(-1))

    def end(self) -> F32:
        """Mark, until a receiver is done with the last character."""
        return self._tones(np.ones(max(TAIL_BITS, math.ceil(TAIL * self._baud)), np.uint8))

    def _tones(self, bits: U8) -> F32:
        """The samples from here to the end of these bits."""
        first, last = self._samples, math.ceil((self._bits + len(bits)) / self._step)
        time = np.arange(first, last) * self._step - self._bits
        index = np.minimum(time.astype(np.int64), len(bits) - 1)
        cycles = self._cycles[bits]
        edges = np.concatenate([[self._phase], self._phase + np.cumsum(cycles)])
        phase = edges[index] + cycles[index] * (time - index)
        self._phase = float(edges[-1] % 1.0)
        self._samples = last
        self._bits += len(bits)
        return np.sin(2 * np.pi * (phase % 1.0)).astype(np.float32)


class Demodulator:
    """Tones to bytes, streaming, for any level; characters come about 0.2 s or 20 bytes late."""

    def __init__(self, modem: Afsk, sample_rate: int) -> None:
        self.signal = Signal(modem.name)
        self._tones = Discriminator(modem.baud, modem.mark, modem.space)
        self._resampler = resampler(sample_rate, self._tones.rate)
        bits = max(MIN_BLOCK, math.ceil(BLOCK * modem.baud))
        self._block = bits * self._tones.bit
        self._overlap = self._tones.bit - self._tones.hop
        self._waiting: list[F32] = []
        self._held = 0  # samples waiting
        self._segments = Segmenter()
        self._energies = np.empty((3, 0), np.float32)  # of mark, space and both, by position
        self._base = 0  # position of the first of them
        self._squelch = Squelch(self.signal)

    def feed(self, samples: F32) -> bytes:
        """The bytes that these samples complete."""
        sane = np.clip(np.nan_to_num(samples), -LOUDEST, LOUDEST).astype(np.float32)
        self._take(self._resampler.feed(sane))
        return self._blocks()

    def flush(self) -> bytes:
        """The sound has ended: the bytes still held back."""
        self._take(self._resampler.flush())
        out = self._blocks()
        bit = self._tones.bit
        bits = -(-self._held // bit) + 2 * BITS
        rest = np.zeros(bits * bit + self._overlap, np.float32)
        rest[: self._held] = np.concatenate([*self._waiting, rest[:0]])
        self._waiting, self._held = [], 0
        return out + self._hear(rest, last=True)

    def _take(self, samples: F32) -> None:
        self._waiting.append(samples)
        self._held += len(samples)

    def _blocks(self) -> bytes:
        """Work on all whole blocks."""
        if self._held < self._block + self._overlap:
            return b""
        held = np.concatenate(self._waiting)
        out = []
        first = 0
        while first + self._block + self._overlap <= len(held):
            out.append(self._hear(held[first : first + self._block + self._overlap]))
            first += self._block
        self._waiting = [held[first:].copy()]
        self._held = len(held) - first
        return b"".join(out)

    def _hear(self, samples: F32, *, last: bool = False) -> bytes:
        """The bytes settled by a block."""
        energies = self._tones.energies(samples)
        mark, space, both = energies
        soft = np.sqrt(mark) - np.sqrt(space)
        starts, count = self._segments.feed(soft, self._squelch.snr, last=last)
        self._energies = np.concatenate([self._energies, energies], axis=1)
        strong = float(np.maximum(mark, space).sum())
        weak = float(both.sum()) - strong
        self.signal.carrier = strong > SQUELCH * weak  # idle, where there are no characters
        places = (starts - self._base)[:, None] + _BIT_PLACES
        out = self._squelch.pass_on(self._energies[:, places], starts, count)
        drop = max(0, self._energies.shape[1] - HISTORY - LENGTH)
        self._energies = self._energies[:, drop:]
        self._base += drop
        self.signal.offset_hz = self._tones.offset_hz if self.signal.carrier else None
        return out


class Squelch:
    """Tells a signal from noise, character by character, and keeps the figures of `signal`."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._before = np.zeros((AROUND, 4))
        self._last = -LENGTH  # where the last settled character began
        self._heard = np.zeros(4)
        self._steps = np.zeros(2)  # sum of distances less LENGTH, and their number

    @property
    def snr(self) -> float:
        """Es/N0 of what was heard lately, a ratio."""
        strong, weak = self._heard[:2].tolist()
        return max(strong / max(weak, strong * 1e-12) - 1, 1e-3) if strong else UNKNOWN_SNR

    def pass_on(self, energies: F32, starts: Index, count: int) -> bytes:
        """The bytes of the first `count` characters, where they are a signal.

        energies: of mark, of space and of both, shape (3, characters, bits). starts: their
        positions, in order.
        """
        if not count:
            return b""
        mark, space, both = energies
        bits = mark > space
        figures = np.ones((len(mark), 4))
        strong = np.maximum(mark, space)
        figures[:, 0] = strong.sum(axis=1)
        figures[:, 1] = np.maximum(both - strong, 0).sum(axis=1)
        figures[:, 2] = (bits[:, 0] * 1.0 + ~bits[:, -1]) / 2
        around = self._around(figures, count)
        heard = around[:, 0] > SQUELCH * around[:, 1]
        heard &= around[:, 2] < MAX_BROKEN * around[:, 3]
        heard &= figures[:count, 0] * around[:, 3] > MIN_LEVEL * around[:, 0]
        self._before = np.concatenate([self._before, figures[:count]])[-AROUND:]
        self._follow(starts[:count], heard)
        self._signal.carrier = bool(heard[-1])
        if heard.any():
            self._account(figures[:count][heard], int((~bits[:count, -1][heard]).sum()))
        return np.packbits(bits[:count, 1:-1][heard], axis=1, bitorder="little").tobytes()

    def _around(self, figures: F64, count: int) -> F64:
        """Sums of the figures around each of the first `count` characters."""
        nothing = np.zeros((AROUND, 4))
        rows = np.concatenate([self._before, figures, nothing])
        windows = np.lib.stride_tricks.sliding_window_view(rows, 2 * AROUND + 1, axis=0)
        around: F64 = windows[:count].sum(axis=2)
        return around

    def _follow(self, starts: Index, heard: Bool) -> None:
        """Measure the clock by characters that follow each other."""
        steps = np.diff(starts, prepend=self._last) - LENGTH
        steps = steps[heard & (np.abs(steps) <= DRIFT)]
        self._last = int(starts[-1])
        self._steps = self._steps * KEPT ** len(steps) + [steps.sum(), len(steps)]
        if self._steps[1] >= AROUND:
            self._signal.clock_ppm = float(-1e6 * self._steps[0] / self._steps[1] / LENGTH)

    def _account(self, figures: F64, lost: int) -> None:
        """Count characters that were heard."""
        signal = self._signal
        signal.found += len(figures)
        signal.lost += lost
        self._heard = self._heard * KEPT ** len(figures) + figures.sum(axis=0)
        signal.error_rate = float(self._heard[2] / self._heard[3])
        signal.snr_db = 10 * math.log10(self.snr)
