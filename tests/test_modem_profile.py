import itertools

import numpy as np
import pytest

from diode.modem import profile as profiles
from diode.modem.profile import CLASSES, PROFILES, class_for, nibbles, octets

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def test_the_table_of_the_document():
    rows = {
        p.name: (
            p.all_tones,
            round(p.low),
            round(p.high),
            [p.room(c) for c in range(1, CLASSES + 1)],
            [round(p.frame(c) / p.rate, 2) for c in range(1, CLASSES + 1)],
            round(p.byte_rate * 8),
        )
        for p in PROFILES.values()
    }
    assert rows == {
        "robust": (112, 320, 3280, [56, 112, 168, 224], [1.39, 2.59, 3.79, 4.99], 359),
        "telephone": (54, 400, 3050, [108, 216, 324, 432], [0.85, 1.52, 2.2, 2.87], 1205),
        "cable": (222, 375, 21_094, [518, 1036, 1554, 2072], [0.38, 0.74, 1.09, 1.44], 11_508),
    }


@every
def test_words_are_the_first_combinations_and_all_have_as_many_tones(profile):
    chosen = itertools.combinations(range(profile.tones), profile.sounding)
    assert profile.words.shape == (16, profile.tones)
    for word, tones in zip(profile.words, chosen, strict=False):
        assert tuple(np.flatnonzero(word)) == tones


@every
def test_tones_stay_in_the_band_when_raised_and_fast(profile):
    assert profile.low - profile.spacing > 0
    assert (profile.high + profile.spacing / 2) * 1.0035 < profile.rate / 2


@every
def test_lengths_fit_each_other(profile):
    for size in range(1, CLASSES + 1):
        assert profile.information(size) % 2 == 0
        assert profile.room(size) * 2 == profile.information(size)
        assert profile.information(size) < profile.code_symbols(size)
        assert profile.frame(size) == profile.preamble + 32 * size * profile.symbol


@every
def test_class_for_is_the_smallest_with_room(profile):
    for size in range(1, CLASSES + 1):
        room = profile.room(size)
        assert class_for(profile, room) == size
        assert class_for(profile, room + 1) == min(size + 1, CLASSES)
    assert class_for(profile, 0) == 1


def test_xorshift_is_marsaglias():
    """His example begins with 2463534242 and gives 723471715."""
    assert next(profiles.xorshift(2463534242)) == 723471715


def test_octets_undo_nibbles():
    data = np.arange(256, dtype=np.uint8)
    assert np.array_equal(octets(nibbles(data)), data)
    assert nibbles(np.array([0x1F], np.uint8)).tolist() == [1, 15]
    assert len(octets(nibbles(data[:0]))) == 0
