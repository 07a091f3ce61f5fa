"""What is heard at one moment, in numbers: the demodulator's view and the meter's.

A snapshot, so that it can cross from the process that listens to the one that shows it
(carrier/words.py). All limits are there because of the one that shows: it believes nothing
that it is told, and a number that is out of them makes the whole snapshot invalid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from diode.modem import Signal
    from diode.modem.meter import Meter

COLUMNS = 64
"""Bands of the spectrum."""
HUM = (45.0, 65.0)
"""Where mains hum lies, in Hz."""
SPEECH, WIDE = (0.0, 4_000.0), (0.0, 22_000.0)
"""What the spectrum spans, in Hz, by modem."""
WIDE_MODEMS = {"cable", "fsk"}

Figure = Annotated[float, Meta(ge=-1e9, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=1 << 62)]


class Hearing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of `Signal` and `Meter`, with their units; None while one is not known."""

    modem: Annotated[str, Meta(max_length=32, pattern=r"^[a-z0-9]*$")]
    carrier: bool
    level_db: Figure
    peak_db: Figure
    clipped: Figure
    dc: Figure
    hum_db: Figure
    snr_db: Figure | None
    clock_ppm: Figure | None
    offset_hz: Figure | None
    error_rate: Figure | None
    found: Count
    lost: Count
    low: Figure
    high: Figure
    spectrum: Annotated[list[Figure], Meta(max_length=COLUMNS)]
    """dBFS in bands that share low … high Hz."""


def hearing(signal: Signal, meter: Meter) -> Hearing:
    """What these two say now."""
    low, high = WIDE if signal.modem in WIDE_MODEMS else SPEECH
    return Hearing(
        signal.modem,
        bool(signal.carrier),
        meter.level_db,
        meter.peak_db,
        meter.clipped,
        meter.dc,
        float(meter.spectrum(1, *HUM)[0]),
        _figure(signal.snr_db),
        _figure(signal.clock_ppm),
        _figure(signal.offset_hz),
        _figure(signal.error_rate),
        int(signal.found),
        int(signal.lost),
        low,
        high,
        meter.spectrum(COLUMNS, low, high).tolist(),
    )


def _figure(value: float | None) -> float | None:
    """A number that can be told; one over nothing is not known."""
    return float(value) if value is not None and math.isfinite(value) else None
