"""Sound channels: what air, tape, telephones and sound cards do to samples on their way.

Every model takes float32 samples (one channel, full scale -1 … 1), their rate in Hz and a seed, and
gives float32 samples at that rate; the same seed gives the same samples. Levels are relative
to the mean power of all samples given, so a sound under test has to sound all the time. The models
are linear beyond full scale; `CHANNELS` holds those a test goes through by name, each brought
back to full scale as somebody who sets a recording level would.

Energy and noise. White noise of one-sided density N0 has N0·rate/2 of variance a real sample; a
sound of E = sum(samples²)/rate that carries `bits` bits has Eb = E/bits. So the variance is
sum(samples²) / (2·bits·Eb/N0), whatever the rate.

Events (barks, gaps, lost buffers) come as a Poisson process: exponential times between the end
of one and the start of the next, so two never overlap.

numpy alone, but for libsoxr (python-soxr) where a rate changes, and ffmpeg and espeak-ng, which
are run where installed; `Missing` says what is not.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Channel = Callable[[F32, int, int], F32]


class Missing(Exception):
    """A program or library that this channel needs is not installed; a test skips."""


def decibels(power: float) -> float:
    return float(10 * np.log10(power))


def ratio(db: float) -> float:
    """A power ratio."""
    return float(10 ** (db / 10))


def power(samples: NDArray) -> float:
    """Mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def fitted(samples: F32) -> F32:
    """Turned down until nothing exceeds full scale."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples if peak <= 1 else (samples / np.float32(peak)).astype(np.float32)


def _random(seed: int, *what: int) -> np.random.Generator:
    return np.random.default_rng([seed, *what])


def _white(count: int, level: float, seed: int) -> F32:
    """White Gaussian noise of that power."""
    noise = _random(seed, 1).standard_normal(count, np.float32)
    return noise * np.float32(np.sqrt(level))


# --- noise ---


def awgn(samples: F32, rate: int, seed: int, *, ebn0_db: float, bits: float) -> F32:
    """White noise so that all energy over `bits` over N0 is that; the rate cancels out."""
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    return samples + _white(len(samples), energy / (2 * bits * ratio(ebn0_db)), seed)


def noise_at(
    samples: F32, rate: int, seed: int, *, snr_db: float, band: tuple[float, float] | None = None
) -> F32:
    """White noise at that signal-to-noise ratio, over 0 … rate/2 or what of it lies in a band.

    The signal's power is the whole of it; noise is added over 0 … rate/2 in any case.
    """
    low, high = band or (0.0, rate / 2)
    level = power(samples) / ratio(snr_db) * (rate / 2) / (high - low)
    return samples + _white(len(samples), level, seed)


# --- filters ---


def _fir(rate: int, points: list[tuple[float, float]], taps: int) -> F64:
    """A linear-phase filter whose gain in dB is drawn through (Hz, dB) points.

    Frequency sampling, then a Hamming window (Oppenheim & Schafer, Discrete-Time Signal
    Processing, 7.2). taps: odd.
    """
    grid = np.fft.rfftfreq(16 * taps, 1 / rate)
    hertz, db = np.array(points).T
    response = np.fft.irfft(10 ** (np.interp(grid, hertz, db) / 20))
    return np.roll(response, taps // 2)[:taps] * np.hamming(taps)


def convolved(samples: F32, response: NDArray) -> F32:
    """Linear convolution by overlap-add; as long as both together, less one."""
    size = 1 << int(np.ceil(np.log2(4 * len(response) + 1)))
    step = size - len(response) + 1
    spectrum = np.fft.rfft(response, size)
    out = np.zeros(len(samples) + len(response) - 1 + size)
    for first in range(0, len(samples), step):
        part = samples[first : first + step]
        out[first : first + size] += np.fft.irfft(np.fft.rfft(part, size) * spectrum, size)
    return out[: len(samples) + len(response) - 1].astype(np.float32)


def _filtered(samples: F32, response: F64) -> F32:
    """Through a linear-phase filter, its delay taken out."""
    delay = len(response) // 2
    return convolved(samples, response)[delay : delay + len(samples)]


def resampled(samples: F32, source: float, target: float) -> F32:
    """Sample n of the result is the input at time n / target."""
    try:
        import soxr
    except ImportError as error:
        raise Missing("soxr") from error
    return np.asarray(soxr.resample(samples, source, target, quality="VHQ"), np.float32)


# --- telephone ---

G712 = [
    *((0.0, -40.0), (60.0, -26.0), (200.0, -3.0), (300.0, -0.5), (400.0, 0.0)),
    *((3000.0, 0.0), (3400.0, -1.5), (3600.0, -6.0), (3800.0, -16.0), (4000.0, -30.0)),
]
"""Gain of a telephone channel inside the mask of ITU-T G.712, fig. 11: at most 0.5 dB of loss from
300 to 3000 Hz, 1.8 dB at 3400 Hz, at least 14 dB at 4 kHz and 24 dB at mains frequencies."""


def mu_law(samples: NDArray) -> NDArray[np.uint8]:
    """ITU-T G.711 table 2a: sign, three bits of segment, four of step; all bits inverted."""
    linear = np.round(np.clip(samples, -1, 1) * 8159.0).astype(np.int32)  # 14 bits
    magnitude = np.minimum(np.abs(linear), 8158) + 33
    segment = np.frexp(magnitude.astype(np.float64))[1] - 6
    step = magnitude >> (segment + 1) & 0xF
    return (~((linear < 0) << 7 | segment << 4 | step) & 0xFF).astype(np.uint8)


def from_mu_law(codes: NDArray[np.uint8]) -> F32:
    """The decision values' middles of G.711, full scale 1."""
    value = ~codes.astype(np.int32)
    magnitude = ((value & 0xF) * 2 + 33 << (value >> 4 & 7)) - 33
    return (np.where(value & 0x80, -magnitude, magnitude) / 8159).astype(np.float32)


