"""Nodes of an OPC UA server, subscribed to: `opcua://server:4840/plant?node=ns=2;s=Boiler.Temp`.

Without `node=` all variables below the Objects folder are read, or below `under=`. The topic is the
path of browse names below what the endpoint's path says; time stamp and quality are those of the
server. While it does not answer, all that was heard of it goes out once more as bad.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diode import confine, opcua
from diode.acquire import Ready
from diode.endpoint import SLOWEST, needed
from diode.errors import UsageError
from diode.record import BAD, GOOD, UNCERTAIN
from diode.topics import refusal

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

MOST = 20_000
"""Nodes."""
LEVELS = 12
LOOK = 1.0
"""Seconds between two looks whether the server is still there."""
SERVER = "i=2253"
NAMESPACES = "i=2255"
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f+#/]")


class Source(Ready):
    """Subscribes, and stays subscribed."""

    kept = ()
    bounds = confine.CLIENT

    def __init__(self, place: Endpoint) -> None:
        needed("asyncua", "opcua")
        place.known("node", "under", "interval", "password-file", "path")
        self._place = place
        self._interval = place.seconds("interval", "500ms", 0.01)
        self._secret = place.secret()
        self._prefix = place.path.strip("/") or place.host
        if why := refusal(self._prefix.encode()):
            raise UsageError(f"{place.shown}: {why}")
        self._last: dict[str, tuple[bytes, int | None]] = {}

    def run(self, gathering: Gathering) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        asyncio.run(self._run(gathering))

    async def _run(self, gathering: Gathering) -> None:
        from asyncua import Client  # noqa: PLC0415  an extra

        place, pause, told = self._place, 0.5, False
        url = f"opc.tcp://{place.address}/{place.option('path')}"
        while True:
            client = Client(url, timeout=10)
            if place.user:
                client.set_user(place.user)
                client.set_password(self._secret)
            try:
                async with client:
                    count = await self._subscribe(client, gathering)
                    gathering.there(f"connected, {count:,} nodes")
                    pause, told = 0.5, False
                    while True:
                        await asyncio.sleep(LOOK)
                        await client.check_connection()
                        await client.get_node(SERVER).read_browse_name()
            except Exception as error:  # noqa: BLE001  the library has errors of its own
                if not told:
                    told = True
                    why = " ".join(str(error).split())[:200] or type(error).__name__
                    gathering.away(f"{why}; it is tried again and again")
                    self._all_bad(gathering)
            await asyncio.sleep(pause)
            pause = min(2 * pause, SLOWEST)

    def _all_bad(self, gathering: Gathering) -> None:
        for topic, (payload, at) in self._last.items():
            gathering.put(topic.encode(), payload, time=at, quality=BAD)

    async def _subscribe(self, client: Any, gathering: Gathering) -> int:
        nodes = await self._nodes(client, gathering)
        handler = _Handler(self, nodes, gathering)
        subscription = await client.create_subscription(self._interval * 1000, handler)
        wanted = list(nodes)
        for first in range(0, len(wanted), 500):
            some = [client.get_node(node) for node in wanted[first : first + 500]]
            answers = await subscription.subscribe_data_change(some)
            for node, answer in zip(some, answers, strict=True):
                if not isinstance(answer, int):
                    gathering.say(f"{node.nodeid.to_string()} cannot be subscribed to")
        return len(wanted)

    async def _nodes(self, client: Any, gathering: Gathering) -> dict[Any, tuple[str, str]]:
        """What is to be read: ids, each with topic and browse name."""
        found: dict[Any, tuple[str, str]] = {}
        array = client.get_node(NAMESPACES)
        found[array.nodeid] = f"{self._prefix}/{opcua.NAMESPACES}", "0:NamespaceArray"
        if asked := self._place.options.get("node", []):
            for text in asked:
                node = client.get_node(text)
                path = await node.get_path()
                names = [await one.read_browse_name() for one in path[2:]]
                self._note(found, node.nodeid, names)
            return found
        roots = [client.get_node(text) for text in self._place.options.get("under", [])]
        for root in roots or [client.nodes.objects]:
            first = [] if not roots else [await root.read_browse_name()]
            await self._browse(root, first, found, LEVELS)
        if len(found) >= MOST:
            gathering.say(f"more than {MOST:,} nodes, the rest is left out")
        return found

    async def _browse(self, root: Any, names: list[Any], found: dict[Any, Any], deep: int) -> None:
        from asyncua import ua  # noqa: PLC0415  an extra

        both = ua.NodeClass.Object | ua.NodeClass.Variable
        for one in await root.get_children_descriptions(nodeclassmask=both):
            if len(found) >= MOST or one.NodeId.to_string() == SERVER:
                continue
            path = [*names, one.BrowseName]
            if one.NodeClass == ua.NodeClass.Variable:
                self._note(found, one.NodeId, path)
            elif deep:
                node = root.__class__(root.session, one.NodeId)
                await self._browse(node, path, found, deep - 1)

    def _note(self, found: dict[Any, tuple[str, str]], node: Any, names: list[Any]) -> None:
        path = "/".join([self._prefix, *(_UNFIT.sub("_", str(n.Name)) for n in names)])
        found.setdefault(node, (path, names[-1].to_string()))

    def take(self, topic: str, name: str, node: Any, data: Any, gathering: Gathering) -> None:
        """A value came."""
        variant = data.Value
        kind = variant.VariantType.name if variant is not None else "Null"
        status = data.StatusCode
        code = status.value if status is not None else 0
        quality = GOOD if not code >> 30 else UNCERTAIN if code >> 30 == 1 else BAD
        at = nanoseconds(data.SourceTimestamp or data.ServerTimestamp)
        given = None if variant is None else variant.Value
        try:
            payload = opcua.packed(kind, given, node.nodeid.to_string(), name, code)
        except (opcua.Unfit, AttributeError, TypeError, ValueError) as error:
            gathering.refuse(f"{topic} is not carried: {error}")
            return
        self._last[topic] = payload, at
        retain = topic.endswith(opcua.NAMESPACES)
        gathering.put(topic.encode(), payload, time=at, quality=quality, retain=retain)


class _Handler:
    """What the library calls."""

    def __init__(self, source: Source, nodes: dict[Any, tuple[str, str]], to: Gathering) -> None:
        self._source = source
        self._nodes = nodes
        self._gathering = to

    def datachange_notification(self, node: Any, _value: Any, data: Any) -> None:
        topic, name = self._nodes[node.nodeid]
        self._source.take(topic, name, node, data.monitored_item.Value, self._gathering)


def nanoseconds(at: datetime | None) -> int:
    """Of a time of OPC UA, which is in UTC; now where there is none."""
    if at is None:
        return time.time_ns()
    since = at.replace(tzinfo=at.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
