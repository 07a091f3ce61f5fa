"""Plain FSK: its BER beside theory, its peers, and what a sound channel does to it."""

import io
import math
import shutil
import subprocess

import numpy as np
import pytest

from diode.errors import UsageError
from diode.frame import EMPTY, Frames
from diode.modem.afsk import NAMED, Afsk, defaults, named

soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")

BELL103, BELL202 = named("bell103"), named("bell202")
ORTHOGONAL = [Afsk(300, 1270, 970), Afsk(1200, 1200, 2400)]
TEXT = np.random.default_rng(0).bytes(150)


def transmit(modem, data, sample_rate=48000):
    """The whole transmission: lead-in, characters, tail."""
    modulator = modem.modulator(sample_rate)
    pieces = Frames.of_pieces([data])
    return np.concatenate([modulator.begin(), modulator.modulate(pieces), modulator.end()])


def receive(modem, sound, sample_rate=48000, chunk=4800):
    demodulator = modem.demodulator(sample_rate)
    sound = sound.astype(np.float32)
    out = [demodulator.feed(sound[i : i + chunk]) for i in range(0, len(sound), chunk)]
    return b"".join(out) + demodulator.flush()


def noise(modem, ebn0, count, sample_rate, seed):
    """White noise beside a signal of amplitude 1; ebn0 in dB, of a line bit."""
    density = 0.5 * sample_rate / modem.baud / 10 ** (ebn0 / 10)
    return np.random.default_rng(seed).normal(0, math.sqrt(density / 2), count)


def error_probability(ebn0, modem):
    """Noncoherent detection of correlated tones (Proakis, Digital Communications, 4.5)."""
    energy = 10 ** (ebn0 / 10)
    root = math.sqrt(1 - np.sinc((modem.space - modem.mark) / modem.baud) ** 2)
    a, b = math.sqrt(energy / 2 * (1 - root)), math.sqrt(energy / 2 * (1 + root))
    if a < 1e-6:
        return 0.5 * math.exp(-energy / 2)
    both = 0.5 * math.exp(-((a - b) ** 2) / 2) * np.i0(a * b) * math.exp(-a * b)
    return marcum_q(a, b) - both


def marcum_q(a, b):
    """Q1(a, b) by its integral, the exponentials joined so that nothing overflows."""
    x = np.linspace(b, b + 14, 20_001)
    return np.trapezoid(x * np.exp(-((x - a) ** 2) / 2) * np.i0(a * x) * np.exp(-a * x), x)


def wrong_bits(sent, received, block=64):
    """Wrong bits and compared bits, realigned at every block; what is missing is half wrong."""
    a, b = np.frombuffer(sent, np.uint8), np.frombuffer(received, np.uint8)
    shifts = sorted(range(-60, 61), key=abs)
    wrong = total = shift = 0
    for first in range(0, len(a) - block, block):
        least = 4 * block
        here = shift
        for step in shifts:
            at = first + here + step
            if at < 0 or at + block > len(b):
                continue
            found = int(np.bitwise_count(a[first : first + block] ^ b[at : at + block]).sum())
            if found < least:
                least, shift = found, here + step
            if found < 8 * block * 0.2:
                break
        wrong += least
        total += 8 * block
    return wrong, total


def measure(modem, ebn0, count, sample_rate=8000):
    """Wrong and compared bits of `count` random bytes."""
    wrong = total = 0
    for seed, first in enumerate(range(0, count, 13_000)):
        data = np.random.default_rng(seed).bytes(min(13_000, count - first))
        sound = transmit(modem, data, sample_rate)
        sound = sound + noise(modem, ebn0, len(sound), sample_rate, 1000 + seed)
        errors, bits = wrong_bits(data, receive(modem, sound, sample_rate, 80_000))
        wrong, total = wrong + errors, total + bits
    return wrong, total


def assert_near_theory(modem, ebn0, count):
    wrong, total = measure(modem, ebn0, count)
    allowed = error_probability(ebn0 - 0.5, modem) * total
    assert wrong <= allowed + 3 * math.sqrt(allowed)
    assert wrong >= 0.8 * error_probability(ebn0, modem) * total - 12


