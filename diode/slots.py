"""Slots: what makes all frames of a transmission one length, for a constant rate (wire 3.10).

At a constant rate the line carries one frame after the other, each in a slot of the same size, and
idle frames where there is nothing to say. No frame is padded for that: all of them can be
made as long as the longest one.

    data        symbols of one size for all objects, the last one of an object filled with zeros,
                which is where a block's zeros are anyway; 12 bytes longer behind a compact header
    manifest    an announcement ends in zeros (wire 5.1)
    heartbeat   may be longer than what is known of it (wire 3.4)
    idle        any length

So the length of a frame follows from the settings and the link, and from nothing that is sent. What
a line makes of equal frames differs by a few bytes; line/slots.py evens that out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diode import frame, plan
from diode.code import by_name
from diode.errors import UsageError

if TYPE_CHECKING:
    from diode.plan import Link, Settings

TURN_SECONDS = 0.05
"""Line time of the slots that are filled together: how late a frame may be for being ready just
behind them."""
TURN_BYTES = 256 << 10
"""Most bytes of these: fits a processor's cache."""
SHORTEST = frame.HEADER + frame.HEARTBEAT.itemsize + frame.CHECK
"""A heartbeat must fit."""


def filled(settings: Settings, link: Link) -> tuple[Settings, Link]:
    """The same, with all frames as long as `max_frame` of the link that is returned.

    Raises UsageError where the link has no rate, its frames are too short for a heartbeat, or the
    code has frames of two lengths.
    """
    if not link.rate:
        raise UsageError(
            "a constant rate needs a carrier with a rate",
            hint="say how fast it is: file:PATH?rate=115200, -?rate=115200, udp://HOST:PORT?rate=90M",
        )
    code = settings.code
    if link.compact and code in plan.WIDE_CODES:
        raise UsageError(
            f"{code} has frames of two lengths on a line as slow as this, and a constant rate one",
            hint="--code zfec",
        )
    around = (frame.COMPACT_HEADER if link.compact else frame.HEADER) + frame.CHECK
    symbol = plan.symbol_size(settings, link)
    if code is not None and settings.symbol_size is None:
        symbol -= symbol % by_name(code).step
    if symbol + around < SHORTEST:
        raise UsageError(
            f"frames of {symbol + around} bytes have no room for a heartbeat",
            hint=f"--symbol-size {SHORTEST - around} or more",
        )
    longest = symbol + around
    return (
        replace(settings, symbol_size=symbol, filled=True),
        replace(link, max_frame=longest),
    )


def in_turn(link: Link, batch: int = 0) -> int:
    """How many slots are filled together. batch: bytes that the carrier wants in one piece.

    link: as `filled` returns it, its line_bytes those of a slot.
    """
    assert link.rate is not None
    room = batch or min(TURN_BYTES, link.rate * TURN_SECONDS)
    return max(1, int(room / link.line_bytes(link.max_frame)))
