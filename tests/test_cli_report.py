"""What reaches standard output and standard error, and in which form."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from diode.cli.report import Report
from diode.errors import CarrierError, Locked
from diode.wording import plural, seconds, size

NASTY = 'a\tb\x1b[31mred\u202e é 漢\udcff "quoted" \\ [bold]not[/bold] [/nothing] :bomb:\nsecond'


def test_json_is_one_ascii_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    report = Report(json_=True, verbose=True)
    report.event("object_delivered", name=NASTY, size=5, loss=0.25, signed_by=None)
    report.event("link", reasons={"crc": 1})
    report.warn(NASTY)
    report.error(CarrierError("it is\ngone", hint="plug it in"))
    report.say("words")
    report.detail("more words")
    report.result("a result")
    out, err = capfd.readouterr()
    assert err == ""
    assert all(c == "\n" or " " <= c <= "~" for c in out)
    first, second, third, fourth = (json.loads(line) for line in out.splitlines())
    assert first == {
        "event": "object_delivered",
        "name": NASTY,
        "size": 5,
        "loss": 0.25,
        "signed_by": None,
    }
    assert second == {"event": "link", "reasons": {"crc": 1}}
    assert third == {"event": "warning", "message": NASTY}
    assert fourth == {"event": "error", "code": 10, "message": "it is\ngone", "hint": "plug it in"}


def test_words_go_to_standard_error_and_results_to_standard_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    report = Report(verbose=True)
    report.event("object_sent", name="x")
    report.result("a result")
    report.say("words")
    report.detail("a detail")
    report.warn("careful")
    report.error(Locked("in use", hint="wait"))
    out, err = capfd.readouterr()
    assert out == "a result\n"
    assert err.splitlines() == [
        "words",
        "a detail",
        "diode: careful",
        "diode: in use",
        "diode: hint: wait",
    ]


def test_no_hint_no_hint_line(capfd: pytest.CaptureFixture[str]) -> None:
    Report().error(Locked())
    assert capfd.readouterr().err == "diode: Another instance holds the lock.\n"


def test_details_only_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    Report().detail("a detail")
    assert capfd.readouterr() == ("", "")


def test_quiet_says_only_what_went_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    report = Report(quiet=True, verbose=True)
    report.say("words")
    report.detail("a detail")
    report.warn("careful")
    report.error(Locked("in use"))
    report.result("a result")
    out, err = capfd.readouterr()
    assert err == "diode: careful\ndiode: in use\n"
    assert out == "a result\n"


def test_markup_emoji_and_links_are_text(capfd: pytest.CaptureFixture[str]) -> None:
    text = "[bold]a[/bold] [/nothing] [link=file:///etc]b[/link] :bomb: 192.168.0.1 'x' 42"
    report = Report()
    report.say(text)
    report.warn(text)
    report.error(Locked(text, hint=text))
    lines = capfd.readouterr().err.splitlines()
    assert lines == [text, f"diode: {text}", f"diode: {text}", f"diode: hint: {text}"]


def test_long_lines_stay_lines_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    text = "word " * 100 + "end"
    Report().warn(text)
    assert capfd.readouterr().err == f"diode: {text}\n"


def test_results_are_the_bytes_of_the_name(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = b"\xff\x80 \xc3\xa9"
    report = Report()
    report.result(os.fsdecode(name))
    report.result("plain")
    assert capfdbinary.readouterr().out == name + b"\nplain\n"


PROGRAM = """
from diode.cli.report import Report
from diode.errors import Locked
report = Report({options})
print("live" if report.live else "not live")
report.say("words", "green")
report.warn("careful")
report.error(Locked("in use", hint="wait"))
"""


def on_terminal(options: str = "", **environment: str) -> str:
    """What the program shows on a terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(options=options)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**clean, "TERM": "xterm-256color", **environment},
        check=True,
        timeout=30,
    )
    assert done.returncode == 0
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def test_colour_on_a_terminal() -> None:
    shown = on_terminal()
    assert COLOUR.search(shown)
    assert "live" in shown.splitlines()


@pytest.mark.parametrize("value", ["1", "yes"])
def test_no_colour_where_it_is_not_wanted(value: str) -> None:
    shown = on_terminal(NO_COLOR=value)
    assert not COLOUR.search(shown)
    assert "careful" in shown


def test_no_escapes_on_a_dumb_terminal() -> None:
    assert "\x1b" not in on_terminal(TERM="dumb", NO_COLOR="1").replace("\x1b[1m", "").replace(
        "\x1b[0m", ""
    )


@pytest.mark.parametrize("options", ["quiet=True", "json_=True"])
def test_no_live_display_where_it_would_be_in_the_way(options: str) -> None:
    assert "not live" in on_terminal(options)


def test_no_colour_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(options="")],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={k: v for k, v in os.environ.items() if k != "FORCE_COLOR"},
    )
    assert done.stdout == "not live\n"
    assert done.stderr == "words\ndiode: careful\ndiode: in use\ndiode: hint: wait\n"


def test_nobody_reading_the_messages_does_not_end_the_work() -> None:
    """`diode recv inbox --from URL 2>&1 >/dev/null | head -1` goes on receiving."""
    program = (
        "import sys, os; from diode.cli.report import Report\n"
        "report = Report()\n"
        "for _ in range(3): report.warn('careful')\n"
        "report.say('words'); print('done')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=writing,
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert done.stdout == b"done\n"


def test_no_standard_output_with_a_buffer_is_needed_for_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    Report(json_=True).event("x")
    assert out.getvalue() == '{"event": "x"}\n'


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (10_000_000, "10 MB"),
        (1_234_000_000, "1.23 GB"),
        (2.5e12, "2.5 TB"),
        (999e12, "999 TB"),
    ],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (0.35, "0.35 s"),
        (9.5, "9.5 s"),
        (10, "10 s"),
        (99.4, "99 s"),
        (125, "2 min 05 s"),
        (3600, "60 min 00 s"),
        (11_400, "3 h 10 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_durations_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


def test_plurals() -> None:
    counts = [plural(n, "block") for n in (0, 1, 2, 1234567)]
    assert counts == ["0 blocks", "1 block", "2 blocks", "1,234,567 blocks"]
