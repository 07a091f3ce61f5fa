"""The synchronous modem: pieces of the line in frames of tones (wire 7.2).

    chirp | header symbol | 32, 64, 96 or 128 symbols of data

A frame takes as many whole pieces of the line as fit, filled up with zeros (which a COBS line
passes over); they are the information of one word of the inner code (ldpc.py), whose symbols are
then scattered over the frame, so that a bark takes a few from everywhere. The header symbol says
the length, in every group once.

The demodulator waits for chirps, and where one frame ends it expects the next even if its chirp
is not heard. For each it reads the header, waits for the whole frame, and tries in turn, until the
inner code finds a word: with the clock offset of the frame before; with sound moved inside the
frame (timing.py); with the offset that fits best. What does not come out is lost, and the
erasure code above makes up for it. So a byte that is handed up is right, but for one frame
in very many, which the line's check refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.modem import Signal, timing, words
from diode.modem.chirp import Finder, Found, chirp
from diode.modem.profile import CLASS_SYMBOLS, CLASSES, Profile, class_for
from diode.modem.resample import resampler
from diode.modem.soft import Level
from diode.modem.tones import RMS, energies, raised, synthesise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from diode.frame import U8, Frames
    from diode.modem import F32

    Index = NDArray[np.int64]

LEAD_IN = 0.6
"""Seconds of meaningless symbols before the first frame, for sound cards that wake up late."""
TAIL = 0.5
"""Seconds of silence behind the last one, for those that stop early."""

_PLAUSIBLE = 12.0
"""Nats below the likeliest class of a header down to which others are tried too."""
_MISSES = 2
"""Frames that may be expected in a row without being found."""
_CERTAIN = 0.12
"""Share of the energy from which on a chirp counts as one, and its frame as lost."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One frame that was looked for, as a demodulator tells it to whoever watches."""

    start: float
    """Seconds since the beginning, on the receiver's clock."""
    length: float
    found: bool
    size: int
    sound: F32
    """The band's samples, from a symbol before the data to one behind it; empty if not found."""
    ppm: float


