"""diode send: files, folders or standard input onto a transmit-only carrier."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from diode import carrier, line, plan
from diode.assembly import describe
from diode.cli import confinement, options, signing
from diode.cli.course import Course
from diode.cli.progress import Interval, progress
from diode.cli.report import Report, plural, seconds, size
from diode.errors import Partial, SourceError, UsageError
from diode.objects import escape, wire_name
from diode.service.sender import transmit
from diode.service.state import SenderState, default_folder
from diode.source import folder
from diode.source.bundle import BundleSource, Sent, Spool, gather
from diode.transmitter import ObjectSent, Transmitter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diode.assembly import Source
    from diode.cli.signing import Keys
    from diode.objects import Manifest
    from diode.plan import Settings
    from diode.source.stream import StreamSource
    from diode.tag import Tagger

STDIN = "-"


@dataclass(frozen=True, slots=True)
class How:
    """What of the command line is not about what is sent."""

    impair: str | None
    state: str
    sandbox: str
    fresh: bool
    hard_links: bool
    tagger: Tagger


@dataclass(slots=True)
class Sending:
    """What one run of `diode send` keeps at hand."""

    report: Report
    transmitter: Transmitter
    manifests: dict[int, Manifest]
    sources: Mapping[int, Source]
    course: Course
    failed: int = 0
    objects: int = 0
    files: int = 0
    """What people count: the members of a bundle each."""
    file_bytes: int = 0

    def report_events(self) -> None:
        """Tell what the transmitter has finished."""
        for event in self.transmitter.events():
            manifest = self.manifests[event.number]
            name = escape(event.name)
            if isinstance(event, ObjectSent):
                self._sent(event, manifest)
                self.report.detail(f"sent {name} as {self.transmitter.sender:08x}:{event.number}")
            else:
                self.failed += event.number not in self.course.withdrawn
                self.course.log.void(event.number)
                self.report.event(
                    "object_void",
                    name=name,
                    sender=self.transmitter.sender,
                    number=event.number,
                    reason=event.reason,
                )
                self.report.warn(f"{event.reason}; the receiver is told not to deliver it")

    def _sent(self, event: ObjectSent, manifest: Manifest) -> None:
        source = self.sources[event.number]
        bundled = isinstance(source, BundleSource)
        self.objects += 1
        one = Sent(manifest.name, manifest.size, manifest.digest.hex())
        for file in source.members if isinstance(source, BundleSource) else [one]:
            self.files += 1
            self.file_bytes += file.size
            self.report.event(
                "object_sent",
                name=escape(file.name),
                sender=self.transmitter.sender,
                number=event.number,
                size=file.size,
                sha256=file.sha256,
                passes=event.passes,
                encrypted=manifest.encrypted,
                bundle=bundled,
            )


@click.command(short_help="send files, folders or standard input")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", "url", required=True, metavar="URL", help="Carrier to send on.")
@click.option("--name", help="Name at the other end, for a single PATH or standard input.")
@click.option(
    "--state", type=click.Path(), help="Folder with the sender's identity.  [default: per user]"
)
@click.option(
    "--hard-links", is_flag=True, help="Send files below a folder that have other names too."
)
@click.option("--fresh", is_flag=True, help="Forget what earlier runs did not finish.")
@signing.options
@options.link_key
@click.option("--keep-order", is_flag=True, help="Do not interleave a file with the next one.")
@click.option("--no-bundle", is_flag=True, help="Send each small file as an object of its own.")
@options.planning
@options.impair
@options.sandbox
@options.manners
def command(
    paths: tuple[str, ...],
    url: str,
    name: str | None,
    state: str | None,
    key_file: str | None,
    encrypt_to: tuple[str, ...],
    link_key: str | None,
    hard_links: bool,
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
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Send files, folders (with everything below) or - (standard input).

    \b
      diode send report.pdf --to 'serial:/dev/ttyUSB0?baud=115200'
      diode send photos/ --to file:/media/stick/photos.cap --redundancy 50%
      tar c src | diode send - --name src.tar --to - | ssh relay 'cat > /dev/ttyS1'

    Nothing ever comes back, so the sender can say that it sent, never that anything
    arrived. Everything is sent as often as --passes says, each time with fresh parity.
    On a line, a run that was killed goes on where it was when the same command is given again.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    settings = options.settings(
        code,
        redundancy,
        loss,
        passes,
        burst,
        symbol_size,
        keep_order=keep_order,
        bundle=not no_bundle,
    )
    if url.partition("?")[0] == "-" and json_:
        raise UsageError("--json and the line both want standard output", hint="use --to file:PATH")
    keys = signing.keys(report, key_file, encrypt_to)
    folder = state or default_folder()
    how = How(impair, folder, sandbox, fresh, hard_links, options.tagging(link_key))
    return _send(report, paths, name, url, settings, keys, line, how)


def _send(
    report: Report,
    paths: tuple[str, ...],
    name: str | None,
    url: str,
    settings: Settings,
    keys: Keys,
    line_asked: str | None,
    how: How,
) -> int:
    facts = carrier.facts(url)
    line_name = options.line_for(facts, line_asked, "cobs")
    encoder = line.encoder(line_name)
    link = options.link(facts, encoder, how.tagger.extra)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(SenderState(how.state))
        listing = _list(report, paths, name, how.hard_links)
        # Before gigabytes are hashed: a port that is not there is told at once.
        medium = carrier.open_sending(url, impair=how.impair, notice=report.warn)
        stack.callback(medium.close)
        sources = _hash(report, listing, stack, plan.bundle_room(settings, link))
        if not sources:
            raise SourceError("there is nothing to send")
        confinement.sender(report, url, how.state, paths, listing.spool, how.sandbox)
        # A thread shares the confinement only if it starts after it.
        pool = stack.enter_context(ThreadPoolExecutor(1, "ahead"))
        course = Course(report, state, facts.live, fresh=how.fresh)
        settings = replace(settings, cipher=keys.cipher)
        course.named(paths, name, url, line_name, settings, link, keys.names)
        queue = course.take_up([(s, describe(s, settings, link)) for s in sources], settings)
        transmitter = Transmitter(
            state.sender,
            settings,
            link,
            frames_before=max(state.frames, course.frames),
            highest_number=state.number,
            signer=keys.signer,
            encloser=keys.enclosing(state.secret),  # which may be another since numbers were taken
            tagger=how.tagger,
            ahead=lambda work: pool.submit(work).result,
        )
        manifests = queue.fill(transmitter)
        course.begin(transmitter)
        failed = len(listing.unreadable)
        sending = Sending(report, transmitter, manifests, queue.sources, course, failed)
        finished = False
        try:
            _transmit(report, sending, encoder, medium, facts.batch)
            finished = True
        finally:
            state.count_frames(transmitter.frames_sent)
            sending.report_events()
            course.end(transmitter.frames_sent, finished=finished)
    _conclude(report, sending, settings)
    return Partial.exit_code if sending.failed else 0


@dataclass(slots=True)
class Listing:
    """What the paths on the command line come to."""

    found: list[folder.Found] = field(default_factory=list)
    stdin: str | None = None
    """The name for standard input, if that is to be sent."""
    spool: str | None = None
    """Where standard input was put."""
    unreadable: list[str] = field(default_factory=list)


def _list(report: Report, paths: tuple[str, ...], name: str | None, hard_links: bool) -> Listing:
    """Everything the paths name, nothing of it read yet."""
    if name is not None and len(paths) > 1:
        raise UsageError("--name goes with a single PATH", hint="send them one by one, or a folder")
    listing = Listing()

    def skipped(path: str, why: str) -> None:
        report.event("skipped", path=escape(path), reason=why)
        if not report.json:
            report.warn(f"skipped {escape(path)}: {why}")
        if not why.startswith(("a ", "not ")):
            listing.unreadable.append(path)

    for path in paths:
        if path == STDIN:
            if os.isatty(0):
                raise UsageError(
                    "standard input is a terminal", hint="tar c DIR | diode send - --to URL"
                )
            listing.stdin = name or "stdin"
        else:
            listing.found += folder.find(path, name, skipped, hard_links=hard_links)
    return listing


def _hash(
    report: Report, listing: Listing, stack: contextlib.ExitStack, bundle_room: int
) -> list[Source]:
    """The objects to send. A single one that cannot be read is an error, one of many a warning."""
    sources: list[Source] = []
    if listing.stdin is not None:
        source = _standard_input(listing.stdin, stack)
        listing.spool = source.path
        sources.append(source)
    total, done = sum(f.size for f in listing.found), 0
    with progress(report, "reading") as bar:

        def hashed(count: int) -> None:
            nonlocal done
            done += count
            bar.update(done, total, size(done))

        def failed(thing: folder.Found, error: SourceError) -> None:
            if len(listing.found) == 1 and not sources:
                raise error
            listing.unreadable.append(thing.path)
            report.warn(f"skipped {error}")

        @functools.cache
        def spool() -> Spool:
            made = Spool()
            stack.callback(made.close)
            return made

        sources += gather(listing.found, bundle_room, spool, failed, hashed)
    return sources


def _standard_input(name: str, stack: contextlib.ExitStack) -> StreamSource:
    from diode.source.stream import StreamSource

    wanted = [part for part in name.split("/") if part]
    source = StreamSource(0, wire_name(wanted or ["stdin"]))
    stack.callback(source.discard)
    return source


def _transmit(
    report: Report,
    sending: Sending,
    encoder: line.Encoder,
    medium: carrier.SendingCarrier,
    batch: int,
) -> None:
    state, interval = sending.transmitter.progress, Interval()
    started = time.monotonic()

    with progress(report, "sending") as bar:

        def shown() -> None:
            passes = f"pass {state.number_of_pass}" + (f"/{state.passes}" if state.passes else "")
            total = state.total_frames if state.passes else None
            rate = state.line_bytes / max(0.1, time.monotonic() - started)
            bar.update(state.frames, total, f"{passes}, {size(rate)}/s, {state.frames:,} frames")
            if report.json and interval.due():
                report.event(
                    "progress",
                    frames=state.frames,
                    total_frames=total,
                    number_of_pass=state.number_of_pass,
                    passes=state.passes,
                )
            sending.report_events()

        log = sending.course.log
        transmit(sending.transmitter, encoder, medium, batch=batch, log=log, shown=shown)


def _what(sending: Sending) -> str:
    """`3 objects`, or `300 files in 2 objects` where some of them went together."""
    objects = plural(sending.objects, "object")
    if sending.files == sending.objects:
        return objects
    return f"{plural(sending.files, 'file')} in {objects}"


def _conclude(report: Report, sending: Sending, settings: Settings) -> None:
    frames = sending.transmitter.progress.line_frames
    rate = sending.transmitter.link.rate
    took = ""
    if rate:
        line_time = sending.transmitter.progress.line_time
        took = f", about {seconds(line_time / rate)} of line time"
    report.say(
        f"sent {_what(sending)}, {size(sending.file_bytes)}, in "
        f"{plural(settings.passes, 'pass').replace('passs', 'passes')}: {frames:,} frames{took}; "
        f"what arrived cannot be known here"
    )
