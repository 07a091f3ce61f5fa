"""A stream of NATS JetStream: `nats://nats:4222/plant?stream=PLANT`, and from there many machines.

A record of the topic boiler/temp has the subject plant.boiler.temp; what a subject cannot have
(spaces, points, wildcards) is `_`. It is safe when the server has stored it. The server knows a
record that it gets twice by its message id, so nothing is there twice even when a process was
killed in between. The stream is made if it is not there. Headers tell what else is known of a
record.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from diode import confine
from diode.endpoint import needed
from diode.errors import UsageError
from diode.publish.apart import Apart
from diode.publish.lines import iso
from diode.record import CLASSES, QUALITIES
from diode.service.record_process import Said

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

WAIT = 30.0
_UNFIT = re.compile(r"[\s.*>]")


def subject(prefix: str, topic: bytes) -> str:
    """The subject of a topic."""
    levels = [_UNFIT.sub("_", level) or "_" for level in topic.decode().split("/")]
    return ".".join([prefix, *levels])


class Sink:
    """Publishes into one stream."""

    bounds = confine.CLIENT
    kept = ()

    def __init__(self, place: Endpoint) -> None:
        needed("nats", "nats")
        place.known("stream", "stale", "password-file")
        self._place = place
        self._prefix = place.path.strip("/").replace("/", ".") or "diode"
        self._stream = place.option("stream", self._prefix.replace(".", "-").upper())
        if _UNFIT.search(self._stream) or re.search(r"[\s*>]", self._prefix):
            raise UsageError(f"{place.shown}: streams and subjects have no spaces and wildcards")
        self._secret = place.secret()
        self._apart = Apart()
        self._client: Any = None
        self._context: Any = None

    def open(self, say: Say) -> None:
        """It is connected with the first batch."""
        self._say = say

    def publish(self, readings: list[Reading]) -> None:
        self._apart.run(self._publish(readings), WAIT)

    async def _publish(self, readings: list[Reading]) -> None:
        if self._context is None:
            self._context = await self._connected()
        await asyncio.gather(*(self._one(one) for one in readings))

    async def _one(self, one: Reading) -> None:
        name = f"{one.sender:08x}-{one.class_}-{one.sequence}-{one.time}-{one.quality}"
        told = {
            "Nats-Msg-Id": f"{name}-{one.topic.hex()}"[:500],
            "Diode-Time": iso(one.time),
            "Diode-Heard": iso(one.heard),
            "Diode-Quality": QUALITIES[one.quality],
            "Diode-Retain": str(one.retain).lower(),
            "Diode-Class": CLASSES[one.class_],
            "Diode-Sequence": str(one.sequence),
            "Diode-Repeats": str(one.repeats),
        }
        headers = {key: value for key, value in told.items() if value}
        await self._context.publish(subject(self._prefix, one.topic), one.payload, headers=headers)

    async def _connected(self) -> Any:
        import nats  # noqa: PLC0415  an extra
        from nats.js.errors import NotFoundError  # noqa: PLC0415

        place = self._place
        more = {"user": place.user, "password": self._secret} if place.user else {}
        client = await nats.connect(
            f"nats://{place.address}",
            max_reconnect_attempts=-1,
            connect_timeout=5,
            error_cb=_quiet,
            **more,
        )
        context = client.jetstream(timeout=10)
        try:
            try:
                await context.stream_info(self._stream)
            except NotFoundError:
                await context.add_stream(name=self._stream, subjects=[f"{self._prefix}.>"])
        except BaseException:
            await client.close()
            raise
        self._client = client
        self._say(Said("connected", warning=False, there=True))
        return context


async def _quiet(_error: Exception) -> None:
    """What matters of it is raised where records are published."""
