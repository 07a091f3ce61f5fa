"""A way back on a sender's port is found, by a trial on purpose; real pseudo-terminals echo or not.

Pseudo-terminals have no modem lines: a fake of three ioctls joins them as a plug would.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Shell
from ptys import Pty
from test_layers import closure

from diode.doctor import Status, loopback
from diode.doctor.loopback import LENGTH, Heard
from diode.errors import CarrierError, UsageError


@contextlib.contextmanager
def socat(folder: Path, other: str) -> Iterator[str]:
    """A port whose other end is that, as a path."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed (apt install socat)")
    port = folder / "port"
    ends = [f"PTY,raw,echo=0,link={port}", other]
    with subprocess.Popen(["socat", *(["-u"] if other == "OPEN:/dev/null" else []), *ends]) as run:
        try:
            until = time.monotonic() + 10
            while not port.exists():
                assert time.monotonic() < until and run.poll() is None, "socat did not start"
                time.sleep(0.005)
            yield str(port)
        finally:
            run.terminate()


def test_a_plug_that_joins_the_two(shell: Shell) -> None:
    with socat(shell.folder, "EXEC:cat") as port:
        ran = shell.run("doctor", "--one-way", "--to", f"serial:{port}", "--json")
    assert ran.code == 3
    path, lines, _ = ran.events("check")
    assert (path["name"], path["status"]) == ("return path", "bad")
    assert path["found"] == f"RETURN PATH PRESENT: {LENGTH} of {LENGTH} bytes sent came back"
    assert "RX" in path["mend"]
    assert (lines["name"], lines["status"]) == ("modem lines", "unknown")


def test_nothing_comes_back(shell: Shell) -> None:
    with socat(shell.folder, "OPEN:/dev/null") as port:
        ran = shell.run("doctor", "--one-way", "--to", f"serial:{port}?baud=1000000")
    assert (ran.code, ran.err) == (0, "")
    assert "ok       return path: nothing came back in 2 s" in ran.out


def test_something_else_drives_the_line(tmp_path: Path) -> None:
    import os

    with Pty(tmp_path / "port") as pty:
        os.write(pty.master, b"early")  # flushed: it came before the trial
        pty_found = None
        real = loopback._try_pattern

        def noisy(port: int, rate: float) -> Heard:
            os.write(pty.master, b"U" * 7)
            return real(port, rate)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loopback, "_try_pattern", noisy)
            pty_found, _, flow = loopback.examine(f"serial:{pty.link}?baud=1000000")
        assert len(pty.heard) == LENGTH
    assert (flow.name, flow.status) == ("flow control", Status.OK)
    assert pty_found.status == Status.BAD
    assert pty_found.found.startswith("something drives RX: 7 bytes")


@pytest.mark.parametrize(
    ("after", "returned"),
    [
        (bytes(range(256)), 256),
        (bytes(range(100, 104)), 4),
        (bytes(range(100, 103)), 0),
        (b"\xff" * 50 + bytes(range(7)) + b"\xff" * 50, 7),
        (bytes(range(10)) * 3, 30),
        (bytes(reversed(range(256))), 0),
        (b"", 0),
    ],
)
def test_a_part_of_it_is_found_among_noise(after: bytes, returned: int) -> None:
    assert Heard(bytes(range(256)), b"", after).returned == returned


# Modem lines ------------------------------------------------------------------------------------

DTR, RTS, CTS, DSR, CAR = (
    getattr(termios, f"TIOCM_{name}") for name in ("DTR", "RTS", "CTS", "DSR", "CAR")
)


class Lines:
    """A port's modem lines; `joined` says which input hangs on which output."""

    def __init__(self, patch: pytest.MonkeyPatch, joined: dict[int, int], flips: int = 0) -> None:
        self.outputs = self.first = DTR | RTS
        self.joined, self.flips, self.free = joined, flips, 0
        self.set: list[int] = []
        real = fcntl.ioctl

        def ioctl(fd, request, *arguments):
            if request == termios.TIOCMGET:
                assert len(arguments[0]) == 4
                self.free ^= self.flips
                inputs = sum(i for i, o in self.joined.items() if self.outputs & o)
                return struct.pack("=i", self.outputs | inputs | self.free)
            if request == termios.TIOCMSET:
                (lines,) = struct.unpack("=i", arguments[0])
                self.outputs = lines & (DTR | RTS)
                self.set.append(self.outputs)
                return b""
            return real(fd, request, *arguments)

        patch.setattr(fcntl, "ioctl", ioctl)
        patch.setattr(loopback, "SETTLED", 0)
        patch.setattr(loopback, "PATIENCE", 0.05)


def lines_of(tmp_path: Path, patch: pytest.MonkeyPatch, **how) -> tuple[Lines, loopback.Check]:
    with Pty(tmp_path / "port") as pty:
        lines = Lines(patch, **how)
        _, found, _ = loopback.examine(f"serial:{pty.link}?baud=1000000")
    assert lines.outputs == lines.first, "they stand as they did"
    assert {DTR, RTS, DTR | RTS} == set(lines.set), "each was lowered by itself"
    return lines, found


def test_lines_that_follow_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = lines_of(tmp_path, monkeypatch, joined={CTS: RTS, DSR: DTR, CAR: DTR})
    assert found.status == Status.BAD
    assert found.found == ("RETURN PATH PRESENT: DSR follows DTR, DCD follows DTR, CTS follows RTS")


def test_lines_that_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = lines_of(tmp_path, monkeypatch, joined={})
    assert (found.status, found.found) == (Status.OK, "none follows DTR or RTS")


# Only on purpose --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["send", "recv", "linktest_send", "linktest_recv"])
def test_no_verb_that_uses_a_link_reaches_it(verb: str) -> None:
    assert "diode.doctor.loopback" in closure("diode.cli.doctor")
    assert not [name for name in closure(f"diode.cli.{verb}") if "doctor" in name]


def test_only_for_ports_that_send(shell: Shell, tmp_path: Path) -> None:
    for wrong in (["--from", "serial:/dev/x"], []):
        assert shell.run("doctor", "--one-way", *wrong).code == 2
    with pytest.raises(UsageError, match="udp"):
        loopback.examine("udp://10.0.0.1:5000")
    with pytest.raises(CarrierError):
        loopback.examine(f"serial:{tmp_path}/none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CarrierError, match="not a serial port"):
        loopback.examine(f"serial:{tmp_path}/file")
    with Pty(tmp_path / "port") as pty:
        from diode.carrier.serial import SerialSender

        sender = SerialSender(str(pty.link), 9600, notice=print)
        with pytest.raises(CarrierError, match="busy"):
            loopback.examine(f"serial:{pty.link}")
        sender.close()


@pytest.mark.parametrize(("bit", "word"), [(termios.CRTSCTS, "RTS/CTS"), (termios.IXON, "XON")])
def test_flow_control_that_stays_on(tmp_path, monkeypatch, bit: int, word: str) -> None:
    """A driver that does not do as it is told."""
    real = termios.tcgetattr
    at = 2 if bit == termios.CRTSCTS else 0

    def stubborn(port: int) -> list:
        return [value | bit if index == at else value for index, value in enumerate(real(port))]

    monkeypatch.setattr(termios, "tcgetattr", stubborn)
    with Pty(tmp_path / "port") as pty, open(pty.link, "wb", buffering=0) as port:
        found = loopback._flow_control(port.fileno())
    assert (found.status, word in found.found) == (Status.BAD, True)
