"""Link tests: what was measured is what the channel did, and what is advised is enough."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import frame, line, plan, stamp
from diode.advice import (
    Channel as Measured,
)
from diode.advice import Level, advise, failure, level_advice, lost_of
from diode.alignment import compare
from diode.carrier.channel import Channel
from diode.carrier.impairment import Impairment
from diode.forecast import Planned
from diode.frame import Frames, Kind
from diode.linkstats import beta, losses, upper_bound
from diode.linktest import (
    HEAD,
    MAX_RUNS,
    MIN_FRAMES,
    Segment,
    Tally,
    Way,
    frame_length,
    pattern,
    segments,
)
from diode.plan import Link, Settings, binomial_tail, geometry
from diode.service.linktest import Listener as Listening

RATE = 11_520.0
RUN = 0x1234_5678
WITHIN = 0.2
"""What a recovered parameter may be off by."""


def link(name: str = "cobs", rate: float | None = RATE) -> Link:
    encoder = line.encoder(name)
    return Link(rate, encoder.max_frame, encoder.line_bytes)


def segment(name: str = "cobs", seconds: float = 100.0, rate: float | None = RATE) -> Segment:
    return segments(RUN, [(Way(name), link(name, rate))], seconds)[0]


def measure(spec: str, name: str = "cobs", seconds: float = 100.0, rate: float | None = RATE):
    """What is learnt of a segment through that channel: losses, damage; and its own tally."""
    test = segment(name, seconds, rate)
    sent = line.encoder(name).encode(test.frames(0, test.count))
    channel = Channel(Impairment.parse(spec), rate)
    raw = np.concatenate([channel.apply(sent).data, channel.flush().data])
    decoder, tally = line.decoder(name), Tally()
    tally.take(decoder.feed(raw))
    tally.take(decoder.flush())
    heard = tally.runs[RUN][0]
    assert tally.wrong == 0
    found = losses(heard.arrivals(), heard.ended, late=True)
    return found, compare(sent.data, sent.ends, raw), channel.tally


def near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= WITHIN * wanted


# Frames -------------------------------------------------------------------------------------


def test_frame_as_the_format_says() -> None:
    test = Segment(RUN, 1, (Way("rs"), Way("cobs", "bell202")), 1000, 60, 120)
    row = test.frames(7, 8).piece(0)
    assert stamp.check_rows(row[None, :]).all()
    header = row[:20].view(frame.FULL)[0]
    assert header["vk"] == 0x16
    assert header["sequence"] == header["block"] == 7
    assert header["sender"] == RUN + 1
    assert header["object"] == 1
    assert row[20:36].tobytes() == bytes.fromhex("e8030000 78000000 20 15 000000000000")
    assert row[36:-4].tobytes() == pattern(RUN, 1, np.array([7]), 20).tobytes()


def test_pattern_by_hand() -> None:
    """The formulas of wire 3.8 in plain integers."""
    mask, golden = 0xFFFF_FFFF, 0x9E37_79B9

    def mix(x: int) -> int:
        x = (x ^ x >> 16) * 0x85EB_CA6B & mask
        x = (x ^ x >> 13) * 0xC2B2_AE35 & mask
        return x ^ x >> 16

    seed = mix((RUN + 3 * golden + mix(70_000)) & mask)
    words = [mix(seed + j * golden & mask) for j in (1, 2, 3)]
    expected = b"".join(word.to_bytes(4, "little") for word in words)[:10]
    assert pattern(RUN, 3, np.array([70_000]), 10).tobytes() == expected


@pytest.mark.parametrize("name", ["cobs", "rs"])
@pytest.mark.parametrize("rate", [30.0, RATE, 1e7, None])
def test_frames_are_as_long_as_data_frames(name: str, rate: float | None) -> None:
    there = link(name, rate)
    cut = geometry(1_000_000, Settings(redundancy=0.2), there)
    assert frame_length(there) - plan.frame_bytes(there, cut) in range(20)
    assert frame_length(there) <= there.max_frame


def test_seconds_are_shared_and_a_handful_always_goes() -> None:
    ways = [(Way(name), link(name)) for name in ("cobs", "rs")]
    first, second = segments(RUN, ways, 20)
    for test in (first, second):
        took = test.count * line.encoder(test.way.line).line_bytes(test.length) / RATE
        assert took == pytest.approx(10, rel=0.01)
    assert first.ways == (Way("cobs"), Way("rs"))
    assert segments(RUN, ways, 0.001)[1].count == MIN_FRAMES


def test_tally_in_any_order_and_any_pieces() -> None:
    test = segment(seconds=4)
    rows = test.frames(0, test.count).rows()[0]
    whole, pieces = Tally(), Tally()
    whole.take([rows])
    for index in np.random.default_rng(1).permutation(len(rows)).tolist() * 2:
        pieces.take([rows[index : index + 1]])
    assert np.array_equal(whole.runs[RUN][0].arrivals(), np.arange(test.count))
    heard = pieces.runs[RUN][0]
    assert heard.segment == test
    found = losses(heard.arrivals(), heard.ended, late=True)
    assert (found.lost, found.duplicates) == (0, test.count)
    assert found.reordered > 0


def test_other_frames_are_counted_and_what_cannot_be_is_refused() -> None:
    test, tally = segment(seconds=4), Tally()
    rows = test.frames(0, 10).rows()[0]
    data = rows.copy()
    data[:, 0] = 0x10 | Kind.DATA
    wrong = rows.copy()
    wrong[:, 50] ^= 1
    beyond = rows.copy()
    beyond[:, 8] = 7  # a segment that the run does not have
    short = np.ascontiguousarray(rows[:, :40])
    empty = rows.copy()
    empty[:, 20:24] = 0
    assert not tally.take([data, wrong, beyond, short, empty])
    assert (tally.frames, tally.others, tally.wrong) == (0, 10, 40)
    assert tally.last is None


def test_runs_are_bounded() -> None:
    tally = Tally()
    for run in range(1, MAX_RUNS + 10):
        tally.take(Segment(run * 1000, 0, (Way("cobs"),), 10, 80, 0).frames(0, 2).rows())
    assert len(tally.runs) == MAX_RUNS
    assert tally.wrong == 2 * 9


@given(st.binary(min_size=0, max_size=200), st.integers(0, 300))
@examples(100)
def test_no_frame_that_passes_the_check_is_trouble(body: bytes, number: int) -> None:
    row = np.frombuffer(bytes(20) + body + bytes(4), np.uint8).copy()
    row[0], row[8], row[4] = 0x16, number & 255, number & 255
    tally = Tally()
    tally.take([row[None, :]])
    assert tally.wrong == 1


def test_a_sender_that_was_stopped_says_so() -> None:
    test, tally = segment(seconds=4), Tally()
    tally.take(test.frames(0, 20).rows())
    tally.take(test.frames(17, 20, 20).rows())
    heard = tally.runs[RUN][0]
    assert heard.ended == 20
    assert losses(heard.arrivals(), heard.ended, late=True).lost == 0


# Statistics ---------------------------------------------------------------------------------


def test_losses_by_hand() -> None:
    found = losses(np.array([2, 3, 6, 5, 5, 9]), 12, late=True)
    assert (found.sent, found.lost, found.missed) == (10, 5, 2)
    assert (found.duplicates, found.reordered, found.latest) == (1, 2, 1)
    assert found.bursts == {1: 1, 2: 2}
    assert found.longest == 2
    assert (found.entries, found.exits) == ((3, 5), (2, 4))
    assert losses(np.array([2]), 3, late=False).lost == 2
    assert losses(np.empty(0, np.int64), 5, late=True).loss == 1


@pytest.mark.parametrize(("hits", "n", "expected"), [(0, 100, 0.0295), (5, 100, 0.1023)])
def test_upper_bound(hits: int, n: int, expected: float) -> None:
    assert upper_bound(hits, n) == pytest.approx(expected, abs=1e-4)
    assert binomial_tail(n, upper_bound(hits, n), hits) == pytest.approx(0.95)


def test_upper_bound_at_the_ends() -> None:
    assert upper_bound(7, 7) == 1
    assert upper_bound(0, 1_000_000) == pytest.approx(3e-6, rel=0.01)
    assert beta(0.3, 2, 3) == pytest.approx(0.3483)
    assert upper_bound(3.5, 50.5) > upper_bound(3, 51)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Bursts included, which make the plain bound hold far less often."""
    held = 0
    for seed in range(200):
        impairment = Impairment.parse(f"ge=1%/20%,seed={seed}")
        ones = Frames.of_rows(np.arange(2000, dtype=np.int64)[:, None].view(np.uint8))
        kept = Channel(impairment, None).apply(ones).data.view(np.int64)
        held += losses(kept, 2000, late=True).bound >= 0.01 / 0.21
    assert held >= 180


