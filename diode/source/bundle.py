"""Small files that follow each other, as one object (bundle.py, wire 5.7).

A bundle is a snapshot: its files are read once, with the checks of `files`, into the run's spool,
and sent from there. A file that changes later voids nothing. The spool is one file without a
name, so nothing is left of it whatever ends the run; a run that goes on reads the files again, and
what has not changed makes the same bundle with the same digest.

Files are taken in the order of the listing, and a bundle ends where something stands between that
goes alone: the order on air is that of the names, with bundles or without.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from diode import bundle
from diode.bundle import Member
from diode.errors import SourceError
from diode.objects import Type, wire_name
from diode.plan import BUNDLE_SHARE
from diode.source.files import DirectorySource, FileSource, read_small
from diode.source.stream import no_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diode.frame import U8
    from diode.source.folder import Found

NAME_BYTES = 200
"""Of the first member's name in that of the bundle, at most: it is for people."""


class Sent(NamedTuple):
    """A member of a bundle, as it was read. sha256: hexadecimal."""

    name: bytes
    size: int
    sha256: str
    type: Type = Type.FILE


class Spool:
    """Where bundles wait until they are sent; it goes with the process."""

    def __init__(self, folder: str | None = None) -> None:
        """folder: where to put it, default the system's choice."""
        self._end = 0
        with no_room("small files"):
            self._file = tempfile.TemporaryFile(prefix="diode-spool-", dir=folder, buffering=0)  # noqa: SIM115

    def keep(self, data: bytes) -> int:
        """Where in the spool it lies now. DestinationError where there is no room."""
        at, view = self._end, memoryview(data)
        with no_room("small files"):
            while view:
                view = view[self._file.write(view) :]
        self._end += len(data)
        return at

    def read(self, at: int, into: memoryview) -> None:
        """Fill `into` from that place on."""
        while into:
            try:
                count = os.preadv(self._file.fileno(), [into], at)
            except OSError as error:
                raise SourceError(f"the spool: {os.strerror(error.errno or 0)}") from error
            if not count:
                raise SourceError("the spool became shorter")
            into, at = into[count:], at + count

    def release(self, at: int, size: int) -> None:
        """What lies there is not needed any more. A run that ends anyway keeps it."""

    def close(self) -> None:
        self._file.close()


class StandingSpool(Spool):
    """A spool that lasts: room that was released is used again."""

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(folder)
        self._free: list[tuple[int, int]] = []
        """(place, bytes), by place, never side by side."""

    def keep(self, data: bytes) -> int:
        for index, (at, size) in enumerate(self._free):
            if size >= len(data):
                view, place = memoryview(data), at
                with no_room("small files"):
                    while view:
                        count = os.pwrite(self._file.fileno(), view, place)
                        view, place = view[count:], place + count
                rest = [(place, size - len(data))] if size > len(data) else []
                self._free[index : index + 1] = rest
                return at
        self._file.seek(self._end)
        return super().keep(data)

    def release(self, at: int, size: int) -> None:
        """Room for others; the file is cut where its end is free."""
        joined: list[tuple[int, int]] = []
        for place, length in sorted([*self._free, (at, size)]):
            if joined and sum(joined[-1]) == place:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            else:
                joined.append((place, length))
        if joined and sum(joined[-1]) == self._end:
            self._end = joined.pop()[0]
            os.ftruncate(self._file.fileno(), self._end)
        self._free = joined


class SpooledSource:
    """Bytes that were made here as one object, spooled."""

    type = Type.FILE
    mtime: int | None = None

    def __init__(self, name: bytes, data: bytes, spool: Spool) -> None:
        self.name = name
        self.size = len(data)
        self.digest = hashlib.sha256(data).digest()
        self._spool = spool
        self._at = spool.keep(data)

    def read(self, offset: int, into: U8) -> None:
        self._spool.read(self._at + offset, into.data)

    def check(self) -> None:
        """What was read cannot change any more."""

    def close(self) -> None:
        """The spool is that of the run."""

    def discard(self) -> None:
        """It will not be read any more."""
        self._spool.release(self._at, self.size)


