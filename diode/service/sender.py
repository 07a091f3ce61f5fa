"""The sending loop: transmitter -> lanes, each a line and a carrier, paced by the carriers.

A transmitter that stays on air (standing.py) may have nothing to send for now. Then what waits for
a batch to be full is sent as it is, and the loop rests until the `Wake` rings or a heartbeat is
due.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import EMPTY, join
from diode.service.logbook import Unlogged

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import U8, Frames
    from diode.service.lanes import Outlet
    from diode.service.logbook import Log
    from diode.service.turns import Turns

REST = 1.0
"""Seconds of a rest at most, after which `shown` is called again and a signal has been seen."""


class Wake:
    """What whoever brings objects rings, so that a loop that rests goes on."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """There is something to be done. May be called by any thread, and by a signal handler."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Return when it was rung since the last time, or after so long."""
        self._rung.wait(max(0.0, seconds))
        self._rung.clear()


def transmit(
    transmitter: Turns,
    outlet: Outlet,
    *,
    log: Log | None = None,
    wake: Wake | None = None,
    shown: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> None:
    """Send everything a transmitter has, and drain the carriers. `shown` is called now and then.

    log: keeps how far the sending has come. wake: ends a rest.

    Without a rate nothing runs on a clock unless one is given, so that the same objects and state
    give the same bytes; what stays on air needs one. KeyboardInterrupt comes through after the last
    heartbeat was sent.
    """
    if clock is None:
        clock = time.monotonic if outlet.rate else lambda: 0.0
    log, wake = log or Unlogged(), wake or Wake()
    progress = transmitter.progress
    with contextlib.closing(outlet):
        outlet.begin(transmitter)
        try:
            while (frames := transmitter.step(clock())) is not None:
                if not len(frames):
                    outlet.flush()
                    log.wrote(outlet.taken)
                    shown()
                    wake.wait(min(REST, transmitter.wake_at() - clock()))
                    continue
                log.going(transmitter.frames_sent)
                log.handed(progress.line_frames, transmitter.place)
                outlet.put(frames, transmitter.lanes)
                progress.line_bytes = outlet.line_bytes
                log.wrote(outlet.taken)
                shown()
        except KeyboardInterrupt:
            transmitter.stop()
            outlet.last_words(*_last_frames(transmitter, clock))  # and what was counted as sent
            raise
        finally:
            shown()
        outlet.finish()


def _last_frames(transmitter: Turns, clock: Callable[[], float]) -> tuple[Frames, U8]:
    """What a transmitter that was stopped has to say, and on which lanes."""
    last, lanes = EMPTY, [transmitter.lanes[:0]]
    while (frames := transmitter.step(clock())) is not None:
        last = join(last, frames)
        lanes.append(transmitter.lanes)
    return last, np.concatenate(lanes)
