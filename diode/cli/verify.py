"""diode verify: everything that was delivered is hashed again and held against the ledger."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import click

from diode import mtree
from diode.cli import options
from diode.cli.progress import progress
from diode.cli.report import Report
from diode.cli.watching import numbers_of
from diode.errors import NoState, Partial
from diode.objects import escape, safe_parts
from diode.service import reading_health
from diode.sink import records
from diode.sink.audit import STRANGERS, Audit, Finding, Kind
from diode.sink.outbox import FOLDER
from diode.sink.place import DIRECTORY
from diode.sink.store import is_store
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLD = 50
"""Files of each kind that are named; beyond, they are only counted, but for --json and -v."""
WORDS = {
    Kind.CHANGED: "is not what was delivered",
    Kind.GONE: "is not there any more",
    Kind.UNKNOWN: "was not delivered by diode",
}


@click.command(short_help="hash again everything delivered, report gaps")
@click.argument("inbox", type=click.Path())
@click.option("--state", type=click.Path(), help="The folder that recv has with --state.")
@click.option(
    "--against", type=click.Path(), help="Hold the folder against this list of diode manifest."
)
@click.option("--taken", is_flag=True, help="Files are taken out of the inbox: gone is all right.")
@options.manners
def command(
    inbox: str,
    state: str | None,
    against: str | None,
    taken: bool,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Hash again all that was delivered into the folder INBOX, and compare it with the ledger.

    \b
      diode verify inbox
      diode verify inbox --taken
      diode verify inbox --state /var/lib/diode --json
      diode verify inbox/photos --against inbox/photos.mtree

    With --against it is held against what was there when it was sent (send --manifest), not
    against the ledger; names that were escaped on the way count as what they were.

    Nothing is changed and no link is followed. A receiver may go on running. Exit code 0: all
    is there as it came; 3: a file is changed or gone, or object numbers are missing.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if against is not None:
        return _held(report, inbox, against)
    folder = _folder(inbox, state)
    counts: Counter[Kind] = Counter()
    try:
        with records.opened(folder) as ledger, progress(report, "verifying") as bar:
            places, total = ledger.count()
            done = 0

            def read(count: int) -> None:
                nonlocal done
                done += count
                text = f"{sum(counts.values()):,} of {plural(places, 'file')}"
                bar.update(done, total or None, text)

            for finding in _audit(inbox, folder, ledger, read):
                counts[finding.kind] += 1
                _tell(report, finding, counts[finding.kind])
    except sqlite3.Error as error:
        raise Partial(
            f"the ledger in {escape(folder)} cannot be read: {escape(str(error))}",
            hint="a receiver that finds it damaged at its start puts it aside",
        ) from error
    missing = _gaps(report, folder)
    return _conclude(report, counts, missing, taken=taken)


def _held(report: Report, tree: str, against: str) -> int:
    """A tree held against a list of what it was; the exit code."""
    from diode.cli import manifest

    wanted, found = manifest.read(against), manifest.of(report, tree)
    for path in wanted.keys() - found.keys():
        delivered = os.fsencode("/".join(safe_parts(b"x/" + path)[1:]))
        if path and delivered in found and delivered not in wanted:
            found[path] = found.pop(delivered)._replace(path=path)
    report.say(f"{plural(sum(not e.directory for e in wanted.values()), 'file')} in the list")
    return manifest.compared(report, mtree.compare(wanted, found))


def _folder(inbox: str, state: str | None) -> str:
    """The state folder. NoState where there is none with a ledger."""
    if is_store(inbox):
        raise NoState("what is in a store is not hashed again", hint="the store has its own checks")
    folder = reading_health.find(inbox if state is None else state)
    if os.path.isdir(os.path.join(folder, FOLDER)) and os.path.realpath(inbox) == os.path.realpath(
        folder
    ):
        raise NoState("that is the state of a receiver into a store, which is not hashed again")
    if not reading_health.receives(folder):
        raise NoState(f"{escape(folder)} is not the state of a receiver")
    return folder


def _audit(
    inbox: str, folder: str, ledger: records.Records, read: Callable[[int], object]
) -> Iterator[Finding]:
    try:
        root = os.open(inbox, DIRECTORY)
    except OSError as error:
        raise NoState(f"{escape(inbox)}: {os.strerror(error.errno or 0)}") from error
    try:
        yield from Audit(root, folder, ledger, read).findings()
    finally:
        os.close(root)


def _tell(report: Report, finding: Finding, count: int) -> None:
    path = escape(finding.path)
    if finding.kind is Kind.UNKNOWN:
        report.event("unknown", path=path)
    else:
        report.event(
            finding.kind.value,
            path=path,
            size=finding.size,
            sha256=finding.sha256,
            sender=finding.sender,
            number=finding.number,
            found=escape(finding.why),
        )
    if report.json or (count > TOLD and not report.verbose):
        return
    if finding.kind is Kind.VERIFIED:
        report.detail(f"verified {path}")
        return
    of = f" ({finding.sender:08x}:{finding.number})" if finding.number else ""
    why = f": {escape(finding.why)}" if finding.why else ""
    report.warn(f"{path}{of} {WORDS[finding.kind]}{why}")
    if count == TOLD and not report.verbose:
        report.warn("more of these are only counted; -v or --json tells them all")


def _gaps(report: Report, folder: str) -> int:
    """Tell which numbers are missing; how many."""
    reading = reading_health.load(folder, 0)
    missing = 0
    for sender in reading.health.senders:
        missing += sender.missing_objects
        for first, last in ((r.first, r.last) for r in sender.missing):
            report.event("gap", sender=int(sender.sender, 16), first=first, last=last)
            if not report.json:
                what = numbers_of(first, last)
                report.warn(f"nothing was heard of {what} of sender {sender.sender}; send again")
    return missing


def _conclude(report: Report, counts: Counter[Kind], missing: int, *, taken: bool) -> int:
    named = {kind.value: counts[kind] for kind in Kind}
    report.event("verification", **named, missing=missing)
    words = [f"{plural(counts[Kind.VERIFIED], 'file')} as delivered"]
    for kind in (Kind.CHANGED, Kind.GONE, Kind.UNKNOWN):
        if counts[kind]:
            more = " or more" if kind is Kind.UNKNOWN and counts[kind] >= STRANGERS else ""
            words.append(f"{counts[kind]:,}{more} {kind.value}")
    if missing:
        words.append(f"{plural(missing, 'object')} never came")
    report.say(", ".join(words))
    wrong = counts[Kind.CHANGED] or missing or (counts[Kind.GONE] and not taken)
    return Partial.exit_code if wrong else 0
