"""A plan: as figures for programs, as tables for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from diode.cli import lanes
from diode.code import by_id
from diode.wording import plural, seconds, size

if TYPE_CHECKING:
    from rich.console import Console

    from diode.advice import Advice, Channel
    from diode.cli.linktest_result import Segment
    from diode.cli.plan_objects import Summary
    from diode.cli.report import Report
    from diode.forecast import Together
    from diode.plan import Link, Settings


@dataclass(frozen=True, slots=True)
class Measured:
    """What a link test means for a plan."""

    segment: Segment
    channel: Channel
    failure: float
    advice: Advice | None
    target: float
    line: str | None
    like: bool

    def fields(self) -> dict[str, object]:
        return {
            "loss": self.segment.loss,
            "loss_bound": self.channel.loss,
            "mean_burst": self.channel.burst,
            "longest_burst": self.channel.longest,
            "failure": self.failure,
            "loss_target": self.target,
            "options": None if self.advice is None else self.advice.options(self.line),
            "advised_failure": None if self.advice is None else self.advice.failure,
            "seconds": None if self.advice is None else self.advice.seconds,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is said."""

    forecast: Together
    settings: Settings
    link: Link
    lanes: list[lanes.Named]
    summary: Summary
    measured: Measured | None


def tell(report: Report, plan: Plan) -> None:
    """The event, or the tables."""
    shares = lanes.shares(plan.lanes, plan.link)
    report.event(
        "plan",
        **_fields(plan),
        **_slots(plan.settings, plan.link),
        lanes=shares,
        measured=None if plan.measured is None else plan.measured.fields(),
    )
    if report.json:
        return
    from rich.console import Console

    console = Console(highlight=False)
    _print(console, plan)
    if len(shares) > 1:
        _print_shares(console, shares)
    if plan.measured is not None:
        _print_measured(report, plan.measured)


def _fields(plan: Plan) -> dict[str, object]:
    forecast, summary = plan.forecast, plan.summary
    cut = forecast.largest.geometry
    return {
        "size": forecast.size,
        "objects": forecast.objects,
        "files": summary.files,
        "bundles": summary.bundles,
        "largest": cut.size,
        "code": _code(plan),
        "k": cut.k,
        "n": cut.n,
        "symbol_size": cut.symbol_size,
        "blocks": cut.blocks,
        "encrypted": cut.cipher != 0,
        "frames": forecast.frames,
        "manifests": forecast.manifests,
        "group_frames": forecast.largest.group,
        "line_bytes": {name: round(value) for name, value in forecast.line_bytes.items()},
        "seconds": forecast.seconds,
        "goodput": forecast.goodput,
        "outage": forecast.outage,
        "outage_unit": "frames" if forecast.seconds is None else "seconds",
        "failure": {f"{loss:.0%}": p for loss, p in forecast.failure.items()},
    }


def _code(plan: Plan) -> str:
    code = by_id(plan.forecast.largest.geometry.code)
    assert code is not None
    return code.name


def _slots(settings: Settings, link: Link) -> dict[str, object]:
    """What a constant rate is made of, where it is one."""
    if not (settings.filled and link.rate):
        return {}
    slot = link.line_bytes(link.max_frame)
    return {"slot_bytes": slot, "slots_per_second": link.rate / slot}


# For people ---------------------------------------------------------------------------------


def _print(console: Console, plan: Plan) -> None:
    console.print(_facts(plan))
    forecast = plan.forecast
    causes = Table("bytes on the line", "", "share", box=None, header_style="bold")
    for name, value in forecast.line_bytes.items():
        causes.add_row(f"  {name}", size(value), f"{value / max(1.0, forecast.total):.1%}")
    console.print(causes)
    fails = "object fails" if forecast.objects == 1 else "any object fails"
    losses = Table("frames lost", fails, box=None, header_style="bold")
    for loss, probability in forecast.failure.items():
        losses.add_row(f"  {loss:.0%}", chance(probability))
    console.print(losses)


def _facts(plan: Plan) -> Table:
    forecast, settings, link = plan.forecast, plan.settings, plan.link
    cut = forecast.largest.geometry
    facts = Table.grid(padding=(0, 2))
    if forecast.objects > 1 or plan.summary.bundles:
        facts.add_row("to send", f"{plan.summary}; {size(forecast.size)} in all")
    what = "object" if forecast.objects == 1 else "the largest"
    sealed = ", encrypted" if cut.cipher else ""
    facts.add_row(what, f"{size(cut.size)}, {cut.blocks:,} blocks of {cut.k} symbols{sealed}")
    facts.add_row(
        "code", f"{_code(plan)}, {cut.n} symbols of {cut.symbol_size} bytes a block and pass"
    )
    passes = settings.passes or "carousel; figures for one"
    facts.add_row(
        "frames", f"{forecast.frames:,} data, {forecast.manifests:,} manifests, passes: {passes}"
    )
    named = ", ".join(dict.fromkeys(one.line for one in plan.lanes))
    facts.add_row("line", f"{named}, {'compact' if link.compact else 'full'} headers")
    facts.add_row(
        "on the line", f"{size(forecast.total)}, {forecast.total / max(1, forecast.size):.3g} x"
    )
    if settings.filled and link.rate:
        slot = link.line_bytes(link.max_frame)
        facts.add_row("constant rate", f"{slot:g} bytes every {1e3 * slot / link.rate:.4g} ms")
    survives = "in one pass, nothing else lost"
    if forecast.seconds is not None and forecast.goodput is not None and link.rate:
        facts.add_row("time on air", seconds(forecast.seconds))
        share = forecast.goodput / link.rate
        facts.add_row("goodput", f"{size(forecast.goodput)}/s, {share:.1%} of the line")
        facts.add_row("longest outage", f"{seconds(forecast.outage)} {survives}")
    else:
        facts.add_row("longest outage", f"{forecast.outage:,.0f} frames {survives}")
    return facts


def _print_shares(console: Console, shares: list[dict[str, object]]) -> None:
    table = Table("lane", "share", box=None, header_style="bold")
    for one in shares:
        table.add_row(f"  {one['lane']}", f"{one['share']:.1%}")
    console.print(table)


def _print_measured(report: Report, measured: Measured) -> None:
    from rich.console import Console

    channel, console = measured.channel, Console(highlight=False, soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    tested = plural(measured.segment.frames, "frame")
    facts.add_row(
        "measured loss", f"{measured.segment.loss:.2%} of {tested}, at most {channel.loss:.2%}"
    )
    facts.add_row(
        "measured bursts",
        f"mean at most {channel.burst:.3g} frames, the longest {channel.longest:,}",
    )
    facts.add_row("something fails", f"{chance(measured.failure)}, at most")
    console.print(facts)
    if not measured.like:
        report.warn(
            f"the test had frames of {measured.segment.frame_bytes} bytes: others lose differently"
        )
    if measured.failure <= measured.target:
        console.print(f"that is less than the {measured.target:g} that was asked for")
    elif measured.advice is None:
        report.warn("no setting would do on that link")
    else:
        options_ = measured.advice.options(measured.line)
        console.print(f"for {measured.target:g}: diode send FILE --to URL {options_}")
        if measured.advice.seconds is not None:
            took = seconds(measured.advice.seconds)
            console.print(f"that fails with {chance(measured.advice.failure)} and takes {took}")


def chance(probability: float) -> str:
    """A probability for people."""
    if probability < 1e-12:
        return "less than 1 in 10^12"
    return f"{probability:.1%}" if probability >= 0.01 else f"{probability:.1e}"
