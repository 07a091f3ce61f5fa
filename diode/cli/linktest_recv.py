"""diode linktest recv: what a link does to frames, and what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from diode import carrier, line
from diode.advice import Level
from diode.cli import (
    INTERRUPTED,
    complete,
    confinement,
    linktest_plot,
    linktest_report,
    options,
    reading,
    signals,
)
from diode.cli.linktest_result import VERSION
from diode.cli.output import Output, Plot
from diode.cli.progress import progress
from diode.cli.report import Report
from diode.errors import NothingHeard, Partial, UsageError
from diode.service.linktest import Listener
from diode.wording import size

if TYPE_CHECKING:
    from diode.carrier import ReceivingCarrier
    from diode.modem.hearing import Hearing


@click.command(short_help="measure what arrives, advise settings")
@click.option(
    "--from",
    "url",
    required=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier to listen on.",
)
@click.option("--idle", type=options.Duration(), help="Stop after that much silence.")
@click.option(
    "--want",
    "target",
    type=float,
    default=1e-9,
    show_default=True,
    help="Probability of losing an object that the advice must keep.",
)
@click.option(
    "--size",
    "bytes_",
    type=options.Size(),
    default="1M",
    show_default=True,
    help="Size of the objects that the advice is for.",
)
@options.heard_line
@click.option("--save", type=click.Path(), help="Write the result to a file, as JSON.")
@click.option("--plot", type=click.Path(), help="Draw loss over time and the bursts.")
@options.buffer
@options.impair
@options.sandbox
@options.manners
def command(
    url: str,
    idle: float | None,
    target: float,
    bytes_: int,
    line_name: str | None,
    save: str | None,
    plot: str | None,
    buffer: int,
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Listen to `diode linktest send`, tell what the link does to frames, advise settings.

    \b
      diode linktest recv --from 'serial:/dev/ttyUSB1?baud=115200' --size 10M
      diode linktest recv --from audio: --save link.json --plot link.png

    Start it before the sender. It ends when the test does. The advice reckons not with the
    loss that was seen but with the one that, as sure as 95 %, is not exceeded: a longer test
    gives cheaper settings. Exit code 4 when no test was heard, 3 when no setting would do.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if not 0 < target < 1:
        raise UsageError(f"--want {target:g} is no probability", hint="--want 1e-9")
    saving = None if save is None else Output(save)
    plotting = None if plot is None else Plot(plot)
    medium, reader = reading.opened(report, url, impair, sandbox, buffer)
    try:
        confined = confinement.receiver(report, (), 0, sandbox)
        report.event("listening", url=url, sandbox=confined, reader=reader)
        name = options.line_for(carrier.facts(url), line_name, line.AUTO)
        listener = _listen(report, medium, idle, name)
    finally:
        medium.close()
    figures = _figures(listener, bytes_, target)
    _tell(report, figures, reading.dropped(medium), saving)
    if plotting is not None:
        best = figures.best()
        advice = None if best is None else figures.command(best)
        linktest_plot.draw(plotting, figures.results, advice)
    if listener.stopped:
        return INTERRUPTED
    return 0 if figures.best() is not None else Partial.exit_code


def _figures(listener: Listener, bytes_: int, target: float) -> linktest_report.Figures:
    """What the test said. NothingHeard where there was none."""
    if listener.tally.last is None:
        raise _nothing(listener)
    return linktest_report.Figures(
        listener.tally.last, listener.results(), bytes_, target, listener.tally.wrong
    )


def _tell(
    report: Report, figures: linktest_report.Figures, dropped: dict[str, int], saving: Output | None
) -> None:
    fields = figures.fields() | dropped
    report.event("linktest", **fields)
    _tell_dropped(report, dropped["dropped_bytes"])
    if not report.json:
        linktest_report.show(report, figures)
    if saving is not None:
        saving.write(_json(fields))


def _tell_dropped(report: Report, count: int) -> None:
    if count:
        report.warn(
            f"{count:,} bytes were dropped here for want of room, and count as lost: this computer "
            "is too slow for the test, or give it more --buffer"
        )


def _nothing(listener: Listener) -> NothingHeard:
    heard = f": {size(listener.line_bytes)} heard, no test in it" if listener.line_bytes else ""
    if listener.tally.others:
        heard = f": {listener.tally.others:,} frames heard, all of something else"
    return NothingHeard(
        f"no link test was heard{heard}",
        hint="on the other end: diode linktest send --to URL; then see wiring and speed",
    )


def _listen(
    report: Report, medium: ReceivingCarrier, idle: float | None, line_name: str
) -> Listener:
    with progress(report, "listening") as bar:

        def shown() -> None:
            tally = listener.tally
            bar.update(tally.frames, None, f"{tally.frames:,} test frames heard")

        listener = Listener(medium, idle, line_name, shown=shown)
        listener.sample = lambda: _sample(getattr(medium, "heard", None))
        with signals.asking(listener.stop):
            listener.run()
    return listener


def _sample(heard: Hearing | None) -> tuple[Level, float | None] | None:
    """Level and clock as a sound carrier has them now; None of any other."""
    if heard is None:
        return None
    level = Level(
        heard.level_db, heard.peak_db, heard.clipped, heard.dc, heard.hum_db, heard.snr_db
    )
    return level, heard.clock_ppm


def _json(fields: dict[str, object]) -> bytes:
    return (
        json.dumps({"event": "linktest", "version": VERSION, **fields}, indent=1).encode("ascii")
        + b"\n"
    )
