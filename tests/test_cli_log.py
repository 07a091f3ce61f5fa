"""Messages on standard error: words, lines for the journal, JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli import Shell, make

from diode.cli import log
from diode.cli.report import Report
from diode.errors import Locked


def talk(report: Report) -> None:
    report.say("words", "green")
    report.detail("a detail")
    report.warn("careful:\n<0>not an emergency")
    report.error(Locked("in use", hint="wait"))


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (log.VARIABLE, log.JOURNAL_STREAM):
        monkeypatch.delenv(name, raising=False)


def test_each_line_for_the_journal_has_its_priority(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.VARIABLE, "journal")
    talk(Report(verbose=True))
    assert capfd.readouterr().err.splitlines() == [
        "<6>words",
        "<7>a detail",
        "<4>careful:",
        "<4><0>not an emergency",
        "<3>in use",
        "<5>hint: wait",
    ]


def test_json_is_one_object_a_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.VARIABLE, "json")
    talk(Report(verbose=True))
    out, err = capfd.readouterr()
    assert out == ""
    said = [json.loads(line) for line in err.splitlines()]
    assert [(one["level"], one["message"], one["hint"]) for one in said] == [
        ("info", "words", ""),
        ("debug", "a detail", ""),
        ("warning", "careful:\n<0>not an emergency", ""),
        ("error", "in use", "wait"),
    ]
    assert said[3]["code"] == 11
    for one in said:
        assert dt.datetime.fromisoformat(one["time"]).utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize("name", ["json", "journal"])
def test_quiet_and_live_are_what_they_were(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.VARIABLE, name)
    report = Report(quiet=True, verbose=True)
    talk(report)
    assert not report.live
    err = capfd.readouterr().err
    assert "words" not in err
    assert "a detail" not in err
    assert "in use" in err


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    """As systemd starts a service; and when its standard error goes elsewhere."""
    program = "from diode.cli.report import Report; Report().warn('careful')"

    def said(stream: str) -> str:
        with (tmp_path / "journal").open("wb") as file:
            found = os.fstat(file.fileno())
            environment = {
                log.JOURNAL_STREAM: stream.format(found=found),
                "PATH": os.environ["PATH"],
            }
            subprocess.run(
                [sys.executable, "-c", program], stderr=file, env=environment, check=True
            )
        return (tmp_path / "journal").read_text()

    assert said("{found.st_dev}:{found.st_ino}") == "<4>careful\n"
    assert said("{found.st_dev}:1") == "diode: careful\n"
    assert said("") == "diode: careful\n"


@pytest.mark.parametrize("arguments", [("--log-format", "json"), ("--log-format=json",)])
def test_the_option_holds_for_what_ends_a_command(shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = shell.run("recv", "inbox", "--from", "serial:/dev/not-there", *arguments)
    assert ran.code == 10
    (said,) = [json.loads(line) for line in ran.err.splitlines()]
    assert said["level"] == "error"
    assert said["code"] == 10
    assert "/dev/not-there" in said["message"]
    assert said["hint"]


def test_a_wrong_command_line_is_a_line_too(shell: Shell) -> None:
    ran = shell.run("send", "--log-format", "json")
    assert ran.code == 2
    said = json.loads(ran.err)
    assert said["message"] == "Missing option '--to'."
    assert said["hint"] == "diode send --help"


def test_a_format_there_is_not(shell: Shell) -> None:
    ran = shell.run("keygen", "x", "--log-format", "xml")
    assert ran.code == 2
    assert "--log-format" in ran.err


def test_messages_and_events_at_once(shell: Shell) -> None:
    """Asked for, messages come beside the events; not asked for, events alone are enough."""
    make(shell.folder / "a", 300)
    send = ("send", "a", "--to", "file:cap", "--json")
    alone = shell.run(*send)
    assert alone.err == ""
    both = shell.run(*send, "--log-format", "journal")
    assert both.code == 0, both.err
    assert both.events("object_sent")
    assert both.err.startswith("<6>sent 1 object")
    assert all(line.startswith("<6>") for line in both.err.splitlines())


def test_every_verb_takes_the_option() -> None:
    import click

    from diode.cli import diode as program

    def leaves(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            return [(path, command)]
        context = click.Context(command)
        found = []
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += leaves(child, f"{path} {name}")
        return found

    verbs = leaves(program, "diode")
    assert len(verbs) > 8
    # What prints a text and nothing else has no messages.
    lacking = [
        path
        for path, verb in verbs
        if path != "diode completion"
        and "--log-format" not in {o for p in verb.params for o in p.opts}
    ]
    assert lacking == []


@pytest.mark.parametrize("name", ["json", "journal"])
def test_nobody_reading_does_not_end_the_work(name: str) -> None:
    program = (
        "from diode.cli.report import Report\n"
        "report = Report()\n"
        "for _ in range(3): report.warn('careful')\n"
        "print('done')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=writing,
        env={**os.environ, log.VARIABLE: name},
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert done.stdout == b"done\n"
    assert done.returncode == 0
