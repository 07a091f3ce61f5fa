"""A modem without any theory: a sample a bit, so that carriers are tested without the DSP.

A byte is a sample at 0.5 and eight at 0.5 or -0.5, lowest bit first; between bytes, silence.
"""

import numpy as np

from diode.modem import Signal

LEAD, TAIL = 200, 100
"""Samples of silence before the first piece and behind the last one."""


class FakeModem:
    name = "fake"
    rate = 48_000 / 9
    max_piece = 64
    batch = 16

    def __init__(self, **asked):
        self.asked = asked
        self.calls = []
        """Bytes of each call of `modulate`."""

    def air_bytes(self, piece):
        return piece + 1

    def modulator(self, sample_rate):
        self.sample_rate = sample_rate
        return FakeModulator(self)

    def demodulator(self, sample_rate):
        self.sample_rate = sample_rate
        return FakeDemodulator()


class FakeModulator:
    def __init__(self, modem):
        self.modem = modem

    def begin(self):
        return np.zeros(LEAD, np.float32)

    def modulate(self, pieces):
        self.modem.calls.append(len(pieces.data))
        bits = np.unpackbits(pieces.data[:, None], axis=1, bitorder="little")
        samples = np.full((len(pieces.data), 9), 0.5, np.float32)
        samples[:, 1:][bits == 0] = -0.5
        return samples.reshape(-1)

    def end(self):
        return np.zeros(TAIL, np.float32)


class FakeDemodulator:
    def __init__(self):
        self.signal = Signal("fake")
        self.held = np.empty(0, np.float32)
        self.fed = []
        self.last = b""
        """What `flush` gives."""

    def feed(self, samples):
        assert samples.dtype == np.float32 and samples.ndim == 1
        assert np.isfinite(samples).all()
        self.fed.append(len(samples))
        samples = np.concatenate([self.held, samples])
        out, at = bytearray(), 0
        while True:
            sounding = np.flatnonzero(samples[at : at + 1000] > 0.02)
            at = at + int(sounding[0]) if len(sounding) else min(len(samples), at + 1000)
            if at + 9 > len(samples) and (len(sounding) or at == len(samples)):
                break
            if not len(sounding):
                continue
            out += np.packbits(samples[at + 1 : at + 9] > 0, bitorder="little").tobytes()
            at += 9
        self.held = samples[at:]
        self.signal.found += len(out)
        return bytes(out)

    def flush(self):
        return self.last


def install(monkeypatch):
    """Make every modem the fake one; the list of those that were asked for."""
    made = []

    def modem(name, **asked):
        made.append(FakeModem(name=name, **asked))
        return made[-1]

    monkeypatch.setattr("diode.modem.modem", modem)
    return made
