"""Hearing without being told which modem is spoken.

All demodulators hear the same sound. The synchronous ones say nothing that is not certain, so
what they decode is handed on as it comes. Plain FSK cannot know: it makes bytes of whatever
resembles its tones. So it is heard only while no synchronous modem has decoded anything for
ten seconds, and of several the one with the best signal. When the speaker changes, a zero
byte goes between, behind which every line begins anew.

`fsk` with tones of one's own choice is not asked: nobody could guess them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.errors import UsageError
from diode.modem import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.modem import F32, Demodulator, Modem, Modulator

BLOCK = 0.1
"""Seconds of sound heard by all before it is decided whom to believe."""
HOLD = 3.0
"""Seconds after its last byte for which a plain FSK modem keeps weaker ones from speaking: its end
resembles anything."""
QUIET = 10.0
"""Seconds after a synchronous frame in which plain FSK is not believed."""


@dataclass(frozen=True, slots=True)
class Auto:
    """All modems at once; only a receiver can be it."""

    certain: Sequence[Modem]
    guessing: Sequence[Modem]

    name = "auto"
    max_piece = None
    batch = 0

    @property
    def rate(self) -> float:
        """That of the fastest, in line bytes per second: nobody knows better."""
        return max(modem.rate for modem in [*self.certain, *self.guessing])

    def air_bytes(self, piece: float) -> float:
        return piece

    def modulator(self, sample_rate: int) -> Modulator:
        del sample_rate
        names = ", ".join(modem.name for modem in [*self.certain, *self.guessing])
        raise UsageError("modem=auto is for listening", hint=f"a sender chooses one of {names}")

    def demodulator(self, sample_rate: int) -> AutoDemodulator:
        return AutoDemodulator(
            [m.demodulator(sample_rate) for m in self.certain],
            [m.demodulator(sample_rate) for m in self.guessing],
            round(BLOCK * sample_rate),
        )


class AutoDemodulator:
    """The bytes of whichever demodulator is right."""

    def __init__(
        self, certain: Sequence[Demodulator], guessing: Sequence[Demodulator], block: int
    ) -> None:
        self._certain, self._guessing = certain, guessing
        self._block = block
        self._waiting = np.empty(0, np.float32)
        self._speaker: Demodulator | None = None
        self._believed = 0.0  # seconds for which plain FSK is still not heard
        self._held = 0.0  # seconds for which no weaker plain FSK is

    @property
    def signal(self) -> Signal:
        """That of the modem heard last; before that, of any with something on air."""
        if self._speaker is not None:
            return self._speaker.signal
        signals = [d.signal for d in [*self._certain, *self._guessing]]
        return next((s for s in signals if s.carrier), Signal("auto"))

    def feed(self, samples: F32) -> bytes:
        """The line bytes that these samples complete."""
        self._waiting = np.concatenate([self._waiting, samples])
        out = []
        while len(self._waiting) >= self._block:
            block, self._waiting = self._waiting[: self._block], self._waiting[self._block :]
            self._believed -= BLOCK
            self._held -= BLOCK
            out.append(
                self._choose(
                    [(d, d.feed(block)) for d in self._certain],
                    [(d, d.feed(block)) for d in self._guessing],
                )
            )
        return b"".join(out)

    def flush(self) -> bytes:
        """The sound has ended: what can still be made of the samples held back."""
        rest, self._waiting = self._waiting, np.empty(0, np.float32)
        return self._choose(
            [(d, d.feed(rest) + d.flush()) for d in self._certain],
            [(d, d.feed(rest) + d.flush()) for d in self._guessing],
        )

    def _choose(
        self,
        certain: Sequence[tuple[Demodulator, bytes]],
        guessing: Sequence[tuple[Demodulator, bytes]],
    ) -> bytes:
        out = b""
        for speaker, said in certain:
            if said:
                self._believed = QUIET
                out += self._from(speaker, said)
        if self._believed > 0:
            return out
        level = _snr(self._speaker) if self._speaker and self._held > 0 else 0.0
        speaking = [(one, said) for one, said in guessing if said and _snr(one) >= level]
        if not speaking:
            return out
        speaker, said = max(speaking, key=lambda pair: _snr(pair[0]))
        self._held = HOLD
        return out + self._from(speaker, said)

    def _from(self, speaker: Demodulator, said: bytes) -> bytes:
        changed, self._speaker = self._speaker is not speaker, speaker
        return b"\0" + said if changed else said


def _snr(demodulator: Demodulator) -> float:
    return demodulator.signal.snr_db or 0.0
