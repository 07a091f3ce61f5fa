"""A receiver from its beginning to its end: what `diode recv` and `diode run` have in common."""

from __future__ import annotations

from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from diode import allocator
from diode.cli import INTERRUPTED, confinement, publishing, reading, signals, verifying, vital
from diode.cli.listening import of_lanes
from diode.cli.progress import progress
from diode.cli.watching import AtHand, Watcher, numbers_of
from diode.errors import DestinationError, NothingHeard, Partial
from diode.objects import escape
from diode.ordering import AsTheyCome, Strict
from diode.service import notify
from diode.service.disk import Beside
from diode.service.receiver import Session, Stop
from diode.wording import plural, seconds, size

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    from diode.admission import Gate, Opener
    from diode.cli import hooking
    from diode.cli.hooking import Hooked, Unhooked
    from diode.cli.publishing import Published, Unpublished
    from diode.cli.report import Report
    from diode.cli.vital import Watched
    from diode.cli.watching import Place
    from diode.health import Alarm, Health
    from diode.limits import Limits
    from diode.ordering import Order
    from diode.service.disk import Disk
    from diode.service.merged import Merged
    from diode.service.observer import Observer
    from diode.service.record_delivery import Recipient
    from diode.sink import Sink
    from diode.tag import Tags


class Judging(TypedDict):
    """What of a session decides what may come in."""

    gate: Gate
    opener: Opener
    tags: Tags
    limits: Limits


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be received, from where and how; as the options of `recv` have it."""

    inbox: str
    urls: tuple[str, ...]
    line: str | None
    judging: Callable[[], Judging]
    sink: Callable[[], Sink]
    stop: Stop
    hook: hooking.Asked
    mode: int
    buffer: int
    silence: float | None
    give_up_after: float | None
    ordered: bool
    impair: str | None
    sandbox: str
    records: publishing.Asked = field(default_factory=publishing.Asked)


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of how it goes, besides the operator."""

    alarms: Sequence[Callable[[Alarm, bool], object]] = ()
    """Of alarms, when they are raised and cleared."""
    files: Sequence[Callable[[Health], object]] = ()
    """Each second, where work on the disk is done."""
    folders: tuple[str, ...] = ()
    """Where they write."""
    reads: tuple[str, ...] = ()
    """What is read again later on."""
    ready: Callable[[], object] = lambda: None
    """Called once the folders are there, before the confinement and before there are threads."""
    begin: Callable[[Session], contextlib.AbstractContextManager[object]] = nullcontext
    """While it listens, after the confinement."""


def receive(report: Report, asked: Asked, told: Told | None = None) -> int:
    """Receive as asked; the exit code."""
    told = told or Told()
    allocator.restrain()
    with ExitStack() as stack:
        hooks = asked.hook.started(asked.inbox, stack, ordered=asked.ordered)
        published = asked.records.started(report, asked.inbox, asked.sandbox, stack)
        judging = asked.judging()
        medium, reader = reading.merged(
            report, asked.urls, asked.line, asked.impair, asked.sandbox, asked.buffer, stack
        )
        sink = asked.sink()
        place = _place(report, asked, sink, stack)
        hooked = hooks.attached(report, place, sink, stack)
        published.attach(sink.folders)
        notifier = stack.enter_context(closing(notify.opened()))
        told.ready()
        _confine(report, asked, reader, sink, told)
        with progress(report, "receiving") as bar:
            watcher = Watcher(report, bar, hooked.place, of_lanes(medium), notifier)
            about = vital.watched(
                watcher, sink, asked.urls, asked.silence, told=told.alarms, files=told.files
            )
            watched = stack.enter_context(closing(about))
            session = _session(medium, sink, watched.observer, judging, published, stack)
            session.order = _order(asked.ordered, session.disk, sink, asked.give_up_after)
            with told.begin(session):
                _listen(session, watched, published, watcher, hooked, asked.stop)
    return hooked.verdict(_conclude(report, session, watcher))


def _session(
    medium: Merged,
    sink: Sink,
    observer: Observer,
    judging: Judging,
    records: Recipient,
    stack: ExitStack,
) -> Session:
    """What is to run; its disk is closed with the stack."""
    # A thread, which shares the confinement only if it starts after it.
    disk = stack.enter_context(closing(Beside()))
    return Session(medium, medium, sink, observer, disk=disk, records=records, **judging)


