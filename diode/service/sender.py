"""The sending loop: transmitter -> lanes, each a line and a carrier, paced by the carriers.

A transmitter that stays on air (standing.py) may have nothing to send for now. Then what waits for
a batch to be full is sent as it is, and the loop rests until there is more (`diode.wake.Wake`) or a
heartbeat is due.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode.frame import EMPTY, join
from diode.service.logbook import Unlogged

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import U8, Frames
    from diode.service.lanes import Outlet
    from diode.service.logbook import Log
    from diode.service.turns import Turns

LONGEST = 1.0
"""Seconds of a rest at most, after which `shown` is called again and a signal has been seen."""


class Rest(Protocol):
    """How the loop rests while there is nothing to send."""

    def wait(self, seconds: float) -> object:
        """Return after so long, or when there is something to be done."""


class Sleep:
    """Nobody brings anything meanwhile."""

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


def transmit(
    transmitter: Turns,
    outlet: Outlet,
    *,
    log: Log | None = None,
    rest: Rest | None = None,
    shown: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> None:
    """Send everything a transmitter has, and drain the carriers. `shown` is called now and then.

    log: keeps how far the sending has come. rest: how it waits for more to send.

    Without a rate nothing runs on a clock unless one is given, so that the same objects and state
    give the same bytes; what stays on air needs one. KeyboardInterrupt comes through after the last
    heartbeat was sent.
    """
    if clock is None:
        clock = time.monotonic if outlet.rate else lambda: 0.0
    log, rest = log or Unlogged(), rest or Sleep()
    progress = transmitter.progress
    with contextlib.closing(outlet):
        outlet.begin(transmitter)
        try:
            while (frames := transmitter.step(clock())) is not None:
                if not len(frames):
                    outlet.flush()
                    log.wrote(outlet.taken)
                    shown()
                    rest.wait(min(LONGEST, transmitter.wake_at() - clock()))
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
