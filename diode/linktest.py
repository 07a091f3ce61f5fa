"""Link tests: frames whose every byte the receiver knows beforehand (wire 3.8).

A run is up to eight segments, each with its own line and, over sound, its own modem. A segment is
so many numbered frames of one length; what they carry follows from the run, the segment and the
number, so that a receiver that has heard any one of them knows what the others were, down to
the byte (`Segment.frames`), and can say what became of those that it did not get.

Frames are as long as data frames would be on that line: whether a frame is lost depends on its
length, and the loss that is measured is meant to be the loss of data frames. Only modems with
frames of their own are tested with their shortest ones, since of those enough fit into the time.

Both ends are here. `Tally` takes rows of checked frames in any order, any number of times, from
any number of runs; it is bounded whatever arrives, and takes no frame whose pattern is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame, plan, stamp
from diode.frame import Frames, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from diode.frame import I64, U8
    from diode.plan import Link

HEAD = np.dtype([("frames", "<u4"), ("rate", "<u4"), ("segments", "u1", (8,))])
"""What stands before the pattern in a payload (wire 3.8)."""
LINES = ("", "cobs", "rs", "datagram")
MODEMS = ("", "robust", "telephone", "cable", "bell103", "bell202", "fsk")
"""Names by number, as they stand in HEAD's segments."""
MAX_SEGMENTS = 8
MAX_FRAMES = 1 << 24
"""Frames of a segment at most: what a receiver keeps of one is 8 bytes."""
MAX_RUNS = 16
"""Runs that a receiver tells apart; more on one line are no test but an attack."""
MIN_FRAMES = 6
"""A handful: fewer say nothing, whatever the time."""
UNPACED_RATE = 1e6
"""Bytes per second at which time is reckoned on a carrier that has no rate."""
QUARTER = 4
"""Test frames in what a modem carries together: see above."""
ROOM = frame.HEADER + HEAD.itemsize + 8 + frame.CHECK
"""Shortest test frame: with fewer than 8 bytes of pattern it would test nothing."""

_GOLDEN = np.uint32(0x9E3779B9)


@dataclass(frozen=True, slots=True)
class Way:
    """How the frames of a segment travel. modem: empty where there is no sound."""

    line: str
    modem: str = ""

    @property
    def name(self) -> str:
        return f"{self.modem}, {self.line}" if self.modem else self.line


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a run."""

    run: int
    number: int
    ways: tuple[Way, ...]
    """Those of all segments of the run."""
    count: int
    """Frames in this one."""
    length: int
    """Bytes of each."""
    rate: int
    """Line bytes per second, 0 where nothing limits it."""

    @property
    def way(self) -> Way:
        return self.ways[self.number]

    def frames(self, first: int, last: int, count: int | None = None) -> Frames:
        """Frames first … last-1, ready for the line.

        count: how many frames to say that the segment has, where it was ended early.
        """
        numbers = np.arange(first, last, dtype=np.int64)
        rows = frame.blank_rows(len(numbers), self.length - frame.HEADER - frame.CHECK)
        frame.fill_full(
            rows,
            Kind.LINKTEST,
            code=0,
            sender=(self.run + self.number) & 0xFFFF_FFFF,
            number=self.number,
            block=numbers,
            symbol=0,
        )
        head = np.zeros(1, HEAD)
        head["frames"] = self.count if count is None else count
        head["rate"] = self.rate
        head["segments"][0, : len(self.ways)] = [_code(way) for way in self.ways]
        payload = frame.payload(rows)
        payload[:, : HEAD.itemsize] = head.view(np.uint8)
        payload[:, HEAD.itemsize :] = self.pattern(numbers)
        frames = Frames.of_rows(rows)
        stamp.stamp(frames, first)
        return frames

    def pattern(self, numbers: I64) -> U8:
        """The pseudo-random bytes of frames with these numbers, one row each."""
        return pattern(self.run, self.number, numbers, _pattern_bytes(self.length))


def _pattern_bytes(length: int) -> int:
    return length - frame.HEADER - HEAD.itemsize - frame.CHECK


def _code(way: Way) -> int:
    return LINES.index(way.line) << 4 | MODEMS.index(way.modem)


def _way(code: int) -> Way | None:
    line, modem = code >> 4, code & 15
    return Way(LINES[line], MODEMS[modem]) if line < len(LINES) and modem < len(MODEMS) else None


def _mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finalizer of MurmurHash3 (Appleby, public domain): every bit moves every other."""
    x = x ^ x >> np.uint32(16)
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ x >> np.uint32(13)
    x = x * np.uint32(0xC2B2AE35)
    mixed: NDArray[np.uint32] = x ^ x >> np.uint32(16)
    return mixed


