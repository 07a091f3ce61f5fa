"""What is done about objects of drop folders that were sent, and about those that failed.

Each step is in the queue (spool.py) before the next: a process killed at any point does the rest
when it starts again. Files that are moved or deleted are those that were sent, or stay.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diode.objects import Type, escape
from diode.sent import ObjectRetired, ObjectSent, PassSent, SourceFailed
from diode.source.bundle import BundleSource
from diode.source.departing import AFTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.errors import DestinationError
    from diode.sent import Sent
    from diode.service.building import Built
    from diode.service.queues import Queues
    from diode.service.spool import Entry, File, Spool


@dataclass(frozen=True, slots=True)
class News:
    """Something that the operator, or a program, may want to know."""

    event: str
    fields: dict[str, Any]
    text: str = ""
    warning: bool = False


class Settling:
    """The objects that were numbered, until nothing is to be done about them any more."""

    def __init__(self, spool: Spool, queues: Queues, sender: int) -> None:
        self._spool = spool
        self._queues = queues
        self._sender = sender
        self.entries: dict[int, Entry] = {}
        self.built: dict[int, Built] = {}
        """What they were built of, of those that the transmitter has."""
        self.news: deque[News] = deque()
        self.sent = self.failed = 0
        self.passes: dict[int, int] = {}
        """Passes done, of those of which a pass has been."""
        self.kept: set[int] = set()
        """Sent in every planned pass, and not retired: what a carousel has."""
        self._pending: deque[Sent] = deque()

    def settle(self, events: Iterable[Sent]) -> None:
        """Do what is to be done about these. DestinationError: later, with the next ones."""
        self._pending += events
        passes = {e.number: e.passes_done for e in self._pending if isinstance(e, PassSent)}
        if passes:
            self._spool.passed(passes)
            self.passes.update(passes)
        while self._pending:
            event = self._pending[0]
            entry = self.entries.get(event.number)
            if entry is not None and isinstance(event, ObjectSent):
                self._spool.step([event.number], "sent")
                self.sent += 1
                self.kept.add(event.number)
                self.news.extend(self._told_sent(entry, event))
            elif entry is not None and isinstance(event, ObjectRetired):
                self.leave(entry)
            elif entry is not None and isinstance(event, SourceFailed):
                self.void(entry, event.reason)
            self._pending.popleft()
        if gone := self._queues.gone():
            self._spool.forget(gone)

    def leave(self, entry: Entry) -> None:
        """It is sent no more: do with its files what is asked for."""
        self._spool.step([entry.number], "leaving")
        forget = True
        for file in entry.files:
            forget = self._depart(file) and forget
        self._spool.retire([entry.number], forget=forget)
        self._drop(entry)
        self._tell("object_retired", number=entry.number, name=escape(entry.manifest.name))

    def void(self, entry: Entry, reason: str) -> None:
        """It was not sent, for its files have changed: what is there now is taken anew."""
        self._spool.retire([entry.number], forget=True)
        for file in entry.files:
            if place := self._queues.place(file.folder):
                place.files.forget(file.parts, file.identity)
        self.failed += 1
        self._drop(entry)
        self._tell(
            "object_void",
            f"{reason}; the receiver is told not to deliver it",
            warning=True,
            number=entry.number,
            name=escape(entry.manifest.name),
            reason=reason,
        )

    def _depart(self, file: File) -> bool:
        """Whether nothing of the file need be remembered."""
        place = self._queues.place(file.folder)
        if place is None:
            return False
        after = place.config.after
        try:
            AFTER[after](place.files, file.parts, file.identity)
        except OSError as error:
            path = escape(os.path.join(file.folder, *file.parts))
            why = os.strerror(error.errno or 0)
            text = f"{path} was sent and cannot be {after}d: {why}; it stays, and is not sent again"
            self._tell("warning", text, warning=True, message=text)
            return False
        return after != "keep"

    def _drop(self, entry: Entry) -> None:
        self.entries.pop(entry.number, None)
        self.passes.pop(entry.number, None)
        self.kept.discard(entry.number)
        if built := self.built.pop(entry.number, None):
            built.discard()

    def _told_sent(self, entry: Entry, event: ObjectSent) -> Iterator[News]:
        """As `diode send` tells it: each file of a bundle."""
        built = self.built.get(entry.number)
        source, manifest = built.source if built else None, entry.manifest
        one = (manifest.name, manifest.size, manifest.digest.hex())
        files = [one]
        if isinstance(source, BundleSource):
            files = [(m.name, m.size, m.sha256) for m in source.members]
        for name, size, sha256 in files:
            fields = {
                "name": escape(name),
                "sender": self._sender,
                "number": entry.number,
                "size": size,
                "sha256": sha256,
                "passes": event.passes,
                "encrypted": manifest.encrypted,
                "bundle": manifest.type == Type.BUNDLE,
            }
            yield News("object_sent", fields, f"sent {escape(name)} as {entry.number}")

    def _tell(self, event: str, text: str = "", *, warning: bool = False, **fields: Any) -> None:
        if event != "warning":
            fields["sender"] = self._sender
        self.news.append(News(event, fields, text, warning))


def trouble(error: DestinationError) -> str:
    """An error and what to do about it, in one line."""
    return f"{error} ({error.hint})" if error.hint else str(error)
