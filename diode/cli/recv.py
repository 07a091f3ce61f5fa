"""diode recv: listen on a carrier and deliver what is whole and right."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from diode.cli import (
    complete,
    hooking,
    options,
    publishing,
    verifying,
    vital,
)
from diode.cli.receiving import Asked, receive
from diode.cli.report import Report
from diode.errors import UsageError
from diode.limits import Limits
from diode.service.receiver import Stop
from diode.sink.store import is_store, shown

if TYPE_CHECKING:
    from diode.cli.receiving import Judging
    from diode.sink import Sink


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
@publishing.record_options
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
    records: publishing.Asked,
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
      diode recv inbox --records-to mqtt://localhost/plant --from udp://0.0.0.0:9000

    A file appears under its name only when it is complete and its SHA-256 is right. What is not
    finished at the end is kept for the next start, or another capture. A standard output that is
    no terminal gets the paths of delivered files. Several --from are lanes of one transmission.
    """
    _check(inbox, state, names, json_, ordered, give_up_after)
    records.check(verify, link_key, json_=json_)
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    asked = Asked(
        inbox,
        urls,
        line_name,
        lambda: judging(report, verify, identities, link_key, limits(max_object, quota)),
        lambda: sink(inbox, state, require_state, mode, names, quota, expire),
        Stop(1 if once or inbox == "-" else count, idle),
        *(hook, mode, buffer, silence, give_up_after, ordered, impair, sandbox, records),
    )
    return receive(report, asked)


def limits(max_object: int | None, quota: int) -> Limits:
    """What does not fit into the quota would be given up after it was nearly there."""
    return Limits(max_object=quota if max_object is None else min(max_object, quota))


def judging(
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


def sink(
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
