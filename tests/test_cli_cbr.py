"""`diode send --cbr`: what somebody sees who watches the line, and that everything arrives."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from cli import Shell, make
from pair import Listener

from diode import line
from diode.events import SenderFellSilent
from diode.frame import Frames

BAUD = 115_200
BITS = 2_000_000
"""Of a network: 167 datagrams a second, so that a busy machine keeps up."""
SO_TIMESTAMPNS = 35
AIR = 66
"""Bytes that Ethernet puts around a datagram's frame (IPv4)."""
TOLERANCE = 0.01
AHEAD = 0.1
IN_HAND = 0.025
"""Seconds, half of what a sender is ahead of the line."""
MOST_HELD_UP = 0.002


@dataclass
class Capture:
    """What came, and when: the sizes of the pieces, and nanoseconds of each."""

    data: list[bytes] = field(default_factory=list)
    at: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return (self.at[-1] - self.at[0]) / 1e9 if self.at else 0.0

    @property
    def rate(self) -> float:
        """Bytes a second: the line through all points (time, bytes so far).

        What a sender may be ahead at the start, which a real UART has in its buffer, is left out.
        """
        at = (np.array(self.at) - self.at[0]) / 1e9
        came = np.cumsum([len(piece) for piece in self.data])
        slope, _ = np.polyfit(at[at > AHEAD], came[at > AHEAD], 1)
        return float(slope)

    def frames(self) -> Listener:
        """What a receiver makes of a serial line's bytes."""
        decoder, listener = line.decoder("cobs"), Listener()
        for piece in self.data:
            listener.take(listener.receiver.receive(decoder.feed(piece), 0.0))
        assert decoder.rejected.total() == decoder.noise == 0
        return listener


class Terminal:
    """The far end of a serial line, read as soon as something comes."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.url = f"serial:{os.ttyname(self._slave)}?baud={BAUD}"

    def read(self) -> tuple[bytes, int]:
        return os.read(self.master, 1 << 16), time.monotonic_ns()

    def fileno(self) -> int:
        return self.master

    def close(self) -> None:
        os.close(self.master)
        os.close(self._slave)


class Port:
    """The far end of a network; the kernel says when each datagram came."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.url = f"udp://127.0.0.1:{self._socket.getsockname()[1]}?rate={BITS}"

    def read(self) -> tuple[bytes, int]:
        data, ancillary, _, _ = self._socket.recvmsg(1 << 16, 64)
        ((_, _, stamp),) = ancillary
        seconds, nanoseconds = struct.unpack("qq", stamp)
        return data, seconds * 10**9 + nanoseconds

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=[Terminal, Port], ids=["serial", "udp"])
def far_ends(request: pytest.FixtureRequest) -> Iterator[list[Terminal | Port]]:
    ends = [request.param() for _ in range(2)]
    yield ends
    for end in ends:
        end.close()


def capture(end: Terminal | Port, process: subprocess.Popen, seconds: float) -> Capture:
    """Everything that comes until the process has ended, which is asked to after that time."""
    got, asked = Capture(), False
    while select.select([end], [], [], 0.5)[0] or process.poll() is None:
        if select.select([end], [], [], 0)[0]:
            data, at = end.read()
            got.data.append(data)
            got.at.append(at)
        if got.seconds > seconds and not asked:
            asked = True
            process.send_signal(signal.SIGINT)
    return got


class HeldUp:
    """How much of the time processes here had to wait longer than a sender has line in hand."""

    def __init__(self) -> None:
        self._late = 0.0
        self._over = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._over.wait(0.005):
            now = time.monotonic()
            self._late += max(0.0, now - before - IN_HAND)
            before = now

    def share(self) -> float:
        self._over.set()
        self._thread.join()
        return self._late / (time.monotonic() - self._began)


def assert_rate(got: Capture, expected: float, held_up: float) -> None:
    """Never faster, and not slower unless this machine left nobody the time."""
    assert got.rate <= expected * (1 + TOLERANCE)
    if got.rate < expected * (1 - TOLERANCE) and held_up > MOST_HELD_UP:
        pytest.skip(f"all else is right, but this machine stood still {held_up:.1%} of the time")
    assert got.rate == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("seconds", [3, pytest.param(600, marks=pytest.mark.slow)])
