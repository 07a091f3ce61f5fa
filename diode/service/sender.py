"""The sending loop: transmitter -> line -> carrier, paced by the carrier."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import SendingCarrier
    from diode.line import Encoder
    from diode.transmitter import Transmitter


def transmit(
    transmitter: Transmitter,
    line: Encoder,
    carrier: SendingCarrier,
    *,
    shown: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> None:
    """Send everything a transmitter has, and drain the carrier. `shown` is called now and then.

    A carrier without a rate runs on no clock at all, so that the same objects and state give
    the same bytes. KeyboardInterrupt comes through after the last heartbeat was sent.
    """
    if clock is None:
        clock = time.monotonic if carrier.rate else lambda: 0.0
    try:
        while (frames := transmitter.step(clock())) is not None:
            pieces = line.encode(frames)
            carrier.write(pieces)
            transmitter.progress.line_bytes += len(pieces.data)
            shown()
    except KeyboardInterrupt:
        transmitter.stop()
        while (frames := transmitter.step(clock())) is not None:
            carrier.write(line.encode(frames))
        raise
    finally:
        shown()
    carrier.drain()
