"""Paths named on the command line, and everything below those that are directories.

A path `photos` gives objects named `photos`, or `photos/2024/a.jpg` for what lies below it. Order
is that of the names, so two runs over the same tree send the same objects in the same order.
Symbolic links, devices, sockets and pipes are not followed, opened or sent: they are reported.
So are files with other names somewhere (hard links), unless they are asked for or named themselves:
who may write to a folder that is sent, but not read a secret, could link the secret into it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from diode.errors import SourceError
from diode.objects import escape, wire_name
from diode.source.files import DirectorySource, FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.source.files import Identity


class Found(NamedTuple):
    """Something to send: its path here and the parts of its name there."""

    path: str
    parts: tuple[str, ...]
    directory: bool
    size: int
    mtime: int
    identity: Identity | None = None
    """What it was when it was seen, where it has to be that still (files.identity)."""

    def source(self, hashed: Callable[[int], object] | None = None) -> FileSource | DirectorySource:
        """The object; SourceError where it cannot be read. A file is hashed here."""
        name = wire_name(self.parts)
        if self.directory:
            return DirectorySource(name, self.mtime, self.path)
        return FileSource(self.path, name, hashed=hashed, expected=self.identity)


LINKED = "it has other names (hard links); --hard-links sends it"


def find(
    path: str,
    name: str | None,
    skipped: Callable[[str, str], object],
    *,
    hard_links: bool = False,
) -> Iterator[Found]:
    """Everything to send for one path. name: instead of the path's own last component.

    hard_links: files below it that have other names too are sent.

    `skipped(path, why)` is told of what is left out. Raises SourceError when `path` itself is not
    there.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise SourceError(
            f"{escape(path)}: {os.strerror(error.errno or 0)}", hint="check the path"
        ) from error
    parts = parts_of(path, name)
    if stat.S_ISDIR(status.st_mode):
        yield from _below(path, parts, status, skipped, hard_links=hard_links)
    elif stat.S_ISREG(status.st_mode):
        yield Found(path, parts or ("unnamed",), False, status.st_size, status.st_mtime_ns)
    else:
        skipped(path, what(status.st_mode))


def parts_of(path: str, name: str | None) -> tuple[str, ...]:
    """The parts of the name there. name: instead of the path's own last component."""
    wanted = name or os.path.basename(os.path.abspath(path))
    return tuple(part for part in wanted.split("/") if part)


def _below(
    path: str,
    parts: tuple[str, ...],
    status: os.stat_result,
    skipped: Callable[[str, str], object],
    *,
    hard_links: bool,
) -> Iterator[Found]:
    """Depth first, names in order, without recursion: a tree may be deeper than Python's stack."""
    pending = [(path, parts, status.st_mtime_ns)]
    while pending:
        here, names, mtime = pending.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda e: e.name)
        except OSError as error:
            skipped(here, os.strerror(error.errno or 0))
            continue
        if not listed and names:
            yield Found(here, names, True, 0, mtime)
        inner = []
        for entry in listed:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError as error:
                skipped(entry.path, os.strerror(error.errno or 0))
                continue
            below = (*names, entry.name)
            if stat.S_ISDIR(found.st_mode):
                inner.append((entry.path, below, found.st_mtime_ns))
            elif stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and not hard_links:
                skipped(entry.path, LINKED)
            elif stat.S_ISREG(found.st_mode):
                yield Found(entry.path, below, False, found.st_size, found.st_mtime_ns)
            else:
                skipped(entry.path, what(found.st_mode))
        pending.extend(reversed(inner))


def what(mode: int) -> str:
    """What something is that is no regular file."""
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return name
    return "not a regular file"
