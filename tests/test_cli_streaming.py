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


# Without a spool ---------------------------------------------------------------------------------


def joined(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_a_stream_in_pieces(shell: Shell) -> None:
    """It goes out while it is still being written, and its list is its end."""
    content = make(shell.folder / "x", 20 << 20)
    command = ["send", "-", "--no-spool", "--name", "a/dump", "--to", "file:cap"]
    process = subprocess.Popen(
        [sys.executable, "-m", "diode", *command],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=shell.folder,
        env=shell.environment,
    )
    shell.processes.append(process)
    assert process.stdin is not None
    process.stdin.write(content[: 17 << 20])
    process.stdin.flush()
    wait_until(lambda: cap_size(shell) > 16 << 20, 60)
    process.stdin.write(content[17 << 20 :])
    process.stdin.close()
    process.stdin = None
    assert process.wait(60) == 0
    ran = shell.run("recv", "inbox", "--from", "file:cap")
    assert ran.code == 0, ran.err
    assert joined(shell.folder / "inbox/a/dump") == content
    assert len(list((shell.folder / "inbox/a/dump").iterdir())) == 2, "of 16 MiB each"
    ran = shell.run("verify", "inbox/a/dump", "--against", "inbox/a/dump.mtree")
    assert ran.code == 0, ran.out


def test_many_pieces_with_passes_signed_and_encrypted(shell: Shell) -> None:
    content = make(shell.folder / "x", 35_000_000)
    assert shell.run("keygen", "me").code == 0
    assert shell.run("keygen", "you", "--encrypt").code == 0
    arguments = ("--sign", "me", "--encrypt-to", "you.pub", "--passes", "2", "--redundancy", "60%")
    impaired = ("--to", "file:cap", "--impair", "drop=10%,seed=2")
    ran = shell.run("send", "-", "--no-spool", *arguments, *impaired, stdin=content)
    assert ran.code == 0, ran.err
    ran = shell.run(
        "recv", "inbox", "--from", "file:cap", "--verify", "me.pub", "--identity", "you"
    )
    assert ran.code == 0, ran.err
    assert joined(shell.folder / "inbox/stdin") == content
    assert shell.run("verify", "inbox/stdin", "--against", "inbox/stdin.mtree").code == 0


def test_an_empty_stream_in_pieces(shell: Shell) -> None:
    assert shell.run("send", "-", "--no-spool", "--to", "file:cap", stdin=b"").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    assert (shell.folder / "inbox/stdin.mtree").read_bytes() == b"#mtree v2.0\n"


def test_pieces_that_were_given_up_have_no_end(shell: Shell) -> None:
    pipeline = (
        f"(head -c 100000 /dev/zero; false || touch abort) | "
        f"{sys.executable} -m diode send - --no-spool --abort-file abort --to 'file:cap?rate=1M'"
    )
    done = subprocess.run(
        ["sh", "-c", pipeline],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "given up by its writer: abort is there" in done.stderr
    shell.run("recv", "inbox", "--from", "file:cap")
    assert not (shell.folder / "inbox/stdin.mtree").exists()


@pytest.mark.parametrize(
    "more", [["--cbr"], ["--passes", "0"], ["--max-spool", "1G"], ["another"]], ids=str
)
def test_what_does_not_go_with_pieces(shell: Shell, more: list[str]) -> None:
    ran = shell.run("send", "-", "--no-spool", *more, "--to", "file:cap?rate=1M", stdin=b"")
    assert ran.code == 2
    assert "--no-spool" in ran.err
