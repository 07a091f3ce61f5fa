"""The sending loop: transmitter -> lanes, each a line and a carrier, paced by the carriers."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import EMPTY, join
from diode.service.logbook import Unlogged

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.constant_rate import ConstantRate
    from diode.frame import U8, Frames
    from diode.service.lanes import Outlet
    from diode.service.logbook import Log
    from diode.transmitter import Transmitter


def transmit(
    transmitter: Transmitter | ConstantRate,
    outlet: Outlet,
    *,
    log: Log | None = None,
    shown: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> None:
    """Send everything a transmitter has, and drain the carriers. `shown` is called now and then.

    log: keeps how far the sending has come.

    Without a rate nothing runs on a clock at all, so that the same objects and state give
    the same bytes. KeyboardInterrupt comes through after the last heartbeat was sent.
    """
    if clock is None:
        clock = time.monotonic if outlet.rate else lambda: 0.0
    log = log or Unlogged()
    progress = transmitter.progress
    with contextlib.closing(outlet):
        outlet.begin(transmitter)
        try:
            while (frames := transmitter.step(clock())) is not None:
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


def _last_frames(
    transmitter: Transmitter | ConstantRate, clock: Callable[[], float]
) -> tuple[Frames, U8]:
    """What a transmitter that was stopped has to say, and on which lanes."""
    last, lanes = EMPTY, [transmitter.lanes[:0]]
    while (frames := transmitter.step(clock())) is not None:
        last = join(last, frames)
        lanes.append(transmitter.lanes)
    return last, np.concatenate(lanes)
