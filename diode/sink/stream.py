"""One object to standard output.

Nothing is written before the whole object is there and its digest is right: whoever reads the pipe
gets all of it or nothing. It is collected in an unnamed temporary folder until then. A bundle is
refused, since files one behind the other could not be told apart.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from diode.errors import CarrierError, DestinationError
from diode.incoming import NOTHING_KNOWN
from diode.objects import Type
from diode.sink import Delivered, Refused
from diode.sink.files import READ_PIECE, OpenFiles, folder_name
from diode.sink.parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.events import Key
    from diode.frame import I64, U8
    from diode.incoming import Course
    from diode.objects import Manifest
    from diode.sink import Delivery, Evicted, Unfinished
    from diode.sink.ledger import Refusal

BUNDLED = "it is several files in a bundle: receive into a folder, or send with --no-bundle"


class Output:
    """Writes the first object that is whole to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        with _explained("the temporary folder"):
            self._folder = tempfile.TemporaryDirectory(prefix="diode-")
            self.folders: tuple[str, ...] = (self._folder.name,)
            self.state = ""
            self._store = os.open(self._folder.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parts: dict[Key, Part] = {}
        self._files = OpenFiles()
        self._written = self._failed = False
        self.evicted: Evicted = lambda _key, _why: None  # no quota here, nothing is evicted
        self.lost: Evicted = lambda _key, _why: None
        self.notices: list[str] = []

    def unfinished(self) -> Iterator[Unfinished]:
        return iter(())

    def first_to_go(self, keys: Iterable[Key]) -> None:
        """There are none of earlier runs, and no quota."""

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        self._close(key)  # the receiver forgot it; the manifest may be another one now
        with _explained("the temporary folder"):
            self._parts[key] = Part(
                self._store, folder_name(key), manifest.geometry, announcement, self._files
            )
        return True

    def write(self, key: Key, block: int, offset: int, data: U8) -> None:
        part = self._parts.get(key)
        if part is not None:
            with _explained("the temporary folder"):
                part.write(block, offset, data)

    def park(self, key: Key, block: int, numbers: I64, symbols: U8) -> None:
        part = self._parts.get(key)
        if part is not None:
            with _explained("the temporary folder"):
                part.park(block, numbers, symbols)

    def parked(self, key: Key, block: int) -> tuple[I64, U8]:
        part = self._parts.get(key)
        if part is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        return part.parked(block)

    def deliver(
        self,
        key: Key,
        manifest: Manifest,
        course: Course = NOTHING_KNOWN,  # noqa: ARG002  nothing is remembered
    ) -> Delivery:
        part = self._parts.get(key)
        if part is None:
            return None
        with _explained("the temporary folder"):
            if part.digest() != manifest.digest:
                wrong = part.wrong_blocks()
                if not wrong:
                    part.begin_anew()
                return wrong
        if manifest.type == Type.BUNDLE:
            self.discard(key)
            return Refused(BUNDLED)
        if not self._written:
            self._written = self._failed = True
            self._copy(part, manifest.size)
            self._failed = False
        if self._failed:
            raise DestinationError("standard output took only a part of the object")
        self.discard(key)
        return Delivered("-", manifest.digest.hex(), duplicate=False)

    def discard(self, key: Key) -> None:
        part = self._parts.pop(key, None)
        if part is not None:
            part.remove()

    def void(self, key: Key, manifest: Manifest) -> None:  # noqa: ARG002  nothing is remembered
        self.discard(key)

    def contradicts(self, key: Key, manifest: Manifest) -> bool:  # noqa: ARG002
        return False

    def delivered_up_to(self, sender: int) -> int:  # noqa: ARG002  nothing is remembered
        return 0

    def give_up(self, sender: int, first: int, last: int) -> None:
        """Nothing is remembered."""

    def refuse(self, refusals: list[Refusal]) -> None:
        """Nothing is remembered."""

    def numbers(self, sender: int, most: int) -> list[tuple[int, int]]:  # noqa: ARG002
        return []

    def checkpoint(self) -> None:
        """Nothing outlives this run."""

    def close(self) -> None:
        for key in list(self._parts):
            self._close(key)
        os.close(self._store)
        self._folder.cleanup()

    def _close(self, key: Key) -> None:
        part = self._parts.pop(key, None)
        if part is not None:
            part.close()

    def _copy(self, part: Part, size: int) -> None:
        offset = 0
        with _explained("standard output"):
            while offset < size:
                piece = os.pread(part.data, min(READ_PIECE, size - offset), offset)
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._descriptor, view) :]
                offset += len(piece)


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what the system says into an error the operator can act on."""
    try:
        yield
    except BrokenPipeError as error:
        raise CarrierError("whoever reads standard output went away") from error
    except OSError as error:
        raise DestinationError(
            f"{where}: {os.strerror(error.errno or 0)}",
            hint="objects are collected in TMPDIR before they are written: is there room?",
        ) from error
