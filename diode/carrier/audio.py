"""The live sound carrier: `audio:?device=NAME&modem=cable`, on any card that PortAudio knows.

A sender opens an output stream and nothing else, a receiver an input stream and nothing else.
(PortAudio itself asks every device what it can do when it is loaded; with ALSA that opens
capture devices for a moment, without starting them.)

The card asks for samples in a thread of its own and cannot wait. Between it and us is a queue:
a sender fills it to at most LEAD seconds beyond what it has just made, and blocks; so the card
is the clock of the line. Where the queue runs dry, the card plays silence, and the operator is
told. A receiver's queue holds BACKLOG seconds. What the card, the system or we were too slow
for is lost, counted and told; nothing is put in its place, since a demodulator finds its
timing again.

`device` is a number or a part of a name, upper or lower case; without it the system's default
is taken. A card that cannot do `rate` is run at its own, with a notice: the modem does not
mind. A mono card is fed one channel, every other one two alike; one or two are listened to.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from diode.carrier import sound
from diode.carrier.soundcard import Card, Stream, find
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.url import CarrierFacts, CarrierUrl
    from diode.modem import F32

KEYS = sound.KEYS | {"device"}

LEAD = 0.5
"""Seconds of sound waiting to be played when more is made."""
PRIMED = 0.1
"""Seconds of sound in the queue before the card is started."""
STRETCH = 0.25
"""Seconds of sound made in one go, where the modem has no frames that are longer."""
BACKLOG = 30.0
"""Seconds of sound that may wait to be heard."""
QUIET = 10.0
"""Seconds between two notices of the same kind."""


def facts(url: CarrierUrl) -> CarrierFacts:
    """The modem's rate, and how it takes pieces."""
    _check_path(url)
    return replace(sound.facts(url), live=True)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundSender:
    """Open a card to play."""
    _check_path(url)
    modem, gain = sound.modem_of(url, sound.SPEAKING), sound.gain(url)
    card = find(url.query.get("device"), "output", sound.sample_rate(url), notice)
    voice = sound.Voice(modem, card.rate, gain, STRETCH)
    return sound.SoundSender(AudioSink(card, notice, clock, sleep), voice, modem.rate)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> sound.SoundReceiver:
    """Open a card to listen."""
    del sleep
    _check_path(url)
    modem, channel = sound.modem_of(url, sound.LISTENING), sound.channel(url)
    device, rate = url.query.get("device"), sound.sample_rate(url)
    card = find(device, "input", rate, notice, channels=channel or 2)
    sound.check_channel(card.name, channel, card.channels)
    ear = sound.Ear(modem, card.rate, channel)
    return sound.SoundReceiver(AudioSource(card, notice, clock), ear, rate=modem.rate, clock=clock)


def _check_path(url: CarrierUrl) -> None:
    if url.path:
        raise UsageError(
            f"{url}: audio has no path", hint=f"did you mean audio:?device={url.path}?"
        )


class _Notices:
    """Tells the operator how much was lost, not more often than every QUIET seconds."""

    def __init__(self, notice: Callable[[str], None], clock: Clock, figures: object) -> None:
        """`figures`: what they are while nothing was lost, which is no news."""
        self._notice = notice
        self._clock = clock
        self._told = figures
        self._next = clock()

    def tell(self, figures: object, text: Callable[[], str], *, now: bool = False) -> None:
        """Give notice if the figures are others than last time, and it is time (or `now`)."""
        if figures == self._told or not (now or self._clock() >= self._next):
            return
        self._told, self._next = figures, self._clock() + QUIET
        self._notice(text())


# Playing ------------------------------------------------------------------------------------


