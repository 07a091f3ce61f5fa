"""Sound: mixers, cards and servers as their tools and files tell of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from trees import by_name, machine, process, with_status

from diode.carrier import parse
from diode.doctor import Check, sound
from diode.errors import CarrierError

SPEAKERS = """\
Simple mixer control 'Master',0
  Capabilities: pvolume pswitch pswitch-joined
  Playback channels: Front Left - Front Right
  Limits: Playback 0 - 87
  Mono:
  Front Left: Playback 80 [92%] [-5.25dB] [on]
  Front Right: Playback 80 [92%] [-5.25dB] [on]
Simple mixer control 'Capture',0
  Capabilities: cvolume cswitch
  Capture channels: Front Left - Front Right
  Limits: Capture 0 - 63
  Front Left: Capture 39 [62%] [12.00dB] [on]
  Front Right: Capture 39 [62%] [12.00dB] [on]
Simple mixer control 'Mic',0
  Capabilities: pvolume pswitch cswitch
  Front Left: Playback 0 [0%] [-34.50dB] [off] Capture [off]
Simple mixer control 'Mic Boost',0
  Capabilities: volume
  Front Left: 0 [0%] [0.00dB]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [off]
"""
CARDS = {
    "/proc/asound/cards": " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n"
    "                      HDA Intel PCH at 0xf7 irq 32\n"
    " 1 [Device         ]: USB-Audio - USB Audio Device\n"
    "                      C-Media USB Audio Device at usb\n",
    "/proc/asound/card1/stream0": "Playback:\n  Interface 1\n    Rates: 44100, 48000\n",
    "/dev/snd/pcmC1D0p": "",
    "/dev/snd/pcmC1D0c": "",
}
AMIXER = "amixer -c 1 scontents"


def card(device, direction, rate, notice):
    return SimpleNamespace(name="USB Audio Device: - (hw:1,0)")


def examined(root: Path, url="audio:?rate=48000", files=None, said=None, *, sends=True, find=card):
    here = machine(root, CARDS | (files or {}), {AMIXER: SPEAKERS} | (said or {}))
    return sound.judge(sound.look(parse(url), here, sends=sends, find=find))


@pytest.mark.parametrize("sends", [True, False])
def test_a_card_that_is_well(tmp_path: Path, sends: bool) -> None:
    found = examined(tmp_path, sends=sends)
    assert {check.status for check in found} == {"ok"}, found
    names = by_name(found)
    assert set(names) == {"card", "permission", "sample rate", "mute", "level", "sound server"}
    assert names["mute"].found == f"nothing is: {'Master' if sends else 'Capture'}"


def changed(what: str, by: str) -> dict[str, str]:
    assert what in SPEAKERS
    return {AMIXER: SPEAKERS.replace(what, by)}


PIPEWIRE = process(5, "pipewire")
PULSE = process(5, "pulseaudio")
AT_44 = {"pactl info": "Server Name: x\nDefault Sample Specification: float32le 2ch 44100Hz\n"}
ECHO = {
    "pactl info": "Default Sample Specification: s16le 2ch 48000Hz\n",
    "pactl list short modules": "7\tmodule-echo-cancel\taec_method=webrtc\n",
}
AGC = "Mono: Playback [off]"
FAULTS = [
    (True, changed("[-5.25dB] [on]", "[-5.25dB] [off]"), {}, "mute", "bad", "sset Master unmute"),
    (True, changed("80 [92%]", "0 [0%]"), {}, "level", "bad", "amixer -c 1 sset Master 75%"),
    (True, changed("80 [92%]", "9 [10%]"), {}, "level", "hint", "sset Master 75%"),
    (False, changed("[12.00dB] [on]", "[12.00dB] [off]"), {}, "mute", "bad", "sset Capture cap"),
    (False, changed(AGC, "Mono: Playback [on]"), {}, "gain control", "bad", "Control' off"),
    (False, changed("0 [0%] [0.00dB]", "3 [100%] [30dB]"), {}, "boost", "hint", "'Mic Boost' 0"),
    (True, AT_44, PIPEWIRE, "sound server", "hint", "clock.force-rate 48000"),
    (False, AT_44, PULSE, "sound server", "hint", "default-sample-rate = 48000"),
    (False, ECHO, PIPEWIRE, "speech filter", "bad", "unload-module module-echo-cancel"),
]  # fmt: skip


@pytest.mark.parametrize(("sends", "said", "files", "name", "status", "mend"), FAULTS)
def test_a_fault_is_found_alone_with_its_mend(
    tmp_path, sends, said, files, name, status, mend
) -> None:
    found = examined(tmp_path, files=files, said=said, sends=sends)
    assert {check.name for check in found if check.status != "ok"} == {name}
    assert with_status(found, status) == {name}
    assert mend in by_name(found)[name].mend


def test_a_rate_that_the_card_cannot_do(tmp_path: Path) -> None:
    found = by_name(examined(tmp_path, "audio:?rate=96000"))["sample rate"]
    assert found.status == "hint"
    assert found.mend == "diode doctor --to 'audio:?rate=48000'"


def test_a_notice_of_the_carrier(tmp_path: Path) -> None:
    def find(device, direction, rate, notice):
        notice("x: 48000 Hz is not to be had, running at 44100")
        return card(device, direction, rate, notice)

    found = by_name(examined(tmp_path, find=find))["sample rate"]
    assert found.status == "hint"
    assert "44100" in found.found


def test_no_card(tmp_path: Path) -> None:
    def find(*_):
        raise CarrierError("there is no sound device for output", hint="aplay -l")

    found = by_name(examined(tmp_path, find=find))
    assert (found["card"].status, found["card"].mend) == ("bad", "aplay -l")


def test_tools_that_are_not_there(tmp_path: Path) -> None:
    here = machine(tmp_path, CARDS | PIPEWIRE)
    found = sound.judge(sound.look(parse("audio:"), here, sends=True, find=card))
    assert with_status(found, "unknown") == {"mute", "sound server"}
    assert with_status(found, "bad") == set()


def test_a_user_who_is_not_in_audio(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("diode.doctor.machine.Machine.permits", lambda *_, **__: False)
    found: dict[str, Check] = by_name(examined(tmp_path))
    assert "usermod -a -G audio" in found["permission"].mend
