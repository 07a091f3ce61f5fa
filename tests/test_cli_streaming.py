"""`diode send -`: names made for streams, and ends that are none."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli import Shell, make, wait_until

from diode.cli import streaming


def test_places_in_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "a/b")
    assert streaming.named(None) is None
    assert streaming.named("plain") == "plain"
    made = streaming.named("x/{host}@{time}-{date}.{other}.tar")
    assert made is not None
    pattern = r"x/a_b@[0-9]{8}T[0-9]{6}Z-[0-9]{4}-[0-9]{2}-[0-9]{2}\.\{other\}\.tar"
    assert re.fullmatch(pattern, made)


def test_a_stream_with_a_name_of_its_time(shell: Shell) -> None:
    arguments = ("send", "-", "--name", "host@{time}.tar", "--to", "file:cap", "--json")
    ran = shell.run(*arguments, stdin=b"x" * 5000)
    (sent,) = ran.events("object_sent")
    assert re.fullmatch(r"host@[0-9TZ]{16}\.tar", sent["name"])
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    assert (shell.folder / "inbox" / sent["name"]).read_bytes() == b"x" * 5000


def test_a_writer_that_failed_has_sent_nothing(shell: Shell) -> None:
    """As in (tar … || touch abort) | zstd | diode send - --abort-file abort."""
    pipeline = (
        f"(head -c 9000 /dev/zero; false || touch abort) | cat | "
        f"{sys.executable} -m diode send - --abort-file abort --to file:cap"
    )
    done = subprocess.run(
        ["sh", "-c", pipeline],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "given up by its writer: abort is there" in done.stderr
    assert "hint: remove that file" in done.stderr
    cap = shell.folder / "cap"
    assert not cap.exists() or not cap.read_bytes()


def test_options_of_streams_go_with_streams(shell: Shell) -> None:
    make(shell.folder / "x", 10)
    ran = shell.run("send", "x", "--abort-file", "a", "--to", "file:cap")
    assert ran.code == 2
    assert "--abort-file goes with standard input" in ran.err
    ran = shell.run("send", "-", "--max-spool", "10", "--to", "file:cap", stdin=b"x" * 11)
    assert ran.code == 13
    assert "more than the 10 B of --max-spool" in ran.err


def stopped(shell: Shell, number: signal.Signals | None) -> int:
    """Send a stream slowly and end that half-way, by a signal or an abort file; the exit code."""
    command = [sys.executable, "-m", "diode", "send", "-", "--abort-file", "abort"]
    command += ["--name", "dump", "--to", "file:cap?rate=400k", "--code", "zfec"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=shell.folder,
        env=shell.environment,
    )
    shell.processes.append(process)
    assert process.stdin is not None
    process.stdin.write(b"abcd" * 50_000)
    process.stdin.close()
    process.stdin = None
    wait_until(lambda: cap_size(shell) > 20_000, 60)
    if number is None:
        (shell.folder / "abort").touch()
    else:
        process.send_signal(number)
    return process.wait(60)


def cap_size(shell: Shell) -> int:
    cap = Path(shell.folder / "cap")
    return cap.stat().st_size if cap.exists() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (None, 3)])
def test_one_that_is_stopped_is_void_at_the_other_end(
    shell: Shell, number: signal.Signals | None, code: int
) -> None:
    assert stopped(shell, number) == code
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert ran.code == 3
    assert ran.events("object_delivered") == []
    (incomplete,) = ran.events("object_incomplete")
    assert (incomplete["name"], incomplete["reason"]) == ("dump", "void: its source failed")
    assert not (shell.folder / "inbox/dump").exists()