def test_size_and_rate_do_not_depend_on_what_is_sent(
    shell: Shell, far_ends: list[Terminal | Port], seconds: float
) -> None:
    """T98. Two senders side by side, one with next to nothing to send and one with much."""
    serial = isinstance(far_ends[0], Terminal)
    rate = BAUD / 10 if serial else BITS / 8
    make(shell.folder / "little", 10)
    much = make(shell.folder / "much", int(rate * seconds / 3))
    processes = [
        shell.start(
            "send", name, "--to", end.url, "--cbr", "--state", shell.folder / f"{name}.state"
        )
        for name, end in zip(("little", "much"), far_ends, strict=True)
    ]
    machine = HeldUp()
    with ThreadPoolExecutor(2) as threads:
        little, lots = threads.map(capture, far_ends, processes, itertools.repeat(seconds))
    held_up = machine.share()
    for process in processes:
        ran = shell.finish(process)
        assert ran.code == 0, "stopped when all was sent is no failure"
        assert "idle frames go on" in ran.err
    listeners = []
    for got in (little, lots):
        if serial:
            stream = b"".join(got.data)
            assert len(stream) % 224 == 0
            assert set(stream[223::224]) == {0}
            listeners.append(got.frames())
        else:
            assert {len(datagram) for datagram in got.data} == {1472}
            listener = Listener()
            decoder = line.decoder("datagram")
            for datagram in got.data:
                rows = decoder.feed(Frames.of_pieces([datagram]))
                listener.take(listener.receiver.receive(rows, 0.0))
            listeners.append(listener)
    air = 1.0 if serial else 1 + AIR / 1472
    assert all(listener.receiver.lost == 0 for listener in listeners)
    assert listeners[0].receiver.idle > listeners[1].receiver.idle > 0
    assert much in listeners[1].delivered.values()
    for got in (little, lots):
        assert_rate(got, rate / air, held_up)
    assert little.rate == pytest.approx(lots.rate, rel=TOLERANCE)


def test_the_line_is_busy_while_files_are_read(shell: Shell) -> None:
    """A file that takes long to read, and is too long to be sent: it is stopped before."""
    with (shell.folder / "long").open("wb") as file:
        file.truncate(1 << 40)
    end = Terminal()
    process = shell.start("send", "long", "--to", end.url, "--cbr")
    machine = HeldUp()
    got = capture(end, process, 1.5)
    held_up = machine.share()
    ran = shell.finish(process)
    end.close()
    assert ran.code == 130
    listener = got.frames()
    assert listener.receiver.idle > 50
    assert len(listener.of(SenderFellSilent)) == 1
    assert listener.receiver.lost == 0
    assert_rate(got, BAUD / 10, held_up)


def test_through_a_file_with_an_end(shell: Shell) -> None:
    content = make(shell.folder / "x", 30_000)
    sent = shell.run(
        "send", "x", "--to", "file:cap?rate=1M", "--cbr", "--linger", "200ms", "--json"
    )
    assert sent.code == 0, sent.err
    assert os.path.getsize(shell.folder / "cap") % 224 == 0
    received = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert received.code == 0
    assert (shell.folder / "inbox/x").read_bytes() == content
    link = received.events("link")[-1]
    assert link["idle"] >= 0.2 * 125_000 / 224 - 100
    assert (link["rejected"], link["lost"]) == (0, 0)
    (inspected,) = shell.run("inspect", "cap", "--json").events("capture")
    assert inspected["kinds"]["idle"] == link["idle"]


