"""A sender that stays on air: heartbeats in silence, objects at any time, an orderly end."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from pair import BytesSource, Listener, content

from diode import frame, line
from diode.events import Key
from diode.frame import EMPTY, Beat, Kind
from diode.plan import Link, Settings
from diode.service.lanes import Lane, Lanes
from diode.service.sender import transmit
from diode.standing import Standing
from diode.supply import Supplied
from diode.transmitter import Transmitter
from diode.wake import Wake


class Given:
    """Objects that a test has ready."""

    def __init__(self, transmitter: Transmitter) -> None:
        self.transmitter = transmitter
        self.waiting: list[bytes] = []
        self.number = 0
        self.state = Supplied.OPEN
        self.stopped = False

    def poll(self) -> Supplied:
        while self.waiting:
            self.number += 1
            self.transmitter.add(self.number, BytesSource(self.waiting.pop(0)))
        return self.state

    def stop(self) -> None:
        self.stopped = True


def standing(heartbeat: float = 10.0, link: Link | None = None) -> tuple[Standing, Given]:
    transmitter = Transmitter(7, Settings(), link or Link(rate=11_520))
    supply = Given(transmitter)
    return Standing(transmitter, supply, heartbeat), supply


def beat(frames) -> tuple[int, np.void]:
    """What a heartbeat says: its code and its payload."""
    (piece,) = frames.pieces()
    assert piece[0] & 0x0F == Kind.HEARTBEAT
    body = piece[frame.HEADER : frame.HEADER + frame.HEARTBEAT.itemsize]
    return int(frame.parse_full(piece[None]).code[0]), body.copy().view(frame.HEARTBEAT)[0]


def test_in_silence_there_are_heartbeats_as_often_as_each_promises() -> None:
    turns, _ = standing(10.0)
    code, said = beat(turns.step(100.0))
    assert (code, said["interval_ms"], said["uptime"]) == (Beat.FIRST, 10_000, 0)
    for now in (100.0, 104.0, 109.9):
        assert turns.step(now) is EMPTY
        assert turns.wake_at() == 110.0
    code, said = beat(turns.step(110.0))
    assert (code, said["uptime"], said["frames"]) == (Beat.GOING_ON, 10, 1)
    assert turns.step(111.0) is EMPTY
    assert turns.wake_at() == 120.0


def test_objects_come_at_any_time_and_it_rests_again() -> None:
    turns, supply = standing()
    heard = [turns.step(0.0)]
    assert turns.step(0.0) is EMPTY
    things = [content(5000, 1), content(300, 2), content(0)]
    for thing in things:
        supply.waiting.append(thing)
        while len(frames := turns.step(1.0)):
            heard.append(frames)
    listener = Listener().hear([p.copy() for f in heard for p in f.pieces()])
    assert listener.delivered == {Key(7, n): thing for n, thing in enumerate(things, 1)}
    turns.stop()
    assert supply.stopped
    assert beat(turns.step(2.0))[0] == Beat.LAST
    assert turns.step(3.0) is None


def test_a_supply_that_is_closed_ends_it_when_everything_is_sent() -> None:
    turns, supply = standing()
    supply.waiting.append(content(900))
    supply.state = Supplied.CLOSED
    frames = []
    while (more := turns.step(0.0)) is not None:
        frames.append(more)
    assert all(len(f) for f in frames)
    assert beat(frames[-1])[0] == Beat.LAST
    assert len(Listener().hear([p.copy() for f in frames for p in f.pieces()]).delivered) == 1


def test_while_something_is_prepared_nothing_is_taken() -> None:
    turns, supply = standing()
    turns.step(0.0)
    supply.waiting.append(content(900))
    supply.state = Supplied.PREPARING
    assert turns.step(0.0) is EMPTY
    supply.state = Supplied.OPEN
    assert len(turns.step(0.0))


# In the loop --------------------------------------------------------------------------------


class Carrier:
    rate = None

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, pieces) -> None:
        self.written += bytes(pieces.data)

    def drain(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def frames_of(*carriers: Carrier) -> list[np.ndarray]:
    rows = []
    for carrier in carriers:
        decoder = line.decoder("cobs")
        rows += decoder.feed(np.frombuffer(bytes(carrier.written), np.uint8)) + decoder.flush()
    return rows


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_loop_rests_goes_on_when_rung_and_holds_nothing_back(lanes: int) -> None:
    turns, supply = standing(60.0, Link(lanes=(0, 1) if lanes == 2 else (0,)))
    carriers = [Carrier() for _ in range(lanes)]
    each = [Lane(line.encoder("cobs"), carrier, batch=1 << 20) for carrier in carriers]
    outlet = each[0] if lanes == 1 else Lanes([(str(n), e) for n, e in enumerate(each)], print)
    wake, shown = Wake(), []
    arguments = {"rest": wake, "shown": lambda: shown.append(1), "clock": time.monotonic}
    thread = threading.Thread(target=transmit, args=(turns, outlet), kwargs=arguments)
    thread.start()
    try:
        for count, thing in enumerate((content(7000, 1), content(10, 2)), 1):
            supply.waiting.append(thing)
            wake.ring()
            until = time.monotonic() + 10
            while delivered(frames_of(*carriers)) < count:  # though no batch is full
                assert time.monotonic() < until
                time.sleep(0.01)
        calls = len(shown)
        time.sleep(0.3)
        assert len(shown) - calls < 5  # it rests
    finally:
        turns.stop()
        wake.ring()
        thread.join(10)
    assert not thread.is_alive()


def delivered(rows: list[np.ndarray]) -> int:
    listener = Listener()
    listener.take(listener.receiver.receive(rows, 0.0))
    return len(listener.delivered)
