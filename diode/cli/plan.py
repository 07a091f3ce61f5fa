"""diode plan: what sending will take and survive, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click
from rich.table import Table

from diode.advice import advise, failure
from diode.cli import complete, lanes, options
from diode.cli.report import Report, seconds, size
from diode.code import by_id
from diode.errors import UsageError
from diode.forecast import forecast as predict

if TYPE_CHECKING:
    from diode.advice import Advice, Channel
    from diode.cli.linktest_result import Segment
    from diode.forecast import Forecast
    from diode.plan import Link, Settings


@click.command(short_help="time on air, overhead, survivable losses")
@click.option("--size", "bytes_", type=options.Size(), required=True, help="Size of the object.")
@click.option(
    "--carrier",
    "urls",
    required=True,
    multiple=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier, as for send --to; several share it.",
)
@options.planning
@options.cbr
@click.option(
    "--linktest", "result", type=click.Path(), help="Reckon with a link test's saved result."
)
@options.manners
def command(
    bytes_: int,
    urls: tuple[str, ...],
    code: str | None,
    redundancy: float | None,
    loss: float | None,
    passes: int,
    burst: float,
    symbol_size: int | None,
    line: str | None,
    cbr: bool,
    result: str | None,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compute time on air, overhead, and what losses an object of a size survives.

    \b
      diode plan --size 10M --carrier 'serial:?baud=115200' --redundancy 25% --burst 500ms
      diode plan --size 1G --carrier 'file:x?rate=100M' --passes 2
      diode plan --size 1G --carrier 'udp:?rate=900M' --carrier 'udp:?rate=100M'
      diode plan --size 5M --carrier 'serial:?baud=115200' --line rs --linktest link.json

    The device in the URL is not opened and may be left out.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    settings = options.settings(code, redundancy, loss, passes, burst, symbol_size)
    named, settings, link = lanes.planned(_named(urls, line), settings, 0, cbr=cbr)
    forecast = predict(bytes_, settings, link)
    shares = lanes.shares(named, link)
    measured = None if result is None else _measured(result, named, forecast, settings, link)
    report.event(
        "plan",
        **_fields(forecast),
        **_slots(settings, link),
        lanes=shares,
        measured=None if measured is None else measured.fields(),
    )
    if not report.json:
        _print(forecast, settings, link, ", ".join(dict.fromkeys(one.line for one in named)))
        if len(shares) > 1:
            _print_shares(shares)
        if measured is not None:
            _print_measured(report, measured)
    return 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a link test means for this plan."""

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
            "seconds": None if self.advice is None else self.advice.seconds,
        }


def _measured(
    path: str, named: list[lanes.Named], forecast: Forecast, settings: Settings, link: Link
) -> Measured:
    """Raises UsageError where the result does not fit."""
    from diode.cli import linktest_result

    if len(named) > 1:
        raise UsageError("a link test is of one lane", hint="plan each lane alone with its result")
    (one,) = named
    found = linktest_result.read(path)
    segment = found.segment(one.line, _modem(one.url))
    cut = forecast.geometry
    channel = segment.channel(link, cut)
    planned = replace(settings, passes=max(1, settings.passes))
    return Measured(
        segment,
        channel,
        failure(cut, planned, channel),
        advise(channel, cut.size, found.loss_target),
        found.loss_target,
        None if one.facts.kind != "bytes" else one.line,
        segment.like(link, cut),
    )


def _modem(url: str) -> str | None:
    """The modem that speaks on a carrier of sound; None on any other."""
    from diode.carrier import parse, sound

    parsed = parse(url)
    if parsed.scheme not in ("audio", "wav", "pcm"):
        return None
    return parsed.query.get("modem", sound.SPEAKING)


