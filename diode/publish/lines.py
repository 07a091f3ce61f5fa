"""JSON lines, on standard output or in a file that is rotated: `file:/var/log/plant.jsonl?max=10M`.

A line is what `acquire/lines.py` reads, and says besides when the record was heard, from whom, its
number and how often it was sent before. A payload that is no UTF-8 text is in base64. Lines are
ASCII, so nothing in them can do anything to a terminal. A file is synced before its records count
as published, and when it is `max` bytes long it becomes .1, the one before .2, up to `keep`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.errors import DestinationError, UsageError
from diode.record import CLASSES, QUALITIES
from diode.service.record_process import Said

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def iso(nanoseconds: int | None) -> str | None:
    """ISO 8601 in UTC, to the microsecond; None where there is none, or no calendar has it."""
    if nanoseconds is None:
        return None
    try:
        at = _BEGIN + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def fields(one: Reading) -> dict[str, Any]:
    """What is told of a record."""
    told: dict[str, Any] = {"topic": one.topic.decode()}
    try:
        told["payload"] = one.payload.decode()
    except UnicodeDecodeError:
        told["payload_base64"] = base64.b64encode(one.payload).decode()
    return told | {
        "time": iso(one.time),
        "time_ns": one.time,
        "heard": iso(one.heard),
        "quality": QUALITIES[one.quality],
        "retain": one.retain,
        "class": CLASSES[one.class_],
        "sender": f"{one.sender:08x}",
        "sequence": one.sequence,
        "repeats": one.repeats,
    }


class Sink:
    """Appends lines."""

    def __init__(self, place: Endpoint) -> None:
        self._path = os.path.abspath(place.path) if place.scheme == "file" else ""
        self._size = 0
        if not self._path:
            place.known("stale")
            self.bounds = confine.Bounds(sends=False)
            self._file = os.dup(1)  # standard output itself leads nowhere in a process beside
            self.kept: tuple[int, ...] = (self._file,)
            return
        place.known("max", "keep", "stale")
        self._most = place.size("max", "100M")
        self._keep = place.number("keep", 5, 0, 1000)
        folder = os.path.dirname(self._path)
        if not place.path or not os.path.isdir(folder):
            raise UsageError(f"{place.shown}: there is no such folder", hint="file:/path/file")
        self._file = -1
        self.kept = ()
        self.bounds = confine.Bounds(sends=False, own=(folder,))

    def open(self, say: Say) -> None:
        if self._path:
            self._open()
        say(Said(there=True))

    def publish(self, readings: list[Reading]) -> None:
        text = "".join(json.dumps(fields(one)) + "\n" for one in readings)
        data = memoryview(text.encode())
        if self._path and self._size and self._size + len(data) > self._most:
            self._rotate()
        try:
            while data:
                count = os.write(self._file, data)
                self._size += count
                data = data[count:]
        except BrokenPipeError:
            raise EOFError from None  # nobody reads it any more
        if self._path:
            os.fsync(self._file)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._file).st_size
            if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
                os.write(self._file, b"\n")  # a line that a power cut left unfinished
        except OSError as error:
            raise DestinationError(f"{self._path}: {error.strerror}") from error

    def _rotate(self) -> None:
        os.close(self._file)
        for number in range(self._keep, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, f"{self._path}.{number}")
        if not self._keep:
            os.unlink(self._path)
        self._open()
