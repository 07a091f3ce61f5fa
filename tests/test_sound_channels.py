"""Each sound channel does what it says, measured on its output."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import sound_channels as channels
from sound_channels import CHANNELS, decibels, power

RATE = 8000


def tone(hertz: float, seconds: float = 10.0, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise_like(seconds: float = 10.0, rate: int = RATE, seed: int = 5) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (0.2 * random.standard_normal(round(seconds * rate))).astype(np.float32)


def level_db(samples: np.ndarray) -> float:
    return decibels(power(samples))


def gain_db(channel, hertz: float, rate: int = 48_000) -> float:
    """What a channel makes of a tone, measured at that tone, away from the ends."""
    sent = tone(hertz, 2.0, rate)
    heard = channel(sent, rate, 1)[: len(sent)]
    inside = slice(rate // 4, -rate // 4)
    window = np.exp(-2j * np.pi * hertz * np.arange(len(sent)) / rate)[inside]
    both = [abs(np.dot(np.hanning(len(window)) * s[inside], window)) for s in (heard, sent)]
    return 20 * np.log10(both[0] / both[1])


def with_what_is_installed(channel, *arguments):
    try:
        return channel(*arguments)
    except channels.Missing as missing:
        pytest.skip(f"{missing} is not installed")


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("name", CHANNELS)
def test_same_seed_same_samples_and_nothing_over_full_scale(name, rate):
    sent = tone(1000, 3.0, rate, 0.9)
    before = sent.copy()
    first = with_what_is_installed(CHANNELS[name], sent, rate, 1)
    assert np.array_equal(sent, before)
    assert first.dtype == np.float32
    assert first.ndim == 1
    assert np.abs(first).max() <= 1
    assert abs(len(first) / len(sent) - 1) < 0.2
    assert np.array_equal(first, CHANNELS[name](sent, rate, 1))


@pytest.mark.parametrize(
    "name",
    ["telephone", "room", "barks", "dropouts", "lost_lengths", "repeated_lengths", "wow", "agc"],
)
def test_another_seed_other_samples(name):
    sent = noise_like(30)
    first, second = (with_what_is_installed(CHANNELS[name], sent, RATE, s) for s in (1, 2))
    assert len(first) != len(second) or not np.array_equal(first, second)


# --- noise ---


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("ebn0_db", [0.0, 10.0])
def test_awgn_has_that_energy_a_bit_over_the_noise_density(rate, ebn0_db):
    sent = tone(1000, 5.0, rate)
    bits = 700
    noise = channels.awgn(sent, rate, 3, ebn0_db=ebn0_db, bits=bits) - sent
    energy = np.sum(sent.astype(float) ** 2) / rate / bits
    density = power(noise) / (rate / 2)
    assert abs(decibels(energy / density) - ebn0_db) < 0.1


def test_noise_at_a_ratio_over_everything_and_over_a_band():
    sent = tone(1000, 20.0)
    noise = channels.noise_at(sent, RATE, 3, snr_db=7.0) - sent
    assert abs(level_db(sent) - level_db(noise) - 7.0) < 0.1
    noise = channels.noise_at(sent, RATE, 3, snr_db=7.0, band=(500, 2500)) - sent
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    share = spectrum[(hertz > 500) & (hertz < 2500)].sum() / spectrum.sum()
    assert abs(level_db(sent) - decibels(power(noise) * share) - 7.0) < 0.15


# --- filters and telephone ---


@pytest.mark.parametrize("length", [1, 63, 1000, 5000])
def test_convolution_is_numpys(length):
    samples, response = noise_like(0.2), np.random.default_rng(1).standard_normal(length)
    expected = np.convolve(samples, response)
    assert np.allclose(channels.convolved(samples, response), expected, atol=1e-4)


def test_mu_law_gives_the_codes_of_the_standard():
    # G.711 table 2a: decision values of 14 bits and their characters; 8031 is the largest output
    values = np.array([0, 1, 31, 35, 95, 223, 8031, 8158, -1, -31, -8158])
    codes = [0xFF, 0xFE, 0xEF, 0xEE, 0xDF, 0xCF, 0x80, 0x80, 0x7E, 0x6F, 0x00]
    assert channels.mu_law(values / 8159).tolist() == codes
    assert abs(channels.from_mu_law(np.array([0x80], np.uint8))[0] * 8159 - 8031) < 1e-3


def test_mu_law_codes_come_back_to_themselves():
    codes = np.arange(256, dtype=np.uint8)
    again = channels.mu_law(channels.from_mu_law(codes))
    assert np.flatnonzero(again != codes).tolist() in ([], [0x7F])  # minus zero is zero


def test_mu_law_costs_some_38_db():
    sent = noise_like()
    heard = channels.from_mu_law(channels.mu_law(sent))
    assert 36 < level_db(sent) - level_db(heard - sent) < 40


def test_telephone_passes_its_band_only():
    pytest.importorskip("soxr")
    for hertz in (400, 1000, 2000, 3000):
        assert abs(gain_db(channels.telephone, hertz)) < 0.5, hertz
    assert -1.5 < gain_db(channels.telephone, 300) < 0.5
    assert -2.5 < gain_db(channels.telephone, 3400) < 0
    for hertz, most in ((50, -20), (3950, -14), (5000, -40), (10_000, -40)):
        assert gain_db(channels.telephone, hertz) < most, hertz


def test_telephone_is_in_time_and_its_noise_at_33_to_35_db():
    pytest.importorskip("soxr")
    sent = tone(1000, 5.0, 48_000) + tone(1700, 5.0, 48_000)
    heard = channels.telephone(sent, 48_000, 1)
    assert len(heard) == len(sent)
    inside = slice(4800, -4800)
    # fit both tones: what is left is line noise and companding
    time = np.arange(len(sent))[inside] / 48_000
    basis = [f(2 * np.pi * h * time) for h in (1000, 1700) for f in (np.sin, np.cos)]
    weights, *_ = np.linalg.lstsq(np.array(basis).T, heard[inside], rcond=None)
    rest = heard[inside] - weights @ np.array(basis)
    assert 31 < level_db(heard[inside]) - level_db(rest) < 35.5
    assert abs(np.arctan2(weights[1], weights[0])) < 0.05


# --- room ---


@pytest.mark.parametrize(("rt60", "direct_db"), [(0.5, 0.0), (0.3, 6.0)])
def test_reverberation_decays_by_60_db_in_its_time(rt60, direct_db):
    rate = 48_000
    response = channels.impulse_response(rate, 1, rt60=rt60, direct_db=direct_db)
    assert response[0] == 1
    assert not response[1 : int(0.002 * rate)].any()
    tail = response[1:]
    assert abs(decibels(1 / np.sum(tail**2)) - direct_db) < 1e-6
    # Schroeder's backward integral, fitted from -5 to -25 dB (ISO 3382, T20)
    left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    fall = np.flatnonzero((left < -5) & (left > -25))
    slope = np.polyfit(fall / rate, left[fall], 1)[0]
    assert abs(-60 / slope / rt60 - 1) < 0.05


def test_room_adds_its_noise_and_its_tail():
    sent = noise_like(20)
    heard = channels.room(sent, RATE, 1)
    clean = channels.convolved(sent, channels.impulse_response(RATE, 1))
    assert len(heard) == len(clean) == len(sent) + int(0.502 * RATE)
    assert abs(level_db(clean) - level_db(heard - clean) - 20) < 0.1
    assert abs(level_db(clean[: len(sent)]) - level_db(sent) - 3) < 0.5


# --- events ---


def runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return edges[1::2] - edges[::2]


def test_barks_are_as_many_as_long_and_as_loud_as_stated():
    sent = noise_like(600)
    barks = channels.barks(sent, RATE, 1) - sent
    spans = channels.events(len(sent), RATE, 1, every=2.0, shortest=0.05, longest=0.3)
    silent = np.ones(len(sent), np.bool_)
    for first, last in spans:
        silent[first:last] = False
        assert abs(level_db(barks[first:last]) - level_db(sent) - 10) < 0.2
    assert not barks[silent].any()
    lengths = np.array([last - first for first, last in spans[:-1]]) / RATE
    assert 240 < len(spans) < 360
    assert 0.049 < lengths.min() < 0.06
    assert 0.29 < lengths.max() <= 0.301


def test_dropouts_are_as_many_and_as_long_as_stated():
    heard = channels.dropouts(np.ones(1500 * RATE, np.float32), RATE, 1)
    lengths = runs(heard == 0) / RATE
    assert 250 < len(lengths) < 350
    assert 0.019 < lengths.min() < 0.03
    assert 0.48 < lengths.max() <= 0.501
    assert set(np.unique(heard)) == {0, 1}


def test_lost_buffers_are_cut_out_whole():
    sent = np.arange(400 * RATE, dtype=np.float32)
    heard = channels.lost_buffers(sent, RATE, 1)
    steps = np.diff(heard)
    jumps = np.flatnonzero(steps != 1)
    assert set(steps[jumps]) == {1025}
    assert np.all((heard[jumps] + 1) % 1024 == 0)
    assert 70 < len(jumps) < 130


def test_repeated_buffers_are_heard_twice_in_a_row():
    sent = np.arange(400 * RATE, dtype=np.float32)
    heard = channels.repeated_buffers(sent, RATE, 1)
    steps = np.diff(heard)
    jumps = np.flatnonzero(steps != 1)
    assert set(steps[jumps]) == {-1023}
    assert len(heard) == len(sent) + 1024 * len(jumps)
    assert 70 < len(jumps) < 130


@pytest.mark.parametrize("channel", [channels.lost_buffers, channels.repeated_buffers])
def test_buffers_may_have_random_lengths(channel):
    sent = np.arange(1000 * RATE, dtype=np.float32)
    steps = np.diff(channel(sent, RATE, 1, lengths=(256, 4096)))
    lengths = np.abs(steps[steps != 1] - 1)
    assert lengths.min() >= 256
    assert lengths.max() <= 4096
    assert len(set(lengths)) > 100


# --- time ---


def frequency(samples: np.ndarray, rate: int, near: float) -> float:
    """Of a tone, from the phase of its two halves."""
    count = len(samples) // 2 * 2
    window = np.hanning(count // 2)
    shift = np.exp(-2j * np.pi * near * np.arange(count) / rate) * samples[:count]
    halves = [np.dot(window, h) for h in shift.reshape(2, -1)]
    return near + np.angle(halves[1] / halves[0]) / (2 * np.pi) / (count / 2 / rate)


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("ppm", [3000, -3000, 500, -500])
def test_skew_moves_tones_and_length(rate, ppm):
    pytest.importorskip("soxr")
    heard = channels.skew(tone(1500, 20.0, rate), rate, 1, ppm=ppm)
    assert abs(len(heard) / rate - 20 / (1 + ppm * 1e-6)) < 2 / rate
    # over a tenth of a second, in which even 3000 ppm turn the phase by less than half
    short = heard[rate : rate + rate // 10]
    near = frequency(short, rate, 1500)
    assert abs(near / 1500 - 1 - ppm * 1e-6) < 2e-6


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_skew_leaves_what_it_moves_clean(rate):
    pytest.importorskip("soxr")
    heard = channels.skew(tone(1500, 4.0, rate), rate, 1, ppm=3000)[rate:-rate]
    expected = np.sin(2 * np.pi * 1500 * 1.003 * (np.arange(len(heard)) + rate) / rate) / 2
    assert level_db(heard) - level_db(heard - expected) > 80


def test_the_cubic_is_as_good_as_it_says():
    pytest.importorskip("soxr")
    for rate, hertz in ((48_000, 10_000), (8000, 3000)):
        sent = tone(hertz, 2.0, rate)
        position = channels.warp(len(sent), rate, 1)
        inside = slice(rate // 4, -rate // 4)
        expected = 0.5 * np.sin(2 * np.pi * hertz * position / rate)[inside]
        error = channels.at_times(sent, rate, position)[inside] - expected
        assert level_db(error) - level_db(expected) < -70, rate


def test_wow_and_flutter_have_their_depth_and_speed():
    rate, count = 1000, 100_000
    speed = np.diff(channels.warp(count, rate, 1)) - 1
    spectrum = np.abs(np.fft.rfft(speed * np.hanning(len(speed)))) * 4 / len(speed)
    hertz = np.fft.rfftfreq(len(speed), 1 / rate)
    for peak, at in channels.WOW:
        near = np.abs(hertz - at) < 0.1
        assert abs(spectrum[near].max() / peak - 1) < 0.05
        assert abs(hertz[near][spectrum[near].argmax()] - at) < 0.02
    assert np.abs(speed).max() < 0.0041


def test_tape_has_its_band_and_its_hiss():
    pytest.importorskip("soxr")
    rate = 48_000
    sent = noise_like(4.0, rate)
    spectrum = np.abs(np.fft.rfft(channels.wow(sent, rate, 1))) ** 2
    hertz = np.fft.rfftfreq(len(sent), 1 / rate)

    def level(low, high):
        return decibels(spectrum[(hertz > low) & (hertz < high)].mean())

    middle = level(1000, 5000)
    assert abs(level(100, 1000) - middle) < 0.5
    assert abs(level(6000, 8000) - middle) < 0.5
    assert level(0, 20) - middle < -20
    # over 24 kHz the hiss is 35 dB under a signal that fills some 10 of them
    assert -39.5 < level(18_000, 23_000) - middle < -37.5


# --- levels ---


def test_clipping_limits_at_the_old_peak():
    sent = tone(1000)
    heard = channels.clipping(sent, RATE, 1)
    assert np.abs(heard).max() == np.abs(sent).max()
    small = np.abs(sent) < 0.1
    assert np.allclose(heard[small], sent[small] * 10**0.6, atol=1e-5)


def test_quiet_is_40_db_down_in_steps_of_16_bits():
    sent = tone(997)
    heard = channels.quiet(sent, RATE, 1)
    assert abs(level_db(heard) - level_db(sent) + 40) < 0.1
    assert np.array_equal(heard * 32768, np.round(heard * 32768))
    assert abs(level_db(heard - sent / 100) - decibels(1 / 12 / 32768**2)) < 1


def test_eight_bits_are_256_levels():
    sent = np.clip(noise_like(), -1, 1)
    heard = channels.eight_bit(sent, RATE, 1)
    assert len(np.unique(heard)) <= 256
    assert np.array_equal(heard * 128, np.round(heard * 128))
    assert np.abs(heard - sent).max() <= 1 / 128


@pytest.mark.parametrize("hertz", [50, 60])
def test_hum_has_its_harmonics(hertz):
    sent = tone(1777, 20.0)
    added = channels.hum(sent, RATE, 1, hertz=hertz) - sent
    spectrum = np.abs(np.fft.rfft(added)) ** 2 / len(added) ** 2 * 2
    bins = np.fft.rfftfreq(len(added), 1 / RATE)
    for harmonic in (1, 2, 3, 6):
        near = np.abs(bins - harmonic * hertz) < hertz / 3
        expected = level_db(sent) + 6 - 6 * (harmonic - 1)
        assert abs(decibels(spectrum[near].sum()) - expected) < 0.2, harmonic
        assert abs(bins[near][spectrum[near].argmax()] / harmonic / hertz - 1) < 2e-3


def test_inverted_is_inverted():
    sent = noise_like(1)
    assert np.array_equal(channels.inverted(sent, RATE, 1), -sent)


def test_agc_comes_down_fast_and_up_slowly():
    sent = tone(1000, 20.0, RATE, 0.1)
    sent[8 * RATE : 12 * RATE] *= 10
    heard = channels.agc(sent, RATE, 1, swing_db=0.0, snr_db=80.0)
    gain = np.abs(heard).reshape(-1, 80).max(1) / np.abs(sent).reshape(-1, 80).max(1)  # per 10 ms
    assert abs(gain[700] - 5) < 0.1
    assert abs(gain[1100] - 0.5) < 0.01
    assert gain[803] < 0.5 + 4.5 * np.exp(-2.5)
    at_release = 0.5 + 4.5 * (1 - np.exp(-1))
    assert abs(gain[1200 + 50] - at_release) < 0.15


def test_agc_evens_out_a_swing():
    sent = noise_like(20)
    heard = channels.agc(sent, RATE, 1)
    levels = 10 * np.log10(np.mean(heard.reshape(-1, RATE // 4) ** 2, 1))[8:]
    assert np.ptp(levels) < 15  # of 20 dB


# --- codecs ---


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("name", ["mp3_64k", "opus_24k"])
def test_codecs_give_the_sound_back_in_time_and_altered(name, rate):
    sent = noise_like(5, rate) * 0.1 + tone(1000, 5.0, rate)
    heard = with_what_is_installed(getattr(channels, name), sent, rate, 1)
    assert abs(len(heard) - len(sent)) < 0.15 * rate
    window = slice(rate, 2 * rate)
    shifts = np.arange(-rate // 10, rate // 10)
    padded = np.pad(heard, (0, rate))
    match = [np.dot(sent[window], padded[window.start + s : window.stop + s]) for s in shifts]
    assert max(match) > 0.7 * np.dot(sent[window], sent[window])
    assert level_db(padded[: len(sent)] - sent) > level_db(sent) - 60


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(channels.Missing, match="ffmpeg"):
        channels.mp3_64k(tone(1000, 0.1), RATE, 1)


def test_a_codec_that_is_not_built_in_is_named():
    with_what_is_installed(channels.mp3_64k, tone(1000, 0.1), RATE, 1)
    with pytest.raises(channels.Missing, match="nonesuch"):
        channels.through_ffmpeg(tone(1000, 0.1), RATE, "nonesuch", "wav", 64)


def test_without_soxr_its_absence_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(channels.Missing, match="soxr"):
        channels.skew(tone(1000, 0.1), RATE, 1, ppm=500)


# --- programme ---


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_programme_comes_in_blocks_and_is_as_long_as_asked(rate):
    blocks = list(channels.programme(61.5, rate, 1))
    assert max(map(len, blocks)) <= rate
    assert sum(map(len, blocks)) == round(61.5 * rate)
    assert all(b.dtype == np.float32 and np.abs(b).max() <= 1 for b in blocks)
    segments = np.array([level_db(np.concatenate(blocks[i : i + 20])) for i in (0, 20, 40)])
    assert np.all(segments > -70)
    again = channels.programme(61.5, rate, 1)
    assert all(np.array_equal(a, b) for a, b in zip(blocks, again, strict=True))


def test_programme_goes_on_without_repeating_itself():
    first, second = (np.concatenate(list(channels.programme(20, RATE, s))) for s in (1, 2))
    assert not np.array_equal(first, second)


def test_there_is_a_voice_where_no_synthesiser_is_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    blocks = list(channels.programme(41, RATE, 1))
    speech = np.concatenate(blocks[20:40])
    spectrum = np.abs(np.fft.rfft(speech)) ** 2
    hertz = np.fft.rfftfreq(len(speech), 1 / RATE)
    assert spectrum[hertz < 3500].sum() > 0.8 * spectrum.sum()
    # syllables: a voice rises and falls
    loud = np.abs(speech).reshape(-1, RATE // 50).max(1)
    assert np.mean(loud < 0.1 * loud.max()) > 0.05
