"""Drop folders: what people and programs put there is to be sent, once it is whole.

Nothing tells that a file is whole. So one is taken when it has not changed (size, time, inode)
over the settle time, between two scans at least, or at once when it was renamed in, for then
whoever wrote it had finished it elsewhere. Scans are the truth, and work on any share; a `Watch`
(watch.py) only makes the wait shorter. Names that stand for something unfinished are left alone,
and so is what is no file of its own: links, pipes, files with other names; and what an allow-list
(allowing.py) does not let through.

Who may write to the folder need not be trusted with more than that. Subfolders are entered by
descriptors that follow no link, and what was seen is what is sent: whoever opens the path later
gets the identity with it, and must find the same.

A scan is a generator that gives the word back every `PIECE` entries, so that a folder of 100,000
files keeps nobody waiting. It knows what has been taken and is still there: that is neither taken
again nor touched, until it changes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.source.allowing import AllowList
from diode.source.files import identity
from diode.source.folder import Found, what

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.source.files import Identity

PIECE = 500
"""Entries of a folder that are looked at in one go."""
SENT = "sent"
"""The folder in a drop folder for what was sent."""
LEAVING = ".diode-leaving-"
"""Before the name of what is about to leave: see departing.py."""
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".download", "~")
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 64
"""Folders inside each other."""
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ripe:
    """A file that may be sent: where it is, what it is called there, and how urgent it is."""

    found: Found
    parts: Parts
    """Below the drop folder."""
    priority: int


def unfinished(name: str) -> bool:
    """Whether a name stands for something that somebody is still writing, or hides."""
    return name.startswith((".", "~")) or name.lower().endswith(UNFINISHED)


class DropFolder:
    """What is in one drop folder, and what of it has been taken."""

    def __init__(
        self,
        folder: str,
        priority: int,
        settle: float,
        skipped: Callable[[str, str], object],
        *,
        priorities: bool = False,
        allowed: AllowList | None = None,
    ) -> None:
        """priorities: subfolders 0 to 9 are these priorities, and no part of names. `skipped(path,
        why)` is told, once, of what is left out. allowed: what may be sent; everything by default.
        """
        self.folder = folder
        self.priority = priority
        self.settle = settle
        self.priorities = priorities
        self.allowed = AllowList() if allowed is None else allowed
        self.taken: dict[Parts, Identity] = {}
        """What has been taken and was there at the last scan."""
        self.folders: list[Parts] = []
        """Those below, at the last scan."""
        self.gone: list[Parts] = []
        """What had been taken and is not there any more; whoever reads it empties it."""
        self.whole = False
        """Whether the last scan has seen all there is."""
        self._skipped = skipped
        self._waiting: dict[Parts, tuple[Identity, float]] = {}
        """What may be unfinished, and since when it has been as it is."""
        self._told: dict[Parts, str] = {}
        self._trouble: Parts | None = None
        self._lately: set[Parts] = set()
        """What was taken since the last scan began: it may have passed there before."""

    @property
    def waiting(self) -> int:
        """Files that have not settled."""
        return len(self._waiting)

    def scan(self, clock: Callable[[], float]) -> Iterator[Ripe | None]:
        """Every file that is ripe by now; None now and then, and at the end of it all."""
        seen: set[Parts] = set()
        self._lately.clear()
        self.whole, self.folders = True, []
        pending: list[Parts] = [()]
        count = 0
        while pending:
            here = pending.pop()
            below: list[Parts] = []
            for parts, status in self._list(here):
                seen.add(parts)
                count += 1
                if count % PIECE == 0:
                    yield None
                if stat.S_ISDIR(status.st_mode):
                    below.append(parts)
                else:
                    ripe = self._judge(parts, status, clock())
                    if ripe is not None:
                        yield ripe
            self.folders += below
            pending += sorted(below, reverse=True)
        if self.whole:
            self._forget(seen | self._lately)
        yield None

    def arrived(self, parts: Parts) -> Ripe | None:
        """A file that was renamed in; None where it is not to be sent."""
        if any(unfinished(part) for part in parts) or self._own(parts) or self.allowed.rationed:
            return None  # what is rationed waits for a scan, which has a clock
        try:
            folder = self.open(parts[:-1])
            try:
                status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
        except OSError:
            return None  # it has gone on; a scan sees what there is
        if not stat.S_ISREG(status.st_mode):
            return None
        return self._judge(parts, status, None)

    def take(self, ripe: Ripe) -> None:
        """It is going to be sent: leave it alone from now on, while it is as it is."""
        assert ripe.found.identity is not None
        self.taken[ripe.parts] = ripe.found.identity
        self._lately.add(ripe.parts)
        self._waiting.pop(ripe.parts, None)
        self.allowed.took()

    def forget(self, parts: Parts, was: Identity | None) -> None:
        """It was not sent as it was then: look at it anew, as if it had just come."""
        if self.taken.get(parts) == was:
            self.taken.pop(parts, None)
            self._waiting.pop(parts, None)

    def skip(self, parts: Parts, why: str) -> None:
        """Tell, once, that it is left out."""
        if self._told.get(parts) != why:
            self._told[parts] = why
            self._skipped(os.path.join(self.folder, *parts), why)

    def known(self, parts: Parts, was: Identity) -> Ripe | None:
        """A file that was taken before this process was started; None where it has no place."""
        priority, named = self._place(parts)
        return self._ripe(parts, priority, named, was) if named else None

    def open(self, parts: Parts) -> int:
        """A descriptor of a folder below, without following a link. OSError."""
        here = os.open(self.folder, DIRECTORY & ~os.O_NOFOLLOW)
        for part in parts:
            try:
                inner = os.open(part, DIRECTORY, dir_fd=here)
            finally:
                os.close(here)
            here = inner
        return here

    # One folder, one file -------------------------------------------------------------------

    def _list(self, here: Parts) -> Iterator[tuple[Parts, os.stat_result]]:
        """The entries of one folder that are not left alone."""
        try:
            folder = self.open(here)
        except OSError as error:
            self._unreadable(here, error)
            return
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    parts = (*here, entry.name)
                    if entry.name.startswith(LEAVING):
                        _put_back(folder, entry.name)
                        continue
                    if unfinished(entry.name) or self._own(parts):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if len(parts) > DEEPEST:
                        self.skip(parts, "it lies too deep")
                        continue
                    yield parts, status
            if self._trouble == here:
                self._trouble = None
        except OSError as error:
            self._unreadable(here, error)
        finally:
            os.close(folder)

    def _judge(self, parts: Parts, status: os.stat_result, now: float | None) -> Ripe | None:
        """The file if it is ripe. now: None for one that was renamed in."""
        one = identity(status)
        if self.taken.get(parts) == one:
            return None
        since = self._waiting.get(parts)
        if now is not None:
            if since is None or since[0] != one:
                self._waiting[parts] = (one, now)
                return None
            if now - since[1] < self.settle:
                return None
        if why := self._refusal(parts[-1], status, now):
            self.skip(parts, why)
            return None
        priority, named = self._place(parts)
        if not named:
            self.skip(parts, "subfolders here are priorities, from 0 to 9")
            return None
        return self._ripe(parts, priority, named, one)

    def _refusal(self, name: str, status: os.stat_result, now: float | None) -> str:
        """Why it is not sent, or not now; empty where it is."""
        if not stat.S_ISREG(status.st_mode):
            return what(status.st_mode)
        if status.st_nlink > 1:
            return "it has other names (hard links)"
        return self.allowed.refusal(name, status.st_size) or self.allowed.wait(now)

    def _ripe(self, parts: Parts, priority: int, named: Parts, one: Identity) -> Ripe:
        path = os.path.join(self.folder, *parts)
        return Ripe(Found(path, named, False, one[2], one[3], one), parts, priority)

    def _place(self, parts: Parts) -> tuple[int, Parts]:
        """Priority and name of what lies there; no name where that is no priority."""
        if not self.priorities or len(parts) == 1:
            return self.priority, parts
        first = parts[0]
        if len(first) == 1 and first in "0123456789":
            return int(first), parts[1:]
        return self.priority, ()

    def _own(self, parts: Parts) -> bool:
        """Whether that is where things are moved when they were sent."""
        return parts[0] == SENT

    def _forget(self, seen: set[Parts]) -> None:
        """Know nothing any more of what is gone."""
        self.gone += self.taken.keys() - seen
        for known in (self.taken, self._waiting, self._told):
            for parts in known.keys() - seen:
                del known[parts]

    def _unreadable(self, here: Parts, error: OSError) -> None:
        """A folder that is away for a while: what was known of it holds."""
        if isinstance(error, FileNotFoundError) and here:
            return  # it was removed while its parent was read
        self.whole = False
        if self._trouble != here:
            self._trouble = here
            self._skipped(os.path.join(self.folder, *here), os.strerror(error.errno or 0))


def _put_back(folder: int, name: str) -> None:
    """Give something its name back that was about to leave when this process was killed."""
    wanted = name.removeprefix(LEAVING)
    if not wanted:  # nobody of ours made that
        return
    with contextlib.suppress(OSError):  # it stays as it is, and the others need not wait for it
        try:
            os.stat(wanted, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, wanted, src_dir_fd=folder, dst_dir_fd=folder)
