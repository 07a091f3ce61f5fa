"""Carriers read by a process of their own: what comes through, and what becomes of the two."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ptys import Pty, batch, noise

from diode import carrier
from diode.carrier import ROOM, Notice, ReceivingCarrier, separate, words
from diode.carrier.reader import MOST_NOTICES, Program, Pump
from diode.carrier.ring import LEAST, STREAM, WORD, Reader, Ring, Writer
from diode.carrier.separate import SeparateReceiver, open_separate
from diode.confine import Confinement
from diode.errors import CarrierError, ConfinementError, UsageError
from diode.frame import Frames

pytestmark = [
    pytest.mark.skipif(not separate.POSSIBLE, reason="no process of its own on this system"),
    # Python 3.12 warns of a fork beside threads of the test's own.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
BIG = noise(3_000_000)


class Fake:
    """A medium that gives some pieces and ends; None and b'' as a carrier has them."""

    rate = 5.0

    def __init__(self, pieces: list) -> None:
        self.pieces = iter(pieces)

    def read(self, timeout: float | None) -> bytes | None:
        return next(self.pieces, b"")

    def close(self) -> None:
        pass


class Datagrams(Fake):
    """A medium that reads into the ring: (content, piece) each."""

    def read_into(self, room: memoryview, timeout: float | None) -> tuple[int, int] | None:
        item = next(self.pieces, (b"", 0))
        if item is None:
            return None
        content, piece = item
        room[: len(content)] = content
        return len(content), piece


@contextlib.contextmanager
def started(
    opener: Callable[[Notice], ReceivingCarrier],
    *,
    waits: bool = True,
    size: int = LEAST,
    confine: Callable[[], Confinement] = Confinement,
) -> Iterator[tuple[SeparateReceiver, list[str]]]:
    """A separate carrier and the notices it gives; it is closed in the end, and leaves nothing."""
    notices: list[str] = []
    medium = SeparateReceiver(Program(opener, confine, waits, False), notices.append, size)
    try:
        yield medium, notices
    finally:
        medium.close()
        medium.close()
        assert gone(medium.process)


def gone(process: int) -> bool:
    """Whether a process is no more, after some time for it to go."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.005)
    return False


def everything(medium: SeparateReceiver) -> bytes:
    heard = []
    while part := medium.read(20):
        heard.append(part)
    assert part == b"", "it did not end"
    return b"".join(heard)


# What comes through -------------------------------------------------------------------------


