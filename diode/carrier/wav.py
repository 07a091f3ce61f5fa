"""The sound file carrier: `wav:PATH?modem=bell202`.

Sending makes a sound file of whatever kind the suffix says (.wav, .flac, .aiff, .w64 and what
else libsndfile writes; WAV where the suffix says nothing), of `bits` 8, 16, 24, 32 or float, 16
if not given. Listening reads any of them, at 8 to 192 kHz, to its end; the rate and the
channels come from the file. Nothing is paced: a file takes sound as fast as it is made.

The length stands in the header and is known last, so a file to be written has to be one that
can be rewound. One whose writer was killed says that it holds nothing; libsndfile, ffmpeg and
sox then read to the end of the file, and so do we. A WAV cannot grow beyond 4 GiB, 12 hours at
48 kHz and 16 bits; the write that would make it longer is refused, and what was written before
it stays good. .flac, .w64, .rf64 and .caf have no such bound.

A WAV may be read from a pipe. libsndfile then waits for whole blocks, so a reader may wait
50 ms longer than it was told to, or as long as the writer stops in the middle of a block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import select
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diode.carrier import sound
from diode.carrier.descriptor import open_file, write_all, write_failed
from diode.errors import CarrierError, DestinationError, UsageError
from diode.modem import MAX_RATE, MIN_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.url import CarrierFacts, CarrierUrl
    from diode.modem import F32

KEYS = sound.KEYS | {"bits", "channels"}

BITS = {"8": 1, "16": 2, "24": 3, "32": 4, "float": 4}
"""What `bits` may be, and the bytes of a sample."""
FORMATS = {
    "aif": "AIFF",
    "aifc": "AIFF",
    "oga": "OGG",
    "opus": "OGG",
    "snd": "AU",
    "wave": "WAV",
}
"""Suffixes that do not go by the name of their format."""
HEADERLESS = {"raw", "sd2"}
COMPRESSED = {"OGG", "MP3"}
"""Formats that have no number of bits."""
UNBOUNDED = {"FLAC", "W64", "RF64", "CAF"} | COMPRESSED
MOST = (1 << 32) - (1 << 16)
"""Bytes of sound in the other formats; what is missing to 4 GiB is for the header."""
BLOCK = 1 << 15
"""Frames read at a time from a file."""
PIPE_BLOCKS = 20
"""Blocks a second read from a pipe."""


def facts(url: CarrierUrl) -> CarrierFacts:
    """The modem's rate, and how it takes pieces."""
    _bits(url), _channels(url)
    return dataclasses.replace(sound.facts(url), waits=True)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundSender:
    """Sound to a file."""
    del notice, clock, sleep
    bits, channels, rate = _bits(url), _channels(url), sound.sample_rate(url)
    voice = sound.Voice(sound.modem_of(url, sound.SPEAKING), rate, sound.gain(url))
    return sound.SoundSender(WavSink(url.path, rate, bits, channels), voice)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundReceiver:
    """Sound from a file."""
    del sleep
    modem, channel = sound.modem_of(url, sound.LISTENING), sound.channel(url)
    source = WavSource(url.path, notice)
    try:
        sound.check_channel(url.path, channel, source.channels)
        ear = sound.Ear(modem, source.rate, channel)
    except BaseException:
        source.close()
        raise
    return sound.SoundReceiver(source, ear, clock=clock)


def _bits(url: CarrierUrl) -> str | None:
    return url.choice("bits", "16", BITS) if "bits" in url.query else None


def _channels(url: CarrierUrl) -> int:
    return url.whole("channels", 1, 1, 2)


def _soundfile() -> Any:
    """The module soundfile, which is an extra."""
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing
        raise CarrierError(
            f"sound files need soundfile, which cannot be loaded: {error}",
            hint="pip install 'diode-fec[audio]'",
        ) from error


# Writing ------------------------------------------------------------------------------------


