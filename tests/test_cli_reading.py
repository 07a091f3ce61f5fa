"""Two processes from the command line: a disk that stands still, signals, kills, memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli import Shell, children, make, proportional, wait_until
from faults import need_strace
from ptys import Pty

from diode.carrier import separate
from diode.carrier.coupling import Coupling

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not separate.POSSIBLE, reason="processes are looked at in /proc"
)
BAUD = 3_000_000
STALL = 1.5
"""Seconds that each fsync takes."""


# A receiver that stands still -----------------------------------------------------------------


def test_a_disk_that_stands_still_holds_up_no_listening(shell: Shell) -> None:
    """T84, P10: 300 kB/s, and each fsync takes longer than what the kernel could bridge."""
    need_strace()
    content = make(shell.folder / "file", 1_000_000)
    trace = shell.folder / "trace"
    slow = f"inject=fsync,fdatasync:delay_enter={STALL * 1e6:.0f}"
    prefix = ("strace", "-f", "--seccomp-bpf", "-o", str(trace), "-e", "trace=fsync,fdatasync")
    with Coupling(BAUD) as line:
        arguments = ("--json", "--once", "--from", f"serial:{line.rx_path}?baud={BAUD}")
        receiver = shell.start("recv", "inbox", *arguments, prefix=(*prefix, "-e", slow))
        shell.listening(receiver)
        sent = shell.run("send", "file", "--to", f"serial:{line.tx_path}?baud={BAUD}")
        assert sent.code == 0, sent.err
        ran = shell.finish(receiver, timeout=120)
    assert ran.code == 0
    assert trace.read_text().count("(DELAYED)") >= 3
    assert line.bytes_in == line.bytes_out > 1_000_000
    assert line.bytes_overrun == 0
    link = ran.events("link")[-1]
    assert (link["lost"], link["dropped_bytes"], link["dropped_reads"]) == (0, 0, 0)
    assert ran.events("warning") == []
    assert (shell.folder / "inbox/file").read_bytes() == content


def stopped_meanwhile(shell: Shell, *options: str) -> tuple[dict, Coupling, list[str]]:
    """A file is sent at 300 kB/s while the receiver is stopped, all but its reader: the last `link`
    event, the line, and the warnings.
    """
    with Coupling(BAUD) as line:
        arguments = ("--json", "--idle", "3", "--from", f"serial:{line.rx_path}?baud={BAUD}")
        receiver = shell.start("recv", "inbox", *arguments, *options)
        shell.listening(receiver)
        receiver.send_signal(signal.SIGSTOP)
        try:
            sent = shell.run("send", "file", "--to", f"serial:{line.tx_path}?baud={BAUD}")
            wait_until(lambda: line.bytes_in == line.bytes_out)
        finally:
            receiver.send_signal(signal.SIGCONT)
        assert sent.code == 0, sent.err
        ran = shell.finish(receiver)
    assert line.bytes_in == line.bytes_out > 1_000_000
    assert line.bytes_overrun == 0
    return ran.events("link")[-1], line, [event["message"] for event in ran.events("warning")]


def test_what_comes_meanwhile_waits_in_the_buffer(shell: Shell) -> None:
    content = make(shell.folder / "file", 1_000_000)
    link, line, warnings = stopped_meanwhile(shell)
    assert link["bytes"] == line.bytes_out
    assert (link["lost"], link["dropped_bytes"], link["dropped_reads"]) == (0, 0, 0)
    assert warnings == []
    assert (shell.folder / "inbox/file").read_bytes() == content


def test_what_is_beyond_the_buffer_is_counted_to_the_byte(shell: Shell) -> None:
    """T84: the line is drained on, and what found no room is told, once."""
    make(shell.folder / "file", 1_000_000)
    link, line, warnings = stopped_meanwhile(shell, "--buffer", "64KiB")
    assert link["dropped_bytes"] > 900_000
    assert link["dropped_reads"] > 10
    assert link["bytes"] + link["dropped_bytes"] == line.bytes_out
    assert len([text for text in warnings if "are being dropped" in text]) == 1
    assert f"{link['dropped_bytes']:,} bytes of the line were dropped" in "\n".join(warnings)


def test_a_link_test_tells_what_was_dropped_here(shell: Shell) -> None:
    """It is lost, but not on the line."""
    with Coupling(BAUD) as line:
        arguments = ("--json", "--idle", "2", "--buffer", "64KiB")
        url = f"serial:{line.rx_path}?baud={BAUD}"
        receiver = shell.start("linktest", "recv", *arguments, "--from", url)
        shell.listening(receiver)
        receiver.send_signal(signal.SIGSTOP)
        try:
            to = f"serial:{line.tx_path}?baud={BAUD}"
            sent = shell.run("linktest", "send", "--to", to, "--seconds", "2")
            wait_until(lambda: line.bytes_in == line.bytes_out)
        finally:
            receiver.send_signal(signal.SIGCONT)
        assert sent.code == 0, sent.err
        ran = shell.finish(receiver)
    assert line.bytes_overrun == 0
    (measured,) = ran.events("linktest")
    assert line.bytes_out - (64 << 10) <= measured["dropped_bytes"] < line.bytes_out
    assert measured["dropped_reads"] > 10
    told = f"{measured['dropped_bytes']:,} bytes were dropped here"
    assert [event for event in ran.events("warning") if told in event["message"]] != []


# Signals ------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(shell: Shell, *arguments: str, prefix: tuple[str, ...] = ()):
    """A receiver on a terminal, which has heard half of an object: port, process, its reader."""
    content = make(shell.folder / "file", 300_000)
    assert shell.run("send", "file", "--to", "file:capture").code == 0
    half = (shell.folder / "capture").read_bytes()[:200_000]
    with Pty(shell.folder / "port") as port:
        url = f"serial:{port.path}"
        receiver = shell.start("recv", "inbox", "--json", *arguments, "--from", url, prefix=prefix)
        shell.listening(receiver)
        reader = shell.reader(receiver)
        feeding = threading.Thread(target=write_all, args=(port.master, half))
        feeding.start()
        while json.loads(receiver.stdout.readline())["event"] != "object_announced":
            pass
        feeding.join()
        yield port, receiver, reader
    assert not Path(f"/proc/{reader}").exists() or children(receiver.pid) == []
    assert shell.run("recv", "inbox", "--from", "file:capture").code == 0
    assert (shell.folder / "inbox/file").read_bytes() == content


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data[:2048]) :]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_them_is_an_orderly_end(shell: Shell, number: signal.Signals) -> None:
    """Ctrl-C in a terminal, or a service manager: both processes get it."""
    with listening(shell, prefix=("setsid",)) as (_, receiver, reader):
        os.killpg(receiver.pid, number)
        ran = shell.finish(receiver, timeout=10)
        assert ran.code == 130
        assert ran.err == ""
        assert ran.events("object_incomplete")
        wait_until(lambda: not Path(f"/proc/{reader}").exists())


def test_a_signal_while_it_opens_ends_at_once(shell: Shell) -> None:
    os.mkfifo(shell.folder / "fifo")
    receiver = shell.start(
        "recv", "inbox", "--from", "file:fifo"
    )  # nobody writes: it opens for ever
    wait_until(lambda: children(receiver.pid))
    (reader,) = children(receiver.pid)
    receiver.send_signal(signal.SIGINT)
    ran = shell.finish(receiver, timeout=10)
    assert ran.code == 130
    wait_until(lambda: not Path(f"/proc/{reader}").exists())


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_receiver_that_is_killed_takes_its_reader_along(shell: Shell, state: str) -> None:
    """Under Landlock too, where the usual signal of a parent's death is dropped."""
    with listening(shell) as (_, receiver, reader):
        if state == "stopped":
            os.kill(reader, signal.SIGSTOP)
        receiver.kill()
        receiver.wait()
        wait_until(lambda: not Path(f"/proc/{reader}").exists())


