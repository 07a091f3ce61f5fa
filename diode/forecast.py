"""What sending objects will take and survive: the answer of `diode plan`.

An object of B blocks, each lost with probability P (binomial.binomial_tail), is lost with
1-(1-P)^B, and so it is when none of its manifests arrives. Frames are taken to be lost
independently: outages are what interleaving (plan.group_frames) is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame, plan
from diode.binomial import binomial, binomial_tail
from diode.code import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diode.geometry import Geometry
    from diode.plan import Link, Settings


@dataclass(frozen=True, slots=True)
class Forecast:
    """What sending one object will take and survive: the answer of `diode plan`.

    Bytes are bytes on the line over all passes, by cause; seconds are None on a link without
    a rate; `outage` is the longest total loss, in seconds (frames where there is no rate), that one
    pass survives with no other loss; failure maps frame loss to the probability that the
    object is not whole after all passes.
    """

    geometry: Geometry
    group: int
    passes: int
    frames: int
    manifests: int
    line_bytes: dict[str, float]
    seconds: float | None
    goodput: float | None
    outage: float
    failure: dict[float, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.line_bytes.values())


LOSSES = (0.01, 0.05, 0.1, 0.2)
"""Shares of frames lost that a forecast is made for."""
MANIFEST_ESTIMATE = 110
"""Bytes of an announcement with a name of usual length, for planning without a file."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Some objects of one size. symbols: how many make up their announcement, of so many bytes."""

    size: int
    count: int = 1
    symbols: int = 1
    symbol_bytes: int = MANIFEST_ESTIMATE


@dataclass(frozen=True, slots=True)
class Together:
    """What all objects of a plan take and survive; the fields as in `Forecast`.

    `outage` is the shortest of all, `failure` the probability that any object is not whole.
    """

    largest: Forecast
    objects: int
    size: int
    frames: int
    manifests: int
    line_bytes: dict[str, float]
    seconds: float | None
    goodput: float | None
    outage: float
    failure: dict[float, float]

    @property
    def total(self) -> float:
        return sum(self.line_bytes.values())


def together(planned: Sequence[Planned], settings: Settings, link: Link) -> Together:
    """All objects of a plan, at least one."""
    each = [
        (p.count, forecast(p.size, settings, link, manifest=p.symbol_bytes, symbols=p.symbols))
        for p in planned
    ]
    line: dict[str, float] = {}
    for count, one in each:
        for name, value in one.line_bytes.items():
            line[name] = line.get(name, 0.0) + count * value
    size = sum(p.count * p.size for p in planned)
    seconds = sum(line.values()) / link.rate if link.rate else None
    return Together(
        max((one for _, one in each), key=lambda one: one.geometry.size),
        sum(p.count for p in planned),
        size,
        sum(count * one.frames for count, one in each),
        sum(count * one.manifests for count, one in each),
        line,
        seconds,
        size / seconds if seconds else None,
        min(one.outage for _, one in each),
        {p: any_of([(count, one.failure[p]) for count, one in each]) for p in LOSSES},
    )


def any_of(chances: Iterable[tuple[int, float]]) -> float:
    """Probability that any of so many, each with that chance, happens."""
    kept = sum(count * math.log1p(-min(chance, 1 - 1e-16)) for count, chance in chances)
    return -math.expm1(kept)


