"""What becomes of a file in a drop folder when it has been sent: it stays, moves, or is deleted.

Between the look at a file and its end somebody may put another in its place, and that one has not
been sent. So a file is first renamed to a name that nobody else uses, then looked at, and goes only
if it is the one that was sent; any other gets its name back. A process killed in between leaves
that name, and the next scan gives it back (drop.py): the file is then done away with again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

from diode.source.drop import DIRECTORY, LEAVING, SENT
from diode.source.files import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.source.drop import DropFolder, Parts
    from diode.source.files import Identity

LONGEST = 255
"""Bytes of a name."""


def delete(drop: DropFolder, parts: Parts, sent: Identity) -> bool:
    """Delete a file if it is the one that was sent. OSError where that cannot be done."""
    with _opened(drop, parts[:-1]) as folder, _leaving(folder, parts[-1], sent) as name:
        if name:
            os.unlink(name, dir_fd=folder)
        return bool(name)


def move(drop: DropFolder, parts: Parts, sent: Identity) -> bool:
    """Move a file to `sent/`, never over another, if it is the one that was sent. OSError."""
    with (
        _opened(drop, parts[:-1]) as folder,
        _made(drop, (SENT, *parts[:-1])) as target,
        _leaving(folder, parts[-1], sent) as name,
    ):
        if name:
            os.rename(name, _free(target, parts[-1]), src_dir_fd=folder, dst_dir_fd=target)
        return bool(name)


def keep(drop: DropFolder, parts: Parts, sent: Identity) -> bool:
    """Leave it where it is; who scans knows that it has been sent."""
    del drop, parts, sent
    return True


AFTER = {"delete": delete, "move": move, "keep": keep}


@contextlib.contextmanager
def _leaving(folder: int, name: str, sent: Identity) -> Iterator[str]:
    """The name under which the file waits for its end; empty where it is another, or gone."""
    aside = LEAVING + name
    if len(os.fsencode(aside)) > LONGEST:
        aside = name
    try:
        if identity(os.stat(name, dir_fd=folder, follow_symlinks=False)) != sent:
            yield ""
            return
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        yield ""
        return
    if identity(os.stat(aside, dir_fd=folder, follow_symlinks=False)) == sent:
        try:
            yield aside
        except OSError:
            _back(folder, aside, name)
            raise
        return
    _back(folder, aside, name)
    yield ""


def _back(folder: int, aside: str, name: str) -> None:
    """Give the file its name back, or one like it where that is taken by now."""
    if aside != name:
        with contextlib.suppress(FileNotFoundError):
            os.rename(aside, _free(folder, name), src_dir_fd=folder, dst_dir_fd=folder)


def _free(folder: int, name: str) -> str:
    """A name that nothing has in the folder, made ours by an empty file under it."""
    stem, suffix = os.path.splitext(name)
    for number in itertools.count(1):
        tail = f".{number}{suffix}" if number > 1 else suffix
        one = stem
        while len(os.fsencode(one + tail)) > LONGEST:
            one = one[:-1]
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(one + tail, flags, 0o600, dir_fd=folder))
        except FileExistsError:
            continue
        return one + tail
    raise AssertionError("there is always another number")


@contextlib.contextmanager
def _opened(drop: DropFolder, parts: Parts) -> Iterator[int]:
    folder = drop.open(parts)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _made(drop: DropFolder, parts: Parts) -> Iterator[int]:
    """A descriptor of that folder, made where it is not there."""
    here = drop.open(())
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o750, dir_fd=here)
            inner = os.open(part, DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)