def telephone(samples: F32, rate: int, seed: int, *, snr_db: float = 35.0) -> F32:
    """A telephone call: G.712 band, 8 kHz, G.711 mu-law, white noise at 35 dB over the 4 kHz.

    The sound is brought to a peak of -6 dB in front of the compander, whatever level it has. The
    noise of the line is in what is companded.
    """
    narrow = resampled(samples, rate, 8000)
    narrow = _filtered(narrow, _fir(8000, G712, 257))
    narrow = noise_at(narrow, 8000, seed, snr_db=snr_db)
    gain = 0.5 / max(1e-9, float(np.abs(narrow).max(initial=0.0)))
    heard = from_mu_law(mu_law(narrow * gain)) / np.float32(gain)
    return _of_length(resampled(heard, 8000, rate), len(samples))


def _of_length(samples: F32, length: int) -> F32:
    """Cut or padded with silence at the end: a resampler may round a sample off."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


# --- room ---


def impulse_response(
    rate: int, seed: int, *, rt60: float = 0.5, direct_db: float = 0.0, first: float = 0.002
) -> F64:
    """Direct sound, then from `first` seconds on Gaussian reflections falling by 60 dB in `rt60`.

    Energy of the direct sound over that of the reflections: `direct_db`. The statistical
    model of a diffuse field (Polack; see Habets, Room Impulse Response Generator, 2010).
    """
    length = int((first + rt60) * rate)
    response = np.zeros(length + 1)
    late = np.arange(int(first * rate), length + 1)
    decay = np.exp(-3 * np.log(10) * (late / rate - first) / rt60)
    tail = _random(seed, 2).standard_normal(len(late)) * decay
    response[late] = tail / np.sqrt(np.sum(tail**2) * ratio(direct_db))
    response[0] = 1.0
    return response


def room(
    samples: F32,
    rate: int,
    seed: int,
    *,
    rt60: float = 0.5,
    direct_db: float = 0.0,
    snr_db: float = 20.0,
) -> F32:
    """Loudspeaker to microphone: `impulse_response`, then white noise 20 dB down over 0 … rate/2.

    Longer by the reverberation behind the end.
    """
    response = impulse_response(rate, seed, rt60=rt60, direct_db=direct_db)
    return noise_at(convolved(samples, response), rate, seed, snr_db=snr_db)


# --- events ---


def events(
    count: int, rate: int, seed: int, *, every: float, shortest: float, longest: float
) -> list[tuple[int, int]]:
    """(first, past the last) sample of events, on average one in `every` seconds.

    Lengths are uniform from `shortest` to `longest` seconds.
    """
    random = _random(seed, 3)
    found, at = [], 0.0
    pause = every - (shortest + longest) / 2
    while True:
        start = at + random.exponential(pause)
        at = start + random.uniform(shortest, longest)
        if int(start * rate) >= count:
            return found
        found.append((int(start * rate), min(count, max(int(start * rate) + 1, int(at * rate)))))


def bark(count: int, rate: int, random: np.random.Generator) -> F64:
    """A bark of power 1: harmonics of a falling pitch of 300 to 700 Hz and noise of 6 dB/octave.

    Harmonics fall by 6 dB an octave too; 5 ms of attack, the rest a half sine.
    """
    time = np.arange(count) / rate
    turns = np.cumsum(random.uniform(300, 700) * np.exp(-time * random.uniform(0.5, 3))) / rate
    voice = np.zeros(count)
    for harmonic in range(1, 13):
        if 700 * harmonic < rate / 2:
            voice += np.sin(2 * np.pi * (harmonic * turns + random.random())) / harmonic
    spectrum = np.fft.rfft(random.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    breath = np.fft.irfft(spectrum * hertz / (hertz**2 + 400.0**2), count)
    mixed = voice / np.sqrt(power(voice) + 1e-12) + breath / np.sqrt(power(breath) + 1e-12)
    envelope = np.minimum(1, time / 0.005) * np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 0.5
    shaped = mixed * envelope
    return shaped / np.sqrt(power(shaped) + 1e-12)


def barks(
    samples: F32,
    rate: int,
    seed: int,
    *,
    every: float = 2.0,
    above_db: float = 10.0,
    shortest: float = 0.05,
    longest: float = 0.3,
) -> F32:
    """Barks of 50 to 300 ms, 10 dB over the signal's power while they last, one in 2 s."""
    out = samples.copy()
    random = _random(seed, 4)
    level = np.sqrt(power(samples) * ratio(above_db))
    lengths = {"shortest": shortest, "longest": longest}
    for first, last in events(len(samples), rate, seed, every=every, **lengths):
        out[first:last] += (level * bark(last - first, rate, random)).astype(np.float32)
    return out


