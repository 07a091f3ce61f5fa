"""Values of OPC UA: their payloads, a real server that is read, and its replica."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
from brokers import free_port
from cli import Shell, wait_until
from services import Ends

pytest.importorskip("asyncua", reason="pip install 'diode-fec[opcua]'")

from asyncua import Client, Server, ua

from diode import endpoint, opcua
from diode.publish import opcua as sink
from diode.service.record_process import Reading

WHEN = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC).replace(tzinfo=None)  # as OPC UA has it


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Boolean", True),
        ("Int16", -5),
        ("UInt64", 2**64 - 1),
        ("Double", 1.5),
        ("Double", float("inf")),
        ("String", "Öl"),
        ("ByteString", b"\x00\xff"),
        ("DateTime", WHEN),
        ("Float", [1.0, 2.0]),
        ("Int32", None),
    ],
)
def test_values_come_back(kind, value):
    payload = opcua.packed(kind, value, "ns=2;s=a", "2:a", 0)
    found = opcua.unpacked(payload)
    assert found["Node"] == "ns=2;s=a"
    assert opcua.value(kind, found["Body"]) == value


def test_what_is_not_carried():
    with pytest.raises(opcua.Unfit):
        opcua.packed("ExtensionObject", object(), "i=1", "a", 0)
    with pytest.raises(opcua.Unfit):
        opcua.packed("Int16", [0] * 1001, "i=1", "a", 0)


@pytest.mark.parametrize(
    "payload",
    [b"5", b"\xff", b"{}", b'{"Body":1,"Type":5}', b'{"Body":1,"Type":"Int16","Status":-1}'],
)
def test_payloads_of_another_kind(payload):
    assert opcua.unpacked(payload) is None


class Loop:
    """asyncio in a thread of its own, for what a test asks of it."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, work, seconds=60):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


class Plant:
    """A server with nodes that change."""

    def __init__(self, loop, port, count):
        self.loop, self.port, self.count = loop, port, count
        loop.run(self._start())

    async def _start(self):
        self.server = Server()
        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}")
        await self.server.register_namespace("urn:elsewhere")
        space = await self.server.register_namespace("urn:plant")
        assert space == 3
        boiler = await self.server.nodes.objects.add_folder(space, "Boiler")
        self.nodes = [
            await boiler.add_variable(
                ua.NodeId(f"Boiler.V{number}", space),
                ua.QualifiedName(f"V{number}", space),
                ua.Variant(0.0, ua.VariantType.Double),
            )
            for number in range(self.count)
        ]
        await self.server.start()

    def write(self, number, value, *, status=0, at=None):
        at = at or datetime.now(UTC).replace(tzinfo=None)
        data = ua.DataValue(
            ua.Variant(value, ua.VariantType.Double), ua.StatusCode(status), at, None
        )
        self.loop.run(self.server.write_attribute_value(self.nodes[number].nodeid, data))

    def stop(self):
        self.loop.run(self.server.stop())


async def read(port, nodes):
    """Values, status codes and time stamps as a client gets them."""
    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=10) as client:
        found = []
        for text in nodes:
            data = await client.get_node(text).read_data_value(raise_on_bad_status=False)
            at = data.SourceTimestamp and data.SourceTimestamp.replace(tzinfo=None)
            found.append((data.Value.Value, data.StatusCode.value, at))
        return found


def reads(loop, port, nodes):
    try:
        return loop.run(read(port, nodes))
    except (OSError, TimeoutError, ua.UaError):
        return []


def test_a_replica_of_what_was_published(loop):
    port = free_port()
    one = sink.Sink(endpoint.parse(f"opcua://127.0.0.1:{port}", {}))
    one.open(lambda *_: None)
    names = b'{"Type":"String","Body":["a","b","urn:x","urn:y"],"Node":"i=2255","Name":"0:N"}'
    payload = opcua.packed("Int16", -7, "ns=3;s=P.Q", "3:Q", 0)
    exact = opcua.packed("Int16", -7, "ns=3;s=P.R", "3:R", 0x80340000)
    one.publish(
        [
            Reading(0, b"plc/Server/NamespaceArray", names),
            Reading(0, b"plc/P/Q", payload, 1_769_860_800_123_456_000),
            Reading(0, b"plc/P/R", exact, 5, 2),
            Reading(0, b"plain/temp", b"21.5", None, 1),
            Reading(0, b"plain/text", b"on"),
            Reading(0, b"plain/bytes", b"\xff"),
            Reading(0, b"x/Server/NamespaceArray", b"rubbish"),
            Reading(0, b"odd", b'{"Type":"Nope","Body":[[]],"Node":"??","Name":"x"}'),
        ]
    )
    nodes = ["ns=3;s=P.Q", "ns=3;s=P.R", "ns=1;s=plain/temp", "ns=1;s=plain/text"]
    first, second, third, fourth = loop.run(read(port, [*nodes]))
    assert first == (-7, 0, WHEN)
    assert second[1] == 0x80340000  # as its server had it
    assert third[:2] == (21.5, 0x40900000)
    assert fourth[:2] == ("on", 0)
    one.publish([Reading(0, b"plc/P/Q", payload, 1_769_860_800_123_456_000, 2)])
    assert loop.run(read(port, nodes[:1]))[0][1:] == (0x80310000, first[2])

    async def look():
        async with Client(f"opc.tcp://127.0.0.1:{port}") as client:
            assert (await client.get_namespace_array())[2:4] == ["urn:x", "urn:y"]
            node = await client.nodes.objects.get_child(["1:plc", "1:P", "3:Q"])
            assert node.nodeid.to_string() == "ns=3;s=P.Q"
            with pytest.raises(ua.UaError):  # nothing that a client writes goes anywhere
                await node.write_value(5, ua.VariantType.Int16)

    loop.run(look())
    one._apart.run(one._server.stop(), 20)


def test_a_server_is_mirrored_over_a_line(tmp_path, loop):
    shell = Shell(tmp_path)
    plant = Plant(loop, free_port(), 50)
    replica = free_port()
    ends = Ends(shell, 115_200)
    nodes = [f"ns=3;s=Boiler.V{number}" for number in range(50)]
    try:
        ends.sends(more=f'records = "opcua://127.0.0.1:{plant.port}/plc"').start()
        ends.receives(more=f'records-to = "opcua://127.0.0.1:{replica}"').start()
        for turn in range(5):
            for number in range(50):
                plant.write(number, turn * 100.0 + number)
            time.sleep(0.2)
        at = WHEN
        plant.write(7, 77.5, status=0x40930000, at=at)
        wanted = loop.run(read(plant.port, nodes))
        wait_until(lambda: reads(loop, replica, nodes) == wanted, 60)
        assert wanted[7] == (77.5, 0x40930000, at)
        ends.line.unplugged = True
        codes = {0x80310000}
        wait_until(lambda: {code for _, code, _ in reads(loop, replica, nodes)} == codes, 60)
        ends.line.unplugged = False
        wait_until(lambda: reads(loop, replica, nodes) == wanted, 60)
        plant.stop()  # what cannot be read any more is bad, too
        wait_until(lambda: {code >> 30 for _, code, _ in reads(loop, replica, nodes)} == {2}, 60)
    finally:
        shell.close()
        ends.close()
