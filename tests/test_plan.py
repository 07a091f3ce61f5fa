"""Derived numbers against exact sums, against simulation, and against real transmissions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, dropping, everything, examples, transmit

from diode import forecast as forecasts
from diode import frame, line, plan
from diode.binomial import binomial_tail, copies_needed
from diode.code import CODES, by_id
from diode.errors import UsageError
from diode.events import Key
from diode.frame import Kind
from diode.geometry import Geometry
from diode.plan import Link, Settings
from diode.schedule import symbol_numbers
from diode.transmitter import Transmitter

SLOW = Link(rate=11_520)
RS = Link(rate=11_520, max_frame=222)
LINKS = [Link(), SLOW, RS, Link(rate=500_000), Link(rate=1e8, max_frame=1400)]

parity = st.one_of(
    st.builds(lambda r: {"redundancy": r}, st.none() | st.floats(0, 3)),
    st.builds(lambda p: {"loss": p}, st.floats(0, plan.MAX_LOSS)),
)
settings = st.builds(
    lambda given, **others: Settings(**given, **others),
    parity,
    code=st.sampled_from([None, "zfec", "repeat"]),
    passes=st.integers(0, 4),
    symbol_size=st.none() | st.integers(16, 190),
)


# Geometry -----------------------------------------------------------------------------------


@examples(200)
@given(st.integers(0, 1 << 30), settings, st.sampled_from(LINKS))
def test_geometry_covers_the_object(size, wanted, link):
    cut = plan.geometry(size, wanted, link)
    assert cut.problem() == ""
    assert cut.size == size
    assert cut.block_data * cut.blocks >= size
    assert cut.block_data * (cut.blocks - 1) < size or not cut.blocks
    assert cut.k <= cut.n <= by_id(cut.code).walk(cut.k) or cut.code == 0
    assert plan.frame_bytes(link, cut) <= link.max_frame
    if not cut.blocks:
        return
    assert sum(cut.length(b) for b in {0, cut.blocks - 1}) <= size
    last = cut.blocks - 1
    assert cut.length(0) == min(size, cut.block_data)
    assert (cut.blocks - 1) * cut.block_data + cut.length(last) == size
    assert 1 <= cut.source_symbols(last) <= cut.k
    assert cut.frames(last) - cut.source_symbols(last) == cut.n - cut.k
    assert (
        cut.data_frames == sum(cut.frames(b) for b in range(cut.blocks)) if cut.blocks < 99 else 1
    )


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("size", [1, 16, 200])
def test_small_objects_are_not_padded(size, link):
    cut = plan.geometry(size, Settings(), link)
    assert cut.k * cut.symbol_size <= max(size + 24, plan.MIN_SYMBOL)
    assert cut.blocks == 1


def test_frames_of_every_geometry_fit_the_line():
    link = RS
    for wanted in (Settings(code="repeat"), Settings(code="repeat", redundancy=0.0), Settings()):
        for size in (100, 60_000, 300_000):
            sent = transmit(content(size), settings=wanted, link=link)
            assert max(len(f) for f in sent) <= link.max_frame


def test_a_line_too_short_for_a_symbol():
    with pytest.raises(UsageError) as caught:
        plan.geometry(100, Settings(), Link(max_frame=39))
    assert "40 bytes" in caught.value.hint
    assert plan.geometry(100, Settings(), Link(max_frame=40)).symbol_size == 16


def test_an_empty_object():
    cut = plan.geometry(0, Settings(), SLOW)
    assert (cut.blocks, cut.data_frames, cut.problem()) == (0, 0, "")


@pytest.mark.parametrize(
    ("rate", "size"), [(None, 1024), (11_520, 210), (150_001, 512), (1_000_001, 1024)]
)
def test_symbol_sizes_follow_the_rate(rate, size):
    assert plan.symbol_size(Settings(), Link(rate)) == size
    assert plan.symbol_size(Settings(symbol_size=100), Link(rate)) == 100


def in_units(unit):
    """A medium that carries that many line bytes or nothing, with two bytes of line a frame."""
    return Link(1500.0, unit - 2, lambda n: n + 2, unit, lambda piece: piece - 2)


@pytest.mark.parametrize(
    ("unit", "size", "symbol"),
    [
        (224, 2_000, 210),  # one part is small enough
        (2072, 1_000_000, 2058),  # enough symbols for a whole unit each
        (2072, 40_000, 1022),  # halves, or there were only 20
        (2072, 2_000, 245),  # an eighth: smaller parts would be mostly headers
    ],
)
def test_symbols_fill_a_unit_evenly(unit, size, symbol):
    assert plan.symbol_size(Settings(), in_units(unit), size) == symbol
    assert plan.symbol_size(Settings(symbol_size=100), in_units(unit), size) == 100


def test_manifests_are_no_surer_than_the_data_a_user_wants():
    def copies(redundancy, passes=1):
        settings = Settings(redundancy=redundancy, passes=passes)
        return plan.manifests(plan.geometry(2000, settings, RS), settings, RS, 1)

    assert copies(None) == 6
    assert copies(0.2) == 3
    assert copies(2.0) == 6
    assert copies(0.2, passes=2) == 3


@pytest.mark.parametrize("size", [15, 0, -1, 211])
def test_symbol_sizes_that_do_not_fit(size):
    with pytest.raises(UsageError) as caught:
        plan.symbol_size(Settings(symbol_size=size), RS)
    assert "from 16 to 210" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "nonsense"},
        {"redundancy": -0.1},
        {"redundancy": 101},
        {"passes": -1},
        {"burst": -1},
        {"burst": 3601},
        {"loss": -0.01},
        {"loss": 0.51},
        {"loss": math.nan},
        {"loss": 0.05, "redundancy": 0.25},
        {"redundancy": math.nan},
        {"burst": math.nan},
    ],
)
def test_settings_out_of_range(wrong):
    with pytest.raises(UsageError) as caught:
        Settings(**wrong)
    assert caught.value.hint


# Wide codes ---------------------------------------------------------------------------------

FIBRE = Link(rate=112.5e6, max_frame=1472, unit=1472)


@pytest.fixture(params=["leopard", "raptorq", "zfec"])
def best(request, monkeypatch):
    """The best code for large objects of those that are installed; none of them is called."""
    for name in plan.WIDE_CODES:
        monkeypatch.setattr(type(CODES[name]), "lacks", "" if name == request.param else "x")
    return CODES[request.param]


@examples(60)
@given(
    st.integers(0, 1 << 33), st.sampled_from([None, 0.05, 0.3]), st.sampled_from([*LINKS, FIBRE])
)
def test_wide_blocks_fit_code_link_and_memory(size, loss, link):
    with pytest.MonkeyPatch.context() as patch:
        for name in plan.WIDE_CODES:
            patch.setattr(type(CODES[name]), "lacks", "")
            for wanted in (Settings(loss=loss), Settings(name, loss=loss)):
                cut = plan.geometry(size, wanted, link)
                assert cut.problem() == ""
                assert cut.k <= cut.n <= by_id(cut.code).walk(cut.k) or cut.code == 0
                assert plan.frame_bytes(link, cut) <= link.max_frame
                if by_id(cut.code).name in plan.WIDE_CODES:
                    assert cut.k * cut.symbol_size <= plan.WIDE_BYTES
                    assert not plan.uses_compact(link, cut) or by_id(cut.code).numbers(cut.k) <= 256


def test_large_objects_on_fast_links_are_wide(best):
    for link in (FIBRE, replace(FIBRE, rate=None), replace(FIBRE, rate=10e6)):
        cut = plan.geometry(100_000_000, Settings(), link)
        assert cut.code == best.id
        if best.name != "zfec":
            assert cut.symbol_size == 1448 - 1448 % best.step and cut.k > 2500
    narrow = [
        plan.geometry(100_000_000, Settings(), Link()),  # a file: who knows who will read it
        plan.geometry(100_000_000, Settings(), replace(FIBRE, rate=9e6)),
        plan.geometry(900_000, Settings(), FIBRE),
        plan.geometry(100_000_000, Settings(redundancy=1.5), FIBRE),
        plan.geometry(100_000_000, Settings(symbol_size=1001), FIBRE),
        plan.geometry(100_000_000, Settings(), replace(FIBRE, max_frame=500, unit=500)),
        plan.geometry(100_000_000, Settings(code="zfec"), FIBRE),
    ]
    assert {cut.code for cut in narrow} == {CODES["zfec"].id}


def test_the_width_that_is_enough():
    """The arithmetic that WIDE rests on: the share of parity for a failure of 1e-6 a block."""

    def share(k, loss):
        return copies_needed(k, 2 * k, loss, plan.AUTO_FAILURE) / k - 1

    header = 24 / 1408
    for loss, overhead in ((0.01, 0.04), (0.05, 0.10), (0.10, 0.18)):
        assert (1 + share(plan.WIDE * 7 // 8, loss)) * (1 + header) <= 1 + overhead
    assert share(plan.WIDE * 7 // 8, 0.05) == pytest.approx(0.072, abs=0.001)
    assert share(7680, 0.05) == pytest.approx(0.066, abs=0.001)
    assert share(224, 0.05) == pytest.approx(0.143, abs=0.001)
    assert share(32_768, 0.05) > share(7680, 0.05) - 0.01  # what four times the memory gains


def test_loss_chooses_the_redundancy():
    for loss in (0.0, 0.01, 0.2, 0.5):
        for size in (100, 5_000, 700_000):
            cut = plan.geometry(size, Settings(code="zfec", loss=loss), SLOW)
            tail = binomial_tail(cut.n, loss, cut.n - cut.k)
            assert tail <= plan.AUTO_FAILURE * 1.001
            assert cut.n <= 256
    cut = plan.geometry(60_000, Settings(code="repeat", loss=0.1), SLOW)
    assert forecasts.repeat_failure(cut.k, cut.n, 0.1) <= plan.AUTO_FAILURE
    assert plan.manifest_copies(1, Settings(loss=0.4)) > plan.manifest_copies(1, Settings())


def test_what_a_wide_code_cannot_do(best):
    if best.name == "zfec":
        return
    with pytest.raises(UsageError) as caught:
        plan.geometry(10_000_000, Settings(best.name, redundancy=9.0), FIBRE)
    assert "zfec" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        plan.geometry(10_000_000, Settings(best.name, symbol_size=1001), FIBRE)
    assert caught.value.hint == f"--symbol-size {1001 - 1001 % best.step}"
    with pytest.raises(UsageError):
        plan.geometry(10_000_000, Settings("leopard"), Link(max_frame=80))


# Probabilities ------------------------------------------------------------------------------


def test_automatic_redundancy_is_enough():
    for size in (10, 5_000, 200_000):
        cut = plan.geometry(size, Settings(), SLOW)
        assert forecasts.failure(cut, 1, 6, plan.AUTO_LOSS) < 1e-5


# The forecast against a simulation ----------------------------------------------------------

SIMULATED = [
    (0.05, Settings(code="zfec", redundancy=0.06), SLOW),
    (0.10, Settings(code="zfec", redundancy=0.13), SLOW),
    (0.20, Settings(code="zfec", redundancy=0.29), SLOW),
    (0.10, Settings(code="zfec", redundancy=0.10), Link()),
    (0.20, Settings(code="zfec", redundancy=0.0, passes=2, symbol_size=250), Link()),
    (0.20, Settings(code="repeat", redundancy=2.4), SLOW),
    (0.10, Settings(code="repeat", redundancy=0.0, passes=2), Link()),
    (0.20, Settings(code="repeat", redundancy=0.5, passes=2), Link()),
]
TRIALS = 600


def simulated_failures(cut, passes, manifests, loss, rng):
    """Trials in which some block, or the manifest, did not come across; no decoding."""
    failed = rng.random((TRIALS, manifests)) < loss
    failed = failed.all(axis=1)
    numbers = by_id(cut.code).walk(cut.k)
    for block in range(cut.blocks):
        sent = np.concatenate([symbol_numbers(cut, numbers, block, p) for p in range(passes)])
        there = rng.random((TRIALS, len(sent))) >= loss
        heard = np.zeros((TRIALS, numbers), np.bool_)
        for at, number in enumerate(sent):
            heard[:, number] |= there[:, at]
        failed |= heard.sum(axis=1) < cut.source_symbols(block)
    return int(failed.sum())


@pytest.mark.parametrize(("loss", "wanted", "link"), SIMULATED)
def test_forecast_of_failure_against_simulation(loss, wanted, link):
    forecast = forecasts.forecast(60_000, wanted, link)
    predicted = forecast.failure[loss]
    assert 0.02 < predicted < 0.98, "not a test of anything"
    rng = np.random.default_rng(12)
    passes = max(1, wanted.passes)
    failed = simulated_failures(forecast.geometry, passes, forecast.manifests, loss, rng)
    spread = math.sqrt(TRIALS * predicted * (1 - predicted))
    assert abs(failed - TRIALS * predicted) < 4 * spread + 1


@pytest.mark.parametrize("passes", [3, 5])
def test_forecast_where_symbol_numbers_come_round(passes):
    # 5 passes of 150 send each of 256 numbers two or three times
    cut = Geometry(30_000, 1, 128, 150, 250)
    for loss in (0.65, 0.75, 0.8):
        predicted = forecasts.failure(cut, passes, 1000, loss)
        rng = np.random.default_rng(passes)
        failed = simulated_failures(cut, passes, 1000, loss, rng)
        spread = math.sqrt(TRIALS * predicted * (1 - predicted))
        assert abs(failed - TRIALS * predicted) < 4 * spread + 1


def test_forecast_of_failure_against_real_transmissions():
    wanted = Settings(code="zfec", redundancy=0.13)
    sent = transmit(thing := content(60_000), settings=wanted)
    predicted = forecasts.forecast(60_000, wanted, Link()).failure[0.1]
    trials, failed = 120, 0
    for seed in range(trials):
        heard = Listener().hear(dropping(0.1, seed)(sent))
        failed += heard.delivered.get(Key(7, 1)) != thing
    assert 0.05 < predicted < 0.95
    assert abs(failed - trials * predicted) < 4 * math.sqrt(trials * predicted * (1 - predicted))


def test_failure_grows_with_loss_and_shrinks_with_passes():
    cut = plan.geometry(60_000, Settings(redundancy=0.2), SLOW)
    by_loss = [forecasts.failure(cut, 1, 3, p) for p in (0.01, 0.1, 0.2, 0.4)]
    assert by_loss == sorted(by_loss) and by_loss[-1] > 0.9
    by_passes = [forecasts.failure(cut, n, 3 * n, 0.25) for n in (1, 2, 3)]
    assert by_passes == sorted(by_passes, reverse=True)
    assert forecasts.failure(plan.geometry(0, Settings(), SLOW), 1, 3, 0.1) == pytest.approx(1e-3)


# Outages ------------------------------------------------------------------------------------

OUTAGES = [
    (60_000, Settings(), Link()),
    (400_000, Settings(redundancy=0.2), Link()),
    (60_000, Settings(code="repeat", redundancy=1.0), Link()),
    (60_000, Settings(code="repeat", redundancy=1.0), SLOW),
    (150_000, Settings(burst=1.0), SLOW),
    (150_000, Settings(burst=2.0, redundancy=0.4), RS),
    (3_000, Settings(burst=1.0), SLOW),
]


def without_data(sent, first, count):
    """All frames but `count` consecutive data frames from data frame number `first` on."""
    data = [i for i, f in enumerate(sent) if f[0] & 0x0F in (Kind.DATA, Kind.COMPACT)]
    gone = set(data[first : first + count])
    assert len(gone) == count
    return [f for i, f in enumerate(sent) if i not in gone]


@pytest.mark.parametrize(("size", "wanted", "link"), OUTAGES)
def test_longest_outage(size, wanted, link):
    thing = content(size)
    forecast = forecasts.forecast(size, wanted, link)
    frames = round(forecast.outage)
    if link.rate:
        # An outage of that length hits one frame more than it is frames long.
        one = link.line_bytes(plan.frame_bytes(link, forecast.geometry)) / link.rate
        frames = round(forecast.outage / one) + 1
        if forecast.group <= forecast.geometry.data_frames:  # else it is over before the burst is
            assert forecast.outage >= wanted.burst
    assert frames >= 1
    sent = transmit(thing, settings=wanted, link=link)
    total = forecast.geometry.data_frames
    for first in np.linspace(0, total - frames, 7).astype(int):
        heard = Listener().hear(without_data(sent, first, frames))
        assert heard.delivered == {Key(7, 1): thing}, f"frames {first} to {first + frames}"
    twice = min(total, 2 * frames)
    arrives = [
        bool(Listener().hear(without_data(sent, first, twice)).delivered)
        for first in np.linspace(0, total - twice, 7).astype(int)
    ]
    assert not all(arrives)


def test_nothing_to_spare():
    assert forecasts.forecast(50_000, Settings(redundancy=0.0), SLOW).outage == 0
    assert forecasts.forecast(50_000, Settings(code="repeat", redundancy=0.5), Link()).outage == 0
    assert forecasts.forecast(0, Settings(), Link()).outage == 0


def test_groups_are_as_long_as_the_burst_asks():
    cut = plan.geometry(10_000_000, Settings(), SLOW)
    assert plan.group_frames(Settings(), SLOW, cut) == cut.n
    unknown = plan.group_frames(Settings(burst=1.0), Link(), cut)  # no rate: so many frames
    assert math.ceil(plan.STALL * cut.n / unknown) <= (cut.n - cut.k) * plan.BURST_SHARE
    group = plan.group_frames(Settings(burst=10.0), SLOW, cut)
    assert group % cut.n == 0
    outage = plan.burst_frames(10.0, SLOW, cut)
    share = math.ceil(outage * cut.n / group)
    assert share <= max(1, (cut.n - cut.k) * plan.BURST_SHARE)


# Overhead -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wanted", "rate"),
    [
        (2_000, Settings(), 11_520),
        (60_000, Settings(), 11_520),
        (60_000, Settings(passes=3), 11_520),
        (400_000, Settings(burst=0.5), 11_520),
        (60_000, Settings(code="repeat", redundancy=1.0), 11_520),
        (1_000_000, Settings(), 500_000),
        (3_000_000, Settings(passes=2), None),
    ],
)
def test_overhead_parts_add_up_to_what_is_sent(size, wanted, rate):
    encoder = line.encoder("cobs")
    link = Link(rate, encoder.max_frame, encoder.line_bytes)
    transmitter = Transmitter(7, wanted, link)
    transmitter.add(1, BytesSource(content(size)))
    announced = 0
    sent = everything(transmitter)
    for f in sent:
        if f[0] & 0x0F == Kind.MANIFEST:
            announced = len(f) - frame.HEADER - frame.CHECK
    emitted = len(encoder.encode(frame.Frames.of_pieces(sent)).data)
    forecast = forecasts.forecast(size, wanted, link, manifest=announced)
    assert forecast.total == pytest.approx(sum(forecast.line_bytes.values()))
    assert forecast.total == pytest.approx(emitted, rel=0.03)
    assert forecast.line_bytes["data"] == size
    data = [f for f in sent if f[0] & 0x0F in (Kind.DATA, Kind.COMPACT)]
    assert forecast.frames == len(data)
    if rate:
        assert forecast.seconds == pytest.approx(forecast.total / rate)
        assert forecast.goodput == pytest.approx(size / forecast.seconds)
    else:
        assert forecast.seconds is forecast.goodput is None


def test_a_carousel_is_forecast_as_one_pass():
    once, carousel = (forecasts.forecast(60_000, Settings(passes=p), SLOW) for p in (1, 0))
    assert once.total == carousel.total and once.seconds == carousel.seconds
    assert carousel.passes == 0
    assert forecasts.forecast(0, Settings(), SLOW).frames == 0


@examples(60)
@given(st.integers(0, 1 << 24), settings, st.sampled_from(LINKS))
def test_every_forecast_is_sound(size, wanted, link):
    forecast = forecasts.forecast(size, wanted, link)
    assert all(v >= 0 for v in forecast.line_bytes.values())
    assert all(0 <= p <= 1 for p in forecast.failure.values())
    assert forecast.outage >= 0
    assert forecast.group >= forecast.geometry.n
