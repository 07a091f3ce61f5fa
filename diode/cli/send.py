"""diode send: files, folders or standard input onto a transmit-only carrier."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import click

from diode import allocator, slots
from diode.cli import (
    complete,
    confinement,
    lanes,
    options,
    preparing,
    receipting,
    recording,
    signals,
    signing,
    streaming,
)
from diode.cli.course import Course
from diode.cli.piecewise import Piecewise
from diode.cli.progress import Interval, progress
from diode.cli.report import Report
from diode.cli.sending import Sending
from diode.cli.steady import AsItComes, Steady, WithRecords
from diode.errors import Partial, UsageError
from diode.service import notify
from diode.service.coders import Coders
from diode.service.sender import transmit
from diode.service.state import SenderState, default_folder
from diode.transmitter import Transmitter
from diode.wording import size

if TYPE_CHECKING:
    from diode.cli.preparing import Listing
    from diode.cli.signing import Keys
    from diode.plan import Link, Settings
    from diode.service.lanes import Outlet
    from diode.service.notify import Notifier
    from diode.tag import Tagger

Way = Steady | WithRecords | AsItComes | Piecewise
LEAP = 1 << 32
"""Frames that count as sent while nobody writes down how many are: a sender killed while it read
its files goes on behind them (wire 3.4). A multiple of 2^16, so that sequence numbers go on."""


@dataclass(frozen=True, slots=True)
class How:
    """What of the command line is not about what is sent."""

    impair: str | None
    state: str
    sandbox: str
    fresh: bool
    hard_links: bool
    specified: bool
    tagger: Tagger
    cbr: bool
    linger: float | None
    given: receipting.Given
    jobs: int
    stream: streaming.Asked
    records: recording.Sources | recording.NoSources


class Beside(NamedTuple):
    """What works beside the sending."""

    pool: ThreadPoolExecutor
    coder: Coders
    records: recording.Sources | recording.NoSources


@click.command(short_help="send files, folders or standard input")
@click.argument("paths", nargs=-1, metavar="PATH...", shell_complete=complete.files)
@click.option(
    "--to",
    "urls",
    required=True,
    multiple=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier to send on; several share out what is sent.",
)
@click.option(
    "--name",
    help="Name at the other end, for a single PATH or standard input; {time}, {date}, {host}.",
)
@click.option(
    "--state", type=click.Path(), help="Folder with the sender's identity.  [default: per user]"
)
@click.option(
    "--hard-links", is_flag=True, help="Send files below a folder that have other names too."
)
@click.option(
    "--manifest", "specified", is_flag=True, help="Send with each folder the list of what is in it."
)
@click.option("--fresh", is_flag=True, help="Forget what earlier runs did not finish.")
@signing.options
@receipting.receipt_options
@streaming.stream_options
@recording.record_options
@options.link_key
@click.option("--keep-order", is_flag=True, help="Do not interleave a file with the next one.")
@click.option("--no-bundle", is_flag=True, help="Send each small file as an object of its own.")
@options.planning
@options.cbr
@options.linger
@options.jobs
@options.impair
@options.sandbox
@options.manners
def command(
    paths: tuple[str, ...],
    urls: tuple[str, ...],
    name: str | None,
    state: str | None,
    key_file: str | None,
    encrypt_to: tuple[str, ...],
    asked: receipting.Asked,
    records: recording.Asked,
    stream: streaming.Asked,
    link_key: str | None,
    hard_links: bool,
    specified: bool,
    fresh: bool,
    keep_order: bool,
    no_bundle: bool,
    code: str | None,
    redundancy: float | None,
    loss: float | None,
    passes: int,
    burst: float,
    symbol_size: int | None,
    line: str | None,
    cbr: bool,
    linger: float | None,
    jobs: int,
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Send files, folders (with everything below) or - (standard input).

    \b
      diode send report.pdf --to 'serial:/dev/ttyUSB0?baud=115200'
      diode send photos/ --to file:photos.cap --redundancy 50%
      tar c src | diode send - --name src.tar --to - | ssh relay 'cat > /dev/ttyS1'
      diode send --records 'mqtt://localhost/plant/#' --every 'alarms/#' --to udp://10.0.0.2:9000

    Nothing ever comes back, so the sender can say that it sent, never that anything
    arrived. Everything is sent as often as --passes says, each time with fresh parity.
    On a line, a run that was killed goes on where it was when the same command is given again.
    With --cbr the line is never silent until it is stopped. Several --to share everything out.
    --receipt leaves out what a receiver says it has, and without PATH sends what that lacks.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    planned = (code, redundancy, loss, passes, burst, symbol_size)
    settings = options.settings(*planned, keep_order=keep_order, bundle=not no_bundle)
    _check(urls, json_, cbr, linger)
    stream.check(paths, passes, cbr=cbr)
    with contextlib.ExitStack() as stack:
        sources = records.started(report, sandbox, stack)  # before there are keys
        keys = signing.keys(report, key_file, encrypt_to)
        tagger: Tagger = options.tagging(link_key)
        given = receipting.given(paths, asked)
        kept = (impair, state or default_folder(), sandbox, fresh, hard_links, specified)
        how = How(*kept, tagger, cbr, linger, given, jobs, stream, sources)
        return _send(report, paths, name, urls, settings, keys, line, how)


def _check(urls: tuple[str, ...], json_: bool, cbr: bool, linger: float | None) -> None:
    if json_ and any(url.partition("?")[0] == "-" for url in urls):
        raise UsageError("--json and the line both want standard output", hint="use --to file:PATH")
    if linger is not None and not cbr:
        raise UsageError("--linger goes with --cbr", hint=f"--cbr --linger {linger:g}s")


def _transmitter(
    state: SenderState,
    frames: int,
    settings: Settings,
    link: Link,
    keys: Keys,
    how: How,
    beside: Beside,
) -> Transmitter:
    """frames: that this sender has sent before."""
    return Transmitter(
        state.sender,
        settings,
        link,
        frames_before=frames,
        highest_number=state.number,
        signer=keys.signer,
        encloser=keys.enclosing(state.secret),
        tagger=how.tagger,
        ahead=beside.pool.submit,
        coder=beside.coder,
        depth=max(1, how.jobs),
        records=beside.records.outflow(state, settings, link),
    )


def _send(
    report: Report,
    paths: tuple[str, ...],
    name: str | None,
    urls: tuple[str, ...],
    settings: Settings,
    keys: Keys,
    line_asked: str | None,
    how: How,
) -> int:
    named = lanes.named(urls, line_asked)
    named, settings, link = lanes.planned(named, settings, how.tagger.extra, cbr=how.cbr)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(SenderState(how.state))
        intake, listed, read = _listed(report, state, paths, name, how, stack)
        if not (read or how.records):
            return receipting.nothing(report, listed)
        # Before gigabytes are read: a port that is not there is told at once.
        outlet = lanes.opened(named, how.impair, report, stack)
        preparing.spool(report, listed, settings, how.stream, stack)
        # Forked before there are threads, with nothing of what has been opened.
        coder = stack.enter_context(contextlib.closing(Coders(how.jobs, report.warn)))
        notifier = stack.enter_context(contextlib.closing(notify.opened()))
        confinement.sender(report, urls, how.state, read, listed.spool, how.sandbox)
        # A thread shares the confinement only if it starts after it.
        pool = stack.enter_context(ThreadPoolExecutor(max(1, how.jobs), "ahead"))
        state.make_room(len(listed))
        course = Course(report, state, all(o.facts.live for o in named), intake, fresh=how.fresh)
        settings = replace(settings, cipher=keys.cipher)
        lines = " ".join(one.line for one in named)
        course.named(paths, name, " ".join(urls), lines, settings, link, keys.names)
        frames = max(state.frames, course.frames)
        beside, records = Beside(pool, coder, how.records), how.records
        transmitter = _transmitter(state, frames, settings, link, keys, how, beside)
        preparation = preparing.Preparation(report, listed, course, transmitter, bool(records))
        sending = Sending(report, preparation, course, records)
        if how.cbr or records:
            state.count_frames(transmitter.frames_sent + LEAP)
        way: Way
        if how.cbr:
            turn = slots.in_turn(link, named[0].facts.batch)
            way = Steady(report, preparation, pool, turn, how.linger, records)
        elif how.stream.in_pieces:
            course.begin(transmitter)
            way = Piecewise(preparation, state.reserve, listed.stdin or "", how.stream.abort_file)
        else:
            way = WithRecords(preparation, records) if records else AsItComes(preparation)
        finished = False
        try:
            with way:
                _transmit(report, sending, way, outlet, notifier)
            finished = True
        finally:
            notifier.stop()
            state.count_frames(transmitter.frames_sent)
            sending.report_events()
            course.end(transmitter.frames_sent, finished=finished)
    sending.conclude(settings)
    partial = sending.failed or listed.unreadable or lanes.missed(report, outlet)
    return Partial.exit_code if partial else 0


def _listed(
    report: Report,
    state: SenderState,
    paths: tuple[str, ...],
    name: str | None,
    how: How,
    stack: contextlib.ExitStack,
) -> tuple[receipting.Intake, Listing, tuple[str, ...]]:
    """What is known of earlier runs, what there is to send, and the paths that will be read."""
    intake = receipting.Intake(report, state, how.given)
    stack.callback(intake.close)
    called = streaming.named(name)
    listed = preparing.listing(report, paths, called, how.hard_links, how.specified)
    return intake, listed, paths or intake.list_missing(listed, how.hard_links)


def _transmit(
    report: Report,
    sending: Sending,
    way: Way,
    outlet: Outlet,
    notifier: Notifier,
) -> None:
    state, interval = sending.transmitter.progress, Interval()
    started = time.monotonic()
    allocator.restrain()
    notifier.begin()
    with progress(report, "sending") as bar:

        def shown() -> None:
            signals.check()
            notifier.progressed()
            way.look()
            passes = f"pass {state.number_of_pass}" + (f"/{state.passes}" if state.passes else "")
            total = state.total_frames if state.passes else None
            rate = state.line_bytes / max(0.1, time.monotonic() - started)
            text = f"{passes}, {size(rate)}/s, {state.frames:,} frames"
            bar.update(state.frames, total, text)
            notifier.status(text)
            if report.json and interval.due():
                report.event(
                    "progress",
                    frames=state.frames,
                    total_frames=total,
                    number_of_pass=state.number_of_pass,
                    passes=state.passes,
                    idle=state.idle_frames,
                )
            sending.report_events()

        transmit(way.turns, outlet, log=sending.course, rest=way.rest, shown=shown, clock=way.clock)
