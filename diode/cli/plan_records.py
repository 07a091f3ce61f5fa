"""`diode plan --records`: what of them fits, how late they are, and what happens when it does
not.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode import quantity
from diode.errors import UsageError
from diode.wording import percent, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.cli.report import Report
    from diode.plan import Link, Settings
    from diode.record_forecast import Outlook

PAYLOAD = 20
"""Bytes, where no size is given."""


class Rate(click.ParamType[float]):
    """Records a second: 200/s, 30/min."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        count, slash, unit = str(value).partition("/")
        try:
            rate = float(count) / (quantity.duration(f"1{unit}") if slash else 1.0)
        except ValueError:
            rate = math.nan
        if not 1e-6 <= rate <= 1e8:
            self.fail(f"{value!r} is not a rate such as 200/s or 30/min", param, ctx)
        return rate


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says about records."""

    rate: float | None
    topics: int | None

    def tell(
        self,
        report: Report,
        sizes: tuple[tuple[int, int], ...],
        settings: Settings,
        link: Link,
    ) -> int:
        """Say what comes of it; the exit code."""
        from diode.record_forecast import Load, outlook

        if self.rate is None:
            raise UsageError("--topics goes with --records")
        if len(sizes) > 1 or any(count > 1 for count, _ in sizes):
            raise UsageError("records have one --size, that of a payload", hint="--size 40")
        size = sizes[0][1] if sizes else PAYLOAD
        topics = self.topics or max(1, round(self.rate))
        loss = settings.loss or 0.0
        for every in (False, True):
            load = Load(self.rate, min(size, 1 << 16), topics, every)
            _tell(report, load.every, outlook(load, settings, link, loss), link, loss)
        return 0


def _tell(report: Report, every: bool, found: Outlook, link: Link, loss: float) -> None:
    """One class of records."""
    name = "every" if every else "latest"
    report.event(
        "record_plan",
        **{"class": name},
        fits=found.fits,
        refused=found.refused,
        line_bytes=round(found.record_bytes, 1),
        sends=round(found.sends, 2),
        line_share=None if found.line_share is None else round(found.line_share, 4),
        median_seconds=round(found.median, 4),
        late_seconds=round(found.late, 4),
        heard=round(found.heard, 4),
        rate=link.rate,
        loss=loss,
    )
    report.result(f"as {name}: {_words(every, found)}")


def _words(every: bool, found: Outlook) -> str:
    if found.refused:
        return f"does not fit: {found.refused}; send it as a file"
    share = "" if found.line_share is None else f" and {percent(found.line_share)} of the line"
    times = "once" if found.sends == 1 else f"{found.sends:.2g} times"
    takes = f"{found.record_bytes:.0f} bytes on the line, {times}{share}"
    waits = f"heard after {seconds(found.median)} (median), {seconds(found.late)} (99.9 %)"
    if found.fits:
        return f"fits, {takes}; {waits}"
    if every:
        return (
            f"does not fit, {takes}; records wait on disk, later and later, and when its quota is "
            "full their source is asked to wait, or loses some, which is told"
        )
    return (
        f"does not fit, {takes}; {percent(found.heard)} of the values are heard, the newest of "
        f"each topic in turn, {waits}"
    )


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `plan` about records, as one argument: `records`."""

    @functools.wraps(command)
    def gathered(rate: float | None, topics: int | None, **rest: Any) -> Any:
        return command(records=Asked(rate, topics), **rest)

    rate = click.option(
        "--records",
        "rate",
        type=Rate(),
        metavar="RATE",
        help="Plan for readings, such as 200/s, with payloads of --size.",
    )
    topics = click.option(
        "--topics",
        type=click.IntRange(1, 1_000_000),
        help="Topics that they are of.  [default: one for each that comes in a second]",
    )
    return rate(topics(gathered))
