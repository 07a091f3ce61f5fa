"""Who a sender is: no object number ever means two things, whatever happens and when."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from inboxes import descriptors, unprivileged

from diode.errors import DestinationError, Locked
from diode.service import state
from diode.service.state import LAST_NUMBER, SenderState, default_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a/state"


def held(folder: Path) -> dict:
    return json.loads((folder / "sender.json").read_bytes())


def test_identity_is_drawn_once(folder: Path) -> None:
    with SenderState(str(folder)) as first:
        sender = first.sender
        assert 0 < sender <= LAST_NUMBER
        assert (first.number, first.frames) == (0, 0)
        assert first.reserve(3) == 1
        assert first.reserve(1) == 4
        assert first.number == 4
        first.count_frames(1000)
    with SenderState(str(folder)) as second:
        assert (second.sender, second.number, second.frames) == (sender, 4, 1000)
        assert second.reserve(2) == 5
    secret = base64.b64encode(first.secret).decode()
    assert second.secret == first.secret
    counts = {"number": 6, "frames": 1000, "streams": 0}
    assert held(folder) == {"sender": sender, **counts, "secret": secret}
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "sender.json").stat().st_mode & 0o177 == 0


def test_senders_differ(tmp_path: Path) -> None:
    drawn = set()
    for number in range(20):
        with SenderState(str(tmp_path / str(number))) as one:
            drawn.add(one.sender)
    assert len(drawn) == 20


def test_reserving_nothing_still_keeps_the_identity(folder: Path) -> None:
    with SenderState(str(folder)) as first:
        assert first.reserve(0) == 1
        sender = first.sender
        secret = base64.b64encode(first.secret).decode()
    counts = {"number": 0, "frames": 0, "streams": 0}
    assert held(folder) == {"sender": sender, **counts, "secret": secret}


def test_streams_of_records_are_never_used_twice(folder: Path) -> None:
    with SenderState(str(folder)) as first:
        assert [first.begin_stream(), first.begin_stream()] == [1, 2]
        sender = first.sender
    with SenderState(str(folder)) as second:
        assert second.begin_stream() == 3
        second._identity.streams = LAST_NUMBER
        assert second.begin_stream() == 1
        assert second.sender != sender  # as with numbers


def test_a_state_from_before_there_were_streams(folder: Path) -> None:
    with SenderState(str(folder)) as first:
        first.reserve(1)
        sender = first.sender
    path = folder / "sender.json"
    path.write_text(path.read_text().replace(',"streams":0', ""))
    with SenderState(str(folder)) as second:
        assert (second.sender, second.begin_stream()) == (sender, 1)


def test_number_is_durable_before_it_may_be_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []

    def note(name: str, at: Callable[..., str]) -> None:
        real = getattr(os, name)

        def noted(*args, **kwargs):
            result = real(*args, **kwargs)
            steps.append((name, at(*args, **kwargs)))
            return result

        monkeypatch.setattr(os, name, noted)

    def where(descriptor: int, *_: object) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return str(path.relative_to(folder))

    with SenderState(str(folder)) as one:
        one.reserve(1)
        note("write", where)
        note("fsync", where)
        note("rename", lambda old, new, **_: f"{old} -> {new}")
        one.reserve(5)
        monkeypatch.undo()
        assert steps == [
            ("write", "sender.new"),
            ("fsync", "sender.new"),
            ("rename", "sender.new -> sender.json"),
            ("fsync", "."),
        ]
        assert held(folder)["number"] == 6


@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_number_that_cannot_be_kept_is_not_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with SenderState(str(folder)) as one:
        one.reserve(1)
        before, open_ = held(folder), descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(DestinationError, match=os.strerror(number)) as caught:
                one.reserve(5)
        assert caught.value.exit_code == 13
        assert "on disk before it goes on air" in caught.value.hint
        assert held(folder) == before
        assert descriptors() == open_
        assert one.reserve(1) == 2, "nobody has used the numbers that were not given"


def test_short_writes_are_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with SenderState(str(folder)) as one:
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:5]))
        one.reserve(9)
        monkeypatch.undo()
        assert held(folder)["number"] == 9


WHOLE = b'{"sender":305419896,"number":77,"frames":5}\n'


def aside(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("sender.corrupt-*")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 43,
        b"garbage",
        b"[]",
        b"{}",
        b"null",
        b'{"sender":"x"}',
        b'{"sender":0}',
        b'{"sender":-1}',
        b'{"sender":4294967296}',
        b'{"sender":1e400}',
        b'{"sender":%s}' % (b"9" * 30),
        b'{"sender":1,"number":-1}',
        b'{"sender":1,"number":4294967296}',
        b'{"sender":1,"frames":-1}',
        b'{"sender":1,"frames":18446744073709551615}',
        b"[" * 60_000,
        b'{"more":' + b"[" * 60_000,
        b" " * 70_000 + WHOLE,
    ],
    ids=lambda content: ascii(content[:30]),
)
def test_state_that_cannot_be_read_is_moved_aside(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "sender.json").write_bytes(content)
    before = descriptors()
    with SenderState(str(folder)) as one:
        assert one.sender not in (0, 1)
        assert (one.number, one.frames) == (0, 0)
        assert aside(folder) == [content]
        sender = one.sender
        one.reserve(1)
    assert descriptors() == before
    with SenderState(str(folder)) as again:
        assert (again.sender, again.number) == (sender, 1)
    assert len(aside(folder)) == 1


def test_truncated_at_every_byte(folder: Path) -> None:
    folder.mkdir(parents=True)
    for length in range(len(WHOLE) + 1):
        (folder / "sender.json").write_bytes(WHOLE[:length])
        with SenderState(str(folder)) as one:
            if length < len(WHOLE) - 1:  # the line's end may be missing
                assert (one.sender != 305419896, one.number) == (True, 0)
            else:
                assert (one.sender, one.number, one.frames) == (305419896, 77, 5)
    assert len(aside(folder)) == len(WHOLE) - 1


def test_flipped_bits_never_raise(folder: Path) -> None:
    folder.mkdir(parents=True)
    for bit in range(8 * len(WHOLE)):
        broken = bytearray(WHOLE)
        broken[bit // 8] ^= 1 << bit % 8
        (folder / "sender.json").write_bytes(broken)
        with SenderState(str(folder)) as one:
            assert 0 < one.sender <= LAST_NUMBER
            assert 0 <= one.number <= LAST_NUMBER
            assert one.frames >= 0
            assert one.reserve(1) == one.number


def test_second_sender_is_locked_out(folder: Path) -> None:
    with SenderState(str(folder)) as one:
        before = descriptors()
        with pytest.raises(Locked, match="another sender") as caught:
            SenderState(str(folder))
        assert caught.value.exit_code == 11
        assert "--state" in caught.value.hint
        assert descriptors() == before
        assert one.reserve(1) == 1
    SenderState(str(folder)).close()


def test_lock_of_a_killed_sender_does_not_matter(folder: Path) -> None:
    program = (
        "import sys; from diode.service.state import SenderState\n"
        "one = SenderState(sys.argv[1]); one.reserve(3); print(one.sender, flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sender = int(process.stdout.readline())
        with pytest.raises(Locked):
            SenderState(str(folder))
        process.send_signal(signal.SIGKILL)
    with SenderState(str(folder)) as one:
        assert (one.sender, one.reserve(1)) == (sender, 4)


def refused(folder: Path) -> DestinationError:
    before = descriptors()
    with pytest.raises(DestinationError) as caught:
        SenderState(str(folder))
    assert descriptors() == before
    assert caught.value.exit_code == 13
    assert "--state DIR" in caught.value.hint
    return caught.value


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "File exists" in str(refused(tmp_path / "file"))
    assert "Not a directory" in str(refused(tmp_path / "file/state"))
    (tmp_path / "state/sender.lock").mkdir(parents=True)
    assert "Is a directory" in str(refused(tmp_path / "state"))
    (tmp_path / "other/sender.json").mkdir(parents=True)
    assert "Is a directory" in str(refused(tmp_path / "other"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/sender.lock").symlink_to("../file")
    refused(tmp_path / "linked")
    assert (tmp_path / "file").read_text() == "mine"


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o555)
    with unprivileged():
        error = refused(tmp_path / "state")
    assert "Permission denied" in str(error)


@pytest.mark.parametrize("left", [0, 1, 4])
def test_exhausted_numbers_make_a_new_identity(folder: Path, left: int) -> None:
    folder.mkdir(parents=True)
    old = {"sender": 1, "number": LAST_NUMBER - left, "frames": 9}
    (folder / "sender.json").write_text(json.dumps(old))
    with SenderState(str(folder)) as one:
        if left:
            assert one.reserve(left) == LAST_NUMBER - left + 1
            assert (one.sender, one.number) == (1, LAST_NUMBER)
        assert one.reserve(5) == 1
        assert one.sender != 1
        assert (one.number, one.frames) == (5, 0)
    assert held(folder)["number"] == 5


def test_where_the_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    assert default_folder() == "/x/state/diode"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/x")
    assert default_folder() == "/home/x/.local/state/diode"


# Killed ---------------------------------------------------------------------------------------

RUN = """
import os, sys
from diode.service.state import SenderState
used = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with SenderState(sys.argv[1]) as one:
    for count in (1, 3):
        first = one.reserve(count)
        for number in range(first, first + count):
            os.write(used, b"%d %d\\n" % (one.sender, number))
    one.count_frames(100)
