import numpy as np
import pytest

from diode.modem.meter import FLOOR, Meter

RATE = 48_000


def sine(frequency, seconds, level=1.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def fed(*blocks, rate=RATE):
    meter = Meter(rate)
    for block in blocks:
        meter.feed(block)
    return meter


def figures(meter):
    return meter.level_db, meter.peak_db, meter.clipped, meter.dc


def test_before_anything_was_heard():
    meter = Meter(RATE)
    assert figures(meter) == (FLOOR, FLOOR, 0, 0)
    assert (meter.spectrum(5, 0, 24_000) == FLOOR).all()


def test_silence():
    assert figures(fed(np.zeros(RATE, np.float32))) == (FLOOR, FLOOR, 0, 0)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 192_000])
def test_level_of_a_sine(rate):
    meter = fed(sine(1000, 2, 0.5, rate), rate=rate)
    assert meter.level_db == pytest.approx(-9.03, abs=0.05)
    assert meter.peak_db == pytest.approx(-6.02, abs=0.05)
    assert meter.clipped == 0
    assert meter.dc == pytest.approx(0, abs=1e-3)


def test_level_follows_in_about_a_third_of_a_second_and_the_peak_holds():
    meter = fed(sine(1000, 2, 0.5), np.zeros(round(0.3 * RATE), np.float32))
    assert meter.level_db == pytest.approx(-9.03 - 4.5, abs=0.5)  # 1/e
    assert meter.peak_db == pytest.approx(-6.02, abs=0.05)
    meter.feed(np.zeros(RATE, np.float32))
    assert meter.level_db == meter.peak_db == FLOOR


def test_clipping_and_offset():
    square = np.sign(sine(100, 1)) + np.float32(0)
    assert fed(square).clipped > 0.99
    assert fed(square).level_db == pytest.approx(0, abs=0.1)
    assert fed(sine(1000, 1, 0.5) + np.float32(0.25)).dc == pytest.approx(0.25, abs=1e-3)
    assert fed(np.concatenate([square[: RATE // 2], 0 * square[: RATE // 2]])).clipped > 0.49


def test_any_split_gives_the_same():
    sound = sine(700, 3.337, 0.7) + np.float32(0.1)
    random = np.random.default_rng(1)
    cuts = np.sort(random.integers(0, len(sound), 400))
    whole, split = fed(sound), fed(*np.split(sound, cuts))
    by_sample = fed(sound[:-500], *sound[-500:, None])
    for other in (split, by_sample):
        assert figures(other) == pytest.approx(figures(whole), rel=1e-6)
        np.testing.assert_array_equal(other.spectrum(40, 0, 4000), whole.spectrum(40, 0, 4000))


def test_spectrum_shows_a_tone_in_its_column():
    meter = fed(sine(1250, 1))
    levels = meter.spectrum(40, 0, 4000)
    assert levels.shape == (40,) and levels.dtype == np.float32
    assert levels.argmax() == 12
    assert levels.max() == pytest.approx(-3.01, abs=0.1)
    assert np.delete(levels, [11, 12, 13]).max() < -60


def test_spectrum_adds_up():
    sound = np.random.default_rng(2).normal(0, 0.1, RATE).astype(np.float32)
    levels = fed(sound).spectrum(60, 0, 24_000)
    assert 10 * np.log10((10 ** (levels / 10)).sum()) == pytest.approx(-20, abs=0.5)
    assert levels.std() < 2


def test_bands_beyond_the_sound_or_narrower_than_a_bin():
    meter = fed(sine(1000, 1, rate=8000), rate=8000)
    assert meter.spectrum(30, 0, 20_000).shape == (30,)
    assert meter.spectrum(500, 900, 1100).argmax() == pytest.approx(250, abs=12)
    assert meter.spectrum(1, 0, 4000)[0] == pytest.approx(-3.01, abs=0.1)


def test_memory_is_bounded():
    meter = fed(np.zeros(10 * RATE, np.float32), *[np.zeros(777, np.float32)] * 300)
    assert len(meter._recent) == RATE // 4
    assert meter._hops.shape == (100, 4)
    assert len(meter._rest) < RATE // 100
    assert (
        meter._rest.base is None and meter._hops.base is None
    ) or meter._hops.base.nbytes < 10**5
