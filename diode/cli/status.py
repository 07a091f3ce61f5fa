"""diode status: is the link alive, what is missing, what came; from the files in a state folder."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from msgspec import to_builtins
from rich.console import Console, Group
from rich.live import Live

from diode.cli import INTERRUPTED, options, signals
from diode.cli.report import Report
from diode.cli.status_sender import sender
from diode.cli.status_tables import receiver
from diode.cli.status_words import Look
from diode.errors import DestinationError, NothingHeard, Partial, UsageError
from diode.objects import escape
from diode.service import gaps, reading_health
from diode.service.reading_health import STALE, Reading, SenderReading
from diode.wake import Wake
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

EACH = 1.0
"""Seconds between two looks of --follow."""


class Shown(NamedTuple):
    """A state folder, read once."""

    receiving: Reading | None
    sending: SenderReading | None

    @property
    def exit_code(self) -> int:
        """0 all well, 3 something is missing or an alarm is raised, 4 nothing was ever heard."""
        if self.sending is not None and not _sends_well(self.sending):
            return Partial.exit_code
        if self.receiving is None:
            return 0
        health, recent, _ = self.receiving
        if not health.well:
            return Partial.exit_code
        return 0 if health.line.last_heard or recent else NothingHeard.exit_code


@click.command(short_help="what came, what is missing, how the link is")
@click.argument("where", metavar="INBOX|STATE", type=click.Path())
@click.option("--follow", "-f", is_flag=True, help="Show it each second until stopped.")
@click.option(
    "--recent",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    help="Deliveries to show.",
)
@click.option(
    "--dismiss", is_flag=True, help="What is missing now is seen to: do not count it any more."
)
@click.option("--serve", metavar="HOST:PORT", help="Show it as a page in a browser, read only.")
@options.manners
def command(
    where: str,
    follow: bool,
    recent: int,
    dismiss: bool,
    serve: str | None,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show how a receiver is: INBOX, or the folder that recv has with --state; or a sender's state.

    \b
      diode status inbox
      diode status inbox --follow
      diode status inbox --json | jq .health.line.state
      diode status inbox --dismiss
      diode status inbox --serve 127.0.0.1:8080
      diode status ~/.local/state/diode

    Nothing is asked of the receiver that runs: what it leaves in its state folder each second is
    read, and the ledger. So this works too when it has ended, and then says so.

    Exit code 0: all is well; 3: something is missing or an alarm is raised; 4: nothing was ever
    heard.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    folder = reading_health.find(where)
    if dismiss:
        _dismiss(report, folder)
    if serve is not None:
        return _serve(report, folder, serve)
    read = partial(_read, folder, recent)
    if follow:
        return _follow(report, read)
    shown = read()
    _tell(report, shown)
    return shown.exit_code


def _dismiss(report: Report, folder: str) -> None:
    """Whoever sends objects again sends them under other numbers: the old ones never come."""
    health = reading_health.load(folder, 0).health
    try:
        count = gaps.dismiss(folder, health)
    except OSError as error:
        raise DestinationError(f"{escape(folder)}: {os.strerror(error.errno or 0)}") from error
    report.say(f"{plural(count, 'missing object')} dismissed")


def _serve(report: Report, folder: str, address: str) -> int:
    from diode import page

    page.serve(address, partial(reading_health.load, folder), report.say)
    return 0


def _read(folder: str, recent: int) -> Shown:
    sending = reading_health.load_sender(folder)
    receives = reading_health.receives(folder) or sending is None
    return Shown(reading_health.load(folder, recent) if receives else None, sending)


def _tell(report: Report, shown: Shown) -> None:
    if report.json:
        for fields in _fields(shown):
            report.event("status", **fields)
    elif not report.quiet:
        console = Console(highlight=False, emoji=False)
        console.print(_pictured(shown, Look.of(console)))


def _fields(shown: Shown) -> list[dict[str, Any]]:
    """What --json says: the health as it is, and what follows from it."""
    found = []
    if shown.receiving is not None:
        health, recent, age = shown.receiving
        found.append(
            {
                "role": "receiver",
                "age": round(age, 1),
                "well": health.well,
                "missing_objects": health.missing_objects,
                "health": to_builtins(health),
                "recent": to_builtins(recent),
            }
        )
    if shown.sending is not None:
        sending, age = shown.sending
        well = _sends_well(shown.sending)
        found.append(
            {"role": "sender", "age": round(age, 1), "well": well, "sending": to_builtins(sending)}
        )
    return found


def _sends_well(shown: SenderReading) -> bool:
    return not shown.sending.alarms and (shown.age <= STALE or not shown.sending.running)


def _pictured(shown: Shown, look: Look) -> RenderableType:
    parts = []
    if shown.receiving is not None:
        parts.append(receiver(shown.receiving, look))
    if shown.sending is not None:
        parts.append(sender(shown.sending, look))
    return Group(*parts)


def _follow(report: Report, read: Callable[[], Shown]) -> int:
    """Until a signal: a picture that changes, or with --json a line a second."""
    over = False
    if not report.json and not sys.stdout.isatty():
        raise UsageError("--follow is for a terminal, or with --json", hint="add --json")

    def stop() -> None:
        nonlocal over
        over = True
        wake.ring()

    with contextlib.closing(Wake()) as wake, signals.asking(stop):
        if report.json:
            while not over:
                _tell(report, read())
                wake.wait(EACH)
            return INTERRUPTED
        console = Console(highlight=False, emoji=False)
        look = Look.of(console)
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            while not over:
                live.update(_pictured(read(), look), refresh=True)
                wake.wait(EACH)
    return INTERRUPTED