# Channels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_drops_are_recovered(name: str) -> None:
    found, damage, tally = measure("drop=5%,seed=3", name, 200)
    assert near(found.loss, 0.05)
    assert found.lost == tally.pieces_dropped
    assert near(found.p or 0, 0.05)
    assert near(found.r or 0, 0.95)
    assert not found.bursty
    assert (damage.flipped, damage.lost, damage.inserted, damage.outages) == (0, 0, 0, [])


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_gilbert_elliott_is_recovered(name: str) -> None:
    found, damage, _ = measure("ge=1%/20%,seed=3", name, 300)
    assert near(found.p or 0, 0.01)
    assert near(found.r or 0, 0.2)
    assert found.bursty
    assert damage.outages == []


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_bit_errors_are_recovered(name: str) -> None:
    found, damage, tally = measure("flip=1e-4,seed=3", name)
    assert near(damage.bit_error_rate or 0, 1e-4)
    assert abs(damage.flipped - tally.bits_flipped) < 0.02 * tally.bits_flipped
    assert damage.slip_rate == 0
    assert near(found.loss, 1 - (1 - 1e-4) ** (8 * 224)) or name == "rs"


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_slips_are_recovered(name: str) -> None:
    _, damage, tally = measure("slip=1e-4,seed=3", name)
    assert near(damage.slip_rate or 0, 1e-4)
    assert near(damage.lost, tally.bytes_lost)
    assert near(damage.inserted, tally.bytes_inserted)
    assert damage.flipped <= 2


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_outages_are_recovered(name: str) -> None:
    found, damage, tally = measure("burst=200ms/5s,seed=3", name, 200)
    assert tally.outages >= 38
    assert len(damage.outages) == tally.outages
    assert near(float(np.mean(damage.outages)), 0.2 * RATE)
    assert near(200 / len(damage.outages), 5.0)
    assert found.bursty
    assert damage.flipped == 0


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_everything_at_once_is_recovered(name: str) -> None:
    _, damage, tally = measure("drop=3%,flip=1e-4,slip=1e-4,burst=100ms/5s,seed=3", name, 200)
    assert near(damage.bit_error_rate or 0, 1e-4)
    assert near(damage.slip_rate or 0, 1e-4)
    assert near(len([n for n in damage.outages if n > 900]), tally.outages)


