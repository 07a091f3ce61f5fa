"""Files as sound, through the command line: what a user of an audio cable or a tape does."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sound_channels
from cli import Shell, make
from rich.console import Console

from diode.cli.listening import Silent, Sound, listening
from diode.cli.terminal import Terminal
from diode.modem import Signal
from diode.modem.hearing import Hearing, hearing
from diode.modem.meter import Meter

soundfile = pytest.importorskip("soundfile", reason="the audio extra is not installed")


def recorded(shell: Shell, name: str, channel: str, seed: int = 1) -> None:
    """Damage a recording."""
    sound, rate = soundfile.read(shell.folder / name, dtype="float32")
    soundfile.write(shell.folder / name, sound_channels.CHANNELS[channel](sound, rate, seed), rate)


@pytest.mark.parametrize("modem", ["robust", "telephone", "cable", "bell202"])
def test_a_file_crosses_as_sound_and_the_receiver_follows(shell: Shell, modem: str) -> None:
    data = make(shell.folder / "x", 150)
    sent = shell.run("send", "x", "--to", f"wav:x.wav?modem={modem}", "--redundancy", "25%")
    assert sent.code == 0
    ran = shell.run("recv", "inbox", "--from", "wav:x.wav", "--json")
    assert ran.code == 0
    assert (shell.folder / "inbox/x").read_bytes() == data
    link = ran.events("link")[-1]
    assert link["modem"] == modem
    assert link["modem_found"] > 0
    assert link["lost"] == 0
    assert abs(link["clock_ppm"]) < 500


def test_what_send_says_of_the_time_is_the_length_of_the_sound(shell: Shell) -> None:
    make(shell.folder / "x", 1000)
    ran = shell.run("send", "x", "--to", "wav:x.wav?modem=telephone")
    told = float(ran.err.split("about ")[1].split(" s of line time")[0])
    info = soundfile.info(shell.folder / "x.wav")
    assert told == pytest.approx(info.frames / info.samplerate - 1.1, rel=0.25)
    told = shell.run("plan", "--size", "1000", "--carrier", "wav:?modem=telephone", "--json")
    assert told.events("plan")[0]["seconds"] == pytest.approx(info.frames / 48_000, rel=0.25)


def test_samples_through_standard_input(shell: Shell) -> None:
    data = make(shell.folder / "x", 500)
    shell.run("send", "x", "--to", "pcm:x.raw?modem=cable")
    raw = (shell.folder / "x.raw").read_bytes()
    ran = shell.run("recv", "inbox", "--from", "pcm:-", stdin=raw)
    assert ran.code == 0
    assert (shell.folder / "inbox/x").read_bytes() == data


def test_the_line_that_a_modem_cannot_carry(shell: Shell) -> None:
    make(shell.folder / "x", 100)
    ran = shell.run("send", "x", "--to", "wav:x.wav", "--line", "rs")
    assert ran.code == 2
    assert "leave out --line" in ran.err


def test_an_unknown_modem(shell: Shell) -> None:
    make(shell.folder / "x", 100)
    ran = shell.run("send", "x", "--to", "wav:x.wav?modem=robost")
    assert ran.code == 2
    assert "modem=robust" in ran.err
    ran = shell.run("send", "x", "--to", "wav:x.wav?modem=auto")
    assert ran.code == 2
    assert "listening" in ran.err


@pytest.mark.parametrize("modem", ["robust", "bell202"])
def test_inspect_draws_a_recording(shell: Shell, modem: str) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    make(shell.folder / "x", 150)
    shell.run("send", "x", "--to", f"wav:x.wav?modem={modem}", "--redundancy", "25%")
    if modem == "robust":  # plain FSK may lose a frame to a hum that is louder than itself
        recorded(shell, "x.wav", "hum_50")
    ran = shell.run("inspect", "x.wav", "--plot", "x.png")
    assert ran.code == 0
    assert "x, 150 B: complete" in ran.out
    assert "0 frames lost" in ran.out
    assert (shell.folder / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_noise(shell: Shell) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    noise = np.random.default_rng(1).normal(0, 0.1, 48_000)
    soundfile.write(shell.folder / "x.wav", noise, 48_000)
    ran = shell.run("inspect", "x.wav", "--plot", "x.png")
    assert ran.code == 4
    assert (shell.folder / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cap", "--plot", "x.png"), "no sound to draw"),
        (("x.wav", "y.wav", "--plot", "x.png"), "one capture"),
        (("x.wav", "--plot", "nowhere/x.png"), "cannot be written"),
        (("x.wav", "--plot", "x.nonsense"), "--plot out.png"),
    ],
)
def test_pictures_that_cannot_be(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    make(shell.folder / "cap", 100)
    for name in ("x.wav", "y.wav"):
        soundfile.write(shell.folder / name, np.zeros(8000), 8000)
    ran = shell.run("inspect", *arguments)
    assert ran.code not in (0, 4)
    assert told in ran.err


class Carrier:
    """A carrier of sound as far as the display knows it."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.meter = Meter(48_000)

    @property
    def heard(self) -> Hearing:
        return hearing(self.signal, self.meter)


def test_what_is_heard_in_words() -> None:
    carrier = Carrier(Signal("robust", True, 14.2, -120.0, -0.2, 0.031, 12, 3))
    time = np.arange(48_000) / 48_000
    carrier.meter.feed((0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32))
    sound = listening(carrier)
    assert isinstance(sound, Sound)
    text = sound.text()
    for told in ("-23 dB robust", "SNR 14 dB", "clock -120 ppm", "offset -0.2 Hz", "3.1%", "12 f"):
        assert told in text
    assert "OVERDRIVEN" not in text
    assert sound.fields()["level_db"] == pytest.approx(-23.0, abs=0.1)
    columns = sound.waterfall().split("|")[1]
    assert len(columns) == 64
    assert 15 <= columns.index(max(columns, key=" .:-=+*#%@".index)) <= 16  # 1 of 4 kHz


def test_too_loud_and_nothing_there() -> None:
    carrier = Carrier(Signal("auto"))
    carrier.meter.feed(np.ones(48_000, np.float32))
    assert "OVERDRIVEN" in listening(carrier).text()
    assert "no carrier" in listening(carrier).text()


def test_a_carrier_without_sound_says_nothing() -> None:
    heard = listening(object())
    assert isinstance(heard, Silent)
    assert (heard.text(), heard.fields(), heard.waterfall()) == ("", {}, "")


def test_the_line_below_the_bar() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system=None)
    with Terminal(console).bar("receiving") as bar:
        bar.update(1, 4, "x", "[=====     ] -30 dB " + "y" * 200)
        bar._bar.refresh()
    assert "[=====     ] -30 dB" in shown.getvalue()
