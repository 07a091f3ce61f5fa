"""A stream of a real NATS server."""

import asyncio
import shutil
import subprocess

import pytest
from brokers import free_port
from cli import wait_until

pytest.importorskip("nats", reason="pip install 'diode-fec[nats]'")

from diode import endpoint
from diode.errors import UsageError
from diode.publish.nats import Sink, subject
from diode.service.record_process import Reading


@pytest.fixture
def server(tmp_path):
    if shutil.which("nats-server") is None:
        pytest.skip("nats-server is not installed (apt install nats-server)")
    port, processes = free_port(), []

    def start():
        command = ["nats-server", "-js", "-sd", tmp_path / "js", "-a", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.append(process)
        return port, process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def stored(port, stream):
    """All that is in the stream: subjects, payloads, headers."""

    async def read():
        import nats

        client = await nats.connect(f"nats://127.0.0.1:{port}")
        context = client.jetstream()
        count = (await context.stream_info(stream)).state.messages
        found = [await context.get_msg(stream, number) for number in range(1, count + 1)]
        await client.close()
        return [(one.subject, one.data, one.headers) for one in found]

    return asyncio.run(read())


def publish(sink, readings):
    try:
        sink.publish(readings)
    except Exception:  # noqa: BLE001  the library has errors of its own
        return False
    return True


def test_records_are_stored_once_over_a_restart(server):
    port, process = server()
    sink = Sink(endpoint.parse(f"nats://127.0.0.1:{port}/plant?stream=P", {}))
    sink.open(lambda *_: None)
    log = Reading(1, b"a b/c.d", b"\x00x", 5, 1, True, 7, 2, 9, 10**9)
    wait_until(lambda: publish(sink, [log, Reading(0, b"t", b"1", sequence=1)]))
    sink.publish([log])  # as after a kill, before it was noted that it was published
    (first, payload, headers), second = sorted(stored(port, "P"), key=lambda one: one[0])
    assert (first, payload) == ("plant.a_b.c_d", b"\x00x")
    assert headers["Diode-Quality"] == "uncertain"
    assert headers["Diode-Heard"] == "1970-01-01T00:00:01.000000Z"
    assert headers["Diode-Repeats"] == "2"
    assert second[:2] == ("plant.t", b"1")
    process.kill()
    process.wait()
    server()
    new = Reading(1, b"t", b"2", sequence=2)
    wait_until(lambda: publish(sink, [new]), 60)
    assert stored(port, "P")[-1][1] == b"2"


def test_subjects():
    assert subject("p", b"a/b c/d.e/f>/") == "p.a.b_c.d_e.f_._"
    with pytest.raises(UsageError):
        Sink(endpoint.parse("nats://h/a b", {}))
