"""From one sample rate to another: the same samples for any split, in time and in level."""

import sys

import numpy as np
import pytest

from diode.errors import CarrierError
from diode.modem.resample import resampler

pytest.importorskip("soxr")

RATES = [(48000, 19200), (44100, 48000), (8000, 153_600), (48000, 727.2), (48000, 48000)]


def converted(samples, source, target, chunk):
    stream = resampler(source, target)
    parts = [stream.feed(samples[i : i + chunk]) for i in range(0, len(samples), chunk)]
    return np.concatenate([*parts, stream.flush()])


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("chunk", [1, 97, 4096])
def test_any_split_gives_the_same_samples(source, target, chunk):
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    whole = converted(samples, source, target, len(samples))
    parts = converted(samples, source, target, chunk)
    assert whole.dtype == parts.dtype == np.float32
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_tone_keeps_its_time_and_level(source, target):
    tone = 100
    time = np.arange(2 * source) / source
    out = converted(np.sin(2 * np.pi * tone * time).astype(np.float32), source, target, 1000)
    expected = np.sin(2 * np.pi * tone * np.arange(len(out)) / target)
    assert abs(len(out) - 2 * target) <= 2
    edge = len(out) // 10
    assert np.abs(out - expected)[edge:-edge].max() < 1e-3


def test_nothing_gives_nothing():
    assert len(converted(np.empty(0, np.float32), 48000, 19200, 1)) == 0


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert resampler(48000, 48000)
    with pytest.raises(CarrierError) as caught:
        resampler(48000, 44100)
    assert "audio" in caught.value.hint
