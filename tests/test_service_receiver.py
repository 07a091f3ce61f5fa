"""The receiving loop: what ends it, and what becomes of objects that are not simply right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from inboxes import tree
from pair import BytesSource, content
from sessions import BIG, capture, cut, mixed, run, session_of

from diode import events
from diode.errors import DestinationError
from diode.events import Key
from diode.keyring import Keyring
from diode.limits import Limits
from diode.receiver import Receiver
from diode.seal import SecretKey
from diode.service import receiver
from diode.service.disk import Beside
from diode.service.receiver import Short, Stop
from diode.sink.folder import Inbox
from diode.sink.stream import Output

NO_ROOM = DestinationError("No space left on device")


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(str(tmp_path / "inbox"))
    yield inbox
    inbox.close()


def test_end_of_the_carrier_ends_the_session(tmp_path: Path, inbox: Inbox) -> None:
    data = capture(BIG, b"second")
    session = session_of(inbox, *cut(data))
    assert sorted(run(session)) == [("delivered", 1, "1"), ("delivered", 2, "2")]
    assert (session.deliveries.delivered, session.deliveries.refused, session.deliveries.known) == (
        2,
        0,
        0,
    )
    assert session.line_bytes == len(data)
    assert session.observer.ticks == len(cut(data))
    assert set(session.carrier.asked) == {receiver.WAIT}
    assert session.short() == []
    assert (tmp_path / "inbox/1").read_bytes() == BIG
    seen = {type(event) for event in session.observer.events}
    assert seen > {events.SenderHeard, events.ObjectAnnounced, events.ObjectCompleted}


def test_last_frame_without_its_end_is_flushed(inbox: Inbox) -> None:
    data = capture(b"x")
    frames = data.rstrip(b"\0").split(b"\0")
    session = session_of(inbox, b"\0".join(frames))
    run(session)
    assert session.receiver.frames == len([f for f in frames if f])


@pytest.mark.parametrize("idle", [0.2, 0.5, 3.0])
def test_silence_ends_the_session(inbox: Inbox, idle: float) -> None:
    data = capture(b"x" * 500)
    session = session_of(inbox, data, *[None] * 100)
    run(session, idle=idle)
    assert session.clock() - 100.0 == pytest.approx(idle, abs=receiver.WAIT)
    assert session.clock() - 100.0 >= idle
    assert max(session.carrier.asked) == min(idle, receiver.WAIT)
    assert session.deliveries.delivered == 1


def test_noise_is_silence_and_frames_are_not(inbox: Inbox) -> None:
    noise = [2.0, b"\x55" * 1000]
    session = session_of(inbox, *noise * 20)
    run(session, idle=5.0)
    assert session.clock() - 100.0 == 6.0
    frames = [piece for part in cut(capture(BIG), 30_000) for piece in (4.0, part)]
    session = session_of(inbox, *frames)
    assert run(session, idle=5.0) == [("delivered", 1, "1")]
    assert session.clock() - 100.0 > 20.0


def test_slow_disk_is_no_silence(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = capture(b"first"), capture(b"second", first=2)
    session = session_of(inbox, first, second)
    real = inbox.deliver

    def slow(*args):
        session.clock.now += 60.0
        return real(*args)

    monkeypatch.setattr(inbox, "deliver", slow)
    assert run(session, idle=5.0) == [("delivered", 1, "1"), ("delivered", 2, "2")]


@pytest.mark.parametrize("size", [300, 1 << 20])
def test_count_ends_the_session_and_the_next_one_goes_on(
    tmp_path: Path, inbox: Inbox, size: int
) -> None:
    data = capture(*(content(300, seed) for seed in range(5)))
    session = session_of(inbox, *cut(data, size))
    assert run(session, count=2) == [("delivered", 1, "1"), ("delivered", 2, "2")]
    assert session.deliveries.delivered == 2
    assert (size < 1000) == (session.line_bytes < len(data))
    if size > 1000:
        assert session.short() == [], "whole, only not asked for"
        session = session_of(inbox)
        assert run(session, count=1) == [("delivered", 3, "3")]
        session = session_of(inbox)
        assert run(session) == [("delivered", 4, "4"), ("delivered", 5, "5")]
    assert (
        sorted(tree(tmp_path / "inbox", ".diode"))
        == [b"%d" % n for n in range(1, 6)][: 5 if size > 1000 else 2]
    )


def test_stopping_keeps_what_came(inbox: Inbox) -> None:
    session = session_of(inbox, *cut(capture(BIG)))
    session.observer.tick = lambda session: session.stop()
    assert run(session) == []
    assert session.line_bytes == 5000
    (old,) = inbox.unfinished()
    assert old.parked or old.done.any()


def test_object_that_is_short_is_told_and_kept(inbox: Inbox) -> None:
    pieces = cut(capture(BIG))
    session = session_of(inbox, *pieces[: len(pieces) // 2])
    assert run(session) == []
    (short,) = session.short()
    assert isinstance(short, Short)
    assert (short.key, short.manifest.name) == (Key(7, 1), b"1")
    assert 0 < short.blocks_short < short.blocks
    again = session_of(inbox, *pieces[len(pieces) // 2 - 1 :])
    assert run(again) == [("delivered", 1, "1")]
    assert again.short() == []


def test_symbols_of_unfinished_blocks_survive_a_restart(inbox: Inbox) -> None:
    """Odd and even bytes of a capture's pieces: neither half has one whole block."""
    frames = capture(BIG).split(b"\0")
    for half in (0, 1):
        mixed = b"\0".join(f for i, f in enumerate(frames) if i % 2 == half or i < 8) + b"\0"
        session = session_of(inbox, *cut(mixed))
        run(session)
        if not half:
            assert session.short()[0].blocks_short == session.short()[0].blocks
    assert session.observer.said == [("delivered", 1, "1")]