class AudioSink:
    """Plays samples on a card. It has no way to hear."""

    def __init__(
        self, card: Card, notice: Callable[[str], None], clock: Clock, sleep: Sleep
    ) -> None:
        """Raises CarrierError."""
        self._card = card
        self._clock, self._sleep = clock, sleep
        self._notices = _Notices(notice, clock, 0)
        self._queue: deque[F32] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._running = self._ending = False
        self.underruns = 0
        """How often the card had to play silence for want of samples."""
        self.silence = 0
        """Samples of silence played so."""
        self._stream: Stream | None = Stream(card, "OutputStream", self._fill, clock)

    def put(self, samples: F32) -> None:
        """Play the samples; returns when they are in the queue. Raises CarrierError."""
        stream = self._stream
        assert stream is not None
        while not self._room():
            stream.check()
        with self._changed:
            self._queue.append(samples)
            self._waiting += len(samples)
        if not self._running and self._waiting >= PRIMED * self._card.rate:
            self._start(stream)
        self._tell()

    def finish(self) -> None:
        """Return when the last sample has left the card. Raises CarrierError."""
        stream = self._stream
        if stream is None or not (self._running or self._waiting):
            return
        if not self._running:
            self._start(stream)
        self._ending = True
        while not stream.over.wait(0.2):
            stream.check()
        self._running = False
        if self._waiting:
            stream.check()  # over, but not by us
        self._sleep(min(stream.latency, 1.0))
        self._tell(now=True)

    def close(self) -> None:
        """Stop playing and let go of the card."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _start(self, stream: Stream) -> None:
        self._running, self._ending = True, False
        stream.start()

    def _room(self) -> bool:
        """Whether there is room for more, after some waiting for it."""
        limit = LEAD * self._card.rate
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting <= limit, 0.2)

    def _fill(self, out: F32, frames: int, _time: object, status: Any) -> None:
        """Called by the card for `frames` more samples: float32, shape (frames, channels)."""
        done = 0
        with self._changed:
            while done < frames and self._queue:
                part = self._queue.popleft()
                fits = part[: frames - done]
                out[done : done + len(fits)] = fits[:, None]
                if len(part) > len(fits):
                    self._queue.appendleft(part[len(fits) :])
                done += len(fits)
            self._waiting -= done
            self._changed.notify_all()
        out[done:] = 0
        if done < frames and self._ending:
            raise self._card.sounddevice.CallbackStop
        if done < frames or status.output_underflow:
            self.underruns += 1
            self.silence += frames - done

    def _tell(self, *, now: bool = False) -> None:
        self._notices.tell(
            self.underruns,
            lambda: (
                f"{self._card.name}: samples came too late {self.underruns} times, "
                f"so that silence went out in between, {self.silence / self._card.rate:.2g} s "
                "of it from here; the receiver takes it for loss"
            ),
            now=now,
        )


# Hearing ------------------------------------------------------------------------------------


class AudioSource:
    """Takes samples from a card. It has no way to play."""

    def __init__(self, card: Card, notice: Callable[[str], None], clock: Clock) -> None:
        """Raises CarrierError."""
        self._card = card
        self._clock = clock
        self._notices = _Notices(notice, clock, (0, 0))
        self._queue: deque[F32] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self.overruns = 0
        """How often the card had to drop samples."""
        self.lost = 0
        """Samples lost because we were too slow."""
        self._stream: Stream | None = Stream(card, "InputStream", self._come, clock)
        self._stream.start()

    def take(self, timeout: float | None) -> F32 | None:
        """What was heard, up to about a second of it. Raises CarrierError when the card is gone."""
        end = None if timeout is None else self._clock() + timeout
        while True:
            if frames := self._ready(0.2 if end is None else min(0.2, end - self._clock())):
                return np.concatenate(frames)
            if self._stream is None:
                return np.empty((0, self._card.channels), np.float32)
            self._stream.check()
            if end is not None and self._clock() >= end:
                return None

    def close(self) -> None:
        """Let go of the card."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _ready(self, wait: float) -> list[F32]:
        """The blocks that have come, after some waiting for the first one."""
        blocks: list[F32] = []
        count = 0
        with self._changed:
            self._changed.wait_for(lambda: self._queue, max(0.0, wait))
            while self._queue and count < self._card.rate:
                blocks.append(self._queue.popleft())
                count += len(blocks[-1])
            self._waiting -= count
        self._tell()
        return blocks

    def _come(self, heard: F32, frames: int, _time: object, status: Any) -> None:
        """Called by the card with samples, shape (frames, channels), which it will overwrite."""
        if status.input_overflow:
            self.overruns += 1
        with self._changed:
            if self._waiting + frames > BACKLOG * self._card.rate:
                self.lost += frames
                return
            self._queue.append(heard.copy())
            self._waiting += frames
            self._changed.notify_all()

    def _tell(self) -> None:
        self._notices.tell(
            (self.overruns, self.lost),
            lambda: (
                f"{self._card.name}: sound was lost, {self.overruns} times by the card, "
                f"{self.lost / self._card.rate:.2g} s here; this computer is too slow or too busy"
            ),
        )
