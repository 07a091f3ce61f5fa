"""diode linktest recv: what a link does to frames, and what to do about it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from diode import carrier, line
from diode.advice import Level
from diode.cli import INTERRUPTED, linktest_report, options, signals
from diode.cli.progress import progress
from diode.cli.report import Report, size
from diode.errors import DestinationError, NothingHeard, Partial, UsageError
from diode.service.linktest import Listener

if TYPE_CHECKING:
    from diode.modem import Signal
    from diode.modem.meter import Meter

HUM = (45.0, 65.0)
"""Where mains hum lies, in Hz."""


@click.command(short_help="measure what arrives, advise settings")
@click.option("--from", "url", required=True, metavar="URL", help="Carrier to listen on.")
@click.option("--idle", type=options.Duration(), help="Stop after that much silence.")
@click.option(
    "--loss-target",
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
@options.impair
@options.manners
def command(
    url: str,
    idle: float | None,
    target: float,
    bytes_: int,
    line_name: str | None,
    save: str | None,
    plot: str | None,
    impair: str | None,
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
        raise UsageError(f"--loss-target {target:g} is no probability", hint="--loss-target 1e-9")
    medium = carrier.open_receiving(url, impair=impair, notice=report.warn)
    try:
        name = options.line_for(carrier.facts(url), line_name, line.AUTO)
        listener = _listen(report, medium, url, idle, name)
    finally:
        medium.close()
    results = listener.results()
    if listener.tally.last is None:
        heard = f": {size(listener.line_bytes)} heard, no test in it" if listener.line_bytes else ""
        if listener.tally.others:
            heard = f": {listener.tally.others:,} frames heard, all of something else"
        raise NothingHeard(
            f"no link test was heard{heard}",
            hint="on the other end: diode linktest send --to URL; then see wiring and speed",
        )
    figures = linktest_report.Figures(
        listener.tally.last, results, bytes_, target, listener.tally.wrong
    )
    fields = figures.fields()
    report.event("linktest", **fields)
    if not report.json:
        linktest_report.show(report, figures)
    if save is not None:
        _save(save, fields)
    if plot is not None:
        from diode.cli.linktest_plot import draw

        draw(plot, figures.results)
    if listener.stopped:
        return INTERRUPTED
    return 0 if figures.best() is not None else Partial.exit_code


def _listen(
    report: Report, medium: carrier.ReceivingCarrier, url: str, idle: float | None, line_name: str
) -> Listener:
    with progress(report, "listening") as bar:

        def shown() -> None:
            tally = listener.tally
            bar.update(tally.frames, None, f"{tally.frames:,} test frames heard")

        listener = Listener(medium, idle, line_name, shown=shown)
        if hasattr(medium, "meter"):
            listener.sample = lambda: _sample(medium)
        report.event("listening", url=url)
        with signals.asking(listener.stop):
            listener.run()
    return listener


def _sample(medium: carrier.ReceivingCarrier) -> tuple[Level, float | None]:
    """Level and clock as the sound carrier has them now."""
    meter: Meter = getattr(medium, "meter")  # noqa: B009  only carriers of sound have it
    signal: Signal = getattr(medium, "signal")  # noqa: B009
    level = Level(
        meter.level_db,
        meter.peak_db,
        meter.clipped,
        meter.dc,
        float(meter.spectrum(1, *HUM)[0]),
        signal.snr_db,
    )
    return level, signal.clock_ppm


def _save(path: str, fields: dict[str, object]) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(json.dumps({"event": "linktest", **fields}, indent=1) + "\n")
    except OSError as error:
        name = os.fspath(path)
        raise DestinationError(f"{name}: cannot be written: {error.strerror}") from error
