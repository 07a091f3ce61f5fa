"""What the sound carriers have in common: `wav:`, `pcm:` and `audio:`.

    modem=      who speaks, or who listens; robust when sending, auto when listening
    baud=, mark=, space=    of modem=fsk
    rate=       samples per second, 8000 … 192000, 48000 if not given (not bits per second)
    level=      sending: peak level relative to full scale, -60 … 0 dB, -3 if not given
    channel=    listening: that channel alone, counted from 1; otherwise the average of all

Each end reads the keys that concern it and ignores those of the other, so both may be given
the same URL.

A sender is a modulator and a `Sink` of samples; a receiver is a `Source` of samples, an `Ear`
and its demodulator. The modulator's lead-in goes before the first piece, its tail behind the
last one, when the carrier is drained; after that the next piece begins anew. Sound is a
hundred to a thousand times as large as what it carries, so it is made some seconds at a time
and heard in blocks; memory is bounded on both sides.

What comes in is one channel of finite numbers before anybody looks at it: samples that are
no number, or absurdly large (a file may hold anything), count as silence.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import modem as modems
from diode.carrier.url import CarrierFacts, CarrierUrl
from diode.errors import CarrierError
from diode.modem.hearing import Hearing, hearing
from diode.modem.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.carrier.pace import Clock
    from diode.frame import Frames
    from diode.modem import F32, Modem, Signal

KEYS = frozenset({"modem", "baud", "mark", "space", "rate", "level", "channel"})

SPEAKING, LISTENING = modems.DEFAULT, modems.AUTO
"""The modems of a URL that names none."""
DEFAULT_RATE = 48_000
DEFAULT_LEVEL = -3.0
"""Full scale less what a filter behind the converter may overshoot."""
MAX_CHANNELS = 64
MAX_TONE = 96_000
"""Highest baud rate or tone that could ever be asked for: half the highest sample rate."""
STRETCH = 8.0
"""Seconds of sound made in one go; 1.5 MB at 48 kHz."""
LARGEST = 1e6
"""Largest sample that is taken for sound; full scale is 1, and in 16-bit units 32768."""


class Sink(Protocol):
    """Takes samples."""

    def put(self, samples: F32) -> None:
        """Play or store them; blocks for pacing. Raises DestinationError and CarrierError."""

    def finish(self) -> None:
        """Return when what was put has been played. More may follow."""

    def close(self) -> None:
        """Let go of it, without waiting. A second call does nothing."""


class Source(Protocol):
    """Gives samples."""

    def take(self, timeout: float | None) -> F32 | None:
        """Some samples, shape (frames, channels); none at all at the end.

        None means nothing yet, at the latest after `timeout` seconds (None: wait without end).
        """

    def close(self) -> None:
        """Let go of it. A second call does nothing."""


# The URL ------------------------------------------------------------------------------------


def facts(url: CarrierUrl) -> CarrierFacts:
    """What the modem says about itself; robust where the URL names none."""
    modem = modem_of(url, SPEAKING)
    sample_rate(url), gain(url), channel(url)
    return CarrierFacts(
        modem.rate, max_piece=modem.max_piece, batch=modem.batch, air_bytes=modem.air_bytes
    )


def modem_of(url: CarrierUrl, default: str) -> Modem:
    """The modem that the URL names. UsageError when there is none like it."""
    baud, mark, space = (
        url.number(key, 1200, 1, MAX_TONE) if key in url.query else None
        for key in ("baud", "mark", "space")
    )
    return modems.modem(url.query.get("modem", default), baud=baud, mark=mark, space=space)


def sample_rate(url: CarrierUrl) -> int:
    """Samples per second."""
    return url.whole("rate", DEFAULT_RATE, modems.MIN_RATE, modems.MAX_RATE)


def gain(url: CarrierUrl) -> float:
    """What samples are multiplied with for the level asked for."""
    return float(10 ** (url.decibels("level", DEFAULT_LEVEL, -60, 0) / 20))


def channel(url: CarrierUrl) -> int | None:
    """The channel to listen to, counted from 1; None for the average of all."""
    return url.whole("channel", 1, 1, MAX_CHANNELS) if "channel" in url.query else None


# Sending ------------------------------------------------------------------------------------


class Voice:
    """Line bytes to samples at a level, lead-in and tail included."""

    def __init__(self, modem: Modem, rate: int, gain: float, stretch: float = STRETCH) -> None:
        """`rate` in Hz, `stretch`: seconds of sound to make in one go, or one batch."""
        self._rate, self._stretch = rate, stretch
        self._gain = np.float32(gain)
        self.change(modem)

    def change(self, modem: Modem) -> None:
        """Speak with another modem from now on; what was said is taken to have been ended."""
        self._modulator = modem.modulator(self._rate)
        batch = max(1, modem.batch)
        self._most = max(1, int(self._stretch * modem.rate / batch)) * batch
        self._speaking = False

    def say(self, pieces: Frames) -> Iterator[F32]:
        """The samples of the pieces, in order, a bounded number at a time."""
        if not len(pieces):
            return
        if not self._speaking:
            self._speaking = True
            yield self._modulator.begin() * self._gain
        for part in _parts(pieces, self._most):
            yield self._modulator.modulate(part) * self._gain

    def end(self) -> F32:
        """The samples behind the last piece; none where nothing has been said since."""
        if not self._speaking:
            return np.empty(0, np.float32)
        self._speaking = False
        return self._modulator.end() * self._gain


def _parts(pieces: Frames, most: int) -> Iterator[Frames]:
    """Whole pieces of up to `most` bytes together, at least one at a time."""
    first = done = 0
    while first < len(pieces):
        last = int(np.searchsorted(pieces.ends, done + most, side="right"))
        last = max(first + 1, last)
        yield pieces.part(first, last)
        first, done = last, int(pieces.ends[last - 1])


class SoundSender:
    """Speaks into a sink. It has no way to listen."""

    def __init__(self, sink: Sink, voice: Voice, rate: float | None = None) -> None:
        """`rate`: bytes per second where the sink takes time to play, else None."""
        self.rate = rate
        self._sink = sink
        self._voice = voice

    def write(self, pieces: Frames) -> None:
        """Put the sound of the pieces out. Raises DestinationError when there is no room."""
        for samples in self._voice.say(pieces):
            self._sink.put(samples)

    def change(self, modem: Modem) -> None:
        """End what is being said, and go on with another modem."""
        tail = self._voice.end()
        if len(tail):
            self._sink.put(tail)
        self._voice.change(modem)

    def drain(self) -> None:
        """Put the tail out, and return when everything has been played."""
        tail = self._voice.end()
        if len(tail):
            self._sink.put(tail)
        self._sink.finish()

    def close(self) -> None:
        """Let go of the sink."""
        self._sink.close()


# Listening ----------------------------------------------------------------------------------


class Ear:
    """Samples of any number of channels to line bytes, and to the meter."""

    def __init__(self, modem: Modem, rate: int, channel: int | None = None) -> None:
        """`rate` in Hz; `channel` counted from 1, None for the average of all."""
        self.modem, self.rate = modem, rate
        self.meter = Meter(rate)
        self.overhear: Callable[[F32], None] = _nobody
        """Is given every block of samples before the demodulator."""
        self._demodulator = modem.demodulator(rate)
        self._channel = channel

    @property
    def signal(self) -> Signal:
        """What the demodulator hears."""
        return self._demodulator.signal

    def hear(self, frames: F32) -> bytes:
        """The line bytes that these samples, shape (frames, channels), complete."""
        samples = _one_channel(frames, self._channel)
        self.meter.feed(samples)
        self.overhear(samples)
        return self._demodulator.feed(samples)

    def flush(self) -> bytes:
        """What the demodulator still makes of the end."""
        return self._demodulator.flush()


def _nobody(samples: F32) -> None:
    """Nobody overhears."""


def _one_channel(frames: F32, channel: int | None) -> F32:
    """Finite samples of one channel, or of the average of all."""
    frames = frames if channel is None else frames[:, channel - 1 : channel]
    if not np.abs(frames).max(initial=0) <= LARGEST:  # not a number compares as false
        with np.errstate(invalid="ignore"):
            frames = np.where(np.abs(frames) <= LARGEST, frames, np.float32(0))
    if frames.shape[1] == 1:
        return np.ascontiguousarray(frames[:, 0])
    mean: F32 = frames.mean(axis=1, dtype=np.float32)
    return mean


def check_channel(what: str, wanted: int | None, channels: int) -> None:
    """CarrierError when there is no channel of that number."""
    if wanted is not None and wanted > channels:
        has = f"{channels} channels" if channels > 1 else "one channel"
        raise CarrierError(
            f"{what} has {has}, no channel {wanted}", hint=f"write channel={channels} or less"
        )


class SoundReceiver:
    """Listens to a source. It has no way to speak."""

    def __init__(
        self,
        source: Source,
        ear: Ear,
        *,
        rate: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`rate`: line bytes per second where the source takes time, else None."""
        self.rate = rate
        self.ear = ear
        self._source = source
        self._clock = clock
        self._over = False

    @property
    def heard(self) -> Hearing:
        """What is heard now, in numbers."""
        return hearing(self.ear.signal, self.ear.meter)

    def read(self, timeout: float | None) -> bytes | None:
        """The line bytes heard; None after `timeout` seconds without any; b'' at the end."""
        end = None if timeout is None else self._clock() + timeout
        while not self._over:
            left = None if end is None else max(0.0, end - self._clock())
            frames = self._source.take(left)
            if frames is not None and not len(frames):
                self._over = True
                return self.ear.flush()
            if frames is not None and (data := self.ear.hear(frames)):
                return data
            if end is not None and self._clock() >= end:
                return None
        return b""

    def close(self) -> None:
        """Let go of the source; further reads say that it has ended."""
        self._over = True
        self._source.close()
