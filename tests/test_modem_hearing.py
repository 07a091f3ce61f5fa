"""Snapshots of what is heard."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from diode.modem import Signal
from diode.modem.hearing import COLUMNS, Hearing, hearing
from diode.modem.meter import Meter

RATE = 48_000


def test_figures_are_those_of_signal_and_meter() -> None:
    meter = Meter(RATE)
    time = np.arange(RATE) / RATE
    sound = 0.1 * np.sin(2 * np.pi * 1000 * time) + 0.01 * np.sin(2 * np.pi * 50 * time) + 0.02
    meter.feed(sound.astype(np.float32))
    heard = hearing(Signal("robust", True, 14.0, -120.0, -0.2, 0.03, 12, 3), meter)
    assert (heard.modem, heard.carrier, heard.found, heard.lost) == ("robust", True, 12, 3)
    assert (heard.snr_db, heard.clock_ppm, heard.error_rate) == (14.0, -120.0, 0.03)
    assert heard.level_db == meter.level_db
    assert heard.dc == pytest.approx(0.02, abs=1e-3)
    assert heard.hum_db == pytest.approx(-43, abs=2)
    assert (heard.low, heard.high, len(heard.spectrum)) == (0, 4000, COLUMNS)
    assert heard.spectrum.index(max(heard.spectrum)) in (15, 16)


@pytest.mark.parametrize(("modem", "high"), [("cable", 22_000), ("fsk", 22_000), ("auto", 4_000)])
def test_the_spectrum_spans_what_the_modem_uses(modem: str, high: float) -> None:
    assert hearing(Signal(modem), Meter(RATE)).high == high


def test_what_is_not_known_is_told_as_such() -> None:
    heard = hearing(Signal("auto", snr_db=math.inf, clock_ppm=math.nan), Meter(RATE))
    assert heard.snr_db is heard.clock_ppm is heard.offset_hz is None
    again = msgspec.json.decode(msgspec.json.encode(heard), type=Hearing)
    assert again == heard
