"""Constant rate: a transmitter whose every turn is the same number of frames of the same length.

    objects ─> Transmitter ─ what is ready ─┐
                                            ├─> turns of `count` frames ─> line ─> carrier's pace
                            idle frames ────┘

A turn takes what the transmitter has ready, waits for nothing, and fills the rest with idle
frames (wire 3.10): before the first object is there, while a disk is slow, between objects,
and behind the last one. So what goes to the line, and when, is the same whatever is sent; whoever
sees the line without reading frames learns when the transmission as a whole began and ended.

Objects come by a `Supply`, which is asked at every turn. A run is over when nothing more is to come
from it, nothing is left to send, and `linger` seconds of idle frames have gone by, reckoned in
frames: this module too knows no clock.

Idle frames carry random bits, always the same: zeros would make a lamp, or a level meter, show
another brightness than data do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.frame import EMPTY, Frames, Kind, join
from diode.on_air import OnAir
from diode.supply import Given, Supplied

if TYPE_CHECKING:
    from diode.frame import U8
    from diode.supply import Supply
    from diode.transmitter import Transmitter


class ConstantRate(OnAir):
    """Turns of the same number of frames of the same length.

    The transmitter's settings and link are those of `slots.filled`.
    """

    def __init__(
        self,
        transmitter: Transmitter,
        count: int,
        *,
        supply: Supply | None = None,
        linger: float | None = 0.0,
    ) -> None:
        """count: frames of a turn. linger: seconds of idleness at the end; None: until stopped."""
        link = transmitter.link
        assert transmitter.settings.filled
        assert link.rate
        super().__init__(transmitter, supply or Given())
        self._count = count
        slot = link.line_bytes(link.max_frame) / link.rate
        self._linger = math.inf if linger is None else math.ceil(linger / slot)
        self._idle = idle_rows(transmitter.sender, count, link.max_frame)
        self._left = EMPTY
        """What is numbered and belongs to the next turn."""
        self._begun = False
        self._closed = False
        """Whether no more objects will come."""
        self._over = False
        self._rested = 0
        """Frames of the turns that have gone since there was something to send."""

    @property
    def lanes(self) -> U8:
        """A constant rate has one lane."""
        return np.zeros(self._count, np.uint8)

    @property
    def resting(self) -> bool:
        """Whether everything has been sent, and only idle frames go on."""
        return self._rested > 0 and self._done

    def step(self, now: float) -> Frames | None:
        """The next turn: `count` frames. None after the one that ends with the last heartbeat."""
        if self._over:
            return None
        turn, self._left = self._left, EMPTY
        if not self._begun:
            self._begun = True
            turn = self._transmitter.first(now)
        idle, supplied = not len(turn), self._supply.poll()
        self._closed = supplied is Supplied.CLOSED
        while len(turn) < self._count:
            more = self._transmitter.heartbeat(now)
            if more is None and supplied is not Supplied.PREPARING:
                more = self._transmitter.ready(now, self._count - len(turn))
                idle = idle and more is None
            if more is None:
                turn = self._fill(turn, now)
                break
            turn = join(turn, more)
        self._rested = self._rested + self._count if idle and self._done else 0
        self._left = turn.part(self._count, len(turn))
        return turn.part(0, self._count)

    def wake_at(self) -> float:
        """Frames never fail to come before the end."""
        return 0.0

    def stop(self) -> None:
        """Send nothing more but a turn with the last heartbeat."""
        super().stop()
        self._linger = 0.0

    @property
    def _done(self) -> bool:
        """Whether nothing is left to send, nor will be."""
        return self._closed and self._transmitter.empty

    def _fill(self, turn: Frames, now: float) -> Frames:
        """What is missing of the turn: idle frames, and at the end of all the last heartbeat."""
        self._over = self._done and self._rested >= self._linger
        idle = self._count - len(turn) - self._over
        if idle:
            turn = join(turn, self._transmitter.idle(self._idle[:idle]))
        return join(turn, self._transmitter.last(now)) if self._over else turn


SEED = 0xD10DE


def idle_rows(sender: int, count: int, length: int) -> U8:
    """Idle frames, uint8 (count, length), all but their numbers and checks."""
    rows = frame.blank_rows(count, length - frame.HEADER - frame.CHECK)
    frame.fill_full(rows, Kind.IDLE, code=0, sender=sender, number=0, block=0, symbol=0)
    payload = frame.payload(rows)
    payload[:] = np.random.default_rng(SEED).integers(0, 256, payload.shape, np.uint8)
    return rows
