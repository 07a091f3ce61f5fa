import numpy as np
import pytest
from sound_channels import power

from diode.modem.chirp import THRESHOLD, Finder, chirp
from diode.modem.profile import PROFILES

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def sweep(profile):
    return chirp(profile).real


def feed(profile, sound, sizes=(1 << 30,)):
    """What a finder gives of a sound in pieces of these sizes, over and over."""
    finder, filtered, found, at, turn = Finder(profile), [], [], 0, 0
    sound = np.asarray(sound, np.float32)
    while at < len(sound):
        size = sizes[turn % len(sizes)]
        band, more = finder.feed(sound[at : at + size])
        filtered.append(band)
        found += more
        at, turn = at + size, turn + 1
    return np.concatenate(filtered), found


def padded(profile, *parts):
    """With enough silence behind for all of it to come out."""
    return np.concatenate([*parts, np.zeros(1 << 17 if profile.rate > 8000 else 1 << 14)])


def band_noise(profile, count, in_band_db, random):
    """White noise, that many dB over a chirp of peak 1 within the band."""
    share = (profile.high - profile.low) / (profile.rate / 2)
    variance = 0.5 * 10 ** (in_band_db / 10) / share
    return random.standard_normal(count) * np.sqrt(variance)


@every
def test_the_chirp_stays_in_its_band_and_swells(profile):
    wave = sweep(profile)
    assert len(wave) == profile.chirp
    assert np.abs(wave).max() <= 1
    assert power(wave) == pytest.approx(0.5, rel=0.08)
    assert max(abs(wave[0]), abs(wave[-1])) < 0.05
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    frequency = np.fft.rfftfreq(len(wave), 1 / profile.rate)
    inside = (frequency > profile.low - 60) & (frequency < profile.high + 60)
    assert spectrum[inside].sum() > 0.99 * spectrum.sum()
    early = np.argmax(np.abs(np.fft.rfft(wave[: len(wave) // 4])))
    late = np.argmax(np.abs(np.fft.rfft(wave[-len(wave) // 4 :])))
    assert (early < late) == profile.rising


@every
@pytest.mark.parametrize("place", [0, 1, 777, 40_000])
def test_a_chirp_is_where_it_is(profile, place):
    _, (found,) = feed(profile, padded(profile, np.zeros(place), sweep(profile)))
    assert found.place == place
    assert found.share > 0.9


@every
@pytest.mark.parametrize("level", [1e-6, 1e-3, 1, 1e4])
def test_no_level_matters(profile, level):
    random = np.random.default_rng(1)
    noise = band_noise(profile, 60_000, -3, random)
    noise[20_000 : 20_000 + profile.chirp] += sweep(profile)
    (usual,) = feed(profile, padded(profile, noise))[1]
    (found,) = feed(profile, padded(profile, noise) * level)[1]
    assert found.place == usual.place
    assert found.share == pytest.approx(usual.share, rel=1e-2)


def detections(profile, in_band_db, trials, seed=1):
    """How many chirps in noise are found within two samples, and how many elsewhere."""
    random = np.random.default_rng(seed)
    apart = 4 * profile.chirp
    noise = band_noise(profile, apart * trials, in_band_db, random)
    places = apart * np.arange(trials) + random.integers(0, apart // 2, trials)
    for place in places:
        noise[place : place + profile.chirp] += sweep(profile)
    heard = np.array([f.place for f in feed(profile, padded(profile, noise))[1]])
    reach = 2 if profile.rate == 8000 else 3
    near = np.abs(heard[:, None] - places[None, :]).min(axis=0) <= reach
    strange = np.abs(heard[:, None] - places[None, :]).min(axis=1) > profile.chirp // 2
    return int(near.sum()), int(strange.sum())


@every
def test_found_where_the_noise_in_the_band_is_5_db_stronger(profile):
    found, strange = detections(profile, 5, 100)
    assert found >= 99
    assert strange == 0


@every
def test_none_in_ten_minutes_of_noise(profile):
    random, finder = np.random.default_rng(2), Finder(profile)
    minutes = 10 if profile.rate == 8000 else 1  # the chirps are as many samples long
    for _ in range(minutes * 6):
        noise = random.standard_normal(10 * profile.rate).astype(np.float32)
        assert not finder.feed(noise)[1]


@every
def test_the_other_direction_is_not_heard(profile):
    backwards = sweep(profile)[::-1]
    sound = padded(profile, np.zeros(5000), backwards, np.zeros(5000), backwards)
    assert not feed(profile, sound)[1]


@pytest.mark.parametrize("ppm", [-3000, 3000])
@every
def test_a_wrong_clock_moves_it_a_little(profile, ppm):
    fast = np.interp(
        np.arange(int(profile.chirp / (1 + ppm * 1e-6))) * (1 + ppm * 1e-6),
        np.arange(profile.chirp),
        sweep(profile),
    )
    _, (found,) = feed(profile, padded(profile, np.zeros(9000), fast))
    assert abs(found.place - 9000) <= 0.01 * profile.chirp
    assert found.share > 0.5


@every
def test_two_chirps_after_each_other(profile):
    both = padded(profile, np.zeros(100), sweep(profile), sweep(profile))
    assert [f.place for f in feed(profile, both)[1]] == [100, 100 + profile.chirp]


@every
def test_loud_sound_leaves_no_ghosts_in_silence(profile):
    """Rounding errors of a Fourier transform look like what it was made of."""
    noise = np.random.default_rng(1).standard_normal(20_000)
    assert not feed(profile, padded(profile, noise))[1]
    sound = padded(profile, np.zeros(40_000), 1000 * sweep(profile))
    assert [f.place for f in feed(profile, sound)[1]] == [40_000]


@every
@pytest.mark.parametrize("sizes", [(1000,), (1, 2, 3000, 17, 0, 5000)])
def test_any_split_gives_the_same(profile, sizes):
    random = np.random.default_rng(3)
    sound = band_noise(profile, 60_000, 3, random)
    for place in (0, 3000, 11_000, 30_001):
        sound[place : place + profile.chirp] += sweep(profile)
    whole, found = feed(profile, padded(profile, sound))
    again, places = feed(profile, padded(profile, sound), sizes)
    assert len(found) == 4
    assert places == found
    assert np.array_equal(again, whole)


@every
def test_sample_by_sample(profile):
    if profile.rate > 8000:
        return  # half a minute for nothing new
    sound = padded(profile, np.zeros(500), sweep(profile))
    whole, found = feed(profile, sound)
    again, places = feed(profile, sound, (1,))
    assert places == found
    assert np.array_equal(again, whole)


@every
def test_the_filter_leaves_the_band_where_it_is_and_takes_away_the_rest(profile):
    time = np.arange(60_000) / profile.rate
    inside = [profile.low, (profile.low + profile.high) / 2, profile.high]
    outside = [0, 50, 100, 150, profile.high + 250]
    for hertz in inside:
        wave = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        band, _ = feed(profile, wave)
        middle = slice(2000, len(band) - 2000)
        # in its place: what is taken away has no part of it
        assert power(band[middle] - wave[: len(band)][middle]) < 0.01 * power(wave)
    for hertz in outside:
        if hertz < profile.low - 120 or profile.high < hertz < profile.rate / 2:
            wave = np.cos(2 * np.pi * hertz * time).astype(np.float32)
            band, _ = feed(profile, wave)
            assert power(band[2000:-2000]) < 1e-4 * power(wave), hertz


STRANGE = {
    "silence": np.zeros(40_000),
    "offset": np.ones(40_000),
    "square": np.sign(np.sin(np.arange(40_000) / 7 + 0.1)),
    "impulse": np.eye(1, 40_000, 20_000)[0],
    "tiny": np.full(40_000, 1e-38),
    "huge": np.tile([1e15, -1e15, 3e14, 0], 10_000),
    "tone": np.sin(np.arange(40_000) * 0.9),
}


@pytest.mark.parametrize("kind", STRANGE)
@every
def test_nothing_is_found_in_what_is_none(profile, kind):
    band, found = feed(profile, STRANGE[kind])
    assert np.isfinite(band).all()
    assert not found


@every
def test_what_waits_is_bounded_and_settled_goes_on(profile):
    finder, random = Finder(profile), np.random.default_rng(4)
    settled = 0
    for _ in range(50):
        finder.feed(random.standard_normal(4096).astype(np.float32))
        assert len(finder._waiting) < finder._size
        assert finder.settled >= settled
        settled = finder.settled
    assert settled > 50 * 4096 - 2 * finder._size


def test_the_threshold_is_far_above_noise():
    """A share of 1/440 on average, exponentially distributed: once in exp(24) places."""
    profile = PROFILES["robust"]
    bandwidth_time = (profile.high - profile.low) * profile.chirp / profile.rate
    assert bandwidth_time == pytest.approx(440, rel=0.02)
    assert THRESHOLD * bandwidth_time > 24
