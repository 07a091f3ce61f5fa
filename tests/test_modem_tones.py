import numpy as np
import pytest
from sound_channels import decibels, power

from diode.modem import soft, tones
from diode.modem.profile import PROFILES, xorshift
from diode.modem.soft import Level, evidence, likelihoods, ln_i0
from diode.modem.tones import RMS, energies, raised, synthesise

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
higher_or_not = pytest.mark.parametrize("higher", [False, True], ids=["plain", "raised"])


def drawn(profile, symbols, seed=1):
    return np.random.default_rng(seed).integers(0, 16, (symbols, profile.groups), np.uint8)


def spoken(profile, symbols=32, seed=1, higher=None):
    """Words, which symbols are raised, and their samples."""
    values = drawn(profile, symbols, seed)
    higher = raised(symbols) if higher is None else np.full(symbols, higher)
    return values, higher, synthesise(profile, values, higher)


def heard(profile, samples, higher, *, ppm=0.0, shift=0):
    starts = np.arange(len(higher)) * profile.symbol + profile.guard + shift
    starts = np.clip(starts, 0, len(samples) - profile.window)
    return energies(profile, samples, starts, ppm, higher)


def sounding(profile, values):
    return profile.words[values].reshape(len(values), -1)


def with_noise(samples, density, seed=1):
    """Samples and white noise that gives every tone of a window the mean energy 1, times that."""
    noise = np.random.default_rng(seed).standard_normal(len(samples)) * np.sqrt(density)
    return (samples + noise).astype(np.float32)


# Samples ------------------------------------------------------------------------------------------


@every
@higher_or_not
def test_energy_is_in_the_tones_that_sound_and_nowhere_else(profile, higher):
    values, high, samples = spoken(profile, higher=higher)
    assert samples.dtype == np.float32
    assert len(samples) == 32 * profile.symbol
    on = sounding(profile, values)
    energy = heard(profile, samples, high)
    # amplitude a of one tone gives (a·window/2)²; all tones together have the power RMS²
    expected = RMS**2 * 2 / (profile.groups * profile.sounding) * profile.window**2 / 4
    assert np.median(energy[on]) == pytest.approx(expected, rel=0.02)
    assert energy[on].min() > 0.7 * expected  # some peaks are clipped
    assert energy[~on].max() < 0.02 * expected


@every
def test_orthogonal_where_nothing_is_clipped(profile):
    """One tone adds nothing to the others', anywhere in the guard."""
    values, high, samples = spoken(profile)
    whole = np.abs(samples.reshape(32, -1)).max(axis=1) < 1
    assert whole.sum() > 16
    on = sounding(profile, values)[whole]
    for shift in {0, -profile.guard // 2, -profile.guard}:
        energy = heard(profile, samples, high, shift=shift)[whole]
        assert energy[~on].max() < 1e-6 * energy[on].min()


@every
def test_a_raised_symbol_heard_as_plain_gathers_little(profile):
    values, high, samples = spoken(profile)
    on = sounding(profile, values)
    energy = heard(profile, samples, ~high)
    assert np.median(energy[on]) < 0.6 * np.median(heard(profile, samples, high)[on])


@every
@pytest.mark.parametrize("ppm", [-3000, 3000])
def test_a_fast_clock_is_followed(profile, ppm):
    on = sounding(profile, drawn(profile, 1))[0]
    turns = np.outer(np.arange(profile.window), profile.first + np.flatnonzero(on))
    phase = np.random.default_rng(1).random(on.sum())
    fast = np.cos(2 * np.pi * (turns / profile.window * (1 + ppm * 1e-6) + phase)).sum(axis=1)
    start, higher = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    energy = energies(profile, fast.astype(np.float32), start, ppm, higher)[0]
    assert np.allclose(energy[on], profile.window**2 / 4, rtol=0.15)
    assert energy[~on].max() < 0.05 * profile.window**2 / 4
    wrong = energies(profile, fast.astype(np.float32), start, -ppm, higher)[0]
    assert wrong[~on].max() > 2 * energy[~on].max()


def test_clock_offsets_are_rounded_to_steps():
    assert tones.nearest(12.4) == 0
    assert tones.nearest(-38) == -50


@every
def test_level_and_peaks(profile):
    samples = spoken(profile, 128)[2]
    assert np.sqrt(power(samples)) == pytest.approx(RMS, rel=0.02)
    assert np.abs(samples).max() <= 1
    assert np.mean(np.abs(samples) == 1) < 1e-3
    # what comes out of a set of phases that is not chosen has a crest factor of 12 dB
    assert decibels(np.median(np.abs(samples.reshape(128, -1)).max(axis=1)) ** 2 / RMS**2) < 10


@every
def test_energy_outside_the_band_is_small(profile):
    samples = spoken(profile, 128)[2]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / profile.rate)
    outside = (frequency < profile.low - 3 * profile.spacing) | (
        frequency > profile.high + 4 * profile.spacing
    )
    share = spectrum[outside].sum() / spectrum.sum()
    assert decibels(share) < -15


