"""Which settings a measured link needs, in the words of the command line.

The link is taken to be Gilbert's (linkstats.py) with the upper bounds of its loss and of its mean
burst, not with what was seen: nothing lost of a hundred is not nothing. From that follows how
many of a block's symbols are lost. Interleaving over L blocks puts L frames between two symbols
of one block, and over L frames the correlation c of neighbours has shrunk to c^L; so the
symbols of a block are the steps of a chain of two states, whose distribution is computed step by
step (Elliott, BSTJ 42, 1963). An object of B blocks is lost with at most B times the
probability of a block, plus that of losing every announcement; several objects with at most
the sum.

Assumed: frames of the object are lost like those of the test, which were as long (over sound, of
the same modem and no longer than those of the object); the link stays as it is; the
receiver listens from the beginning; a pass is longer than any outage, so that passes are
independent. Outages far longer than what was measured are no statistics: against them
only more passes help.

Of all settings that keep the wanted probability, the one with the least time on the line
is advised.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from diode import frame, plan
from diode.code import CODES, by_id
from diode.forecast import Planned, any_of, repeat_failure
from diode.plan import Link, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from diode.geometry import Geometry

REDUNDANCIES = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
    *(1.0, 1.3, 1.6, 2.0, 3.0, 4.0, 6.0, 10.0),
)
PASSES = (1, 2, 3, 4, 6, 8, 12, 20, 40)
BURST = 0.5
"""Seconds of outage that are planned for at least, as `diode send` does unasked."""
LONGEST_BURST = 60.0
APART = 3.0
"""Mean bursts that a pass must last for the next one to count as independent."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A link as measured, at its worst. loss: of frames; burst: mean length in frames."""

    link: Link
    loss: float
    burst: float
    longest: int = 0
    """Frames of the longest burst seen."""

    @property
    def correlation(self) -> float:
        """Of two neighbouring frames."""
        if self.loss >= 1:
            return 1.0
        return min(1.0, max(0.0, 1 - 1 / (self.burst * (1 - self.loss))))


@dataclass(frozen=True, slots=True)
class Advice:
    """Settings, and what they give. seconds: on the line, None where it has no rate."""

    settings: Settings
    geometry: Geometry
    failure: float
    line_bytes: float
    seconds: float | None

    def options(self, line: str | None) -> str:
        """The options of `diode send`. line: None where the carrier leaves no choice."""
        code = by_id(self.geometry.code)
        assert code is not None
        assert self.settings.redundancy is not None
        words = [f"--line {line}"] if line else []
        words += [f"--code {code.name}"]
        words += [
            f"--redundancy {self.settings.redundancy:.0%}",
            f"--passes {self.settings.passes}",
        ]
        if self.seconds is not None:
            words.append(f"--burst {round(self.settings.burst * 1000)}ms")
        return " ".join(words)


def advise(
    channel: Channel, planned: Sequence[Planned], target: float, base: Settings | None = None
) -> Advice | None:
    """The settings with which any of these objects is lost with at most `target`.

    base: what else they are sent with. None where no setting would do.
    """
    base = Settings() if base is None else base
    if channel.loss >= 1:
        return None
    bursts = _bursts(channel)
    tries = []
    for redundancy, passes in itertools.product(REDUNDANCIES, PASSES):
        settings = _with(base, redundancy, passes, bursts[0])
        cost = sum(p.count * _cost(p, settings, channel.link) for p in planned)
        tries.append((cost, redundancy, passes))
    for cost, redundancy, passes in sorted(tries):
        for burst in bursts:
            settings = _with(base, redundancy, passes, burst)
            lost = all_failure(channel, planned, settings, target)
            if lost <= target:
                rate = channel.link.rate
                largest = max(p.size for p in planned)
                cut = plan.geometry(largest, settings, channel.link)
                return Advice(settings, cut, lost, cost, cost / rate if rate else None)
    return None


def _with(base: Settings, redundancy: float, passes: int, burst: float) -> Settings:
    return replace(base, code=None, redundancy=redundancy, loss=None, passes=passes, burst=burst)


def all_failure(
    channel: Channel, planned: Sequence[Planned], settings: Settings, enough: float = 1.0
) -> float:
    """Probability that any of these objects is not whole after all passes, at most.

    enough: above that it does not matter by how much.
    """
    chances: list[tuple[int, float]] = []
    for one in sorted(planned, key=lambda p: -p.size):
        cut = plan.geometry(one.size, settings, channel.link)
        chances.append((one.count, failure(cut, settings, channel, one.symbols)))
        if any_of(chances) > enough:
            break
    return any_of(chances)


def _bursts(channel: Channel) -> list[float]:
    """Outages to plan for, shortest first."""
    if not channel.link.rate:
        return [0.0]
    header = frame.COMPACT_HEADER if channel.link.compact else frame.HEADER
    length = header + plan.symbol_size(Settings(), channel.link) + frame.CHECK
    seen = max(channel.longest, channel.burst) * channel.link.line_bytes(length) / channel.link.rate
    wanted = {BURST, *(max(BURST, 0.1 * math.ceil(10 * times * seen)) for times in (2, 4, 8, 16))}
    return sorted({min(LONGEST_BURST, burst) for burst in wanted})


def _cost(planned: Planned, settings: Settings, link: Link) -> float:
    """Line bytes of an object over all passes."""
    cut, symbols = plan.geometry(planned.size, settings, link), planned.symbols
    data = cut.data_frames * link.line_bytes(plan.frame_bytes(link, cut))
    announced = link.line_bytes(frame.HEADER + planned.symbol_bytes + frame.CHECK)
    copies = plan.manifests(cut, settings, link, symbols) * symbols
    return settings.passes * (data + copies * announced)


