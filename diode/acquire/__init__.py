"""Sources of records: each a member of this family, in a process of its own.

    -, tail       lines of text, JSON or CSV: standard input, a file that grows
    mqtt          topics of a broker, MQTT 5 or 3.1.1
    syslog        messages of RFC 5424 and 3164, over UDP or a Unix socket
    opcua         nodes of an OPC UA server, subscribed to
    modbus        registers of a Modbus/TCP device, polled

A member says what it is and what it needs (`bounds`), and then runs until there is nothing more,
giving what it reads to a `Gathering`. It never ends for trouble with its other side: it says so
once and tries again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from diode import endpoint
from diode.errors import UsageError

if TYPE_CHECKING:
    from diode import confine
    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

_MODULES = {
    "-": "lines",
    "tail": "tail",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
    "syslog": "syslog",
    "opcua": "opcua",
    "modbus": "modbus",
}
PORTS = {"mqtt": 1883, "mqtts": 8883, "syslog": 514, "opcua": 4840, "modbus": 502}


class Acquirer(Protocol):
    """A source."""

    bounds: confine.Bounds
    kept: tuple[int, ...]
    """Descriptors that it needs."""

    def prepare(self) -> None:
        """Open, in its process and before that is confined, what cannot be opened later."""

    def run(self, gathering: Gathering) -> None:
        """Read until there is nothing more. Runs confined, in a process of its own."""


class Ready:
    """A source that needs nothing before it is confined."""

    def prepare(self) -> None:
        """Nothing."""


def acquirer(text: str) -> tuple[Endpoint, Acquirer]:
    """The source that a text names. UsageError where it names none, or a package is missing."""
    place = endpoint.parse(text, PORTS)
    name = _MODULES.get(place.scheme)
    if name is None:
        raise UsageError(
            f"{place.shown} is no source of records", hint=f"there are {', '.join(_MODULES)}"
        )
    made: Acquirer = import_module(f"diode.acquire.{name}").Source(place)
    return place, made