def test_a_reader_that_is_killed_ends_the_receiver_which_keeps_everything(shell: Shell) -> None:
    with listening(shell) as (_, receiver, reader):
        os.kill(reader, signal.SIGKILL)
        ran = shell.finish(receiver, timeout=10)
        assert ran.code == 10
        (error,) = ran.events("error")
        assert "SIGKILL" in error["message"] and "start again" in error["hint"]
    known = shell.run("recv", "inbox", "--from", "file:capture", "--json").events("object_known")
    assert [event["name"] for event in known] == ["file"]


# Standard input -----------------------------------------------------------------------------


def test_standard_input_belongs_to_the_reader(shell: Shell) -> None:
    content = make(shell.folder / "file", 50_000)
    assert shell.run("send", "file", "--to", "file:capture").code == 0
    with (shell.folder / "capture").open("rb") as capture:
        process = subprocess.Popen(
            [sys.executable, "-m", "diode", "recv", "-", "--from", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=shell.folder,
            env=shell.environment,
        )
        shell.processes.append(process)
        wait_until(lambda: children(process.pid))
        (reader,) = children(process.pid)
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull)
        assert os.readlink(f"/proc/{reader}/fd/0").startswith("pipe:")
        assert os.readlink(f"/proc/{reader}/fd/1") == os.devnull
        out, err = process.communicate(capture.read(), timeout=60)
    assert process.returncode == 0, err
    assert out == content


# Memory -------------------------------------------------------------------------------------

MOST = 256e6


def test_memory_of_both_together(shell: Shell) -> None:
    """At full speed, with the ring in use from end to end, both stay below 256 MB."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this kernel does not tell how memory is shared")
    make(shell.folder / "file", 100_000_000)
    assert shell.run("send", "file", "--to", "file:capture", "--redundancy", "5%").code == 0
    receiver = shell.start("recv", "inbox", "--from", "file:capture", "-q")
    most, split = 0, (0, 0)
    while receiver.poll() is None:
        processes = [receiver.pid, *children(receiver.pid)]
        sizes = [proportional(process) for process in processes]
        if len(sizes) == 2 and sum(sizes) > most:
            most, split = sum(sizes), (sizes[0], sizes[1])
        time.sleep(0.02)
    assert shell.finish(receiver).code == 0
    print(f"both together {most / 1e6:.0f} MB: {split[0] / 1e6:.0f} and {split[1] / 1e6:.0f} MB")
    assert 10e6 < most < MOST


@pytest.mark.parametrize("size", ["1000", "2GB", "viel"])
def test_buffers_that_cannot_be(shell: Shell, size: str) -> None:
    ran = shell.run("recv", "inbox", "--from", "file:x", "--buffer", size)
    assert ran.code == 2
    assert size in ran.err
