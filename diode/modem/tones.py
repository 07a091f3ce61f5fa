"""Tones: channel symbols as samples, and the energy of every tone in samples again (wire 7.2).

A receiver that does not know the phase of a tone compares energies. The energy of tone f over a
window of N samples x is |sum x[n]·exp(-2πi f n)|², and for tones a multiple of 1/N apart one
tone adds nothing to the others'. The sums over all tones and all windows are one product of
matrices, which is what a processor does best, and the tones may stand where they like: a
sender whose clock is fast by a part in a thousand has all its tones higher by that, and the bank
is simply made for these.

Every symbol stands on the spacing or half a spacing higher, by a sequence that both ends know. It
costs nothing, and tells the receiver which symbol it hears (timing.py).

Because phases carry nothing, the modulator is free to choose them. It tries a few sets and takes
the one with the lowest peak: less is clipped, and a given peak carries more energy.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from diode.modem.profile import xorshift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import U8, Bool
    from diode.modem import F32
    from diode.modem.profile import Profile

    Index = NDArray[np.int64]

RMS = 0.35
"""Level of the sound: its peaks are then seldom above 1, and are clipped there."""

PPM_STEP = 25.0
"""Clock offsets are rounded to this: at 20 kHz half a hertz."""

_SEED = 0x1F123BB5
_PHASE_SETS = 8
_GOLDEN = (5**0.5 - 1) / 2


@functools.lru_cache(maxsize=8)
def _phases(profile: Profile) -> NDArray[np.complex64]:
    """Sets of phases to choose from: complex64, shape (sets, tones).

    Quadratic, as the phases of a chirp, whose envelope is flat.
    """
    tone = np.arange(profile.all_tones)
    sets = np.arange(1, _PHASE_SETS + 1)[:, None]
    turns = (sets * _GOLDEN * tone * tone) % 1
    return np.asarray(np.exp(2j * np.pi * turns), np.complex64)


def synthesise(profile: Profile, values: U8, raised: Bool) -> F32:
    """Samples of channel symbols.

    values: uint8 below 16, (symbols, groups). raised: which symbols stand half a spacing higher,
    (symbols,). Returns (samples,).
    """
    on = profile.words[values].reshape(len(values), profile.all_tones)
    window, last = profile.window, profile.first + profile.all_tones
    time = np.arange(-profile.guard, window)
    half_a_spacing = np.exp(1j * np.pi / window * time).astype(np.complex64)
    best = np.zeros((len(values), len(time)), np.float32)
    lowest = np.full(len(values), np.inf, np.float32)
    for phases in _phases(profile):
        spectrum = np.zeros((len(values), window), np.complex64)
        spectrum[:, profile.first : last] = on * phases
        wave = np.fft.ifft(spectrum, axis=1)[:, time % window]
        wave[raised] *= half_a_spacing
        peak = np.abs(wave.real).max(axis=1)
        better = peak < lowest
        best[better] = wave.real[better]
        lowest[better] = peak[better]
    # ifft divides by the window; a sum of n tones of amplitude 1 has the power n/2
    best *= RMS * window / np.sqrt(profile.groups * profile.sounding / 2)
    return np.clip(best, -1, 1).reshape(-1)


@functools.cache
def raised(symbols: int) -> Bool:
    """Which of the symbols of a frame stand half a spacing higher. Shape (symbols,)."""
    random = xorshift(_SEED)
    return np.array([next(random) >> 31 for _ in range(symbols)], np.bool_)


def nearest(ppm: float) -> float:
    """The clock offset that a bank is made for."""
    return round(ppm / PPM_STEP) * PPM_STEP


@functools.lru_cache(maxsize=64)
def _bank(profile: Profile, ppm: float, *, raised: bool) -> F32:
    """Cosines and sines of all tones: float32, shape (window, 2·tones)."""
    tone = profile.first + np.arange(profile.all_tones) + raised / 2
    turns = np.outer(np.arange(profile.window), tone) / profile.window * (1 + ppm * 1e-6)
    angle = (2 * np.pi * (turns % 1)).astype(np.float32)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def energies(profile: Profile, samples: F32, starts: Index, ppm: float, raised: Bool) -> F32:
    """Energy of every tone in the windows that begin at `starts`.

    ppm: by how much the sender's clock is fast; rounded to PPM_STEP. raised: in which windows
    the tones stand half a spacing higher. Returns float32, shape (windows, tones). Windows must lie
    inside the samples.
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, profile.window)
    out = np.empty((len(starts), profile.all_tones), np.float32)
    for higher in (False, True):
        mine = np.flatnonzero(raised == higher)
        if len(mine):
            sums = windows[starts[mine]] @ _bank(profile, nearest(ppm), raised=higher)
            sums *= sums
            out[mine] = sums[:, : profile.all_tones] + sums[:, profile.all_tones :]
    return out
