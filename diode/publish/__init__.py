"""Sinks of records: each a member of this family, in a process of its own.

    -, file       JSON lines: standard output, a file that is rotated
    mqtt          topics of a broker, MQTT 5 or 3.1.1
    syslog        messages of RFC 5424, over UDP, TCP or a Unix socket
    sqlite        a table of a database
    opcua         an OPC UA server with the nodes of the one that was read
    prometheus    gauges of the last values
    nats          a stream of NATS JetStream, and from there many machines

A member publishes a batch and returns when it is safe there; an error means that nothing of it may
be. It is then tried again until it is taken, and what comes meanwhile waits where it comes from.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from diode import endpoint
from diode.errors import UsageError
from diode.record import BAD, EVERY, LATEST, UNCERTAIN
from diode.service.record_process import Batch, Said, Taken, said

if TYPE_CHECKING:
    from diode import confine
    from diode.endpoint import Endpoint
    from diode.service.record_process import Channel, Reading

TOPICS = 65_536
"""Last values that are known."""
LOOK = 0.5
"""Seconds between two looks for values that have become old."""

_MODULES = {
    "-": "lines",
    "file": "lines",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
    "syslog": "syslog",
    "sqlite": "sqlite",
    "opcua": "opcua",
    "prometheus": "prometheus",
    "nats": "nats",
}
PORTS = {
    "mqtt": 1883,
    "mqtts": 8883,
    "syslog": 514,
    "opcua": 4840,
    "prometheus": 9781,
    "nats": 4222,
}


Say = Callable[[Said], object]
"""Tells the operator something."""


class Publisher(Protocol):
    """A sink."""

    bounds: confine.Bounds
    kept: tuple[int, ...]
    """Descriptors that it needs."""

    def open(self, say: Say) -> None:
        """Begin, confined, in its own process. What listens, or has a file, says then that it is
        there; others do when they are connected.
        """

    def publish(self, readings: list[Reading]) -> None:
        """Return when these are safe; raise any Exception when they may not be."""


def publisher(text: str) -> tuple[Endpoint, Publisher]:
    """The sink that a text names. UsageError where it names none, or a package is missing."""
    place = endpoint.parse(text, PORTS)
    name = _MODULES.get(place.scheme)
    if name is None:
        raise UsageError(
            f"{place.shown} is no sink of records", hint=f"there are {', '.join(_MODULES)}"
        )
    made: Publisher = import_module(f"diode.publish.{name}").Sink(place)
    return place, made


class Aging:
    """The last values of `latest`, and which of them are not to be trusted any more.

    A value that nothing was heard of for `limit` seconds is uncertain, and all of them are bad
    while the link is silent. It goes out again with that quality, once, and as it is when it comes
    again.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._values: OrderedDict[tuple[int, bytes], tuple[float, Reading, int]] = OrderedDict()
        self._live = True

    def heard(self, readings: list[Reading], now: float) -> None:
        for one in readings:
            if one.class_ == LATEST:
                key = one.sender, one.topic
                self._values[key] = now, one, one.quality
                self._values.move_to_end(key)
        while len(self._values) > TOPICS:
            self._values.popitem(last=False)

    def lowered(self, now: float, *, live: bool) -> list[Reading]:
        """What is to go out again: values that became old, or all where the link fell silent."""
        changed, self._live = live != self._live, live
        out = []
        for key, (since, one, told) in self._values.items():
            old = self._limit is not None and now - since > self._limit
            if not (old or changed):
                break  # the oldest are in front
            quality = BAD if not live else max(one.quality, UNCERTAIN if old else one.quality)
            if quality != told:
                self._values[key] = since, one, quality
                out.append(replace(one, quality=quality))
        return out


def serve(channel: Channel, sink: Publisher, limit: float | None) -> None:
    """Publish all that comes. limit: seconds after which a value is old."""
    aging, live, there = Aging(limit), True, False

    def say(word: Said) -> None:
        nonlocal there
        there = there if word.there is None else word.there
        channel.send(word)

    sink.open(say)
    while True:
        message = channel.receive(LOOK)
        if isinstance(message, Batch):
            live = message.live
            _publish(sink, message.readings, say)
            if message.readings and not there:
                say(Said(there=True))
            aging.heard(message.readings, time.monotonic())
            count = sum(one.class_ == EVERY for one in message.readings)
            channel.send(Taken(message.number, count))
        _publish(sink, aging.lowered(time.monotonic(), live=live), say)


def _publish(sink: Publisher, readings: list[Reading], say: Say) -> None:
    """Until it is done."""
    pause, told = 0.5, ""
    while readings:
        try:
            sink.publish(readings)
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001  each library has errors of its own
            if (words := said(error)) != told:
                say(Said(f"records wait, it does not take them: {words}", there=False))
                told = words
            time.sleep(pause)
            pause = min(2 * pause, endpoint.SLOWEST)
            continue
        if told:
            say(Said("it takes records again", warning=False, there=True))
        return
