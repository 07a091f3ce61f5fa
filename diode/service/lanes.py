"""What frames are sent on: a lane, which is a line with its carrier, or several lanes at a time.

    frames ─> Lane ─ line ─ batches ─> carrier           carriers pace by blocking

    frames ─┬─> queue ─> thread: Lane
            └─> queue ─> thread: Lane                    one thread for each of several

A carrier blocks in `write` until its line may have more, so of several each has a thread of its
own, and a short queue before it: while one is written, the next frames are there. Encoding is
done in these threads too; what takes its time there leaves the interpreter to the others.

A lane that is in trouble must not hold up the others. One that failed for good gets no more frames.
One that is away (a serial adapter pulled out, an interface without light: its carrier waits for
it in `write`) is known by a write that lasts much longer than its bytes do on the line; it gets no
more while its queue is full, and goes on when it is back. What a lane did not get is counted and
told. Only when there is no other lane left is one waited for, and an error what it would
be with one lane.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import plan
from diode.errors import CarrierError
from diode.frame import CHECK, EMPTY, HEADER, Frames, join
from diode.lanes import divided

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.carrier import SendingCarrier
    from diode.frame import U8
    from diode.line import Encoder
    from diode.service.turns import Turns

FEW = 16
"""Batches, in a whole transmission, that are too few to be spread over time."""
QUEUED = 2
"""Turns that wait for a lane: one that is written, and one that is there when that is done."""
AWAY = 2.0
"""Seconds that a write may take longer than its bytes do on the line before the lane counts as
away. All lanes stand still that long, once."""
SLACK = 2.0
"""Line time of a write, in those that its frames would take as they are: a line adds something."""
LOOK = 0.1
"""Seconds between two looks when no lane is there."""


class Outlet(Protocol):
    """What frames are sent on."""

    @property
    def rate(self) -> float | None:
        """Bytes per second of line time."""

    @property
    def line_bytes(self) -> int:
        """Bytes that the frames made on the line so far."""

    @property
    def taken(self) -> int:
        """So many frames, from the first one on, have been handed to carriers."""

    @property
    def tally(self) -> Sequence[Worked]:
        """What came of each of several lanes; nothing of one alone, which gets all or fails."""

    def begin(self, transmitter: Turns) -> None:
        """Before the first frames of this transmitter."""

    def put(self, frames: Frames, lanes: U8) -> None:
        """Send frames; blocks for pacing. lanes: which of several each goes on, (frames,)."""

    def flush(self) -> None:
        """Send what waits for a batch to be full: for now there is nothing more."""

    def finish(self) -> None:
        """The same at the end, and return when the last byte has left."""

    def last_words(self, frames: Frames, lanes: U8) -> None:
        """Send these and what waits as well as can be, without waiting for what is in trouble."""

    def close(self) -> None:
        """Do nothing more. The carriers are closed by whoever opened them."""


class Lane:
    """A line with its carrier."""

    tally: Sequence[Worked] = ()

    def __init__(
        self,
        line: Encoder,
        carrier: SendingCarrier,
        batch: int = 0,
        air_bytes: Callable[[float], float] = float,
    ) -> None:
        """batch: line bytes that the carrier wants in one piece, as far as there are any: pieces
        are collected until the next one would be too much. air_bytes: as `CarrierFacts` has it.
        """
        self.line_bytes = 0
        self.taken = 0
        self._line = line
        self._carrier = carrier
        self._batch = batch
        self._air_bytes = air_bytes
        self._put = 0
        self._waiting = EMPTY

    @property
    def rate(self) -> float | None:
        return self._carrier.rate

    def patience(self, frames: Frames) -> float:
        """Seconds in which these frames, and what waits for a batch to be full, are surely written
        if nothing is wrong.
        """
        if not self.rate:
            return math.inf
        bytes_ = len(self._waiting.data) + len(frames.data)
        return AWAY + SLACK * self._air_bytes(bytes_) / self.rate

    def begin(self, transmitter: Turns, share: float = 1.0) -> None:
        """share: of the transmitter's frames, what this lane gets."""
        self._batch = _evened(transmitter, self._batch, share)

    def put(self, frames: Frames, lanes: U8 | None = None) -> None:  # noqa: ARG002  all are for it
        """Encode frames, and write as many full batches as there are."""
        pieces = self._line.encode(frames)
        self.line_bytes += len(pieces.data)
        self._put += len(pieces)
        self._waiting = self._write_full(join(self._waiting, pieces))
        self.taken = self._put - len(self._waiting)

    def flush(self) -> None:
        if len(self._waiting):
            self._carrier.write(self._waiting)
            self.taken, self._waiting = self._put, EMPTY

    def finish(self) -> None:
        self.flush()
        self._carrier.drain()

    def last_words(self, frames: Frames, lanes: U8 | None = None) -> None:  # noqa: ARG002
        with contextlib.suppress(CarrierError):  # it may be the carrier that was waited for
            self._carrier.write(join(self._waiting, self._line.encode(frames)))
        self._waiting = EMPTY

    def close(self) -> None:
        """Nothing goes on beside."""

    def _write_full(self, pieces: Frames) -> Frames:
        """Write as many full batches as there are; the pieces that are left for the next."""
        if not self._batch:
            self._carrier.write(pieces)
            return EMPTY
        while len(pieces) and len(pieces.data) > self._batch:
            count = max(1, int(np.searchsorted(pieces.ends, self._batch, "right")))
            self._carrier.write(pieces.part(0, count))
            pieces = pieces.part(count, len(pieces))
        return pieces


