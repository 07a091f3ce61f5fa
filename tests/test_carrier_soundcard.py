import pytest
from test_carrier_audio import FakeSounddevice

from diode.carrier.soundcard import find
from diode.errors import CarrierError


@pytest.fixture
def card(monkeypatch):
    import sys

    fake = FakeSounddevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.mark.parametrize(
    ("wanted", "direction", "number", "channels"),
    [
        (None, "output", 0, 2),
        (None, "input", 1, 1),
        ("SPEAKER", "output", 0, 2),
        ("2", "output", 2, 2),
        ("usb audio", "input", 2, 2),
        ("micro", "input", 1, 1),
    ],
)
def test_a_device_is_found(card, wanted, direction, number, channels):
    found = find(wanted, direction, 48_000, print)
    assert (found.number, found.channels, found.rate) == (number, channels, 48_000)


def test_the_system_names_no_default(card, monkeypatch):
    everything = card.devices

    def query(kind=None):
        if kind:
            raise card.PortAudioError("Error querying device -1")
        return everything

    monkeypatch.setattr(card, "query_devices", query)
    with pytest.raises(CarrierError, match="no default device") as caught:
        find(None, "input", 48_000, print)
    assert "device=1 (Built-in Microphone)" in caught.value.hint