def test_idle_frames_are_no_silence(shell: Shell) -> None:
    """`recv --idle` ends after silence: not while idle frames come, but behind them."""
    make(shell.folder / "x", 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        port = end.getsockname()[1]
    sender = shell.start("send", "x", "--to", f"udp://127.0.0.1:{port}?rate={BITS}", "--cbr")
    assert b"everything is sent" in sender.stderr.readline()
    receiver = shell.start(
        "recv", "inbox", "--from", f"udp://127.0.0.1:{port}", "--idle", "2s", "--json"
    )
    shell.listening(receiver)
    of_3_s = 3 * BITS / 8 / (1472 + AIR)
    links = (json.loads(line) for line in receiver.stdout if b'"link"' in line)
    assert next(link for link in links if link["idle"] > of_3_s)["silent_seconds"] < 2
    sender.send_signal(signal.SIGTERM)
    assert shell.finish(sender).code == 0
    assert shell.finish(receiver).code == 0


@pytest.mark.parametrize("line", ["cobs", "rs"])
def test_lines(shell: Shell, line: str) -> None:
    content = make(shell.folder / "x", 5_000)
    to = ["--to", "file:cap?rate=1M", "--cbr", "--linger", "0", "--line", line]
    assert shell.run("send", "x", *to).code == 0
    slot = {"cobs": 224, "rs": 259}[line]
    assert os.path.getsize(shell.folder / "cap") % slot == 0
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    assert (shell.folder / "inbox/x").read_bytes() == content


def test_sound(shell: Shell) -> None:
    """Every modem frame carries as much, as there is one slot in each."""
    content = make(shell.folder / "x", 300)
    sent = shell.run("send", "x", "--to", "wav:x.wav?modem=cable", "--cbr", "--linger", "3s")
    assert sent.code == 0, sent.err
    received = shell.run("recv", "inbox", "--from", "wav:x.wav?modem=cable", "--json")
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/x").read_bytes() == content
    assert received.events("link")[-1]["idle"] > 0


def test_encrypted_tagged_and_from_standard_input(shell: Shell) -> None:
    shell.run("keygen", "--link", "link.key")
    to = ["--to", "file:cap?rate=1M", "--cbr", "--linger", "0", "--link-key", "link.key"]
    sent = shell.run("send", "-", "--name", "x", *to, stdin=b"content" * 1000)
    assert sent.code == 0, sent.err
    assert os.path.getsize(shell.folder / "cap") % 232 == 0
    received = shell.run("recv", "inbox", "--from", "file:cap", "--link-key", "link.key")
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/x").read_bytes() == b"content" * 1000


def test_what_cannot_be(shell: Shell) -> None:
    make(shell.folder / "x", 10)
    no_rate = shell.run("send", "x", "--to", "file:cap", "--cbr")
    assert no_rate.code == 2
    assert "needs a carrier with a rate" in no_rate.err
    assert "file:PATH?rate=" in no_rate.err
    alone = shell.run("send", "x", "--to", "file:cap?rate=1M", "--linger", "3s")
    assert alone.code == 2
    assert "--cbr" in alone.err
    missing = shell.run("send", "y", "--to", "file:cap?rate=1M", "--cbr")
    assert missing.code != 0
    assert "y" in missing.err


def test_a_file_that_cannot_be_read_ends_the_run(shell: Shell) -> None:
    make(shell.folder / "x", 10)
    (shell.folder / "folder").mkdir()
    sent = shell.run("send", "folder", "--to", "file:cap?rate=1M", "--cbr", "--linger", "0")
    assert sent.code == 0, sent.err
    os.mkfifo(shell.folder / "fifo")
    nothing = shell.run("send", "fifo", "--to", "file:cap?rate=1M", "--cbr")
    assert nothing.code == 1
    assert "nothing to send" in nothing.err


def test_plan_tells_the_slot(shell: Shell) -> None:
    plan = ["plan", "--size", "1M", "--carrier", "serial:?baud=115200", "--cbr"]
    assert "224 bytes every 19.44 ms" in shell.run(*plan).out
    (told,) = shell.run(*plan, "--json").events("plan")
    assert told["slot_bytes"] == 224
    assert told["slots_per_second"] == pytest.approx(11_520 / 224)
    frames = told["frames"] + told["manifests"]
    assert told["seconds"] == pytest.approx(frames * 224 / 11_520)
