"""The loops of a link test: segments -> line -> carrier, and carrier -> line -> tally.

Sending: every segment with an encoder of its own, over sound with its own modem. A sender that is
stopped says so in some last frames, since otherwise what it did not send would look lost.

Receiving: all lines are listened to at once, for each segment has its own. Beside the frames the
raw bytes of the beginning of each segment are kept (`TAP`), to be compared with what was sent when
it is over. Without `idle` the listener waits for a test as long as it takes, and then
until the last frame has come or nothing more comes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import line
from diode.advice import Level
from diode.alignment import Damage, compare
from diode.frame import flat, portions
from diode.linkstats import Losses, losses
from diode.linktest import MAX_SEGMENTS, Heard, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from diode.carrier import ReceivingCarrier, SendingCarrier
    from diode.frame import U8, Received
    from diode.line import Decoder
    from diode.linktest import Segment

TAP = 1 << 20
"""Raw bytes kept of each segment: enough for eight flipped bits at 1e-6."""
MAX_TAPS = 2 * MAX_SEGMENTS
"""Segments of which they are kept; more come of no honest sender."""
PIECE = 1 << 16
SLICE = 1 << 15
"""Bytes of frames made at a time."""
SLICE_SECONDS = 0.05
FAREWELL = 3
"""Frames that tell of an early end."""
MARGIN = 64
"""Frames beyond those heard that are compared with the raw bytes as well."""
WAIT = 0.5
AFTER = 1.0
"""Seconds in which something late may still come behind the last frame."""
SILENCE, SOUND_SILENCE = 5.0, 15.0
"""Seconds after which a test that has begun is over."""
LONGEST_SILENCE = 120.0
"""The same on a line so slow that some frames take longer; it is the sender who says how slow."""
LONG_ENOUGH = 2.0
"""Seconds of frames from which on their time says something about clocks."""
LUMP = 0.050
"""Seconds of line that arrive at once: what a sender keeps ahead of its line."""
SYNCHRONOUS = {"robust", "telephone", "cable"}
"""Modems with frames of their own, which let no wrong byte through. Nor do datagrams."""


# Sending ------------------------------------------------------------------------------------


def play(
    segments: Sequence[Segment],
    carrier: SendingCarrier,
    *,
    change: Callable[[str], object],
    shown: Callable[[int], object] = lambda _: None,
) -> None:
    """Send these segments. `change` is called with the modem of each, `shown` with frames sent.

    KeyboardInterrupt comes through when the farewell is out.
    """
    for segment in segments:
        encoder = line.encoder(segment.way.line)
        if segment.way.modem:
            change(segment.way.modem)
        step = _step(segment)
        done = 0
        try:
            while done < segment.count:
                last = min(segment.count, done + step)
                carrier.write(encoder.encode(segment.frames(done, last)))
                shown(last - done)
                done = last
        except KeyboardInterrupt:
            # What of the last call went out nobody knows, nor whether it ended amid a frame: so
            # it goes out again, from an encoder that begins anew.
            end = min(segment.count, done + step)
            first = min(done, max(0, end - FAREWELL))
            again = line.encoder(segment.way.line)
            carrier.write(again.encode(segment.frames(first, end, end)))
            carrier.drain()
            raise
    carrier.drain()


def _step(segment: Segment) -> int:
    """Frames in one call: few enough that a stop is prompt; of a synchronous modem one a frame."""
    if segment.way.modem in SYNCHRONOUS:
        return 1
    room = min(SLICE, segment.rate * SLICE_SECONDS) if segment.rate else SLICE
    return max(1, int(room / segment.length))


# Receiving ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Part:
    """What is kept of one segment while it is heard."""

    heard: Heard
    tap: bytearray = field(default_factory=bytearray)
    times: list[tuple[float, int]] = field(default_factory=list)
    """When frames came first and last, and the highest number until then."""
    levels: list[Level] = field(default_factory=list)
    ppm: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clock:
    """How much faster than stated the sender's clock runs, and how far that may be off, in ppm."""

    ppm: float
    give: float


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one segment in the end."""

    heard: Heard
    losses: Losses
    damage: Damage | None
    """None where the line does not let it be seen."""
    level: Level | None
    clock: Clock | None
    """None where it cannot be told."""


@dataclass(slots=True)
class Listener:
    """One run of a listening end."""

    carrier: ReceivingCarrier
    idle: float | None = None
    line: str = line.AUTO
    clock: Callable[[], float] = time.monotonic
    sample: Callable[[], tuple[Level, float | None] | None] = lambda: None
    """The level of the sound and the offset of its clock, where there is sound."""
    shown: Callable[[], object] = lambda: None
    tally: Tally = field(default_factory=Tally)
    line_bytes: int = 0
    stopped: bool = False
    _parts: dict[tuple[int, int], Part] = field(default_factory=dict)
    _current: Part | None = None
    _last: float = 0.0

    def run(self) -> None:
        """Listen until the carrier ends, or the test does, or there is silence for long enough."""
        names = line.LINES if self.line == line.AUTO else [self.line]
        decoders = [line.decoder(name) for name in names]
        self._last = self.clock()
        while not self.stopped:
            allowed = self._allowed()
            data = self.carrier.read(WAIT if allowed is None else min(WAIT, allowed))
            if isinstance(data, bytes) and not data:
                self._take(decoder.flush() for decoder in decoders)
                return
            for portion in portions(data or b"", PIECE):
                self._hear(decoders, portion)
            self.shown()
            if allowed is not None and self.clock() - self._last >= allowed:
                return

    def stop(self) -> None:
        """Make `run` return soon. May be called by a signal handler."""
        self.stopped = True

    def results(self) -> list[Result]:
        """What there is to say of the run heard last; segments in order. Empty without any."""
        run = self.tally.last
        if run is None:
            return []
        found = self.tally.runs[run]
        return [self._result(run, number) for number in sorted(found) if found[number].heard_any]

    def _allowed(self) -> float | None:
        """Seconds of silence after which it is over; None: any."""
        if self._current is None:
            return self.idle
        segment = self._current.heard.segment
        last = segment.number == len(segment.ways) - 1
        if last and self._current.heard.highest >= self._current.heard.ended - 1:
            return AFTER
        if self.idle is not None:
            return self.idle
        if segment.way.modem:
            return SOUND_SILENCE
        frames = 4 * segment.length / segment.rate if segment.rate else 0.0
        return min(LONGEST_SILENCE, max(SILENCE, frames))

    def _hear(self, decoders: Sequence[Decoder], data: Received) -> None:
        self.line_bytes += len(flat(data))
        before = self._current
        touched = self._take(decoder.feed(data) for decoder in decoders)
        for part in {id(p): p for p in [before, *touched] if p is not None}.values():
            way = part.heard.segment.way
            wanted = way.modem not in SYNCHRONOUS and way.line != line.DATAGRAM
            if wanted and len(part.tap) < TAP and len(self._parts) <= MAX_TAPS:
                part.tap += flat(data).data

    def _take(self, batches: Iterable[list[U8]]) -> list[Part]:
        """Count frames; the segments that were among them."""
        touched = []
        for rows in batches:
            for heard in self.tally.take(rows):
                segment = heard.segment
                part = self._parts.setdefault((segment.run, segment.number), Part(heard))
                self._note(part)
                touched.append(part)
        return touched

    def _note(self, part: Part) -> None:
        """Frames of that segment have come just now."""
        now = self._last = self.clock()
        self._current = part
        part.times[1:] = [(now, part.heard.highest)]
        if (sampled := self.sample()) is not None:
            level, ppm = sampled
            part.levels.append(level)
            part.ppm += [] if ppm is None else [ppm]

    def _result(self, run: int, number: int) -> Result:
        heard = self.tally.runs[run][number]
        part = self._parts.get((run, number), Part(heard))
        first = number == min(n for n, other in self.tally.runs[run].items() if other.heard_any)
        cut = self.stopped and part is self._current
        count = heard.highest + 1 if cut else heard.ended
        return Result(
            heard,
            losses(heard.arrivals(), count, late=first),
            _damage(part) if part.tap else None,
            _level(part.levels),
            self._clock(part),
        )

    def _clock(self, part: Part) -> Clock | None:
        """What the modem says; else from the time that frames took, where a carrier takes time.

        Where frames are lost there is no telling whether they took time, so then not.
        """
        if part.ppm:
            return Clock(float(np.median(part.ppm)), (max(part.ppm) - min(part.ppm)) / 2)
        segment = part.heard.segment
        if self.carrier.rate is None or not segment.rate or part.levels or len(part.times) < 2:
            return None
        if segment.way.line == line.DATAGRAM:  # paced by a program, not by a line
            return None
        (began, first), (ended, last) = part.times
        each = line.encoder(segment.way.line).line_bytes(segment.length)
        expected, took = (last - first) * each / segment.rate, ended - began
        between = np.unique(part.heard.arrivals())
        whole = int(((between > first) & (between <= last)).sum()) == last - first
        if not whole or expected < LONG_ENOUGH or took < expected / 2:
            return None
        return Clock((expected / took - 1) * 1e6, LUMP / took * 1e6)


def _damage(part: Part) -> Damage | None:
    """What became of the bytes of a segment, as far as they were kept."""
    heard, segment = part.heard, part.heard.segment
    encoder = line.encoder(segment.way.line)
    if segment.length > encoder.max_frame:  # said by a sender that is none
        return None
    numbers = heard.arrivals()
    first = max(0, int(numbers.min()) - MARGIN)
    fits = int(len(part.tap) / encoder.line_bytes(segment.length))
    last = min(heard.ended, heard.highest + 1 + MARGIN, first + 2 * fits + 2 * MARGIN)
    sent = encoder.encode(segment.frames(first, last))
    return compare(sent.data, sent.ends, np.frombuffer(bytes(part.tap), np.uint8))


def _level(levels: Sequence[Level]) -> Level | None:
    """One for all: the worst peak and clipping, otherwise what was usual."""
    if not levels:
        return None
    known = [level.snr_db for level in levels if level.snr_db is not None]
    return Level(
        float(np.median([level.level_db for level in levels])),
        max(level.peak_db for level in levels),
        max(level.clipped for level in levels),
        float(np.median([level.dc for level in levels])),
        float(np.median([level.hum_db for level in levels])),
        float(np.median(known)) if known else None,
    )
