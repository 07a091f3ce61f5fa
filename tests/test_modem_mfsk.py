import numpy as np
import pytest
import sound_channels
import sound_pair
from pair import content
from sound_channels import decibels, power

from diode.frame import Frames
from diode.modem import MAX_RATE, MIN_RATE, mfsk, timing
from diode.modem.chirp import chirp
from diode.modem.ldpc import Code
from diode.modem.mfsk import Mfsk
from diode.modem.profile import CLASSES, PROFILES
from diode.modem.tones import RMS

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
ROBUST, TELEPHONE, CABLE = PROFILES.values()


def piece(size, seed=1):
    return np.frombuffer(content(size, seed), np.uint8)


def sound(profile, *batches, rate=None, lead_in=True):
    """What is sent for these lists of pieces."""
    modulator = Mfsk(profile).modulator(rate or profile.rate)
    parts = [modulator.begin()] if lead_in else []
    parts += [modulator.modulate(Frames.of_pieces(pieces)) for pieces in batches]
    return np.concatenate([*parts, modulator.end()])


def frames(profile, count, size=1, seed=1, lead_in=True):
    """That many full frames of a class: their contents, and their sound."""
    contents = [content(profile.room(size), seed + number) for number in range(count)]
    pieces = [[np.frombuffer(c, np.uint8)] for c in contents]
    return contents, sound(profile, *pieces, lead_in=lead_in)


def hear(profile, samples, *, rate=None, chunk=4096, demodulator=None):
    """The bytes heard, and the demodulator."""
    demodulator = demodulator or Mfsk(profile).demodulator(rate or profile.rate)
    samples = np.asarray(samples, np.float32)
    parts = [demodulator.feed(samples[i : i + chunk]) for i in range(0, len(samples), chunk)]
    return b"".join([*parts, demodulator.flush()]), demodulator


def heard(profile, samples, contents):
    """Which of these contents come out; nothing else may, and in order."""
    out, _ = hear(profile, samples)
    came = []
    while out:
        number = next(n for n, c in enumerate(contents) if out.startswith(c))
        came.append(number)
        out = out[len(contents[number]) :]
    assert came == sorted(came)
    return came


def first(profile):
    """The place of the first frame's chirp behind a lead-in."""
    return int(np.ceil(mfsk.LEAD_IN * profile.rate / profile.symbol)) * profile.symbol


def noise(count, level=0.3, seed=1):
    return level * np.random.default_rng(seed).standard_normal(count)


def silence(profile, seconds):
    return np.zeros(round(seconds * profile.rate))


# What is sent -------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("size", range(1, CLASSES + 1))
@pytest.mark.parametrize("around", [0, 1])
def test_round_trip_around_the_room_of_each_class(profile, size, around):
    data = content(profile.room(size) + around)
    out, demodulator = hear(profile, sound(profile, [np.frombuffer(data, np.uint8)]))
    assert out.rstrip(b"\0") == data.rstrip(b"\0")
    assert demodulator.signal.found == (2 if (size, around) == (CLASSES, 1) else 1)
    assert demodulator.signal.lost == 0


@every
@pytest.mark.parametrize("size", [0, 1, 2])
def test_small_pieces(profile, size):
    out, _ = hear(profile, sound(profile, [piece(size)]))
    assert out == bytes(piece(size)).ljust(profile.room(1) if size or out else 0, b"\0")


@every
def test_nothing_to_send(profile):
    assert not hear(profile, sound(profile))[0]
    assert not hear(profile, sound(profile, []))[0]


@every
def test_a_piece_longer_than_a_frame_is_cut(profile):
    data = piece(2 * profile.room(CLASSES) + 7)
    out, demodulator = hear(profile, sound(profile, [data]))
    assert out[: len(data)] == bytes(data)
    assert not out[len(data) :].strip(b"\0")
    assert demodulator.signal.found == 3


