import os
import sys
import threading
import time

import pytest
from ptys import batch, noise

from diode.carrier import open_receiving, open_sending
from diode.carrier.coupling import Coupling
from diode.carrier.impairment import Impairment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="pseudo-terminals as Linux has them"
)


def cross(line, data, baud):
    """What arrives of `data`; ends when the line has been silent for a while."""
    receiver = open_receiving(f"serial:{line.rx_path}?baud={baud}")
    sender = open_sending(f"serial:{line.tx_path}?baud={baud}")
    thread = threading.Thread(target=lambda: (sender.write(batch(data)), sender.drain()))
    thread.start()
    heard = []
    while part := receiver.read(0.5):
        heard.append(part)
    thread.join()
    sender.close()
    receiver.close()
    return b"".join(heard)


def wait_until(condition):
    until = time.monotonic() + 5
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def test_everything_crosses_a_clean_line():
    data = noise(100_000)
    with Coupling(4_000_000) as line:
        assert cross(line, data, 4_000_000) == data
        assert line.bytes_in == line.bytes_out == len(data)
        assert line.rate == 400_000
        assert line.bytes_overrun == line.bytes_unheard == 0


def test_damage_is_done_and_told():
    data = noise(100_000)
    impairment = Impairment.parse("flip=1e-4,slip=1e-3,burst=1kB/20kB,drop=3%,seed=5")
    with Coupling(4_000_000, impairment) as line:
        heard = cross(line, data, 4_000_000)
    tally = line.tally
    assert heard != data
    assert tally.outages >= 4 and tally.bits_flipped and tally.bytes_slipped
    assert tally.pieces_dropped
    assert line.bytes_in == len(data)
    assert (
        len(heard)
        == line.bytes_out
        == (tally.bytes - tally.bytes_burst - tally.bytes_lost + tally.bytes_inserted)
    )


def test_a_receiver_that_does_not_read_is_overrun():
    data = noise(200_000)
    with Coupling(12_000_000) as line:
        receiver = open_receiving(f"serial:{line.rx_path}")
        sender = open_sending(f"serial:{line.tx_path}?baud=12M")
        sender.write(batch(data))  # does not wait for the receiver
        sender.drain()
        wait_until(lambda: line.bytes_in == len(data))
        assert line.bytes_overrun > 50_000
        heard = b""
        while part := receiver.read(0.5):
            heard += part
        assert len(heard) == len(data) - line.bytes_overrun
        assert data.startswith(heard[:4000])
        sender.close()
        receiver.close()


def test_what_nobody_hears_is_gone():
    with Coupling(4_000_000) as line:
        sender = open_sending(f"serial:{line.tx_path}?baud=4M")
        sender.write(batch(noise(50_000)))
        wait_until(lambda: line.bytes_unheard == 50_000)
        receiver = open_receiving(f"serial:{line.rx_path}")
        assert receiver.read(0) is None
        sender.write(batch(b"now"))
        heard = b""
        while len(heard) < 3 and (part := receiver.read(5)):
            heard += part
        assert heard == b"now"
        sender.close()
        receiver.close()


def test_nothing_goes_back():
    with Coupling(4_000_000) as line:
        back = os.open(line.rx_path, os.O_RDWR | os.O_NOCTTY)
        os.write(back, b"hello?")
        listener = open_receiving(f"serial:{line.tx_path}")
        assert listener.read(0.3) is None
        listener.close()
        os.close(back)


def test_senders_come_and_go():
    with Coupling(4_000_000) as line:
        receiver = open_receiving(f"serial:{line.rx_path}")
        for word in (b"one", b"two", b"three"):
            sender = open_sending(f"serial:{line.tx_path}?baud=4M")
            sender.write(batch(word))
            sender.drain()
            sender.close()
            heard = b""
            while len(heard) < len(word) and (part := receiver.read(5)):
                heard += part
            assert heard == word
        receiver.close()


def test_cutting_the_line_ends_both_sides():
    line = Coupling(115_200)
    line.start()
    receiver = open_receiving(f"serial:{line.rx_path}?reopen=0")
    line.stop()
    line.stop()
    assert receiver.read(5) == b""
    receiver.close()


def test_never_started():
    Coupling(115_200).stop()


@pytest.mark.parametrize("baud", [50, 12_000_000])
def test_slowest_and_fastest(baud):
    data = noise(5 if baud == 50 else 300_000)
    with Coupling(baud) as line:
        assert cross(line, data, baud) == data
