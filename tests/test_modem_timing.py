import numpy as np
import pytest

from diode.modem import timing
from diode.modem.profile import PROFILES
from diode.modem.tones import energies, raised, synthesise

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
narrow = pytest.mark.parametrize("name", ["robust", "telephone"])


def frame(profile, symbols, seed=1, ppm=0.0):
    """Words and their sound, made by a clock that is fast."""
    values = np.random.default_rng(seed).integers(0, 16, (symbols, profile.groups), np.uint8)
    if not ppm:
        return values, synthesise(profile, values, raised(symbols))
    soxr = pytest.importorskip("soxr")
    sound = synthesise(profile, values, raised(symbols))
    return values, soxr.resample(sound, 1e6 * (1 + ppm * 1e-6), 1e6, "VHQ").astype(np.float32)


def between(profile, sound, *, db=None, seed=1):
    """In silence as far as sound may be moved, with noise so many dB below it; and its start."""
    room = int(timing.REACH * profile.rate) + 4 * profile.symbol
    out = np.concatenate([np.zeros(room), sound, np.zeros(2 * room)])
    if db is not None:
        noise = np.random.default_rng(seed).standard_normal(len(out))
        out += noise * np.sqrt(np.mean(sound**2) / 10 ** (db / 10))
    return out.astype(np.float32), room


def heard(profile, energy):
    """The words that are loudest."""
    grouped = energy.reshape(len(energy), profile.groups, profile.tones)
    return (grouped @ profile.words.T.astype(np.float32)).argmax(axis=2)


# Places -------------------------------------------------------------------------------------------


@every
def test_places_of_a_right_clock(profile):
    places = timing.places(profile, 100, 32, 0.0)
    assert places[0] == 100 + profile.guard // 2
    assert (np.diff(places) == profile.symbol).all()


@every
def test_places_of_a_fast_clock_do_not_run_away(profile):
    places = timing.places(profile, 0, 128, 1000.0)
    assert places[-1] == round(127 * profile.symbol / 1.001 + profile.guard / 2)


# The clock ----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("symbols", [32, 128])
@pytest.mark.parametrize("ppm", [-3500, -900, 0, 250, 3500])
def test_search_finds_the_clock(profile, symbols, ppm):
    _, sound = frame(profile, symbols, ppm=ppm)
    sound, start = between(profile, sound, db=6)
    found = timing.search(profile, sound, start, symbols, 0.0)
    assert abs(found - ppm) < 1e6 / 8 / symbols


@narrow
@pytest.mark.parametrize("near", [-3000.0, 3000.0])
def test_search_begins_anywhere(name, near):
    profile = PROFILES[name]
    _, sound = frame(profile, 64, ppm=-2000)
    sound, start = between(profile, sound)
    assert abs(timing.search(profile, sound, start, 64, near) + 2000) < 1e6 / 8 / 64


@every
def test_refine_stays_near_and_goes_the_right_way(profile):
    _, sound = frame(profile, 128, ppm=150)
    sound, start = between(profile, sound, db=10)
    width = timing.step(128)
    for near in (0.0, 150.0, 300.0):
        found = timing.refine(profile, sound, start, 128, near)
        assert abs(found - near) <= width
        assert abs(found - 150) <= abs(near - 150) + width / 4


@every
def test_silence_has_no_clock_and_raises_nothing(profile):
    sound = np.zeros(profile.frame(1) + 2 * profile.rate, np.float32)
    assert timing.search(profile, sound, profile.rate, 32, 40.0) == pytest.approx(
        40, abs=timing.WIDEST * 2.1
    )
    starts, energy = timing.track(profile, sound, profile.rate, 32, 0.0)
    assert len(starts) == 32
    assert not energy.any()


def test_a_search_is_bounded():
    for symbols in (32, 64, 96, 128):
        assert 2 * timing.WIDEST / timing.step(symbols) < 20


# Moved sound --------------------------------------------------------------------------------------


def moved(sound, place, jump):
    """Samples lost where jump is below zero; repeated where it is above."""
    return np.concatenate([sound[:place], sound[place - jump :]])


def wrong(profile, values, sound, start, ppm=0.0):
    """Symbols with a wrong word on the path that is found."""
    _, energy = timing.track(profile, sound, start, len(values), ppm)
    return np.flatnonzero((heard(profile, energy) != values).mean(axis=1) > 0.5)


@every
def test_track_of_sound_that_was_not_moved(profile):
    values, sound = frame(profile, 64)
    sound, start = between(profile, sound, db=10)
    starts, energy = timing.track(profile, sound, start, 64, 0.0)
    assert np.abs(starts - timing.places(profile, start, 64, 0.0)).max() <= profile.symbol // 8
    assert np.array_equal(energy, energies(profile, sound, starts, 0.0, raised(64)))
    assert not len(wrong(profile, values, sound, start))


JUMPS = [-1400, -700, -200, -50, 50, 200, 700, 1400]


@narrow
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("db", [30, 0])
def test_track_finds_a_jump(name, jump, db):
    """Only symbols that were hit or lost are wrong, and those beside them."""
    profile = PROFILES[name]
    values, sound = frame(profile, 64)
    place = 30 * profile.symbol + 40
    if name == "telephone":
        db += 6
    broken, start = between(profile, moved(sound, place, jump), db=db)
    places = wrong(profile, values, broken, start)
    assert len(places) <= abs(jump) / profile.symbol + 4


@narrow
def test_track_finds_several_jumps(name):
    profile = PROFILES[name]
    values, sound = frame(profile, 128)
    for place, jump in ((100, -300), (60, 500), (30, -200)):
        sound = moved(sound, place * profile.symbol, jump)
    sound, start = between(profile, sound, db=10)
    assert len(wrong(profile, values, sound, start)) <= 1000 // profile.symbol + 9


def test_track_finds_a_jump_on_a_cable():
    profile = PROFILES["cable"]
    values, sound = frame(profile, 128)
    sound = moved(sound, 50 * profile.symbol, -1024)
    sound, start = between(profile, sound, db=20)
    assert len(wrong(profile, values, sound, start)) <= 6


@narrow
def test_track_with_a_fast_clock_and_a_jump(name):
    profile = PROFILES[name]
    values, sound = frame(profile, 96, ppm=2000)
    sound, start = between(profile, moved(sound, 40 * profile.symbol, -400), db=10)
    assert len(wrong(profile, values, sound, start, 2000.0)) <= 6


@every
def test_track_at_the_very_ends_of_the_sound(profile):
    """Windows that would lie outside are moved inside."""
    _, sound = frame(profile, 32)
    starts, energy = timing.track(profile, sound, 0, 32, 0.0)
    assert starts.min() >= 0
    assert starts.max() <= len(sound) - profile.window
    assert np.isfinite(energy).all()
