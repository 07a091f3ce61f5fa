"""A file through a modem in memory: transmitter, line and modulator; then all of it backwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pair import BytesSource, Listener, everything

from diode import line
from diode.frame import Frames
from diode.modem import F32, Modem
from diode.plan import Link, Settings
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
    modulator = modem.modulator(rate)
    lead_in = modulator.begin()
    coded = [encoder.encode(Frames.of_pieces([frame])) for frame in everything(transmitter)]
    sound = [modulator.modulate(part) for part in batches(coded, modem.batch)]
    return np.concatenate([lead_in, *sound, modulator.end()])


def batches(coded: list[Frames], most: int) -> Iterator[Frames]:
    """Pieces of the line together, up to `most` bytes, at least one at a time."""
    pieces: list[np.ndarray] = []
    waiting = 0
    for one in coded:
        if pieces and waiting + len(one.data) > most:
            yield Frames.of_pieces(pieces)
            pieces, waiting = [], 0
        pieces += one.pieces()
        waiting += len(one.data)
    if pieces:
        yield Frames.of_pieces(pieces)


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