class BundleSource(SpooledSource):
    """Some files and empty directories as one object, spooled."""

    type = Type.BUNDLE

    def __init__(
        self, listed: list[Member], contents: list[bytes], spool: Spool, paths: tuple[str, ...] = ()
    ) -> None:
        """listed: what stands in front of the contents, in their order. paths: of the members."""
        self.paths = paths
        self.members = [
            Sent(m.name, m.size, hashlib.sha256(content).hexdigest(), m.type)
            for m, content in zip(listed, contents, strict=True)
        ]
        super().__init__(_name(listed), b"".join((bundle.head(listed), *contents)), spool)


def _name(listed: list[Member]) -> bytes:
    first, others = listed[0].name, len(listed) - 1
    if len(first) > NAME_BYTES:
        first = b"..." + first[-NAME_BYTES:]
    return b"%s and %d more" % (first, others)


@dataclass(slots=True)
class _Open:
    """The bundle that is being filled."""

    things: list[Found]
    listed: list[Member]
    contents: list[bytes]
    names: set[bytes]
    size: int = bundle.EMPTY

    @classmethod
    def empty(cls) -> _Open:
        return cls([], [], [], set())

    def room(self, name: bytes, content: bytes, most: int) -> bool:
        """Whether one more fits: two of one name would make a bundle that nobody takes."""
        size = self.size + bundle.entry_size(name) + len(content)
        return size <= most and name not in self.names and len(self.listed) < bundle.MAX_MEMBERS

    def add(self, thing: Found, member: Member, content: bytes) -> None:
        self.things.append(thing)
        self.listed.append(member)
        self.contents.append(content)
        self.names.add(member.name)
        self.size += bundle.entry_size(member.name) + len(content)


Source = FileSource | DirectorySource | SpooledSource


def gather(
    things: Iterable[Found],
    most: int,
    spool: Spool | None,
    failed: Callable[[Found, SourceError], object],
    hashed: Callable[[int], object] | None = None,
) -> Iterator[Source]:
    """The objects for these things, small ones in bundles of at most that many bytes.

    most: 0 makes no bundles. spool: the run's; None makes none either. `failed` is told what cannot
    be read, and may raise. `hashed` is told the bytes done.
    """
    most = 0 if spool is None else most
    open_ = _Open.empty()
    for thing in things:
        try:
            taken = _taken(thing, most)
            if taken is None:
                alone = thing.source(hashed)
        except SourceError as error:
            failed(thing, error)
            continue
        if taken is None:
            yield from _closed(open_, spool, failed)
            open_ = _Open.empty()
            yield alone
            continue
        member, content = taken
        if not open_.room(member.name, content, most):
            yield from _closed(open_, spool, failed)
            open_ = _Open.empty()
        open_.add(thing, member, content)
        if hashed is not None:
            hashed(len(content))
    yield from _closed(open_, spool, failed)


def _taken(thing: Found, most: int) -> tuple[Member, bytes] | None:
    """A small thing, read; None where it goes alone."""
    name = wire_name(thing.parts)
    small = most // BUNDLE_SHARE - bundle.entry_size(name)
    if small < 0 or thing.size > small:
        return None
    if thing.directory:
        return Member(Type.DIRECTORY, name, 0, thing.mtime), b""
    read = read_small(thing.path, small, thing.identity)
    if read is None:
        return None
    content, status = read
    return Member(Type.FILE, name, len(content), status.st_mtime_ns), content


def _closed(
    open_: _Open, spool: Spool | None, failed: Callable[[Found, SourceError], object]
) -> Iterator[Source]:
    """The bundle; a single thing goes as itself."""
    if len(open_.listed) > 1 and spool is not None:
        paths = tuple(thing.path for thing in open_.things)
        yield BundleSource(open_.listed, open_.contents, spool, paths)
    for thing in open_.things if len(open_.things) == 1 else ():
        try:
            yield thing.source()
        except SourceError as error:
            failed(thing, error)