def test_what_a_power_cut_took_of_a_whole_object_is_heard_again_at_once(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the disk is to find out: nothing is read before it has."""
    with monkeypatch.context() as crash:
        crash.setattr(inbox, "deliver", lambda *_: (_ for _ in ()).throw(NO_ROOM))
        run(session_of(inbox, *cut(capture(BIG))))
    (data,) = (tmp_path / "inbox/.diode/parts").glob("*/data")
    with data.open("r+b") as file:  # the journal survived, and what it speaks of did not
        file.write(bytes(len(BIG)))
    real = inbox.deliver
    monkeypatch.setattr(inbox, "deliver", lambda *arguments: (time.sleep(0.2), real(*arguments))[1])
    session = session_of(inbox, capture(BIG))
    with closing(Beside()) as session.disk:
        assert ("delivered", 1, "1") in run(session)
    assert (tmp_path / "inbox/1").read_bytes() == BIG


def test_checkpoints_come_twice_a_second_and_at_the_end(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    pieces = [piece for part in cut(capture(BIG), 20_000) for piece in (0.3, part)]
    session = session_of(inbox, *pieces)
    real = inbox.checkpoint
    monkeypatch.setattr(inbox, "checkpoint", lambda: (times.append(session.clock()), real()))
    run(session)
    assert len(times) > 3
    steps = np.diff(times[:-1])
    assert steps.min() == pytest.approx(0.6)
    assert steps.max() == pytest.approx(0.6)
    assert times[-1] == session.clock()


def test_checkpoints_go_on_in_silence(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    session, count = session_of(inbox, *[None] * 20), []
    monkeypatch.setattr(inbox, "checkpoint", lambda: count.append(1))
    run(session)
    assert len(count) == 20 + 1


def test_parts_that_no_longer_count_go_first(tmp_path: Path) -> None:
    """Without a signature now asked for, an old part makes room before a signed one does."""
    secret = SecretKey.generate()
    plain = BytesSource(content(60_000, 1), b"plain")
    signed = BytesSource(content(60_000, 2), b"signed")
    with closing(Inbox(str(tmp_path / "in"))) as inbox:
        session_of(inbox, capture(signed, first=2, signer=secret)[:40_000]).run(Stop())
    with closing(Inbox(str(tmp_path / "in"))) as inbox:
        session_of(inbox, capture(plain, first=9)[:40_000]).run(Stop())
    parts = tmp_path / "in/.diode/parts"
    assert sorted(p.name for p in parts.iterdir()) == ["00000007-2", "00000007-9"]
    with closing(Inbox(str(tmp_path / "in"), quota=70_000)) as inbox:
        session = session_of(inbox, capture(BIG, first=3, signer=secret)[:40_000])
        session.receiver = Receiver(session.limits, Keyring([secret.public]))
        session.run(Stop())
    assert sorted(p.name for p in parts.iterdir()) == ["00000007-2", "00000007-3"]


def test_wanted_symbols_of_an_evicted_object_are_no_error(tmp_path: Path) -> None:
    """The quota takes an object while the receiver still has events of it in hand."""
    inbox = Inbox(str(tmp_path / "inbox"), quota=40_000)
    pieces = mixed(capture(BIG), 400)
    session = session_of(inbox, *pieces, *pieces, limits=Limits(memory=20_000))
    run(session)
    kinds = {type(event) for event in session.observer.events}
    assert {events.BlockParked, events.BlockWanted} <= kinds
    assert session.deliveries.refused
    assert session.sink.held <= 40_000
    inbox.close()


def test_trouble_of_the_sink_keeps_what_there_is(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise DestinationError("full")

    kept: list[str] = []
    real_park, real_checkpoint = inbox.park, inbox.checkpoint
    monkeypatch.setattr(inbox, "write", full)
    monkeypatch.setattr(inbox, "park", lambda *args: (kept.append("park"), real_park(*args)))
    monkeypatch.setattr(inbox, "checkpoint", lambda: (kept.append("check"), real_checkpoint()))
    session = session_of(inbox, *mixed(capture(BIG), 50))
    said = run(session)
    assert [what for what, *_ in said] == ["trouble"], "once, not for each block"
    assert session.unwritten > 1
    assert session.no_room
    assert kept[-1] == "check"
    assert "park" in kept, "blocks that were not whole yet"


@pytest.mark.parametrize("call", ["announce", "write", "deliver", "checkpoint"])
def test_delivery_resumes_when_the_disk_takes_data_again(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The disk is full for the first of two passes; nothing ends, and all arrives."""
    real, left = getattr(inbox, call), [3]

    def full(*arguments: object) -> object:
        if left[0]:
            left[0] -= 1
            raise DestinationError("full")
        return real(*arguments)

    monkeypatch.setattr(inbox, call, full)
    one = capture(BIG)
    session = session_of(inbox, *cut(one), 2.0, None, *cut(one), 2.0, None, 2.0, None)
    said = run(session)
    assert any(what[:2] == ("trouble", "full") for what in said)
    assert ("delivered", 1, "1") in said
    assert not session.no_room
    assert (tmp_path / "inbox/1").read_bytes() == BIG


def test_interruption_keeps_what_there_is(inbox: Inbox) -> None:
    def interrupted() -> Iterator[bytes]:
        yield from cut(capture(BIG))[:3]
        raise KeyboardInterrupt

    session = session_of(inbox, *[])
    session.carrier._pieces = interrupted()
    with pytest.raises(KeyboardInterrupt):
        session.run(Stop())
    (old,) = inbox.unfinished()
    assert old.parked or old.done.any()


def test_one_object_to_standard_output(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        output = Output(file.fileno())
        session = session_of(output, capture(BIG) + capture(b"second", first=2))
        ((what, number, path),) = run(session, count=1)
        assert (what, path) == ("delivered", "-")
        assert session.deliveries.delivered == 1
        output.close()
    assert (tmp_path / "out").read_bytes() == (BIG, b"second")[number - 1]


def test_receiver_killed_and_started_again_delivers_once(shell) -> None:
    """The whole of it, with a real process."""
    (shell.folder / "cap").write_bytes(capture(BIG))
    os.mkfifo(shell.folder / "fifo")
    process = shell.start("recv", "inbox", "--from", "file:fifo", "--json")
    data = (shell.folder / "cap").read_bytes()
    with (shell.folder / "fifo").open("wb", buffering=0) as writer:
        shell.listening(process)
        writer.write(data[: len(data) // 2])
        process.send_signal(signal.SIGKILL)
        process.wait()
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert ran.code == 0, ran.err
    assert [e["path"] for e in ran.events("object_delivered")] == ["1"]
    assert (shell.folder / "inbox/1").read_bytes() == BIG


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """RLIMIT_NOFILE 32, with many objects begun at a time."""
    pieces = []
    for number in range(1, 101):
        frames = capture(content(3000, number), first=number).split(b"\0")
        pieces.append(frames)
    first = [f for frames in pieces for f in frames[: len(frames) // 2]]
    rest = [f for frames in pieces for f in frames[len(frames) // 2 - 2 :]]
    (tmp_path / "cap").write_bytes(b"\0".join(first + rest) + b"\0")
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32));"
        "from diode.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "recv", "inbox", "--from", "file:cap", "-q"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr.decode()
    assert len(tree(tmp_path / "inbox", ".diode")) == 100
