"""What a carrier has to say of itself while it is listened to.

A sound carrier: its level and modem, in one line for people, in fields for programs, as a
waterfall.
A carrier of datagrams: those that the kernel dropped or that were not meant. The others have
nothing to say; for them there is `Silent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from diode.carrier import ReceivingCarrier
    from diode.carrier.udp_receiving import Tally
    from diode.modem import Signal
    from diode.modem.meter import Meter

WIDTH = 64
"""Columns of a waterfall."""
BAR = 10
"""Columns of the level bar."""
QUIETEST = -60.0
"""Level at which the bar is empty, in dBFS."""
DEPTH = 40.0
"""Decibels between the darkest and the brightest character of a waterfall."""
TOO_LOUD = 0.001
"""Share of samples at full scale from which on the input is called overdriven."""

UNHEARD = "check the wiring, that both ends agree on the speed, and that the sender runs"

_SHADES = " .:-=+*#%@"
_SPEECH, _WIDE = (0.0, 4_000.0), (0.0, 22_000.0)
_WIDE_MODEMS = {"cable", "fsk"}


class Listening(Protocol):
    """What can be told of a carrier that is listened to."""

    unheard: str
    """What to do when nothing is heard at all."""

    def text(self) -> str:
        """A line for people, or an empty one."""

    def fields(self) -> dict[str, Any]:
        """Fields of the `link` event."""

    def waterfall(self) -> str:
        """The spectrum of the last quarter of a second as one line of characters, or nothing."""

    def summary(self) -> str:
        """At the end, what is not as it should be; or nothing."""


class Silent:
    """A carrier that has nothing to say."""

    unheard = UNHEARD

    def text(self) -> str:
        return ""

    def fields(self) -> dict[str, Any]:
        return {}

    def waterfall(self) -> str:
        return ""

    def summary(self) -> str:
        return ""


class Datagrams(Silent):
    """A carrier of datagrams."""

    unheard = (
        "is a firewall in the way, does the sender have a neighbour entry for this machine? "
        "diode doctor says what is missing, with --to URL on the sender, here with --from URL"
    )

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    @property
    def _tally(self) -> Tally:
        tally: Tally = self._carrier.datagrams
        return tally

    def text(self) -> str:
        return self.summary()

    def fields(self) -> dict[str, Any]:
        tally = self._tally
        return {
            "datagrams": tally.received,
            "kernel_dropped": tally.dropped,
            "foreign": tally.foreign,
            "truncated": tally.truncated,
            "empty": tally.empty,
            "receive_buffer": self._carrier.buffer,
        }

    def summary(self) -> str:
        tally = self._tally
        counts = {
            "dropped by this machine's kernel": tally.dropped,
            "from other addresses": tally.foreign,
            "cut short": tally.truncated,
            "empty": tally.empty,
        }
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return f"datagrams: {told}" if told else ""


class Sound:
    """A carrier with a demodulator and a meter."""

    unheard = UNHEARD

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    @property
    def _signal(self) -> Signal:
        signal: Signal = self._carrier.signal
        return signal

    @property
    def _meter(self) -> Meter:
        meter: Meter = self._carrier.meter
        return meter

    def text(self) -> str:
        signal, meter = self._signal, self._meter
        level = meter.level_db
        filled = round(BAR * min(1.0, max(0.0, 1 - level / QUIETEST)))
        parts = [f"[{'=' * filled}{' ' * (BAR - filled)}] {level:4.0f} dB {signal.modem}"]
        if meter.clipped > TOO_LOUD:
            parts.append("OVERDRIVEN")
        if signal.snr_db is not None:
            parts.append(f"SNR {signal.snr_db:.0f} dB")
        if signal.clock_ppm is not None:
            parts.append(f"clock {signal.clock_ppm:+.0f} ppm")
        if signal.offset_hz is not None:
            parts.append(f"offset {signal.offset_hz:+.1f} Hz")
        if signal.error_rate is not None:
            parts.append(f"{signal.error_rate:.1%} wrong")
        parts.append(f"{signal.found:,} found, {signal.lost:,} not")
        return ", ".join(parts) if signal.carrier else ", ".join([*parts, "no carrier"])

    def fields(self) -> dict[str, Any]:
        signal, meter = self._signal, self._meter
        return {
            "modem": signal.modem,
            "carrier": signal.carrier,
            "level_db": round(meter.level_db, 1),
            "peak_db": round(meter.peak_db, 1),
            "clipped": round(meter.clipped, 4),
            "snr_db": _rounded(signal.snr_db, 1),
            "clock_ppm": _rounded(signal.clock_ppm, 0),
            "offset_hz": _rounded(signal.offset_hz, 2),
            "symbol_error_rate": _rounded(signal.error_rate, 4),
            "modem_found": signal.found,
            "modem_lost": signal.lost,
        }

    def waterfall(self) -> str:
        low, high = _WIDE if self._signal.modem in _WIDE_MODEMS else _SPEECH
        levels = self._meter.spectrum(WIDTH, low, high)
        top = max(float(levels.max()), QUIETEST)
        steps = ((levels - top + DEPTH) / DEPTH * len(_SHADES)).astype(int)
        shades = "".join(_SHADES[min(max(step, 0), len(_SHADES) - 1)] for step in steps)
        return f"{low / 1000:.0f} |{shades}| {high / 1000:.0f} kHz"

    def summary(self) -> str:
        return ""


def listening(carrier: ReceivingCarrier) -> Listening:
    """What can be told of this carrier."""
    if hasattr(carrier, "datagrams"):
        return Datagrams(carrier)
    return Sound(carrier) if hasattr(carrier, "meter") else Silent()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
