"""Final names: free ones, never over what is there, through descriptors that follow no link."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import itertools
import os
import secrets
import stat
from functools import cache
from typing import TYPE_CHECKING

from diode.objects import MAX_PART, safe_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
STATE = ".diode"
"""The folder in an inbox that is the receiver's own."""
_RENAME_NOREPLACE = 1
_MAX_SIBLING = 1000
"""Numbered siblings of a name; later ones get a random mark, since each number is a look-up."""
_FEW = 16
"""Siblings among which a file is looked for that may have got one of their names."""


def sync_folder(folder: int) -> None:
    """Have the names in it survive a power cut."""
    os.fsync(folder)


def may_rename(one: int, other: int) -> bool:
    """Whether files can be renamed from one folder into another. Two mounts of one file system are
    as far apart as two file systems; a service manager makes one for each path that it lets be
    written to.
    """
    apart = os.fstat(one).st_dev != os.fstat(other).st_dev
    return not apart and _mount(one) == _mount(other)


def _mount(folder: int) -> str:
    """The number of the mount by which it was opened; nothing where the system does not tell."""
    try:
        with open(f"/proc/self/fdinfo/{folder}", encoding="ascii") as lines:
            return next((line for line in lines if line.startswith("mnt_id:")), "")
    except OSError:
        return ""


def siblings(name: str) -> Iterator[str]:
    """`report.pdf`, `report.2.pdf`, `report.3.pdf` …, none longer than a name may be."""
    yield name
    stem, suffix = os.path.splitext(name)
    for number in itertools.count(2):
        mark = number if number < _MAX_SIBLING else secrets.token_hex(8)
        tail = f".{mark}{suffix}"
        if len(os.fsencode(tail)) > MAX_PART:  # the longest of suffixes has to give, too
            stem, suffix = name, ""
            tail = f".{mark}"
        cut = stem
        while len(os.fsencode(cut + tail)) > MAX_PART:
            cut = cut[:-1]
        yield cut + tail


def open_folder(
    parent: int, wanted: str, forbidden: int, made: Callable[[int], object] = sync_folder
) -> tuple[int, str]:
    """Open or make a folder in `parent`; a sibling where a file or a link has the name.

    forbidden: descriptor of the state folder, which no name may lead into, however it is spelt.
    made: is told in which folder one was made.
    """
    for name in siblings(wanted):
        try:
            os.mkdir(name, 0o750, dir_fd=parent)
            made(parent)
        except FileExistsError:
            pass
        try:
            folder = os.open(name, DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            continue
        if not os.path.samestat(os.fstat(folder), os.fstat(forbidden)):
            return folder, name
        os.close(folder)
    raise AssertionError("there is always another sibling")


class Places:
    """Where things go below an inbox, and how they look there."""

    def __init__(self, root: int, forbidden: int, mode: int, *, exact: bool) -> None:
        """root: descriptor of the inbox; forbidden: of the folder nothing may be put into.

        mode: of files. exact: keep every byte of a name that can be kept.
        """
        self.root = root
        self._forbidden = forbidden
        self._mode = mode
        self._exact = exact

    def path_of(self, name: bytes) -> list[str]:
        """Components, safe to create, for a sender's name."""
        parts = safe_parts(name, exact=self._exact)
        if parts[0] == STATE:  # only --names exact lets a leading dot through
            parts[0] = "%2E" + STATE[1:]
        return parts

    def enter(
        self, parts: list[str], made: Callable[[int], object] = sync_folder
    ) -> tuple[int, list[str]]:
        """Open a folder, making what is missing; its descriptor and real path.

        made: is told in which folders one was made, to have that survive a power cut.
        """
        here, path = os.dup(self.root), []
        for part in parts:
            try:
                inner, name = open_folder(here, part, self._forbidden, made)
            finally:
                os.close(here)
            here = inner
            path.append(name)
        return here, path

    def dress(self, descriptor: int, mtime: int | None) -> None:
        """Give a file the mode and the time that it is to have. mtime: nanoseconds since 1970."""
        os.fchmod(descriptor, self._mode)
        if mtime is not None:
            with contextlib.suppress(OSError, OverflowError):  # out of this file system's range
                os.utime(descriptor, ns=(mtime, mtime))


def rename_beside(
    part: int, target: int, wanted: str, size: int, sha256: bytes, old: str = "data"
) -> tuple[str, bool]:
    """Move `old` from the part's folder to a free name, never over another file.

    The name, and whether that content had it before: then nothing was moved.
    """
    for name in siblings(wanted):
        try:
            _rename_noreplace(part, old, target, name)
        except FileExistsError:
            if same_content(target, name, size, sha256):
                return name, True
            continue
        return name, False
    raise AssertionError("there is always another sibling")


def same_content(folder: int, name: str, size: int, sha256: bytes) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    status = os.fstat(descriptor)
    if status.st_size != size or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return False
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == sha256


@cache
def _syncfs() -> ctypes._NamedFuncPointer | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = [ctypes.c_int]
    return function


def has_syncfs() -> bool:
    """Whether `syncfs` does anything here."""
    return _syncfs() is not None


def syncfs(descriptor: int) -> None:
    """Make everything durable that was written to the file system of that descriptor."""
    function = _syncfs()
    if function is not None and function(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _renameat2() -> ctypes._NamedFuncPointer | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        number, text = ctypes.c_int, ctypes.c_char_p
        function.argtypes = [number, text, number, text, ctypes.c_uint]
    return function


def _rename_noreplace(source: int, old: str, target: int, new: str) -> None:
    """Rename; FileExistsError where `new` exists. By hard link where renameat2 is missing."""
    function = _renameat2()
    if function is not None:
        if function(source, os.fsencode(old), target, os.fsencode(new), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # this file system cannot
            raise OSError(number, os.strerror(number), new)
    os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    os.unlink(old, dir_fd=source)


def where_lies(root: int, path: str, size: int, sha256: bytes) -> str | None:
    """The path below `root` of this content, if it has that name or one of its first siblings."""
    *folders, wanted = path.split("/")
    here = os.dup(root)
    try:
        for folder in folders:
            inner = os.open(folder, DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        names = itertools.islice(siblings(wanted), _FEW)
        name = next((name for name in names if same_content(here, name, size, sha256)), None)
        return None if name is None else "/".join([*folders, name])
    except OSError:
        return None
    finally:
        os.close(here)
