"""What a carrier has to say of itself while it is listened to.

A sound carrier: its level and modem, in one line for people, in fields for programs, as a
waterfall.
A carrier of datagrams: those that the kernel dropped or that were not meant. A serial port: what
its UART saw go wrong. The others have nothing to say; for them there is `Silent`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import ReceivingCarrier
    from diode.modem.hearing import Hearing
    from diode.service.merged import Ear, Merged

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


TROUBLES = {
    "kernel_dropped": "dropped by this machine's kernel",
    "foreign": "from other addresses",
    "truncated": "cut short",
    "empty": "empty",
}
"""Counts of datagrams that are worth a word when they are not 0."""
ERRORS = {
    "overruns": "overruns",
    "framing_errors": "framing errors",
    "parity_errors": "parity errors",
    "breaks": "breaks",
}
"""The same of a serial port."""


class Counting(Silent):
    """A carrier that counts what came of it: one of datagrams."""

    what = "datagrams"
    troubles = TROUBLES

    unheard = (
        "is a firewall in the way, does the sender have a neighbour entry for this machine? "
        "diode doctor says what is missing, with --to URL on the sender, here with --from URL"
    )

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    def text(self) -> str:
        return self.summary()

    def fields(self) -> dict[str, Any]:
        return dict(self._carrier.counts)

    def summary(self) -> str:
        counts = self._carrier.counts
        told = [f"{counts[n]:,} {what}" for n, what in self.troubles.items() if counts.get(n)]
        return f"{self.what}: {', '.join(told)}" if told else ""


class Port(Counting):
    """A serial port whose driver counts what the UART saw go wrong."""

    unheard = UNHEARD
    what = "port"
    troubles = ERRORS


class Sound:
    """A carrier that has `heard`."""

    unheard = UNHEARD

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier

    @property
    def _heard(self) -> Hearing:
        heard: Hearing = self._carrier.heard
        return heard

    def text(self) -> str:
        heard = self._heard
        filled = round(BAR * min(1.0, max(0.0, 1 - heard.level_db / QUIETEST)))
        parts = [f"[{'=' * filled}{' ' * (BAR - filled)}] {heard.level_db:4.0f} dB {heard.modem}"]
        if heard.clipped > TOO_LOUD:
            parts.append("OVERDRIVEN")
        if heard.snr_db is not None:
            parts.append(f"SNR {heard.snr_db:.0f} dB")
        if heard.clock_ppm is not None:
            parts.append(f"clock {heard.clock_ppm:+.0f} ppm")
        if heard.offset_hz is not None:
            parts.append(f"offset {heard.offset_hz:+.1f} Hz")
        if heard.error_rate is not None:
            parts.append(f"{heard.error_rate:.1%} wrong")
        parts.append(f"{heard.found:,} found, {heard.lost:,} not")
        return ", ".join(parts) if heard.carrier else ", ".join([*parts, "no carrier"])

    def fields(self) -> dict[str, Any]:
        heard = self._heard
        return {
            "modem": heard.modem,
            "carrier": heard.carrier,
            "level_db": round(heard.level_db, 1),
            "peak_db": round(heard.peak_db, 1),
            "clipped": round(heard.clipped, 4),
            "snr_db": _rounded(heard.snr_db, 1),
            "clock_ppm": _rounded(heard.clock_ppm, 0),
            "offset_hz": _rounded(heard.offset_hz, 2),
            "symbol_error_rate": _rounded(heard.error_rate, 4),
            "modem_found": heard.found,
            "modem_lost": heard.lost,
        }

    def waterfall(self) -> str:
        heard = self._heard
        top = max([*heard.spectrum, QUIETEST])
        brightest = len(_SHADES) - 1
        steps = [int((level - top + DEPTH) / DEPTH * len(_SHADES)) for level in heard.spectrum]
        shades = "".join(_SHADES[min(max(step, 0), brightest)] for step in steps)
        return f"{heard.low / 1000:.0f} |{shades}| {heard.high / 1000:.0f} kHz"

    def summary(self) -> str:
        return ""


class Several:
    """Several lanes (service/merged.py), each of which may have something to say."""

    def __init__(self, merged: Merged, clock: Callable[[], float] = time.monotonic) -> None:
        self._lanes = [(lane, listening(lane.carrier)) for lane in merged.lanes]
        self._clock = clock
        self.unheard = self._lanes[0][1].unheard

    def text(self) -> str:
        """What came on each lane, and how much did not."""
        each = (
            f"lane {number} {lane.reception.frames:,} frames, {lane.reception.lost:,} lost"
            + (", ended" if lane.over else "")
            for number, (lane, _) in enumerate(self._lanes, 1)
        )
        return "; ".join([*each, *self._each(lambda told: told.text())])

    def fields(self) -> dict[str, Any]:
        """All lanes, and what several of them count added up."""
        counts: Counter[str] = Counter()
        for lane, _ in self._lanes:
            counts.update(getattr(lane.carrier, "counts", {}))
        return {**counts, "lanes": [self._lane(lane, told) for lane, told in self._lanes]}

    def waterfall(self) -> str:
        return " ".join(self._each(lambda told: told.waterfall()))

    def summary(self) -> str:
        return "; ".join(self._each(lambda told: told.summary()))

    def _each(self, say: Callable[[Listening], str]) -> list[str]:
        """What the lanes have to say, if they do."""
        said = [(number, say(told)) for number, (_, told) in enumerate(self._lanes, 1)]
        return [f"lane {number}: {text}" for number, text in said if text]

    def _lane(self, lane: Ear, told: Listening) -> dict[str, Any]:
        return {
            "lane": lane.name,
            "frames": lane.reception.frames,
            "lost": lane.reception.lost,
            "bytes": lane.bytes,
            "rejected": sum(lane.line.rejected.values()),
            "noise": lane.line.noise,
            "silent_seconds": round(self._clock() - lane.last, 1),
            "ended": lane.over,
            **told.fields(),
        }


def of_lanes(merged: Merged) -> Listening:
    """What can be told of these lanes."""
    return Several(merged) if len(merged.lanes) > 1 else listening(merged.lanes[0].carrier)


def listening(carrier: ReceivingCarrier) -> Listening:
    """What can be told of this carrier."""
    if getattr(carrier, "heard", None) is not None:
        return Sound(carrier)
    counts = getattr(carrier, "counts", {})
    if ERRORS.keys() <= counts.keys():
        return Port(carrier)
    return Counting(carrier) if counts else Silent()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
