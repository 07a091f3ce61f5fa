"""A file through a modem in memory: transmitter, line and modulator; then all of it backwards."""

from __future__ import annotations

import numpy as np
from pair import BytesSource, Listener

from diode import line
from diode.frame import Frames
from diode.modem import F32, Modem, Modulator
from diode.plan import Link, Settings
from diode.service.lanes import Lane
from diode.service.sender import transmit
from diode.transmitter import Transmitter

SENDER = 7
CHUNK = 4096
"""Samples fed at a time, as a sound card would."""


def link_of(modem: Modem, encoder: line.Encoder) -> Link:
    """A modem's link, as far as planning needs it."""
    longest = encoder.max_frame
    if modem.max_piece is not None:
        longest = min(longest, encoder.frame_room(modem.max_piece))
    return Link(
        modem.rate,
        longest,
        lambda frame: modem.air_bytes(encoder.line_bytes(frame)),
        modem.max_piece,
        encoder.frame_room,
    )


def sound_of(
    *contents: bytes,
    modem: Modem,
    rate: int = 48_000,
    settings: Settings | None = None,
    name: str = "cobs",
) -> F32:
    """The whole sound of these objects on the line of that name."""
    encoder = line.encoder(name)
    transmitter = Transmitter(SENDER, settings or Settings(), link_of(modem, encoder))
    for number, content in enumerate(contents, 1):
        transmitter.add(number, BytesSource(content))
    speaker = Speaker(modem.modulator(rate))
    transmit(transmitter, Lane(encoder, speaker, modem.batch))
    return np.concatenate(speaker.sound)


class Speaker:
    """A sending carrier that keeps the sound."""

    rate = None

    def __init__(self, modulator: Modulator) -> None:
        self._modulator = modulator
        self.sound = [modulator.begin()]

    def write(self, pieces: Frames) -> None:
        self.sound.append(self._modulator.modulate(pieces))

    def drain(self) -> None:
        self.sound.append(self._modulator.end())

    def close(self) -> None:
        """Nothing to let go of."""


class Ear:
    """A demodulator, a line and a receiver in a row."""

    def __init__(self, modem: Modem, rate: int = 48_000, name: str = "cobs") -> None:
        self.demodulator = modem.demodulator(rate)
        self.decoder = line.decoder(name)
        self.listener = Listener()

    def feed(self, samples: F32) -> None:
        self._take(self.decoder.feed(self.demodulator.feed(samples)))

    def flush(self) -> list[bytes]:
        """The sound has ended; all that was delivered."""
        self._take(self.decoder.feed(self.demodulator.flush()))
        self._take(self.decoder.flush())
        return list(self.listener.delivered.values())

    def _take(self, rows: list[np.ndarray]) -> None:
        if rows:
            self.listener.take(self.listener.receiver.receive(rows, 0.0))


def hear(
    samples: F32, modem: Modem, rate: int = 48_000, *, name: str = "cobs", chunk: int = CHUNK
) -> list[bytes]:
    """What is delivered of a sound."""
    ear = Ear(modem, rate, name)
    for first in range(0, len(samples), chunk):
        ear.feed(samples[first : first + chunk])
    return ear.flush()