def test_more_than_the_ring_holds(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(BIG)
    for size in (LEAST, separate.SIZE):
        with contextlib.closing(
            open_separate(
                f"file:{tmp_path}/capture", confine=Confinement, notice=pytest.fail, size=size
            )
        ) as medium:
            assert everything(medium) == BIG
            assert medium.read(None) == b""
            assert (medium.bytes_dropped, medium.reads_dropped) == (0, 0)


def test_damage_is_done_over_there(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(BIG)
    url, spec = f"file:{tmp_path}/capture", "drop=5%,seed=3"
    here = carrier.open_receiving(url, impair=spec)
    expected = []
    while part := here.read(None):
        expected.append(part)
    medium = open_separate(url, impair=spec, confine=Confinement, notice=pytest.fail)
    assert everything(medium) == b"".join(expected) != BIG
    medium.close()


def test_one_byte_comes_at_once_and_silence_is_none(tmp_path: Path) -> None:
    with Pty(tmp_path / "port") as port:
        url = f"serial:{port.path}?baud=300"
        medium = open_separate(url, confine=Confinement, notice=pytest.fail)
        assert medium.rate == 30
        assert medium.read(0) is None
        for byte in (b"a", b"\0", b"b"):
            os.write(port.master, byte)
            assert medium.read(20) == byte
        assert medium.read(0.01) is None
        medium.close()
        assert medium.read(0.01) == b""


def test_datagrams_keep_their_ends() -> None:
    sent = [(bytes(1000), 300), None, (b"x" * 64, 64), (b"y" * 10, 7)]
    with started(lambda _: Datagrams(sent), size=4 * ROOM) as (medium, _):
        ends: list[int] = []
        data = b""
        while (heard := medium.read(20)) != b"":
            assert isinstance(heard, Frames)
            ends += [len(data) + int(end) for end in heard.ends]
            data += bytes(heard.data)
    assert ends == [300, 600, 900, 1000, 1064, 1071, 1074]
    assert data == bytes(1000) + b"x" * 64 + b"y" * 10


def test_datagrams_read_as_pieces_keep_their_ends_too() -> None:
    """Of all lengths, also more than fit into a record, and one that fits into none."""
    lengths = [3, 3, 500, 1400, *[1400] * 40, 9, 9, LEAST, 5]
    pieces = [noise(length, number) for number, length in enumerate(lengths)]
    with started(lambda _: Fake([Frames.of_pieces(pieces), None])) as (medium, _):
        heard: list[bytes] = []
        while (part := medium.read(20)) != b"":
            heard += [bytes(piece) for piece in part.pieces()] if part is not None else []
        assert medium.bytes_dropped == LEAST
    assert heard == [piece for piece in pieces if len(piece) < LEAST]


def test_notices_come_in_order_and_printable() -> None:
    def opener(notice: Notice) -> ReceivingCarrier:
        notice("first\x1b[2J")
        notice("second " + "x" * 10_000)
        return Fake([b"data"])

    with started(opener) as (medium, notices):
        assert notices[0] == "first\\x1b[2J"
        assert notices[1].startswith("second xxx") and len(notices[1]) == words.TEXT
        assert medium.rate == 5.0
        assert everything(medium) == b"data"


def test_more_notices_than_there_is_room_for() -> None:
    """While nobody takes any, the oldest of those that wait are forgotten."""
    ring, (life, held) = Ring(LEAST), os.pipe()
    pump, reader = Pump(ring, life, waits=False), Reader(ring)
    for number in range(2000):
        pump.notice(f"{number:4} " + "x" * 1400)
    numbers = []
    while taken := reader.take(1):
        (record,) = taken.records()
        numbers.append(int(words.decode(record.content).text[:4]))
        pump.drain(Fake([None]))
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0, 1999)
    assert MOST_NOTICES < len(numbers) < MOST_NOTICES + LEAST / 1400
    os.close(life)
    os.close(held)


def test_what_a_sound_carrier_hears_crosses(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the audio extra is not installed")
    path = tmp_path / "x.wav"
    sender = carrier.open_sending(f"wav:{path}?modem=cable&level=-9")
    sender.write(batch(noise(3000)))
    sender.drain()
    sender.close()
    assert soundfile.info(path).frames > 48_000
    medium = open_separate(f"wav:{path}", confine=Confinement, notice=pytest.fail)
    assert medium.heard is not None and medium.heard.found == 0
    assert noise(3000) in everything(medium)
    assert medium.heard.modem == "cable"
    assert medium.heard.found > 0
    assert len(medium.heard.spectrum) == 64
    medium.close()


# Overruns -----------------------------------------------------------------------------------


class Numbered(Fake):
    """A live medium: numbered reads of 1000 bytes, as fast as they are taken, then an end."""

    def __init__(self, count: int) -> None:
        super().__init__([number.to_bytes(4, "big") * 250 for number in range(count)])


@pytest.mark.parametrize("into", [False, True])
def test_what_a_live_medium_loses_is_counted_to_the_byte(into: bool, tmp_path: Path) -> None:
    """The reading process is done before anything is taken: it never waits for us."""
    done = tmp_path / "done"

    def opener(_: Notice) -> ReceivingCarrier:
        pieces = [number.to_bytes(4, "big") * 250 for number in range(5000)]
        medium = Datagrams([(piece, 500) for piece in pieces]) if into else Fake(pieces)
        inner = medium.read_into if into else medium.read

        def last(*arguments: object) -> object:
            got = inner(*arguments)
            if got in (b"", (0, 0)):
                done.touch()
            return got

        setattr(medium, "read_into" if into else "read", last)
        return medium

    size = 4 * ROOM if into else LEAST
    with started(opener, waits=False, size=size) as (medium, notices):
        until = time.monotonic() + 20
        while not done.exists() and time.monotonic() < until:
            time.sleep(0.005)
        assert done.exists(), "the reader waited for us"
        assert medium.backlog <= size
        heard = b""
        while (part := medium.read(20)) != b"":
            heard += bytes(part.data) if into else part
        numbers = np.frombuffer(heard, ">u4")[::250]
        assert np.array_equal(numbers, np.arange(len(numbers)))  # the beginning, nothing damaged
        assert len(heard) > 0.4 * size
        assert len(heard) + medium.bytes_dropped == 5_000_000
        assert len(heard) // 1000 + medium.reads_dropped == 5000
        assert len(notices) == 1
        assert "are being dropped" in notices[0] and "--buffer" in notices[0]


def test_each_outage_is_told_once(tmp_path: Path) -> None:
    """Two floods, with room in between: two notices, however many reads were dropped."""
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "gone")

    def opener(_: Notice) -> ReceivingCarrier:
        medium = Numbered(600)
        read, count = medium.read, 0

        def pausing(timeout: float | None) -> bytes | None:
            nonlocal count
            count += 1
            if count in (301, 302):
                (tmp_path / "go").read_bytes()
                return None
            if count == 603:  # behind the second flood
                (tmp_path / "gone").write_bytes(b"")
            return read(timeout)

        medium.read = pausing  # type: ignore[method-assign]
        return medium

    with started(opener, waits=False) as (medium, notices):
        (tmp_path / "go").write_bytes(b"")
        heard = 0
        while (part := medium.read(1)) is not None:
            heard += len(part)
        first = medium.bytes_dropped
        (tmp_path / "go").write_bytes(b"")
        (tmp_path / "gone").read_bytes()  # nobody reads meanwhile
        while part := medium.read(20):
            heard += len(part)
        assert 0 < first < medium.bytes_dropped
        assert heard + medium.bytes_dropped == 600_000
        assert len(notices) == 2


def test_a_medium_that_waits_loses_nothing() -> None:
    with started(lambda _: Numbered(1000)) as (medium, notices):
        time.sleep(0.1)
        assert len(everything(medium)) == 1_000_000
        assert medium.bytes_dropped == 0
        assert notices == []


# Errors -------------------------------------------------------------------------------------


def test_errors_of_opening_are_those_of_the_carrier(tmp_path: Path) -> None:
    for url, kind in (
        (f"file:{tmp_path}/none", CarrierError),
        (f"serial:{tmp_path}/none", CarrierError),
        ("file:x?rat=5", UsageError),
    ):
        with pytest.raises(kind) as here:
            carrier.open_receiving(url)
        with pytest.raises(kind) as there:
            open_separate(url, confine=Confinement, notice=pytest.fail)
        assert (str(there.value), there.value.hint) == (str(here.value), here.value.hint)


def test_errors_later_on_come_behind_what_was_heard() -> None:
    def failing() -> Iterator[bytes]:
        yield b"heard"
        raise CarrierError("the card is gone", hint="plug it in")

    def opener(_: Notice) -> ReceivingCarrier:
        medium = Fake([])
        medium.pieces = failing()
        return medium

    with started(opener) as (medium, _):
        assert medium.read(20) == b"heard"
        with pytest.raises(CarrierError, match="the card is gone") as caught:
            medium.read(20)
        assert caught.value.hint == "plug it in"
        assert medium.read(20) == b""


def test_a_bug_over_there_is_an_error_here() -> None:
    with (
        pytest.raises(CarrierError, match="ZeroDivisionError"),
        started(lambda _: Fake([b"x" * (1 // 0)])),
    ):
        pass


def test_confinement_is_told_and_may_be_refused() -> None:
    with started(lambda _: Fake([]), confine=lambda: Confinement(["all of it"], ["some"])) as (
        medium,
        _,
    ):
        assert str(medium.confinement) == "all of it"
        assert medium.confinement.missing == ["some"]

    def refuse() -> Confinement:
        raise ConfinementError("not here")

    with (
        pytest.raises(ConfinementError, match="not here"),
        started(lambda _: Fake([]), confine=refuse),
    ):
        pass


def test_no_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = set(os.listdir("/dev/fd"))
    monkeypatch.setattr(os, "fork", none)
    with (
        pytest.raises(CarrierError, match="Resource temporarily unavailable"),
        started(lambda _: Fake([])),
    ):
        pass
    assert len(set(os.listdir("/dev/fd")) - before) <= 2  # the bells, until they are collected


# Life and death -----------------------------------------------------------------------------


class Endless(Fake):
    """Some bytes, then silence."""

    def __init__(self, first: bytes = b"heard") -> None:
        super().__init__([first])

    def read(self, timeout: float | None) -> bytes | None:
        if (data := next(self.pieces, None)) is None:
            time.sleep(timeout or 0)
        return data


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_reader_that_is_killed(number: signal.Signals) -> None:
    with started(lambda _: Endless()) as (medium, _):
        until = time.monotonic() + 20
        while not medium.backlog and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(medium.process, number)
        assert medium.read(20) == b"heard"
        with pytest.raises(CarrierError, match=number.name):
            medium.read(20)
        assert gone(medium.process)
        assert medium.read(20) == b""


def test_signals_of_the_terminal_do_not_end_the_reader() -> None:
    with started(lambda _: Endless()) as (medium, _):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(medium.process, number)
        assert medium.read(20) == b"heard"
        assert medium.read(0.1) is None


@pytest.mark.parametrize("how", ["silent", "stopped", "waiting for room"])
def test_closing_ends_the_reader(how: str) -> None:
    endless = Endless(bytes(1_000_000)) if how == "waiting for room" else Endless()
    with started(lambda _: endless) as (medium, _):
        if how == "stopped":
            os.kill(medium.process, signal.SIGSTOP)


LOOKS = """
import os, sys
from diode.carrier.reader import Program
from diode.carrier.separate import SeparateReceiver
from diode.confine import Confinement

class Looks:
    rate = None
    def read(self, timeout):
        names = [f"/proc/self/fd/{name}" for name in os.listdir("/dev/fd")]
        links = [os.readlink(name) for name in names if os.path.lexists(name)]
        return "\\n".join([*links, "", ""]).encode()
    def close(self):
        pass

secret = open(sys.argv[1])
program = Program(lambda notice: Looks(), Confinement, True, sys.argv[2] == "1")
medium = SeparateReceiver(program, print)
print(medium.read(20).decode().split("\\n\\n")[0])
print("here", os.readlink("/proc/self/fd/0"))
medium.close()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here")
@pytest.mark.parametrize("standard", [True, False])
def test_the_reader_holds_nothing_of_ours(tmp_path: Path, standard: bool) -> None:
    """Not what was open, nor standard output and error; standard input has one of the two."""
    (tmp_path / "secret").write_text("secret")
    with (tmp_path / "in").open("wb+") as given:
        done = subprocess.run(
            [sys.executable, "-c", LOOKS, str(tmp_path / "secret"), str(int(standard))],
            stdin=given,
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(separate.__file__).parents[2],
        )
    held = done.stdout.splitlines()
    assert done.stderr == ""
    assert not [link for link in held if "secret" in link]
    assert held.count("/dev/null") >= 2
    assert [link for link in held if link.startswith(("pipe:", "socket:"))] != []
    there = str(tmp_path / "in")
    assert (there in held[:-1]) == standard
    assert held[-1] == ("here /dev/null" if standard else f"here {there}")
    assert len(held) - 1 <= 9


# A reader that was taken over ---------------------------------------------------------------


def says(*contents: bytes) -> Callable[[Writer], None]:
    def lie(writer: Writer) -> None:
        for content in contents:
            writer.put(content, WORD)

    return lie


def overpublishes(writer: Writer) -> None:
    writer._ring.published.add(10 * LEAST)


def claims_a_long_record(writer: Writer) -> None:
    at = writer._put
    writer._ring.memory[at : at + 8] = (1 << 31).to_bytes(4, "little") + bytes(4)
    writer._ring.published.add(64)


@pytest.mark.parametrize(
    "lie",
    [
        says(b"nonsense"),
        says(b"{}"),
        says(b'{"word":"notice","text":"' + b"x" * 10_000 + b'"}'),
        overpublishes,
        claims_a_long_record,
    ],
)
def test_lies(monkeypatch: pytest.MonkeyPatch, lie: Callable[[Writer], None]) -> None:
    """Each is a carrier that failed, with what came before it handed over."""

    def taken_over(program: Program, ring: Ring, life: int, breath: int) -> None:
        writer = Writer(ring)
        writer.put(words.encode(words.Opened(None, [], [], None)), WORD)
        writer.put(b"before", STREAM)
        until = time.monotonic() + 20
        while writer.free < LEAST and time.monotonic() < until:  # what came before was taken
            time.sleep(0.005)
        lie(writer)
        time.sleep(60)

    monkeypatch.setattr(separate, "run", taken_over)
    medium = SeparateReceiver(Program(Fake, Confinement, True, False), print, LEAST)
    assert medium.read(20) == b"before"
    with pytest.raises(CarrierError, match="does not make sense"):
        everything(medium)
    medium.close()
    assert gone(medium.process)


def test_a_reader_that_pretends_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_over(program: Program, ring: Ring, life: int, breath: int) -> None:
        Writer(ring).put(words.encode(words.Opened(None, [], [], None)), WORD)
        os.close(breath)
        time.sleep(60)

    monkeypatch.setattr(separate, "run", taken_over)
    medium = SeparateReceiver(Program(Fake, Confinement, True, False), print, LEAST)
    with pytest.raises(CarrierError, match="SIGKILL"):
        medium.read(20)
    medium.close()
    assert gone(medium.process)


def test_empty_records_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(program: Program, ring: Ring, life: int, breath: int) -> None:
        writer = Writer(ring)
        writer.put(words.encode(words.Opened(None, [], [], None)), WORD)
        for kind in (STREAM, 5):
            writer.put(b"", kind)
        writer.put(b"after", STREAM)
        time.sleep(60)

    monkeypatch.setattr(separate, "run", odd)
    medium = SeparateReceiver(Program(Fake, Confinement, True, False), print, LEAST)
    assert medium.read(20) == b"after"
    medium.close()


@pytest.mark.parametrize("size", [LEAST, separate.SIZE])
def test_datagrams_of_a_socket_keep_their_ends(size: int) -> None:
    """A single datagram is no stretch of a stream, and a small ring cuts none off."""
    pieces = [noise(length, length) for length in (9, 1400, 1400, 700, 16_000, 3)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        medium = open_separate(
            f"udp://127.0.0.1:{port}", confine=Confinement, notice=print, size=size
        )
        for piece in pieces:
            sender.sendto(piece, ("127.0.0.1", port))
        heard: list[bytes] = []
        while len(heard) < len(pieces) and (part := medium.read(20)) is not None:
            heard += [bytes(piece) for piece in part.pieces()]
        medium.close()
    assert heard == pieces
