"""Topics of an MQTT broker: `mqtt://broker/from-plant` puts what is heard of t into from-plant/t.

Published with QoS 1, and safe when the broker has acknowledged it. Retain flags are those of the
source. When the broker knows nothing of this client any more, it was restarted without its memory:
the table of last values that it was to retain is then published again. In MQTT 5, user properties
tell when a record was measured and heard, its quality and how often it was sent before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.broker import OPTIONS, begin, connection
from diode.endpoint import needed
from diode.errors import UsageError
from diode.publish import TOPICS
from diode.publish.lines import iso
from diode.record import QUALITIES
from diode.service.record_process import Said
from diode.topics import refusal

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

WAIT = 60.0
"""Seconds of one wait for an acknowledgement; there may be any number of them."""


class Sink:
    """Publishes, and stays connected."""

    kept = ()
    bounds = confine.CLIENT

    def __init__(self, place: Endpoint) -> None:
        needed("paho.mqtt.client", "mqtt")
        place.known(*OPTIONS, "stale")
        self._place = place
        self._prefix = place.path.rstrip("/").encode()
        if self._prefix and (why := refusal(self._prefix)):
            raise UsageError(f"{place.shown}: {why}")
        self._qos = place.number("qos", 1, 1, 2)
        self._made = connection(place, "sink")
        self._table: OrderedDict[str, Reading] = OrderedDict()

    def open(self, say: Say) -> None:
        self._client, before = self._made(), False

        def connected(_c: Any, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
            nonlocal before
            if reason.is_failure:
                say(Said(f"the broker refuses: {reason}", there=False))
                return
            say(Said("connected", warning=False, there=True))
            if before and not flags.session_present:
                for topic, one in list(self._table.items()):
                    self._send(topic, one)
            before = True

        self._client.on_connect = connected
        begin(self._client, self._place, lambda text: say(Said(text, there=False)))

    def publish(self, readings: list[Reading]) -> None:
        waiting = []
        for one in readings:
            topic = self._topic(one.topic)
            self._remember(topic, one)
            info = self._send(topic, one)
            info.rc = 0  # without a connection it waits in the client, which sends it later
            waiting.append(info)
        for info in waiting:
            while not info.is_published():
                info.wait_for_publish(WAIT)

    def _topic(self, topic: bytes) -> str:
        return (self._prefix + b"/" + topic if self._prefix else topic).decode()

    def _remember(self, topic: str, one: Reading) -> None:
        if not one.retain:
            return
        if one.payload:
            self._table[topic] = one
            self._table.move_to_end(topic)
        else:  # which removes what is retained
            self._table.pop(topic, None)
        if len(self._table) > TOPICS:
            self._table.popitem(last=False)

    def _send(self, topic: str, one: Reading) -> Any:
        return self._client.publish(
            topic, one.payload, self._qos, one.retain, properties=self._properties(one)
        )

    def _properties(self, one: Reading) -> Any:
        from paho.mqtt import client as mqtt  # noqa: PLC0415  an extra
        from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415
        from paho.mqtt.properties import Properties  # noqa: PLC0415

        if self._client.protocol != mqtt.MQTTv5:
            return None
        told = {
            "time": iso(one.time),
            "heard": iso(one.heard),
            "quality": QUALITIES[one.quality],
            "repeats": str(one.repeats),
        }
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [(name, value) for name, value in told.items() if value]
        return properties