def _print_measured(report: Report, measured: Measured) -> None:
    from rich.console import Console

    channel, console = measured.channel, Console(highlight=False, soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("measured loss", f"{measured.segment.loss:.2%}, at most {channel.loss:.2%}")
    facts.add_row(
        "measured bursts",
        f"mean at most {channel.burst:.3g} frames, the longest {channel.longest:,}",
    )
    facts.add_row("object fails", f"{_chance(measured.failure)}, at most")
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


def _named(urls: tuple[str, ...], line_asked: str | None) -> list[lanes.Named]:
    """The lanes; what their URLs leave out of path or address does not matter."""
    whole = []
    for number, url in enumerate(urls, 1):
        scheme, colon, rest = url.partition(":")
        rest = rest.removeprefix("//")
        left_out = colon and (not rest or rest.startswith("?"))
        whole.append(f"{scheme}:any{number}{rest}" if left_out else url)
    return lanes.named(whole, line_asked)


def _fields(forecast: Forecast) -> dict[str, object]:
    cut = forecast.geometry
    return {
        "size": cut.size,
        "code": _code(forecast),
        "k": cut.k,
        "n": cut.n,
        "symbol_size": cut.symbol_size,
        "blocks": cut.blocks,
        "frames": forecast.frames,
        "manifests": forecast.manifests,
        "group_frames": forecast.group,
        "line_bytes": {name: round(value) for name, value in forecast.line_bytes.items()},
        "seconds": forecast.seconds,
        "goodput": forecast.goodput,
        "outage": forecast.outage,
        "outage_unit": "frames" if forecast.seconds is None else "seconds",
        "failure": {f"{loss:.0%}": p for loss, p in forecast.failure.items()},
    }


def _code(forecast: Forecast) -> str:
    code = by_id(forecast.geometry.code)
    assert code is not None
    return code.name


def _slots(settings: Settings, link: Link) -> dict[str, object]:
    """What a constant rate is made of, where it is one."""
    if not (settings.filled and link.rate):
        return {}
    slot = link.line_bytes(link.max_frame)
    return {"slot_bytes": slot, "slots_per_second": link.rate / slot}


def _print(forecast: Forecast, settings: Settings, link: Link, line_name: str) -> None:
    from rich.console import Console

    console, cut = Console(highlight=False), forecast.geometry
    facts = Table.grid(padding=(0, 2))
    facts.add_row("object", f"{size(cut.size)}, {cut.blocks:,} blocks of {cut.k} symbols")
    facts.add_row(
        "code", f"{_code(forecast)}, {cut.n} symbols of {cut.symbol_size} bytes a block and pass"
    )
    passes = forecast.passes or "carousel; figures for one"
    facts.add_row(
        "frames", f"{forecast.frames:,} data, {forecast.manifests:,} manifests, passes: {passes}"
    )
    facts.add_row("line", f"{line_name}, {'compact' if link.compact else 'full'} headers")
    facts.add_row(
        "on the line", f"{size(forecast.total)}, {forecast.total / max(1, cut.size):.3g} x"
    )
    if settings.filled and link.rate:
        slot = link.line_bytes(link.max_frame)
        facts.add_row("constant rate", f"{slot:g} bytes every {1e3 * slot / link.rate:.4g} ms")
    if forecast.seconds is not None and forecast.goodput is not None and link.rate:
        facts.add_row("time on air", seconds(forecast.seconds))
        share = forecast.goodput / link.rate
        facts.add_row("goodput", f"{size(forecast.goodput)}/s, {share:.1%} of the line")
        facts.add_row(
            "longest outage", f"{seconds(forecast.outage)} in one pass, nothing else lost"
        )
    else:
        facts.add_row(
            "longest outage", f"{forecast.outage:,.0f} frames in one pass, nothing else lost"
        )
    console.print(facts)
    causes = Table("bytes on the line", "", "share", box=None, header_style="bold")
    for name, value in forecast.line_bytes.items():
        causes.add_row(f"  {name}", size(value), f"{value / max(1.0, forecast.total):.1%}")
    console.print(causes)
    losses = Table("frames lost", "object fails", box=None, header_style="bold")
    for loss, probability in forecast.failure.items():
        losses.add_row(f"  {loss:.0%}", _chance(probability))
    console.print(losses)


def _print_shares(shares: list[dict[str, object]]) -> None:
    from rich.console import Console

    table = Table("lane", "share", box=None, header_style="bold")
    for one in shares:
        table.add_row(f"  {one['lane']}", f"{one['share']:.1%}")
    Console(highlight=False).print(table)


def _chance(probability: float) -> str:
    if probability < 1e-12:
        return "less than 1 in 10^12"
    return f"{probability:.1%}" if probability >= 0.01 else f"{probability:.1e}"
