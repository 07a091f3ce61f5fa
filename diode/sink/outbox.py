"""The outbox: an inbox whose files wait there until they are in a store.

What came over the link is collected, verified and put in place as in any other inbox (folder.py),
in the folder `outbox` of the state folder. So it is durable, and known as delivered to the ledger,
before a store that may be far away or away altogether has anything to do with it. The ledger says
what came; the outbox says what the store has yet to get. A file leaves the outbox when it is in the
store, and until then each start finds it here, and in the ledger the digest that it must have.

The quota bounds both, what is unfinished and what waits. When an object is whole it moves from
the one to the other, so a full quota never stops a delivery. As long as anything waits, a new
object for which there is no room beside it and what is unfinished is not begun: that is trouble
like a full disk, it is told, and the object's next manifest asks again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from diode.errors import DestinationError
from diode.incoming import NOTHING_KNOWN
from diode.sink import Delivered, Unpacked
from diode.sink.folder import Inbox
from diode.sink.trouble import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.events import Key
    from diode.incoming import Course
    from diode.objects import Manifest
    from diode.sink import Delivery
    from diode.sink.ledger import Placed

FOLDER = "outbox"


class Waiting(NamedTuple):
    """What an earlier run left in the outbox. size: bytes; folder: an empty one, to be made.

    known: the object it is; None where the ledger, having been damaged, knows nothing of it.
    """

    path: str
    size: int
    folder: bool
    known: Placed | None = None


class Outbox(Inbox):
    """The folder that an uploader takes files from."""

    def __init__(
        self,
        state: str,
        *,
        mode: int,
        quota: int | None = None,
        expire: float | None = None,
        required: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """state: folder for this and all else that is kept. The rest as for `Inbox`."""
        path = os.path.join(state, FOLDER)
        super().__init__(
            path,
            state=state,
            mode=mode,
            quota=quota,
            expire=expire,
            required=required,
            clock=clock,
        )
        self.beside = state
        """Where else there is room for what concerns it."""

    def waiting(self) -> list[Waiting]:
        """What earlier runs left here; to be asked once, before anything else."""
        found = []
        with explained(self.path):
            for here, folders, files in os.walk(self.path):
                below = os.path.relpath(here, self.path)
                if not folders and not files and below != ".":
                    found.append(Waiting(below, 0, folder=True))
                for name in files:
                    status = os.lstat(os.path.join(here, name))
                    if stat.S_ISREG(status.st_mode):
                        path = os.path.normpath(os.path.join(below, name))
                        found.append(Waiting(path, status.st_size, folder=False))
        self.elsewhere = sum(waiting.size for waiting in found)
        with self._guarded():
            placed = self._ledger.placed({one.path for one in found}) if found else {}
        return [one._replace(known=self._known(one, placed.get(one.path))) for one in sorted(found)]

    def _known(self, waiting: Waiting, placed: list[Placed] | None) -> Placed | None:
        """Which of those that were ever put there it is: others of that name have left before."""
        if placed is None:
            return None
        alike = [one for one in placed if one.size == waiting.size] or placed
        if len({one.sha256 for one in alike}) > 1:
            path = os.path.join(self.path, waiting.path)
            with explained(self.path), open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            alike = [one for one in alike if one.sha256 == digest] or alike
        return alike[-1]

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        """As any sink; DestinationError where there is no room beside what waits."""
        wanted = self.elsewhere + self.held + manifest.size
        full = self.elsewhere and self.quota is not None and wanted > self.quota
        if full and key not in self._parts and not self._finished(key):
            raise DestinationError(
                f"the outbox is full: {self.elsewhere:,} bytes in it wait for the store",
                hint="see what is said of the store; more may wait with more --quota",
            )
        return super().announce(key, manifest, announcement)

    def _finished(self, key: Key) -> bool:
        with self._guarded():
            return self._ledger.finished(key)

    def deliver(self, key: Key, manifest: Manifest, course: Course = NOTHING_KNOWN) -> Delivery:
        answer = super().deliver(key, manifest, course)
        match answer:
            case Delivered(duplicate=False):
                self.elsewhere += manifest.size
            case Unpacked(files):
                self.elsewhere += sum(m.size for m, where in files if not where.duplicate)
            case _:
                pass
        return answer

    def take_away(self, path: str, size: int) -> None:
        """It is in the store: remove it, and the folders that it leaves empty."""
        with explained(self.path):
            try:
                os.unlink(os.path.join(self.path, path))
            except IsADirectoryError:
                os.rmdir(os.path.join(self.path, path))
            except FileNotFoundError:
                pass  # whoever did that has made the room
        self.elsewhere -= size
        while path := os.path.dirname(path):
            try:
                os.rmdir(os.path.join(self.path, path))
            except OSError:
                return  # something else is in it