@every
def test_small_pieces_share_a_frame_and_stay_whole(profile):
    room = profile.room(CLASSES)
    pieces = [piece(room // 5, seed) for seed in range(11)]
    out, demodulator = hear(profile, sound(profile, pieces))
    assert demodulator.signal.found == 3
    for number, one in enumerate(pieces):
        at = number // 5 * room + number % 5 * (room // 5)
        assert out[at : at + len(one)] == bytes(one)


@every
def test_long_after_short_pieces_and_the_reverse(profile):
    room = profile.room(CLASSES)
    pieces = [piece(n, n) for n in (3, room, 5, room + 3, 1, room - 1, 0, 2)]
    out, _ = hear(profile, sound(profile, pieces))
    at = 0
    for one in pieces:
        at = out.index(bytes(one), at) + len(one)


@every
def test_level_peak_and_silence_around(profile):
    modulator = Mfsk(profile).modulator(profile.rate)
    lead_in = modulator.begin()
    middle = modulator.modulate(Frames.of_pieces([piece(profile.room(CLASSES))]))
    tail = modulator.end()
    assert len(lead_in) >= 0.6 * profile.rate
    assert len(tail) == 0.5 * profile.rate
    for part in (lead_in, middle, middle[: profile.chirp]):
        assert part.dtype == np.float32
        assert np.abs(part).max() <= 1
        assert decibels(power(part) / RMS**2) == pytest.approx(0, abs=0.5)
    assert not tail.any()


# Sample rates and pieces --------------------------------------------------------------------------

RATES = [MIN_RATE, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, MAX_RATE]


@pytest.mark.parametrize(
    "rate", [MIN_RATE, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, MAX_RATE]
)
@pytest.mark.parametrize("name", PROFILES)
def test_sample_rates(name, rate):
    profile = PROFILES[name]
    if name == "cable" and rate < 44_100:
        return  # its tones go up to 21 kHz
    if rate != profile.rate:
        pytest.importorskip("soxr")
    data = piece(profile.room(1))
    sent = sound(profile, [data], rate=rate)
    assert np.abs(sent).max() <= 1
    out, demodulator = hear(profile, sent, rate=rate)
    assert out == bytes(data)
    assert demodulator.signal.found == 1
    seconds_sent = mfsk.TAIL + (first(profile) + profile.frame(1)) / profile.rate
    assert len(sent) / rate == pytest.approx(seconds_sent, abs=1e-3)


@every
@pytest.mark.parametrize("chunk", [1000, 1 << 30])
def test_any_chunks_give_the_same(profile, chunk):
    contents, sent = frames(profile, 3)
    spoilt = sent + noise(len(sent), 0.02)
    assert hear(profile, spoilt, chunk=chunk)[0] == b"".join(contents)


@pytest.mark.parametrize("rate", [8000, 11_025])
def test_sample_by_sample(rate):
    if rate != 8000:
        pytest.importorskip("soxr")
    data = piece(ROBUST.room(1))
    sent = sound(ROBUST, [data], rate=rate)
    assert hear(ROBUST, sent, rate=rate, chunk=1)[0] == bytes(data)


@every
def test_chunks_of_any_length_and_none(profile):
    (data,), sent = frames(profile, 1)
    demodulator = Mfsk(profile).demodulator(profile.rate)
    random, at, out = np.random.default_rng(1), 0, b""
    while at < len(sent):
        size = int(random.choice([0, 1, 7, 300, 5000]))
        out += demodulator.feed(sent[at : at + size])
        at += size
    assert out + demodulator.flush() == data


# What is missing or too much ----------------------------------------------------------------------


@every
def test_what_is_cut_off_at_the_end_is_taken_for_silence(profile):
    (data,), sent = frames(profile, 1)
    end = first(profile) + profile.frame(1)
    assert hear(profile, sent[: end - 2 * profile.symbol // 3])[0] == data
    assert hear(profile, sent[: end - profile.frame(1) // 2])[0] == b""
    assert hear(profile, sent[: end - profile.frame(1)])[0] == b""


@every
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.59])
def test_the_lead_in_may_be_missing(profile, missing):
    contents, sent = frames(profile, 2)
    assert heard(profile, sent[round(missing * profile.rate) :], contents) == [0, 1]


@every
def test_a_start_in_the_middle_of_a_frame(profile):
    contents, sent = frames(profile, 3)
    begin = first(profile) + profile.frame(1) // 2
    assert heard(profile, sent[begin:], contents) == [1, 2]


@every
@pytest.mark.parametrize("gap", [0.0, 0.013, 1.0, 5.0])
def test_two_transmissions(profile, gap):
    one, two = frames(profile, 2), frames(profile, 2, seed=9)
    both = np.concatenate([one[1], silence(profile, gap), two[1]])
    assert heard(profile, both, one[0] + two[0]) == [0, 1, 2, 3]


@every
@pytest.mark.parametrize("gap", [0.05, 0.5])
def test_frames_without_lead_in_after_silence(profile, gap):
    """Nothing that looks like a chirp may hide one that is near."""
    contents, sent = frames(profile, 1, lead_in=False)
    sounds = [silence(profile, gap), sent[: profile.frame(1)]] * 3
    assert heard(profile, np.concatenate([*sounds, silence(profile, 1)]), contents) == [0, 0, 0]


@every
@pytest.mark.parametrize("delay", [0.1, 0.33, 0.7])
@pytest.mark.parametrize("level", [1, 0.2])
def test_two_senders_at_once(profile, delay, level):
    one, two = frames(profile, 2), frames(profile, 2, seed=9)
    late = np.concatenate([silence(profile, delay), level * two[1]])
    mixed = late[: len(one[1])] + one[1][: len(late)]
    came = heard(profile, mixed, one[0] + two[0])
    if level < 1 and profile.name == "robust":
        assert 1 in came


@every
def test_a_missing_chirp_is_expected_where_the_frame_before_ends(profile):
    contents, sent = frames(profile, 3)
    place = first(profile) + profile.frame(1)
    sent[place : place + profile.chirp] = 0
    assert heard(profile, sent, contents) == [0, 1, 2]


@every
@pytest.mark.parametrize("before", [1.3, 2.5, 4, 6])
def test_a_false_chirp_hides_no_frame(profile, before):
    """Nothing is known of the clock yet, and something that resembles a chirp comes first."""
    contents, sent = frames(profile, 1)
    lead = np.zeros(round((before + 1) * profile.chirp), np.float32)
    lead[: profile.chirp] = 0.2 * RMS * chirp(profile).real
    place = first(profile)
    sound = np.concatenate([lead, sent[place:]])
    assert heard(profile, sound, contents) == [0]


@every
def test_a_missing_header_costs_nothing(profile):
    contents, sent = frames(profile, 3, size=2)
    place = first(profile) + profile.frame(2) + profile.chirp
    sent[place : place + profile.symbol] = 0
    assert heard(profile, sent, contents) == [0, 1, 2]


@every
def test_a_header_in_noise_costs_at_most_its_frame(profile):
    contents, sent = frames(profile, 3, size=2)
    place = first(profile) + profile.frame(2) + profile.chirp
    sent[place : place + profile.symbol] = noise(profile.symbol)
    assert {0, 2} <= set(heard(profile, sent, contents))


@every
def test_a_spoilt_frame_costs_no_other(profile):
    contents, sent = frames(profile, 4)
    place = first(profile) + profile.frame(1)
    inside = slice(place + profile.preamble, place + profile.frame(1))
    sent[inside] = noise(profile.frame(1) - profile.preamble)
    out = heard(profile, sent, contents)
    assert out == [0, 2, 3]
    assert hear(profile, sent)[1].signal.lost == 1


@every
def test_a_frame_that_is_gone_altogether_costs_no_other(profile):
    contents, sent = frames(profile, 4)
    place = first(profile) + profile.frame(1)
    sent[place : place + profile.frame(1)] = 0
    assert heard(profile, sent, contents) == [0, 2, 3]


@every
@pytest.mark.parametrize("jump", [-1000, -300, 300, 1000])
def test_lost_and_repeated_samples(profile, jump):
    contents, sent = frames(profile, 3, size=3)
    if profile is CABLE and abs(jump) > 300:
        jump = jump * 3 // 5  # its code can miss two symbols of a hundred
    place = first(profile) + 3 * profile.frame(3) // 2
    moved = np.concatenate([sent[:place], sent[place - jump :]])
    assert set(heard(profile, moved, contents)) >= {0, 2}
    if profile is not CABLE:
        assert heard(profile, moved, contents) == [0, 1, 2]


# Hostile sound ------------------------------------------------------------------------------------


def seconds(profile, wave):
    return np.resize(wave, 12 * profile.rate).astype(np.float32)


STRANGE = {
    "silence": np.zeros(1),
    "noise": noise(200_000),
    "loud noise": np.clip(noise(200_000, 5), -1, 1),
    "offset": np.ones(1),
    "square": np.repeat([1.0, -1.0], 20),
    "slow square": np.repeat([1.0, -1.0], 1000),
    "fast square": np.array([1.0, -1.0]),
    "impulses": np.eye(1, 2400)[0],
    "huge": np.array([1e12, -1e12, 1e11, 0, 3e11]),
    "tiny": np.array([1e-38, -1e-38, 0, 1e-40]),
    "tone": np.sin(np.arange(16_000) * 2 * np.pi / 10),
}


@every
@pytest.mark.parametrize("kind", STRANGE)
def test_nothing_is_heard_in_what_is_nothing(profile, kind):
    out, demodulator = hear(profile, seconds(profile, STRANGE[kind]))
    assert out == b""
    assert demodulator.signal.found == 0
    assert len(demodulator._sound) <= 2.5 * profile.rate


@every
@pytest.mark.parametrize("scale", [1e-4, 1e-2, -1, 100])
def test_level_and_polarity(profile, scale):
    contents, sent = frames(profile, 2)
    assert heard(profile, scale * sent, contents) == [0, 1]


@every
@pytest.mark.parametrize("ppm", [-3000, -400, 400, 3000])
def test_clocks(profile, ppm):
    pytest.importorskip("soxr")
    contents, sent = frames(profile, 2, size=2)
    fast = sound_channels.skew(sent, profile.rate, 1, ppm=ppm)
    assert heard(profile, fast, contents) == [0, 1]
    signal = hear(profile, fast)[1].signal
    assert signal.clock_ppm == pytest.approx(ppm, abs=300)
    middle = (profile.low + profile.high) / 2
    assert signal.offset_hz == pytest.approx(middle * ppm * 1e-6, abs=middle * 300e-6)


@pytest.mark.parametrize("name", ["quiet", "eight_bit", "hum", "inverted", "clipping"])
@every
def test_channels(profile, name):
    contents, sent = frames(profile, 2, size=2)
    came = heard(profile, getattr(sound_channels, name)(sent, profile.rate, 1), contents)
    assert came == [0, 1]


def at_ebn0(profile, samples, ebn0_db, seed=1):
    """White noise beside the sound, as strong as that over the bits that a frame carries."""
    bits = profile.byte_rate * 8  # of the longest frames
    density = power(samples[samples != 0]) / bits / 10 ** (ebn0_db / 10)
    return samples + noise(len(samples), np.sqrt(density * profile.rate / 2), seed)


@pytest.mark.parametrize(("name", "ebn0_db"), [("robust", 5), ("telephone", 9), ("cable", 9.5)])
def test_noise_that_frames_survive(name, ebn0_db):
    profile = PROFILES[name]
    contents, sent = frames(profile, 6, size=4 if profile is not CABLE else 2)
    came = heard(profile, at_ebn0(profile, sent, ebn0_db), contents)
    assert len(came) >= 5


@every
def test_in_noise_that_nothing_survives_nothing_comes_out(profile):
    contents, sent = frames(profile, 3)
    assert heard(profile, at_ebn0(profile, sent, -6), contents) == []


# What a demodulator says of itself ----------------------------------------------------------------


@every
def test_figures(profile):
    demodulator = Mfsk(profile).demodulator(profile.rate)
    signal = demodulator.signal
    assert (signal.modem, signal.carrier, signal.snr_db) == (profile.name, False, None)
    _, sent = frames(profile, 2, size=2)
    # white noise with a tone 12 dB above its density
    tone = RMS**2 * 2 / (profile.groups * profile.sounding) * profile.window / 4
    sent += noise(len(sent), np.sqrt(tone / 10**1.2))
    seen = []
    for begin in range(0, len(sent), 1000):
        demodulator.feed(sent[begin : begin + 1000].astype(np.float32))
        seen.append(demodulator.signal.carrier)
    demodulator.flush()
    signal = demodulator.signal
    assert any(seen)
    assert not signal.carrier
    assert (signal.found, signal.lost) == (2, 0)
    assert signal.snr_db == pytest.approx(12, abs=1.5)
    assert abs(signal.clock_ppm) < 300
    assert 0 <= signal.error_rate < 0.1


@every
@pytest.mark.parametrize("share", [2.3, 1.7, 1, 0.9, 0.55, 0.4, 0.25, 0.11, 0.05])
def test_air_bytes_against_what_is_sent(profile, share):
    """Never less than the air time of a long run of such pieces, and at most 15 % more."""
    modem = Mfsk(profile)
    size = int(share * modem.max_piece)
    count = 24 if profile is not CABLE else 12
    count = -(-count // max(1, modem.max_piece // size)) * max(1, modem.max_piece // size)
    modulator = modem.modulator(profile.rate)
    pieces = [np.zeros(size, np.uint8)] * count
    sent = len(modulator.modulate(Frames.of_pieces(pieces))) / profile.rate * modem.rate
    said = count * modem.air_bytes(size)
    assert sent * 0.999 <= said <= 1.15 * sent


# Bounds -------------------------------------------------------------------------------------------


def feed_watched(demodulator, profile, samples):
    """Feed, and see that what is kept is never more than a frame and what lies around it."""
    longest = profile.frame(CLASSES) + 4 * profile.rate
    for begin in range(0, len(samples), 4096):
        demodulator.feed(samples[begin : begin + 4096].astype(np.float32))
        assert len(demodulator._sound) < longest
        assert len(demodulator._found) < 2 * longest / profile.chirp


@every
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("gap", [0, 0.1])
def test_nothing_but_chirps_costs_bounded_work(profile, gap, locked, monkeypatch):
    demodulator = Mfsk(profile).demodulator(profile.rate)
    if locked:
        demodulator.feed(
            np.concatenate([frames(profile, 1)[1], np.zeros(3 * profile.rate, np.float32)])
        )
    calls = {"search": 0, "track": 0, "decode": 0}

    def counting(name, result=None):
        def call(*arguments):
            calls[name] += 1
            return result(*arguments) if result else None

        return call

    for name in ("search", "track"):
        monkeypatch.setattr(timing, name, counting(name, getattr(timing, name)))
    monkeypatch.setattr(Code, "decode", counting("decode"))  # nothing comes out anyway
    length = 5 if profile is not CABLE else 2
    once = np.concatenate([RMS * chirp(profile).real, noise(round(gap * profile.rate), 0.2)])
    feed_watched(demodulator, profile, np.resize(once, length * profile.rate))
    assert demodulator.signal.found == locked
    most = 2 * length * profile.rate / profile.frame(1) + 2  # two in the time of a short frame
    assert calls["search"] <= most
    assert calls["track"] <= 2 * most
    assert calls["decode"] <= 4 * most + 4 * length * profile.rate / profile.chirp


@every
def test_memory_is_bounded_through_frames_and_noise(profile):
    _, sent = frames(profile, 3)
    mixed = np.concatenate([sent, noise(profile.rate), sent, silence(profile, 1)])
    demodulator = Mfsk(profile).demodulator(profile.rate)
    feed_watched(demodulator, profile, mixed)
    assert demodulator.signal.found == 6


# A file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("robust", 300), ("telephone", 500), ("cable", 4000)])
def test_a_file(name, size):
    profile = PROFILES[name]
    modem = Mfsk(profile)
    sent = sound_pair.sound_of(content(size), modem=modem, rate=profile.rate)
    assert sound_pair.hear(sent, modem, profile.rate) == [content(size)]
