"""What is to be sent, found, read and queued: before the line is used, or beside it.

Reading gigabytes to know their digests takes minutes. Without a constant rate the line waits for
it; with one it carries idle frames meanwhile, and a thread reads, signs and queues.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diode.assembly import describe
from diode.cli.progress import REFRESH, Interval, NullProgress, progress
from diode.errors import SourceError, UsageError
from diode.objects import escape
from diode.plan import bundle_room
from diode.source import folder
from diode.source.bundle import Spool, gather
from diode.source.specification import specification
from diode.supply import Supplied
from diode.wording import size

if TYPE_CHECKING:
    import contextlib
    from concurrent.futures import Executor, Future

    from diode.assembly import Source
    from diode.cli import streaming
    from diode.cli.course import Course
    from diode.cli.progress import Shown
    from diode.cli.report import Report
    from diode.objects import Manifest
    from diode.plan import Settings
    from diode.source.bundle import Source as Read
    from diode.transmitter import Transmitter

STDIN = "-"


@dataclass(slots=True)
class Listing:
    """What the paths on the command line come to."""

    found: list[folder.Found] = field(default_factory=list)
    stdin: str | None = None
    """The name for standard input, if that is to be sent."""
    spool: str | None = None
    """Where standard input was put."""
    sources: list[Source] = field(default_factory=list)
    """What has been read already."""
    bundles: Spool | None = None
    """Where small files are put, if they are to go together."""
    trees: list[tuple[str, ...]] = field(default_factory=list)
    """Names of folders whose specifications are to be sent."""
    unreadable: list[str] = field(default_factory=list)
    groups: list[list[folder.Found]] = field(default_factory=list)
    """What of the above goes together as it did before; nothing where that is not known."""

    def __len__(self) -> int:
        """Objects, at most."""
        return len(self.found) + (self.stdin is not None) + len(self.trees)


def listing(
    report: Report, paths: tuple[str, ...], name: str | None, hard_links: bool, specified: bool
) -> Listing:
    """Everything the paths name, nothing of it read yet. specified: folders with specifications."""
    if name is not None and len(paths) > 1:
        raise UsageError("--name goes with a single PATH", hint="send them one by one, or a folder")
    listed = Listing()

    def skipped(path: str, why: str) -> None:
        report.event("skipped", path=escape(path), reason=why)
        if not report.json:
            report.warn(f"skipped {escape(path)}: {why}")
        if not why.startswith(("a ", "not ")):
            listed.unreadable.append(path)

    for path in paths:
        if path == STDIN:
            if os.isatty(0):
                raise UsageError(
                    "standard input is a terminal", hint="tar c DIR | diode send - --to URL"
                )
            listed.stdin = name or "stdin"
        else:
            listed.found += folder.find(path, name, skipped, hard_links=hard_links)
            if specified and os.path.isdir(path) and not os.path.islink(path):
                listed.trees.append(folder.parts_of(path, name))
    return listed


def spool(
    report: Report,
    listed: Listing,
    settings: Settings,
    stream: streaming.Asked,
    stack: contextlib.ExitStack,
) -> None:
    """Read standard input to its end, if that is to be sent. It may stop for any time, so no
    thread that somebody waits for does that. Make room for bundles: once confined, nothing can.
    """
    if listed.trees or (settings.bundle and len(listed.found) > 1):
        listed.bundles = Spool()
        stack.callback(listed.bundles.close)
    if listed.stdin is None or stream.in_pieces:
        return
    source = stream.source(report, listed.stdin)
    stack.callback(source.discard)
    listed.spool = source.path
    listed.sources.append(source)


class Stopped(Exception):
    """Nobody wants it any more."""


class Preparation:
    """Reads what was listed and queues it with a transmitter, all of it or nothing."""

    def __init__(
        self,
        report: Report,
        listed: Listing,
        course: Course,
        transmitter: Transmitter,
        among_others: bool = False,
    ) -> None:
        """among_others: something else is sent too, so that there may be nothing here."""
        self.manifests: dict[int, Manifest] = {}
        """By number, from when all are queued on."""
        self.sources: dict[int, Source] = {}
        """By number, as long."""
        self._report = report
        self._listed = listed
        self._course = course
        self._among_others = among_others
        self.transmitter = transmitter
        self._stopping = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._listed.found or self._listed.sources)

    def now(self) -> None:
        """Do it. SourceError where nothing can be sent."""
        with progress(self._report, "reading") as bar:
            self._prepare(bar)

    def beside(self, pool: Executor) -> Beside:
        """Have it done by another thread."""
        return Beside(pool.submit(self._prepare, NullProgress()), self._stopping)

    def _prepare(self, bar: Shown) -> None:
        transmitter = self.transmitter
        if self._among_others and not self.asked:
            return
        sources = self._hash(bar)
        if not sources:
            raise SourceError("there is nothing to send")
        settings, link = transmitter.settings, transmitter.link
        described = [(s, describe(s, settings, link)) for s in sources]
        queue = self._course.take_up(described, settings)
        self.sources.update(queue.sources)
        self.manifests.update(queue.fill(transmitter))
        transmitter.once.update(
            number for number, source in queue.sources.items() if source in self._listed.sources
        )
        self._course.begin(transmitter)

    def _hash(self, bar: Shown) -> list[Source]:
        """The objects. A single one that cannot be read is an error, one of many a warning."""
        listed, sources = self._listed, [*self._listed.sources]
        total, done = sum(f.size for f in listed.found), 0
        shown = Interval(REFRESH)

        def hashed(count: int) -> None:
            nonlocal done
            if self._stopping.is_set():
                raise Stopped
            done += count
            if shown.due():
                bar.update(done, total, size(done))

        def failed(thing: folder.Found, error: SourceError) -> None:
            if len(listed.found) == 1 and not sources:
                raise error
            listed.unreadable.append(thing.path)
            self._report.warn(f"skipped {error}")

        room = bundle_room(self.transmitter.settings, self.transmitter.link)
        read: list[Read] = []
        for group in listed.groups or [listed.found]:
            read += gather(group, room, listed.bundles, failed, hashed)
        sources += read
        if listed.bundles is not None:
            sources += [specification(top, read, listed.bundles) for top in listed.trees]
        return sources


class Beside:
    """A preparation in another thread, as the supply of a constant rate."""

    def __init__(self, work: Future[None], stopping: threading.Event) -> None:
        self._work = work
        self._stopping = stopping

    def poll(self) -> Supplied:
        ready = self._work.done() and not self.failed
        return Supplied.CLOSED if ready else Supplied.PREPARING

    @property
    def failed(self) -> bool:
        """Whether it is over, and nothing will be sent."""
        return self._work.done() and self._work.exception() is not None

    def stop(self) -> None:
        self._stopping.set()
        self._work.exception()

    def conclude(self) -> None:
        """Raise what the preparation has raised."""
        self._work.result()
