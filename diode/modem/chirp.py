"""Chirps: how the beginning of a frame is found in any noise (wire 7.2).

A tone that sweeps the whole band in 150 ms, correlated with itself, gathers all its energy within
the inverse of the bandwidth, a third of a millisecond: a gain of 26 dB. That finds it where
the noise in the band is 5 dB stronger, and beside single echoes. A wrong clock moves the peak a
little and hardly lowers it, because a chirp that is higher looks like one that is later.

The correlation is divided by the energy in the window, so its square is the share of the energy
that a chirp explains: 1 for a chirp alone, 1/440 on average for noise, speech or music,
whatever their level. Nothing here depends on a level.

The band filter, which takes away mains hum, DC and what lies above, is a multiplication in the
same Fourier transforms (overlap-save).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.modem import F32
    from diode.modem.profile import Profile

THRESHOLD = 0.055
"""Share of the energy from which on a chirp is supposed. In noise it is exceeded once in
exp(0.055·440) = 3e10 places; at -5 dB in the band a chirp has 0.24."""

_EDGE = 120.0
"""Hertz between a band's lowest tone and where the filter lets nothing through."""
_TAPER = 0.05
"""Share of the chirp over which it swells and fades."""


def chirp(profile: Profile) -> NDArray[np.complex64]:
    """The chirp's complex envelope; its real part, of peak 1, is what is sent. Shape (samples,)."""
    time = (np.arange(profile.chirp) + 0.5) / profile.rate
    length = profile.chirp / profile.rate
    low, high = profile.low, profile.high
    begin, slope = (low, high - low) if profile.rising else (high, low - high)
    turns = begin * time + slope / length * time * time / 2
    edge = max(1, int(profile.chirp * _TAPER))
    ramp = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2
    envelope = np.ones(profile.chirp)
    envelope[:edge], envelope[-edge:] = ramp, ramp[::-1]
    return np.asarray(envelope * np.exp(2j * np.pi * turns), np.complex64)


def _band(profile: Profile) -> NDArray[np.float64]:
    """A linear-phase band filter, of odd length: sinc under a Blackman window."""
    half = int(np.ceil(2.75 * profile.rate / _EDGE / 2))
    n = np.arange(-half, half + 1)
    low = max(0.0, profile.low - _EDGE / 2) / profile.rate
    high = min(profile.high + _EDGE / 2, profile.rate / 2) / profile.rate
    ideal = 2 * high * np.sinc(2 * high * n) - 2 * low * np.sinc(2 * low * n)
    return np.asarray(ideal * np.blackman(len(n)), np.float64)


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a chirp begins."""

    place: int
    """Samples since the beginning."""
    share: float
    """Of the energy there; 0 … 1."""


class Finder:
    """Filters samples to the band and finds chirps in them, streaming."""

    def __init__(self, profile: Profile) -> None:
        self._chirp = profile.chirp
        self._apart = profile.chirp // 2
        filter_ = _band(profile)
        self._half = len(filter_) // 2
        needed = profile.chirp + 2 * self._half
        self._size = 1 << int(np.ceil(np.log2(3 * needed)))
        self._hop = self._size - needed
        wrapped = np.zeros(self._size, np.float32)
        wrapped[: len(filter_)] = filter_
        self._filter = np.fft.rfft(np.roll(wrapped, -self._half)).astype(np.complex64)
        template = chirp(profile)
        self._energy = float(np.sum(np.abs(template) ** 2)) / 2
        spectrum = np.fft.fft(template, self._size)[: self._size // 2 + 1]
        self._template = np.conj(spectrum).astype(np.complex64)
        self._waiting = np.zeros(self._half, np.float32)
        self._done = 0
        self._open: Found | None = None

    @property
    def settled(self) -> int:
        """Every chirp that begins before this place has been reported."""
        return self._open.place if self._open is not None else self._done

    def feed(self, samples: F32) -> tuple[F32, list[Found]]:
        """The samples filtered, as far as they are done, and the chirps among them."""
        self._waiting = np.concatenate([self._waiting, samples])
        filtered: list[F32] = []
        found: list[Found] = []
        while len(self._waiting) >= self._size:
            segment = self._waiting[: self._size]
            self._waiting = self._waiting[self._hop :]
            band, share = self._correlate(segment)
            filtered.append(band)
            self._pick(share, found)
        return np.concatenate([*filtered, np.empty(0, np.float32)]), found

    def _correlate(self, segment: F32) -> tuple[F32, F32]:
        """One hop of filtered samples, and how much of the energy at each is a chirp's."""
        half, hop = self._half, self._hop
        spectrum = np.fft.rfft(segment) * self._filter
        band = np.fft.irfft(spectrum, self._size).astype(np.float32)[half:-half]
        whole = np.zeros(self._size, np.complex64)
        whole[: len(spectrum)] = spectrum * self._template
        peak = np.abs(np.fft.ifft(whole)[half : half + hop]) ** 2
        sums = np.concatenate([[0.0], np.cumsum(band.astype(np.float64) ** 2)])
        energy = (sums[self._chirp :] - sums[: -self._chirp])[:hop]
        energy += 1e-9 * sums[-1] + 1e-12  # beside loud sound, silence is rounding errors
        return band[:hop], (peak / (self._energy * energy)).astype(np.float32)

    def _pick(self, share: F32, found: list[Found]) -> None:
        """Add the tops of the places above the threshold; the last may still be growing."""
        for index in np.flatnonzero(share > THRESHOLD).tolist():
            here = Found(self._done + index, float(share[index]))
            if self._open is not None and here.place - self._open.place > self._apart:
                found.append(self._open)
                self._open = None
            if self._open is None or here.share > self._open.share:
                self._open = here
        self._done += self._hop
        if self._open is not None and self._done - self._open.place > self._apart:
            found.append(self._open)
            self._open = None
