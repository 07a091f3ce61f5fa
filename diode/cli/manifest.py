"""diode manifest: what is in a folder, as text; and what differs between two of these."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from diode import mtree
from diode.cli import complete, options
from diode.cli.progress import NullProgress, progress
from diode.cli.report import Report
from diode.errors import Partial, SourceError, UsageError
from diode.mtree import Entry
from diode.objects import escape, wire_name
from diode.source import folder
from diode.source.files import DirectorySource
from diode.wording import plural, size

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = ".diode"
"""A receiver's own folder in an inbox, which is no part of what came."""
FORMS = {"mtree": mtree.mtree, "sha256": mtree.sums}
TOLD = 50
"""Differences that are named; beyond, they are only counted, but for --json and -v."""


@click.command(short_help="list a folder with digests; compare two such lists")
@click.argument("what", nargs=-1, required=True, metavar="DIR", shell_complete=complete.files)
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMS]),
    default="mtree",
    show_default=True,
    help="mtree(5), or what sha256sum -c reads.",
)
@click.option(
    "--compare", "comparing", is_flag=True, help="Tell what differs between two folders or lists."
)
@options.manners
def command(
    what: tuple[str, ...], form: str, comparing: bool, json_: bool, quiet: bool, verbose: bool
) -> int:
    """List what is in the folder DIR, with sizes and SHA-256 digests, on standard output.

    \b
      diode manifest photos > photos.mtree
      mtree -p photos -f photos.mtree                  # NetBSD's, or FreeBSD's fmtree
      cd photos && diode manifest . --format sha256 | ssh far 'cd photos && sha256sum -c'
      diode manifest --compare far.mtree photos

    With --compare, two folders or lists are given, in any form; exit code 3: they differ.
    Symbolic links, devices, sockets and pipes are no part of it, for they are not sent.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if len(what) != 1 + comparing:
        hint = "diode manifest --compare A B" if comparing else "diode manifest DIR"
        raise UsageError(f"expected {plural(1 + comparing, 'argument')}", hint=hint)
    if comparing:
        one, other = (of(report, path) for path in what)
        return compared(report, mtree.compare(one, other))
    walk = Walk(report, what[0], bar=not sys.stdout.isatty())
    if json_:
        for entry in walk:
            facts = {"size": entry.size, "sha256": entry.sha256, "directory": entry.directory}
            report.event("entry", path=escape(entry.path), **facts)
    else:
        for line in FORMS[form](walk):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    return Partial.exit_code if walk.unreadable else 0


def of(report: Report, path: str) -> dict[bytes, Entry]:
    """What is in a folder, or in a list. SourceError where there is neither."""
    if os.path.isdir(path):
        return {entry.path: entry for entry in Walk(report, path)}
    return read(path)


def read(path: str) -> dict[bytes, Entry]:
    """A list from a file. SourceError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return mtree.parse(iter(lambda: file.readline(2 * mtree.LONGEST), b""))
    except OSError as error:
        raise SourceError(
            f"{escape(path)}: {os.strerror(error.errno or 0)}", hint="diode manifest DIR > FILE"
        ) from error
    except ValueError as error:
        raise SourceError(
            f"{escape(path)} is no list of files: {error}",
            hint="mtree(5) and the form of sha256sum are read",
        ) from error


class Walk:
    """What is in a folder, hashed as it is asked for; what is left out is warned of."""

    def __init__(self, report: Report, path: str, *, bar: bool = True) -> None:
        """bar: show how far it is. SourceError where it is no folder."""
        if not os.path.isdir(path):
            raise SourceError(f"{escape(path)} is no folder", hint="diode manifest DIR")
        self._report, self._path = report, path
        self._bar = bar
        self.unreadable = 0

    def __iter__(self) -> Iterator[Entry]:
        done = 0
        with progress(self._report, "reading") if self._bar else NullProgress() as bar:

            def hashed(count: int) -> None:
                nonlocal done
                done += count
                bar.update(done, None, size(done))

            for found in folder.find(self._path, "/", self._skipped, hard_links=True):
                if found.parts[0] == STATE:
                    continue
                try:
                    source = found.source(hashed)
                except SourceError as error:
                    self.unreadable += 1
                    self._report.warn(f"left out {error}")
                    continue
                name = wire_name(found.parts)
                if isinstance(source, DirectorySource):
                    yield Entry(name, True)
                else:
                    yield Entry(name, False, source.size, source.digest.hex())

    def _skipped(self, where: str, why: str) -> None:
        self.unreadable += not why.startswith(("a ", "not "))
        self._report.event("skipped", path=escape(where), reason=why)
        if not self._report.json:
            self._report.warn(f"left out {escape(where)}: {why}")


def compared(report: Report, differences: Iterator[mtree.Difference]) -> int:
    """Tell what differs; the exit code."""
    counts: Counter[str] = Counter()
    for path, kind, what in differences:
        counts[kind] += 1
        report.event("difference", path=escape(path), kind=kind, what=what)
        if report.json or (counts[kind] > TOLD and not report.verbose):
            continue
        report.result(f"{kind} {escape(path)}" + (f": {what}" if what else ""))
    report.event("comparison", **{kind: counts[kind] for kind in ("changed", "missing", "extra")})
    total = sum(counts.values())
    report.say(f"{plural(total, 'difference')}" if total else "no difference")
    return Partial.exit_code if total else 0
