"""Connections to MQTT brokers, as endpoints describe them: what sources and sinks have in common.

The library (paho) reconnects by itself, with growing pauses, and what was not acknowledged is sent
again then. The client's name is made of machine, role and endpoint, so that a session is found
again after a restart, and two services on one machine do not throw each other out.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from diode.endpoint import SLOWEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.endpoint import Endpoint

SESSION = 7 * 86400
"""Seconds that a broker is asked to keep the session."""
OPTIONS = ("qos", "version", "client", "password-file", "clean")


def connection(place: Endpoint, role: str) -> Any:
    """What makes a client as a place describes it; source and sink have that in common."""
    version = place.one_of("version", "5", "3.1.1")
    name = hashlib.sha256(f"{os.uname().nodename} {role} {place.text}".encode()).hexdigest()[:12]
    identity = place.option("client", f"diode-{name}")
    secret, clean = place.secret(), place.one_of("clean", "no", "yes") == "yes"

    def made() -> Any:
        from paho.mqtt import client as mqtt  # noqa: PLC0415  an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        new = version == "5"
        client: Any = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            identity,
            clean_session=None if new else clean,
            protocol=mqtt.MQTTv5 if new else mqtt.MQTTv311,
            manual_ack=True,
        )
        if place.user:
            client.username_pw_set(place.user, secret)
        if place.scheme == "mqtts":
            client.tls_set()
        client.reconnect_delay_set(1, int(SLOWEST))
        client.clean_start_asked = clean
        return client

    return made


def begin(client: Any, place: Endpoint, away: Callable[[str], object]) -> None:
    """Connect, and connect again whenever that is lost. away: is told once for each outage."""
    from paho.mqtt import client as mqtt  # noqa: PLC0415  an extra
    from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415
    from paho.mqtt.properties import Properties  # noqa: PLC0415

    more: dict[str, Any] = {}
    if client.protocol == mqtt.MQTTv5:
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION
        more = {"clean_start": client.clean_start_asked, "properties": properties}
    failing = False

    def failed(_c: Any, _u: Any) -> None:
        nonlocal failing
        if not failing:
            away("there is no broker; it is tried again and again")
        failing = True

    def lost(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        nonlocal failing
        if not failing:
            away(f"the connection is lost ({reason}); it is tried again and again")
        failing = True

    connected = client.on_connect

    def back(*arguments: Any) -> None:
        nonlocal failing
        failing = False
        connected(*arguments)

    client.on_connect, client.on_connect_fail, client.on_disconnect = back, failed, lost
    client.connect_async(place.host or "localhost", place.port, keepalive=15, **more)
    client.loop_start()