def forecast(
    size: int,
    settings: Settings,
    link: Link,
    *,
    manifest: int = MANIFEST_ESTIMATE,
    symbols: int = 1,
) -> Forecast:
    """Time, overhead and reliability of one object of that size; a carousel counts as one pass.

    manifest: bytes of each of the symbols that its announcement is made of.
    """
    cut = plan.geometry(size, settings, link)
    passes = max(1, settings.passes)
    length = plan.frame_bytes(link, cut)
    on_line = link.line_bytes(length)
    frames = cut.data_frames
    announced = frame.HEADER + manifest + frame.CHECK
    copies = plan.manifests(cut, settings, link, symbols) * symbols
    source = (cut.blocks - 1) * cut.k + cut.source_symbols(cut.blocks - 1) if cut.blocks else 0
    parity = frames - source
    parts = {
        "data": float(size),
        "padding and block checks": float(source * cut.symbol_size - size),
        "parity": float(parity * cut.symbol_size),
        "frame headers and checks": float(frames * (length - cut.symbol_size)),
        "line coding": frames * (on_line - length),
        "manifests": copies * link.line_bytes(announced),
    }
    line = {name: value * passes for name, value in parts.items()} | {"data": parts["data"]}
    if passes > 1:
        line["repeated passes"] = parts["data"] * (passes - 1)
    total = sum(line.values())
    seconds = total / link.rate if link.rate else None
    group = plan.group_frames(settings, link, cut)
    return Forecast(
        cut,
        group,
        settings.passes,
        frames * passes,
        copies * passes,
        line,
        seconds,
        size / seconds if seconds else None,
        _outage(cut, link, group, frames),
        {p: failure(cut, passes, copies * passes, p, symbols) for p in LOSSES},
    )


def _outage(cut: Geometry, link: Link, group: int, frames: int) -> float:
    """Longest outage one pass survives when nothing else is lost."""
    if not frames:
        return 0.0
    if cut.code == CODES["repeat"].id:
        hit = 0 if cut.n <= cut.k else cut.k * (cut.n // cut.k - 1)
    else:
        # Blocks of a group come round evenly, one symbol each in turn.
        hit = (cut.n - cut.k) * max(1, min(group, frames) // cut.n)
    if not link.rate:
        return float(hit)
    # F frames can be hit by an outage of just over F-1 frame times.
    return max(0, hit - 1) * link.line_bytes(plan.frame_bytes(link, cut)) / link.rate


def failure(cut: Geometry, passes: int, manifests: int, loss: float, symbols: int = 1) -> float:
    """Probability that an object is not whole after all passes, frames being lost independently.

    manifests: frames of its announcement, of which any `symbols` are enough.

    For a code with enough numbers all n·passes symbols of a block are different; once they
    come round again a repeated number counts only where its first sending was lost. That
    raptorq needs a symbol more once in 256 blocks changes next to nothing.
    """
    lost_manifest = binomial_tail(manifests, loss, manifests - symbols)
    if not cut.blocks:
        return lost_manifest
    lost = [_block_failure(cut, b, passes, loss) for b in (0, cut.blocks - 1)]
    kept = (cut.blocks - 1) * math.log1p(-min(lost[0], 1 - 1e-16)) + math.log1p(
        -min(lost[1], 1 - 1e-16)
    )
    return 1 - math.exp(kept) * (1 - lost_manifest)


def _block_failure(cut: Geometry, block: int, passes: int, loss: float) -> float:
    code = cut.coding
    k = cut.source_symbols(block)
    sent = cut.frames(block) * passes
    if code.name == "repeat":
        return repeat_failure(k, sent, loss)
    numbers = code.walk(cut.k) - (cut.k - k)
    if sent <= numbers:
        return binomial_tail(sent, loss, sent - k)
    # Every number is sent `often` times, the first `more` of them once more.
    often, more = divmod(sent, numbers)
    return _mixture_tail(more, loss ** (often + 1), numbers - more, loss**often, numbers - k)


def _mixture_tail(n1: int, p1: float, n2: int, p2: float, more_than: int) -> float:
    """P[Binomial(n1, p1) + Binomial(n2, p2) > more_than]."""
    at_least = np.append(np.cumsum(binomial(n2, p2)[::-1])[::-1], 0.0)
    others = np.clip(more_than + 1 - np.arange(n1 + 1), 0, n2 + 1)
    return min(1.0, float(binomial(n1, p1) @ at_least[others]))


def repeat_failure(k: int, n: int, p: float) -> float:
    """P[a block of code `repeat` is lost]: each of k symbols is sent n // k times or once more."""
    often, more = divmod(n, k)
    return 1 - (1 - p**often) ** (k - more) * (1 - p ** (often + 1)) ** more