def pattern(run: int, segment: int, numbers: I64, length: int) -> U8:
    """Pseudo-random bytes: uint8, shape (frames, length). A function of its arguments alone."""
    start = np.array([(run + segment * int(_GOLDEN)) & 0xFFFF_FFFF], np.uint32)
    seeds = _mix(start + _mix(numbers.astype(np.uint32)))
    steps = np.arange(1, -(-length // 4) + 1, dtype=np.uint32) * _GOLDEN
    words = _mix(seeds[:, None] + steps)
    return words.astype("<u4").view(np.uint8)[:, :length]


# Sending ------------------------------------------------------------------------------------


def segments(run: int, ways: Sequence[tuple[Way, Link]], seconds: float) -> list[Segment]:
    """The segments of a run of about that many seconds, shared evenly."""
    names = tuple(way for way, _ in ways)
    return [
        _segment(run, number, names, link, seconds / len(ways))
        for number, (_, link) in enumerate(ways)
    ]


def _segment(run: int, number: int, ways: tuple[Way, ...], link: Link, seconds: float) -> Segment:
    length = frame_length(link, QUARTER if ways[number].modem else 1)
    each = link.line_bytes(length) / (link.rate or UNPACED_RATE)
    count = min(MAX_FRAMES, max(MIN_FRAMES, int(seconds / each)))
    return Segment(run, number, ways, count, length, int(link.rate or 0))


def frame_length(link: Link, parts: int = 1) -> int:
    """Bytes of a test frame on that link: as many as a data frame has.

    parts: into how many frames to divide what the medium carries together.
    """
    if link.unit is not None:
        return max(ROOM, link.frame_room(link.unit // parts))
    header = frame.COMPACT_HEADER if link.compact else frame.HEADER
    whole = header + plan.symbol_size(plan.Settings(), link) + frame.CHECK
    return min(link.max_frame, max(ROOM, whole))


# Receiving ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Heard:
    """What came of one segment."""

    segment: Segment
    ended: int
    """Frames that the segment had in the end: fewer than planned where the sender was stopped."""
    highest: int = -1
    _numbers: list[I64] = field(default_factory=list)
    _kept: int = 0

    def add(self, numbers: I64) -> None:
        """Frames with these numbers were heard."""
        if self._kept < 2 * MAX_FRAMES:  # more can only be repeated
            self._numbers.append(numbers)
            self._kept += len(numbers)
        self.highest = max(self.highest, int(numbers.max()))

    @property
    def heard_any(self) -> bool:
        """Whether any frame with the right pattern came."""
        return self.highest >= 0

    def arrivals(self) -> I64:
        """The numbers of all frames heard, in the order they came."""
        self._numbers = [np.concatenate([np.empty(0, np.int64), *self._numbers])]
        return self._numbers[0]


class Tally:
    """Takes frames and keeps those of link tests apart by run and segment."""

    def __init__(self) -> None:
        self.runs: dict[int, dict[int, Heard]] = {}
        self.frames = 0
        self.others = 0
        """Valid frames that belong to no link test."""
        self.wrong = 0
        """Frames of kind link test that say what cannot be, or with a wrong pattern."""
        self.last: int | None = None
        """The run heard last."""

    def take(self, batches: Iterable[U8]) -> list[Heard]:
        """Count rows of checked frames; the segments that were among them, in order."""
        touched: list[Heard] = []
        for rows in batches:
            mine = rows[:, 0] == frame.VERSION << 4 | Kind.LINKTEST
            self.others += int((~mine).sum())
            if mine.any():
                touched += self._rows(np.ascontiguousarray(rows[mine]))
        return touched

    def _rows(self, rows: U8) -> list[Heard]:
        if rows.shape[1] < ROOM:
            self.wrong += len(rows)
            return []
        parsed = frame.parse_full(rows)
        runs = (parsed.sender - parsed.number).astype(np.int64) & 0xFFFF_FFFF
        keys = runs << 8 | np.minimum(parsed.number, 255)
        _, firsts = np.unique(keys, return_index=True)
        found = (self._part(parsed, keys == keys[at]) for at in np.sort(firsts).tolist())
        return [heard for heard in found if heard is not None]

    def _part(self, parsed: frame.Parsed, mask: frame.Bool) -> Heard | None:
        """Take in the frames of one segment."""
        which = np.flatnonzero(mask)
        heads = parsed.payload[which, : HEAD.itemsize].copy().view(HEAD)[:, 0]
        length = parsed.payload.shape[1] + frame.HEADER + frame.CHECK
        number = int(parsed.number[which[0]])
        run = (int(parsed.sender[which[0]]) - number) & 0xFFFF_FFFF
        segment = _read(heads[0], run, number, length)
        heard = self._heard(segment) if segment is not None else None
        if heard is None:
            self.wrong += len(which)
            return None
        numbers = parsed.block[which].astype(np.int64)
        known = heard.segment.pattern(numbers)
        body = parsed.payload[which, HEAD.itemsize :]
        right = (body == known).all(axis=1) if known.shape == body.shape else np.array([False])
        right = right & (numbers < MAX_FRAMES)
        self.wrong += len(which) - int(right.sum())
        if not right.any():
            return None
        self.frames += int(right.sum())
        heard.add(numbers[right])
        said = min(heard.ended, int(heads["frames"][right].min()))
        heard.ended = max(1, said, heard.highest + 1)
        self.last = run
        return heard

    def _heard(self, segment: Segment) -> Heard | None:
        if segment.run not in self.runs and len(self.runs) >= MAX_RUNS:
            return None
        run = self.runs.setdefault(segment.run, {})
        return run.setdefault(segment.number, Heard(segment, segment.count))


def _read(head: np.void, run: int, number: int, length: int) -> Segment | None:
    """The segment that a frame speaks of, None where that cannot be."""
    codes = head["segments"].tolist()
    ways = [_way(code) for code in codes if code]
    count = int(head["frames"])
    if None in ways or not 0 <= number < len(ways) or not 0 < count <= MAX_FRAMES:
        return None
    known = tuple(way for way in ways if way is not None)
    return Segment(run, number, known, count, length, int(head["rate"]))
