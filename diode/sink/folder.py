"""The inbox: verified objects become files, and nothing else ever does.

An object is collected in a part file inside the inbox's own state directory, on the same file
system. When its SHA-256 is right: fsync of the data, rename without overwriting, fsync of the
directories. A name already taken gets a numbered sibling (`report.2.pdf`) unless the
content there is identical, which makes the object a duplicate. Files are 0440 or what --mode says,
never executable, never of the sender's owner; directories are made one component at a time
through descriptors that follow no symbolic link.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import secrets
import sqlite3
import stat
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from diode.errors import DestinationError, DiodeError, Locked
from diode.objects import MAX_PART, Announcement, Malformed, Manifest, Type, escape, safe_parts
from diode.sink import Delivered, Unfinished
from diode.sink.ledger import Ledger
from diode.sink.parts import OpenFiles, Part, folder_key, folder_name, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.events import Key
    from diode.frame import I64, U8
    from diode.sink import Evicted

STATE = ".diode"
DEFAULT_MODE = 0o440
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_KEPT = "what was received, but for the last second, is kept"
_MAX_SIBLING = 1000
"""Numbered siblings of a name; later ones get a random mark, since each number is a look-up."""


class Inbox:
    """A folder that objects are delivered into."""

    def __init__(
        self,
        path: str,
        *,
        state: str | None = None,
        mode: int = DEFAULT_MODE,
        exact_names: bool = False,
        quota: int | None = None,
    ) -> None:
        """Create what is missing and take the lock. quota: bytes of unfinished objects."""
        self.path = path
        self._mode = mode & 0o666
        self._exact = exact_names
        self._quota = quota
        self.evicted: Evicted = lambda _key, _why: None
        self._parts: dict[Key, Part] = {}
        self._files = OpenFiles()
        self._sizes: dict[Key, int] = {}
        self._held = 0
        state = state or os.path.join(path, STATE)
        with _explained(path), contextlib.ExitStack() as opened:
            os.makedirs(path, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._root)
            for inner in (state, os.path.join(state, "parts")):
                os.makedirs(inner, mode=0o700, exist_ok=True)
            self._state = os.open(state, _DIRECTORY)
            opened.callback(os.close, self._state)
            opened.callback(os.close, _lock(self._state, path))
            self._store = os.open("parts", _DIRECTORY, dir_fd=self._state)
            opened.callback(os.close, self._store)
            if os.fstat(self._store).st_dev != os.fstat(self._root).st_dev:
                raise DestinationError(
                    f"{escape(state)} is on another file system than {escape(path)}",
                    hint="--state must be on the inbox's own file system: files are renamed over",
                )
            self._ledger = Ledger(os.path.join(state, "ledger.db"))
            opened.callback(self._ledger.close)
            self._opened = opened.pop_all()

    # Parts ----------------------------------------------------------------------------------

    def unfinished(self) -> Iterator[Unfinished]:
        with _explained(self.path):
            names = sorted(os.listdir(self._store))
        for name in names:
            key = folder_key(name)
            if key is None:
                continue
            try:
                folder = os.open(name, _DIRECTORY, dir_fd=self._store)
                try:
                    announcement = read_file(folder, "announcement")
                    os.stat("data", dir_fd=folder, follow_symlinks=False)
                finally:
                    os.close(folder)
                manifest = Announcement.parse(announcement).manifest
            except (FileNotFoundError, NotADirectoryError, Malformed):
                # A crash came before the announcement was written, or after the data had left.
                self._remove_remains(name)
                continue
            except OSError:  # not ours to judge: it may be readable next time
                continue
            with _explained(self.path):
                part = Part(self._store, name, manifest.geometry, announcement, self._files)
                if self._ledger.finished(key):
                    part.remove()
                    continue
            self._parts[key] = part
            self._account(key, part)
            yield Unfinished(key, announcement, part.done, part.parked_blocks)

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        with _explained(self.path):
            if self._ledger.finished(key):
                return False
            held = self._parts.get(key)
            if held is not None:  # the receiver forgot it; the manifest may be another one now
                held.checkpoint()
                held.close()
            part = Part(self._store, folder_name(key), manifest.geometry, announcement, self._files)
            self._parts[key] = part
            self._account(key, part)
            return True

    def write(self, key: Key, block: int, offset: int, data: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return  # evicted for quota
        with _explained(self.path):
            part.write(block, offset, data)
        self._make_room(key, part)

    def park(self, key: Key, block: int, numbers: I64, symbols: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return
        with _explained(self.path):
            part.park(block, numbers, symbols)
        self._make_room(key, part)

    def parked(self, key: Key, block: int) -> tuple[I64, U8]:
        part = self._parts.get(key)
        if part is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        with _explained(self.path):
            return part.parked(block)

    def discard(self, key: Key) -> None:
        part = self._parts.pop(key, None)
        if part is not None:
            self._held -= self._sizes.pop(key)
            with _explained(self.path):
                part.remove()

    def void(self, key: Key, manifest: Manifest) -> None:
        """The sender took the object back: remember that, and forget its parts."""
        self.discard(key)
        with _explained(self.path):
            if not self._ledger.finished(key):
                self._ledger.record(key, manifest, "void")

    def checkpoint(self) -> None:
        with _explained(self.path):
            for key, part in self._parts.items():
                part.checkpoint()
                self._account(key, part)

    def close(self) -> None:
        with self._opened:
            try:
                self.checkpoint()
            finally:
                for part in self._parts.values():
                    part.close()
                self._parts.clear()

    def _account(self, key: Key, part: Part) -> None:
        self._held += part.size - self._sizes.get(key, 0)
        self._sizes[key] = part.size

    def _make_room(self, growing: Key, part: Part) -> None:
        """Keep all parts within the quota: the object announced first goes first."""
        self._account(growing, part)
        while self._quota is not None and self._held > self._quota and self._parts:
            oldest = next((k for k in self._parts if k != growing), growing)
            self.discard(oldest)
            self.evicted(oldest, f"the quota of {self._quota} bytes for unfinished objects")

    def _remove_remains(self, name: str) -> None:
        with contextlib.suppress(OSError):
            folder = os.open(name, _DIRECTORY, dir_fd=self._store)
            try:
                for inner in os.listdir(folder):
                    os.unlink(inner, dir_fd=folder)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=self._store)

    # Delivery -------------------------------------------------------------------------------

    def deliver(self, key: Key, manifest: Manifest) -> Delivered | list[int]:
        part = self._parts[key]
        with _explained(self.path):
            digest = part.digest()
            if digest != manifest.digest:
                wrong = part.wrong_blocks()
                if not wrong:
                    part.begin_anew()
                self._account(key, part)
                return wrong
            if manifest.type == Type.DIRECTORY:
                delivered = self._make_directory(manifest)
            else:
                delivered = self._place(part, manifest)
            state = "duplicate" if delivered.duplicate else "delivered"
            self._ledger.record(key, manifest, state, delivered.path)
        self.discard(key)
        return delivered

    def _path_parts(self, manifest: Manifest) -> list[str]:
        parts = safe_parts(manifest.name, exact=self._exact)
        if parts[0] == STATE:  # only --names exact lets a leading dot through
            parts[0] = "%2E" + STATE[1:]
        return parts

    def _place(self, part: Part, manifest: Manifest) -> Delivered:
        *folders, name = self._path_parts(manifest)
        os.ftruncate(part.data, manifest.size)
        os.fchmod(part.data, self._mode)
        if manifest.mtime is not None:
            with contextlib.suppress(OSError, OverflowError):  # out of this file system's range
                os.utime(part.data, ns=(manifest.mtime, manifest.mtime))
        os.fsync(part.data)
        target, folders = self._descend(folders)
        try:
            final, duplicate = _rename_beside(part.folder, target, name, manifest)
            os.fsync(target)
        finally:
            os.close(target)
        return Delivered("/".join([*folders, final]), manifest.digest.hex(), duplicate)

    def _make_directory(self, manifest: Manifest) -> Delivered:
        target, made = self._descend(self._path_parts(manifest))
        os.close(target)
        return Delivered("/".join(made), manifest.digest.hex(), duplicate=False)

    def _descend(self, parts: list[str]) -> tuple[int, list[str]]:
        """Open a folder below the inbox, making what is missing; its descriptor and real path."""
        here, made = os.dup(self._root), []
        for part in parts:
            try:
                inner, name = _open_folder(here, part, self._state)
            finally:
                os.close(here)
            here = inner
            made.append(name)
        return here, made


def _siblings(name: str) -> Iterator[str]:
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


def _open_folder(parent: int, wanted: str, forbidden: int) -> tuple[int, str]:
    """Open or make a folder in `parent`; a sibling where a file or a link has the name.

    forbidden: descriptor of the state folder, which no name may lead into, however it is spelt.
    """
    for name in _siblings(wanted):
        try:
            os.mkdir(name, 0o750, dir_fd=parent)
            os.fsync(parent)
        except FileExistsError:
            pass
        try:
            folder = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            continue
        if not os.path.samestat(os.fstat(folder), os.fstat(forbidden)):
            return folder, name
        os.close(folder)
    raise AssertionError("there is always another sibling")


def _rename_beside(part: int, target: int, wanted: str, manifest: Manifest) -> tuple[str, bool]:
    """Move `data` from the part's folder to a free name, never over another file."""
    for name in _siblings(wanted):
        try:
            _rename_noreplace(part, "data", target, name)
        except FileExistsError:
            if _same_content(target, name, manifest):
                return name, True
            continue
        return name, False
    raise AssertionError("there is always another sibling")


