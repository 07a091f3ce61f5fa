"""Bundles become files: all of them staged first, then each put in its place (wire 5.7).

    1  every file is written under its number into the part's folder, with its mode and time
    2  one syncfs, and then a marker, fsynced, that says so
    3  each file is renamed to its place, without overwriting; one more syncfs
    4  all are written into the ledger in one transaction, and the part goes

The part's folder is the journal: what is still in it after the marker has not been put in its
place, and what is not, has. So whatever ends this between two steps, the next attempt goes on with
what is left, and a file that somebody took out of the inbox meanwhile does not come back. An
attempt that fails before the marker leaves nothing. An empty directory is staged as an empty file.

A hundred thousand fsyncs take minutes on a disk; two syncfs a bundle do not. Since Linux 5.8 it
reports the errors of all files of the file system. Where the C library has none, each
file and folder is fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import TYPE_CHECKING

from diode.objects import Type
from diode.sink import Delivered, Unpacked
from diode.sink.files import MODE, names_in, read_file, write_all
from diode.sink.place import has_syncfs, rename_beside, syncfs, where_lies
from diode.sink.trouble import lost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.bundle import Member
    from diode.objects import Manifest
    from diode.sink.place import Places

READY = "ready"
STAGED = "member-"
INODE = 4096
"""Bytes that a staged file is reckoned with besides its content: an inode, and a block begun."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(
    places: Places, part: int, manifest: Manifest, content: bytes, members: Sequence[Member]
) -> Unpacked:
    """Steps 1 to 3 of a verified bundle. part: descriptor of the part's folder.

    Raises OSError; Lost where what was staged is not durable, Unsure where it is not sure that what
    was put in its place is.
    """
    attempt = _Attempt(places, part, content, members)
    attempt.stage(manifest.digest)
    unpacked = Unpacked(tuple(zip(members, attempt.place(), strict=True)))
    try:
        syncfs(places.root)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Unsure(unpacked) from error
    return unpacked


class Unsure(Exception):
    """All is in its place, and a power cut could take that back."""

    def __init__(self, unpacked: Unpacked) -> None:
        super().__init__("input/output error")
        self.unpacked = unpacked


class _Attempt:
    """One attempt at one bundle."""

    def __init__(
        self, places: Places, part: int, content: bytes, members: Sequence[Member]
    ) -> None:
        self._places = places
        self._root = places.root
        self._part = part
        self._content = content
        self._members = members
        self._digests = [hashlib.sha256(self._of(member)).digest() for member in members]
        self._folder = _Folder(places)
        self._one_by_one = not has_syncfs()

    def _of(self, member: Member) -> memoryview:
        return memoryview(self._content)[member.offset : member.offset + member.size]

    def stage(self, digest: bytes) -> None:
        """Steps 1 and 2, unless an earlier attempt came so far. digest: that of the bundle.

        Raises Lost where what was written is not durable.
        """
        if self._ready(digest):
            return
        clear(self._part)
        try:
            for number, member in enumerate(self._members):
                self._write(f"{STAGED}{number}", member)
            try:
                syncfs(self._root)
            except OSError as error:
                raise lost("a bundle's files", error) from error
            self._mark(digest)
        except BaseException:
            with contextlib.suppress(OSError):
                clear(self._part)
            raise

    def _ready(self, digest: bytes) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return read_file(self._part, READY) == digest
        return False

    def _write(self, name: str, member: Member) -> None:
        descriptor = os.open(name, _CREATE, MODE, dir_fd=self._part)
        try:
            write_all(descriptor, self._of(member), 0)
            self._places.dress(descriptor, member.mtime)
            if self._one_by_one:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _mark(self, digest: bytes) -> None:
        descriptor = os.open(READY, _CREATE, MODE, dir_fd=self._part)
        try:
            write_all(descriptor, digest, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(self._part)

    def place(self) -> list[Delivered]:
        """Step 3 but for the syncfs. One that has no place keeps none of the others from theirs:
        the first error is raised when all have been tried.
        """
        staged = set(names_in(self._part))
        placed, failure = [], None
        try:
            for number, (member, digest) in enumerate(
                zip(self._members, self._digests, strict=True)
            ):
                name = f"{STAGED}{number}"
                try:
                    put = self._put if name in staged else self._found
                    placed.append(put(name, member, digest))
                except OSError as error:
                    failure = failure or error
        finally:
            self._folder.leave()
        if failure is not None:
            raise failure
        return placed

    def _put(self, staged: str, member: Member, digest: bytes) -> Delivered:
        *wanted, name = parts = self._places.path_of(member.name)
        if member.type == Type.DIRECTORY:
            made, duplicate = self._folder.enter(parts)[1], True
        else:
            target, made = self._folder.enter(wanted)
            final, duplicate = rename_beside(
                self._part, target, name, member.size, digest, old=staged
            )
            made = [*made, final]
        if duplicate:
            os.unlink(staged, dir_fd=self._part)
        is_file = member.type == Type.FILE
        return Delivered("/".join(made), digest.hex(), duplicate and is_file)

    def _found(self, _staged: str, member: Member, digest: bytes) -> Delivered:
        """One that an earlier attempt put in its place; where it lies, unless it was taken away."""
        path = "/".join(self._places.path_of(member.name))
        lies = where_lies(self._root, path, member.size, digest)
        return Delivered(lies or path, digest.hex(), duplicate=False)


class _Folder:
    """The folder last put into, kept open: files of one folder mostly follow each other."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._wanted: list[str] | None = None
        self._open = -1
        self._path: list[str] = []

    def enter(self, wanted: list[str]) -> tuple[int, list[str]]:
        """Its descriptor and its real path below the inbox."""
        if wanted != self._wanted:
            self.leave()
            self._open, self._path = self._places.enter(wanted, _made)
            self._wanted = wanted
        return self._open, self._path

    def leave(self) -> None:
        if self._wanted is not None:
            self._wanted = None
            try:
                _made(self._open)
            finally:
                os.close(self._open)


def _made(folder: int) -> None:
    """Something was made in that folder."""
    if not has_syncfs():
        os.fsync(folder)


def clear(part: int) -> None:
    """Remove what was staged, the marker first."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(READY, dir_fd=part)
    for name in names_in(part):
        if name.startswith(STAGED):
            os.unlink(name, dir_fd=part)
