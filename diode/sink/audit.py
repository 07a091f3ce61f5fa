"""An inbox held against its ledger: each file that was delivered is read and hashed again.

Each place below the inbox has one finding:

    verified   what is there has a digest that was delivered to that place
    changed    something else is there, or nothing that could be read
    gone       nothing is there
    unknown    a file is there that the ledger does not know

Folders on the way are entered one by one through descriptors, and no link is followed, so nothing
outside the inbox is read whatever was put into it. A receiver may run: what it delivers meanwhile
is no finding, and what it has begun is known. Paths are kept in sqlite's temporary store, not in
memory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from diode.sink import records
from diode.sink.place import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
PIECE = 1 << 20
STRANGERS = 10_000
"""Unknown files that are told of."""


class Kind(StrEnum):
    """What was found at a place."""

    VERIFIED = "verified"
    CHANGED = "changed"
    GONE = "gone"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """What became of a file. path: below the inbox, as the system has it."""

    kind: Kind
    path: str
    size: int = 0
    sha256: str = ""
    """As it was delivered."""
    sender: int = 0
    number: int = 0
    why: str = ""
    """What is there instead."""


class Audit:
    """One look at everything."""

    def __init__(
        self,
        root: int,
        state: str,
        ledger: records.Records,
        read: Callable[[int], object] = lambda _: None,
    ) -> None:
        """root: descriptor of the inbox. state: the folder of the ledger, which is not looked
        into. read: is told how many bytes were read.
        """
        self._root = root
        self._state = os.stat(state)
        self._folder = state
        self._ledger = ledger
        self._read = read

    def findings(self) -> Iterator[Finding]:
        """Of all places. Raises as `Records`."""
        for rows in self._ledger.places():
            yield self._judge(rows)
        strangers = []
        for path in self._files():
            if not self._ledger.has_place(os.fsencode(path)):
                strangers.append(path)
            if len(strangers) == STRANGERS:
                break
        if strangers:
            with records.opened(self._folder) as later:  # it may have come in the meantime
                known = later.which(set(map(os.fsencode, strangers)))
            yield from (
                Finding(Kind.UNKNOWN, path) for path in strangers if os.fsencode(path) not in known
            )

    def _judge(self, rows: list[dict[str, Any]]) -> Finding:
        """What is at a place, by all that was ever delivered there; the newest comes last."""
        last = rows[-1]
        path = os.fsdecode(last["path"])
        facts = (path, last["size"], last["sha256"].hex(), last["sender"], last["number"])
        try:
            found = self._digest(path)
        except FileNotFoundError:
            return Finding(Kind.GONE, *facts)
        except OSError as error:
            return Finding(Kind.CHANGED, *facts, _why(error))
        for row in reversed(rows):
            if found == row["sha256"] or (found is None and not row["size"]):
                one = (path, row["size"], row["sha256"].hex(), row["sender"], row["number"])
                return Finding(Kind.VERIFIED, *one)
        why = "a folder" if found is None else f"sha256 {found.hex()}"
        return Finding(Kind.CHANGED, *facts, why)

    def _digest(self, path: str) -> bytes | None:
        """Of the file at that path; None of a folder. OSError where there is neither."""
        *folders, name = path.split("/")
        here = os.dup(self._root)
        try:
            for folder in folders:
                inner = os.open(folder, DIRECTORY, dir_fd=here)
                os.close(here)
                here = inner
            descriptor = os.open(name, _OPEN, dir_fd=here)
        finally:
            os.close(here)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                return None
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "no regular file")
            digest = hashlib.sha256()
            while piece := os.read(descriptor, PIECE):
                digest.update(piece)
                self._read(len(piece))
            return digest.digest()
        finally:
            os.close(descriptor)

    def _files(self) -> Iterator[str]:
        """Paths of everything below the inbox that is no folder, but for the state."""
        for here, folders, files, descriptor in os.fwalk(".", dir_fd=self._root):
            folders[:] = [
                name
                for name in sorted(folders)
                if not os.path.samestat(
                    os.stat(name, dir_fd=descriptor, follow_symlinks=False), self._state
                )
            ]
            for name in sorted(files):
                yield os.path.normpath(os.path.join(here, name))


def _why(error: OSError) -> str:
    """What is there instead, in words."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a link, or something else that is no folder, is on the way"
    return error.strerror or str(error)
