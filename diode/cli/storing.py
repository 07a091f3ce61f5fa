"""`diode recv` into a store: what differs from a folder, to people and to programs.

An object that came is `object_spooled`: it is verified and durable here, in the outbox. With the
same fields it is `object_delivered` when it is in the store, `path` then being its URL. So
`object_delivered` says the same of stores and folders: it is at its destination.

The facts of what waits are written down beside the outbox (`spooled.jsonl`), so that a
later start can tell them too. They are told and decide nothing; of what was not written before
a power cut, the ledger knows name, size, digest, sender and number, but not who signed it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from diode import confine
from diode.cli import confinement
from diode.errors import DestinationError
from diode.objects import escape
from diode.service.uploads import Process, Uploads
from diode.sink.store import shown
from diode.wording import plural, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.cli.report import Report
    from diode.service.disk import Disk
    from diode.service.receiver import Session
    from diode.service.uploads import Facts
    from diode.sink import uploader
    from diode.sink.outbox import Outbox

NOTES = "spooled.jsonl"
MOST_NOTES = 10_000
"""Lines more than files wait, after which the notes are written anew."""


def opened(report: Report, url: str, outbox: Outbox, sandbox: str) -> Storing:
    """Start what uploads; to be done before this process is confined.

    Raises UsageError where that store cannot be used here.
    """
    process = Process(url, outbox.path, cast("uploader.Sandbox", sandbox))
    confined = confine.Confinement(process.done, process.missing)
    told = "off" if sandbox == "off" else confinement.told(report, "uploader", confined)
    report.event("uploading", store=shown(url), sandbox=told)
    return Storing(report, outbox, process)


@dataclass(slots=True)
class Storing:
    """Where objects go on their way to a store, and what is said of it."""

    report: Report
    outbox: Outbox
    process: Process
    uploads: Uploads = field(init=False)
    event: str = "object_spooled"
    word: str = "received"
    leaving: Callable[[str, str], object] = lambda _path, _at: None
    """Is told, where work on the disk is done, of what leaves the outbox and where it is stored."""
    _lines: int = 0

    def begin(self, disk: Disk) -> None:
        """Go on with what earlier runs left."""
        self.uploads = Uploads(self.process, self, disk, self.outbox)
        waiting = self.outbox.waiting()
        self.uploads.left(waiting, self._noted())
        self._note_anew()
        if waiting:
            self.report.say(f"{plural(len(waiting), 'file')} of an earlier run to upload")

    def placed(self, each: Sequence[Facts], shared: Facts) -> None:
        """They lie in the outbox."""
        for one in each:
            path = one["path"]
            facts = one | shared | {"path": path.rstrip("/")}
            self.uploads.add(facts, folder=path.endswith("/"))
            self._note(facts)

    def tick(self, session: Session) -> None:  # noqa: ARG002
        self.uploads.step()

    def stored(self, facts: Facts, answer: uploader.Stored) -> None:
        self._note({"path": facts["path"]})
        duplicate = answer.duplicate or facts.get("duplicate", False)
        known = {"sha256": answer.sha256} | facts
        self.report.event("object_delivered", **known | {"path": answer.at, "duplicate": duplicate})
        what = "already there" if duplicate else "delivered"
        self.report.say(f"{what} {escape(answer.at)} ({size(facts['size'])})")
        if not sys.stdout.isatty():
            self.report.result(answer.at)

    def trouble(self, error: DestinationError, waiting: int) -> None:
        what = f"{escape(str(error))}; listening goes on, {plural(waiting, 'file')} in the outbox"
        self.report.error(DestinationError(what, hint=error.hint))

    def notice(self, text: str) -> None:
        self.report.warn(escape(text))

    def finish(self, session: Session) -> DestinationError | None:
        """Wait for the rest."""
        try:
            self.uploads.finish(lambda: session.stopped)
        except DestinationError as error:
            return error
        if waiting := self.uploads.waiting:
            self.report.warn(f"{plural(waiting, 'file')} in the outbox: the next start uploads it")
        return None

    def close(self) -> None:
        self.process.close()

    # Notes ----------------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return os.path.join(self.outbox.beside, NOTES)

    def _note(self, facts: Facts) -> None:
        """One line: of what waits all that is told, of what left only where it lay."""
        self._lines += 1
        waiting = self.uploads.waiting
        if not waiting or self._lines > MOST_NOTES + 2 * waiting:
            self._note_anew()
        else:
            self._write(json.dumps(facts) + "\n", "a")

    def _note_anew(self) -> None:
        facts = [facts for file in self.uploads.files() for facts in file.facts]
        self._lines = len(facts)
        self._write("".join(json.dumps(each) + "\n" for each in facts), "w")

    def _write(self, text: str, mode: str) -> None:
        def write() -> None:
            with contextlib.suppress(OSError), open(self._path, mode, encoding="ascii") as notes:
                notes.write(text)

        self.uploads.disk.do(write, lambda _: None, len(text))

    def _noted(self) -> dict[str, list[Facts]]:
        """What earlier runs wrote down, by path."""
        found: dict[str, list[Facts]] = {}
        with (
            contextlib.suppress(OSError),
            open(self._path, encoding="ascii", errors="replace") as notes,
        ):
            for line in notes:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    facts = json.loads(line)
                    if len(facts) > 1:
                        found.setdefault(facts["path"], []).append(facts)
                    else:
                        found.pop(facts["path"], None)
        return found
