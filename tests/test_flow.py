"""Flows: priorities, shares, the carousel, and that everything arrives whatever the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, dropping, examples

from diode import frame
from diode.events import Key
from diode.flow import Carousel, Flow, Precedence
from diode.frame import Kind
from diode.plan import Link, Settings
from diode.sent import ObjectRetired, ObjectSent, PassSent, SourceFailed
from diode.transmitter import SLICE_SECONDS, Transmitter

SLOW = Link(rate=11_520)
LOW, HIGH = Flow("backup", 0), Flow("alarm", 9)


def new(*flows: Flow, carousel: Carousel | None = None, settings: Settings | None = None, **how):
    kept = {"carousel": carousel} if carousel else {}
    return Transmitter(7, settings or Settings(), how.pop("link", SLOW), flows=flows, **kept, **how)


def numbers(frames) -> list[int]:
    """The object number of each frame that has one."""
    return [number for piece in frames.pieces() if (number := number_of(piece))]


ALIASES = {frame.alias(7, number): number for number in range(1, 20)}


def number_of(piece) -> int:
    if piece[0] & 0x0F == Kind.COMPACT:
        return ALIASES[int(frame.parse_compact(piece[None]).alias[0])]
    if piece[0] & 0x0F == Kind.HEARTBEAT:
        return 0
    return int(frame.parse_full(piece[None]).number[0])


def steps(transmitter: Transmitter, count: int, now: float = 0.0):
    """The next frames, one by one; fewer than asked for at the end."""
    out = []
    for _ in range(count):
        frames = transmitter.step(now)
        if frames is None:
            break
        out.append(frames)
    return out


def rest(transmitter: Transmitter) -> list[np.ndarray]:
    return [p.copy() for f in steps(transmitter, 1 << 30) for p in f.pieces()]


# Whose turn it is ---------------------------------------------------------------------------


def test_the_highest_priority_goes_first_and_ties_by_what_was_served() -> None:
    precedence, one, two = Precedence(), Flow("one"), Flow("two")
    assert precedence.order([LOW, HIGH, one])[0] == HIGH
    precedence.took(one, 100)
    assert precedence.order([one, two]) == [two, one]
    precedence.took(two, 50)
    assert precedence.order([one, two]) == [two, one]
    precedence.took(two, 51)
    assert precedence.order([one, two]) == [one, two]


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    idle=st.integers(0, 3000),
)
@examples(100)
def test_shares_follow_the_weights_and_idleness_earns_nothing(weights, sizes, idle) -> None:
    precedence = Precedence()
    flows = [Flow(str(n), 0, weight) for n, weight in enumerate(weights)]
    for _ in range(idle):  # the first is alone for a while
        precedence.took(flows[0], 1000)
    served, turns = Counter(), 4000
    for turn in range(turns):
        first = precedence.order(flows)[0]
        size = sizes[turn % len(sizes)]
        served[first.name] += size
        precedence.took(first, size)
    total, all_ = sum(served.values()), sum(weights)
    for flow in flows:
        wanted = total * flow.weight / all_
        slices = 2 * max(*sizes, 1000) * max(1, flow.weight / min(weights))
        assert abs(served[flow.name] - wanted) <= slices + 0.01 * total


# On air -------------------------------------------------------------------------------------


def test_what_is_urgent_goes_between_two_slices_of_a_large_object() -> None:
    transmitter = new(LOW, HIGH)
    backup = content(2_000_000)
    transmitter.add(1, BytesSource(backup), flow="backup")
    before = steps(transmitter, 20)
    assert set(numbers(before[-1])) <= {1}
    transmitter.add(2, BytesSource(content(300)), flow="alarm")
    urgent = []
    while not any(isinstance(e, ObjectSent) for e in transmitter.events()):
        urgent += steps(transmitter, 1)
    # All of it goes before the next frame of the backup, and each slice is a moment of the line.
    # That it was all is known when the next slice is wanted.
    assert {n for f in urgent[:-1] for n in numbers(f)} == {2}
    assert set(numbers(urgent[-1])) == {1}
    assert all(SLOW.line_bytes(len(f.data)) <= 2 * SLICE_SECONDS * SLOW.rate for f in before[1:])
    heard = [p.copy() for f in (*before, *urgent) for p in f.pieces()] + rest(transmitter)
    assert Listener().hear(heard).delivered == {Key(7, 1): backup, Key(7, 2): content(300)}


def test_flows_of_one_priority_share_the_line() -> None:
    transmitter = new(Flow("a", 1, 1.0), Flow("b", 1, 3.0), LOW)
    for number, flow in enumerate(("a", "b", "backup"), 1):
        transmitter.add(number, BytesSource(content(1_000_000, number)), flow=flow)
    counts = Counter(n for f in steps(transmitter, 400) for n in numbers(f))
    assert counts[3] == 0
    assert counts[2] / counts[1] == pytest.approx(3.0, rel=0.1)


@given(st.data())
@examples(25)
def test_everything_arrives_whatever_is_added_when(data: st.DataObject) -> None:
    flows = [Flow(str(n), n // 2, 1.0 + n % 2, passes=1 + n % 3) for n in range(4)]
    transmitter = new(*flows, settings=Settings(redundancy=1.0), link=Link(rate=100_000))
    draw, wanted, sent, names = data.draw, {}, [], st.sampled_from(flows)
    passes = {}
    for number in range(1, draw(st.integers(1, 8)) + 1):
        thing, flow = content(draw(st.integers(0, 60_000)), number), draw(names)
        transmitter.add(number, BytesSource(thing), flow=flow.name)
        wanted[Key(7, number)], passes[number] = thing, flow.passes
        sent += [p.copy() for f in steps(transmitter, draw(st.integers(0, 30))) for p in f.pieces()]
    sent += rest(transmitter)
    heard = Listener().hear(dropping(0.1, draw(st.integers(0, 99)))(sent))
    assert heard.delivered == wanted
    happened = transmitter.events()
    assert {e.number: e.passes for e in happened if isinstance(e, ObjectSent)} == passes
    assert {e.number for e in happened if isinstance(e, ObjectRetired)} == passes.keys()
    for number, count in passes.items():
        done = [e.passes_done for e in happened if isinstance(e, PassSent) and e.number == number]
        assert done == list(range(1, count + 1))


def test_flows_can_be_arranged_anew_while_they_are_on_air() -> None:
    transmitter = new(Flow("a", 1), Flow("b", 0))
    transmitter.add(1, BytesSource(content(300_000, 1)), flow="a")
    transmitter.add(2, BytesSource(content(300_000, 2)), flow="b")
    sent = steps(transmitter, 10)
    assert {n for f in sent for n in numbers(f)} == {1}
    transmitter.arrange([Flow("b", 5), Flow("c", 7)])  # and no a
    transmitter.add(3, BytesSource(content(5000, 3)), flow="c")
    after = steps(transmitter, 30)
    assert numbers(after[0])[0] == 3
    assert 2 in numbers(after[-1])
    heard = [p.copy() for f in (*sent, *after) for p in f.pieces()] + rest(transmitter)
    assert len(Listener().hear(heard).delivered) == 3


def test_an_object_that_is_dropped_is_sent_no_more() -> None:
    transmitter = new(LOW)
    source = BytesSource(content(500_000))
    transmitter.add(1, source, flow="backup")
    transmitter.add(2, BytesSource(content(900)), flow="backup")
    steps(transmitter, 5)
    transmitter.drop(1)
    assert source.closed
    assert ObjectRetired(1) in transmitter.events()
    left = steps(transmitter, 1 << 20)
    assert sum(len(f) for f in left) < 1000  # of three thousand: two groups are there by then
    assert {n for f in left[-3:] for n in numbers(f)} <= {2}


def test_a_flow_goes_on_where_it_was_beside_others() -> None:
    def both() -> Transmitter:
        transmitter = new(LOW, HIGH)
        transmitter.add(1, BytesSource(content(400_000)), flow="backup")
        return transmitter

    first = both()
    before = [p.copy() for f in steps(first, 30) for p in f.pieces()]
    place = first.places["backup"]
    second = both()
    second.go_on(place, flow="backup")
    second.add(2, BytesSource(content(50)), flow="alarm")
    heard = Listener().hear(before + rest(second))
    assert heard.delivered == {Key(7, 1): content(400_000), Key(7, 2): content(50)}
    assert second.progress.line_frames < first.progress.line_frames + 400_000


# The carousel -------------------------------------------------------------------------------


def test_the_carousel_sends_fresh_parity_only_while_nothing_else_is_to_be_sent() -> None:
    transmitter = new(LOW, HIGH, carousel=Carousel(last=2), settings=Settings(redundancy=0.2))
    for number in (1, 2, 3):
        transmitter.add(number, BytesSource(content(20_000, number)), flow="backup")
    happened, sent = [], []
    while sum(isinstance(e, ObjectSent) for e in happened) < 3:
        sent += steps(transmitter, 1)
        happened += transmitter.events()
    assert [e.number for e in happened if isinstance(e, ObjectRetired)] == [1]
    round_ = steps(transmitter, 60)
    assert {n for f in round_ for n in numbers(f)} == {2, 3}
    transmitter.add(4, BytesSource(content(9000, 4)), flow="alarm")
    happened, urgent = [], []
    while not any(isinstance(e, ObjectSent) for e in happened):
        urgent += steps(transmitter, 1)
        happened += transmitter.events()
    assert {n for f in urgent[:-1] for n in numbers(f)} == {4}
    assert [e.number for e in happened if isinstance(e, ObjectRetired)] == [2]
    # Who hears nothing but the carousel gets what is in it.
    late = [p.copy() for f in steps(transmitter, 300) for p in f.pieces()]
    assert set(Listener().hear(late).delivered) == {Key(7, 3), Key(7, 4)}
    data = [p for f in round_ for p in f.pieces() if p[0] & 0x0F == Kind.COMPACT]
    symbols = [int(frame.parse_compact(p[None]).symbol[0]) for p in data if number_of(p) == 2]
    assert max(symbols) > 20_000 // 200 * 1.2  # numbers that the planned pass did not have


def test_the_carousel_lets_go_by_time() -> None:
    transmitter = new(LOW, carousel=Carousel(seconds=60.0))
    source = BytesSource(content(3000))
    transmitter.add(1, source, flow="backup")
    steps(transmitter, 40, now=5.0)
    assert not source.closed
    assert not any(isinstance(e, ObjectRetired) for e in transmitter.events())
    steps(transmitter, 5, now=64.0)
    assert not source.closed
    left = steps(transmitter, 1000, now=66.0)
    assert source.closed
    assert transmitter.events()[-1] == ObjectRetired(1)
    assert len(left) < 1000  # and so everything is over
    assert transmitter.empty


def test_what_had_its_passes_goes_straight_to_the_carousel() -> None:
    transmitter = new(LOW, carousel=Carousel(last=5))
    transmitter.add(1, BytesSource(content(3000)), passes_done=1, flow="backup")
    assert not transmitter.empty
    heard = Listener().hear([p.copy() for f in steps(transmitter, 60) for p in f.pieces()])
    assert heard.delivered == {Key(7, 1): content(3000)}
    assert not any(isinstance(e, ObjectSent) for e in transmitter.events())


def test_a_source_that_fails_in_the_carousel_is_void_and_the_others_go_on() -> None:
    transmitter = new(LOW, carousel=Carousel(last=5))
    good, bad = BytesSource(content(3000)), BytesSource(content(4000))
    transmitter.add(1, good, flow="backup")
    transmitter.add(2, bad, flow="backup")
    steps(transmitter, 40)
    transmitter.events()
    bad.fails_at = 0
    steps(transmitter, 60)
    failed = [e for e in transmitter.events() if isinstance(e, SourceFailed)]
    assert [e.number for e in failed] == [2]
    assert bad.closed
    assert not good.closed
    assert {n for f in steps(transmitter, 50) for n in numbers(f)} == {1}
