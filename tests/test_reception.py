"""How well a sender is heard: losses counted right, gaps as a set would give them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, dropping, examples, transmit

from diode import frame, reception
from diode.assembly import heartbeat_rows
from diode.plan import Link, Settings
from diode.reception import LaneReception, Reception


def heard(reception, numbers):
    """One receive call with these 16-bit sequence numbers."""
    reception.heard((np.array(numbers) % 65_536).astype("<u2"))
    reception.settle(1)


def beat(frames=0, rate=0, interval_ms=0):
    body = np.zeros(1, frame.HEARTBEAT)
    body["frames"], body["rate"], body["interval_ms"] = frames, rate, interval_ms
    return body[0]


# Loss ---------------------------------------------------------------------------------------


def test_nothing_heard():
    reception = Reception()
    reception.settle(1)
    assert (reception.lost, reception.frames, reception.gaps()) == (0, 0, [])


@examples(60)
@given(
    st.integers(0, 2**20),
    st.lists(st.booleans(), min_size=1, max_size=300),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_random_loss_is_counted_exactly(start, arrives, batch, random):
    numbers = [start + i for i, there in enumerate(arrives) if there]
    last = start + len(arrives)
    numbers.append(last)  # the heartbeat
    reception = Reception()
    for first in range(0, len(numbers), batch):
        part = numbers[first : first + batch]
        random.shuffle(part)  # kinds are dealt out before they are counted
        heard(reception, part)
    assert reception.lost == last + 1 - numbers[0] - len(numbers)
    assert reception.frames == len(numbers)


@pytest.mark.parametrize("step", [1, 7, 30_000, 32_767])
def test_numbers_wrap(step):
    reception = Reception()
    numbers = range(60_000, 60_000 + 20 * step, step)
    for number in numbers:
        heard(reception, [number])
    assert reception.lost == numbers[-1] + 1 - numbers[0] - len(numbers)


def test_a_burst_longer_than_half_the_numbers_is_not_taken_for_progress():
    # 16 bits alone cannot tell it from an old frame; nothing is counted twice or below zero.
    reception = Reception()
    heard(reception, [0])
    heard(reception, [40_000])
    assert reception.lost == 0
    heard(reception, [60_000])
    assert reception.lost >= 0


def test_late_frames_of_another_lane_are_not_lost_in_the_end():
    reception = Reception()
    heard(reception, [0])
    heard(reception, range(2, 40, 2))  # a lane that is ahead
    assert reception.lost == 19
    heard(reception, range(1, 40, 2))
    assert reception.lost == 0
    reception.count(3, 2)  # compact, on the lane that is behind
    heard(reception, [43])
    assert reception.lost == 0


def test_compact_frames_only_count():
    reception = Reception()
    heard(reception, [0])
    reception.count(8, 2)
    heard(reception, [10])
    assert (reception.frames, reception.lost) == (10, 1)


def test_heartbeats():
    reception = Reception()
    reception.beat(beat(1000, 960, 1500), 7)
    assert (reception.sent, reception.rate, reception.interval) == (1000, 960, 1.5)
    assert reception.highest_used == 7
    reception.beat(beat(1001), 6)
    assert reception.highest_used == 7


@pytest.mark.parametrize("link", [Link(), Link(rate=11_520)], ids=["full", "compact"])
@pytest.mark.parametrize("seed", range(4))
def test_losses_of_a_real_transmission(link, seed):
    source = BytesSource(content(100_000))
    sent = transmit(source, link=link, settings=Settings(redundancy=0.6))
    # The first heartbeat arrives: before it nothing can be counted. The first manifest may not.
    kept = sent[:1] + dropping(0.15, seed)(sent[1 + seed : -1]) + sent[-1:]
    heard = Listener().hear(kept, batch=5)
    assert heard.delivered
    assert heard.receiver.lost == len(sent) - len(kept)
    assert heard.receiver.senders[7].frames == len(kept)
    assert heard.receiver.senders[7].sent == len(sent) - 1


# Gaps ---------------------------------------------------------------------------------------


def missing(numbers, highest):
    """Ranges of what is not there between the first heard and the last used."""
    absent = set(range(min(numbers), max(*numbers, highest) + 1)) - set(numbers)
    return [
        (first, next(n for n in range(first, first + 1000) if n + 1 not in absent))
        for first in sorted(absent)
        if first - 1 not in absent
    ]


@examples(200)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(0, 80))
def test_gaps_against_a_set(numbers, highest):
    reception = Reception()
    for number in numbers:
        reception.numbered(number)
    reception.beat(beat(), highest)
    assert reception.gaps() == missing(numbers, highest)


def test_gaps_before_anything_was_heard_of():
    reception = Reception()
    reception.beat(beat(), 50)
    assert reception.gaps() == []


def test_ranges_are_bounded(monkeypatch):
    monkeypatch.setattr(reception, "MAX_RANGES", 8)
    one = Reception()
    for number in range(1, 100, 3):
        one.numbered(number)
    assert len(one.seen) == 8
    assert one.gaps() == [(n + 1, n + 2) for n in range(76, 97, 3)]


def test_the_pass_on_air_is_known_from_heartbeats():
    sent = transmit(content(200_000), link=Link(rate=11_520), settings=Settings(passes=3))
    heard, told = Listener(), []
    for one in sent:
        heard.hear([one])
        reception = heard.receiver.senders[7]
        told.append((reception.number_of_pass, reception.passes))
    assert {passes for _, passes in told} == {3}
    numbers = [number for number, _ in told]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 3}


# Of a lane ----------------------------------------------------------------------------------


def beats(count, sender=7, lane=1, code=frame.Beat.GOING_ON):
    """A heartbeat on the second of three lanes, which has had so many frames before."""
    on_lanes = [0, 0, 0]
    on_lanes[lane] = count
    rows = heartbeat_rows(sender, 1, code, (0, 0, 0, 0), (0, 0, 0), on_lanes=on_lanes)
    return rows[lane : lane + 1]


DATA = np.full((1, 200), frame.VERSION << 4 | frame.Kind.DATA, np.uint8)


@examples(60)
@given(
    st.integers(0, 2**40),
    st.lists(st.booleans(), max_size=300),
    st.integers(1, 30),
    st.integers(1, 40),
)
def test_what_a_lane_loses_is_known_at_the_last_heartbeat(start, arrives, every, batch):
    """Whatever was lost of heartbeats and of others, and however it was taken in."""
    rest = [beats(start + n) if n % every == 0 else DATA for n in range(1, len(arrives) + 1)]
    sent = [beats(start, code=frame.Beat.FIRST), *rest]
    last = beats(start + len(sent), code=frame.Beat.LAST)
    kept = [sent[0], *(f for f, there in zip(sent[1:], arrives, strict=True) if there), last]
    lane = LaneReception()
    for first in range(0, len(kept), batch):
        lane.heard(kept[first : first + batch])
        assert lane.lost <= len(sent) + 1 - len(kept)
    assert lane.lost == len(sent) + 1 - len(kept)
    assert lane.frames == len(kept)


def test_what_a_lane_lost_stays_when_its_sender_starts_again():
    lane = LaneReception()
    for count in (0, 5):
        lane.heard([beats(count)])
    assert lane.lost == 4
    lane.heard([beats(0, code=frame.Beat.FIRST)])
    assert lane.lost == 4
    lane.heard([DATA, beats(3)])
    assert lane.lost == 5


def test_two_senders_on_a_lane_lose_nothing_that_is_known():
    lane = LaneReception()
    for count in range(0, 100, 10):
        lane.heard([beats(count), beats(count, sender=8)])
    assert lane.lost == 0


@pytest.mark.parametrize("length", [0, 4, 12, 100])
def test_heartbeats_of_one_lane_alone_say_nothing_of_it(length):
    lane = LaneReception()
    for _ in range(2):
        rows = heartbeat_rows(7, 1, frame.Beat.GOING_ON, (9, 0, 0, 0), (0, 0, 0), 52 + length)
        lane.heard([rows])
    assert (lane.frames, lane.lost) == (2, 0)


@examples(100)
@given(st.lists(st.binary(min_size=64, max_size=64), max_size=8))
def test_any_heartbeats_give_some_number(bodies):
    lane = LaneReception()
    for body in bodies:
        row = np.frombuffer(body, np.uint8).reshape(1, -1).copy()
        row[:, 0] = frame.VERSION << 4 | frame.Kind.HEARTBEAT
        lane.heard([row])
        assert lane.lost >= 0
