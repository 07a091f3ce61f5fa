"""A sender that was killed goes on where it was, in real processes on a pseudo-terminal."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli import Shell, make
from pair import Listener
from ptys import Pty

from diode import line
from diode.carrier.coupling import Coupling
from diode.carrier.impairment import Impairment
from diode.events import Key, ObjectVoided
from diode.service.logbook import PREFIX, Reached, Unfinished, _read


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Pty]:
    with Pty(tmp_path / "port") as pty:
        yield pty


def unfinished(shell: Shell) -> list[Unfinished]:
    """What the sender's state folder holds, read while it is written to."""
    import os

    folder = shell.folder / "state/diode"
    if not folder.exists():
        return []
    directory = os.open(folder, os.O_RDONLY)
    try:
        names = [n for n in os.listdir(directory) if n.startswith(PREFIX) and n[-4:] != ".new"]
        found = []
        for name in sorted(names):
            try:
                found.append(_read(name, directory))
            except FileNotFoundError:
                continue
        return [f for f in found if f is not None]
    finally:
        os.close(directory)


def reached(shell: Shell) -> Reached:
    (found,) = unfinished(shell)
    return found.reached


def killed_at(shell: Shell, arguments: tuple, done) -> Reached:
    """Start a sender, kill it as soon as what it wrote down satisfies; what it wrote down."""
    sender = shell.start(*arguments)
    until = time.monotonic() + 60
    while not any(done(found.reached) for found in unfinished(shell)):
        assert sender.poll() is None, sender.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    sender.kill()
    sender.wait()
    return reached(shell)


def rows(data: bytes) -> list[np.ndarray]:
    decoder = line.decoder("cobs")
    return decoder.feed(np.frombuffer(data, np.uint8)) + decoder.flush()


def heard(*parts: bytes) -> Listener:
    listener = Listener()
    for part in parts:
        listener.take(listener.receiver.receive(rows(part), 0.0))
    return listener


def in_pass(number: int, block: int = 0):
    return lambda r: (
        r.place is not None
        and (r.place.number_of_pass, r.place.block)
        >= (
            number,
            block,
        )
    )


def frames_said(err: str) -> int:
    (count,) = re.findall(r"([\d,]+) frames", err)
    return int(count.replace(",", ""))


def test_killed_in_mid_pass(shell: Shell, port: Pty) -> None:
    content = make(shell.folder / "x.bin", 200_000)
    command = ("send", "x.bin", "--to", f"serial:{port.link}?baud=460800")
    at = killed_at(shell, command, in_pass(1))
    first = len(port.wait_for(1))
    ran = shell.run(*command)
    assert ran.code == 0, ran.err
    assert "going on with what was not finished: 1 object, in pass 1" in ran.err
    assert unfinished(shell) == []
    both = bytes(port.heard)
    listener = heard(both[:first], both[first:])
    assert {k.number: v for k, v in listener.delivered.items()} == {1: content}

    # The frames of the second run are those behind the place, and a heartbeat now and then.
    second = sum(map(len, rows(both[first:])))
    other = Shell(shell.folder / "other")
    other.folder.mkdir()
    whole = frames_said(
        other.run("send", shell.folder / "x.bin", "--to", command[-1]).err
    )  # another identity, the same file
    assert at.place is not None and at.place.block == 0  # in the first group
    before = at.place.frames
    assert before > 100
    assert second <= whole - before + 50
    assert listener.receiver.frames <= whole + (sum(map(len, rows(both[:first]))) - before) + 50

    # A leap of the count of frames, forwards, is all that the receiver sees of it.
    (reception,) = listener.receiver.senders.values()
    assert 0 <= reception.lost <= at.frames - sum(map(len, rows(both[:first])))


def test_a_carousel_goes_on_in_its_pass(shell: Shell) -> None:
    """Half of the frames are lost and no pass has parity: one pass alone is never enough."""
    content = make(shell.folder / "x.bin", 40_000)
    with Coupling(230_400, Impairment.parse("drop=50%,seed=4")) as coupling:
        to = f"serial:{coupling.tx_path}?baud=230400"
        command = ("send", "x.bin", "--to", to, "--passes", "0", "--redundancy", "0%")
        receiver = shell.start(
            "recv", "inbox", "--once", "--json", "--from", f"serial:{coupling.rx_path}"
        )
        shell.listening(receiver)
        killed_at(shell, command, in_pass(2))
        again = shell.start(*command)
        received = shell.finish(receiver)
        again.send_signal(signal.SIGTERM)
        said = shell.finish(again)
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/x.bin").read_bytes() == content
    (delivered,) = received.events("object_delivered")
    assert delivered["number"] == 1
    assert [e["number"] for e in received.events("object_announced")] == [1]
    pass_ = int(re.findall(r"1 object, in pass (\d+)", said.err)[0])
    assert pass_ >= 2
    assert reached(shell).place is not None, "stopped in order, it can be gone on with too"


