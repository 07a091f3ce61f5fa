"""diode recv: listen on a carrier and deliver what is whole and right."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, TypedDict

import click

from diode.cli import (
    INTERRUPTED,
    complete,
    confinement,
    hooking,
    options,
    reading,
    signals,
    verifying,
    vital,
)
from diode.cli.listening import of_lanes
from diode.cli.progress import progress
from diode.cli.report import Report, plural, seconds, size
from diode.cli.watching import AtHand, Watcher, numbers_of
from diode.errors import DestinationError, NothingHeard, Partial, UsageError
from diode.limits import Limits
from diode.objects import escape
from diode.ordering import AsTheyCome, Strict
from diode.service import notify
from diode.service.disk import Beside
from diode.service.receiver import Session, Stop
from diode.sink.store import is_store, shown

if TYPE_CHECKING:
    from diode.admission import Gate, Opener
    from diode.cli.hooking import Hooked, Unhooked
    from diode.cli.vital import Watched
    from diode.cli.watching import Place
    from diode.ordering import Order
    from diode.service.disk import Disk
    from diode.service.merged import Merged
    from diode.service.observer import Observer
    from diode.sink import Sink
    from diode.tag import Tags


class Judging(TypedDict):
    """What of a session decides what may come in."""

    gate: Gate
    opener: Opener
    tags: Tags
    limits: Limits


@click.command(short_help="receive, and deliver what is whole")
@click.argument("inbox", metavar="INBOX", shell_complete=complete.folders)
@click.option(
    "--from",
    "urls",
    required=True,
    multiple=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier to listen on; several are merged.",
)
@click.option("--once", is_flag=True, help="Stop after one file or bundle.")
@click.option("--count", type=click.IntRange(1), help="Stop after that many files.")
@click.option("--idle", type=options.Duration(), help="Stop after that much silence.")
@verifying.verify_option
@verifying.identity_option
@options.link_key
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
@click.option("--ordered", is_flag=True, help="Deliver each sender's objects by number only.")
@click.option(
    "--give-up-after",
    type=options.Duration(),
    help="With --ordered: wait that long for a missing object.  [default: for ever]",
)
@click.option("--state", type=click.Path(), help="Folder for unfinished objects and the ledger.")
@click.option(
    "--require-state",
    metavar="NAME",
    help="Refuse to start unless the state is there and has that name, which -v tells.",
)
@hooking.hook_options
@vital.silence_option
@options.buffer
@options.impair
@options.sandbox
@options.manners
def command(
    inbox: str,
    urls: tuple[str, ...],
    once: bool,
    count: int | None,
    idle: float | None,
    verify: tuple[str, ...],
    identities: tuple[str, ...],
    link_key: str | None,
    line_name: str | None,
    names: str,
    mode: int,
    max_object: int | None,
    quota: int,
    expire: float,
    ordered: bool,
    give_up_after: float | None,
    state: str | None,
    require_state: str | None,
    hook: hooking.Asked,
    silence: float | None,
    buffer: int,
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Receive into the folder INBOX, a store (s3://…), or one object to standard output (-).

    \b
      diode recv inbox --from 'serial:/dev/ttyUSB1?baud=115200'
      diode recv inbox --from file:/media/stick/photos.cap
      diode recv inbox --from serial:/dev/ttyUSB1 --verify plant7.pub
      diode recv s3://bucket/in --state /var/lib/diode --from serial:/dev/ttyUSB1
      diode recv - --from serial:/dev/ttyUSB1 | tar x

    A file appears under its name only when it is complete and its SHA-256 is right. What is
    unfinished when the command ends is kept: the next start, or another capture, goes on
    with it. A standard output that is no terminal gets the paths of delivered files. Several
    --from are the lanes of one transmission.
    """
    _check(inbox, state, names, json_, ordered, give_up_after)
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    with ExitStack() as stack:
        hooks = hook.started(inbox, stack)
        judging = _judging(report, verify, identities, link_key, _limits(max_object, quota))
        medium, reader = reading.merged(report, urls, line_name, impair, sandbox, buffer, stack)
        sink = _sink(inbox, state, require_state, mode, names, quota, expire)
        hooked = hooks.attached(report, _place(report, inbox, sink, sandbox, stack), sink, stack)
        notifier = stack.enter_context(closing(notify.opened()))
        _confine(report, urls, reader, sink, mode, sandbox)
        with progress(report, "receiving") as bar:
            watcher = Watcher(report, bar, hooked.place, of_lanes(medium), notifier)
            watched = stack.enter_context(closing(vital.watched(watcher, sink, urls, silence)))
            session = _session(medium, sink, watched.observer, judging, stack)
            session.order = _order(ordered, session.disk, sink, give_up_after)
            count = 1 if once or inbox == "-" else count
            _listen(session, watched, watcher, hooked, Stop(count, idle))
    return hooked.verdict(_conclude(report, session, watcher))


