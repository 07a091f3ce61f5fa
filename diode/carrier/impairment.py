"""What can go wrong on a one-way link, as numbers that can be repeated.

    drop=5%,burst=200ms/10s,flip=1e-5,slip=1e-6,dup=1%,reorder=3,ge=1%/20%,seed=1

All parts are optional; shares are written 5% or 0.05.

    drop=SHARE      pieces (frames on the line) lost at random
    ge=P/R          pieces lost by the Gilbert-Elliott model: a good state turns bad with
                    probability P a piece, a bad one good with R; all is lost in the bad one.
                    Loss P/(P+R), mean burst 1/R pieces
    dup=SHARE       pieces that come twice
    reorder=N       each piece comes 0 … N places late, all equally likely
    burst=T/P       outages of T, one in every P: periodic, the first at a random place inside
                    the first period. T and P are times (us, ms, s, min) or lengths of line
                    (B, kB, KiB, MB, MiB); times are turned into bytes at the carrier's
                    rate, or at 1 MB/s for a carrier without one
    flip=RATE       bit error rate, bits independent
    slip=RATE       share of bytes at which the stream slips: half of the time that byte is
                    lost, half of the time a random one is inserted before it
    seed=N          another number, another run of bad luck; default 0. Of several lanes
                    (--to or --from given more than once), the second has N+1, and so on

They apply in this order: drop and ge, dup, reorder to pieces; then burst, flip, slip to the
bytes that are left, counted from the first. Where there are no frames to be seen (the
receiving end of a byte stream), a piece is 256 bytes.

Rare events are drawn as geometric gaps, in blocks of fixed size, each kind of trouble from a
generator of its own. So the faults hit the same places however the stream is cut into
calls, and a fault that does not occur costs nothing. Losses shorten the stream: on a
carrier that paces by bytes, what is lost takes no line time.

Literature: Gilbert, "Capacity of a burst-noise channel", BSTJ 39 (1960); Hasslinger and
Hohlfeld, "The Gilbert-Elliott model for packet loss in real time services on the Internet"
(2008).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = "drop=5%,burst=200ms/10s,flip=1e-5,slip=1e-6,dup=1%,reorder=3,seed=1"

RATE = 1e6
"""Bytes per second at which time is reckoned on a carrier that has no rate."""

_NUMBER = r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?)"
_SHARE = re.compile(_NUMBER + "(%?)")
_EXTENT = re.compile(_NUMBER + r"([A-Za-z]+)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_BYTES = {"B": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1048576.0}


@dataclass(frozen=True, slots=True)
class Extent:
    """A length of line, as time or as bytes."""

    value: float
    timed: bool
    """Whether `value` is in seconds; otherwise in bytes."""

    def size(self, rate: float | None) -> int:
        """In bytes, at least 1, on a line of `rate` bytes per second."""
        return max(1, round(self.value * (rate or RATE) if self.timed else self.value))


@dataclass(frozen=True, slots=True)
class Impairment:
    """The damage a channel does; the default does none."""

    drop: float = 0.0
    dup: float = 0.0
    reorder: int = 0
    burst: tuple[Extent, Extent] | None = None
    flip: float = 0.0
    slip: float = 0.0
    ge: tuple[float, float] | None = None
    seed: int = 0

    @property
    def by_piece(self) -> bool:
        """Whether whole pieces are affected, so that the stream has to be cut into them."""
        return bool(self.drop or self.dup or self.reorder or self.ge)

    @classmethod
    def parse(cls, spec: str) -> Impairment:
        """Read a specification as above. Raises UsageError that names the part at fault."""
        given: dict[str, object] = {}
        for item in spec.split(",") if spec.strip() else []:
            key, mark, text = item.strip().partition("=")
            reader = _READERS.get(key)
            if reader is None or not mark:
                near = difflib.get_close_matches(key, _READERS, 1)
                meant = f"did you mean {near[0]}=? " if near else ""
                raise UsageError(
                    f"impairment {item.strip()!r} is not known",
                    hint=f"{meant}for example --impair {EXAMPLE}",
                )
            if key in given:
                raise _wrong(key, text, "it is given twice")
            given[key] = reader(key, text)
        return cls(**given)  # type: ignore[arg-type]  # each reader returns its field's type

    def of_lane(self, lane: int) -> Impairment:
        """The same with other luck, for the others of several lanes."""
        return replace(self, seed=self.seed + lane)


def _wrong(key: str, text: str, wanted: str) -> UsageError:
    return UsageError(f"impairment {key}={text!r}: {wanted}", hint=f"for example {EXAMPLE}")


def _share(key: str, text: str) -> float:
    match = _SHARE.fullmatch(text)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise _wrong(key, text, "a share from 0 to 1, or 0% to 100%, is wanted")
    return value


def _count(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _wrong(key, text, "a whole number is wanted")
    return int(text)


def _places(key: str, text: str) -> int:
    if (count := _count(key, text)) > 1_000_000:
        raise _wrong(key, text, "at most 1000000 places")
    return count


def _extent(key: str, text: str) -> Extent:
    match = _EXTENT.fullmatch(text)
    if match and match[2] in _SECONDS:
        extent = Extent(float(match[1]) * _SECONDS[match[2]], timed=True)
    elif match and match[2] in _BYTES:
        extent = Extent(float(match[1]) * _BYTES[match[2]], timed=False)
    else:
        units = ", ".join((*_SECONDS, *_BYTES))
        raise _wrong(key, text, f"a number with a unit is wanted: {units}")
    if not 0 < extent.value <= 1e12:
        raise _wrong(key, text, "it must be more than 0 and at most 1e12")
    return extent


def _burst(key: str, text: str) -> tuple[Extent, Extent]:
    length, mark, period = text.partition("/")
    if not mark:
        raise _wrong(key, text, "an outage and its period are wanted, such as 200ms/10s")
    outage, every = _extent(key, length), _extent(key, period)
    if outage.timed == every.timed and outage.value >= every.value:
        raise _wrong(key, text, "the outage must be shorter than its period")
    return outage, every


def _states(key: str, text: str) -> tuple[float, float]:
    bad, mark, good = text.partition("/")
    if not mark:
        raise _wrong(key, text, "two shares are wanted, such as 1%/20%")
    turns = _share(key, bad), _share(key, good)
    if turns[0] and not turns[1]:
        raise _wrong(key, text, "with the second at 0 the link would stay lost for ever")
    return turns


_READERS: dict[str, Callable[[str, str], object]] = {
    "drop": _share,
    "dup": _share,
    "reorder": _places,
    "burst": _burst,
    "flip": _share,
    "slip": _share,
    "ge": _states,
    "seed": _count,
}