def test_changed_content_gets_a_new_number(shell: Shell, port: Pty) -> None:
    same = make(shell.folder / "d/a", 100_000)
    make(shell.folder / "d/b", 100_000, 2)
    command = ("send", "d", "--to", f"serial:{port.link}?baud=460800")
    killed_at(shell, command, in_pass(1))
    first = len(port.wait_for(1))
    other = make(shell.folder / "d/b", 100_000, 3)
    ran = shell.run(*command, "--json")
    assert ran.code == 0, ran.out
    (resumed,) = ran.events("resumed")
    assert (resumed["objects"], resumed["withdrawn"]) == (2, 1)
    assert [e["number"] for e in ran.events("object_void")] == [2]
    assert sorted(e["number"] for e in ran.events("object_sent")) == [1, 3]
    both = bytes(port.heard)
    listener = heard(both[:first], both[first:])
    assert {k.number: v for k, v in listener.delivered.items()} == {1: same, 3: other}
    (void,) = listener.of(ObjectVoided)
    assert void.key == Key(void.key.sender, 2)


def test_another_command_leaves_it_and_fresh_forgets_it(shell: Shell, port: Pty) -> None:
    make(shell.folder / "x.bin", 200_000)
    small = make(shell.folder / "y", 300)
    to = ("--to", f"serial:{port.link}?baud=460800")
    at = killed_at(shell, ("send", "x.bin", *to), in_pass(1))
    other = shell.run("send", "y", *to)
    assert other.code == 0
    assert f"not finished: x.bin to {to[1]}" in other.err
    assert "--fresh forgets it" in other.err
    more = shell.run("send", "x.bin", *to, "--redundancy", "30%")
    assert "not finished: x.bin" in more.err, "other options send other symbols"
    assert reached(shell) == at
    fresh = shell.run("send", "x.bin", *to, "--fresh", "-v")
    assert "going on" not in fresh.err
    assert "forgotten: x.bin" in fresh.err
    assert unfinished(shell) == []
    listener = heard(bytes(port.heard))
    numbers = sorted(k.number for k in listener.delivered)
    assert numbers == [2, 3, 4], "the number of what was forgotten is not used again"
    assert small in listener.delivered.values()


def test_standard_input_is_gone_and_said_to_be(shell: Shell, port: Pty) -> None:
    content = make(shell.folder / "x.bin", 100_000)
    to = ("--to", f"serial:{port.link}?baud=460800")
    import subprocess
    import sys

    sender = subprocess.Popen(
        [sys.executable, "-m", "diode", "send", "-", *to],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    )
    shell.processes.append(sender)
    assert sender.stdin is not None
    sender.stdin.write(content)
    sender.stdin.close()
    until = time.monotonic() + 30
    while not any(in_pass(1)(u.reached) for u in unfinished(shell)):
        assert sender.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    sender.kill()
    sender.wait()
    sender.stdin = None
    first = len(port.wait_for(1))
    used = reached(shell).frames
    ran = shell.run("send", "-", *to, stdin=b"again")
    assert ran.code == 0
    assert f"not finished, and gone: - to {to[1]}" in ran.err
    assert unfinished(shell) == []
    listener = heard(bytes(port.heard)[first:])
    assert {k.number: v for k, v in listener.delivered.items()} == {2: b"again"}
    (reception,) = listener.receiver.senders.values()
    assert reception.sent >= used, "its frames are counted all the same"


def test_a_recording_begins_anew(shell: Shell) -> None:
    content = make(shell.folder / "x.bin", 3000)
    for _ in range(2):
        assert shell.run("send", "x.bin", "--to", "file:capture").code == 0
        assert unfinished(shell) == []
    assert list(heard((shell.folder / "capture").read_bytes()).delivered.values()) == [content]
