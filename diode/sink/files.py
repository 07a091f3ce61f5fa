"""The files of unfinished objects: opened without following links, a few of many at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import OrderedDict
from typing import NamedTuple, Protocol

from diode.events import Key

READ_PIECE = 1 << 20
MAX_OPEN = 4
"""Parts whose files are open at a time: what a link announces must not use up descriptors."""
MODE = 0o600
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LAST = (1 << 32) - 1


def folder_name(key: Key) -> str:
    return f"{key.sender:08x}-{key.number}"


def folder_key(name: str) -> Key | None:
    """The key in a part folder's name, or None where somebody else made the folder."""
    sender, _, number = name.partition("-")
    try:
        key = Key(int(sender, 16), int(number))
    except ValueError:
        return None
    return key if folder_name(key) == name and max(key) <= _LAST and min(key) >= 0 else None


class Closable(Protocol):
    """What has files open."""

    def close(self) -> None:
        """Close them; whatever needs them opens them again."""


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it, in as many calls as that takes."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


class OpenFiles:
    """Which parts have their files open: those used last, a few of many."""

    def __init__(self, most: int = MAX_OPEN) -> None:
        self._most = most
        self._parts: OrderedDict[Closable, None] = OrderedDict()

    def used(self, part: Closable) -> None:
        self._parts[part] = None
        self._parts.move_to_end(part)
        while len(self._parts) > self._most:
            next(iter(self._parts)).close()

    def closed(self, part: Closable) -> None:
        self._parts.pop(part, None)


class Descriptors(NamedTuple):
    """The open files of a part."""

    folder: int
    data: int
    journal: int


def names_in(folder: int) -> list[str]:
    """What is in a folder now. A descriptor that was opened earlier need not list what came since
    (POSIX leaves it open, and btrfs does not).
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    anew = os.open(".", flags, dir_fd=folder)
    try:
        return os.listdir(anew)
    finally:
        os.close(anew)


def set_aside(folder: int, name: str) -> str:
    """Rename a damaged file to the first free `NAME.corrupt-N`; that name."""
    there = set(names_in(folder))
    new = next(n for i in itertools.count(1) if (n := f"{name}.corrupt-{i}") not in there)
    os.rename(name, new, src_dir_fd=folder, dst_dir_fd=folder)
    return new


def copy(source: int, target: int, size: int) -> None:
    for at in range(0, size, READ_PIECE):
        write_all(target, os.pread(source, min(READ_PIECE, size - at), at), at)


def open_writable(folder: int, name: str) -> int:
    """Open or create a file for reading and writing, also one a crash left with its final mode."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(PermissionError):
        return os.open(name, flags, MODE, dir_fd=folder)
    readable = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fchmod(readable, MODE)
    finally:
        os.close(readable)
    return os.open(name, flags, MODE, dir_fd=folder)


def announcement_of(parent: int, name: str) -> bytes:
    """What a part's folder says of its object; FileNotFoundError where that or the data is gone."""
    folder = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.stat("data", dir_fd=folder, follow_symlinks=False)
        return read_file(folder, "announcement")
    finally:
        os.close(folder)


def remove_folder(parent: int, name: str) -> None:
    """Remove a folder of files, as far as that is possible."""
    with contextlib.suppress(OSError):
        folder = os.open(name, _FOLDER, dir_fd=parent)
        try:
            for inner in os.listdir(folder):
                os.unlink(inner, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=parent)


def read_all(descriptor: int, size: int) -> bytes:
    """So many bytes of a file; zeros where it has fewer."""
    pieces, at = [], 0
    while at < size and (piece := os.pread(descriptor, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces).ljust(size, b"\0")


def read_file(folder: int, name: str) -> bytes:
    """A small file's content."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, READ_PIECE)
    finally:
        os.close(descriptor)