def _session(
    medium: Merged, sink: Sink, observer: Observer, judging: Judging, stack: ExitStack
) -> Session:
    """What is to run; its disk is closed with the stack."""
    # A thread, which shares the confinement only if it starts after it.
    disk = stack.enter_context(closing(Beside()))
    return Session(medium, medium, sink, observer, disk=disk, **judging)


def _listen(
    session: Session, watched: Watched, watcher: Watcher, hooked: Hooked | Unhooked, stop: Stop
) -> None:
    """Until `stop` says so, and then until all is where it belongs."""
    session.around = hooked.around
    watcher.place.begin(session.disk)
    watcher.notifier.begin("listening")
    with signals.asking(session.stop), watched.watching(session):
        session.run(stop)
        watcher.notifier.stop()
        watcher.unstored = watcher.place.finish(session)


def _order(ordered: bool, disk: Disk, sink: Sink, give_up_after: float | None) -> Order:
    """By number or not; the sink is asked in the thread that it lives in."""
    if not ordered:
        return AsTheyCome()
    return Strict(lambda sender: disk.ask(lambda: sink.delivered_up_to(sender)), give_up_after)


def _confine(
    report: Report, urls: tuple[str, ...], reader: str, sink: Sink, mode: int, sandbox: str
) -> None:
    """Give up what is not needed for listening, and say that it begins."""
    confined = confinement.receiver(report, sink.folders, mode, sandbox)
    done = {"sandbox": confined, "reader": reader}
    report.event("listening", url=" ".join(urls), lanes=urls, **done, state=sink.state)
    if sink.state:
        report.detail(f"state: {sink.state}")


def _limits(max_object: int | None, quota: int) -> Limits:
    """What does not fit into the quota would be given up after it was nearly there."""
    return Limits(max_object=quota if max_object is None else min(max_object, quota))


def _judging(
    report: Report,
    verify: tuple[str, ...],
    identities: tuple[str, ...],
    link_key: str | None,
    limits: Limits,
) -> Judging:
    return {
        "gate": verifying.gate(report, verify),
        "opener": verifying.opener(report, identities),
        "tags": options.tagging(link_key),
        "limits": limits,
    }


def _check(
    inbox: str,
    state: str | None,
    names: str,
    json_: bool,
    ordered: bool,
    give_up_after: float | None,
) -> None:
    if give_up_after is not None and not ordered:
        raise UsageError("--give-up-after goes with --ordered")
    if inbox == "-" and json_:
        raise UsageError("--json and the object both want standard output")
    if is_store(inbox) and state is None:
        raise UsageError(
            "what waits for a store has to lie somewhere",
            hint=f"diode recv {shown(inbox)} --from URL --state DIR",
        )
    if is_store(inbox) and names == "exact":
        raise UsageError("--names exact is for folders: stores do not take every byte")


def _place(report: Report, inbox: str, sink: Sink, sandbox: str, stack: ExitStack) -> Place:
    """What happens to objects once they are in the sink, which is closed with the stack."""
    stack.callback(sink.close)
    from diode.sink.outbox import Outbox

    if not isinstance(sink, Outbox):
        return AtHand(report)
    from diode.cli.storing import opened

    return opened(report, inbox, sink, sandbox)


def _sink(
    inbox: str,
    state: str | None,
    required: str | None,
    mode: int,
    names: str,
    quota: int,
    expire: float,
) -> Sink:
    if inbox == "-":
        if required is not None:
            raise UsageError("--require-state goes with an inbox: - keeps no state")
        from diode.sink.stream import Output

        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal", hint="diode recv - --from URL > FILE")
        return Output(sys.stdout.fileno())
    if is_store(inbox) and state is not None:
        from diode.sink.outbox import Outbox

        return Outbox(state, mode=mode, quota=quota, expire=expire, required=required)
    from diode.sink.folder import Inbox

    exact = names == "exact"
    return Inbox(
        inbox,
        state=state,
        mode=mode,
        exact_names=exact,
        quota=quota,
        expire=expire,
        required=required,
    )


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
