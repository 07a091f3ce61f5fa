"""Modems: whatever the sound, nothing is raised; any split of the samples gives the same bytes;
what comes out is bounded by how long the sound is, and what is kept by the longest frame.

The bytes are a script of what sounds: samples as they stand, chirps, headers and channel symbols
that are right but for what they say, a real frame, silence, tones, very large and very small
numbers. One modem a script, at its own sample rate; so a script takes some 20 ms.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import numpy as np

    from diode.frame import Frames
    from diode.modem import modem
    from diode.modem.chirp import chirp
    from diode.modem.profile import CLASSES, PROFILES
    from diode.modem.tones import synthesise

SYNCHRONOUS = ("robust", "robust", "telephone", "telephone", "cable")
PLAIN = ("bell202", "bell103")
RATE = 8000
SOUNDS = 6
"""In a script, and CHIRPS of them with a chirp: each may cost a decoding that comes to nothing."""
CHIRPS = 1
CONTENT = bytes(range(1, 51))


def real(name: str, rate: int):
    """A frame, or characters, without what goes before and behind."""
    modulator = modem(name).modulator(rate)
    modulator.begin()
    return modulator.modulate(Frames.of_pieces([np.frombuffer(CONTENT, np.uint8)]))


class Script:
    """One script read from bytes."""

    def __init__(self, data: bytes) -> None:
        self.choices = harness.Choices(data)
        self.name = self.choices.of(*SYNCHRONOUS, *PLAIN)
        self.profile = PROFILES.get(self.name)
        self.rate = self.profile.rate if self.profile else RATE
        self.chirps = 0

    def sound(self):
        parts = []
        for _ in range(SOUNDS):
            if not self.choices:
                break
            parts.append(self.level() * self.part())
        parts.append(np.frombuffer(self.choices.rest(), np.int8) / 128)
        # as a carrier gives it: finite, and of no level that nothing could be heard beside
        return np.clip(np.concatenate(parts), -1e6, 1e6).astype(np.float32)

    def level(self) -> float:
        return self.choices.of(1.0, 1.0, 1.0, 0.01, -1.0, 30.0, 1e-30, 1e30)

    def part(self):
        length = (1 + self.choices.byte()) * 16
        match self.choices.byte() % 8:
            case 0:
                return np.frombuffer(self.choices.take(length), np.int8) / 128
            case 1:
                return np.zeros(4 * length)
            case 2:
                return np.sin(np.arange(length) * self.choices.byte() / 80)
            case 3:
                return np.resize(np.frombuffer(self.choices.take(8), np.int8), length) / 128
            case 4:
                seed = self.choices.byte()
                return np.random.default_rng(seed).standard_normal(4 * length) / 4
            case 5:
                return self.spoilt(real(self.name, self.rate))
            case _:
                return self.symbols()

    def spoilt(self, sound):
        """Real sound, of which a piece is missing, said twice or silent."""
        self.chirps += 1
        if self.chirps > CHIRPS:
            return sound[:100]
        first, length = self.choices.byte() * len(sound) // 256, self.choices.byte() * 16
        match self.choices.byte() % 4:
            case 0:
                return sound
            case 1:
                return np.delete(sound, slice(first, first + length))
            case 2:
                return np.concatenate([sound[: first + length], sound[first:]])
            case _:
                sound = sound.copy()
                sound[first : first + length] = 0
                return sound

    def symbols(self):
        """Symbols whose words are bytes of the script, perhaps behind a chirp."""
        if self.profile is None:
            return np.repeat(np.frombuffer(self.choices.take(64), np.int8) / 128, 7)
        count = 1 + self.choices.byte() % 34
        words = np.frombuffer(self.choices.take(16), np.uint8) % 16
        values = np.resize(words, (count, self.profile.groups))
        raised = np.resize(np.frombuffer(self.choices.take(2), np.uint8) > 127, count)
        sound = synthesise(self.profile, values, raised)
        self.chirps += 1
        if self.chirps <= CHIRPS:
            sound = np.concatenate([chirp(self.profile).real / 2, sound])
        return sound


def hear(script: Script, sound, chunk: int):
    """The bytes, and how much was kept at most."""
    demodulator, out, kept = modem(script.name).demodulator(script.rate), [], 0
    for first in range(0, len(sound), chunk):
        out.append(demodulator.feed(sound[first : first + chunk]))
        kept = max(kept, len(getattr(demodulator, "_sound", ())))
    return b"".join([*out, demodulator.flush()]), kept, demodulator.signal


def target(data: bytes) -> None:
    script = Script(data)
    sound = script.sound()
    heard, kept, signal = hear(script, sound, 1 + len(data) * 37 % 6000)
    if script.profile:
        profile = script.profile
        # frames do not overlap, so as much as there would be without a pause, and one cut off
        frames = len(sound) / profile.frame(1) + 2
        assert len(heard) <= frames * profile.room(CLASSES)
        assert signal.found <= frames
        assert kept <= profile.frame(CLASSES) + 4 * profile.rate + 6000
    else:
        # ten bits a byte, at most 5 % fast; some at the ends
        assert len(heard) <= len(sound) / script.rate * modem(script.name).rate * 1.1 + 8
    if len(data) % 4 == 0:
        assert hear(script, sound, len(sound) + 1)[0] == heard


if __name__ == "__main__":
    harness.run(target)
