"""Standard input as an object.

A pipe can be read once, while passes and the manifest's digest need the content several times, so
it is spooled to an unnamed temporary file first, or cut into pieces that are objects each. Only a
clean end of file makes an object: a read error is a SourceError and nothing is sent. An end looks
clean too when the writer has failed; with an abort file, the writer can say so, before the end or,
while passes are sent, after it: then the object is made void.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from typing import TYPE_CHECKING

from diode.errors import DestinationError, SourceError
from diode.objects import Type, escape
from diode.source.files import FileSource
from diode.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.frame import U8

PIECE = 1 << 20


class StreamSource(FileSource):
    """A stream's content, spooled. Closing removes the spool."""

    def __init__(
        self,
        descriptor: int,
        name: bytes,
        *,
        folder: str | None = None,
        hashed: Callable[[int], object] | None = None,
        read: Callable[[int], object] = lambda _: None,
        most: int | None = None,
        abort_file: str | None = None,
    ) -> None:
        """Read the stream to its end. folder: where to spool, default the system's choice.

        read: is told how many bytes came. most: bytes to spool at most. abort_file: where it is
        there the stream is worth nothing. Raises SourceError, DestinationError.
        """
        self._abort_file, self._most, self._read = abort_file, most, read
        with no_room():
            self._spool = tempfile.NamedTemporaryFile(prefix="diode-spool-", dir=folder)  # noqa: SIM115
        try:
            self._fill(descriptor)
            self._not_aborted()
            super().__init__(self._spool.name, name, hashed=hashed)
        except BaseException:
            self._spool.close()
            raise
        self.mtime = None  # that of the spool would say nothing about the content

    def check(self) -> None:
        self._not_aborted()
        super().check()

    def _not_aborted(self) -> None:
        not_aborted(self._abort_file)

    def discard(self) -> None:
        """Remove the spool; the object cannot be read any more."""
        self.close()
        self._spool.close()

    def _fill(self, descriptor: int) -> None:
        done = 0
        while piece := _read(descriptor, PIECE):
            done += len(piece)
            if self._most is not None and done > self._most:
                raise DestinationError(
                    f"standard input has more than the {size(self._most)} of --max-spool",
                    hint="nothing is sent; send it in pieces, or allow more",
                )
            with no_room():
                self._spool.write(piece)
            self._read(len(piece))
        with no_room():
            self._spool.flush()


class PieceSource:
    """A piece of a stream that is not spooled: in memory until it is discarded."""

    type = Type.FILE
    mtime: int | None = None

    def __init__(self, name: bytes, data: bytes, abort_file: str | None = None) -> None:
        self.name = name
        self.size = len(data)
        self.digest = hashlib.sha256(data).digest()
        self._data = data
        self._abort_file = abort_file

    def read(self, offset: int, into: U8) -> None:
        into.data[:] = self._data[offset : offset + len(into)]

    def check(self) -> None:
        not_aborted(self._abort_file)

    def close(self) -> None:
        """Another pass may come."""

    def discard(self) -> None:
        """It is not sent any more."""
        self._data = b""


def pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """The stream in pieces of that size, the last shorter. SourceError where it breaks off."""
    held = bytearray()
    while piece := _read(descriptor, min(PIECE, size - len(held))):
        held += piece
        if len(held) == size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _read(descriptor: int, most: int) -> bytes:
    try:
        return os.read(descriptor, most)
    except OSError as error:
        raise SourceError(f"standard input: {os.strerror(error.errno or 0)}") from error


def not_aborted(abort_file: str | None) -> None:
    """Raise SourceError where the writer of the stream has left that file."""
    if abort_file is not None and os.path.lexists(abort_file):
        raise SourceError(
            f"standard input was given up by its writer: {escape(abort_file)} is there",
            hint="remove that file before the next run",
        )


@contextlib.contextmanager
def no_room(what: str = "standard input") -> Iterator[None]:
    """Explain that the spool cannot be written."""
    try:
        yield
    except OSError as error:
        raise DestinationError(
            f"no room to spool {what}: {os.strerror(error.errno or 0)}",
            hint="point TMPDIR at a larger disk",
        ) from error