def _same_content(folder: int, name: str, manifest: Manifest) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    status = os.fstat(descriptor)
    if status.st_size != manifest.size or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return False
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == manifest.digest


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


def _lock(folder: int, path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open("lock", flags, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Locked(f"another receiver is using {escape(path)}") from error
    return descriptor


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what the file system says into an error the operator can act on."""
    try:
        yield
    except DiodeError:
        raise
    except sqlite3.Error as error:
        raise DestinationError(
            f"the ledger of {escape(path)}: {error}",
            hint="if it is damaged, move ledger.db* aside: what is in the inbox stays as it is",
        ) from error
    except OSError as error:
        hints = {
            errno.ENOSPC: f"free some space and start again: {_KEPT}",
            errno.EDQUOT: f"the disk quota is used up: {_KEPT}",
            errno.EACCES: "the inbox must be writable for the user that runs this",
            errno.EROFS: "the file system is mounted read-only",
            errno.EPERM: "the inbox must be writable for the user that runs this",
            errno.ENOENT: "the folder is gone, or a link on the way leads nowhere",
            errno.ENOTDIR: "the inbox must be a folder",
            errno.EEXIST: "the inbox must be a folder",
        }
        raise DestinationError(
            f"{escape(path)}: {os.strerror(error.errno or 0)}", hint=hints.get(error.errno or 0, "")
        ) from error
