"""Registers of a Modbus/TCP device, polled.

    modbus://plc:502/boiler?unit=1&poll=1s&read=holding/100/float32/temp&read=coil/3/bool/pump

`read` is a table (holding, input, coil, discrete), an address as it is on the wire, counted from 0,
a type (int16, uint16, int32, uint32, int64, uint64, float32, float64, bool; `-le` behind it for the
low word first) and the topic below the path. A device that does not answer, or refuses an address,
makes its values bad until it does again: they go out once more with that quality.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.acquire import Ready
from diode.endpoint import needed
from diode.errors import UsageError
from diode.objects import escape
from diode.record import BAD, GOOD
from diode.topics import refusal

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

TABLES = {
    "holding": "read_holding_registers",
    "input": "read_input_registers",
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
}
TYPES = ("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@dataclass(slots=True)
class Point:
    """One value that is read."""

    table: str
    address: int
    type: str
    order: str
    topic: bytes
    last: bytes = b""
    bad: bool = False


class Source(Ready):
    """Polls one device."""

    kept = ()
    bounds = confine.CLIENT

    def __init__(self, place: Endpoint) -> None:
        needed("pymodbus.client", "modbus")
        place.known("unit", "poll", "read")
        self._place = place
        self._unit = place.number("unit", 1, 0, 255)
        self._poll = place.seconds("poll", "1s", 0.01)
        self._points = [_point(place, text) for text in place.options.get("read", [])]
        self._there: bool | None = None
        if not self._points:
            raise UsageError(
                f"{place.shown}: nothing is to be read",
                hint="modbus://HOST/boiler?read=holding/100/float32/temp",
            )

    def run(self, gathering: Gathering) -> None:
        from pymodbus.client import ModbusTcpClient  # noqa: PLC0415  an extra

        host, port = self._place.host or "localhost", self._place.port or 502
        client = ModbusTcpClient(host, port=port, timeout=2, retries=1)
        due = time.monotonic()
        with contextlib.closing(client):
            while True:
                for point in self._points:
                    self._read(client, point, gathering)
                self._see(gathering)
                due = max(due + self._poll, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))

    def _see(self, gathering: Gathering) -> None:
        """Whether the device is there: it is, if any value could be read."""
        there = not all(point.bad for point in self._points)
        if there != self._there:
            self._there = there
            if there:
                gathering.there("connected")
            else:
                gathering.away("nothing of it can be read; it is tried again and again")

    def _read(self, client: Any, point: Point, gathering: Gathering) -> None:
        try:
            if not client.connected and not client.connect():
                raise ConnectionError("it does not answer")  # noqa: TRY301
            value = read(client, point, self._unit)
        except Exception as error:  # noqa: BLE001  the library has errors of its own
            if not point.bad:
                point.bad = True
                why = " ".join(str(error).split())[:200]
                gathering.say(f"{point.topic.decode()} cannot be read: {why}")
                if point.last:
                    gathering.put(point.topic, point.last, time=time.time_ns(), quality=BAD)
            client.close()
            return
        if point.bad:
            gathering.say(f"{point.topic.decode()} is back", warning=False)
        point.bad, point.last = False, value
        gathering.put(point.topic, value, time=time.time_ns(), quality=GOOD)


def read(client: Any, point: Point, unit: int) -> bytes:
    """The value of a point now, as text."""
    kind = None if point.type == "bool" else client.DATATYPE[point.type.upper()]
    count = 1 if kind is None else kind.value[1]
    ask = getattr(client, TABLES[point.table])
    answer = ask(point.address, count=count, device_id=unit)
    if answer.isError():
        raise ConnectionError(str(answer))
    if kind is None:
        bits = answer.bits if point.table in ("coil", "discrete") else answer.registers
        return b"true" if bits[0] else b"false"
    value = client.convert_from_registers(answer.registers, kind, word_order=point.order)
    return repr(value).encode()


def _point(place: Endpoint, text: str) -> Point:
    parts = text.split("/", 3)
    hint = "read=holding/100/float32/temp"
    if len(parts) != 4:
        raise UsageError(f"{place.shown}: read={escape(text)} has not four parts", hint=hint)
    table, address, type_, name = parts
    bare = type_.removesuffix("-le")
    bits = table in ("coil", "discrete")
    if table not in TABLES or bare not in (("bool",) if bits else (*TYPES, "bool")):
        raise UsageError(
            f"{place.shown}: read={escape(text)} is of no table and type that there is", hint=hint
        )
    if not (address.isascii() and address.isdigit() and int(address[:6]) < 1 << 16):
        raise UsageError(f"{place.shown}: {escape(address)} is no address", hint=hint)
    topic = (f"{place.path.rstrip('/')}/{name}" if place.path else name).encode()
    if why := refusal(topic):
        raise UsageError(f"{place.shown}: {why}", hint=hint)
    return Point(table, int(address), bare, "little" if bare != type_ else "big", topic)
