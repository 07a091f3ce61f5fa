"""diode recv: listen on a carrier and deliver what is whole and right."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from diode import carrier, events, line
from diode.cli import INTERRUPTED, confinement, options, signals, verifying
from diode.cli.listening import Listening, Silent, listening
from diode.cli.progress import Interval, Ration, Shown, progress
from diode.cli.report import Report, plural, seconds, size
from diode.errors import DestinationError, NothingHeard, Partial, UsageError
from diode.limits import Limits
from diode.objects import Type, escape
from diode.service.receiver import Session, Stop

if TYPE_CHECKING:
    from diode.events import Key
    from diode.objects import Manifest
    from diode.sink import Delivered, Sink

LINK_INTERVAL = 10.0
GLIMPSE = 0.25
"""Seconds between two lines of a waterfall."""
MAX_DETAILS = 20
"""Different refusals told one by one with -v; after that they are only counted."""


@dataclass(slots=True)
class Watcher:
    """Shows and reports what a session sees."""

    report: Report
    bar: Shown
    heard: Listening = field(default_factory=Silent)
    _refusals: verifying.Refusals = field(default_factory=verifying.Refusals)
    untold: int = 0
    """Refusals that were only counted, because too many came."""
    _refusing: Ration = field(default_factory=Ration)
    _details: int = 0
    _blocks: dict[Key, tuple[int, int]] = field(default_factory=dict)
    _progress: Interval = field(default_factory=Interval)
    _link: Interval = field(default_factory=lambda: Interval(LINK_INTERVAL))
    _fall: Interval = field(default_factory=lambda: Interval(GLIMPSE))

    def event(self, event: events.Event, session: Session) -> None:  # noqa: ARG002
        report = self.report
        match event:
            case events.SenderHeard(sender):
                report.detail(f"hearing sender {sender:08x}")
                report.event("sender_heard", sender=sender)
            case events.ObjectAnnounced(key, manifest):
                report.event(
                    "object_announced",
                    name=escape(manifest.name),
                    size=manifest.size,
                    sha256=manifest.digest.hex(),
                    sender=key.sender,
                    number=key.number,
                )
                report.detail(f"announced: {escape(manifest.name)}, {size(manifest.size)}, {key}")
            case events.BlockSpoiled(key, block):
                report.warn(
                    f"block {block} of {key} contradicts its check; waiting for more symbols"
                )
            case events.FrameRejected(reason, count, detail) if detail:
                self._refusal(reason, count, detail)
            case events.ObjectQuarantined():
                self._refusals.tell(report, event)
            case events.ObjectVoided(key):
                report.event("object_void", sender=key.sender, number=key.number)
            case _:
                pass

    def delivered(self, key: Key, manifest: Manifest, how: Delivered, session: Session) -> None:
        incoming = session.receiver.objects[key]
        took = session.clock() - incoming.started
        received = session.receiver.senders.get(key.sender)
        heard = received.frames + received.lost if received else 0
        loss = received.lost / heard if received and heard else 0.0
        path = how.path + ("/" if manifest.type == Type.DIRECTORY else "")
        self.report.event(
            "object_delivered",
            name=escape(manifest.name),
            path=path,
            size=manifest.size,
            sha256=how.sha256,
            sender=key.sender,
            number=key.number,
            signed_by=incoming.verdict.signed_by,
            signed_by_key=incoming.verdict.fingerprint,
            seconds=round(took, 3),
            loss=round(loss, 6),
            duplicate=how.duplicate,
            blocks=incoming.collector.geometry.blocks,
            blocks_decoded=incoming.decoded_blocks,
        )
        if how.path == "-":
            return
        what = "already there" if how.duplicate else "delivered"
        repaired = (
            f", {plural(incoming.decoded_blocks, 'block')} of {incoming.collector.geometry.blocks}"
            " repaired"
            if incoming.decoded_blocks
            else ""
        )
        signed = verifying.signed(incoming.verdict)
        self.report.say(f"{what} {escape(path)} ({size(manifest.size)}{repaired}{signed})")
        if not sys.stdout.isatty():
            self.report.result(path)

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:  # noqa: ARG002
        self.report.event(
            "object_known", name=escape(manifest.name), sender=key.sender, number=key.number
        )
        self.report.say(f"{escape(manifest.name)} ({key}) was delivered before")

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:  # noqa: ARG002
        if not self._refusing.take():
            self.untold += 1
            return
        self.report.event(
            "object_incomplete",
            name=escape(manifest.name),
            sender=key.sender,
            number=key.number,
            reason=why,
        )
        self.report.warn(f"{escape(manifest.name)} ({key}) is not delivered: {why}")

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:  # noqa: ARG002
        # --once, --count and the end of the line are the only ends that trouble has.
        what = f"{error}; listening goes on, {size(needed)} and more wait for it"
        self.report.error(DestinationError(what, hint=error.hint))

    def notice(self, text: str) -> None:
        self.report.warn(text)

    def tick(self, session: Session) -> None:
        receiver = session.receiver
        if self._progress.due():
            symbols = done = 0
            for incoming in receiver.objects.values():
                held, needed = incoming.collector.symbols
                symbols, done = symbols + needed, done + held
            name = next(reversed(receiver.objects.values()), None)
            text = escape(name.manifest.name)[-30:] if name else "listening"
            rate = session.line_bytes / max(0.1, session.clock() - session.started)
            self.bar.update(
                done,
                symbols or None,
                f"{text}, {_pass(session)}{size(rate)}/s, {receiver.frames:,} frames, "
                f"{receiver.lost:,} lost, {session.delivered:,} delivered",
                self.heard.text(),
            )
            self.report.event(
                "progress",
                frames=receiver.frames,
                lost=receiver.lost,
                rejected=sum(receiver.rejected.values()) + sum(session.line.rejected.values()),
                symbols=done,
                total_symbols=symbols,
                delivered=session.delivered,
            )
        if self.report.verbose and self.report.live and self._fall.due():
            self.report.detail(self.heard.waterfall())
        if self._link.due():
            self.link(session)

    def link(self, session: Session) -> None:
        """The state of the link."""
        receiver = session.receiver
        self.report.event(
            "link",
            frames=receiver.frames,
            rejected=sum(receiver.rejected.values()) + sum(session.line.rejected.values()),
            lost=receiver.lost,
            silent_seconds=round(session.clock() - session.last_frame, 1),
            bytes=session.line_bytes,
            noise=session.line.noise,
            unwritten=session.unwritten,
            waiting=len(session.waiting),
            untold=self.untold,
            reasons=dict(receiver.rejected + session.line.rejected),
            **self.heard.fields(),
        )

    def _refusal(self, reason: str, count: int, detail: str) -> None:
        if not self._refusing.take():
            self.untold += 1
            return
        self._details += 1
        self.report.event("frame_rejected", reason=reason, count=count, detail=escape(detail))
        if self._details <= MAX_DETAILS:
            self.report.detail(f"refused ({reason}): {escape(detail)}")


def _pass(session: Session) -> str:
    """Which pass is on air, as the sender's last heartbeat said; empty where it did not."""
    heard = next(reversed(session.receiver.senders.values()), None)
    if heard is None or not heard.number_of_pass:
        return ""
    return f"pass {heard.number_of_pass}" + (f"/{heard.passes}, " if heard.passes else ", ")


