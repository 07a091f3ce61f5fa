"""Soft decisions: how likely each word of each group is, given the energies (wire 7.2).

For a tone of known amplitude A in noise of density N0, phase unknown, the logarithm of the
likelihood ratio between "sounds" and "is silent" is ln I0(2·A·sqrt(E)/N0) - A²/N0 (Proakis,
Digital Communications, 5th ed., 4.5), E being its energy in the window. A word's is the sum over
its tones.

Neither A nor N0 is known, and neither is the same everywhere: channels fade in frequency, mains hum
stands on single tones, a dog barks for three symbols. Both are estimated from the frame itself:

- N0 of each tone from a low quantile of its energies over time, where it is mostly silent. What
  it hears then is noise, hum, and what leaks from other tones; all of it counts.
- A² of each tone from its mean energy, less the noise, over the share of time in which it sounds,
  averaged with its neighbours.
- bursts from the same quantile over the tones of a symbol, around each group.

So a symbol in a gap, in a bark or on a hum line says little, and the inner code fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.modem import F32
    from diode.modem.profile import Profile

GROSS = 0.03
"""Probability that a symbol is not what the model takes it for: another one (where sound is
missing), an echo, a whistle. Without it the surest decisions would be the wrong ones."""
_LARGEST = 200.0
"""Es/N0 above which more would only be overconfidence: what then remains is not Gaussian noise."""
_BURST = 1.6
"""Factor of the usual noise below which it is taken for usual: the estimate has that error."""
_AROUND = 48
"""Tones over which the noise of one symbol is estimated."""
_FADING = 7
"""Tones over which the amplitude is averaged."""


def _ln_i0_table() -> tuple[F32, F32]:
    x = np.linspace(0, 700, 14_001)
    return x.astype(np.float32), np.log(np.i0(x)).astype(np.float32)


_X, _LN_I0 = _ln_i0_table()


def ln_i0(x: F32) -> F32:
    """Logarithm of I0(x) for x >= 0, to 1e-3; its asymptote beyond 700."""
    inside = np.interp(x, _X, _LN_I0).astype(np.float32)
    return np.where(x > _X[-1], _LN_I0[-1] + (x - _X[-1]), inside)


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Running mean over the last axis, mirrored at its ends."""
    if width <= 1:
        return values
    half = width // 2
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(half, half)], mode="reflect")
    sums = np.cumsum(padded, axis=-1)
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    return (sums[..., 2 * half + 1 :] - sums[..., : -2 * half - 1]) / (2 * half + 1)


@dataclass(frozen=True, slots=True)
class Level:
    """What a frame's energies say about signal and noise."""

    profile: Profile
    noise: NDArray[np.float64]
    """N0 of each tone, shape (tones,)."""
    signal: NDArray[np.float64]
    """Energy of each tone when it sounds, shape (tones,)."""

    @classmethod
    def of(cls, profile: Profile, energy: F32) -> Level:
        """Estimate from energies, shape (windows, tones)."""
        share = profile.sounding / profile.tones
        floor = np.quantile(energy, (1 - share) / 2, axis=0) / np.log(2)
        mean = energy.mean(axis=0, dtype=np.float64)
        tiny = max(float(mean.mean()) * 1e-6, 1e-30)
        noise = np.maximum(_smooth(floor, 3), floor / 2)
        signal = _smooth(np.maximum(mean - noise, 0) / share, _FADING)
        noise = np.maximum(noise, np.maximum(signal / _LARGEST, tiny))
        return cls(profile, noise, signal)

    @property
    def snr(self) -> float:
        """Mean Es/N0 of a tone."""
        return float(np.mean(self.signal / self.noise))

    def bursts(self, energy: F32) -> F32:
        """How much louder than usual the noise is: at least 1. Returns (windows, groups)."""
        profile = self.profile
        share = profile.sounding / profile.tones
        relative = (energy / self.noise).reshape(len(energy), profile.groups, profile.tones)
        around = min(profile.groups, -(-_AROUND // profile.tones) | 1)
        half = around // 2
        factor = np.empty((len(energy), profile.groups), np.float32)
        for group in range(profile.groups):
            first = min(max(0, group - half), profile.groups - around)
            near = relative[:, first : first + around].reshape(len(energy), -1)
            place = int(near.shape[1] * (1 - share) / 2)
            factor[:, group] = np.partition(near, place, axis=1)[:, place] / np.log(2)
        return np.where(factor < _BURST, np.float32(1), factor)

    def logarithms(self, energy: F32) -> F32:
        """Logarithms of the likelihoods of the words. Returns float32, (windows, groups, 16).

        energy: (windows, tones). Up to a constant the same for all words of one group and
        window; noise alone gives an expected likelihood of 1.
        """
        profile = self.profile
        shape = (len(energy), profile.groups, profile.tones)
        burst = self.bursts(energy)[:, :, None]
        gain = np.asarray(self.signal / self.noise, np.float32).reshape(shape[1:])
        heard = (energy / np.asarray(self.noise, np.float32)).reshape(shape)
        tone = ln_i0(np.asarray(2 * np.sqrt(gain * heard) / burst, np.float32)) - gain / burst
        return np.asarray(tone @ profile.words.T.astype(np.float32), np.float32)


def likelihoods(logarithms: F32) -> F32:
    """Probabilities of the words of each row. logarithms: float32, (…, 16).

    With the probability GROSS a row has nothing to do with what was sent, and all words are alike.
    """
    scaled: F32 = np.exp(logarithms - logarithms.max(axis=-1, keepdims=True))
    scaled *= (1 - GROSS) / scaled.sum(axis=-1, keepdims=True)
    scaled += GROSS / scaled.shape[-1]
    return scaled


def evidence(logarithms: F32) -> NDArray[np.float64]:
    """How much more likely some words are than noise alone, in nats, by window.

    logarithms: (windows, groups, 16). Returns float64, shape (windows,).
    """
    top = logarithms.max(axis=-1, keepdims=True)
    mean = np.exp(logarithms - top).mean(axis=-1)
    return np.asarray((np.log(mean) + top[..., 0]).sum(axis=-1), np.float64)
