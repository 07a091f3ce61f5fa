"""Several lanes heard as one: each with its own line, and each may end without the others."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, examples

from diode import line
from diode.errors import CarrierError
from diode.events import Key, SenderFellSilent
from diode.frame import Frames
from diode.lanes import divided, union
from diode.plan import Link, Settings
from diode.service.merged import Ear, Merged
from diode.transmitter import Transmitter

THING = content(60_000)


class Pipe:
    """A carrier on a pipe, of which the test has the other end."""

    def __init__(self) -> None:
        self.rate: float | None = 11_520.0
        self.bytes_dropped, self.reads_dropped = 2, 1
        self.fails: CarrierError | None = None
        self.closed = False
        self._read, self._write = os.pipe()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._read,)

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._write, data[:60_000]) :]

    def end(self, error: CarrierError | None = None) -> None:
        self.fails = error
        os.close(self._write)

    def read(self, timeout: float | None) -> bytes | None:
        ready, _, _ = select.select([self._read], [], [], timeout)
        if not ready:
            return None
        data = os.read(self._read, 1 << 16)
        if not data and self.fails is not None:
            raise self.fails
        return data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._read)


def merged(*pipes: Pipe) -> tuple[Merged, list[str]]:
    notices: list[str] = []
    ears = [Ear(f"lane {n}", pipe, line.decoder("auto")) for n, pipe in enumerate(pipes, 1)]
    return Merged(ears, notices.append), notices


def sent(count: int, redundancy: float = 1.0, name: str = "cobs") -> list[bytes]:
    """What goes to each lane."""
    encoders = [line.encoder(name) for _ in range(count)]
    room = min(1000, encoders[0].max_frame)
    link = union([Link(rate=11_520, max_frame=room)] * count)
    transmitter = Transmitter(7, Settings("zfec", redundancy), link)
    transmitter.add(1, BytesSource(THING))
    lanes = [bytearray() for _ in range(count)]
    while (frames := transmitter.step(0.0)) is not None:
        for lane, part in enumerate(divided(frames, transmitter.lanes, count)):
            lanes[lane] += bytes(encoders[lane].encode(part).data)
    return [bytes(lane) for lane in lanes]


def take(medium: Merged, listener: Listener, timeout: float | None = 0.0) -> bytes | Frames | None:
    """One turn of a session."""
    data = medium.read(timeout)
    if data is not None:
        rows = medium.feed(data) if len(data) else medium.flush()
        listener.take(listener.receiver.receive(rows, 0.0))
    return data


@pytest.fixture
def two() -> Iterator[tuple[Pipe, Pipe]]:
    pipes = Pipe(), Pipe()
    yield pipes
    for pipe in pipes:
        pipe.close()


@examples(25)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from(["cobs", "rs"]))
def test_lanes_cut_anywhere_and_mixed_in_any_way_are_kept_apart(seed, count, name) -> None:
    rng, lanes = np.random.default_rng(seed), sent(count, 0.25, name)
    pipes = [Pipe() for _ in lanes]
    medium, notices = merged(*pipes)
    listener = Listener()
    rest = list(lanes)
    while any(rest):
        lane = rng.choice([n for n, r in enumerate(rest) if r])
        size = int(10 ** rng.uniform(0, 4.6))
        pipes[lane].say(rest[lane][:size])
        rest[lane] = rest[lane][size:]
        take(medium, listener)
    for pipe in pipes:
        pipe.end()
    while take(medium, listener) != b"":
        pass
    assert listener.delivered == {Key(7, 1): THING}
    assert listener.receiver.lost == 0
    assert len(listener.of(SenderFellSilent)) == count
    assert [ear.bytes for ear in medium.lanes] == list(map(len, lanes))
    counted = sum(ear.reception.frames for ear in medium.lanes)
    assert counted == (listener.receiver.frames if count > 1 else 0)
    assert notices == []
    for pipe in pipes:
        pipe.close()


def test_a_session_ends_with_the_last_lane(two: tuple[Pipe, Pipe]) -> None:
    one, other = two
    medium, _ = merged(one, other)
    first, second = sent(2)
    one.say(first)
    one.end()
    listener = Listener()
    while take(medium, listener) is not None:
        pass
    assert [ear.over for ear in medium.lanes] == [True, False]
    assert medium.read(0.0) is None
    other.say(second[:100])
    assert take(medium, listener) == second[:100]
    # What the first had in hand when it ended has come with that: its last frame too.
    assert len(listener.of(SenderFellSilent)) == 1
    other.end()
    assert take(medium, listener) == b""


def test_one_that_fails_is_told_and_the_others_go_on(two: tuple[Pipe, Pipe]) -> None:
    one, other = two
    medium, notices = merged(one, other)
    first, second = sent(2)
    listener = Listener()
    one.say(first[:20_000])
    one.end(CarrierError("its reader was killed"))
    other.say(second)
    other.end()
    while take(medium, listener) != b"":
        pass
    assert notices == ["lane 1 has failed, the others are listened to: its reader was killed"]
    assert listener.delivered == {Key(7, 1): THING}


def test_the_last_one_that_fails_is_an_error(two: tuple[Pipe, Pipe]) -> None:
    one, other = two
    medium, notices = merged(one, other)
    one.end(CarrierError("the first"))
    assert medium.read(0.0) is None
    other.end(CarrierError("the second"))
    with pytest.raises(CarrierError, match="the second"):
        medium.read(None)
    assert len(notices) == 1
    assert medium.read(None) == b""


def test_a_lane_with_much_to_say_does_not_drown_the_other(two: tuple[Pipe, Pipe]) -> None:
    one, other = two
    medium, _ = merged(one, other)
    one.say(b"\0" * 60_000)
    other.say(b"\1" * 10)
    one_more = [medium.read(0.0), medium.read(0.0)]
    assert sorted(len(data or b"") for data in one_more) == [10, 60_000]


def test_damage_on_one_is_counted_there_and_in_all(two: tuple[Pipe, Pipe]) -> None:
    medium, _ = merged(*two)
    first, second = sent(2)
    spoiled = np.frombuffer(first, np.uint8).copy()
    spoiled[5_000::2_000] ^= 0x55
    listener = Listener()
    for pipe, data in zip(two, (spoiled.tobytes(), second), strict=True):
        pipe.say(data)
        pipe.end()
    while take(medium, listener) != b"":
        pass
    bad, good = medium.lanes
    assert sum(bad.line.rejected.values()) > 5
    assert sum(good.line.rejected.values()) == 0
    assert medium.rejected == bad.line.rejected
    assert medium.noise == bad.line.noise + good.line.noise > 0
    assert listener.delivered == {Key(7, 1): THING}
    assert bad.reception.lost == listener.receiver.lost > 5
    assert good.reception.lost == 0


def test_figures_are_added_up(two: tuple[Pipe, Pipe]) -> None:
    medium, _ = merged(*two)
    assert (medium.bytes_dropped, medium.reads_dropped, medium.backlog) == (4, 2, 0)
    assert medium.rate == 23_040
    medium.close()
    assert all(pipe.closed for pipe in two)


def test_one_lane_needs_nothing_to_wait_for() -> None:
    class Plain:
        rate = None

        def read(self, timeout: float | None) -> bytes | None:
            return b"xyz" if timeout is None else None

        def close(self) -> None:
            pass

    medium, _ = merged(Plain())  # type: ignore[arg-type]
    assert medium.read(0.25) is None
    assert medium.read(None) == b"xyz"
