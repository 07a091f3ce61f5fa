"""How well one sender is heard: frames received and lost, object numbers seen and missing.

Loss is reckoned as RTP does (RFC 3550 A.3): the highest extended sequence number minus the
first, against the frames received. Only frames with all 16 bits of sequence are reckoned with
(every sender repeats manifests and heartbeats, and the last frame of a run is
a heartbeat), so the figure is right at each of those and lags a little in between. Of several
lanes (lanes.py) one may lag behind: what is under way there counts as lost until it comes, and
since each lane ends with a heartbeat, nothing of that is left in the end.
Duplicates made by the link count as received. A sender counts on over its restarts.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.frame import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diode.frame import U8

_BODY = slice(frame.HEADER, frame.HEADER + frame.HEARTBEAT.itemsize)
_OF_LANE = slice(_BODY.stop, _BODY.stop + frame.LANE.itemsize)

MAX_RANGES = 4096
"""Ranges of object numbers remembered for a sender; beyond, the oldest gaps are forgotten."""


@dataclass(slots=True)
class Reception:
    """What is known of one sender's transmission."""

    frames: int = 0
    """Frames received since the receiver began."""
    sent: int = 0
    """The sender's own count of frames, from its last heartbeat."""
    rate: int = 0
    """Line rate it stated, bytes per second; 0 where not known."""
    interval: float = 0.0
    """Seconds in which it promised its next heartbeat; 0 where not known."""
    uptime: int = 0
    """Seconds since its start, as it says."""
    queued: int = 0
    """Objects in its queue, as it says."""
    last_heard: float = 0.0
    """When any frame of it came last, monotonic seconds."""
    ended: bool = False
    """Whether its last heartbeat said that it is the last for now, and nothing came since."""
    number_of_pass: int = 0
    """Pass on air as of its last heartbeat, from 1; 0 where not known."""
    passes: int = 0
    """Passes it planned; 0 until stopped."""
    highest_used: int = 0
    """Highest object number its heartbeats told of."""
    seen: list[list[int]] = field(default_factory=list)
    """Ranges [first, last] of object numbers that something was heard of, in order."""
    changes: int = 0
    """Times that `seen` has become more."""
    _base: int | None = None
    _base_position: int = 0
    _highest: int = 0
    _received: int = 0  # since _base
    _reckoned: int = 0  # _received when a frame with all bits last came
    _fresh: bool = False  # whether anything came since the last `settle`
    _said_last: bool = False  # whether a heartbeat that came since then said that it is the last
    _pending: list[NDArray[np.int64]] = field(default_factory=list)

    def heard(self, sequence: NDArray[np.integer]) -> None:
        """Count frames with 16-bit sequence numbers."""
        self._fresh = True
        self.frames += len(sequence)
        self._received += len(sequence)
        self._pending.append(sequence.astype(np.int64))

    def settle(self, position: int, now: float = 0.0) -> None:
        """All frames of a receive call are counted: see how far the numbers have come.

        position: frames that the receiver has heard by now, of whatever sender. now: monotonic.
        """
        self.last_heard = now
        if self._fresh:
            self.ended, self._fresh, self._said_last = self._said_last, False, False
        if not self._pending:
            return
        sequence = np.concatenate(self._pending)
        self._pending.clear()
        first = self._base is None
        if first:
            self._highest = int(sequence[0])
        ahead = (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
        if first:
            self._base = self._highest + int(ahead.min())
            self._base_position = position
        leap = int(ahead.max())
        if leap > 0 or first:
            self._highest += leap
        self._reckoned = self._received

    def count(self, frames: int, position: int) -> None:
        """Count compact frames, whose 8 bits of sequence are too few to reckon with alone.

        position: frames that the receiver had heard when they came. What came in an earlier
        call than the first full frame lies before the reckoning.
        """
        self._fresh = True
        self.frames += frames
        if self._base is None or position >= self._base_position:
            self._received += frames

    def beat(self, beat: np.void, highest_used: int, *, last: bool = False) -> None:
        """Take in a heartbeat, a record of frame.HEARTBEAT, already counted by `heard`.

        last: whether it says that it is the last for now.
        """
        self._said_last = last
        self.uptime, self.queued = int(beat["uptime"]), int(beat["queue"])
        self.sent = int(beat["frames"])
        self.rate = int(beat["rate"])
        self.interval = int(beat["interval_ms"]) / 1000
        self.number_of_pass, self.passes = int(beat["pass"]), int(beat["passes"])
        self.highest_used = max(self.highest_used, highest_used)

    @property
    def lost(self) -> int:
        """Frames lost on the way, as far as known."""
        if self._base is None:
            return 0
        return max(0, self._highest - self._base + 1 - self._reckoned)

    def numbered(self, number: int) -> None:
        """An object of that number was heard of."""
        ranges = self.seen
        at = bisect.bisect_right(ranges, number, key=lambda r: r[0])
        if at and ranges[at - 1][1] >= number:
            return
        self.changes += 1
        if at and ranges[at - 1][1] == number - 1:
            ranges[at - 1][1] = number
            at -= 1
        else:
            ranges.insert(at, [number, number])
        if at + 1 < len(ranges) and ranges[at + 1][0] == number + 1:
            ranges[at][1] = ranges.pop(at + 1)[1]
        if len(ranges) > MAX_RANGES:
            ranges[0][1] = ranges.pop(1)[1]

    def gaps(self) -> list[tuple[int, int]]:
        """Ranges (first, last) of numbers used and never heard of, since the first one heard."""
        return missing(self.seen, self.highest_used)


def missing(seen: Sequence[Sequence[int]], highest: int) -> list[tuple[int, int]]:
    """Ranges (first, last) of numbers between these ranges, and from them up to the highest."""
    found = [(before[1] + 1, after[0] - 1) for before, after in itertools.pairwise(seen)]
    if seen and highest > seen[-1][1]:
        found.append((seen[-1][1] + 1, highest))
    return found


NOBODY = Reception()
"""Of a sender that was not heard yet."""


@dataclass(slots=True)
class LaneReception:
    """What is lost on one of several lanes, by what the heartbeats on it say (wire 3.4).

    Frames that are taken in together have no order, so what lies between two heartbeats is
    known but for those: rather some lost frames are missed than some counted that were not lost.
    """

    frames: int = 0
    """Frames found on the lane, of whatever sender."""
    _of: tuple[int, int] = (-1, -1)
    """The sender and the lane of which it is reckoned."""
    _base: int = 0
    _frames_before: int = 0
    """Frames found before the heartbeat that said `_base`."""
    _lost: int = 0
    """Since that heartbeat."""
    _lost_before: int = 0

    def heard(self, batches: list[U8]) -> None:
        """Take in what was found at one go, rows of frames whose checks are right."""
        before = self.frames
        self.frames += sum(map(len, batches))
        for rows in batches:
            if rows.shape[1] >= _OF_LANE.stop + frame.CHECK:
                for row in rows[rows[:, 0] & 0x0F == Kind.HEARTBEAT]:
                    self._beat(row, before)

    @property
    def lost(self) -> int:
        """Frames lost on the lane, as far as known."""
        return self._lost_before + max(0, self._lost)

    def _beat(self, row: U8, before: int) -> None:
        said = row[_OF_LANE].copy().view(frame.LANE)[0]
        if not said["lanes"]:
            return
        header = row[: frame.HEADER].copy().view(frame.FULL)[0]
        of, count = (int(header["sender"]), int(said["lane"])), int(said["frames"])
        if of != self._of or count < self._base or header["code"] == frame.Beat.FIRST:
            self._lost_before, self._lost = self.lost, 0
            self._of, self._base, self._frames_before = of, count, before
        # The heartbeat itself is one of the frames found, and none of those it counts.
        self._lost = count + 1 - self._base - (self.frames - self._frames_before)