def test_duplicates_and_late_frames_are_counted() -> None:
    found, damage, tally = measure("dup=2%,reorder=3,seed=3")
    assert found.lost == 0
    assert found.duplicates == tally.pieces_duplicated
    assert found.reordered > 0
    assert found.latest == 3
    assert damage.flipped == 0


def test_nothing_alike_is_compared_to_nothing() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, 5000, np.uint8)
    sent = rng.integers(0, 256, 5000, np.uint8)
    damage = compare(sent, np.array([5000]), noise)
    assert damage.compared == 0
    assert damage.bit_error_rate is damage.slip_rate is None
    assert compare(sent, np.array([5000]), noise[:3]).compared == 0


# Advice -------------------------------------------------------------------------------------


def test_symbols_lost_independently_are_binomial() -> None:
    lost = lost_of(50, 0.1, 0.0)
    assert lost.sum() == pytest.approx(1)
    for count in (0, 5, 20):
        assert lost[count + 1 :].sum() == pytest.approx(binomial_tail(50, 0.1, count))


def test_symbols_lost_in_bursts() -> None:
    """Against all 2^10 sequences of the chain."""
    n, loss, kept = 10, 0.2, 0.6
    expected = np.zeros(n + 1)
    for bits in range(1 << n):
        states = [bits >> i & 1 for i in range(n)]
        chance = loss if states[0] else 1 - loss
        for before, after in itertools.pairwise(states):
            bad = loss + (1 - loss) * kept if before else loss * (1 - kept)
            chance *= bad if after else 1 - bad
        expected[sum(states)] += chance
    assert lost_of(n, loss, kept) == pytest.approx(expected)


def test_more_loss_and_longer_bursts_cost_more() -> None:
    costs = [
        advise(Measured(link(), loss, burst), [Planned(100_000)], 1e-9).line_bytes
        for loss, burst in ((0.001, 1.01), (0.05, 1.06), (0.2, 1.3), (0.2, 20.0))
    ]
    assert costs == sorted(costs)


def test_what_is_advised_keeps_the_target_and_is_said_in_options() -> None:
    channel = Measured(link(), 0.06, 5.0, 25)
    advice = advise(channel, [Planned(1_000_000)], 1e-9)
    assert advice is not None
    assert failure(advice.geometry, advice.settings, channel) <= 1e-9
    words = advice.options("cobs").split()
    assert words[:4] == ["--line", "cobs", "--code", "zfec"]
    assert words[4::2] == ["--redundancy", "--passes", "--burst"]
    assert math.isclose(advice.seconds or 0, advice.line_bytes / RATE)
    unpaced = advise(Measured(link(rate=None), 0.06, 5.0), [Planned(1_000_000)], 1e-9)
    assert unpaced is not None
    assert "--burst" not in unpaced.options("cobs")