def _evened(transmitter: Turns, batch: int, share: float) -> int:
    """The batch for this transmission: a quarter where there would be only a few.

    What is handed over together stands or falls together; of a few, one outage takes too many.
    At a constant rate it is always the same.
    """
    link = transmitter.link
    if not batch or not link.rate or transmitter.settings.filled:
        return batch
    frame = plan.symbol_size(transmitter.settings, link, 0) + HEADER + CHECK
    frames = transmitter.progress.total_frames * share
    expected = frames * link.line_bytes(min(frame, link.max_frame))
    return batch if expected >= FEW * batch else batch // 4


@dataclass(slots=True)
class Worked:
    """One of several lanes, and what its thread has come to."""

    lane: Lane
    name: str
    """How the operator knows it."""
    frames: int = 0
    """Frames that it got."""
    missed: int = 0
    """Frames that were meant for it and that it did not get."""
    gone: CarrierError | None = None
    """Why it gets no more."""
    over: bool = False
    """Whether its thread has ended."""
    told: bool = False
    """Whether the operator knows that it is away."""
    flush: bool = False
    """Whether what waits for a full batch is to be sent, once the queue is empty."""
    due: float = math.inf
    """When the write under way should be done."""
    queue: deque[Frames] = field(default_factory=deque)
    marks: deque[tuple[int, int]] = field(default_factory=deque)
    """Frames that it got, and up to which frame of all these come."""


