"""Standard input as an object.

A pipe can be read once, while passes and the manifest's digest need the content several times, so
it is spooled to an unnamed temporary file first. Only a clean end of file makes an object: a read
error is a SourceError and nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from diode.errors import DestinationError, SourceError
from diode.source.files import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    ) -> None:
        """Read the stream to its end. folder: where to spool, default the system's choice."""
        with no_room():
            self._spool = tempfile.NamedTemporaryFile(prefix="diode-spool-", dir=folder)  # noqa: SIM115
        try:
            self._fill(descriptor)
            super().__init__(self._spool.name, name, hashed=hashed)
        except BaseException:
            self._spool.close()
            raise
        self.mtime = None  # that of the spool would say nothing about the content

    def discard(self) -> None:
        """Remove the spool; the object cannot be read any more."""
        self.close()
        self._spool.close()

    def _fill(self, descriptor: int) -> None:
        while True:
            try:
                piece = os.read(descriptor, PIECE)
            except OSError as error:
                raise SourceError(f"standard input: {os.strerror(error.errno or 0)}") from error
            if not piece:
                break
            with no_room():
                self._spool.write(piece)
        with no_room():
            self._spool.flush()


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
