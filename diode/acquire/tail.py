"""A file that grows, line by line, over its rotations: `tail:/var/log/plant.jsonl`.

Like tail -F: begins at the end (`from=start`: at the beginning), and when another file has its
name, the old one is read to its end before. A file that became shorter is read from its beginning.
Where the file is not there, it is waited for.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.acquire import Ready
from diode.acquire.lines import FORMATS, Lines
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

LOOK = 0.1
"""Seconds between two looks at the file."""
_PIECE = 1 << 16


class Source(Ready):
    """Follows one file."""

    kept = ()

    def __init__(self, place: Endpoint) -> None:
        place.known("format", "from")
        self._path = os.path.abspath(place.path)
        self._format = place.one_of("format", *FORMATS)
        self._at_end = place.one_of("from", "end", "start") == "end"
        folder = os.path.dirname(self._path)
        if not place.path or not os.path.isdir(folder):
            raise UsageError(f"{place.shown}: there is no such folder", hint="tail:/path/file")
        self.bounds = confine.Bounds(sends=False, read=(folder,))

    def run(self, gathering: Gathering) -> None:
        def put(topic: bytes, payload: bytes, **more: Any) -> None:
            gathering.put(topic, payload, wait=True, **more)

        lines = Lines(self._format, put, gathering.refuse)
        follow(self._path, lines, _Seen(gathering), at_end=self._at_end)


class _Seen:
    """Tells when the file comes and goes. Between two rotations it may be away for a moment, so
    only one that was never there is worth a warning.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._why: str | None = None
        self._ever = False

    def __call__(self, why: str) -> None:
        """why: it cannot be opened; empty where it is open."""
        if why == self._why:
            return
        self._why = why
        if why:
            words = f"{why[:1].lower()}{why[1:]}; it is waited for"
            self._gathering.away(words, warning=not self._ever)
        else:
            self._ever = True
            self._gathering.there()


def follow(path: str, lines: Lines, seen: Callable[[str], object], *, at_end: bool) -> None:
    """For ever. seen: is told why the file cannot be opened, and nothing when it is open."""
    descriptor, position = -1, 0
    while True:
        if descriptor < 0:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                position = os.fstat(descriptor).st_size if at_end else 0
                seen("")
            except OSError as error:
                seen(os.strerror(error.errno or 0))
            at_end = False
        else:
            other = not _is(path, descriptor)
            position = _read(descriptor, position, lines)
            if other:  # seen before it was read to its end: nothing more comes
                os.close(descriptor)
                descriptor = -1
                lines.begin_anew()
                continue
        time.sleep(LOOK)


def _read(descriptor: int, position: int, lines: Lines) -> int:
    """What there is from there on; where it ends."""
    if os.fstat(descriptor).st_size < position:
        lines.begin_anew()
        position = 0
    while data := os.pread(descriptor, _PIECE, position):
        lines.feed(data)
        position += len(data)
    return position


def _is(path: str, descriptor: int) -> bool:
    """Whether the file of that name is still this one."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
