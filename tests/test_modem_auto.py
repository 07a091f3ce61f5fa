import numpy as np
import pytest
from pair import content
from sound_pair import hear, sound_of

from diode.errors import UsageError
from diode.frame import Frames
from diode.modem import AUTO, DEFAULT, FSK, Signal, modem
from diode.modem.auto import QUIET, AutoDemodulator
from diode.modem.profile import PROFILES

RATE = 48_000
SPOKEN = [*PROFILES, "bell202", "bell103"]


def spoken(name, data, rate=RATE):
    modulator = modem(name).modulator(rate)
    pieces = Frames.of_pieces([np.frombuffer(data, np.uint8)])
    return np.concatenate([modulator.begin(), modulator.modulate(pieces), modulator.end()])


def heard(sound, chunk=4096, rate=RATE):
    demodulator = modem(AUTO).demodulator(rate)
    out = [demodulator.feed(sound[i : i + chunk]) for i in range(0, len(sound), chunk)]
    return b"".join([*out, demodulator.flush()]), demodulator


# By name ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPOKEN)
def test_every_modem_has_its_name(name):
    assert modem(name).name == name
    assert modem(name).rate > 0


def test_the_default_is_one_of_them():
    assert DEFAULT in SPOKEN


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("robst", "robust"), ("bell212", "bell202"), ("phone", "telephone"), ("cables", "cable")],
)
def test_a_near_miss_is_put_right(wrong, meant):
    with pytest.raises(UsageError, match=wrong) as caught:
        modem(wrong)
    assert f"did you mean modem={meant}?" in caught.value.hint


@pytest.mark.parametrize("name", ["", "xyzzy", "ROBUST\0", "9600"])
def test_an_unknown_one_is_refused_with_all_names(name):
    with pytest.raises(UsageError) as caught:
        modem(name)
    for known in [*SPOKEN, FSK, AUTO]:
        assert known in caught.value.hint


def test_fsk_needs_a_rate():
    with pytest.raises(UsageError, match="needs a rate"):
        modem(FSK)
    with pytest.raises(UsageError, match="needs a rate"):
        modem(FSK, mark=1200, space=2200)
    assert modem(FSK, baud=1200).rate > 0


@pytest.mark.parametrize("name", [*SPOKEN, AUTO])
@pytest.mark.parametrize("option", ["baud", "mark", "space"])
def test_only_fsk_takes_tones(name, option):
    with pytest.raises(UsageError, match="its own tones"):
        modem(name, **{option: 1200})


# Only for listening -------------------------------------------------------------------------------


def test_auto_does_not_speak():
    with pytest.raises(UsageError, match="listening") as caught:
        modem(AUTO).modulator(RATE)
    assert "robust" in caught.value.hint
    assert "bell202" in caught.value.hint


def test_what_planning_may_ask():
    auto = modem(AUTO)
    assert auto.rate == max(modem(name).rate for name in SPOKEN)
    assert auto.air_bytes(100) == 100
    assert auto.max_piece is None


# Hearing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPOKEN)
def test_follows_the_sender(name):
    data = content(40).replace(b"\0", b"x")
    demodulator, out, speakers = modem(AUTO).demodulator(RATE), b"", set()
    for block in np.array_split(spoken(name, data), 40):
        said = demodulator.feed(block)
        out += said
        if len(said) > 8:
            speakers.add(demodulator.signal.modem)
    assert data in out + demodulator.flush()
    assert speakers <= {name}


@pytest.mark.parametrize("name", ["robust", "telephone", "cable", "bell202"])
def test_a_file(name):
    sound = sound_of(content(300), modem=modem(name))
    assert hear(sound, modem(AUTO)) == [content(300)]


def test_from_one_speaker_to_the_next():
    names = ["telephone", "robust", "cable"]
    sound = np.concatenate([spoken(name, b"this is " + name.encode()) for name in names])
    out, demodulator = heard(sound)
    places = [out.index(b"\0this is " + name.encode()) for name in names]
    assert places == sorted(places)
    assert demodulator.signal.modem == "cable"


def test_plain_fsk_is_not_believed_right_after_a_synchronous_frame():
    sure, plain = spoken("telephone", b"sure"), spoken("bell202", b"plain" * 20)
    assert b"plain" not in heard(np.concatenate([sure, plain]))[0]
    silence = np.zeros(round((QUIET + 1) * RATE), np.float32)
    out = heard(np.concatenate([sure, silence, plain]))[0]
    assert out.index(b"sure") < out.index(b"plain" * 20)


