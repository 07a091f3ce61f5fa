"""Both programs, with a fault at the first, second, third … write, sync and rename.

After each fault the same is run again without one, and all has to be right: the content, once,
no remains, and no number used for two things. The short form takes every STRIDE-th call.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli import Shell, make
from faults import CALLS, FAULTS, calls_of, contents, kinds, need_strace, run_with
from pair import Listener
from ptys import Pty

from diode import events, line
from diode.events import Key

STRIDE = 41
RECV = ("recv", "inbox", "--from", "file:capture", "--json")


def captured(shell: Shell, *options: str) -> dict[str, bytes]:
    """Two files in a capture, and the first half of it."""
    need_strace()
    made = {"a.bin": make(shell.folder / "a.bin", 100)}
    made["d/b.bin"] = make(shell.folder / "d/b.bin", 60_000, 2)
    to = ("--to", "file:capture", "--symbol-size", "512")
    ran = shell.run("send", "a.bin", "d", *to, *options)
    assert ran.code == 0, ran.err
    whole = (shell.folder / "capture").read_bytes()
    (shell.folder / "half").write_bytes(whole[: len(whole) // 2])
    return made


@pytest.fixture
def sent(shell: Shell) -> dict[str, bytes]:
    """Each an object of its own."""
    return captured(shell, "--no-bundle")


@pytest.fixture
def bundled(shell: Shell) -> dict[str, bytes]:
    """Both in one bundle."""
    return captured(shell)


def begin(shell: Shell, how: str) -> None:
    """An inbox as it is before the run that meets a fault."""
    shutil.rmtree(shell.folder / "inbox", ignore_errors=True)
    if how == "resumed":
        if not (shell.folder / "begun").exists():
            assert shell.run("recv", "begun", "--from", "file:half").code == 3
        shutil.copytree(shell.folder / "begun", shell.folder / "inbox")


def states(inbox: Path) -> Counter[str]:
    db = sqlite3.connect(inbox / ".diode/ledger.db")
    found = Counter(state for (state,) in db.execute("SELECT state FROM objects"))
    db.close()
    return found


def receive_with_faults(
    shell: Shell, sent: dict[str, bytes], how: str, fault: str, stride: int, first: int
) -> int:
    """How many calls met the fault."""
    begin(shell, how)
    # A disk that lies about the content itself is found by nobody who does not read it back.
    checked = ("data", "a.bin", "b.bin", "member-0", "member-1") if fault == "short" else ()
    counts, paths = calls_of(shell, *RECV, on="inbox", without=checked)
    met = 0
    for kind in kinds(fault):
        for call in CALLS[kind]:
            start = 1 + first % min(stride, counts[call] or 1)
            for number in range(start, counts[call] + 2, stride):
                begin(shell, how)
                ran, hit = run_with(
                    shell, *RECV, call=call, number=number, fault=fault, paths=paths
                )
                where = f"{fault} at {call} {number}, {how}: {ran.code}\n{ran.out}\n{ran.err}"
                inbox = shell.folder / "inbox"
                for name, content in contents(inbox).items():
                    assert sent.get(name) == content, f"{name} after {where}"
                if not hit:
                    assert ran.code == 0, where
                    break
                met += 1
                assert (ran.code < 0) == (fault == "killed"), where
                again = shell.run(*RECV)
                said = f"{where}\nthen {again.code}\n{again.out}\n{again.err}"
                assert again.code == 0, said
                assert contents(inbox) == sent, said
                assert list((inbox / ".diode/parts").iterdir()) == [], said
                assert _files(inbox) == {"delivered": 2} or _begun_anew(inbox), said
    return met


def _files(inbox: Path) -> Counter[str]:
    """What became of the files, without the row of the bundle that they came in."""
    return states(inbox) - Counter(bundle=1)


def _begun_anew(inbox: Path) -> bool:
    """A ledger that a lying disk damaged was set aside; what lies there counts as duplicate."""
    aside = list((inbox / ".diode").glob("ledger.db.corrupt-*"))
    return bool(aside) and sum(_files(inbox).values()) == 2


def test_receiver(shell: Shell, sent: dict[str, bytes]) -> None:
    met = sum(
        receive_with_faults(shell, sent, how, fault, STRIDE, first)
        for how, fault, first in [("resumed", "killed", 10), ("fresh", "EIO", 4)]
    )
    assert met > 2


def test_receiver_of_a_bundle(shell: Shell, bundled: dict[str, bytes]) -> None:
    met = sum(
        receive_with_faults(shell, bundled, how, fault, STRIDE, first)
        for how, fault, first in [("fresh", "killed", 7), ("resumed", "ENOSPC", 3)]
    )
    assert met > 2


def test_receiver_without_room(shell: Shell, sent: dict[str, bytes]) -> None:
    met = sum(
        receive_with_faults(shell, sent, how, fault, STRIDE, first)
        for how, fault, first in [("fresh", "ENOSPC", 8), ("resumed", "short", 5)]
    )
    assert met > 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["fresh", "resumed"])
def test_receiver_at_every_call(shell: Shell, sent: dict[str, bytes], fault: str, how: str) -> None:
    started = time.monotonic()
    met = receive_with_faults(shell, sent, how, fault, 1, 0)
    print(f"{fault}, {how}: {met} calls, {time.monotonic() - started:.0f} s")
    assert met > (4 if fault == "short" else 10)  # a write alone can be short, and they are few


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["fresh", "resumed"])
def test_receiver_of_a_bundle_at_every_call(
    shell: Shell, bundled: dict[str, bytes], fault: str, how: str
) -> None:
    met = receive_with_faults(shell, bundled, how, fault, 1, 0)
    print(f"bundle: {fault}, {how}: {met} calls")
    assert met > (4 if fault == "short" else 10)  # a write alone can be short, and they are few


# The sender -------------------------------------------------------------------------------------


def heard(capture: Path) -> dict[Key, tuple[bytes, bytes | None]]:
    """The objects announced in a capture: their digests, and their content where it is whole."""
    if not capture.exists():
        return {}
    decoder = line.decoder("cobs")
    data = np.frombuffer(capture.read_bytes(), np.uint8)
    rows = decoder.feed(data) + decoder.flush()
    listener = Listener()
    listener.take(listener.receiver.receive(rows, 0.0))
    assert listener.receiver.rejected == {}
    return {
        e.key: (e.manifest.digest, listener.delivered.get(e.key))
        for e in listener.of(events.ObjectAnnounced)
    }


def heard_on(data: bytes) -> Listener:
    """What a receiver makes of a line."""
    decoder, listener = line.decoder("cobs"), Listener()
    rows = decoder.feed(np.frombuffer(data, np.uint8)) + decoder.flush()
    listener.take(listener.receiver.receive(rows, 0.0))
    return listener


def send_on_a_line_with_faults(
    shell: Shell, port: Pty, fault: str, stride: int, first: int
) -> tuple[int, int]:
    """As send_with_faults, on a line, where a run that was killed is gone on with."""
    need_strace()
    used: dict[Key, bytes] = {}
    to = f"serial:{port.link}?baud=1000000"
    count = met = resumed = 0

    def arguments() -> tuple:
        nonlocal count
        count += 1
        make(shell.folder / "thing", 20_000, count)
        return ("send", "thing", "--to", to, "--state", "air/state", "--json")

    assert shell.run(*arguments()).code == 0
    counts, paths = calls_of(shell, *arguments(), on="air")
    assert any("unfinished-" in path for path in paths)
    for kind in kinds(fault):
        for call in CALLS[kind]:
            start = 1 + first % min(stride, counts[call] or 1)
            for number in range(start, counts[call] + 2, stride):
                before, command = len(port.heard), arguments()
                ran, hit = run_with(
                    shell, *command, call=call, number=number, fault=fault, paths=paths
                )
                said = f"{fault} at {call} {number}: {ran.code}\n{ran.out}\n{ran.err}"
                if not hit:
                    assert ran.code == 0, said
                    break
                met += 1
                assert (ran.code < 0) == (fault == "killed"), said
                again = shell.run(*command)
                said += f"\nthen {again.code}\n{again.out}\n{again.err}"
                assert again.code == 0, said
                resumed += len(again.events("resumed"))
                listener = heard_on(port.wait_for(before + 1)[before:])
                for event in listener.of(events.ObjectAnnounced):
                    digest = event.manifest.digest
                    assert used.setdefault(event.key, digest) == digest, said
                content = (shell.folder / "thing").read_bytes()
                assert content in listener.delivered.values(), said
                left = [p.name for p in (shell.folder / "air/state").iterdir()]
                assert not [name for name in left if "unfinished" in name], f"{left}, {said}"
    return met, resumed


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Pty]:
    with Pty(tmp_path / "port") as pty:
        yield pty


def test_sender_on_a_line(shell: Shell, port: Pty) -> None:
    met, resumed = send_on_a_line_with_faults(shell, port, "killed", 3, 1)
    assert met > 3
    assert resumed > 0


def test_sender_on_a_line_with_a_bad_disk(shell: Shell, port: Pty) -> None:
    assert send_on_a_line_with_faults(shell, port, "EIO", 4, 2)[0] > 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_sender_on_a_line_at_every_call(shell: Shell, port: Pty, fault: str) -> None:
    met, resumed = send_on_a_line_with_faults(shell, port, fault, 1, 0)
    print(f"{fault}: {met} calls, {resumed} times gone on with")
    assert met > 2


def send_with_faults(shell: Shell, fault: str, stride: int, first: int) -> int:
    """One state folder lives through all faults; each run sends something else."""
    need_strace()
    count = 0
    used: dict[Key, bytes] = {}

    def arguments() -> tuple:
        nonlocal count
        count += 1
        make(shell.folder / "thing", 20_000, count)
        return ("send", "thing", "--to", "file:air/capture", "--state", "air/state", "--json")

    def account(said: str) -> list[bytes | None]:
        found = heard(shell.folder / "air/capture")
        for key, (digest, _) in found.items():
            assert used.setdefault(key, digest) == digest, f"{key} again, {said}"
        return [content for _, content in found.values()]

    (shell.folder / "air").mkdir()
    assert shell.run(*arguments()).code == 0  # the state is one that exists
    account("first")
    counts, paths = calls_of(shell, *arguments(), on="air")
    account("traced")
    met = 0
    for kind in kinds(fault):
        for call in CALLS[kind]:
            start = 1 + first % min(stride, counts[call] or 1)
            for number in range(start, counts[call] + 2, stride):
                ran, hit = run_with(
                    shell, *arguments(), call=call, number=number, fault=fault, paths=paths
                )
                said = f"{fault} at {call} {number}: {ran.code}\n{ran.out}\n{ran.err}"
                account(said)
                if not hit:
                    assert ran.code == 0, said
                    break
                met += 1
                assert (ran.code < 0) == (fault == "killed"), said
                again = shell.run(*arguments())
                assert again.code == 0, f"{said}\nthen {again.code}\n{again.err}"
                assert account(said) == [(shell.folder / "thing").read_bytes()], said
    return met


@pytest.mark.parametrize(("fault", "first"), [("killed", 1), ("EIO", 2)])
def test_sender(shell: Shell, fault: str, first: int) -> None:
    assert send_with_faults(shell, fault, 5, first) > 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_sender_at_every_call(shell: Shell, fault: str) -> None:
    met = send_with_faults(shell, fault, 1, 0)
    print(f"{fault}: {met} calls")
    assert met > 2
