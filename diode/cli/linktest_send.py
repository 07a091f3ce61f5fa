"""diode linktest send: known frames onto a carrier, for the other end to measure the link."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import click

from diode import carrier, linktest
from diode import line as lines
from diode import modem as modems
from diode.cli import complete, options
from diode.cli.progress import progress
from diode.cli.report import Report
from diode.linktest import MODEMS, UNPACED_RATE, Way
from diode.service.linktest import SYNCHRONOUS, play
from diode.wording import plural, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.linktest import Segment
    from diode.plan import Link

IN_TURN = ("robust", "telephone", "cable")
"""Modems that are tried where the URL names none."""
SOUNDS = {"wav", "pcm", "audio"}


@click.command(short_help="send test frames")
@click.option(
    "--to",
    "url",
    required=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier to send on.",
)
@click.option(
    "--seconds",
    "duration",
    type=options.Duration(),
    default="20",
    show_default=True,
    help="Time on the line, shared by all lines and modems; at least a handful of frames each.",
)
@click.option(
    "--line", type=click.Choice(["cobs", "rs"]), help="That byte framing alone.  [default: both]"
)
@options.impair
@options.manners
def command(
    url: str,
    duration: float,
    line: str | None,
    impair: str | None,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Send numbered frames whose every byte the receiver knows.

    \b
      diode linktest send --to 'serial:/dev/ttyUSB0?baud=115200'
      diode linktest send --to audio: --seconds 60      robust, telephone and cable in turn

    Sound is made with each of these modems in turn unless the URL names one.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    tests = ways(url, line)
    run = secrets.randbelow((1 << 32) - 1) + 1
    segments = linktest.segments(run, tests, duration)
    if tests[0][0].modem in IN_TURN and "modem" not in carrier.parse(url).query:
        url = _with_modem(url, tests[0][0].modem)
    medium = carrier.open_sending(url, notice=report.warn)
    try:
        _play(report, segments, medium, _impaired(medium, impair))
    finally:
        medium.close()
    frames = sum(segment.count for segment in segments)
    names = "; ".join(segment.way.name for segment in segments)
    report.event(
        "linktest_sent",
        run=run,
        frames=frames,
        segments=[{"line": s.way.line, "modem": s.way.modem, "frames": s.count} for s in segments],
    )
    report.say(f"sent {plural(frames, 'test frame')} ({names}); the other end knows the result")
    return 0


def ways(url: str, line: str | None) -> list[tuple[Way, Link]]:
    """What to test on that carrier: its lines; of sound the modems first of all."""
    parsed = carrier.parse(url)
    if parsed.scheme not in SOUNDS:
        facts = carrier.facts(url)
        name = options.line_for(facts, line, "")
        return [(Way(each), _link(facts, each)) for each in ([name] if name else ["cobs", "rs"])]
    names = [parsed.query["modem"]] if "modem" in parsed.query else list(IN_TURN)
    found = []
    for name in names:
        facts = carrier.facts(url if "modem" in parsed.query else _with_modem(url, name))
        both = ["cobs"] if name in SYNCHRONOUS else ["cobs", "rs"]
        found += [
            (Way(each, name if name in MODEMS else ""), _link(facts, each))
            for each in ([line] if line else both)
        ]
    return found


def _link(facts: carrier.CarrierFacts, name: str) -> Link:
    return options.link(facts, lines.encoder(name))


def _with_modem(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}modem={name}"


def _impaired(medium: carrier.SendingCarrier, spec: str | None) -> carrier.SendingCarrier:
    """The carrier made worse. Not by `open_sending`: the modem behind it has to be changed."""
    if spec is None:
        return medium
    from diode.carrier.impaired import ImpairedSender, Impairment

    return ImpairedSender(medium, Impairment.parse(spec))


def _play(
    report: Report,
    segments: list[Segment],
    medium: carrier.SendingCarrier,
    damaged: carrier.SendingCarrier,
) -> None:
    total, sent = sum(segment.count for segment in segments), 0
    spoken = segments[0].way.modem

    def change(name: str) -> None:
        nonlocal spoken
        if name != spoken:
            spoken = name
            put: Callable[[modems.Modem], None] = getattr(medium, "change")  # noqa: B009
            put(modems.modem(name))

    rates = [segment.rate or UNPACED_RATE for segment in segments]
    each = zip(segments, rates, strict=True)
    report.detail(f"about {seconds(sum(s.count * s.length / rate for s, rate in each))}")
    with progress(report, "testing") as bar:

        def shown(frames: int) -> None:
            nonlocal sent
            sent += frames
            bar.update(sent, total, f"{sent:,} of {total:,} frames")

        play(segments, damaged, change=change, shown=shown)