# What is lost -------------------------------------------------------------------------------


def failure(cut: Geometry, settings: Settings, channel: Channel, symbols: int = 1) -> float:
    """Probability that an object is not whole after all passes, at most.

    symbols: how many make up its announcement.
    """
    copies = plan.manifests(cut, settings, channel.link, symbols) * symbols
    frames = cut.data_frames + copies
    if settings.passes > 1 and frames < APART * channel.burst:
        return 1.0
    lost = _unannounced(channel, copies, frames / copies, symbols, settings.passes)
    for blocks, lag in _groups(cut, settings, channel.link):
        if blocks:
            lost += blocks * _block(cut, settings.passes, channel, lag)
    return min(1.0, lost)


def _groups(cut: Geometry, settings: Settings, link: Link) -> list[tuple[int, int]]:
    """How many blocks are interleaved with how many: those of full groups, those of the last."""
    wanted = plan.group_frames(settings, link, cut) // cut.n
    room = plan.MAX_GROUP_BYTES // (cut.n * plan.frame_bytes(link, cut))
    together = max(1, min(wanted, room, cut.blocks))
    rest = cut.blocks % together
    if 2 * rest < together:  # joins the last full group
        return [(cut.blocks, together)]
    return [(cut.blocks - rest, together), (rest, rest)]


def _unannounced(channel: Channel, times: int, apart: float, symbols: int, passes: int) -> float:
    """Probability that of so many frames a pass, so far apart, fewer than `symbols` come."""
    kept = channel.correlation**apart
    if symbols == 1:
        again = channel.loss + (1 - channel.loss) * kept
        return float((channel.loss * again ** (times - 1)) ** passes)
    once = lost_of(times, channel.loss, kept)
    total = once
    for _ in range(passes - 1):
        total = np.convolve(total, once)
    return float(total[len(total) - symbols :].sum())


def _block(cut: Geometry, passes: int, channel: Channel, lag: int) -> float:
    """Probability that a block is not whole after all passes."""
    kept = channel.correlation**lag
    sent = cut.n * passes
    if sent * (1 - channel.loss) < cut.k:  # not even on average
        return 1.0
    if cut.code == CODES["repeat"].id and cut.k > 1:
        return float(repeat_failure(cut.k, sent, channel.loss))
    numbers = sent if cut.k == 1 else cut.coding.walk(cut.k)
    if sent <= numbers:
        once = lost_of(cut.n, channel.loss, kept)
        total = once
        for _ in range(passes - 1):
            total = np.convolve(total, once)
    else:  # every number goes out `often` times, the first `more` of them once more
        often, more = divmod(sent, numbers)
        total = np.convolve(
            lost_of(more, channel.loss ** (often + 1), kept),
            lost_of(numbers - more, channel.loss**often, kept),
        )
    return float(total[len(total) - cut.k :].sum())


def lost_of(n: int, loss: float, correlation: float) -> NDArray[np.float64]:
    """Probabilities that 0 … n of n symbols are lost, neighbours having that correlation."""
    good, bad = np.zeros(n + 1), np.zeros(n + 1)
    if n == 0:
        return np.ones(1)
    good[0], bad[1] = 1 - loss, loss
    enter = loss * (1 - correlation)
    stay = loss + (1 - loss) * correlation
    for _ in range(n - 1):
        after = good * enter + bad * stay
        good = good * (1 - enter) + bad * (1 - stay)
        bad[1:] = after[:-1]
        bad[0] = 0
    return good + bad


# Sound --------------------------------------------------------------------------------------

CLIPPED = 0.001
"""Share of samples at full scale from which on an input is called overdriven."""
QUIET = -50.0
"""Level in dBFS below which converters and their noise begin to count."""
GOOD_SNR = 15.0
"""Es/N0 in dB below which more level is worth trying."""
WANTED = -20.0
"""Level in dBFS to aim for: 17 dB of room for peaks and drift."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was heard of the sound while frames came."""

    level_db: float
    peak_db: float
    clipped: float
    dc: float
    hum_db: float
    """Level between 45 and 65 Hz."""
    snr_db: float | None


def level_advice(heard: Level) -> list[str]:
    """What to do about the level; empty where it is right."""
    advice = []
    if heard.clipped > CLIPPED:
        lower = 12 if heard.clipped > 0.05 else 6
        advice.append(
            f"the input is overdriven ({heard.clipped:.1%} of samples at full scale): "
            f"lower the input level by {lower} dB"
        )
    elif heard.level_db < QUIET:
        advice.append(
            f"the input is too quiet ({heard.level_db:.0f} dBFS): "
            f"raise the level by {WANTED - heard.level_db:.0f} dB"
        )
    elif heard.snr_db is not None and heard.snr_db < GOOD_SNR and heard.level_db < WANTED - 6:
        advice.append(
            f"the signal stands only {heard.snr_db:.0f} dB above the noise: raise the level "
            f"of the sender, by up to {WANTED - heard.level_db:.0f} dB"
        )
    if abs(heard.dc) > 0.05:
        advice.append(f"the input has an offset of {heard.dc:+.0%} of full scale: check the card")
    if heard.hum_db > heard.level_db - 10 and heard.hum_db > QUIET:
        advice.append(
            f"mains hum at {heard.hum_db:.0f} dBFS: break the ground loop (transformer, battery)"
        )
    return advice
