"""The lanes that `--to` names: what planning knows of them, and what frames are sent on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode import carrier, line
from diode.cli import options
from diode.errors import UsageError
from diode.lanes import union
from diode.service.lanes import Lane, Lanes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

    from diode.carrier import CarrierFacts
    from diode.cli.report import Report
    from diode.line import Encoder
    from diode.plan import Link, Settings
    from diode.service.lanes import Outlet


@dataclass(frozen=True, slots=True)
class Named:
    """A lane of the command line."""

    url: str
    facts: CarrierFacts
    line: str
    """Its line by name."""
    encoder: Encoder


def named(urls: Sequence[str], line_asked: str | None) -> list[Named]:
    """The lanes of these URLs. UsageError for one that is wrong or given twice."""
    return [
        Named(url, carrier.facts(url), name, line.encoder(name))
        for url, name in options.lines_for(urls, line_asked, "cobs")
    ]


def planned(
    lanes: list[Named], settings: Settings, extra: int, *, cbr: bool
) -> tuple[list[Named], Settings, Link]:
    """What planning has to know of these lanes together; for a constant rate, all in one size.

    extra: bytes by which frames grow before the line, for their tag. UsageError where they do not
    go together.
    """
    if not cbr:
        return lanes, settings, union([options.link(o.facts, o.encoder, extra) for o in lanes])
    if len(lanes) > 1:
        raise UsageError(
            "a constant rate has one lane: what each of several carries depends on what is sent",
            hint="--cbr with one URL only",
        )
    (one,) = lanes
    settings, encoder = options.evened(settings, one.facts, one.encoder, extra)
    even = Named(one.url, one.facts, one.line, encoder)
    return [even], settings, options.link(one.facts, encoder, extra)


def shares(lanes: list[Named], link: Link) -> list[dict[str, object]]:
    """Each lane by name, and its share of the frames."""
    turns = link.lanes
    return [
        {"lane": options.lane(n, one.url), "share": turns.count(n) / len(turns)}
        for n, one in enumerate(lanes)
    ]


def opened(
    lanes: list[Named], impair: str | None, report: Report, stack: contextlib.ExitStack
) -> Outlet:
    """Open all carriers, to be closed with the stack. Raises as `carrier.open_sending`."""
    each = []
    for number, one in enumerate(lanes):
        medium = carrier.open_sending(one.url, impair=impair, lane=number, notice=report.warn)
        stack.callback(medium.close)
        each.append((one.url, Lane(one.encoder, medium, one.facts.batch, one.facts.air_bytes)))
    if len(each) == 1:
        return each[0][1]
    return Lanes([(options.lane(n, url), lane) for n, (url, lane) in enumerate(each)], report.warn)


def missed(report: Report, outlet: Outlet) -> bool:
    """Tell what each of several lanes carried at the end; whether one missed something."""
    for one in outlet.tally:
        report.event("lane_sent", lane=one.name, frames=one.frames, missed=one.missed)
        if one.missed:
            report.warn(
                f"{one.name}: {one.missed:,} of {one.frames + one.missed:,} frames "
                "were not sent; the other lanes carried the rest"
            )
    return any(one.missed for one in outlet.tally)
