"""diode linktest as a user has it: a test sent, a test heard, advice that is right."""

from __future__ import annotations

import json
import shlex
import time

import numpy as np
import pytest
from cli import Ran, Shell, make

from diode import line, stamp
from diode.cli.linktest_report import Figures
from diode.linktest import Segment, Way
from diode.service.linktest import Listener


def measured(shell: Shell, to: str, *arguments: str, listen: tuple[str, ...] = ()) -> dict:
    """The event of a test sent to that URL and heard from it."""
    sent = shell.run("linktest", "send", "--to", to, *arguments)
    assert sent.code == 0, sent.err
    heard = shell.run("linktest", "recv", "--from", to.partition("?")[0], "--json", *listen)
    assert heard.code == 0, heard.out
    (event,) = heard.events("linktest")
    return event


def test_a_clean_line(shell: Shell) -> None:
    event = measured(shell, "file:cap?rate=8M", "--seconds", "0.5")
    assert [part["line"] for part in event["segments"]] == ["cobs", "rs"]
    for part in event["segments"]:
        assert part["rate"] == 1_000_000
        assert part["lost"] == part["bits_flipped"] == part["bytes_lost"] == 0
        assert part["frames"] > 400
        assert 0 < part["loss_bound"] < 0.01
        assert part["failure"] <= 1e-9
    assert event["advice"].startswith("diode send FILE --to URL --line cobs --code zfec")
    assert event["unheard"] == event["level_advice"] == []


def test_a_damaged_line(shell: Shell) -> None:
    spec = "drop=5%,flip=1e-4,slip=1e-4,seed=1"
    event = measured(shell, "file:cap?rate=8M", "--seconds", "1", "--impair", spec)
    cobs, rs = event["segments"]
    for part in (cobs, rs):
        assert part["bit_error_rate"] == pytest.approx(1e-4, rel=0.2)
        assert part["slip_rate"] == pytest.approx(1e-4, rel=0.2)
    assert cobs["loss"] > 2 * rs["loss"] > 0.1
    assert "--line rs" in event["advice"]


def test_what_is_advised_delivers(shell: Shell) -> None:
    spec = "ge=1%/20%,flip=1e-5,burst=20ms/1s"
    event = measured(
        shell, "file:cap?rate=8M", "--seconds", "1", "--impair", spec, listen=("--size", "100k")
    )
    content = make(shell.folder / "x", 100_000)
    words = shlex.split(event["advice"])
    words[words.index("FILE")] = "x"
    words[words.index("URL")] = "file:air?rate=40M"
    words += ["--impair", f"{spec},seed=10"]
    assert shell.run(*words[1:]).code == 0
    assert shell.run("recv", "inbox", "--from", "file:air").code == 0
    assert (shell.folder / "inbox" / "x").read_bytes() == content


def test_table_histogram_and_files(shell: Shell) -> None:
    shell.run("linktest", "send", "--to", "file:cap", "--seconds", "1", "--impair", "ge=1%/20%")
    arguments = ("--save", "link.json", "--plot", "link.png", "-v")
    ran = shell.run("linktest", "recv", "--from", "file:cap", *arguments)
    assert ran.code == 0
    assert "Gilbert p, r" in ran.out
    assert "in bursts" in ran.out
    assert "lost in a row (" in ran.out
    assert "  1 ###" in ran.out or "    1 ###" in ran.out
    (advice,) = [text for text in ran.out.splitlines() if text.startswith("diode send")]
    assert "--burst" not in advice  # a file without a rate
    saved = json.loads((shell.folder / "link.json").read_text())
    assert saved["advice"] == advice
    assert (shell.folder / "link.png").read_bytes()[:4] == b"\x89PNG"


def test_one_line_alone(shell: Shell) -> None:
    event = measured(shell, "file:cap", "--seconds", "0.2", "--line", "rs")
    assert [part["line"] for part in event["segments"]] == ["rs"]
    assert "--line rs" in event["advice"]


def test_a_segment_of_which_nothing_came(shell: Shell) -> None:
    shell.run("linktest", "send", "--to", "file:cap?rate=8M", "--seconds", "0.5")
    ran = shell.run("linktest", "recv", "--from", "file:cap", "--line", "rs")
    assert ran.code == 0
    assert "of cobs nothing was heard" in ran.err


def test_nothing_heard(shell: Shell) -> None:
    (shell.folder / "noise").write_bytes(np.random.default_rng(1).bytes(10_000))
    ran = shell.run("linktest", "recv", "--from", "file:noise")
    assert ran.code == 4
    assert "10 kB heard, no test in it" in ran.err
    make(shell.folder / "x", 3000)
    shell.run("send", "x", "--to", "file:cap")
    ran = shell.run("linktest", "recv", "--from", "file:cap")
    assert ran.code == 4
    assert "all of something else" in ran.err


def test_no_setting_would_do(shell: Shell) -> None:
    spec = ("--impair", "drop=97%,seed=2")
    shell.run("linktest", "send", "--to", "file:cap?rate=8M", "--seconds", "0.5", *spec)
    ran = shell.run("linktest", "recv", "--from", "file:cap")
    assert ran.code == 3
    assert "no setting would do" in ran.err


def test_a_target_that_is_no_probability(shell: Shell) -> None:
    (shell.folder / "cap").write_bytes(b"")
    ran = shell.run("linktest", "recv", "--from", "file:cap", "--want", "5")
    assert ran.code == 2
    assert "--want 1e-9" in ran.err


