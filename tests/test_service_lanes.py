"""Sending on several lanes: each at its own pace, and one that is in trouble holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from cli import wait_until
from pair import BytesSource, Listener, content

from diode import line
from diode.errors import CarrierError
from diode.events import Key, SenderFellSilent
from diode.frame import Frames
from diode.lanes import union
from diode.plan import Link, Settings
from diode.service.lanes import AWAY, Lane, Lanes
from diode.service.sender import transmit
from diode.transmitter import Transmitter

THING = content(2_000_000)
LINK = Link(rate=1e6, max_frame=1100)


class Carrier:
    """Keeps what is written; `at` is called at each write, with its number from 1."""

    def __init__(self, at: Callable[[int], object] = lambda _: None, rate: float | None = 1e6):
        self.rate = rate
        self.written = bytearray()
        self.writes = 0
        self.drained = False
        self._at = at

    def write(self, pieces: Frames) -> None:
        self.writes += 1
        self._at(self.writes)
        self.written += bytes(pieces.data)

    def drain(self) -> None:
        self.drained = True

    def close(self) -> None:
        pass


class Held:
    """Holds up the write of that number until it is let go, while the clock runs on."""

    def __init__(self, write: int, seconds: float = 3600.0) -> None:
        self.now = 0.0
        self.there, self.go = threading.Event(), threading.Event()
        self._write, self._seconds = write, seconds

    def clock(self) -> float:
        return self.now

    def __call__(self, write: int) -> None:
        if write == self._write:
            self.there.set()
            self.now += self._seconds
            assert self.go.wait(60)


def lanes_of(*carriers: Carrier, clock: Callable[[], float] = time.monotonic):
    notices: list[str] = []
    each = [
        (f"lane {n}", Lane(line.encoder("cobs"), carrier)) for n, carrier in enumerate(carriers, 1)
    ]
    return Lanes(each, notices.append, clock), notices


def sender(count: int, redundancy: float = 1.0) -> Transmitter:
    transmitter = Transmitter(7, Settings("zfec", redundancy), union([LINK] * count))
    transmitter.add(1, BytesSource(THING))
    return transmitter


def heard(*carriers: Carrier) -> Listener:
    listener = Listener()
    for carrier in carriers:
        decoder = line.decoder("cobs")
        rows = decoder.feed(np.frombuffer(bytes(carrier.written), np.uint8)) + decoder.flush()
        listener.take(listener.receiver.receive(rows, 0.0))
    return listener


def gone(write: int) -> None:
    if write >= 5:
        raise CarrierError("unplugged")


class Log:
    """Notes how far the carriers were said to have come."""

    def __init__(self) -> None:
        self.handed_: list[int] = []
        self.wrote_: list[int] = []

    def going(self, frames: int) -> None:
        pass

    def handed(self, frames: int, place: object) -> None:
        self.handed_.append(frames)

    def wrote(self, frames: int) -> None:
        self.wrote_.append(frames)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_lanes_together_carry_everything_each_its_share(count: int) -> None:
    carriers = [Carrier() for _ in range(count)]
    outlet, notices = lanes_of(*carriers)
    transmitter = sender(count)
    transmit(transmitter, outlet)
    assert notices == []
    assert all(carrier.drained for carrier in carriers)
    sizes = [len(carrier.written) for carrier in carriers]
    assert max(sizes) - min(sizes) < 0.02 * max(sizes)
    listener = heard(*carriers)
    assert listener.delivered == {Key(7, 1): THING}
    assert listener.receiver.frames == transmitter.progress.line_frames
    assert listener.receiver.lost == 0
    assert outlet.line_bytes == sum(sizes)
    assert [(one.frames, one.missed) for one in outlet.tally] == [
        (sum(map(len, line.decoder("cobs").feed(bytes(c.written)))), 0) for c in carriers
    ]


def test_one_of_two_that_fails_for_good_costs_nothing_at_100_percent() -> None:
    good, bad = Carrier(), Carrier(gone)
    outlet, notices = lanes_of(good, bad)
    transmit(sender(2), outlet)
    assert heard(good, bad).delivered == {Key(7, 1): THING}
    assert notices == ["lane 2 is away, the others go on without it: unplugged"]
    assert bad.writes == 5 and not bad.drained
    first, second = outlet.tally
    assert first.missed == 0
    assert abs(second.frames + second.missed - first.frames) < 0.02 * first.frames
    assert second.missed > 0.8 * first.frames


def test_losing_one_of_four_costs_a_quarter() -> None:
    carriers = [Carrier(), Carrier(), Carrier(gone), Carrier()]
    outlet, _ = lanes_of(*carriers)
    transmit(sender(4, redundancy=0.4), outlet)
    assert heard(*carriers).delivered == {Key(7, 1): THING}


def test_when_all_have_failed_it_is_an_error_as_with_one() -> None:
    outlet, _ = lanes_of(Carrier(gone), Carrier(gone))
    with pytest.raises(CarrierError, match="unplugged"):
        transmit(sender(2), outlet)


def test_all_may_fail_while_the_last_is_written() -> None:
    def at_the_end() -> None:
        raise CarrierError("no longer there")

    carriers = [Carrier(), Carrier()]
    for carrier in carriers:
        carrier.drain = at_the_end
    outlet, _ = lanes_of(*carriers)
    with pytest.raises(CarrierError, match="no longer there"):
        transmit(sender(2), outlet)


def test_one_that_is_away_holds_up_nobody_and_is_told_once() -> None:
    held = Held(4)
    good, slow = Carrier(), Carrier(held)
    outlet, notices = lanes_of(good, slow, clock=held.clock)
    transmit(sender(2), outlet)
    assert good.drained and not slow.drained
    assert notices == ["lane 2 is away, the others go on without it"]
    assert outlet.tally[1].frames < 0.2 * outlet.tally[0].frames
    assert heard(good, slow).delivered == {Key(7, 1): THING}
    held.go.set()


def test_one_that_comes_back_goes_on() -> None:
    held = Held(4)
    slow = Carrier(held)

    def let_go(write: int) -> None:
        if write == 40:
            held.now = 0.0
            held.go.set()
            wait_until(lambda: slow.writes > 4)

    good = Carrier(let_go)
    outlet, notices = lanes_of(good, slow, clock=held.clock)
    transmit(sender(2), outlet)
    away, back = notices
    missed = outlet.tally[1].missed
    assert away == "lane 2 is away, the others go on without it"
    assert back == f"lane 2 is back, {missed:,} frames were not sent on it"
    assert slow.drained and 0 < missed < 0.9 * outlet.tally[0].frames
    assert heard(slow).of(SenderFellSilent)


def test_when_none_is_there_they_are_waited_for() -> None:
    one, other = Held(4, seconds=0.0), Held(4, seconds=0.0)
    both = [Carrier(one), Carrier(other)]

    def clock() -> float:
        held = (one.there, other.there)
        return 3600.0 if all(h.is_set() for h in held) and not one.go.is_set() else 0.0

    outlet, notices = lanes_of(*both, clock=clock)
    thread = threading.Thread(target=lambda: transmit(sender(2), outlet))
    thread.start()
    assert one.there.wait(60) and other.there.wait(60)
    wait_until(lambda: all(len(o.queue) == 2 for o in outlet.tally))  # and both are away
    one.go.set()
    other.go.set()
    thread.join(60)
    assert heard(*both).delivered == {Key(7, 1): THING}
    assert all(carrier.drained for carrier in both)
    assert [o.missed for o in outlet.tally] == [0, 0]
    assert notices == []


def test_what_is_no_trouble_of_a_carrier_comes_through() -> None:
    def broken(write: int) -> None:
        if write == 3:
            raise ZeroDivisionError

    outlet, _ = lanes_of(Carrier(), Carrier(broken))
    with pytest.raises(ZeroDivisionError):
        transmit(sender(2), outlet)


def test_interruption_says_so_on_every_lane() -> None:
    carriers = [Carrier(), Carrier()]
    outlet, _ = lanes_of(*carriers)
    shown = 0

    def interrupt() -> None:
        nonlocal shown
        shown += 1
        if shown == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transmit(sender(2), outlet, shown=interrupt)
    for carrier in carriers:
        listener = heard(carrier)
        assert len(listener.of(SenderFellSilent)) == 1
        assert listener.delivered == {}
    assert heard(*carriers).receiver.lost == 0


def test_interruption_does_not_wait_for_one_that_is_away() -> None:
    held = Held(4)
    good, slow = Carrier(), Carrier(held)
    outlet, _ = lanes_of(good, slow, clock=held.clock)

    def interrupt() -> None:
        if outlet.tally[1].missed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transmit(sender(2), outlet, shown=interrupt)
    assert len(heard(good).of(SenderFellSilent)) == 1
    held.go.set()


def test_a_place_is_reached_when_all_lanes_that_are_there_have_written_it() -> None:
    held = Held(4, seconds=AWAY / 2)  # slow, not away
    slow, log = Carrier(held), Log()
    outlet, _ = lanes_of(Carrier(), slow, clock=held.clock)
    thread = threading.Thread(target=lambda: transmit(sender(2), outlet, log=log))
    thread.start()
    assert held.there.wait(60)
    before = len(log.handed_)
    wait_until(lambda: len(outlet.tally[1].queue) == 2)
    said = [w for w in log.wrote_ if w]
    assert max(said, default=0) <= log.handed_[3]  # of turn 4 of that lane, some are under way
    held.go.set()
    thread.join(60)
    assert before <= 8
    assert log.wrote_ == sorted(log.wrote_)
    assert max(log.wrote_) > log.handed_[-8]


def test_batches_are_collected_lane_by_lane() -> None:
    class Counting(Carrier):
        sizes: tuple[int, ...] = ()

        def write(self, pieces: Frames) -> None:
            self.sizes += (len(pieces.data),)
            super().write(pieces)

    carriers = [Counting(), Counting()]
    encoder = line.encoder("cobs")
    outlet = Lanes([(str(c), Lane(encoder, c, 10_000)) for c in carriers], pytest.fail)
    transmit(sender(2), outlet)
    for carrier in carriers:
        assert max(carrier.sizes) <= 10_000
        assert min(carrier.sizes[:-1]) > 10_000 - 1200
    assert heard(*carriers).delivered == {Key(7, 1): THING}