def _listen(
    session: Session,
    watched: Watched,
    published: Published | Unpublished,
    watcher: Watcher,
    hooked: Hooked | Unhooked,
    stop: Stop,
) -> None:
    """Until `stop` says so, and then until all is where it belongs."""
    session.around = hooked.around
    watcher.place.begin(session.disk)
    watcher.notifier.begin("listening")
    # What is known last is known once the sinks have taken what they can.
    with signals.asking(session.stop), watched.watching(session), published:
        session.run(stop)
        watcher.notifier.stop()
        watcher.unstored = watcher.place.finish(session)


def _order(ordered: bool, disk: Disk, sink: Sink, give_up_after: float | None) -> Order:
    """By number or not; the sink is asked in the thread that it lives in."""
    if not ordered:
        return AsTheyCome()
    return Strict(lambda sender: disk.ask(lambda: sink.delivered_up_to(sender)), give_up_after)


def _confine(report: Report, asked: Asked, reader: str, sink: Sink, told: Told) -> None:
    """Give up what is not needed for listening, and say that it begins."""
    folders = (*sink.folders, *told.folders)
    confined = confinement.receiver(report, folders, asked.mode, asked.sandbox, told.reads)
    done = {"sandbox": confined, "reader": reader}
    urls = asked.urls
    report.event("listening", url=" ".join(urls), lanes=urls, **done, state=sink.state)
    if sink.state:
        report.detail(f"state: {sink.state}")


def _place(report: Report, asked: Asked, sink: Sink, stack: ExitStack) -> Place:
    """What happens to objects once they are in the sink, which is closed with the stack."""
    stack.callback(sink.close)
    from diode.sink.outbox import Outbox

    if not isinstance(sink, Outbox):
        return AtHand(report, quiet="-" in asked.records.sinks)
    from diode.cli.storing import opened

    return opened(report, asked.inbox, sink, asked.sandbox)


def _conclude(report: Report, session: Session, watcher: Watcher) -> int:
    """The last words, and the exit code."""
    watcher.link(session)
    if watcher.untold:
        report.warn(f"{watcher.untold:,} more refusals were only counted")
    if dropped := reading.dropped(session.carrier)["dropped_bytes"]:
        report.warn(f"{dropped:,} bytes of the line were dropped for want of room in the buffer")
    if summary := watcher.heard.summary():
        report.warn(summary)
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
    for key, manifest in sorted(session.deliveries.held.items()):
        name = escape(manifest.name)
        report.event(
            "object_incomplete", name=name, sender=key.sender, number=key.number, reason="held"
        )
        report.warn(f"{name} ({key}) is whole and held back: earlier objects are missing")
    for gap in gaps:
        report.event("gap", sender=gap.sender, first=gap.first, last=gap.last)
        numbers = numbers_of(gap.first, gap.last)
        report.warn(f"nothing was heard of {numbers} of sender {gap.sender:08x}; send again")
    if not receiver.frames and not session.stopped:
        noise = (
            f": {size(session.line_bytes)} heard, none of it a frame" if session.line_bytes else ""
        )
        raise NothingHeard(
            f"nothing was heard{noise}",
            hint=watcher.heard.unheard,
        )
    heard = max(1, receiver.frames + receiver.lost)
    report.say(
        f"{plural(session.deliveries.delivered, 'object')} {watcher.place.word} in "
        f"{seconds(session.clock() - session.started)}; {receiver.frames:,} frames heard, "
        f"{receiver.lost:,} lost ({receiver.lost / heard:.1%})"
    )
    quarantined = verifying.conclude(report, session)
    if session.stopped:
        return INTERRUPTED
    _check_delivered(session, watcher)
    partial = short or gaps or session.deliveries.refused or session.deliveries.held or quarantined
    return Partial.exit_code if partial else 0


def _check_delivered(session: Session, watcher: Watcher) -> None:
    """Raise DestinationError where something did not get where it was to go."""
    if watcher.unstored is not None:
        raise watcher.unstored
    if session.trouble is not None and session.no_room:
        raise DestinationError(
            f"not all is delivered: {session.trouble}", hint=session.trouble.hint
        )
