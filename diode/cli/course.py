"""Whether a run of `diode send` goes on with one that was not finished, and what is kept of it.

What was not finished and is not gone on with is named at every start, until the same command
goes on with it or --fresh forgets it.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from diode.objects import escape
from diode.service.logbook import Logbook, Reached, Run, Unlogged, key_of
from diode.service.resuming import Queue, queue
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.assembly import Source
    from diode.cli.receipting import Intake
    from diode.cli.report import Report
    from diode.group import Place
    from diode.objects import Manifest
    from diode.plan import Link, Settings
    from diode.service.logbook import RunLog, Unfinished
    from diode.service.state import SenderState
    from diode.transmitter import Transmitter

STDIN = "-"
ABOUT = 120
"""Characters that name a run."""


class Course:
    """The run that begins, and those before it that were not finished."""

    def __init__(
        self, report: Report, state: SenderState, live: bool, intake: Intake, *, fresh: bool
    ) -> None:
        """live: the carrier can be gone on with. intake: what is known of earlier runs, and of what
        arrived of them. fresh: forget what was not finished.
        """
        self._report = report
        self._intake = intake
        self._state = state
        self._live = live
        self._book = Logbook(state.directory, state.sender, state.number, report.warn)
        self.frames = self._book.frames
        self._key = ""
        self._about = ""
        self._resumable = True
        self._found: Unfinished | None = None
        self._queue = Queue()
        self.log: RunLog | Unlogged = Unlogged()
        if fresh:
            for unfinished in self._book.runs:
                report.detail(f"forgotten: {unfinished.run.about}")
                self._book.forget(unfinished.name)

    @property
    def withdrawn(self) -> set[int]:
        """Objects of the earlier run that are not sent any more."""
        return self._queue.withdrawn

    def named(
        self,
        paths: tuple[str, ...],
        name: str | None,
        url: str,
        line: str,
        settings: Settings,
        link: Link,
        keys: tuple[str, ...],
    ) -> None:
        """All that makes a command the same, and the run that it has begun before, if any."""
        whole = [os.fsencode(os.path.abspath(path)) for path in paths]
        terms = (settings, link.rate, link.max_frame, link.unit, keys)
        self._key = key_of(whole, name, url, line, terms)
        what = " ".join(paths) or "what a receipt does not have"
        self._about = escape(f"{what} to {url}")[:ABOUT]
        self._resumable = STDIN not in paths
        if not self._resumable:
            self._key = secrets.token_hex(8)
        for unfinished in self._book.runs:
            self._judge(unfinished)

    def _judge(self, unfinished: Unfinished) -> None:
        run = unfinished.run
        if not run.resumable:
            self._report.warn(f"not finished, and gone: {run.about}")
            self._book.forget(unfinished.name)
        elif self._live and unfinished == self._book.find(self._key):
            self._found = unfinished
        else:
            self._report.warn(
                f"not finished: {run.about}; the same command goes on with it, --fresh forgets it"
            )

    def take_up(self, sources: Sequence[tuple[Source, Manifest]], settings: Settings) -> Queue:
        """The numbers of these sources, new ones being on disk by then."""
        if not self._state.room(len(sources)):
            self._found = None  # a new identity will be drawn
        self._queue = queue(
            self._found, sources, settings.passes, self._state.reserve, self._intake.returned
        )
        self._intake.taken_up(self._queue, sources)
        return self._queue

    def begin(self, transmitter: Transmitter) -> None:
        """Keep the run from now on, and go on where the one before it was."""
        if not self._live:
            return
        run = Run(self._state.sender, self._about, self._queue.entries, self._resumable)
        reached = self._found.reached if self._found else Reached()
        reached.frames = max(reached.frames, transmitter.frames_sent)
        self.log = self._book.begin(self._key, run, reached)
        if self._found is None:
            return
        if reached.place is not None:
            transmitter.go_on(reached.place)
        count, pass_ = len(self._queue.sources) - len(self.withdrawn), self._queue.number_of_pass
        self._report.event(
            "resumed",
            sender=self._state.sender,
            objects=count,
            withdrawn=len(self.withdrawn),
            number_of_pass=pass_,
        )
        self._report.say(
            f"going on with what was not finished: {plural(count, 'object')}, in pass {pass_}"
        )

    def going(self, frames: int) -> None:
        """As a log (service/logbook.py), from when the run is kept on."""
        self.log.going(frames)

    def handed(self, frames: int, place: Place | None) -> None:
        self.log.handed(frames, place)

    def wrote(self, frames: int) -> None:
        self.log.wrote(frames)

    def void(self, number: int) -> None:
        """The source of that object has failed."""
        self.log.void(number)
        self._intake.void(number)

    def end(self, frames: int, *, finished: bool) -> None:
        """frames: sent by this sender, ever. finished: the last byte has left."""
        self.log.close(frames, finished=finished)
