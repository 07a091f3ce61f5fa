"""What systemd is told: words on a real datagram socket, by real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Shell, make

from diode.service import notify
from diode.service.notify import Systemd, Unasked

PERIOD = 0.2
QUIET = 1.0
"""Seconds without a word after which there surely is none: many periods of the watchdog."""


class Manager:
    """The other end: what a service manager hears."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[str] = []

    def hear(self, timeout: float = 20) -> list[str]:
        """The assignments of the next word; nothing when there was none."""
        self._socket.settimeout(timeout)
        try:
            words = self._socket.recv(4096).decode().splitlines()
        except (TimeoutError, BlockingIOError):
            return []
        self.heard += words
        return words

    def until(self, word: str) -> None:
        while word not in self.hear():
            assert self.heard, "no word at all"

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """At a path, or as the test's parameter says at an abstract address."""
    name = str(tmp_path / "notify")
    abstract = getattr(request, "param", "path") == "abstract"
    manager = Manager(f"@diode-test-{os.getpid()}{name}" if abstract else name)
    yield manager
    manager.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def words(theirs: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(theirs.recv(1 << 16).decode())
    return found


# The words --------------------------------------------------------------------------------


def test_the_life_of_a_service(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    service = Systemd(ours)
    service.begin("listening")
    service.reloading()
    service.begin()
    service.stop()
    ready, reloading, again, stopping = words(theirs)
    assert ready == "READY=1\nSTATUS=listening\n"
    first, second, _ = reloading.split("\n")
    assert first == "RELOADING=1"
    assert abs(int(second.removeprefix("MONOTONIC_USEC=")) / 1e6 - time.monotonic()) < 60
    assert (again, stopping) == ("READY=1\n", "STOPPING=1\n")
    service.close()
    service.close()
    service.begin()  # nobody is there any more, and that is no error


def test_the_watchdog_is_petted_by_progress_a_few_times_a_period(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    now = 0.0
    service = Systemd(ours, watchdog=8.0, clock=lambda: now)
    for step in range(1600):  # a hundred calls a second
        now = step / 100
        service.progressed()
    assert words(theirs) == ["WATCHDOG=1\n"] * 8
    now = 3600.0
    assert words(theirs) == []  # no call, no word, however long
    service.progressed()
    assert words(theirs) == ["WATCHDOG=1\n"]


def test_without_a_watchdog_progress_says_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    Systemd(ours).progressed()
    assert words(theirs) == []


def test_a_state_is_one_line_whatever_is_in_it(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    now = 0.0
    service = Systemd(ours, clock=lambda: now)
    service.status("a\nMAINPID=1\r\x1b[31m\udcff" + "x" * 1000)
    (said,) = words(theirs)
    assert said.startswith("STATUS=a MAINPID=1  [31m")
    assert said.count("\n") == 1
    assert len(said) < 220
    service.status("b")
    assert words(theirs) == []  # too soon
    now = 1.0
    service.status("b")
    service.status("b")
    assert words(theirs) == ["STATUS=b\n"]


def test_a_word_that_finds_no_room_comes_with_the_next(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PATIENCE", 0.01)
    ours, theirs = pair
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x")
            filled += 1
    now = 0.0
    service = Systemd(ours, watchdog=4.0, clock=lambda: now)
    service.begin()
    service.progressed()
    assert words(theirs) == ["x"] * filled
    service.progressed()
    assert words(theirs) == ["READY=1\n"]
    now = 1.0
    service.progressed()
    assert words(theirs) == ["WATCHDOG=1\n"]


def test_a_manager_that_went_away(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    service = Systemd(ours, watchdog=1.0)
    service.begin()
    service.progressed()
    service.status("x")
    service.stop()


# The environment ----------------------------------------------------------------------------


def test_nobody_asks() -> None:
    environment = {"WATCHDOG_USEC": "100", "PATH": "/bin"}
    quiet = notify.opened(environment)
    assert isinstance(quiet, Unasked)
    assert environment == {"PATH": "/bin"}
    for say in (quiet.begin, quiet.progressed, quiet.reloading, quiet.stop, quiet.close):
        say()
    quiet.status("x")


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234", "/not/there", "@not-there"])
def test_an_address_that_nobody_listens_at(name: str) -> None:
    assert isinstance(notify.opened({"NOTIFY_SOCKET": name}), Unasked)


@pytest.mark.parametrize(
    ("more", "petted"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "4000000"}, True),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "nonsense"}, False),
    ],
)
@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_what_the_environment_says(manager: Manager, more: dict[str, str], petted: bool) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, **more}
    service = notify.opened(environment)
    assert environment == {}, "programs that are started later are not the service"
    service.progressed()
    service.stop()
    assert manager.hear() == (["WATCHDOG=1"] if petted else ["STOPPING=1"])
    service.close()


def test_the_socket_does_not_hear(manager: Manager) -> None:
    service = notify.opened({"NOTIFY_SOCKET": manager.address})
    assert isinstance(service, Systemd)
    assert service._socket.getsockname() == ""  # nobody can send to what has no name
    with pytest.raises(BlockingIOError):
        service._socket.recv(1)
    assert not service._socket.get_inheritable()
    service.close()


# Real processes -----------------------------------------------------------------------------


@pytest.fixture
def told(shell: Shell, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Manager:
    """Commands of the shell are services of the manager."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(PERIOD * 1e6)))
    return manager


@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_a_confined_receiver_on_a_silent_line(shell: Shell, told: Manager) -> None:
    ours, line = os.openpty()
    process = shell.start("recv", "inbox", "--from", f"serial:{os.ttyname(line)}?baud=9600")
    told.until("READY=1")
    told.until("WATCHDOG=1")
    told.until("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    told.until("STOPPING=1")
    assert shell.finish(process).code == 130
    os.close(ours)
    os.close(line)
    assert told.heard.index("READY=1") < told.heard.index("WATCHDOG=1")
    assert "STATUS=listening" in told.heard


def test_a_receiver_that_hangs_is_not_heard_of(shell: Shell, told: Manager) -> None:
    """Stopped, no thread of it pets the watchdog on."""
    ours, line = os.openpty()
    process = shell.start("recv", "inbox", "--from", f"serial:{os.ttyname(line)}?baud=9600")
    told.until("WATCHDOG=1")
    process.send_signal(signal.SIGSTOP)
    while told.hear(QUIET):
        pass
    process.send_signal(signal.SIGCONT)
    told.until("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    shell.finish(process)
    os.close(ours)
    os.close(line)


def test_a_confined_sender_whose_line_takes_nothing_is_not_heard_of(
    shell: Shell, told: Manager
) -> None:
    make(shell.folder / "a", 200_000)
    ours, line = os.openpty()
    url = f"serial:{os.ttyname(line)}?baud=4000000"
    process = shell.start("send", "a", "--to", url)
    told.until("READY=1")
    while told.hear(QUIET):  # until the pseudo-terminal is full
        pass
    assert process.poll() is None
    told.heard.clear()
    reader = threading.Thread(target=drain, args=(ours,))
    reader.start()
    told.until("WATCHDOG=1")  # it gets on, and is heard of again
    told.until("STOPPING=1")
    ran = shell.finish(process)
    os.close(line)
    reader.join()
    os.close(ours)
    assert ran.code == 0, ran.err
    assert any(word.startswith("STATUS=pass 1/1, ") for word in told.heard)


def drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1 << 16):
            pass


def test_a_slow_line_gets_on_often_enough(shell: Shell, told: Manager) -> None:
    """At 1,200 baud a batch of frames takes seconds: none longer than a unit's WatchdogSec."""
    make(shell.folder / "a", 100_000)
    ours, line = os.openpty()
    reader = threading.Thread(target=drain, args=(ours,))
    reader.start()
    process = shell.start("send", "a", "--to", f"serial:{os.ttyname(line)}?baud=1200")
    told.until("READY=1")
    for _ in range(2):
        told.until("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    shell.finish(process)
    os.close(line)
    reader.join()
    os.close(ours)
