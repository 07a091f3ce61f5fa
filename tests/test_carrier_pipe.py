import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ptys import FakeTime, batch, noise

from diode.carrier.pipe import PipeReceiver, PipeSender
from diode.errors import CarrierError


@pytest.fixture
def pipe():
    """(read, write) descriptors; each is closed at the end unless the test did."""
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        if fd is not None:
            os.close(fd)


def close(pipe, index):
    os.close(pipe[index])
    pipe[index] = None


def test_round_trip_and_end(pipe):
    data = noise(1_000_000)
    sender, receiver = PipeSender(pipe[1]), PipeReceiver(pipe[0])

    def send():
        sender.write(batch(data))
        sender.drain()
        sender.close()
        close(pipe, 1)

    thread = threading.Thread(target=send)
    thread.start()
    heard = b""
    while part := receiver.read(5):
        heard += part
    thread.join()
    assert heard == data
    assert receiver.read(None) == b""
    receiver.close()
    os.fstat(pipe[0])  # still open: it belongs to somebody else


@pytest.mark.parametrize("end", [0, 1])
def test_non_blocking_ends(pipe, end):
    os.set_blocking(pipe[end], False)
    data = noise(300_000)
    sender, receiver = PipeSender(pipe[1]), PipeReceiver(pipe[0])
    assert receiver.read(0) is None
    thread = threading.Thread(target=sender.write, args=(batch(data),))
    thread.start()
    heard = b""
    while len(heard) < len(data):
        heard += receiver.read(5)
    thread.join()
    assert heard == data
    assert os.get_blocking(pipe[end]) is False  # flags are shared, and stay as they were


def test_byte_by_byte(pipe):
    receiver = PipeReceiver(pipe[0])
    for byte in b"drip":
        os.write(pipe[1], bytes([byte]))
        assert receiver.read(None) == bytes([byte])
    assert receiver.read(0.01) is None
    close(pipe, 1)
    assert receiver.read(None) == b""


def test_reader_went_away(pipe):
    sender = PipeSender(pipe[1])
    close(pipe, 0)
    with pytest.raises(CarrierError, match="reader went away") as caught:
        sender.write(batch(b"x"))
    assert caught.value.exit_code == 10


def test_closed_descriptor(pipe):
    fd = pipe[0]
    close(pipe, 0)
    for kind in (PipeSender, PipeReceiver):
        with pytest.raises(CarrierError, match="is closed"):
            kind(fd)


def test_terminal_is_refused_for_sending():
    master, slave = os.openpty()
    try:
        with pytest.raises(CarrierError, match="terminal") as caught:
            PipeSender(slave)
        assert "| ..." in caught.value.hint
    finally:
        os.close(master)
        os.close(slave)


def test_paced_by_rate(pipe):
    time = FakeTime()
    sender = PipeSender(pipe[1], rate=10_000, clock=time.clock, sleep=time.sleep)
    start = time.now
    sender.write(batch(noise(20_000)))
    assert time.now - start == pytest.approx(1.95)
    sender.drain()
    assert time.now - start == pytest.approx(2)


def run(code, *, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, feed=None):
    options = {"input": feed} if feed is not None else {"stdin": stdin}
    return subprocess.run(
        [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, check=False, **options
    )


def test_real_stdin_and_stdout():
    code = (
        "import numpy as np\n"
        "from diode.carrier import open_receiving, open_sending\n"
        "from diode.frame import Frames\n"
        "source, sink = open_receiving('-'), open_sending('-')\n"
        "while data := source.read(None): sink.write(Frames.of_pieces([data]))\n"
        "sink.drain(); sink.close(); source.close()\n"
        "print('results still work')\n"
    )
    data = noise(300_000)
    done = run(code, feed=data)
    assert done.stderr == b""
    assert done.stdout == data + b"results still work\n"


def test_full_stdout():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    code = (
        "from diode.carrier import open_sending\n"
        "from diode.errors import DestinationError\n"
        "from diode.frame import Frames\n"
        "try: open_sending('-').write(Frames.of_pieces([b'x']))\n"
        "except DestinationError as error: raise SystemExit(error.exit_code)\n"
    )
    with Path("/dev/full").open("wb") as full:
        assert run(code, stdout=full).returncode == 13


def test_terminal_on_stdin_is_mentioned():
    master, slave = os.openpty()
    code = "from diode.carrier import open_receiving\nopen_receiving('-', notice=print).close()\n"
    try:
        assert b"from the terminal" in run(code, stdin=slave).stdout
    finally:
        os.close(master)
        os.close(slave)
