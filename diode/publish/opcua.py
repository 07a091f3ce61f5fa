"""An OPC UA server that is the replica of another one: `opcua://0.0.0.0:4840`.

Nodes have the ids and browse names that the source's server gives them (opcua.py), in folders like
its own, and the same values, types, time stamps and status. A record of another source is a node
`s=TOPIC` of namespace 1, a number if its payload is one. Clients read and subscribe; nothing that
they write goes anywhere. A value that became old has the status UncertainLastUsableValue, and while
the link is silent all have BadNoCommunication.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from diode import confine, opcua
from diode.endpoint import needed
from diode.errors import CarrierError
from diode.publish.apart import Apart
from diode.publish.prometheus import number
from diode.record import BAD, GOOD, UNCERTAIN
from diode.service.record_process import Said

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

MOST = 20_000
"""Nodes."""
NAMESPACES = 64
"""Namespaces: a node of a higher one is put into namespace 1."""
WAIT = 30.0
CODES = {GOOD: 0, UNCERTAIN: 0x40900000, BAD: 0x80310000}
"""UncertainLastUsableValue, BadNoCommunication."""
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def moment(nanoseconds: int | None) -> datetime | None:
    """As OPC UA has it."""
    if nanoseconds is None:
        return None
    try:
        at = _BEGIN + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
    return at.replace(tzinfo=None) if at.year >= 1601 else None


def code(one: Reading, fields: dict[str, Any] | None) -> int:
    """The status of a value: that of its server, unless it was lowered since."""
    exact = int(fields.get("Status", 0)) if fields else 0
    same = min(exact >> 30, BAD) == one.quality
    return exact if same else CODES[one.quality]


class Sink:
    """The server."""

    bounds = confine.CLIENT
    kept = ()

    def __init__(self, place: Endpoint) -> None:
        needed("asyncua", "opcua")
        place.known("stale")
        self._place = place
        self._nodes: OrderedDict[tuple[int, bytes], Any] = OrderedDict()
        self._folders: dict[tuple[str, ...], Any] = {}
        self._ids: set[Any] = set()
        self._apart = Apart()

    def open(self, say: Say) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        try:
            self._apart.run(self._begin(), WAIT)
        except OSError as error:
            why = error.strerror or "it does not come up"
            raise CarrierError(why) from error
        say(Said(f"opc.tcp://{self._place.address}", warning=False, there=True))

    def publish(self, readings: list[Reading]) -> None:
        self._apart.run(self._write(readings), WAIT)

    async def _begin(self) -> None:
        from asyncua import Server  # noqa: PLC0415  an extra

        self._server = Server()
        await self._server.init()
        self._server.iserver.allow_remote_admin = False  # nobody adds nodes but this process
        self._server.set_endpoint(f"opc.tcp://{self._place.address}")
        self._server.set_server_name("diode replica")
        await self._server.start()

    async def _write(self, readings: list[Reading]) -> None:
        for one in readings:
            fields = opcua.unpacked(one.payload)
            if fields and one.topic.endswith(b"/" + opcua.NAMESPACES.encode()):
                await self._namespaces(fields["Body"])
            elif fields or not one.topic.endswith(b"/" + opcua.NAMESPACES.encode()):
                await self._one(one, fields)

    async def _namespaces(self, names: Any) -> None:
        """Those of the other server have the same numbers here; 0 and 1 are each server's own."""
        known = await self._server.get_namespace_array()
        for name in (names if isinstance(names, list) else [])[len(known) : NAMESPACES]:
            await self._server.register_namespace(str(name)[:500])

    async def _one(self, one: Reading, fields: dict[str, Any] | None) -> None:
        from asyncua import ua  # noqa: PLC0415  an extra

        variant = self._variant(one.payload, fields)
        key = one.sender, one.topic
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MOST:
                return
            node = self._nodes[key] = await self._made(one, fields, variant)
        value = ua.DataValue(
            variant,
            ua.StatusCode(code(one, fields)),
            moment(one.time),
            moment(one.heard),
        )
        await self._server.write_attribute_value(node.nodeid, value)

    def _variant(self, payload: bytes, fields: dict[str, Any] | None) -> Any:
        from asyncua import ua  # noqa: PLC0415  an extra

        if fields:
            try:
                kind = ua.VariantType[str(fields.get("Type"))]
                found = opcua.value(kind.name, fields["Body"])
                if kind == ua.VariantType.LocalizedText:
                    found = ua.LocalizedText(found)
                return ua.Variant(found, kind)
            except (KeyError, ValueError, TypeError):
                pass
        if (found := number(payload)) is not None:
            return ua.Variant(found, ua.VariantType.Double)
        try:
            return ua.Variant(payload.decode(), ua.VariantType.String)
        except UnicodeDecodeError:
            return ua.Variant(payload, ua.VariantType.ByteString)

    async def _made(self, one: Reading, fields: dict[str, Any] | None, variant: Any) -> Any:
        """A new node in its folder."""
        from asyncua import ua  # noqa: PLC0415  an extra
        from asyncua.ua.uaerrors import UaError  # noqa: PLC0415

        *path, last = one.topic.decode().split("/")
        parent = await self._folder(tuple(path))
        identity = ua.NodeId(one.topic.decode(), 1)
        name = ua.QualifiedName(last, 1)
        known = len(await self._server.get_namespace_array())
        try:
            asked = ua.NodeId.from_string(fields["Node"] if fields else "")
            if 2 <= asked.NamespaceIndex < NAMESPACES and asked not in self._ids:
                for missing in range(known, asked.NamespaceIndex + 1):
                    await self._server.register_namespace(f"urn:diode:namespace:{missing}")
                identity = asked
                name = ua.QualifiedName.from_string(fields["Name"]) if fields else name
        except (UaError, ValueError, KeyError, TypeError):
            pass  # it has an id of ours
        self._ids.add(identity)
        return await parent.add_variable(identity, name, variant)

    async def _folder(self, path: tuple[str, ...]) -> Any:
        """The folder of that path, made if it is not there."""
        if not path:
            return self._server.nodes.objects
        if path not in self._folders:
            parent = await self._folder(path[:-1])
            self._folders[path] = await parent.add_folder(1, path[-1] or "-")
        return self._folders[path]