def test_sound_goes_through_the_modems(shell: Shell) -> None:
    event = measured(
        shell, "wav:x.wav", "--seconds", "2", listen=("--size", "2k", "--want", "1e-3")
    )
    assert [part["modem"] for part in event["segments"]] == ["robust", "telephone", "cable"]
    for part in event["segments"]:
        assert part["lost"] == 0
        assert part["snr_db"] > 15
        assert abs(part["clock_ppm"]) < 400  # from a few short frames
        assert part["level_db"] == pytest.approx(-12, abs=4)
    assert event["modem"] == "cable"
    assert "URL?modem=cable" in event["advice"]
    assert event["level_advice"] == []


def test_sound_that_only_robust_gets_through(shell: Shell) -> None:
    soundfile = pytest.importorskip("soundfile")
    shell.run("linktest", "send", "--to", "wav:x.wav", "--seconds", "2")
    samples, rate = soundfile.read(shell.folder / "x.wav")
    noise = np.random.default_rng(1).normal(0, 1.0, len(samples))
    soundfile.write(shell.folder / "y.wav", 0.02 * (samples + noise), rate)
    arguments = ("--json", "--size", "1k", "--want", "1e-2")
    ran = shell.run("linktest", "recv", "--from", "wav:y.wav", *arguments)
    (event,) = ran.events("linktest")
    assert event["modem"] == "robust"
    assert "cable, cobs" in event["unheard"]


def test_sound_too_loud(shell: Shell) -> None:
    soundfile = pytest.importorskip("soundfile")
    shell.run("linktest", "send", "--to", "wav:x.wav?modem=telephone", "--seconds", "2")
    samples, rate = soundfile.read(shell.folder / "x.wav")
    soundfile.write(shell.folder / "y.wav", np.clip(4 * samples, -1, 1), rate)
    ran = shell.run("linktest", "recv", "--from", "wav:y.wav", "--want", "1e-2")
    assert "overdriven" in ran.out
    assert "lower the input level by" in ran.out


def test_plain_fsk_has_both_lines(shell: Shell) -> None:
    event = measured(shell, "wav:x.wav?modem=bell202", "--seconds", "1")
    assert [(p["line"], p["modem"]) for p in event["segments"]] == [
        ("cobs", "bell202"),
        ("rs", "bell202"),
    ]
    assert event["segments"][1]["bits_flipped"] == 0


def test_inspect_knows_the_frames(shell: Shell) -> None:
    shell.run("linktest", "send", "--to", "file:cap", "--seconds", "0.2", "--line", "cobs")
    ran = shell.run("inspect", "cap", "--json")
    (capture,) = ran.events("capture")
    assert capture["kinds"] == {"linktest": capture["frames"]}
    assert all(sender["lost"] == 0 for sender in ran.events("sender"))


def test_a_pipe_ends_when_the_test_does(shell: Shell) -> None:
    """Both ends at once; the listener stops by itself, though the pipe stays open."""
    import os

    os.mkfifo(shell.folder / "air")
    keeper = os.open(shell.folder / "air", os.O_RDWR)
    try:
        ear = shell.start("linktest", "recv", "--from", "file:air", "--json")
        shell.listening(ear)
        sent = shell.run("linktest", "send", "--to", "file:air?rate=1M", "--seconds", "0.5")
        assert sent.code == 0
        heard = shell.finish(ear, 30)
    finally:
        os.close(keeper)
    assert heard.code == 0
    assert [part["lost"] for part in heard.events("linktest")[0]["segments"]] == [0, 0]


def interrupted(shell: Shell) -> Ran:
    mouth = shell.start("linktest", "send", "--to", "file:cap?rate=1M", "--seconds", "60")
    while not (shell.folder / "cap").exists() or (shell.folder / "cap").stat().st_size < 50_000:
        time.sleep(0.05)
    mouth.send_signal(2)
    return shell.finish(mouth)


def test_a_sender_that_was_stopped_loses_nothing(shell: Shell) -> None:
    assert interrupted(shell).code == 130
    ran = shell.run("linktest", "recv", "--from", "file:cap", "--json")
    (part,) = ran.events("linktest")[0]["segments"]
    assert part["lost"] == 0
    assert part["frames"] > 100


def test_names_from_the_link_are_from_a_table(shell: Shell) -> None:
    """A frame with way numbers that do not exist is no frame of a test."""
    test = Segment(5, 0, (Way("cobs"),), 10, 100, 0)
    frames = test.frames(0, 10)
    frames.data.reshape(10, -1)[:, 28] = 0x9F

    stamp.stamp(frames, 0)
    (shell.folder / "cap").write_bytes(line.encoder("cobs").encode(frames).data.tobytes())
    assert shell.run("linktest", "recv", "--from", "file:cap").code == 4


@pytest.mark.parametrize("way", [Way("rs"), Way("rs", "robust"), Way("cobs", "cable"), Way("cobs")])
@pytest.mark.parametrize(("rate", "length"), [(0, 60), (1, 16_000), (2**32 - 1, 300)])
def test_what_cannot_be_is_no_trouble(way: Way, rate: int, length: int) -> None:
    """Frames that pass every check, with lengths, ways and counts as no sender would make them."""
    test = Segment(5, 0, (way,), 1 << 24, length, rate)
    sent = line.encoder("cobs").encode(test.frames(0, 3))
    more = line.encoder("cobs").encode(test.frames((1 << 24) - 1, 1 << 24))
    listener = Listener(Once(sent.data.tobytes() + more.data.tobytes()))
    listener.run()
    results = listener.results()
    figures = Figures(5, results, 1000, 1e-9)
    (part,) = figures.fields()["segments"]
    assert part["lost"] == (1 << 24) - 4
    assert figures.best() is None


class Once:
    """A carrier that has some bytes and ends."""

    rate = None

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, timeout: float | None) -> bytes | None:
        data, self.data = self.data, b""
        return data

    def close(self) -> None:
        pass