class Lanes:
    """Several lanes at a time."""

    def __init__(
        self,
        lanes: Sequence[tuple[str, Lane]],
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """lanes: each with its name, in the order of the link's (lanes.py)."""
        self.tally = [Worked(lane, name) for name, lane in lanes]
        self.taken = 0
        self._notice = notice
        self._clock = clock
        self._frames = 0
        self._finishing = self._closing = False
        self._broken: BaseException | None = None
        """What ends it all: no trouble with a carrier, or with the last one."""
        self._changed = threading.Condition()

    @property
    def rate(self) -> float | None:
        rates = [one.lane.rate for one in self.tally]
        return None if None in rates else sum(rate or 0.0 for rate in rates)

    @property
    def line_bytes(self) -> int:
        return sum(one.lane.line_bytes for one in self.tally)

    def begin(self, transmitter: Turns) -> None:
        """Start a thread for each lane."""
        turns = transmitter.link.lanes
        for number, one in enumerate(self.tally):
            one.lane.begin(transmitter, turns.count(number) / len(turns))
            threading.Thread(target=self._work, args=(one,), name="lane", daemon=True).start()

    def put(self, frames: Frames, lanes: U8) -> None:
        """Raises CarrierError when no lane is left, what the last one failed with."""
        self._check()
        self._frames += len(frames)
        parts = divided(frames, lanes, len(self.tally))
        with self._changed:
            for one, part in zip(self.tally, parts, strict=True):
                if not len(part):
                    continue
                self._wait(one)
                self._hand(one, part, room=QUEUED)
            self._look()

    def flush(self) -> None:
        """Have every lane send what it has, in its own time."""
        self._check()
        with self._changed:
            for one in self.tally:
                one.flush = True
            self._look()
            self._changed.notify_all()

    def finish(self) -> None:
        """Raises CarrierError when none of the lanes has got to the end."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
            # Those that are away are given up when the others are done, unless there are none.
            while self._under_way or not any(one.over for one in self.tally if not one.gone):
                self._check()
                self._changed.wait(LOOK)
            self._give_up()

    def last_words(self, frames: Frames, lanes: U8) -> None:
        parts = divided(frames, lanes, len(self.tally))
        with self._changed:
            self._finishing = True
            for one, part in zip(self.tally, parts, strict=True):
                if len(part):
                    self._hand(one, part, room=QUEUED + 1)
            self._changed.notify_all()
            while self._under_way:
                self._changed.wait(LOOK)
            self._give_up()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    # Called with the lock held ----------------------------------------------------------------

    def _check(self) -> None:
        """Raise what ends it all."""
        if self._broken is not None:
            raise self._broken

    @property
    def _under_way(self) -> bool:
        """Whether lanes are at work, and none of these is away."""
        return any(not (one.over or self._away(one)) for one in self.tally)

    def _wait(self, one: Worked) -> None:
        """Until the lane has room, or is not to be waited for."""
        while len(one.queue) >= QUEUED and not one.over:
            self._check()
            others = (o for o in self.tally if o is not one)
            if self._away(one) and any(not (o.over or self._away(o)) for o in others):
                return
            self._changed.wait(LOOK)

    def _hand(self, one: Worked, part: Frames, room: int) -> None:
        """Put frames into a lane's queue, if it is there and has room."""
        if one.over or len(one.queue) >= room:
            one.missed += len(part)
            return
        one.queue.append(part)
        one.frames += len(part)
        one.marks.append((one.frames, self._frames))
        self._changed.notify_all()

    def _away(self, one: Worked) -> bool:
        return self._clock() > one.due

    def _look(self) -> None:
        """See how far the lanes have come that are there, and tell which are not."""
        reached = []
        for one in self.tally:
            while one.marks and one.marks[0][0] <= one.lane.taken:
                one.marks.popleft()
            away = one.gone is not None or self._away(one)
            missing = away and (one.missed > 0 or one.gone is not None)
            if not away:
                reached.append(one.marks[0][1] - 1 if one.marks else self._frames)
            if missing and not one.told:
                why = f": {one.gone}" if one.gone else ""
                self._notice(f"{one.name} is away, the others go on without it{why}")
            elif one.told and not away:
                self._notice(f"{one.name} is back, {one.missed:,} frames were not sent on it")
            one.told = missing
        self.taken = max(self.taken, min(reached, default=0))

    def _give_up(self) -> None:
        """What has not been written by now, nobody will wait for."""
        for one in self.tally:
            one.queue.clear()
            one.missed += one.frames - one.lane.taken
            one.frames = one.lane.taken
        self._look()

    # The threads ------------------------------------------------------------------------------

    def _work(self, one: Worked) -> None:
        """Write what is queued, until the end or until the carrier has failed."""
        try:
            while (frames := self._next(one)) is not None:
                if len(frames):
                    one.lane.put(frames)
                elif self._finishing:
                    one.lane.finish()
                    break
                else:
                    one.lane.flush()
        except CarrierError as error:
            self._failed(one, error)
        except BaseException as error:  # noqa: BLE001  it is raised where frames come from
            self._broken = error
        with self._changed:
            one.over, one.due = True, math.inf
            self._changed.notify_all()

    def _failed(self, one: Worked, error: CarrierError) -> None:
        with self._changed:
            one.gone = error
            if all(o.gone is not None for o in self.tally):
                self._broken = error

    def _next(self, one: Worked) -> Frames | None:
        """The next frames for a lane; EMPTY to flush and at the end, None when it is all over."""
        with self._changed:
            one.due = math.inf
            self._changed.notify_all()
            while not (one.queue or one.flush or self._finishing or self._closing):
                self._changed.wait()
            if self._closing:
                return None
            frames = one.queue.popleft() if one.queue else EMPTY
            one.flush = one.flush and len(frames) > 0
            one.due = self._clock() + one.lane.patience(frames)
            return frames