@every
def test_no_words_no_samples(profile):
    nothing = np.empty((0, profile.groups), np.uint8)
    assert len(synthesise(profile, nothing, np.empty(0, np.bool_))) == 0
    starts = np.empty(0, np.int64)
    samples = np.zeros(profile.window, np.float32)
    assert energies(profile, samples, starts, 0.0, np.empty(0, np.bool_)).shape == (
        0,
        profile.all_tones,
    )


def test_raised_symbols():
    random = xorshift(0x1F123BB5)
    assert raised(128).tolist() == [next(random) >= 1 << 31 for _ in range(128)]
    assert np.array_equal(raised(128)[:32], raised(32))
    for size in (32, 64, 96, 128):
        assert abs(raised(size).mean() - 0.5) < 0.2


def test_shifted_by_one_to_four_symbols_raised_ones_are_others():
    sequence = raised(128)
    for shift in (1, 2, 3, 4):
        assert np.mean(sequence[shift:] != sequence[:-shift]) > 0.35


# Soft decisions -----------------------------------------------------------------------------------


def density_for(profile, es_n0_db):
    """Variance of white noise under which a sounding tone has that Es/N0."""
    tone = RMS**2 * 2 / (profile.groups * profile.sounding) * profile.window**2 / 4
    return tone / 10 ** (es_n0_db / 10) / profile.window


def levels(profile, es_n0_db, symbols=128, seed=1):
    values, high, samples = spoken(profile, symbols, seed)
    noisy = with_noise(samples, density_for(profile, es_n0_db), seed)
    energy = heard(profile, noisy, high)
    return values, energy, Level.of(profile, energy)


@every
@pytest.mark.parametrize("es_n0_db", [6, 10, 14])
def test_signal_and_noise_are_estimated(profile, es_n0_db):
    _, _, level = levels(profile, es_n0_db)
    noise = density_for(profile, es_n0_db) * profile.window
    assert decibels(level.noise.mean() / noise) == pytest.approx(0, abs=1)
    assert decibels(level.signal.mean() / noise) == pytest.approx(es_n0_db, abs=1)
    assert decibels(level.snr) == pytest.approx(es_n0_db, abs=1.5)


@every
def test_estimates_follow_the_level(profile):
    _, energy, level = levels(profile, 10)
    quiet = Level.of(profile, energy * np.float32(1e-8))
    assert quiet.snr == pytest.approx(level.snr, rel=1e-3)
    ours, theirs = level.logarithms(energy), quiet.logarithms(energy * np.float32(1e-8))
    assert np.allclose(ours, theirs, atol=0.02)


@every
def test_a_hum_line_is_noise_on_its_tone_alone(profile):
    _, energy, _ = levels(profile, 10)
    tone = 5 * profile.tones
    loud = energy.copy()
    loud[:, tone] += 50 * np.median(energy)
    level, usual = Level.of(profile, loud), Level.of(profile, energy)
    far = np.abs(np.arange(profile.all_tones) - tone) > 12
    assert level.noise[tone] > 10 * usual.noise[tone]
    assert np.allclose(level.noise[far], usual.noise[far], rtol=0.2)