class _Target(io.FileIO):
    """A file for libsndfile, into which no exception can pass: the error is kept instead."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            write_all(self.fileno(), memoryview(data))
        except OSError as error:
            self.error = error
            return 0
        return len(data)


class WavSink:
    """Writes samples to a sound file."""

    def __init__(self, path: str, rate: int, bits: str | None = None, channels: int = 1) -> None:
        """`rate` in Hz, `bits` one of BITS. Raises UsageError and CarrierError."""
        self._path = path
        self._soundfile = _soundfile()
        self._channels = channels
        kind, subtype = _kind(self._soundfile, path, bits)
        self._left = None if kind in UNBOUNDED else MOST // (channels * BITS[bits or "16"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        target = _Target(open_file(path, flags, "wav"), "w")
        try:
            _check_rewinds(path, target)
            self._sound = self._open(target, rate, kind, subtype)
        except BaseException:
            target.close()
            raise
        self._target: _Target | None = target

    def put(self, samples: F32) -> None:
        """Write the samples, the same ones to every channel. Raises DestinationError."""
        assert self._target is not None
        if self._left is not None:
            if len(samples) > self._left:
                other = Path(self._path).with_suffix(".flac")
                raise DestinationError(
                    f"{self._path}: a file of this kind holds no more than 4 GiB",
                    hint=f"name a .flac or .w64, such as wav:{other}",
                )
            self._left -= len(samples)
        try:
            self._sound.write(np.repeat(samples[:, None], self._channels, axis=1))
        except (AssertionError, self._soundfile.SoundFileError) as error:
            # soundfile asserts that everything was written; why it was not, the target knows
            if self._target.error is None:
                raise CarrierError(f"{self._path}: cannot be written: {error}") from error
        if self._target.error is not None:
            raise write_failed(self._path, self._target.error)

    def finish(self) -> None:
        """The file has everything but its header, which it gets when it is closed."""

    def close(self) -> None:
        """Complete the header and close. Raises DestinationError when there is no room for it."""
        target, self._target = self._target, None
        if target is None:
            return
        target.error = None
        self._shut(self._sound)
        try:
            target.close()
        except OSError as error:
            target.error = error
        if target.error is not None:
            raise write_failed(self._path, target.error)

    def _open(self, target: _Target, rate: int, kind: str, subtype: str | None) -> Any:
        """The sound file, its header written."""
        try:
            opened = self._soundfile.SoundFile(
                target, "w", samplerate=rate, channels=self._channels, format=kind, subtype=subtype
            )
        except self._soundfile.SoundFileError as error:
            if target.error is not None:
                raise write_failed(self._path, target.error) from error
            raise UsageError(
                f"{self._path}: {kind} at {rate} Hz cannot be written ({_reason(error)})",
                hint="write rate=48000, or name a .wav",
            ) from error
        if target.error is not None:
            self._shut(opened)
            raise write_failed(self._path, target.error)
        return opened

    def _shut(self, opened: Any) -> None:
        with contextlib.suppress(self._soundfile.SoundFileError):  # the target knows better
            opened.close()


def _kind(soundfile: Any, path: str, bits: str | None) -> tuple[str, str | None]:
    """What libsndfile calls the format for a suffix, and the samples. May raise UsageError."""
    suffix = Path(path).suffix[1:].lower()
    kind = FORMATS.get(suffix, suffix.upper())
    if suffix in HEADERLESS:
        raise UsageError(
            f"{path}: .{suffix} is sound without a header", hint=f"did you mean pcm:{path}?"
        )
    if kind not in soundfile.available_formats():
        kind = "WAV"
    if kind in COMPRESSED and bits is None:
        return kind, "OPUS" if suffix == "opus" else None
    takes = soundfile.available_subtypes(kind)
    for subtype in _subtypes(bits or "16"):
        if subtype in takes:
            return kind, subtype
    known = [each for each in BITS if any(subtype in takes for subtype in _subtypes(each))]
    raise UsageError(
        f"{path}: {kind} does not have bits={bits or 16}",
        hint=f"write bits={known[0]}" if known else "leave bits= out, or name a .wav",
    )


def _subtypes(bits: str) -> list[str]:
    names = {"8": ["PCM_U8", "PCM_S8"], "float": ["FLOAT"]}
    return names.get(bits, [f"PCM_{bits}"])


def _check_rewinds(path: str, target: _Target) -> None:
    if not target.seekable():
        raise CarrierError(
            f"{path} cannot be rewound, and a sound file has its length at the beginning",
            hint=f"raw samples need no header: pcm:{'-' if path == '/dev/stdout' else path}",
        )


# Reading ------------------------------------------------------------------------------------


class WavSource:
    """Reads samples from a sound file."""

    def __init__(self, path: str, notice: Callable[[str], None]) -> None:
        """Raises CarrierError."""
        self._path = path
        self._notice = notice
        self._soundfile = _soundfile()
        self._fd = open_file(path, os.O_RDONLY, "wav")
        try:
            self._pipe = _is_pipe(self._fd)
            self._sound = self._open()
            self.rate: int = self._sound.samplerate
            """Samples per second."""
            self.channels: int = self._sound.channels
            self._check()
        except BaseException:
            os.close(self._fd)
            raise
        self._block = self.rate // PIPE_BLOCKS if self._pipe else BLOCK
        self._broken = False

    def take(self, timeout: float | None) -> F32 | None:
        """The next block; what a file that ends early still has."""
        if self._pipe and not _readable(self._fd, timeout):
            return None
        block = np.zeros((self._block, self.channels), np.float32)
        if self._broken:
            return block[:0]
        try:
            found: F32 = self._sound.read(dtype="float32", always_2d=True, out=block)
        except self._soundfile.SoundFileError as error:
            # Damaged or cut off. How much of the block was read is not said; the rest is silence.
            self._broken = True
            self._notice(f"{self._path}: ends early ({_reason(error)}); hearing what is there")
            return block
        return found

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._sound.close()
            os.close(fd)

    def _open(self) -> Any:
        if not self._pipe and os.fstat(self._fd).st_size == 0:
            raise CarrierError(
                f"{self._path} is empty", hint="see what the program that wrote it said"
            )
        if self._pipe:
            _readable(self._fd, None)  # libsndfile's own waiting cannot be interrupted
        try:
            return self._soundfile.SoundFile(self._fd, closefd=False)
        except self._soundfile.SoundFileError as error:
            what = "brings no WAV" if self._pipe else "is not a sound file"
            raise CarrierError(
                f"{self._path} {what} that can be read ({_reason(error)})",
                hint=f"try: ffmpeg -i {self._path} sound.wav; line bytes are read by "
                f"file:{self._path}, bare samples by pcm:{self._path}",
            ) from error

    def _check(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise CarrierError(
                f"{self._path}: {self.rate} samples a second; {MIN_RATE} to {MAX_RATE} can be read",
                hint=f"convert it: sox {self._path} -r 48000 sound.wav",
            )
        if not self._pipe and self._sound.frames == 0:
            raise CarrierError(
                f"{self._path} holds no sound", hint="see what the program that wrote it said"
            )


def _reason(error: Any) -> str:
    """What libsndfile says, without its preambles."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


def _is_pipe(fd: int) -> bool:
    return not stat.S_ISREG(os.fstat(fd).st_mode)


def _readable(fd: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