def _unwatched(attempt: Attempt) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Mfsk:
    """A synchronous modem, made from its profile."""

    profile: Profile

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def rate(self) -> float:
        """Line bytes per second."""
        return self.profile.byte_rate

    @property
    def max_piece(self) -> int:
        return self.profile.room(CLASSES)

    @property
    def batch(self) -> int:
        return self.profile.room(CLASSES)

    def air_bytes(self, piece: float) -> float:
        """Line time of a piece: its part of the longest frame, or a shorter one of its own."""
        largest = self.max_piece
        if piece > largest:
            whole = math.ceil(piece / largest) - 1
            return whole * largest + self._alone(piece - whole * largest)
        together = int(largest // max(piece, 1))
        return min(largest / together, self._alone(piece))

    def _alone(self, piece: float) -> float:
        """Line time of a piece in a frame of its own."""
        samples = self.profile.frame(class_for(self.profile, math.ceil(piece)))
        return samples * self.rate / self.profile.rate

    def modulator(self, sample_rate: int) -> Modulator:
        return Modulator(self.profile, sample_rate)

    def demodulator(self, sample_rate: int) -> Demodulator:
        return Demodulator(self.profile, sample_rate)


class Modulator:
    """Pieces of the line to samples."""

    def __init__(self, profile: Profile, sample_rate: int) -> None:
        self._profile = profile
        self._resampler = resampler(profile.rate, sample_rate)

    def begin(self) -> F32:
        profile = self._profile
        symbols = math.ceil(LEAD_IN * profile.rate / profile.symbol)
        # the last ones: the first ones would be a frame of zeros, where one is expected
        values = words.scrambler(profile.groups)[-symbols:]
        return self._converted(synthesise(profile, values, raised(symbols)))

    def modulate(self, pieces: Frames) -> F32:
        sounds = [self._frame(content) for content in words.packed(self._profile, pieces)]
        return self._converted(np.concatenate([*sounds, np.empty(0, np.float32)]))

    def end(self) -> F32:
        silence = np.zeros(int(TAIL * self._profile.rate), np.float32)
        last = self._converted(silence)
        return np.concatenate([last, np.clip(self._resampler.flush(), -1, 1)])

    def _converted(self, samples: F32) -> F32:
        """At the rate asked for; what is clipped to full scale is above it in between."""
        return np.clip(self._resampler.feed(samples), -1, 1)

    def _frame(self, content: U8) -> F32:
        profile = self._profile
        values = words.encode(profile, content)
        higher = np.concatenate([[False], raised(len(values) - 1)])
        sweep = chirp(profile).real * np.float32(RMS * math.sqrt(2))
        return np.concatenate([sweep.astype(np.float32), synthesise(profile, values, higher)])


class Demodulator:
    """Samples to pieces of the line, streaming."""

    def __init__(self, profile: Profile, sample_rate: int) -> None:
        self.signal = Signal(profile.name)
        self.watch: Callable[[Attempt], None] = _unwatched
        self._profile = profile
        self._resampler = resampler(sample_rate, profile.rate)
        self._finder = Finder(profile)
        self._margin = int(timing.REACH * profile.rate) + profile.symbol
        self._sound = np.zeros(self._margin, np.float32)  # filtered, from place _base on
        self._base = -self._margin
        self._found: list[Found] = []
        self._expected: float | None = None
        self._misses = 0
        self._ppm = 0.0
        self._locked = False
        self._searched_to = 0  # place up to which the costly searches have been spent
        self._searched_at = -1  # the last place where they were made
        self._size = CLASSES  # of the last frame

    def feed(self, samples: F32) -> bytes:
        """The line bytes that these samples complete."""
        return self._hear(self._resampler.feed(samples))

    def flush(self) -> bytes:
        """The sound has ended; what is missing of the last frame is taken for silence."""
        rest = self._resampler.flush()
        longest = self._profile.frame(CLASSES) + 2 * self._margin
        # twice, since a frame that fails may hide another one
        silence = np.zeros(2 * longest, np.float32)
        out = self._hear(np.concatenate([rest, silence]))
        self.signal.carrier = False
        return out

    def _hear(self, samples: F32) -> bytes:
        sound, found = self._finder.feed(samples)
        if len(sound):
            self._sound = np.concatenate([self._sound, sound])
            self._found += found
        out = []
        while (content := self._next()) is not None:
            out.append(content)
        self._forget()
        return b"".join(out)

    @property
    def _heard(self) -> int:
        """The place up to which there is sound."""
        return self._base + len(self._sound)

    def _next(self) -> bytes | None:
        """The content of the next frame, empty if it is lost; None while more must be heard."""
        here = self._candidate()
        if here is None or self._heard < here.place + self._profile.frame(1) + self._margin:
            self.signal.carrier = here is not None
            return None
        sizes = self._sizes(here)
        if self._heard < here.place + self._profile.frame(max(sizes)) + self._margin:
            self.signal.carrier = True
            return None
        if here in self._found:
            self._found.remove(here)
        for size in sizes:
            content = self._decode(here.place, size)
            if content is not None:
                return content
        self._miss(here, sizes[0])
        return b""

    def _candidate(self) -> Found | None:
        """The next place where a frame may begin; None while that is not settled."""
        near = self._profile.chirp // 8
        first = self._found[0] if self._found else None
        if self._expected is None:
            return first
        if first is not None and first.place <= self._expected + near:
            if first.place >= self._expected - near:
                self._expected = None
            return first
        if self._finder.settled <= self._expected + near:
            return None
        here = Found(round(self._expected), 0.0)
        self._expected = None
        self._found.insert(0, here)
        return here

    def _sizes(self, here: Found) -> list[int]:
        """The classes that a header may mean, the likeliest first."""
        profile = self._profile
        start = here.place - self._base + profile.chirp / (1 + self._ppm * 1e-6)
        starts = timing.places(profile, start, 1 + CLASS_SYMBOLS, self._ppm)
        higher = np.concatenate([[False], raised(CLASS_SYMBOLS)])
        energy = energies(profile, self._sound, starts, self._ppm, higher)
        logarithms = Level.of(profile, energy).logarithms(energy[:1])[0]
        groups = np.arange(profile.groups)
        weight = [
            float(logarithms[groups, words.header(profile, size)].sum())
            for size in range(1, CLASSES + 1)
        ]
        best = max(weight)
        sizes = [s for s in range(1, CLASSES + 1) if weight[s - 1] >= best - _PLAUSIBLE]
        return sorted(sizes, key=lambda s: (-weight[s - 1], s != self._size))

    def _decode(self, place: int, size: int) -> bytes | None:
        """The content of the frame of that class there, if it comes out."""
        profile, symbols = self._profile, size * CLASS_SYMBOLS
        higher = raised(symbols)
        start = place - self._base + profile.preamble / (1 + self._ppm * 1e-6)
        if self._locked:
            starts = timing.places(profile, start, symbols, self._ppm)
            content = self._content(energies(profile, self._sound, starts, self._ppm, higher))
            if content is not None:
                self._ppm = timing.refine(profile, self._sound, start, symbols, self._ppm)
                return self._taken(content, size, float(starts[-1]))
        if not self._may_search(place):
            return None
        if self._locked:
            starts, energy = timing.track(profile, self._sound, start, symbols, self._ppm)
            content = self._content(energy)
            if content is not None:
                return self._taken(content, size, float(starts[-1]))
        ppm = timing.search(profile, self._sound, start, symbols, self._ppm)
        start = place - self._base + profile.preamble / (1 + ppm * 1e-6)
        starts = timing.places(profile, start, symbols, ppm)
        content = self._content(energies(profile, self._sound, starts, ppm, higher))
        if content is None:
            starts, energy = timing.track(profile, self._sound, start, symbols, ppm)
            content = self._content(energy)
        if content is None:
            return None
        self._ppm, self._locked = ppm, True
        return self._taken(content, size, float(starts[-1]))

    def _may_search(self, place: int) -> bool:
        """Whether the costly searches are affordable there: two for the time of a short frame.

        One more is free, so that a false chirp does not hide the true one behind it.
        """
        frame = self._profile.frame(1)
        if place == self._searched_at or place < self._searched_to - frame:
            return False
        self._searched_at = place
        self._searched_to = max(self._searched_to, place) + frame // 2
        return True

    def _content(self, energy: F32) -> bytes | None:
        """What the energies of a frame's data symbols, (symbols, tones), say, if it comes out."""
        level = Level.of(self._profile, energy)
        decoded = words.decode(self._profile, level.logarithms(energy))
        if decoded is None:
            return None
        self.signal.snr_db = 10 * math.log10(max(level.snr, 1e-3))
        self.signal.error_rate = decoded.error_rate
        return decoded.content

    def _taken(self, content: bytes, size: int, last: float) -> bytes:
        """Bookkeeping behind a frame that came out; its content."""
        profile, signal = self._profile, self.signal
        end = self._base + last - profile.guard / 2 + profile.symbol / (1 + self._ppm * 1e-6)
        self._tell(end - profile.frame(size), size, found=True)
        self._found = [found for found in self._found if found.place > end - profile.chirp // 4]
        self._expected, self._misses, self._size = end, 0, size
        signal.found += 1
        signal.clock_ppm = self._ppm
        signal.offset_hz = (profile.low + profile.high) / 2 * self._ppm * 1e-6
        signal.carrier = True
        return content

    def _miss(self, here: Found, size: int) -> None:
        """A frame did not come out: count it, and expect the one behind it."""
        if here.share >= _CERTAIN:
            self.signal.lost += 1
            self._tell(here.place, size, found=False)
        self._misses += 1
        if self._expected is None and self._misses <= _MISSES and self._locked:
            self._expected = here.place + self._profile.frame(size) / (1 + self._ppm * 1e-6)

    def _tell(self, place: float, size: int, *, found: bool) -> None:
        if self.watch is _unwatched:
            return
        profile = self._profile
        sound = np.empty(0, np.float32)
        if found:
            first = max(0, round(place) + profile.preamble - profile.symbol - self._base)
            data = (size * CLASS_SYMBOLS + 2) * profile.symbol
            sound = self._sound[first : first + data].copy()
        self.watch(
            Attempt(
                place / profile.rate,
                profile.frame(size) / profile.rate,
                found,
                size,
                sound,
                self._ppm,
            )
        )

    def _forget(self) -> None:
        """Let go of sound that no frame can need any more."""
        needed = self._finder.settled
        if self._found:
            needed = min(needed, self._found[0].place)
        if self._expected is not None:
            needed = min(needed, int(self._expected))
        drop = needed - self._margin - self._profile.chirp - self._base
        if drop > self._profile.rate:
            self._sound = self._sound[drop:].copy()
            self._base += drop