def dropouts(
    samples: F32,
    rate: int,
    seed: int,
    *,
    every: float = 5.0,
    shortest: float = 0.02,
    longest: float = 0.5,
) -> F32:
    """Gaps of 20 to 500 ms of digital silence, one in 5 s. Time goes on in them."""
    out = samples.copy()
    lengths = {"shortest": shortest, "longest": longest}
    for first, last in events(len(samples), rate, seed, every=every, **lengths):
        out[first:last] = 0
    return out


BUFFER = 1024


def _buffers(
    count: int, rate: int, seed: int, every: float, lengths: tuple[int, int]
) -> list[tuple[int, int]]:
    """(first, past the last) sample of buffers hit, each at a multiple of its length."""
    random = _random(seed, 5)
    shortest, longest = lengths
    found, at = [], 0
    while True:
        length = int(random.integers(shortest, longest + 1))
        first = -(-(at + int(random.exponential(every) * rate)) // length) * length
        at = first + length
        if at > count:
            return found
        found.append((first, at))


def lost_buffers(
    samples: F32,
    rate: int,
    seed: int,
    *,
    every: float = 4.0,
    lengths: tuple[int, int] = (BUFFER, BUFFER),
) -> F32:
    """Buffers of 1024 samples (or of random lengths) cut out, one in about 4 s: time jumps."""
    keep = np.ones(len(samples), np.bool_)
    for first, last in _buffers(len(samples), rate, seed, every, lengths):
        keep[first:last] = False
    return samples[keep]


def repeated_buffers(
    samples: F32,
    rate: int,
    seed: int,
    *,
    every: float = 4.0,
    lengths: tuple[int, int] = (BUFFER, BUFFER),
) -> F32:
    """Buffers of 1024 samples (or of random lengths) heard twice, one in about 4 s."""
    times = np.ones(len(samples), np.int64)
    order, at = [], 0
    for first, last in _buffers(len(times), rate, seed, every, lengths):
        order += [samples[at:last], samples[first:last]]
        at = last
    return np.concatenate([*order, samples[at:]])


# --- time ---


def skew(samples: F32, rate: int, seed: int, *, ppm: float) -> F32:
    """Played by a clock that is `ppm` fast: that much shorter, all tones that much higher.

    libsoxr interpolates between the phases of its filter: images some 120 dB down.
    """
    return resampled(samples, rate * (1 + ppm * 1e-6), rate)


WARP_RATE = 192_000
WOW = ((0.003, 0.6), (0.001, 8.0))
"""(peak deviation of speed, Hz): wow, flutter. A worn cassette deck; a good one has 0.1 %."""


def warp(count: int, rate: int, seed: int, wow: tuple[tuple[float, float], ...] = WOW) -> F64:
    """The time on tape, in samples, that is heard at each sample."""
    time = np.arange(count) / rate
    position = time.copy()
    random = _random(seed, 6)
    for peak, hertz in wow:
        phase = random.uniform(0, 2 * np.pi)
        turn = 2 * np.pi * hertz
        position += peak / turn * (np.sin(turn * time + phase) - np.sin(phase))
    return position * rate


def at_times(samples: F32, rate: int, position: F64) -> F32:
    """The sound at these times, in samples.

    At 192 kHz or a little more, through the cubic of the four samples around (Lagrange): its
    error relative to a tone of f Hz is at most 3/128·(2 pi f/192 kHz)⁴, -71 dB at 10 kHz.
    """
    factor = max(1, -(-WARP_RATE // rate))
    fine = resampled(samples, rate, rate * factor) if factor > 1 else samples
    fine = np.pad(fine, (2, 4))
    out = np.empty(len(position), np.float32)
    for first in range(0, len(position), 1 << 16):
        where = np.clip(position[first : first + (1 << 16)] * factor + 2, 1, len(fine) - 3)
        whole = where.astype(np.int64)
        x = (where - whole).astype(np.float32)
        before, at, after, last = (fine[whole + i] for i in (-1, 0, 1, 2))
        out[first : first + len(where)] = (
            -x * (x - 1) * (x - 2) / 6 * before
            + (x + 1) * (x - 1) * (x - 2) / 2 * at
            - (x + 1) * x * (x - 2) / 2 * after
            + (x + 1) * x * (x - 1) / 6 * last
        )
    return out


def wow(samples: F32, rate: int, seed: int, *, snr_db: float = 35.0) -> F32:
    """A cassette: 0.3 % of wow at 0.6 Hz, 0.1 % of flutter at 8 Hz, 50 Hz … 10 kHz, hiss at 35 dB.

    Both are peak deviations of speed, so tones move by 0.4 % at most.
    """
    low = [(0.0, -40.0), (30.0, -20.0), (50.0, -3.0), (80.0, 0.0)]
    high = [(8000.0, 0.0), (10_000.0, -3.0), (12_000.0, -20.0), (16_000.0, -60.0)]
    tape = _filtered(samples, _fir(rate, low + high, rate // 20 | 1))
    warped = at_times(tape, rate, warp(len(samples), rate, seed))
    return noise_at(warped, rate, seed, snr_db=snr_db)


# --- levels ---


def clipping(samples: F32, rate: int, seed: int, *, gain_db: float = 12.0) -> F32:
    """12 dB of gain into a hard limit at the peak that the sound had."""
    peak = np.abs(samples).max(initial=0.0)
    return np.clip(samples * np.float32(ratio(gain_db / 2)), -peak, peak)


def quantised(samples: F32, bits: int) -> F32:
    """Rounded to that many bits, without dither, limited to full scale."""
    steps = np.float32(1 << bits - 1)
    return np.clip(np.round(samples * steps), -steps, steps - 1) / steps


def quiet(samples: F32, rate: int, seed: int, *, gain_db: float = -40.0) -> F32:
    """40 dB down, then 16 bits: some nine bits are left."""
    return quantised(samples * np.float32(ratio(gain_db / 2)), 16)


def eight_bit(samples: F32, rate: int, seed: int) -> F32:
    """Rounded to 8 bits."""
    return quantised(samples, 8)


def hum(samples: F32, rate: int, seed: int, *, hertz: float = 50.0, above_db: float = 6.0) -> F32:
    """Mains hum: the fundamental 6 dB over the signal's power, harmonics 6 dB less each.

    The mains are up to 0.1 % off their frequency.
    """
    random = _random(seed, 7)
    turns = hertz * (1 + random.uniform(-1e-3, 1e-3)) * np.arange(len(samples)) / rate
    out = samples.astype(np.float64)
    for harmonic in range(1, 13):
        level = np.sqrt(2 * power(samples) * ratio(above_db - 6 * (harmonic - 1)))
        if harmonic * hertz < rate / 2:
            out += level * np.sin(2 * np.pi * (harmonic * turns + random.random()))
    return out.astype(np.float32)


def inverted(samples: F32, rate: int, seed: int) -> F32:
    """The two wires swapped."""
    return -samples


def agc(
    samples: F32,
    rate: int,
    seed: int,
    *,
    attack: float = 0.010,
    release: float = 0.500,
    swing_db: float = 10.0,
    snr_db: float = 40.0,
) -> F32:
    """Automatic gain control: the peak is led to 0.5 with 10 ms down and 500 ms up.

    The level moves by +-10 dB once in about 3 s and comes in over noise at 40 dB, so that the
    control has work; it has 30 dB of gain at most. Gain is found once a millisecond, from
    the largest sample in it, and drawn straight in between.
    """
    random = _random(seed, 8)
    time = np.arange(len(samples)) / rate
    swing = swing_db * np.sin(2 * np.pi * (time / random.uniform(2, 4) + random.random()))
    moving = (samples * 10 ** (swing / 20)).astype(np.float32)
    heard = noise_at(moving, rate, seed, snr_db=snr_db)
    step = max(1, rate // 1000)
    peaks = np.abs(np.pad(heard, (0, -len(heard) % step))).reshape(-1, step).max(1)
    most = ratio(30 / 2)
    down, up = 1 - np.exp(-step / rate / attack), 1 - np.exp(-step / rate / release)
    gains = np.empty(len(peaks) + 1)
    gains[0] = gain = 1.0
    for i, wanted in enumerate(np.minimum(most, 0.5 / np.maximum(peaks, 1e-6)), 1):
        gain += (wanted - gain) * (down if wanted < gain else up)
        gains[i] = gain
    at = np.arange(len(heard)) / step
    return (heard * np.interp(at, np.arange(len(gains)), gains)).astype(np.float32)


# --- codecs ---


def through_ffmpeg(samples: F32, rate: int, encoder: str, container: str, kbit: int) -> F32:
    """Encoded and decoded again. Raises Missing without ffmpeg or that encoder in it."""
    if not shutil.which("ffmpeg"):
        raise Missing("ffmpeg")
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    run = partial(subprocess.run, capture_output=True, check=True)
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sound.{container}")
        plain = Path(folder, "sound.raw")
        plain.write_bytes(samples.astype("<f4").tobytes())
        to = ["-c:a", encoder, "-b:a", f"{kbit}k", str(path)]
        try:
            run([*command, *raw, "-i", str(plain), *to])
        except subprocess.CalledProcessError as error:
            if b"Unknown encoder" in error.stderr:
                raise Missing(f"ffmpeg's {encoder}") from error
            raise
        decoded = run([*command, "-i", str(path), *raw, "-"]).stdout
    return np.frombuffer(decoded, "<f4").astype(np.float32)


def mp3_64k(samples: F32, rate: int, seed: int) -> F32:
    """MP3 at 64 kbit/s, mono (LAME). The start may move by the codec's delay."""
    return through_ffmpeg(samples, rate, "libmp3lame", "mp3", 64)


def opus_24k(samples: F32, rate: int, seed: int) -> F32:
    """Opus at 24 kbit/s, mono (libopus, application audio)."""
    return through_ffmpeg(samples, rate, "libopus", "ogg", 24)


# --- by name ---


def _fitting(channel: Callable[..., F32], **parameters: object) -> Channel:
    def fitting(samples: F32, rate: int, seed: int) -> F32:
        return fitted(channel(samples, rate, seed, **parameters))

    return fitting


CHANNELS: dict[str, Channel] = {
    "telephone": _fitting(telephone),
    "room": _fitting(room),
    "barks": _fitting(barks),
    "dropouts": _fitting(dropouts),
    "lost_buffers": _fitting(lost_buffers),
    "lost_lengths": _fitting(lost_buffers, lengths=(256, 4096)),
    "repeated_buffers": _fitting(repeated_buffers),
    "repeated_lengths": _fitting(repeated_buffers, lengths=(256, 4096)),
    "fast_3000": _fitting(skew, ppm=3000),
    "slow_3000": _fitting(skew, ppm=-3000),
    "fast_500": _fitting(skew, ppm=500),
    "slow_500": _fitting(skew, ppm=-500),
    "wow": _fitting(wow),
    "clipping": _fitting(clipping),
    "quiet": _fitting(quiet),
    "eight_bit": _fitting(eight_bit),
    "hum_50": _fitting(hum, hertz=50.0),
    "hum_60": _fitting(hum, hertz=60.0),
    "inverted": _fitting(inverted),
    "agc": _fitting(agc),
    "mp3_64k": _fitting(mp3_64k),
    "opus_24k": _fitting(opus_24k),
}
"""What a test goes through by name."""

ON_CABLE = tuple(
    name
    for name in CHANNELS
    if name not in {"telephone", "room", "barks", "wow", "mp3_64k", "opus_24k"}
)
"""Those that a cable between two sound cards can show, with its whole band."""


# --- what is no modem at all ---

SEGMENT = 20.0
"""Seconds of noise, speech or music at a stretch."""


def programme(seconds: float, rate: int, seed: int) -> Iterator[F32]:
    """Noise, speech and music in turns of 20 s, in blocks of a second at most.

    Levels from -40 dB to full scale. A segment is held in memory, no more.
    """
    kinds = (noise, speech, music)
    left = round(seconds * rate)
    turn = 0
    while left > 0:
        random = _random(seed, 9, turn)
        count = min(left, round(SEGMENT * rate))
        sound = kinds[turn % len(kinds)](count, rate, random)
        peak = float(np.abs(sound).max(initial=0.0)) or 1.0
        sound = (sound * (10 ** random.uniform(-2, 0) / peak)).astype(np.float32)
        for first in range(0, count, rate):
            yield sound[first : first + rate]
        left -= count
        turn += 1


def noise(count: int, rate: int, random: np.random.Generator) -> F64:
    """White, pink or brown noise, or noise in a band, swelling slowly, with some clicks."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    spectrum /= np.maximum(hertz, 20.0) ** random.choice([0.0, 0.5, 1.0])
    if random.random() < 0.5:
        low = random.uniform(100, rate / 4)
        spectrum[(hertz < low) | (hertz > low * random.uniform(1.1, 3))] = 0
    out = np.fft.irfft(spectrum, count)
    out /= np.sqrt(power(out)) + 1e-12
    swell = random.uniform(0, 0.8)
    out *= 1 + swell * np.sin(np.arange(count) / rate * random.uniform(0.1, 30))
    clicks = random.integers(0, count, int(count / rate * random.uniform(0, 3)))
    out[clicks] += random.choice([-8.0, 8.0], len(clicks))
    return out


_SYLLABLES = (
    *("ka", "ri", "to", "mu", "se", "la", "don", "ver", "pi", "sta", "gro", "nim"),
    *("fel", "bu", "tha", "ous", "ent", "ing", "ar", "ex", "lo", "ma", "ti"),
)


def speech(count: int, rate: int, random: np.random.Generator) -> F64:
    """A synthesised voice reading nonsense: espeak-ng where installed, else `voice`."""
    words = int(count / rate * 4) + 8
    text = " ".join("".join(random.choice(_SYLLABLES, random.integers(1, 4))) for _ in range(words))
    pitch, speed = int(random.integers(20, 90)), int(random.integers(120, 240))
    if not shutil.which("espeak-ng"):
        return voice(count, rate, random)
    command = ["espeak-ng", "--stdout", "-p", str(pitch), "-s", str(speed), text]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    # The length in a header written to a pipe is not known, which wave objects to.
    with wave.open(io.BytesIO(spoken[:44])) as header:
        source = header.getframerate()
    samples = np.frombuffer(spoken[44 : len(spoken) & ~1], "<i2").astype(np.float32) / 32768
    try:
        samples = resampled(samples, source, rate)
    except Missing:
        return voice(count, rate, random)
    return np.resize(samples, count).astype(np.float64)


def voice(count: int, rate: int, random: np.random.Generator) -> F64:
    """Vowels of three formants on a gliding pitch, and hisses, five syllables a second.

    A source-filter voice (Fant, Acoustic Theory of Speech Production, 1960): harmonics 12 dB an
    octave down, weighted by resonances.
    """
    out = np.zeros(count)
    at = 0
    while at < count:
        length = min(count - at, int(rate * random.uniform(0.1, 0.35)))
        time = np.arange(length) / rate
        envelope = np.sin(np.pi * (np.arange(length) + 0.5) / length)
        kind = random.random()
        if kind < 0.7:
            formants = random.uniform([250, 800, 2200], [850, 2200, 3200])
            pitch = random.uniform(80, 250) * (1 + random.uniform(-0.5, 0.5) * time)
            turns = np.cumsum(pitch) / rate
            for harmonic in range(1, int(min(4000, rate / 2) / pitch.max())):
                hertz = harmonic * pitch[0]
                weight = np.sum(1 / (1 + ((hertz - formants) / 80) ** 2)) / harmonic
                out[at : at + length] += weight * envelope * np.sin(2 * np.pi * harmonic * turns)
        elif kind < 0.85:
            out[at : at + length] += 0.2 * envelope * np.diff(random.standard_normal(length + 1))
        at += length
    return out


def music(count: int, rate: int, random: np.random.Generator) -> F64:
    """Chords of plucked notes, drums and glissandi over five octaves on a steady beat."""
    out = np.zeros(count + rate * 2)
    beat = random.uniform(0.25, 0.6)
    for number in range(int(count / rate / beat) + 1):
        at = int(number * beat * rate)
        root = 110 * 2 ** (random.integers(0, 24) / 12)
        for interval in random.choice([0, 3, 4, 7, 10, 12, 24], random.integers(0, 4)):
            part = _note(root * 2 ** (interval / 12), beat * random.uniform(0.5, 3), rate, random)
            out[at : at + len(part)] += part[: len(out) - at]
        if random.random() < 0.6:
            part = _drum(rate, random)
            out[at : at + len(part)] += part[: len(out) - at]
        if random.random() < 0.2:
            part = _glissando(rate, random)
            out[at : at + len(part)] += part[: len(out) - at]
    return out[:count]


def _note(hertz: float, seconds: float, rate: int, random: np.random.Generator) -> F64:
    """A plucked string: eight harmonics, the higher the shorter."""
    time = np.arange(int(min(seconds, 1.9) * rate)) / rate
    fade = np.minimum(1, (time[-1] - time) / 0.01 + 1e-3)
    parts = [
        np.sin(2 * np.pi * (h * hertz * time + random.random())) * np.exp(-2 * h * time) / h
        for h in range(1, 9)
        if h * hertz < rate / 2
    ]
    return np.sum(parts, axis=0) * fade * np.minimum(1, time / 0.003)


def _drum(rate: int, random: np.random.Generator) -> F64:
    """A falling tone (kick) or a burst of noise (snare, hat)."""
    time = np.arange(int(0.3 * rate)) / rate
    if random.random() < 0.5:
        turns = np.cumsum(40 + 120 * np.exp(-time * 30)) / rate
        return 2 * np.sin(2 * np.pi * turns) * np.exp(-time * 12)
    return random.standard_normal(len(time)) * np.exp(-time * random.uniform(10, 60))


def _glissando(rate: int, random: np.random.Generator) -> F64:
    """A slide of 50 ms to 1.5 s between two tones, up or down: a chirp to whoever waits for one."""
    time = np.arange(int(random.uniform(0.05, 1.5) * rate)) / rate
    start, end = random.uniform(200, min(8000, 0.45 * rate), 2)
    turns = np.cumsum(start + (end - start) * time / time[-1]) / rate
    envelope = np.minimum(1, np.minimum(time, time[-1] - time) / 0.01)
    return 0.7 * envelope * np.sin(2 * np.pi * turns)