def test_where_no_setting_would_do() -> None:
    assert advise(Measured(link(), 1.0, 100.0), [Planned(1000)], 1e-9) is None
    assert advise(Measured(link(), 0.97, 5000.0), [Planned(1000)], 1e-9) is None


# Listening ----------------------------------------------------------------------------------


class Wire:
    """A carrier that takes time, on a clock of its own; what is on it comes in lumps."""

    rate = RATE

    def __init__(self, data: bytes, fast: float = 0.0) -> None:
        self.data, self.now, self.fast, self.reads = data, 0.0, fast, 0

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float | None) -> bytes | None:
        self.reads += 1
        lump, self.data = self.data[:200], self.data[200:]
        self.now += len(lump) / RATE / (1 + self.fast) if lump else timeout or 0.0
        return lump or None

    def close(self) -> None:
        pass


def on_line(test: Segment, first: int, last: int) -> bytes:
    return line.encoder(test.way.line).encode(test.frames(first, last)).data.tobytes()


@pytest.mark.parametrize("fast", [0.0, 0.003, -0.003])
def test_the_clock_of_a_line(fast: float) -> None:
    test = segment(seconds=20)
    wire = Wire(on_line(test, 0, test.count), fast)
    listener = Listening(wire, clock=wire.clock)
    listener.run()
    (result,) = listener.results()
    assert result.clock is not None
    assert abs(result.clock.ppm - fast * 1e6) <= min(result.clock.give, 2000)
    assert result.losses.lost == 0
    assert wire.now < 22  # the last frame was heard, so it does not wait long


def test_where_frames_are_lost_the_clock_is_not_known() -> None:
    test = segment(seconds=20)
    wire = Wire(on_line(test, 0, 100) + on_line(test, 150, test.count))
    listener = Listening(wire, clock=wire.clock)
    listener.run()
    (result,) = listener.results()
    assert result.clock is None
    assert result.losses.bursts == {50: 1}


def test_a_listener_gives_up_after_silence() -> None:
    silent = Wire(b"")
    Listening(silent, 7.0, clock=silent.clock).run()
    assert 7 <= silent.now < 8
    test = segment(seconds=20)
    broken = Wire(on_line(test, 0, 100))
    listener = Listening(broken, clock=broken.clock)
    listener.run()
    assert listener.results()[0].losses.lost == test.count - 100
    assert broken.now < 10


def test_a_listener_that_is_stopped_counts_what_was_on_air() -> None:
    test = segment(seconds=20)
    wire = Wire(on_line(test, 0, test.count))

    def stop_in_time() -> None:
        if wire.reads == 200:
            listener.stop()

    listener = Listening(wire, clock=wire.clock, shown=stop_in_time)
    listener.run()
    (result,) = listener.results()
    assert result.losses.lost == 0
    assert 100 < result.losses.sent < 200


def test_what_is_kept_of_many_runs_is_bounded() -> None:
    data = b"".join(
        on_line(Segment(n * 1000, 0, (Way("cobs"),), 9, 80, 0), 0, 3) for n in range(1, 40)
    )
    wire = Wire(data)
    listener = Listening(wire, clock=wire.clock)
    listener.run()
    assert len(listener.tally.runs) == MAX_RUNS
    assert len(listener.results()) == 1


# Levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "says"),
    [
        (Level(-12, -3, 0, 0, -80, 23), ""),
        (Level(-3, 0, 0.02, 0, -80, 23), "lower the input level by 6 dB"),
        (Level(-1, 0, 0.2, 0, -80, 23), "lower the input level by 12 dB"),
        (Level(-61, -55, 0, 0, -90, 23), "raise the level by 41 dB"),
        (Level(-40, -30, 0, 0, -90, 8), "8 dB above the noise"),
        (Level(-12, -3, 0, 0.2, -80, 23), "offset of +20%"),
        (Level(-20, -3, 0, 0, -22, 23), "mains hum at -22 dBFS"),
    ],
)
def test_levels(level: Level, says: str) -> None:
    said = level_advice(level)
    assert says in "".join(said)
    assert len(said) == bool(says)


def test_head_is_sixteen_bytes() -> None:
    assert HEAD.itemsize == 16