def test_both_files_of_one_recording():
    one = sound_of(content(200, 1), modem=modem("telephone"))
    two = sound_of(content(300, 2), modem=modem("bell202"))
    silence = np.zeros(round((QUIET + 1) * RATE), np.float32)
    sound = np.concatenate([one, silence, two])
    # both senders number their objects from 1, so the second one is told apart by its contents
    out, _ = heard(sound)
    assert b"\0" in out
    assert hear(one, modem(AUTO)) == [content(200, 1)]
    assert hear(two, modem(AUTO)) == [content(300, 2)]


@pytest.mark.parametrize("chunk", [777, 1 << 30])
def test_any_chunks_give_the_same(chunk):
    parts = [spoken(name, b"this is " + name.encode()) for name in ("telephone", "cable")]
    sound = np.concatenate(parts)
    sound = sound + np.random.default_rng(1).normal(0, 0.01, len(sound)).astype(np.float32)
    assert heard(sound, chunk)[0] == heard(sound, 4096)[0]


@pytest.mark.parametrize("kind", ["silence", "noise", "offset"])
def test_no_modem_no_synchronous_frame(kind):
    sound = {
        "silence": np.zeros(3 * RATE),
        "noise": np.random.default_rng(1).normal(0, 0.3, 3 * RATE),
        "offset": np.ones(3 * RATE),
    }[kind].astype(np.float32)
    out, demodulator = heard(sound)
    assert all(d.signal.found == 0 for d in demodulator._certain)
    if kind != "noise":
        assert out == b""


def test_before_anything_was_heard():
    assert modem(AUTO).demodulator(RATE).signal == Signal(AUTO)


# Whom to believe, with demodulators that say what they are told -----------------------------------


class Parrot:
    """Says something in every block of its list."""

    def __init__(self, name, said, snr_db=None, carrier=False):
        self.signal = Signal(name, carrier, snr_db)
        self.said = list(said)

    def feed(self, samples):
        return self.said.pop(0) if self.said and len(samples) else b""

    def flush(self):
        return b""


def believed(certain, guessing, blocks):
    demodulator = AutoDemodulator(certain, guessing, 10)
    out = demodulator.feed(np.zeros(10 * blocks, np.float32))
    return out + demodulator.flush(), demodulator


def test_a_zero_goes_between_speakers_only():
    one, two = Parrot("one", [b"a", b"b", b"", b"c"]), Parrot("two", [b"", b"", b"x"])
    assert believed([one, two], [], 5)[0] == b"\0ab\0x\0c"


def test_the_best_guess_is_taken():
    weak, strong = Parrot("weak", [b"a"] * 3, 3.0), Parrot("strong", [b"", b"b", b"c"], 20.0)
    out, demodulator = believed([], [weak, strong], 3)
    assert out == b"\0a\0bc"
    assert demodulator.signal.modem == "strong"


def test_a_weaker_guess_waits_until_the_last_has_been_silent():
    strong = Parrot("strong", [b"a"], 20.0)
    weak = Parrot("weak", [b"", *[b"%d," % n for n in range(1, 60)]], 3.0)
    out, _ = believed([], [strong, weak], 60)
    assert out.startswith(b"\0a\0")
    assert int(out[3:].split(b",")[0]) in (30, 31)


def test_a_guess_without_a_figure_is_the_worst():
    assert believed([], [Parrot("a", [b"a"]), Parrot("b", [b"b"], 1.0)], 1)[0] == b"\0b"


def test_guesses_are_heard_again_after_a_while():
    blocks = round(QUIET / 0.1)
    sure, guess = Parrot("sure", [b"S"]), Parrot("guess", [b"%d," % n for n in range(200)])
    out, _ = believed([sure], [guess], 200)
    assert out.startswith(b"\0S\0")
    first_heard = int(out[3:].split(b",")[0])
    assert first_heard in (blocks, blocks + 1)
    assert out.endswith(b"199,")


def test_signal_is_that_of_the_one_with_a_carrier_while_nobody_spoke():
    demodulator = AutoDemodulator([Parrot("a", []), Parrot("b", [], carrier=True)], [], 10)
    assert demodulator.signal.modem == "b"