"""


def never_twice(used: Path) -> int:
    """How many numbers went on air, none of them twice."""
    numbers = used.read_text().split("\n")[:-1] if used.exists() else []
    assert len(set(numbers)) == len(numbers)
    return len(numbers)


def test_numbers_are_not_reused_after_a_kill_at_any_call(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    probe = [strace or "false", "-o", os.devnull, "true"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("no strace here, or it may not trace")
    folder, used = tmp_path / "state", tmp_path / "used"
    folder.mkdir()
    killed = 0
    for calls in ("write", "fsync", "rename,renameat,renameat2", "flock"):
        for when in range(1, 100):  # each call has a count of its own
            inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={when}"]
            program = [sys.executable, "-c", RUN, str(folder), str(used)]
            command = [strace, "-f", "-qq", "-o", os.devnull, *inject, *program]
            ended = subprocess.run(command, check=False, capture_output=True, timeout=60)
            assert ended.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), ended.stderr
            never_twice(used)
            if not ended.returncode:
                break
            killed += 1
    assert killed > 12, "the calls are the ones that were meant"
    assert never_twice(used) >= 4
    assert aside(folder) == []
    assert len({line.split()[0] for line in used.read_text().splitlines()}) <= 2


FORKED = """
import os, signal, sys
import diode.service.state
sys.argv = ["", {folder!r}, {used!r}]
RUN = {run!r}
last = 0
for before in (True, False):
    for last in range(1, 100):
        child = os.fork()
        if not child:
            calls = 0
            def wrap(name):
                real = getattr(os, name)
                def counted(*args, **kwargs):
                    global calls
                    calls += 1
                    if calls == last and before:
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = real(*args, **kwargs)
                    if calls == last:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result
                setattr(os, name, counted)
            for name in ("open", "write", "fsync", "rename", "close"):
                wrap(name)
            exec(RUN)
            os._exit(0)
        if not os.waitpid(child, 0)[1]:
            break
    print(last)
"""


def test_numbers_are_not_reused_after_a_kill_before_or_after_any_step(tmp_path: Path) -> None:
    folder, used = tmp_path / "state", tmp_path / "used"
    program = FORKED.format(folder=str(folder), used=str(used), run=RUN)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert all(int(line) > 20 for line in ended.stdout.split())
    assert never_twice(used) > 20
    assert aside(folder) == []


def test_killed_while_a_corrupt_state_is_moved_aside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    (folder / "sender.json").write_bytes(b"garbage")
    with monkeypatch.context() as patch:
        patch.setattr(state, "_draw", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        before = descriptors()
        with pytest.raises(KeyboardInterrupt):
            SenderState(str(folder))
        assert descriptors() == before
    with SenderState(str(folder)) as one:
        assert one.reserve(1) == 1
    assert aside(folder) == [b"garbage"]
