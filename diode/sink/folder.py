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
import os
import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from diode.errors import DestinationError, DiodeError, Locked
from diode.objects import Announcement, Malformed, Manifest, Type, escape, safe_parts
from diode.sink import Delivered, Unfinished
from diode.sink.ledger import Ledger
from diode.sink.parts import Part, folder_key, folder_name, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.events import Key
    from diode.frame import I64, U8
    from diode.sink import Evicted

STATE = ".diode"
DEFAULT_MODE = 0o440
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_MAX_SIBLING = 10_000


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
        self._held = 0
        state = state or os.path.join(path, STATE)
        with _explained(path):
            os.makedirs(path, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for inner in (state, os.path.join(state, "parts")):
                os.makedirs(inner, mode=0o700, exist_ok=True)
            self._state = os.open(state, _DIRECTORY)
            self._lock = _lock(self._state, state)
            self._store = os.open("parts", _DIRECTORY, dir_fd=self._state)
            if os.fstat(self._store).st_dev != os.fstat(self._root).st_dev:
                raise DestinationError(
                    f"{escape(state)} is on another file system than {escape(path)}",
                    hint="--state must be on the inbox's own file system: files are renamed over",
                )
            self._ledger = Ledger(os.path.join(state, "ledger.db"))

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
                finally:
                    os.close(folder)
                manifest = Announcement.parse(announcement).manifest
                part = Part(self._store, name, manifest.geometry, announcement)
            except (OSError, Malformed):  # a crash came before the announcement was written
                self._remove_remains(name)
                continue
            if self._ledger.finished(key):
                part.remove()
                continue
            self._parts[key] = part
            self._held += part.size
            yield Unfinished(key, announcement, part.done, part.parked_blocks)

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        with _explained(self.path):
            if self._ledger.finished(key):
                return False
            if key not in self._parts:
                name = folder_name(key)
                self._parts[key] = Part(self._store, name, manifest.geometry, announcement)
            return True

    def write(self, key: Key, block: int, offset: int, data: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return  # evicted for quota
        with _explained(self.path):
            part.write(block, offset, data)
        self._make_room(key, len(data))

    def park(self, key: Key, block: int, numbers: I64, symbols: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return
        with _explained(self.path):
            part.park(block, numbers, symbols)
        self._make_room(key, symbols.size)

    def parked(self, key: Key, block: int) -> tuple[I64, U8]:
        with _explained(self.path):
            return self._parts[key].parked(block)

    def discard(self, key: Key) -> None:
        part = self._parts.pop(key, None)
        if part is not None:
            self._held -= part.size
            with _explained(self.path):
                part.remove()

    def void(self, key: Key, manifest: Manifest) -> None:
        """The sender took the object back: remember that, and forget its parts."""
        self.discard(key)
        with _explained(self.path):
            self._ledger.record(key, manifest, "void")

    def checkpoint(self) -> None:
        with _explained(self.path):
            for part in self._parts.values():
                part.checkpoint()

    def close(self) -> None:
        self.checkpoint()
        for part in self._parts.values():
            part.close()
        self._parts.clear()
        self._ledger.close()
        for descriptor in (self._store, self._lock, self._state, self._root):
            os.close(descriptor)

    def _make_room(self, growing: Key, more: int) -> None:
        """Keep all parts within the quota: the object announced first goes first."""
        self._held += more
        while self._quota is not None and self._held > self._quota and self._parts:
            oldest = next((k for k in self._parts if k != growing), growing)
            self.discard(oldest)
            self.evicted(oldest, f"the quota of {self._quota} bytes for unfinished objects")

    def _remove_remains(self, name: str) -> None:
        with contextlib.suppress(OSError):
            folder = os.open(name, _DIRECTORY, dir_fd=self._store)
            for inner in os.listdir(folder):
                os.unlink(inner, dir_fd=folder)
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
                inner, name = _open_folder(here, part)
            finally:
                os.close(here)
            here = inner
            made.append(name)
        return here, made


def _siblings(name: str) -> Iterator[str]:
    """`report.pdf`, `report.2.pdf`, `report.3.pdf` …, none longer than a name may be."""
    yield name
    stem, suffix = os.path.splitext(name)
    for number in range(2, _MAX_SIBLING):
        tail = f".{number}{suffix}"
        cut = stem
        while len(os.fsencode(cut + tail)) > 255 and cut:
            cut = cut[:-1]
        yield cut + tail


def _open_folder(parent: int, wanted: str) -> tuple[int, str]:
    """Open or make a folder in `parent`; a sibling where a file or a link has the name."""
    for name in _siblings(wanted):
        try:
            os.mkdir(name, 0o750, dir_fd=parent)
            os.fsync(parent)
        except FileExistsError:
            pass
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent), name
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
    raise OSError(errno.EEXIST, "too many files of that name")


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
    raise OSError(errno.EEXIST, "too many files of that name")


def _same_content(folder: int, name: str, manifest: Manifest) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_size != manifest.size or not os.path.isfile(f"/dev/fd/{descriptor}"):
            return False
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
        raise DestinationError(f"the ledger of {escape(path)}: {error}") from error
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space: what was received so far is kept, start again then",
            errno.EDQUOT: "the disk quota is used up; what was received so far is kept",
            errno.EACCES: "the inbox must be writable for the user that runs this",
            errno.EROFS: "the file system is mounted read-only",
            errno.ENOTDIR: "the inbox must be a folder",
            errno.EEXIST: "the inbox must be a folder",
        }
        raise DestinationError(
            f"{escape(path)}: {os.strerror(error.errno or 0)}", hint=hints.get(error.errno or 0, "")
        ) from error
