"""Registers of a real Modbus server (pymodbus)."""

import asyncio
import threading
import time

import pytest
from brokers import free_port
from cli import wait_until

pytest.importorskip("pymodbus", reason="pip install 'diode-fec[modbus]'")

import contextlib

from diode import endpoint
from diode.acquire import PORTS, modbus
from diode.errors import UsageError


class Device:
    """A server with 200 registers of each table, that can be stopped."""

    def __init__(self, port):
        self.port = port
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(20)

    async def _serve(self):
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        words = [0x41AC, 0x0000, 7, 0, 0xFFFE, *[0] * 100]
        device = SimDevice(
            1,
            simdata=(
                [SimData(0, values=[True, False] * 8, datatype=DataType.BITS)],
                [SimData(0, values=[True] * 16, datatype=DataType.BITS)],
                [SimData(0, values=words, datatype=DataType.REGISTERS)],
                [SimData(0, values=[0x0005] * 20, datatype=DataType.REGISTERS)],
            ),
        )
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self.stopping.wait()
        await self.server.shutdown()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(20)


class Stop(Exception):
    pass


class Taken:
    def __init__(self):
        self.records, self.said, self.states, self.stopping = [], [], [], False

    def put(self, topic, payload, **more):
        if self.stopping:
            raise Stop
        self.records.append((topic, payload, more["quality"]))

    def say(self, text, *, warning=True):
        self.said.append((text, warning))

    def there(self, text):
        self.states.append(True)

    def away(self, text):
        self.states.append(False)


POINTS = """holding/0/float32/temp holding/2/uint32-le/count holding/4/int16/low
holding/2/bool/on input/3/uint16/level coil/0/bool/pump coil/1/bool/valve discrete/2/bool/door"""
READ = "&read=".join(POINTS.split())


def test_values_and_a_device_that_goes_and_comes():
    port = free_port()
    device = Device(port)
    text = f"modbus://127.0.0.1:{port}/boiler?poll=20ms&read={READ}"
    source, taken = modbus.Source(endpoint.parse(text, PORTS)), Taken()

    def run():
        with contextlib.suppress(Stop):
            source.run(taken)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(taken.records) >= 8)
    first = {topic.decode(): (payload, quality) for topic, payload, quality in taken.records[:8]}
    assert first == {
        "boiler/temp": (b"21.5", 0),
        "boiler/count": (b"7", 0),
        "boiler/low": (b"-2", 0),
        "boiler/on": (b"true", 0),
        "boiler/level": (b"5", 0),
        "boiler/pump": (b"true", 0),
        "boiler/valve": (b"false", 0),
        "boiler/door": (b"true", 0),
    }
    device.stop()
    wait_until(lambda: (b"boiler/temp", b"21.5", 2) in taken.records, 60)
    before = len(taken.records)
    time.sleep(0.3)
    assert sum(quality == 2 for _, _, quality in taken.records) <= 8  # each once
    device = Device(port)
    wait_until(lambda: (b"boiler/temp", b"21.5", 0) in taken.records[before:], 60)
    wait_until(lambda: taken.states == [True, False, True])
    assert any(text.endswith("is back") for text, _ in taken.said)
    taken.stopping = True
    thread.join(20)
    device.stop()


@pytest.mark.parametrize(
    "read",
    [
        "",
        "&read=holding/1/float32",
        "&read=hold/1/int16/a",
        "&read=holding/x/int16/a",
        "&read=holding/70000/int16/a",
        "&read=coil/1/int16/a",
        "&read=holding/1/int17/a",
        "&read=holding/1/int16/a#",
    ],
)
def test_what_cannot_be_read(read):
    with pytest.raises(UsageError):
        modbus.Source(endpoint.parse(f"modbus://h/x?unit=1{read}", PORTS))
