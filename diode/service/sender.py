"""The sending loop: transmitter -> line -> carrier, paced by the carrier."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import numpy as np

from diode import plan
from diode.errors import CarrierError
from diode.frame import CHECK, EMPTY, HEADER, Frames, join
from diode.service.logbook import Unlogged

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import SendingCarrier
    from diode.constant_rate import ConstantRate
    from diode.line import Encoder
    from diode.service.logbook import Log
    from diode.transmitter import Transmitter


FEW = 16
"""Batches, in a whole transmission, that are too few to be spread over time."""


def transmit(
    transmitter: Transmitter | ConstantRate,
    line: Encoder,
    carrier: SendingCarrier,
    *,
    batch: int = 0,
    log: Log | None = None,
    shown: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> None:
    """Send everything a transmitter has, and drain the carrier. `shown` is called now and then.

    batch: line bytes that the carrier wants in one piece, as far as there are any: pieces
    are collected until the next one would be too much. log: keeps how far the sending has come.

    A carrier without a rate runs on no clock at all, so that the same objects and state give
    the same bytes. KeyboardInterrupt comes through after the last heartbeat was sent.
    """
    if clock is None:
        clock = time.monotonic if carrier.rate else lambda: 0.0
    batch = _evened(transmitter, batch)
    log = log or Unlogged()
    waiting, progress = EMPTY, transmitter.progress
    try:
        while (frames := transmitter.step(clock())) is not None:
            pieces = line.encode(frames)
            progress.line_bytes += len(pieces.data)
            log.going(transmitter.frames_sent)
            log.handed(progress.line_bytes, transmitter.place)
            waiting = _write_full(carrier, join(waiting, pieces), batch)
            log.wrote(progress.line_bytes - len(waiting.data))
            shown()
    except KeyboardInterrupt:
        transmitter.stop()
        while (frames := transmitter.step(clock())) is not None:
            waiting = join(waiting, line.encode(frames))
        with contextlib.suppress(CarrierError):  # it may be the carrier that was waited for
            carrier.write(waiting)  # what was counted as sent, and the last words
        raise
    finally:
        shown()
    if len(waiting):
        carrier.write(waiting)
    carrier.drain()


def _evened(transmitter: Transmitter | ConstantRate, batch: int) -> int:
    """The batch for this transmission: a quarter where there would be only a few.

    What is handed over together stands or falls together; of a few, one outage takes too many.
    At a constant rate it is always the same.
    """
    link = transmitter.link
    if not batch or not link.rate or transmitter.settings.filled:
        return batch
    frame = plan.symbol_size(transmitter.settings, link, 0) + HEADER + CHECK
    expected = transmitter.progress.total_frames * link.line_bytes(min(frame, link.max_frame))
    return batch if expected >= FEW * batch else batch // 4


def _write_full(carrier: SendingCarrier, pieces: Frames, batch: int) -> Frames:
    """Write as many full batches as there are; the pieces that are left for the next."""
    if not batch:
        carrier.write(pieces)
        return EMPTY
    while len(pieces) and len(pieces.data) > batch:
        count = max(1, int(np.searchsorted(pieces.ends, batch, "right")))
        carrier.write(pieces.part(0, count))
        pieces = pieces.part(count, len(pieces))
    return pieces