@pytest.mark.parametrize("modem", [*ORTHOGONAL, BELL202], ids=lambda m: f"{m.baud:g}-{m.space:g}")
@pytest.mark.parametrize("ebn0", [6, 9])
def test_bit_errors_are_within_half_a_decibel_of_theory(modem, ebn0):
    assert_near_theory(modem, ebn0, 13_000)


@pytest.mark.slow
@pytest.mark.parametrize("modem", [*ORTHOGONAL, BELL202], ids=lambda m: f"{m.baud:g}-{m.space:g}")
@pytest.mark.parametrize("ebn0", range(6, 14))
def test_a_million_bits_are_within_half_a_decibel_of_theory(modem, ebn0):
    assert_near_theory(modem, ebn0, 130_000)


needs_minimodem = pytest.mark.skipif(
    shutil.which("minimodem") is None, reason="minimodem is not installed: no peer to talk to"
)


@needs_minimodem
@pytest.mark.parametrize("baud", [300, 500, 1200, 2400, 4800, 9600, 12000])
def test_minimodem_is_understood_and_understands(baud, tmp_path):
    modem = Afsk(baud, *defaults(baud))
    data = np.random.default_rng(baud).bytes(2000)
    theirs, ours = tmp_path / "theirs.wav", tmp_path / "ours.wav"
    subprocess.run(
        ["minimodem", "--tx", "-8", "-f", theirs, str(baud)], input=data, check=True, timeout=60
    )
    sound, rate = soundfile.read(theirs, dtype="float32")
    assert receive(modem, sound, rate) == data
    soundfile.write(ours, transmit(modem, data), 48000, subtype="PCM_16")
    heard = subprocess.run(
        ["minimodem", "--rx", "-8", "-q", "-f", ours, str(baud)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert heard.stdout == data


@needs_minimodem
def test_minimodem_understands_through_a_pipe():
    """The other way is closed: its file library writes to no pipe."""
    wav = io.BytesIO()
    soundfile.write(wav, transmit(BELL202, TEXT), 48000, format="WAV", subtype="PCM_16")
    heard = subprocess.run(
        ["minimodem", "--rx", "-8", "-q", "-f", "/dev/stdin", "1200"],
        input=wav.getvalue(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert heard.stdout == TEXT


@pytest.mark.parametrize("chunk", [1, 7, 1000, 4801, 10**9])
def test_bytes_do_not_depend_on_how_samples_arrive(chunk):
    data = TEXT[:30]
    sound = transmit(BELL202, data, 8000)
    sound = sound + noise(BELL202, 7, len(sound), 8000, 1)
    expected = receive(BELL202, sound, 8000, 999)
    assert len(expected) >= len(data)
    assert receive(BELL202, sound, 8000, chunk) == expected


def test_samples_do_not_depend_on_how_bytes_arrive():
    whole = transmit(BELL103, TEXT, 44100)
    modulator = BELL103.modulator(44100)
    parts = [modulator.begin(), modulator.modulate(EMPTY)]
    parts += [modulator.modulate(Frames.of_pieces([TEXT[i : i + 1]])) for i in range(len(TEXT))]
    assert np.allclose(np.concatenate([*parts, modulator.end()]), whole, atol=1e-5)


def test_the_sound_begins_and_ends_with_enough_mark():
    modulator = BELL202.modulator(48000)
    assert len(modulator.begin()) >= 0.6 * 48000
    assert len(modulator.end()) >= 0.5 * 48000
    assert np.abs(transmit(BELL202, TEXT)).max() <= 1


def test_a_sound_server_may_eat_the_first_part():
    assert receive(BELL103, transmit(BELL103, TEXT)[int(0.45 * 48000) :]) == TEXT


@pytest.mark.parametrize("sample_rate", [8000, 11025, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("name", sorted(NAMED))
def test_sample_rates(name, sample_rate):
    sound = transmit(named(name), TEXT, sample_rate)
    assert receive(named(name), sound, sample_rate) == TEXT


@pytest.mark.parametrize("sample_rate", [48000, 96000, 192000])
def test_the_fastest(sample_rate):
    modem = Afsk(12000, *defaults(12000))
    assert receive(modem, transmit(modem, TEXT, sample_rate), sample_rate) == TEXT


@pytest.mark.parametrize("ppm", [-3000, 3000])
@pytest.mark.parametrize("modem", [BELL103, BELL202, Afsk(9600, *defaults(9600))])
def test_clocks_that_differ(modem, ppm):
    data = TEXT * 10
    sound = transmit(modem, data)
    sound = soxr.resample(sound, 1e6, 1e6 - ppm)
    sound = sound + noise(modem, 17, len(sound), 48000, 2)
    demodulator = modem.demodulator(48000)
    assert demodulator.feed(sound.astype(np.float32)) + demodulator.flush() == data
    assert demodulator.signal.clock_ppm == pytest.approx(ppm, abs=300)


@pytest.mark.parametrize("share", [-0.05, 0.05])
@pytest.mark.parametrize(
    ("baud", "mark", "space"),
    [(300, 1270, 1070), (1200, 1200, 2200), (45, 1585, 1415), (45, 2125, 2975), (45, 9000, 4000)],
)
def test_tones_that_are_off(baud, mark, space, share):
    off = share * abs(mark - space)
    data = TEXT[:50]
    sound = transmit(Afsk(baud, mark + off, space + off), data, 48000)
    modem = Afsk(baud, mark, space)
    sound = sound + noise(modem, 15, len(sound), 48000, 3)
    assert data in receive(modem, sound)


CHANNELS = {
    "as it is": lambda x: x,
    "-40 dB": lambda x: 0.01 * x,
    "inverted": lambda x: -x,
    "DC": lambda x: 0.3 * x + 0.6,
    "8 bits": lambda x: np.round(x * 100) / 128,
    "8 bits, weak": lambda x: np.round(x * 6) / 128,
    "clipped": lambda x: np.clip(4 * x, -1, 1),
    "hum": lambda x: x + np.sin(np.arange(len(x)) * (2 * np.pi * 50 / 48000)),
    "silence around": lambda x: np.concatenate([np.zeros(40_000), x, np.zeros(40_000)]),
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", sorted(NAMED))
def test_harmless_channels(name, channel):
    assert receive(named(name), CHANNELS[channel](transmit(named(name), TEXT))) == TEXT


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_constant_fifty_times_the_signal(name):
    """Where it ends it clicks, which may look like a character."""
    out = receive(named(name), 0.01 * transmit(named(name), TEXT) + 0.5)
    assert TEXT in out
    assert len(out) <= len(TEXT) + 2


def test_noise_before_and_after():
    sound = transmit(BELL202, TEXT)
    sound = np.concatenate([np.zeros(100_000), sound, np.zeros(100_000)])
    sound += noise(BELL202, 15, len(sound), 48000, 4)
    out = receive(BELL202, sound)
    assert TEXT in out
    assert len(out) < len(TEXT) + 80


def keyed(modem, data, gaps, sample_rate):
    """The same signal made another way: a frequency for every sample, `gaps` samples of mark."""
    bit = sample_rate // int(modem.baud)
    tones = [np.full(sample_rate // 2, modem.mark)]
    for value, gap in zip(data, gaps, strict=True):
        bits = [0, *(value >> i & 1 for i in range(8)), 1]
        tones.append(np.repeat(np.where(bits, modem.mark, modem.space), bit))
        tones.append(np.full(gap, modem.mark))
    tones.append(tones[0])
    return np.sin(2 * np.pi * np.cumsum(np.concatenate(tones)) / sample_rate)


@pytest.mark.parametrize("longest", [1, 20, 100, 2000, 20_000])
@pytest.mark.parametrize("name", sorted(NAMED))
def test_idle_between_characters(name, longest):
    """Stretches of mark that are no whole number of bits, and bytes that look like idle."""
    data = bytes([0xFF, 0x00, 0x55, 0xFF, 0xFF, 0x80, 0x01]) * 10
    gaps = np.random.default_rng(longest).integers(0, longest, len(data))
    assert receive(named(name), keyed(named(name), data, gaps, 48000)) == data


def test_a_dropout_costs_only_what_it_touches():
    data = TEXT * 4
    sound = transmit(BELL202, data)
    sound[96_000:100_000] = 0
    out = receive(BELL202, sound)
    assert data[:160] == out[:160]
    assert data[-380:] == out[-380:]


def test_lost_samples_cost_a_character_or_two():
    data = TEXT * 4
    sound = np.delete(transmit(BELL202, data), slice(96_000, 96_333))
    out = receive(BELL202, sound)
    assert data[:160] == out[:160]
    assert data[-430:] == out[-430:]


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_minute_of_noise_gives_little_and_keeps_nothing(name):
    demodulator = named(name).demodulator(8000)
    rng = np.random.default_rng(5)
    out = b"".join(demodulator.feed(rng.normal(0, 0.1, 8000).astype(np.float32)) for _ in range(60))
    assert len(out) < 0.05 * 60 * named(name).rate
    held = demodulator._energies.nbytes + demodulator._segments._soft.nbytes
    assert held < 200_000


def test_silence_gives_nothing():
    assert receive(BELL202, np.zeros(480_000)) == b""
    assert receive(BELL202, np.zeros(0)) == b""
    assert receive(BELL202, np.ones(480_000)) == b""


def test_samples_that_are_no_sound():
    poison = np.full(3000, np.nan)
    poison[::3], poison[1::7] = np.inf, -3e38
    out = receive(BELL202, np.concatenate([poison, np.zeros(48_000), transmit(BELL202, TEXT)]))
    assert TEXT in out
    assert len(out) < len(TEXT) + 50


def test_a_break_is_not_growth():
    """Space for ever: a line that is held low."""
    time = np.arange(480_000) / 48000
    assert len(receive(BELL202, np.sin(2 * np.pi * 2200 * time))) <= 20


def test_figures_of_the_signal():
    sound = transmit(BELL202, TEXT * 2)
    sound = sound + noise(BELL202, 13, len(sound), 48000, 6)
    demodulator = BELL202.demodulator(48000)
    out = demodulator.feed(sound[: len(sound) - 60_000].astype(np.float32))
    signal = demodulator.signal
    assert signal.carrier
    assert signal.modem == "bell202"
    assert signal.snr_db == pytest.approx(13, abs=1)
    assert signal.found == len(out) > 100
    assert signal.lost <= 2
    assert abs(signal.offset_hz) < 20
    assert signal.error_rate < 0.01
    demodulator.feed(np.zeros(48_000, np.float32))
    assert not demodulator.signal.carrier


def test_planning_figures():
    assert BELL202.rate == 120
    assert BELL202.batch == 6
    assert BELL202.max_piece is None
    assert BELL202.air_bytes(17) == 17
    assert Afsk(45, *defaults(45)).batch == 1


def test_defaults_agree_with_the_named_ones():
    for baud, mark, space in NAMED.values():
        assert defaults(baud) == (mark, space)
    assert defaults(9600) == (5400, 13400)
    assert defaults(45.45) == (1585, 1415)


@pytest.mark.parametrize(
    ("baud", "mark", "space"),
    [
        (44, 1585, 1415),
        (12001, 7000, 17000),
        (math.nan, 1200, 2200),
        (1200, 1200, 1200),
        (1200, 1200, 1700),
        (1200, 500, 2200),
        (1200, -1200, 2200),
        (1200, 1200, 96_000),
        (1200, math.nan, 2200),
    ],
)
def test_tones_that_cannot_be_told_apart_are_refused(baud, mark, space):
    with pytest.raises(UsageError) as caught:
        Afsk(baud, mark, space)
    assert caught.value.hint


@pytest.mark.parametrize("sample_rate", [4000, 7999, 32000, 192_001])
def test_sample_rates_that_do_not_fit_are_refused(sample_rate):
    modem = Afsk(9600, *defaults(9600))
    for made in (modem.modulator, modem.demodulator):
        with pytest.raises(UsageError) as caught:
            made(sample_rate)
        assert caught.value.hint