@click.command(short_help="receive, and deliver what is whole")
@click.argument("inbox", metavar="INBOX")
@click.option("--from", "url", required=True, metavar="URL", help="Carrier to listen on.")
@click.option("--once", is_flag=True, help="Stop after one object.")
@click.option("--count", type=click.IntRange(1), help="Stop after that many objects.")
@click.option("--idle", type=options.Duration(), help="Stop after that much silence.")
@verifying.option
@options.heard_line
@click.option(
    "--names",
    type=click.Choice(["safe", "exact"]),
    default="safe",
    show_default=True,
    help="Escape what could mislead in names, or keep every byte.",
)
@click.option(
    "--mode", type=options.Mode(), default="0440", show_default=True, help="Mode of files."
)
@click.option("--max-object", type=options.Size(), help="Refuse larger objects.")
@click.option(
    "--quota",
    type=options.Size(),
    default="2GB",
    show_default=True,
    help="Disk space for unfinished objects.",
)
@click.option(
    "--expire",
    type=options.Duration(),
    default="7d",
    show_default=True,
    help="Give up an object of which nothing came in that time of listening.",
)
@click.option("--state", type=click.Path(), help="Folder for unfinished objects and the ledger.")
@options.impair
@options.sandbox
@options.manners
def command(
    inbox: str,
    url: str,
    once: bool,
    count: int | None,
    idle: float | None,
    verify: tuple[str, ...],
    line_name: str,
    names: str,
    mode: int,
    max_object: int | None,
    quota: int,
    expire: float,
    state: str | None,
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Receive into the folder INBOX, or one object to standard output (-).

    \b
      diode recv inbox --from 'serial:/dev/ttyUSB1?baud=115200'
      diode recv inbox --from file:/media/stick/photos.cap
      diode recv inbox --from serial:/dev/ttyUSB1 --verify plant7.pub
      diode recv - --from serial:/dev/ttyUSB1 | tar x

    A file appears under its name only when it is complete and its SHA-256 is right. What is
    unfinished when the command ends is kept: the next start, or another capture, goes on
    with it. Where standard output is no terminal, it gets the path of each file delivered.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if inbox == "-" and json_:
        raise UsageError("--json and the object both want standard output")
    stop = Stop(1 if once or inbox == "-" else count, idle)
    limits = Limits() if max_object is None else Limits(max_object=max_object)
    gate = verifying.gate(report, verify)
    decoder = line.decoder(line_name)
    medium = carrier.open_receiving(url, impair=impair, notice=report.warn)
    try:
        sink = _sink(inbox, state, mode, names, quota, expire)
        try:
            confined = confinement.receiver(report, url, sink.folders, mode, sandbox)
            with progress(report, "receiving") as bar:
                watcher = Watcher(report, bar, listening(medium))
                report.event("listening", url=url, sandbox=confined)
                session = Session(medium, decoder, sink, watcher, limits, gate=gate)
                sink.evicted, sink.lost = session.evict, session.lost
                with signals.asking(session.stop):
                    session.run(stop)
        finally:
            sink.close()
    finally:
        medium.close()
    return _conclude(report, session, watcher)


def _sink(inbox: str, state: str | None, mode: int, names: str, quota: int, expire: float) -> Sink:
    if inbox == "-":
        from diode.sink.stream import Output

        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal", hint="diode recv - --from URL > FILE")
        return Output(sys.stdout.fileno())
    from diode.sink.folder import Inbox

    exact = names == "exact"
    return Inbox(inbox, state=state, mode=mode, exact_names=exact, quota=quota, expire=expire)


def _conclude(report: Report, session: Session, watcher: Watcher) -> int:
    """The last words, and the exit code."""
    watcher.link(session)
    if watcher.untold:
        report.warn(f"{watcher.untold:,} more refusals were only counted")
    receiver = session.receiver
    short = session.short()
    gaps = receiver.gaps()
    for item in short:
        name = escape(item.manifest.name)
        report.event(
            "object_incomplete",
            name=name,
            sender=item.key.sender,
            number=item.key.number,
            blocks_short=item.blocks_short,
            blocks=item.blocks,
            reason="short",
        )
        report.warn(
            f"{name} ({item.key}): {item.blocks_short} of {plural(item.blocks, 'block')} short; "
            "what came is kept, receive another pass or capture of it, or send it again"
        )
    for gap in gaps:
        report.event("gap", sender=gap.sender, first=gap.first, last=gap.last)
        numbers = (
            f"object {gap.first}" if gap.first == gap.last else f"objects {gap.first} to {gap.last}"
        )
        report.warn(f"nothing was heard of {numbers} of sender {gap.sender:08x}; send again")
    if not receiver.frames and not session.stopped:
        noise = (
            f": {size(session.line_bytes)} heard, none of it a frame" if session.line_bytes else ""
        )
        raise NothingHeard(
            f"nothing was heard{noise}",
            hint="check the wiring, that both ends agree on the speed, and that the sender runs",
        )
    heard = max(1, receiver.frames + receiver.lost)
    report.say(
        f"{plural(session.delivered, 'object')} delivered in "
        f"{seconds(session.clock() - session.started)}; {receiver.frames:,} frames heard, "
        f"{receiver.lost:,} lost ({receiver.lost / heard:.1%})"
    )
    quarantined = verifying.conclude(report, session)
    if session.stopped:
        return INTERRUPTED
    if session.trouble is not None and session.no_room:
        raise DestinationError(
            f"not all is delivered: {session.trouble}", hint=session.trouble.hint
        )
    return Partial.exit_code if short or gaps or session.refused or quarantined else 0
