"""Whole files through bad channels of sound: what the modems are for.

The short run takes one small file through every channel once; the slow one is the promise: 2,000
bytes, 10 of 10 seeds, at most two passes.
"""

from __future__ import annotations

import numpy as np
import pytest
import sound_channels
from pair import content
from sound_channels import CHANNELS, ON_CABLE, Missing, noise_at
from sound_pair import Ear, hear, sound_of

from diode.modem import modem
from diode.plan import Settings

RATE = 48_000


def through(channel, sound, seed):
    try:
        return CHANNELS[channel](sound, RATE, seed)
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def small():
    """A file of 300 bytes as each modem sends it."""
    return {
        name: sound_of(content(300), modem=modem(name), rate=RATE) for name in ("robust", "cable")
    }


@pytest.mark.parametrize("channel", CHANNELS)
def test_robust_delivers_through(channel, small):
    heard = through(channel, small["robust"], 1)
    assert hear(heard, modem("robust"), RATE) == [content(300)]


@pytest.mark.parametrize("channel", ON_CABLE)
def test_cable_delivers_through(channel, small):
    heard = through(channel, small["cable"], 1)
    assert hear(heard, modem("cable"), RATE) == [content(300)]


@pytest.mark.slow
@pytest.mark.parametrize("channel", CHANNELS)
def test_robust_delivers_2000_bytes_every_time_through(channel):
    sound = sound_of(
        content(2000), modem=modem("robust"), settings=Settings(redundancy=0.25, passes=2)
    )
    failed = [
        seed
        for seed in range(10)
        if hear(through(channel, sound, seed), modem("robust"), RATE) != [content(2000)]
    ]
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize("channel", ON_CABLE)
def test_cable_delivers_2000_bytes_every_time_through(channel):
    sound = sound_of(
        content(2000), modem=modem("cable"), settings=Settings(redundancy=0.25, passes=2)
    )
    failed = [
        seed
        for seed in range(10)
        if hear(through(channel, sound, seed), modem("cable"), RATE) != [content(2000)]
    ]
    assert not failed


def received_at(ebn0, size, seeds, *, redundancy=0.2):
    """How many of the seeds deliver at that Eb/N0 over payload bits, and the net bit/s."""
    rate = 8_000
    sound = sound_of(
        content(size), modem=modem("robust"), rate=rate, settings=Settings(redundancy=redundancy)
    )
    good = 0
    for seed in seeds:
        noisy = sound_channels.awgn(sound, rate, seed, ebn0_db=ebn0, bits=size * 8)
        good += hear(noisy, modem("robust"), rate) == [content(size)]
    return good, size * 8 * rate / len(sound)


def test_robust_delivers_in_noise():
    good, speed = received_at(6.0, 2000, range(5))
    assert good == 5
    assert speed >= 200


@pytest.mark.slow
def test_robust_delivers_at_6_db_90_of_100():
    good, speed = received_at(6.0, 2000, range(100))
    assert good >= 90
    assert speed >= 200


def on_a_cable(size, seeds):
    """Seeds with which a file gets through 25 dB SNR and 500 ppm; the net bit/s."""
    sound = sound_of(
        content(size), modem=modem("cable"), settings=Settings(redundancy=0.05, passes=1)
    )
    good = 0
    for seed in seeds:
        skewed = CHANNELS["fast_500" if seed % 2 else "slow_500"](sound, RATE, seed)
        noisy = noise_at(skewed, RATE, seed, snr_db=25.0)
        good += hear(noisy, modem("cable"), RATE) == [content(size)]
    return good, size * 8 * RATE / len(sound)


def test_cable_is_fast():
    good, speed = on_a_cable(100_000, [1])
    assert good == 1
    assert speed >= 9_600


@pytest.mark.slow
def test_cable_carries_200_kb_10_of_10():
    good, speed = on_a_cable(200_000, range(10))
    assert good == 10
    assert speed >= 9_600


def an_hour(seconds):
    """A receiver that follows any modem, through noise, speech and music."""
    ear = Ear(modem("auto"), RATE)
    for block in sound_channels.programme(seconds, RATE, 1):
        ear.feed(block)
        yield ear
    assert ear.flush() == []


def held(ear):
    """Samples and bytes that the demodulators hold on to."""
    found, seen = [ear.demodulator], set()
    total = 0
    while found:
        one = found.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            total += one.nbytes
        elif isinstance(one, bytes | bytearray):
            total += len(one)
        elif isinstance(one, list | tuple | set):
            found += one
        elif isinstance(one, dict):
            found += one.values()
        elif type(one).__module__.startswith("diode"):
            slots = getattr(type(one), "__slots__", ())
            found += list(getattr(one, "__dict__", {}).values())
            found += [getattr(one, name) for name in slots if hasattr(one, name)]
    return total


def test_nothing_is_delivered_of_noise_speech_and_music():
    assert max(held(ear) for ear in an_hour(60)) < 40e6


@pytest.mark.slow
def test_an_hour_of_noise_speech_and_music():
    sizes = [held(ear) for ear in an_hour(3600)]
    assert max(sizes[600:]) <= 1.5 * max(sizes[:600])
