import numpy as np
import pytest
from fakemodem import LEAD, TAIL, FakeModem
from ptys import batch

from diode.carrier.sound import Ear, Voice, check_channel
from diode.errors import CarrierError
from diode.frame import EMPTY, Frames


def test_a_voice_is_silent_until_it_has_something_to_say():
    voice = Voice(FakeModem(), 48_000, 1.0)
    assert list(voice.say(EMPTY)) == []
    assert len(voice.end()) == 0
    assert [len(part) for part in voice.say(batch(b"ab"))] == [LEAD, 18]
    assert [len(part) for part in voice.say(batch(b"c"))] == [9]
    assert len(voice.end()) == TAIL
    assert len(voice.end()) == 0
    assert [len(part) for part in voice.say(batch(b"d"))] == [LEAD, 9]


@pytest.mark.parametrize("length", [1, 7, 16, 17, 5000])
def test_whole_pieces_in_order(length):
    modem = FakeModem()
    data = np.arange(20 * length).astype(np.uint8).reshape(20, length)
    voice = Voice(modem, 48_000, 0.5, stretch=0.01)
    said = np.concatenate(list(voice.say(Frames.of_rows(data))))
    assert modem.demodulator(48_000).feed(said) == data.tobytes()
    assert all(call % length == 0 for call in modem.calls)
    assert max(modem.calls) <= max(length, 48)


def test_an_ear_takes_one_channel_or_the_average():
    frames = np.array([[0.5, 0.1], [0.25, -0.25]], np.float32)
    for channel, level in [(1, 0.3125 / 2), (2, 0.0725 / 2), (None, 0.09 / 2)]:
        ear = Ear(FakeModem(), 200, channel)
        ear.hear(frames)
        assert 10 ** (ear.meter.level_db / 10) == pytest.approx(level, rel=1e-3)
        assert ear.signal.modem == "fake"


def test_channels_that_are_not_there():
    check_channel("x", None, 1)
    check_channel("x", 2, 2)
    with pytest.raises(CarrierError, match="x has one channel, no channel 2"):
        check_channel("x", 2, 1)