@every
def test_a_burst_is_noticed_where_it_is(profile):
    _, high, samples = spoken(profile, 128)
    noisy = with_noise(samples, density_for(profile, 12))
    began, length = 40 * profile.symbol, 4 * profile.symbol
    burst = with_noise(np.zeros(length), 20 * density_for(profile, 12), 2)
    noisy[began : began + length] += burst
    energy = heard(profile, noisy, high)
    factor = Level.of(profile, energy).bursts(energy)
    inside = np.zeros(128, np.bool_)
    inside[40:44] = True
    assert factor[inside].min() > 3
    assert np.mean(factor[~inside] > 1) < 0.1
    # so its words say little
    sure = likelihoods(Level.of(profile, energy).logarithms(energy)).max(axis=-1)
    assert np.median(sure[inside]) < np.median(sure[~inside])


@every
def test_words_are_heard(profile):
    values, energy, level = levels(profile, 13)
    logarithms = level.logarithms(energy)
    assert logarithms.shape == (128, profile.groups, 16)
    assert np.mean(logarithms.argmax(axis=-1) != values) < 0.02


@every
def test_likelihoods_add_up_and_none_is_impossible(profile):
    _, energy, level = levels(profile, 8)
    probability = likelihoods(level.logarithms(energy))
    assert np.allclose(probability.sum(axis=-1), 1, atol=1e-4)
    assert probability.min() >= soft.GROSS / 16 * 0.999


@pytest.mark.parametrize("es_n0_db", [4, 7])
def test_likelihoods_are_neither_too_bold_nor_too_shy(es_n0_db):
    """Of words said to be likely by p, a share of p is right."""
    values, energy, level = levels(PROFILES["robust"], es_n0_db)
    probability = likelihoods(level.logarithms(energy))
    right = probability.argmax(axis=-1) == values
    assert right.mean() == pytest.approx(probability.max(axis=-1).mean(), abs=0.05)


def evidence_at(profile, level, density, seed):
    high = raised(64)
    samples = level * synthesise(profile, drawn(profile, 64, seed), high)
    energy = heard(profile, with_noise(samples, density, seed), high)
    return evidence(Level.of(profile, energy).logarithms(energy)).mean()


def test_noise_is_no_evidence():
    """With 1 of 16: what the least evidence of a frame is, in mfsk.py, is above."""
    profile = PROFILES["robust"]
    noise = [evidence_at(profile, 0, 1, seed) for seed in range(20)]
    assert max(noise) < 0.2 * profile.groups
    assert np.mean(noise) < 0.1 * profile.groups


@every
def test_evidence_of_a_signal_is_more_than_that_of_noise(profile):
    signal = [evidence_at(profile, 1, density_for(profile, 8), seed) for seed in range(10)]
    noise = [evidence_at(profile, 0, 1, seed) for seed in range(10)]
    assert min(signal) > max(noise) + 0.3 * profile.groups


@every
def test_silence_is_no_evidence(profile):
    energy = np.zeros((32, profile.all_tones), np.float32)
    assert abs(evidence(Level.of(profile, energy).logarithms(energy)).mean()) < 0.01


@every
@pytest.mark.parametrize("value", [0, 1e-38, 1e-20, 1, 1e20, 1e30])
def test_energies_that_are_all_alike(profile, value):
    energy = np.full((32, profile.all_tones), value, np.float32)
    level = Level.of(profile, energy)
    assert np.isfinite(level.noise).all()
    assert (level.noise > 0).all()
    logarithms = level.logarithms(energy)
    assert np.isfinite(likelihoods(logarithms)).all()
    assert np.ptp(logarithms, axis=-1).max() < 1e-3


@every
def test_a_single_loud_window(profile):
    energy = np.zeros((32, profile.all_tones), np.float32)
    energy[7] = 1e12
    level = Level.of(profile, energy)
    assert np.isfinite(likelihoods(level.logarithms(energy))).all()


def test_ln_i0_against_numpy():
    x = np.concatenate([np.linspace(0, 20, 2001), np.linspace(20, 699, 2001)])
    assert np.abs(ln_i0(x.astype(np.float32)) - np.log(np.i0(x))).max() < 1e-3
    # beyond: x - ln sqrt(2 pi x), whose second part hardly changes
    big = np.array([800.0, 5000.0])
    assert np.allclose(ln_i0(big.astype(np.float32)), big - np.log(2 * np.pi * big) / 2, atol=1.5)
