"""Lines of text as records: what standard input and growing files consist of.

    text   boiler/temp 21.5                                 topic, a space, payload
    json   {"topic": "boiler/temp", "payload": 21.5, "time": "2026-01-31T12:00:00Z"}
    csv    time,boiler/temp,boiler/bar                      a header, and a column for each topic
           topic,payload,time                               or a record a line

In JSON a payload that is no text stays JSON; `payload_base64` holds any bytes. `time` is ISO 8601
or seconds since 1970, `time_ns` nanoseconds, `quality` good, uncertain or bad, `retain` true or
false. Without a time, a record was measured when its line was read. A line that is none of this is
refused, told of, and harms nothing.
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.acquire import Ready
from diode.errors import UsageError
from diode.record import QUALITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

FORMATS = ("auto", "text", "json", "csv")
LONGEST = 65_536
"""Bytes of a line."""
_PIECE = 1 << 16
_TIMES = -(1 << 63), 1 << 63
Fields = dict[str, Any]


class Refused(Exception):
    """A line that is no record."""


class Lines:
    """Takes bytes as they come, and gives records."""

    def __init__(
        self, format_: str, put: Callable[..., object], refuse: Callable[[str], object]
    ) -> None:
        """put: as `Gathering.put`. refuse: is told what was wrong with a line."""
        self._format = format_
        self._put = put
        self._refuse = refuse
        self._rest = b""
        self._skipping = False
        self._columns: list[str] | None = None
        self._number = 0

    def feed(self, data: bytes) -> None:
        """More bytes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._number += 1
            if self._skipping:
                self._skipping = False
            else:
                self._line(line)
        if len(self._rest) > LONGEST:
            if not self._skipping:
                self._refuse(f"line {self._number + 1} has more than {LONGEST:,} bytes")
            self._rest, self._skipping = b"", True

    def end(self) -> None:
        """There are no more: what is left is a line too."""
        if self._rest:
            self.feed(b"\n")

    def begin_anew(self) -> None:
        """Another file begins."""
        self.end()
        self._columns = None

    def _line(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if not line.strip():
            return
        try:
            if self._format == "csv":
                self._row(line)
            elif self._format == "json" or (self._format == "auto" and line[:1] == b"{"):
                self._give(_object(line))
            else:
                self._put(*_text(line), time=time.time_ns())
        except (Refused, ValueError, RecursionError, OverflowError) as error:
            shown = line[:60].decode(errors="replace") + ("..." if len(line) > 60 else "")
            self._refuse(f"line {self._number} is refused: {error}: {shown}")

    def _row(self, line: bytes) -> None:
        try:
            (cells,) = csv.reader([line.decode()], strict=True)
        except csv.Error as error:
            raise Refused(str(error)) from error
        if self._columns is None:
            self._columns = [cell.strip() for cell in cells]
            return
        if len(cells) != len(self._columns):
            raise Refused(f"{len(cells)} columns, and the header has {len(self._columns)}")
        row: Fields = dict(zip(self._columns, cells, strict=True))
        if "topic" in row:
            row["payload"] = row.pop("value", "") if "payload" not in row else row["payload"]
            self._give(row)
            return
        at = row.pop("time", "")
        for topic, cell in row.items():
            if cell:
                self._give({"topic": topic, "payload": cell, "time": at})

    def _give(self, fields: Fields) -> None:
        topic = fields.get("topic")
        if not isinstance(topic, str):
            raise Refused("there is no topic")
        self._put(
            topic.encode("utf-8", "surrogatepass"),
            _payload(fields),
            time=_time(fields),
            quality=_quality(fields.get("quality")),
            retain=fields.get("retain") in (True, "true", "1", 1),
        )


def _text(line: bytes) -> tuple[bytes, bytes]:
    topic, space, payload = line.partition(b" ")
    if not space:
        raise Refused("it is no topic and payload with a space between")
    return topic, payload


def _object(line: bytes) -> Fields:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise Refused("it is no JSON object")
    return found


def _payload(fields: Fields) -> bytes:
    if "payload_base64" in fields:
        try:
            return base64.b64decode(str(fields["payload_base64"]), validate=True)
        except binascii.Error as error:
            raise Refused(f"payload_base64: {error}") from error
    if "payload" not in fields:
        raise Refused("there is no payload")
    payload = fields["payload"]
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return text.encode()


def _time(fields: Fields) -> int:
    """Nanoseconds since 1970."""
    if (exact := fields.get("time_ns")) not in (None, ""):
        nanoseconds = int(exact)
    elif (given := fields.get("time")) in (None, ""):
        return time.time_ns()
    elif isinstance(given, int | float):
        nanoseconds = round(given * 10**9)
    else:
        nanoseconds = moment(str(given))
    if not _TIMES[0] <= nanoseconds < _TIMES[1]:
        raise Refused("that time is beyond all that there is")
    return nanoseconds


def moment(text: str) -> int:
    """ISO 8601, in UTC where it says nothing else, or seconds, as nanoseconds since 1970."""
    try:
        return round(float(text) * 10**9)
    except ValueError:
        at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000


def _quality(given: Any) -> int:
    if given in (None, ""):
        return 0
    if given not in QUALITIES:
        raise Refused(f"a quality is one of {', '.join(QUALITIES)}")
    return QUALITIES.index(given)


class Source(Ready):
    """Standard input."""

    kept = (0,)

    def __init__(self, place: Endpoint) -> None:
        place.known("format")
        self._format = place.one_of("format", *FORMATS)
        self.bounds = confine.Bounds(sends=False)
        if os.isatty(0):
            raise UsageError(
                "standard input is a terminal", hint="echo 'boiler/temp 21.5' | diode send …"
            )

    def run(self, gathering: Gathering) -> None:
        def put(topic: bytes, payload: bytes, **more: Any) -> None:
            gathering.put(topic, payload, wait=True, **more)

        lines = Lines(self._format, put, gathering.refuse)
        gathering.there()
        while data := os.read(0, _PIECE):
            lines.feed(data)
        lines.end()
