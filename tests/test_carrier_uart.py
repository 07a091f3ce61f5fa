"""What a UART counts. No port of this machine is asked: pseudo-terminals have none, and a fake that
packs the kernel's structure byte for byte stands in for the driver.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from ptys import FakeTime, Pty

from diode.carrier.serial import SerialReceiver
from diode.carrier.uart import MANY, LineErrors, Watch
from diode.cli.listening import Port, Silent, listening

NAMES = ("cts", "dsr", "rng", "dcd", "rx", "tx", "frame", "overrun", "parity", "brk", "buf_overrun")


class Driver:
    """TIOCGICOUNT as linux/serial.h has it: eleven ints and nine reserved, in that order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = dict.fromkeys(NAMES, 0)
        self.asked = 0
        real = fcntl.ioctl

        def ioctl(fd, request, *arguments):
            if request != termios.TIOCGICOUNT:
                return real(fd, request, *arguments)
            (room,) = arguments
            assert len(room) == 80, "sizeof(struct serial_icounter_struct)"
            self.asked += 1
            wrapped = [(n + (1 << 31)) % (1 << 32) - (1 << 31) for n in self.counts.values()]
            return struct.pack("=20i", *wrapped, *[-1] * 9)

        monkeypatch.setattr(fcntl, "ioctl", ioctl)


@pytest.fixture
def pty(tmp_path: Path) -> Iterator[Pty]:
    with Pty(tmp_path / "port") as pty:
        yield pty


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def test_the_right_numbers_are_taken(driver: Driver) -> None:
    driver.counts = {name: 1 << at for at, name in enumerate(NAMES)}
    found = LineErrors.of(0)
    assert found == LineErrors(
        overruns=(1 << 7) + (1 << 10), framing_errors=1 << 6, parity_errors=1 << 8, breaks=1 << 9
    )


def test_a_pty_has_none_and_is_not_asked_again(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = LineErrors.of
    monkeypatch.setattr(LineErrors, "of", lambda fd: asked.append(fd) or real(fd))
    said: list[str] = []
    time = FakeTime()
    receiver = SerialReceiver(str(pty.link), 9600, notice=said.append, clock=time.clock)
    for _ in range(5):
        assert receiver.read(0.01) is None
        time.sleep(2.0)
    assert (receiver.counts, len(asked), said) == ({}, 1, [])
    assert type(listening(receiver)) is Silent
    receiver.close()


def test_a_driver_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert LineErrors.of(0) is None


def test_counts_are_those_since_the_port_was_opened(pty: Pty, driver: Driver) -> None:
    import os

    driver.counts.update(overrun=1000, frame=(1 << 32) - 2, brk=5)
    said: list[str] = []
    time = FakeTime()
    receiver = SerialReceiver(str(pty.link), 9600, notice=said.append, clock=time.clock)
    quiet = {"overruns": 0, "framing_errors": 0, "parity_errors": 0, "breaks": 0}
    assert receiver.counts == quiet
    assert listening(receiver).summary() == ""
    driver.counts.update(overrun=1003, buf_overrun=1, frame=(1 << 32) + 1, parity=2, cts=99)
    os.write(pty.master, b"x")
    assert receiver.read(1.0) == b"x"
    assert receiver.counts == quiet, "asked once a second at most"
    time.sleep(1.0)
    assert receiver.read(0.01) is None
    wrong = {"overruns": 4, "framing_errors": 3, "parity_errors": 2, "breaks": 0}
    assert receiver.counts == wrong
    heard = listening(receiver)
    assert isinstance(heard, Port)
    assert heard.fields() == wrong
    assert heard.summary() == "port: 4 overruns, 3 framing errors, 2 parity errors"
    (warning,) = said
    assert "4 overruns" in warning and "lower baud rate" in warning
    receiver.close()


def test_each_kind_is_told_once() -> None:
    said: list[str] = []
    time = FakeTime()
    watch = Watch("/dev/x", said.append, time.clock)
    watch.opened(LineErrors())
    for count in range(1, 40):
        watch.look(LineErrors(framing_errors=count, breaks=count // 4))
    assert len(said) == 1
    assert said[0].startswith("/dev/x: the port counts ")
    assert "baud rate" in said[0] and "ground" in said[0]
    for count in range(1, 40):
        watch.look(LineErrors(count, 40))
    assert len(said) == 2
    assert "overruns" in said[1]


def test_who_joins_in_mid_byte_is_not_told_of_it() -> None:
    said: list[str] = []
    watch = Watch("/dev/x", said.append, FakeTime().clock)
    watch.opened(LineErrors())
    watch.look(LineErrors(framing_errors=MANY - 1))
    assert said == []


def test_a_port_that_comes_back_counts_from_nothing() -> None:
    watch = Watch("/dev/x", lambda _: None, FakeTime().clock)
    watch.opened(LineErrors(5, 5, 5, 5))
    watch.look(LineErrors(7, 5, 5, 6))
    watch.opened(LineErrors(0, 0, 0, 0))  # another adapter
    watch.look(LineErrors(1, 0, 0, 0))
    watch.opened(None)
    assert (watch.counts, watch.due) == ({}, False)
    watch.opened(LineErrors())
    assert watch.counts == {"overruns": 3, "framing_errors": 0, "parity_errors": 0, "breaks": 1}


def test_a_sender_does_not_even_load_it(pty: Pty) -> None:
    program = (
        "import sys\n"
        "from diode import carrier\n"
        "medium = carrier.open_sending(sys.argv[1])\n"
        "medium.close()\n"
        "print('diode.carrier.serial' in sys.modules, 'diode.carrier.uart' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, f"serial:{pty.link}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["True", "False"]
