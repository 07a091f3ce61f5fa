"""The raw sound carrier: samples without a header, on stdout, stdin or a file.

    diode send FILE --to 'pcm:-?modem=bell202' | aplay -t raw -f S16_LE -r 48000
    arecord -t raw -f S16_LE -r 48000 | diode recv INBOX --from 'pcm:-?modem=bell202'

Nothing says what the bytes are but the URL: `format` (s16le if not given), `rate` and
`channels`, of which a sender fills all alike and a receiver takes the average or `channel`.
The path is `-` or a file, a named pipe or a device that takes samples.

Integers are scaled so that full scale, -1 … 1, fills them: n bits are multiplied with
2^(n-1) - 1 on the way out and divided by 2^(n-1) on the way in. Unsigned ones are offset by
half, three-byte ones are the upper three of four. Sending is not paced: a program that plays
the samples takes them as they fall due, and a full pipe holds the sender back.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.carrier import sound
from diode.carrier.descriptor import open_file, read_some, write_all, write_failed
from diode.errors import CarrierError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.url import CarrierFacts, CarrierUrl
    from diode.modem import F32

KEYS = sound.KEYS | {"format", "channels"}

STDIN, STDOUT = 0, 1


@dataclass(frozen=True, slots=True)
class Coding:
    """How a sample is written."""

    width: int
    """Bytes a sample."""
    dtype: str
    """The type numpy computes with, which for three bytes has four."""

    def encode(self, samples: F32) -> NDArray[np.uint8]:
        """Samples, shape (n,), as bytes, shape (n * width,)."""
        if self.dtype == "<f4":
            return samples.astype(self.dtype).view(np.uint8)
        full = 2.0 ** (8 * self.width - 1)
        values = np.rint(np.clip(samples.astype(np.float64), -1, 1) * (full - 1))
        if self.dtype == "u1":
            return (values + full).astype(np.uint8)
        spare = np.dtype(self.dtype).itemsize - self.width
        shifted = (values * 256.0**spare).astype(self.dtype)
        return shifted.view(np.uint8).reshape(len(samples), -1)[:, spare:].reshape(-1)

    def decode(self, data: bytes) -> F32:
        """Bytes, a whole number of samples, as samples."""
        if self.dtype == "<f4":
            return np.frombuffer(data, self.dtype).astype(np.float32)
        raw = np.frombuffer(data, np.uint8)
        if self.dtype == "u1":
            return (raw.astype(np.float32) - np.float32(128)) / np.float32(128)
        kind = np.dtype(self.dtype)
        if spare := kind.itemsize - self.width:
            whole = np.zeros((len(raw) // self.width, kind.itemsize), np.uint8)
            whole[:, spare:] = raw.reshape(-1, self.width)
            raw = whole.reshape(-1)
        return raw.view(kind).astype(np.float32) * np.float32(0.5 ** (8 * kind.itemsize - 1))


FORMATS = {
    "u8": Coding(1, "u1"),
    "s16le": Coding(2, "<i2"),
    "s16be": Coding(2, ">i2"),
    "s24le": Coding(3, "<i4"),
    "s32le": Coding(4, "<i4"),
    "f32le": Coding(4, "<f4"),
}
"""The names are ffmpeg's."""


def facts(url: CarrierUrl) -> CarrierFacts:
    """The modem's rate, and how it takes pieces."""
    _format(url), _channels(url)
    return dataclasses.replace(sound.facts(url), waits=True, standard=url.path == "-")


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundSender:
    """Samples to stdout or a file."""
    del notice, clock, sleep
    coding, channels = _format(url), _channels(url)
    modem = sound.modem_of(url, sound.SPEAKING)
    voice = sound.Voice(modem, sound.sample_rate(url), sound.gain(url))
    return sound.SoundSender(PcmSink(url.path, coding, channels), voice)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundReceiver:
    """Samples from stdin or a file."""
    del sleep
    coding, channels, channel = _format(url), _channels(url), sound.channel(url)
    sound.check_channel(str(url), channel, channels)
    ear = sound.Ear(sound.modem_of(url, sound.LISTENING), sound.sample_rate(url), channel)
    source = PcmSource(url.path, coding, channels)
    if url.path == "-" and os.isatty(STDIN):
        notice("reading samples from the terminal; usually a pipe or a file stands there")
    return sound.SoundReceiver(source, ear, clock=clock)


def _format(url: CarrierUrl) -> Coding:
    return FORMATS[url.choice("format", "s16le", FORMATS)]


def _channels(url: CarrierUrl) -> int:
    return url.whole("channels", 1, 1, sound.MAX_CHANNELS)


class PcmSink:
    """Writes samples to a descriptor."""

    def __init__(self, path: str, coding: Coding, channels: int = 1) -> None:
        """`path` is - for stdout. Raises CarrierError, on a terminal too."""
        self._name = "standard output" if path == "-" else path
        self._coding = coding
        self._channels = channels
        self._own = path != "-"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._fd = open_file(path, flags, "pcm") if self._own else _opened(STDOUT, self._name)
        if os.isatty(self._fd):
            self.close()
            raise CarrierError(
                "samples do not belong on a terminal",
                hint="pipe them on (diode send FILE --to pcm:- | aplay -t raw -f S16_LE -r 48000)",
            )

    def put(self, samples: F32) -> None:
        """Write the samples, the same ones to every channel."""
        data = self._coding.encode(np.repeat(samples, self._channels))
        try:
            write_all(self._fd, data.data)
        except OSError as error:
            raise write_failed(self._name, error) from error

    def finish(self) -> None:
        """The kernel has everything; how far the reader got is not known."""

    def close(self) -> None:
        """Close the file; DestinationError when the system reports a write that failed late."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._own:
            try:
                os.close(fd)
            except OSError as error:
                raise write_failed(self._name, error) from error


class PcmSource:
    """Reads samples from a descriptor."""

    def __init__(self, path: str, coding: Coding, channels: int = 1) -> None:
        """`path` is - for stdin. Raises CarrierError."""
        self._name = "standard input" if path == "-" else path
        self._coding = coding
        self._channels = channels
        self._own = path != "-"
        self._rest = b""
        self._fd = open_file(path, os.O_RDONLY, "pcm") if self._own else _opened(STDIN, self._name)

    def take(self, timeout: float | None) -> F32 | None:
        """What has come, at most 1 MiB at a time; part of a frame waits for the rest of it."""
        data = self._read(timeout)
        if data is None:
            return None
        if not data:  # part of a frame at the end is no sound
            return np.empty((0, self._channels), np.float32)
        data = self._rest + data
        whole = len(data) - len(data) % (self._coding.width * self._channels)
        self._rest = data[whole:]
        if not whole:
            return None
        return self._coding.decode(data[:whole]).reshape(-1, self._channels)

    def close(self) -> None:
        """Close the file; stdin stays open for its owner."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._own:
            os.close(fd)

    def _read(self, timeout: float | None) -> bytes | None:
        try:
            return read_some(self._fd, timeout)
        except OSError as error:
            raise CarrierError(f"{self._name} cannot be read: {error.strerror}") from error


def _opened(fd: int, name: str) -> int:
    try:
        os.fstat(fd)
    except OSError as error:
        raise CarrierError(f"{name} is closed", hint="connect a pipe or name pcm:PATH") from error
    return fd
