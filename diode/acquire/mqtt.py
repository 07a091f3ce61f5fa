"""Topics of an MQTT broker: `mqtt://broker/plant/#?topic=alarms/+`.

A record of `every` is acknowledged to the broker when it is on the sender's disk (QoS 1 and manual
acknowledgement), and the session outlives a restart of this side, so the broker keeps what comes
meanwhile. MQTT 5 is asked for retain flags as they were published; 3.1.1 has them only on what a
subscription begins with, so there `retain=always` may be wanted. MQTT has no time stamps: a record
was measured when it came here.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.acquire import Ready
from diode.broker import begin, connection
from diode.endpoint import needed
from diode.topics import Patterns

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering


class Source(Ready):
    """Subscribes, and stays subscribed."""

    kept = ()
    bounds = confine.CLIENT

    def __init__(self, place: Endpoint) -> None:
        needed("paho.mqtt.client", "mqtt")
        place.known("topic", "qos", "version", "client", "retain", "password-file", "clean")
        self._place = place
        self._filters = [f for f in (place.path, *place.options.get("topic", [])) if f] or ["#"]
        Patterns(tuple(self._filters))
        self._qos = place.number("qos", 1, 0, 2)
        self._always = place.one_of("retain", "published", "always") == "always"
        self._client = connection(place, "source")

    def run(self, gathering: Gathering) -> None:
        client, place = self._client(), self._place

        def connected(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
            if reason.is_failure:
                gathering.away(f"the broker refuses: {reason}")
                return
            gathering.there("connected")
            client.subscribe([(one, self._options(client)) for one in self._filters])

        under_way: set[int] = set()

        def taken(message: Any) -> None:
            if message.qos:
                under_way.discard(message.mid)
                client.ack(message.mid, message.qos)

        def arrived(_c: Any, _u: Any, message: Any) -> None:
            if message.qos:
                if message.dup and message.mid in under_way:
                    return  # sent again after a lost connection, and still waiting here
                under_way.add(message.mid)
            gathering.put(
                message.topic.encode(),
                message.payload,
                time=time.time_ns(),
                retain=self._always or message.retain,
                taken=partial(taken, message),
                wait=True,
            )

        client.on_connect, client.on_message = connected, arrived
        begin(client, place, gathering.away)
        threading.Event().wait()

    def _options(self, client: Any) -> Any:
        from paho.mqtt import client as mqtt  # noqa: PLC0415  an extra
        from paho.mqtt.subscribeoptions import SubscribeOptions  # noqa: PLC0415

        if client.protocol != mqtt.MQTTv5:
            return self._qos
        return SubscribeOptions(qos=self._qos, retainAsPublished=True, retainHandling=1)
