"""Lanes: everything is shared out as the rates say, whatever is on air between, and the loss of a
lane costs its share of everything and no more.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, examples

from diode import frame
from diode.errors import UsageError
from diode.events import Key, SenderFellSilent
from diode.frame import COMPACT, FULL, HEADER, Kind
from diode.lanes import LONGEST, MOST, TOLERANCE, lanes_of, round_of, union
from diode.plan import Link, Settings, heartbeat_interval
from diode.schedule import turns
from diode.transmitter import Transmitter

LINE = Link(rate=11_520, max_frame=1000)
FIBRE = Link(rate=112e6, max_frame=1472, unit=1472, line_bytes=lambda frame: frame + 66.0)

speeds = st.lists(st.floats(1, 1000), min_size=1, max_size=MOST)


def sent(transmitter: Transmitter) -> list[list[np.ndarray]]:
    """The frames of every lane, in order."""
    lanes: list[list[np.ndarray]] = [[] for _ in range(max(transmitter.link.lanes) + 1)]
    while (frames := transmitter.step(0.0)) is not None:
        assert len(transmitter.lanes) == len(frames)
        for lane, piece in zip(transmitter.lanes.tolist(), frames.pieces(), strict=True):
            lanes[lane].append(piece.copy())
    return lanes


def numbered(*objects: bytes, link: Link, settings: Settings) -> Transmitter:
    transmitter = Transmitter(7, settings, link)
    for number, thing in enumerate(objects, 1):
        transmitter.add(number, BytesSource(thing))
    return transmitter


def tally(pieces: list[np.ndarray]) -> dict[tuple[int, int, int], int]:
    """Frames of each block by (kind, object or its alias, block); of announcements by object."""
    counts: dict[tuple[int, int, int], int] = {}
    for piece in pieces:
        kind = int(piece[0]) & 0x0F
        if kind == Kind.COMPACT:
            head = piece[: COMPACT.itemsize].view(COMPACT)[0]
            name = kind, int(head["alias"]), int(head["index"]) >> 8
        else:
            head = piece[:HEADER].view(FULL)[0]
            name = kind, int(head["object"]), int(head["block"]) * (kind == Kind.DATA)
        counts[name] = counts.get(name, 0) + 1
    return counts


# The round ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "lanes"),
    [
        ([5.0], (0,)),
        ([3.0, 3.0], (0, 1)),
        ([1.0] * 4, (0, 1, 2, 3)),
        ([115_200, 57_600], (0, 1, 0)),
        ([900e6, 100e6], (0, 0, 0, 0, 0, 1, 0, 0, 0, 0)),
    ],
)
def test_a_round_is_as_short_as_the_rates_allow(rates, lanes):
    assert sorted(round_of(rates)) == sorted(lanes)
    assert len(round_of(rates)) == len(lanes)


@examples(100)
@given(speeds)
def test_shares_are_as_the_speeds(rates):
    lanes = round_of(rates)
    assert len(lanes) <= LONGEST
    for lane, rate in enumerate(rates):
        turns_ = lanes.count(lane)
        assert turns_ >= 1
        assert abs(turns_ - len(lanes) * rate / sum(rates)) < 1 + len(rates) * TOLERANCE or (
            min(rates) / sum(rates) < 1 / LONGEST  # whoever is that slow has one turn all the same
        )


@examples(60)
@given(speeds, st.integers(0, 1000), st.integers(1, 300))
def test_any_consecutive_turns_are_shared_out_evenly(rates, first, count):
    lanes = round_of(rates)
    mine = lanes_of(np.arange(first, first + count), Link(lanes=lanes))
    for lane in range(len(rates)):
        share = lanes.count(lane) / len(lanes)
        # Two ends of half a frame, and at each the others may be half a frame early or late.
        assert abs(int((mine == lane).sum()) - share * count) <= 1 + len(rates) * share


@examples(60)
@given(speeds, st.integers(1, 40))
def test_a_symbol_that_is_sent_again_and_again_visits_all_lanes(rates, there):
    lanes = round_of(rates)
    steps = np.asarray(turns(0, there * len(lanes), there, 5))
    mine = lanes_of(steps, Link(lanes=lanes)).reshape(-1, there)
    for symbol in mine.T:
        assert sorted(symbol.tolist()) == sorted(lanes)


# The union ----------------------------------------------------------------------------------


def test_one_link_is_what_it_is():
    assert union([LINE]) is LINE


def test_the_rate_is_the_sum_and_frames_fit_the_smallest():
    other = Link(rate=5_760, max_frame=300)
    both = union([LINE, other])
    assert both.rate == 17_280
    assert both.max_frame == 300
    assert both.lanes.count(0) == 2 * both.lanes.count(1)
    assert both.line_bytes(100) == pytest.approx(100)


def test_line_time_is_that_of_the_lane_that_is_done_last():
    wasteful = Link(rate=11_520, max_frame=1000, line_bytes=lambda frame: 2.0 * frame)
    both = union([LINE, wasteful])
    assert both.lanes.count(0) == 2 * both.lanes.count(1)
    # 300 frames of 100 bytes: 200 at 115.2 frames a second, 100 at half of it
    assert 300 * both.line_bytes(100) / (both.rate or 0) == pytest.approx(200 / 115.2)


def test_datagrams_stay_datagrams_and_others_do_not_become_some():
    small = Link(rate=11e6, max_frame=1000, unit=1000)
    assert union([FIBRE, small]).unit == 1000
    assert union([FIBRE, FIBRE]).wide
    assert union([FIBRE, Link(rate=11e6, max_frame=1000)]).unit is None


def test_a_lane_without_a_rate_cannot_have_its_share():
    with pytest.raises(UsageError, match="shared out by rate"):
        union([LINE, Link()])
    assert union([Link(), Link()]).rate is None


def test_a_lane_that_would_hold_up_the_others():
    with pytest.raises(UsageError, match="alone") as caught:
        union([FIBRE, LINE])
    assert "slowest" in caught.value.hint
    union([FIBRE, Link(rate=1.3e6, max_frame=1472)])  # a hundredth of it still helps


def test_there_are_so_many_lanes_at_most():
    with pytest.raises(UsageError, match="9 lanes"):
        union([LINE] * 9)


# The transmitter ----------------------------------------------------------------------------

CASES = pytest.mark.parametrize(
    "links",
    [[LINE, LINE], [LINE, Link(rate=5_760, max_frame=400)], [FIBRE] * 4, [Link()] * 3],
    ids=["two lines", "a slow one", "four fibres", "three files"],
)


@CASES
@pytest.mark.parametrize("code", ["zfec", "repeat"])
@pytest.mark.parametrize("burst", [0.0, 0.5])
def test_every_block_and_announcement_is_shared_out(links, code, burst):
    link = union(links)
    settings = Settings(code, 1.0, passes=3, burst=burst)
    things = [content(70_000, 1), content(900, 2), content(33_000, 3)]
    lanes = sent(numbered(*things, link=link, settings=settings))
    whole = tally([piece for lane in lanes for piece in lane])
    assert len(whole) > 6
    for number, pieces in enumerate(lanes):
        share = link.lanes.count(number) / len(link.lanes)
        mine = tally(pieces)
        for name, count in whole.items():
            if name[0] != Kind.HEARTBEAT:
                # Of each pass, what any consecutive turns may be off by, and once for the wrap.
                assert abs(mine.get(name, 0) - share * count) <= 4, (number, name, count)
        total = sum(len(lane) for lane in lanes)
        assert abs(len(pieces) / total - share) < 0.05


@CASES
def test_blocks_that_alternate_on_air_do_not_get_a_lane_each(links):
    """What sharing out by the place on air would do."""
    link = union(links)
    transmitter = numbered(content(400_000), link=link, settings=Settings("zfec", 1.0, burst=2.0))
    on_air: list[tuple[int, int]] = []
    while (frames := transmitter.step(0.0)) is not None:
        for lane, piece in zip(transmitter.lanes.tolist(), frames.pieces(), strict=True):
            if piece[0] & 0x0F in (Kind.DATA, Kind.COMPACT):
                (name,) = tally([piece])
                on_air.append((name[2], lane))
    blocks = [block for block, _ in on_air]
    assert any(a != b for a, b in itertools.pairwise(blocks))
    for block in set(blocks):
        lanes = [lane for b, lane in on_air if b == block]
        assert set(lanes) == set(link.lanes)


@CASES
def test_any_lane_but_one_may_be_lost_at_enough_redundancy(links):
    link = union(links)
    things = [content(120_000, 4), content(1, 5), b""]
    share = [link.lanes.count(n) / len(link.lanes) for n in range(len(links))]
    for dead in range(len(links)):
        parity = 1.1 / (1 - share[dead]) - 1
        settings = Settings("zfec", max(0.35, parity))
        lanes = sent(numbered(*things, link=link, settings=settings))
        heard = [piece for n, lane in enumerate(lanes) if n != dead for piece in lane]
        listener = Listener().hear(heard)
        assert listener.delivered == {Key(7, n): t for n, t in enumerate(things, 1)}


def test_one_lane_of_two_and_the_same_symbols_again_complete_narrow_parity_too():
    """204 of 256 symbols are needed, and one lane has 128 of a round: the next round brings
    the others.
    """
    link = union([LINE, LINE])
    thing = content(204 * 210)
    lanes = sent(numbered(thing, link=link, settings=Settings("zfec", 0.25, passes=3)))
    for lane in lanes:
        assert Listener().hear(lane).delivered == {Key(7, 1): thing}


def test_heartbeats_go_on_every_lane_and_count_on():
    link = union([LINE, LINE, LINE])
    transmitter = numbered(content(60_000), link=link, settings=Settings())
    lanes = sent(transmitter)
    beats = [[p for p in lane if p[0] & 0x0F == Kind.HEARTBEAT] for lane in lanes]
    assert len({len(b) for b in beats}) == 1
    assert len(beats[0]) >= 2 + transmitter.frames_sent // (
        2 * heartbeat_interval(Settings(), link)
    )
    for turn, group in enumerate(zip(*beats, strict=True)):
        said = [
            int(b[HEADER : HEADER + frame.HEARTBEAT.itemsize].view(frame.HEARTBEAT)[0]["frames"])
            for b in group
        ]
        assert said == [said[0], said[0] + 1, said[0] + 2]
        assert {int(b[1]) for b in group} == {
            2 if not turn else 1 if turn == len(beats[0]) - 1 else 0
        }
    for lane in lanes:
        assert len(Listener().hear(lane).of(SenderFellSilent)) == 1


def payloads(pieces: list[np.ndarray]) -> set[bytes]:
    """Compact frames without sequence and check."""
    return {bytes(p[2:-4]) for p in pieces if p[0] & 0x0F == Kind.COMPACT}


def test_lanes_carry_the_symbols_that_one_lane_would():
    settings = Settings()
    (alone,) = sent(numbered(content(50_000), link=LINE, settings=settings))
    one, other = sent(numbered(content(50_000), link=union([LINE, LINE]), settings=settings))
    assert payloads(one) | payloads(other) == payloads(alone)
    assert not payloads(one) & payloads(other)
