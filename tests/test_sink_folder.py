"""The inbox: what is delivered, under which name, in which order, and what never happens."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from inboxes import BLOCK, SYMBOL, Thing, descriptors, reachable, some, tree, unprivileged

from diode.database import Damaged
from diode.errors import DestinationError, Locked
from diode.events import Key
from diode.objects import Type
from diode.sink import Delivered, place
from diode.sink.folder import Inbox
from diode.sink.trouble import Lost

THING = Thing(some(3 * BLOCK + 5))
OTHER = Thing(some(3 * BLOCK + 5, 2), key=Key(7, 2))
Open = Callable[..., Inbox]


@pytest.fixture
def around(tmp_path: Path) -> Path:
    """A folder whose only part that may change is the inbox in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_text("mine")
    return tmp_path


@pytest.fixture
def inbox(around: Path) -> Iterator[Inbox]:
    inbox = Inbox(str(around / "inbox"))
    yield inbox
    inbox.close()


def files(around: Path) -> dict[bytes, object]:
    return tree(around / "inbox", ".diode")


def names(around: Path) -> list[str]:
    return sorted(os.fsdecode(name) for name in files(around))


# Delivery -------------------------------------------------------------------------------------


def test_delivered_file(around: Path, inbox: Inbox) -> None:
    delivered = THING.give(inbox)
    assert delivered == Delivered("report.pdf", THING.manifest.digest.hex(), duplicate=False)
    path = around / "inbox/report.pdf"
    assert path.read_bytes() == THING.content
    status = path.stat()
    assert status.st_mode == 0o100440
    assert status.st_mtime_ns == THING.mtime
    assert status.st_uid == os.geteuid()
    assert status.st_nlink == 1
    assert list((around / "inbox/.diode/parts").iterdir()) == []


def test_data_then_name_then_folders_are_made_durable(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []
    inbox = Inbox(str(around / "inbox"))
    real_fsync, real_rename, record = os.fsync, place._rename_noreplace, inbox._ledger.record
    real_chmod, real_utime = os.fchmod, os.utime

    def where(descriptor: int) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return os.path.relpath(path, around / "inbox")

    def note(what: str, real: Callable, at: Callable[..., str]) -> Callable:
        def noted(*args, **kwargs):
            steps.append((what, at(*args)))
            return real(*args, **kwargs)

        return noted

    monkeypatch.setattr(os, "fsync", note("fsync", real_fsync, where))
    monkeypatch.setattr(os, "fchmod", note("mode", real_chmod, lambda fd, _: where(fd)))
    monkeypatch.setattr(os, "utime", note("mtime", real_utime, lambda fd, **_: where(fd)))
    monkeypatch.setattr(os, "pwrite", note("write", os.pwrite, lambda fd, *_: where(fd)))
    to = note("rename", real_rename, lambda _s, _o, target, new: f"{where(target)}/{new}")
    monkeypatch.setattr(place, "_rename_noreplace", to)
    ledger = note("ledger", record, lambda *args: args[3])
    monkeypatch.setattr(inbox._ledger, "record", ledger)
    Thing(THING.content, b"a/b/report.pdf").give(inbox)
    monkeypatch.undo()
    inbox.close()
    part = ".diode/parts/00000007-1/data"
    assert steps[-8:] == [
        ("mode", part),
        ("mtime", part),
        ("fsync", part),
        ("fsync", "."),  # the name a in the inbox
        ("fsync", "a"),  # the name b in a
        ("rename", "a/b/report.pdf"),
        ("fsync", "a/b"),
        ("ledger", "a/b/report.pdf"),
    ]
    assert steps.index(("fsync", part)) > max(
        i for i, step in enumerate(steps) if step == ("write", part)
    )


def test_existing_names_get_numbered_siblings(around: Path, inbox: Inbox) -> None:
    contents = [some(100, seed) for seed in range(4)]
    for number, content in enumerate(contents, 1):
        Thing(content, key=Key(7, number)).give(inbox)
    wanted = ["report.pdf", "report.2.pdf", "report.3.pdf", "report.4.pdf"]
    assert [(around / "inbox" / n).read_bytes() for n in wanted] == contents
    assert names(around) == sorted(wanted)


def test_sibling_is_found_again_as_a_duplicate(around: Path, inbox: Inbox) -> None:
    THING.give(inbox)
    OTHER.give(inbox)
    before = files(around)
    again = Thing(OTHER.content, key=Key(8, 1)).give(inbox)
    assert again == Delivered("report.2.pdf", OTHER.manifest.digest.hex(), duplicate=True)
    assert files(around) == before
    assert list((around / "inbox/.diode/parts").iterdir()) == []
    assert not Thing(OTHER.content, key=Key(8, 1)).announce(inbox), "the ledger knows it"


@pytest.mark.parametrize("name", ["x" * 255, "y" * 251 + ".pdf", "é" * 127, "z." + "s" * 253])
def test_siblings_of_the_longest_names(around: Path, inbox: Inbox, name: str) -> None:
    for number in range(1, 4):
        thing = Thing(some(50, number), name.encode(), key=Key(7, number))
        path = thing.give(inbox).path
        assert (around / "inbox" / path).read_bytes() == thing.content
        assert len(path.encode()) <= 255
    assert len(names(around)) == 3
    assert name in names(around)


def test_siblings_never_run_out(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_MAX_SIBLING", 3)
    for number in range(1, 7):
        Thing(some(50, number), key=Key(7, number)).give(inbox)
    found = names(around)
    assert len(found) == 6
    assert {"report.pdf", "report.2.pdf"} < set(found)
    assert all(name.startswith("report.") and name.endswith(".pdf") for name in found)


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "other content", "unreadable"])
def test_what_has_the_name_already_stays(around: Path, inbox: Inbox, kind: str) -> None:
    path = around / "inbox/report.pdf"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case "other content":
            path.write_bytes(bytes(len(THING.content)))
        case "unreadable":
            path.symlink_to("report.pdf")
    before = files(around)[b"report.pdf"]
    assert THING.give(inbox).path == "report.2.pdf"
    assert files(around)[b"report.pdf"] == before
    assert (around / "inbox/report.2.pdf").read_bytes() == THING.content


@pytest.mark.parametrize("target", ["../outside/victim", "../outside/new", "report.pdf"])
def test_link_at_the_final_name_is_not_followed(around: Path, inbox: Inbox, target: str) -> None:
    (around / "inbox/report.pdf").symlink_to(target)
    before = tree(around / "outside")
    assert THING.give(inbox).path == "report.2.pdf"
    assert tree(around / "outside") == before
    assert (around / "inbox/report.pdf").readlink() == Path(target)


def test_link_to_identical_content_is_no_duplicate(around: Path, inbox: Inbox) -> None:
    (around / "outside/same").write_bytes(THING.content)
    (around / "inbox/report.pdf").symlink_to("../outside/same")
    delivered = THING.give(inbox)
    assert (delivered.path, delivered.duplicate) == ("report.2.pdf", False)


def test_folders_are_nested_and_shared(around: Path, inbox: Inbox) -> None:
    Thing(b"1", b"a/b/c/x", key=Key(7, 1)).give(inbox)
    assert Thing(b"2", b"a/b/y", key=Key(7, 2)).give(inbox).path == "a/b/y"
    assert names(around) == ["a", "a/b", "a/b/c", "a/b/c/x", "a/b/y"]
    assert (around / "inbox/a").stat().st_mode & 0o7027 == 0


@pytest.mark.parametrize("link", [None, "../outside", "elsewhere", "nowhere"])
def test_folder_name_that_is_a_file_or_a_link(around: Path, inbox: Inbox, link: str | None) -> None:
    (around / "inbox/elsewhere").mkdir()
    path = around / "inbox/folder"
    if link is None:
        path.write_text("a file")
    else:
        path.symlink_to(link)
    before = tree(around / "outside"), tree(around / "inbox/elsewhere")
    assert Thing(b"1", b"folder/x").give(inbox).path == "folder.2/x"
    assert Thing(b"2", b"folder/y", key=Key(7, 2)).give(inbox).path == "folder.2/y"
    assert (tree(around / "outside"), tree(around / "inbox/elsewhere")) == before
    assert (around / "inbox/folder.2/x").read_bytes() == b"1"


def test_inbox_swapped_for_a_link_is_still_the_one_that_was_opened(
    around: Path, inbox: Inbox
) -> None:
    (around / "inbox").rename(around / "moved")
    (around / "inbox").symlink_to("outside")
    before = tree(around / "outside")
    Thing(THING.content, b"a/x").give(inbox)
    assert tree(around / "outside") == before
    assert (around / "moved/a/x").read_bytes() == THING.content


def test_empty_file_and_empty_directory(around: Path, inbox: Inbox) -> None:
    assert Thing(b"", b"empty").give(inbox).path == "empty"
    directory = Thing(b"", b"a/nothing here", key=Key(7, 2), type=Type.DIRECTORY)
    assert directory.give(inbox).path == "a/nothing here"
    assert (around / "inbox/empty").stat().st_size == 0
    assert (around / "inbox/empty").stat().st_mode == 0o100440
    assert (around / "inbox/a/nothing here").is_dir()
    Thing(b"", b"empty", key=Key(7, 3), type=Type.DIRECTORY).give(inbox)
    assert names(around) == ["a", "a/nothing here", "empty", "empty.2"]
    assert Thing(b"", b"empty", key=Key(7, 4)).give(inbox).duplicate


def test_file_does_not_keep_what_stood_behind_its_end(around: Path, inbox: Inbox) -> None:
    THING.announce(inbox)
    THING.write(inbox)
    with (around / "inbox/.diode/parts/00000007-1/data").open("ab") as file:
        file.write(b"left over")
    THING.deliver(inbox)
    assert (around / "inbox/report.pdf").read_bytes() == THING.content


# Modes and times ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (0o440, 0o440),
        (0o600, 0o600),
        (0o644, 0o644),
        (0o777, 0o666),
        (0o7777, 0o666),
        (0o4755, 0o644),
    ],
)
def test_mode_is_never_executable_nor_setuid(around: Path, asked: int, given: int) -> None:
    old = os.umask(0o077)  # the mode is what was asked for, not what the umask leaves
    try:
        inbox = Inbox(str(around / "inbox"), mode=asked)
        THING.give(inbox)
        inbox.close()
    finally:
        os.umask(old)
    assert (around / "inbox/report.pdf").stat().st_mode == 0o100000 | given


@pytest.mark.parametrize("mtime", [None, 0, -1, 1, -(1 << 63), (1 << 63) - 1, 1 << 62])
def test_any_modification_time_is_harmless(around: Path, inbox: Inbox, mtime: int | None) -> None:
    Thing(THING.content, mtime=mtime).give(inbox)
    path = around / "inbox/report.pdf"
    assert path.read_bytes() == THING.content
    if mtime in (0, 1):
        assert path.stat().st_mtime_ns == mtime


def test_modification_time_the_file_system_refuses(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EINVAL, "out of range")

    monkeypatch.setattr(os, "utime", refuse)
    THING.give(inbox)
    assert (around / "inbox/report.pdf").read_bytes() == THING.content


# Names ----------------------------------------------------------------------------------------

HOSTILE = [
    b"../../etc/cron.d/x",
    b"/etc/passwd",
    b"a/../../b",
    b"a/..",
    b"..",
    b".",
    b"/",
    b"./../outside/victim",
    b"../outside/victim",
    b"C:\\x",
    b"\\\\host\\x",
    b"x\ny",
    b"n" * 300,
    ("e\u0301" * 255).encode(),
    b"\xff\xfe\x80",
    b"\xed\xa0\x80",
    b"\x1b[2K\x1b[1Gevil.sh",
    b"\x1b]52;c;aaaa\x07",
    "\u202egpj.exe".encode(),
    b"\x9b2K",
    b".ssh",
    b".bashrc",
    b"-rf",
    b"CON",
    b"aux.txt",
    b"trailing.",
    b"trailing ",
    b".diode",
    b".diode/x",
    b".diode/parts/x",
    b".diode/ledger.db",
    b".diode/ledger.db-journal",
    b"./.diode/x",
    b"//.diode//x",
    b"d/" * 900 + b"x",
]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", HOSTILE, ids=[ascii(n[:20]) for n in HOSTILE])
def test_hostile_names_stay_below_the_inbox(around: Path, name: bytes, exact: bool) -> None:
    inbox = Inbox(str(around / "inbox"), exact_names=exact)
    outside, state = tree(around, "inbox"), set(tree(around / "inbox/.diode"))
    thing = Thing(THING.content, name)
    path = thing.give(inbox).path
    second = Thing(b"", name, key=Key(7, 2), type=Type.DIRECTORY).give(inbox).path
    assert (around / "inbox" / path).read_bytes() == THING.content
    assert (around / "inbox" / second).is_dir()
    assert tree(around, "inbox") == outside
    assert set(tree(around / "inbox/.diode")) == state
    inbox.close()
    for part in (path + "/" + second).split("/"):
        assert part not in ("", ".", "..", ".diode")
        if not exact:
            assert "\x1b" not in part
            assert part.isprintable()


def test_exact_names_keep_every_byte(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"), exact_names=True)
    wanted = [b".hidden", b"-rf", b"a\nb", b"\xff\x80", b"tail. ", b"CON", b"100%41", b"\x1b[0m"]
    for number, name in enumerate(wanted, 1):
        Thing(name, name, key=Key(7, number)).give(inbox)
    inbox.close()
    assert sorted(files(around)) == sorted(wanted)


def test_names_that_differ_little_are_all_delivered(around: Path, inbox: Inbox) -> None:
    wanted = ["readme", "README", "é".encode().decode(), "e\u0301"]
    for number, name in enumerate(wanted, 1):
        Thing(name.encode(), name.encode(), key=Key(7, number)).give(inbox)
    assert sorted(content for _, content in files(around).values()) == sorted(
        name.encode() for name in wanted
    )


@pytest.mark.parametrize("exact", [False, True])
def test_state_folder_of_another_name_is_out_of_reach(around: Path, exact: bool) -> None:
    state = around / "inbox/keep"
    inbox = Inbox(str(around / "inbox"), state=str(state), exact_names=exact)
    before = set(tree(state))
    assert Thing(b"1", b"keep/ledger.db-journal").give(inbox).path == "keep.2/ledger.db-journal"
    made = Thing(b"", b"keep/parts/00000001-1", key=Key(7, 2), type=Type.DIRECTORY).give(inbox)
    assert made.path == "keep.2/parts/00000001-1"
    assert set(tree(state)) == before
    inbox.close()


# Trouble --------------------------------------------------------------------------------------


def refused(path: Path, **options: object) -> DestinationError:
    before = descriptors()
    with pytest.raises(DestinationError) as caught:
        Inbox(str(path), **options)
    assert descriptors() == before
    assert caught.value.exit_code == 13
    assert caught.value.hint
    return caught.value


def test_inbox_that_is_a_file(around: Path) -> None:
    assert "must be a folder" in refused(around / "outside/victim").hint
    assert "must be a folder" in refused(around / "outside/victim/inbox").hint
    assert (around / "outside/victim").read_text() == "mine"


def test_inbox_below_a_link_to_nowhere(around: Path) -> None:
    (around / "link").symlink_to("gone")
    assert "leads nowhere" in refused(around / "link/inbox").hint


def test_missing_parents_are_made(around: Path) -> None:
    inbox = Inbox(str(around / "a/b/inbox"))
    THING.give(inbox)
    inbox.close()
    assert (around / "a/b/inbox/report.pdf").exists()


def test_unwritable_inbox(around: Path) -> None:
    (around / "inbox").mkdir(mode=0o555)
    reachable(around)
    with unprivileged():
        if os.access(around, os.X_OK, effective_ids=True):
            with pytest.raises(DestinationError) as caught:
                Inbox(str(around / "inbox"))
            assert caught.value.exit_code == 13
            assert "must be writable" in caught.value.hint
            return
    pytest.skip("no folder here that somebody else may look into")


def test_state_that_is_a_link_is_refused(around: Path) -> None:
    (around / "inbox").mkdir()
    (around / "inbox/.diode").symlink_to("../outside")
    with pytest.raises(DestinationError):
        Inbox(str(around / "inbox"))


@pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK)
    or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,
    reason="/dev/shm is no other file system here",
)
def test_state_on_another_file_system(around: Path) -> None:
    state = Path("/dev/shm") / f"diode-test-{os.getpid()}"
    try:
        assert "renamed over" in refused(around / "inbox", state=str(state)).hint
    finally:
        shutil.rmtree(state, ignore_errors=True)


def test_state_by_another_mount_of_the_same_file_system(around: Path) -> None:
    """As a service manager mounts each path that may be written to: one device, and no renames."""
    for name in ("inbox", "state", "mounted"):
        (around / name).mkdir()
    bind = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    places = str(around / "state"), str(around / "mounted")
    begin = ["unshare", "-m", "sh", "-c", bind, "sh", *places]
    if subprocess.run([*begin, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mounts of one's own here: needs root and unshare")
    recv = [sys.executable, "-m", "diode", "recv", str(around / "inbox"), "--from", "-"]
    done = subprocess.run(
        [*begin, *recv, "--state", places[1]],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 13
    assert b"another file system or mount" in done.stderr


def test_second_receiver_is_locked_out(around: Path, inbox: Inbox) -> None:
    before = descriptors()
    with pytest.raises(Locked, match="another receiver is using") as caught:
        Inbox(str(around / "inbox"))
    assert caught.value.exit_code == 11
    assert descriptors() == before
    THING.give(inbox)


def test_lock_of_a_killed_receiver_does_not_matter(around: Path) -> None:
    program = (
        "from diode.sink.folder import Inbox; i = Inbox('inbox'); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=around,
    ) as process:
        assert process.stdout.readline() == b"1\n"
        with pytest.raises(Locked):
            Inbox(str(around / "inbox"))
        process.kill()
    Inbox(str(around / "inbox")).close()


def test_closing_lets_go_of_everything(around: Path) -> None:
    before = descriptors()
    for _ in range(3):
        inbox = Inbox(str(around / "inbox"))
        THING.announce(inbox)
        THING.write(inbox, 0)
        inbox.close()
    assert descriptors() == before


def test_closing_with_a_full_disk_lets_go_too(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox, 0)

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DestinationError, match="No space left"):
        inbox.close()
    assert descriptors() == before


def test_many_announced_objects_use_up_no_descriptors(around: Path, inbox: Inbox) -> None:
    before = descriptors()
    things = [Thing(some(2 * BLOCK, n), b"f%d" % n, key=Key(7, n)) for n in range(1, 101)]
    for thing in things:
        thing.announce(inbox)
        thing.write(inbox, 1)
    assert descriptors() <= before + 20
    for thing in things:
        thing.write(inbox, 0)
        thing.deliver(inbox)
    assert [content for _, content in files(around).values()].sort() == [
        thing.content for thing in things
    ].sort()
    assert len(names(around)) == 100


FULL_DISK = """
import json, os, sys
sys.path[:0] = [{tests!r}]
from inboxes import Thing, some
from diode.errors import DestinationError
from diode.sink.folder import Inbox

os.chdir({mount!r})
thing, said = Thing(some(700_000)), []
with open("ballast", "wb") as file:
    file.write(bytes(600_000))
inbox = Inbox("inbox")
try:
    assert thing.announce(inbox)
    thing.write(inbox, *range(1000))
    inbox.checkpoint()  # as a session does every second
    thing.write(inbox, *range(1000, thing.blocks))
    said.append("no error")
except DestinationError as error:
    said += [error.exit_code, str(error), error.hint]
try:
    inbox.close()
except DestinationError:
    pass
os.unlink("ballast")
inbox = Inbox("inbox")
for old in inbox.unfinished():
    said.append(int(old.done.sum()))
    for block in (~old.done).nonzero()[0].tolist():
        thing.write(inbox, block)
said.append(thing.deliver(inbox).path)
inbox.close()
with open("inbox/report.pdf", "rb") as file:
    said.append(file.read() == thing.content)
print(json.dumps(said))
"""


def test_full_disk_keeps_what_came_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    program = FULL_DISK.format(tests=str(Path(__file__).parent), mount=str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=1m,mode=755 tmpfs "$1" || exit 77; exec "$2" -c "$3"'
    shell = ["sh", "-c", mount, "sh", str(tmp_path / "disk"), sys.executable, program]
    user = [] if os.geteuid() == 0 else ["-r"]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    ran = subprocess.run(["unshare", "-m", *user, *shell], capture_output=True, timeout=60)  # noqa: PLW1510
    if ran.returncode == 77 or b"unshare failed" in ran.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {ran.stderr.decode()}")
    assert ran.returncode == 0, ran.stderr.decode()
    code, message, hint, kept, path, same = json.loads(ran.stdout)
    assert code == 13
    assert "No space left on device" in message
    assert "free some space" in hint
    assert kept == 1000, "blocks received before are not received again"
    assert (path, same) == ("report.pdf", True)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, ""),
    ],
)
def test_every_call_that_fails_becomes_an_error_of_the_operator(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    THING.announce(inbox)
    THING.write(inbox)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("pwrite", "ftruncate", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            trouble = OTHER.announce if name == "pwrite" else THING.deliver
            with pytest.raises(DestinationError, match=os.strerror(number)) as caught:
                trouble(inbox)
            assert words in caught.value.hint
            assert names(around) == []
    monkeypatch.setattr(place, "_rename_noreplace", fail)
    with pytest.raises(DestinationError, match=os.strerror(number)):
        THING.deliver(inbox)
    monkeypatch.undo()
    assert isinstance(THING.deliver(inbox), Delivered)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, None])
def test_file_systems_without_a_rename_that_never_replaces(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def function(*_args: object) -> int:
        place.ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(place, "_renameat2", lambda: number and function)
    (around / "inbox/report.pdf").symlink_to("../outside/victim")
    assert THING.give(inbox).path == "report.2.pdf"
    assert OTHER.give(inbox).path == "report.3.pdf"
    assert (around / "inbox/report.2.pdf").read_bytes() == THING.content
    assert (around / "inbox/report.2.pdf").stat().st_nlink == 1
    assert (around / "outside/victim").read_text() == "mine"


def test_rename_that_fails_for_another_reason(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(*_args: object) -> int:
        place.ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(place, "_renameat2", lambda: function)
    THING.announce(inbox)
    THING.write(inbox)
    with pytest.raises(DestinationError, match="Input/output"):
        THING.deliver(inbox)


# Unfinished objects ---------------------------------------------------------------------------


def test_unfinished_object_goes_on_in_the_next_run(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox, 0, 2)
    numbers, symbols = np.array([1, 4]), np.ones((2, SYMBOL), np.uint8)
    inbox.park(THING.key, 1, numbers, symbols)
    inbox.close()
    inbox = Inbox(str(around / "inbox"))
    (old,) = inbox.unfinished()
    assert (old.key, old.announcement, old.parked) == (THING.key, THING.announcement, [1])
    assert old.done.tolist() == [True, False, True, False]
    found = inbox.parked(THING.key, 1)
    assert found[0].tolist() == [1, 4]
    assert np.array_equal(found[1], symbols)
    THING.write(inbox, 1, 3)
    assert isinstance(THING.deliver(inbox), Delivered)
    inbox.close()
    assert (around / "inbox/report.pdf").read_bytes() == THING.content
    inbox = Inbox(str(around / "inbox"))
    assert list(inbox.unfinished()) == []
    assert not THING.announce(inbox)
    inbox.close()


def test_wrong_blocks_are_asked_for_again(around: Path, inbox: Inbox) -> None:
    THING.announce(inbox)
    THING.write(inbox, 1, 2, 3)  # out of order: the digest is made from the disk
    with (around / "inbox/.diode/parts/00000007-1/data").open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(b"wrong")
    THING.write(inbox, 0)
    assert THING.deliver(inbox) == [2]
    assert names(around) == []
    THING.write(inbox, 2)
    assert isinstance(THING.deliver(inbox), Delivered)
    assert (around / "inbox/report.pdf").read_bytes() == THING.content


def test_object_that_is_not_what_its_manifest_says_is_never_delivered(
    around: Path, inbox: Inbox
) -> None:
    liar = Thing(THING.content, digest=bytes(32))
    liar.announce(inbox)
    for _ in range(2):
        liar.write(inbox)
        assert liar.deliver(inbox) == []
    assert names(around) == []
    assert inbox.held == 0


def test_what_lies_among_the_parts_and_is_none_is_left_or_removed(around: Path) -> None:
    parts = around / "inbox/.diode/parts"
    parts.mkdir(parents=True)
    (parts / "README").write_text("kept")
    (parts / "00000007-5").write_text("a file")
    for number, announcement in ((6, None), (7, b""), (8, b"garbage")):
        (parts / f"00000007-{number}").mkdir()
        (parts / f"00000007-{number}/data").write_bytes(b"")
        if announcement is not None:
            (parts / f"00000007-{number}/announcement").write_bytes(announcement)
    (parts / "00000007-9").symlink_to("../../../outside")
    before = tree(around / "outside")
    inbox = Inbox(str(around / "inbox"))
    assert list(inbox.unfinished()) == []
    inbox.close()
    assert tree(around / "outside") == before
    assert sorted(p.name for p in parts.iterdir()) == ["00000007-5", "00000007-9", "README"]


def test_trouble_with_descriptors_does_not_cost_what_was_received(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox, 0)
    inbox.close()
    inbox = Inbox(str(around / "inbox"))
    real = os.open

    def few(path: str, *args: int, dir_fd: int | None = None) -> int:
        if path == "announcement":
            raise OSError(errno.EMFILE, "too many open files")
        return real(path, *args, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", few)
        assert list(inbox.unfinished()) == []
    (old,) = inbox.unfinished()
    assert old.done.sum() == 1
    inbox.close()


def test_repeated_announcement_of_other_content_begins_anew(around: Path, inbox: Inbox) -> None:
    """The receiver forgets objects under pressure; their numbers may come back differently."""
    THING.announce(inbox)
    THING.write(inbox, 0)
    longer = Thing(some(9 * BLOCK, 3), key=THING.key)
    assert longer.give(inbox).path == "report.pdf"
    assert (around / "inbox/report.pdf").read_bytes() == longer.content


def test_repeated_announcement_keeps_what_came(inbox: Inbox) -> None:
    THING.announce(inbox)
    THING.write(inbox, 0, 1, 2)
    THING.announce(inbox)
    THING.write(inbox, 3)
    assert isinstance(THING.deliver(inbox), Delivered)


def test_void_object_is_forgotten_and_remembered_as_void(around: Path, inbox: Inbox) -> None:
    THING.announce(inbox)
    THING.write(inbox, 0)
    inbox.void(THING.key, THING.manifest)
    assert list((around / "inbox/.diode/parts").iterdir()) == []
    assert not THING.announce(inbox)
    assert states(around) == [(7, 1, "void", b"")]


def test_void_does_not_take_back_what_was_delivered(around: Path, inbox: Inbox) -> None:
    THING.give(inbox)
    inbox.void(THING.key, THING.manifest)
    assert states(around) == [(7, 1, "delivered", b"report.pdf")]
    assert (around / "inbox/report.pdf").exists()


def states(around: Path) -> list[tuple]:
    with sqlite3.connect(around / "inbox/.diode/ledger.db") as db:
        found = db.execute("SELECT sender, number, state, path FROM objects").fetchall()
    db.close()
    return found


# Quota ----------------------------------------------------------------------------------------


def test_quota_evicts_the_oldest(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"), quota=6 * BLOCK)
    told: list[tuple[Key, str]] = []
    inbox.evicted = lambda key, why: told.append((key, why))
    things = [Thing(some(4 * BLOCK, n), b"f%d" % n, key=Key(7, n)) for n in range(1, 4)]
    for thing in things:
        thing.announce(inbox)
        thing.write(inbox, 0, 1)
        inbox.checkpoint()
    assert [key.number for key, _ in told] == [1]
    assert "quota" in told[0][1]
    things[1].write(inbox, 2, 3)
    assert [key.number for key, _ in told] == [1, 3], "never the one that grows"
    things[0].write(inbox, 2)  # the receiver may not know yet
    things[0].write(inbox, 3)
    inbox.park(Key(7, 1), 0, np.array([0]), np.zeros((1, SYMBOL), np.uint8))
    assert not len(inbox.parked(Key(7, 1), 0)[0])
    assert sorted(p.name for p in (around / "inbox/.diode/parts").iterdir()) == ["00000007-2"]
    assert isinstance(things[1].deliver(inbox), Delivered)
    inbox.close()


def test_parked_symbols_count_towards_the_quota(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"), quota=10 * SYMBOL)
    told: list[Key] = []
    inbox.evicted = lambda key, _why: told.append(key)
    for thing in (THING, OTHER):
        thing.announce(inbox)
        inbox.park(thing.key, 0, np.arange(5), np.zeros((5, SYMBOL), np.uint8))
    assert told == [THING.key]
    inbox.close()


def test_object_larger_than_the_quota_is_itself_evicted(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"), quota=2 * BLOCK)
    told: list[Key] = []
    inbox.evicted = lambda key, _why: told.append(key)
    THING.announce(inbox)
    THING.write(inbox)
    assert told == [THING.key]
    assert inbox.held == 0
    inbox.close()


def test_quota_is_exact_over_many_objects(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"), quota=6 * BLOCK)
    told: list[Key] = []
    inbox.evicted = lambda key, _why: told.append(key)
    for number in range(1, 31):
        thing = Thing(some(4 * BLOCK, number), key=Key(7, number))
        thing.announce(inbox)
        inbox.park(thing.key, 3, np.arange(2), np.zeros((2, SYMBOL), np.uint8))
        thing.write(inbox, 0, 1)
        inbox.checkpoint()
        thing.write(inbox, 2, 3, 0)
        inbox.discard(thing.key) if number % 2 else thing.deliver(inbox)
        assert inbox.held == 0, "what is gone is not counted, and not counted twice"
    assert told == []
    inbox.close()


def test_quota_counts_what_an_earlier_run_left(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox, 0, 1)
    held = inbox.held
    inbox.close()
    inbox = Inbox(str(around / "inbox"), quota=3 * BLOCK)
    told: list[Key] = []
    inbox.evicted = lambda key, _why: told.append(key)
    assert len(list(inbox.unfinished())) == 1
    assert held <= inbox.held < 3 * BLOCK
    OTHER.announce(inbox)
    OTHER.write(inbox, 0, 1)
    assert told == [THING.key]
    inbox.close()


# Ledger and crashes ---------------------------------------------------------------------------


def test_crash_between_rename_and_ledger(around: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox)

    def crash(*_args: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    real = inbox._ledger.record
    monkeypatch.setattr(
        inbox._ledger,
        "record",
        lambda k, m, s, *how: real(k, m, s, *how) if s == "begun" else crash(),
    )
    with pytest.raises(DestinationError, match="ledger"):
        THING.deliver(inbox)
    inbox.close()
    assert names(around) == ["report.pdf"]
    inbox = Inbox(str(around / "inbox"))
    assert list(inbox.unfinished()) == [], "nothing is missing, so nothing is waited for"
    assert not THING.announce(inbox), "what was begun turned out done"
    inbox.close()
    assert names(around) == ["report.pdf"]
    assert states(around) == [(7, 1, "delivered", b"report.pdf")]


def test_crash_between_ledger_and_cleaning_up(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(str(around / "inbox"))
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "discard", lambda _key: None)
        THING.give(inbox)
    (around / "inbox/.diode/parts/00000007-1/data").write_bytes(b"")
    inbox.close()
    inbox = Inbox(str(around / "inbox"))
    assert list(inbox.unfinished()) == []
    assert list((around / "inbox/.diode/parts").iterdir()) == []
    inbox.close()


def test_damaged_ledger_is_moved_aside(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.give(inbox)
    inbox.close()
    ledger = around / "inbox/.diode/ledger.db"
    whole = ledger.read_bytes()
    ledger.write_bytes(b"not a database, for certain" * 100)
    inbox = Inbox(str(around / "inbox"))
    assert "ledger.db.corrupt-1" in inbox.notices[0]
    assert THING.give(inbox).duplicate, "the inbox itself shows that it is there"
    inbox.close()
    assert names(around) == ["report.pdf"]
    ledger.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    inbox = Inbox(str(around / "inbox"))
    assert "ledger.db.corrupt-2" in inbox.notices[0]
    inbox.close()


def test_ledger_damaged_while_it_is_used_is_replaced(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_args: object) -> bool:
        raise Damaged("malformed")

    with monkeypatch.context() as patch:
        patch.setattr(inbox._ledger, "finished", damaged)
        with pytest.raises(DestinationError, match="malformed"):
            THING.announce(inbox)
    assert "corrupt-1" in inbox.notices[0]
    assert THING.give(inbox).path == "report.pdf"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_fsync_that_fails_is_not_tried_again(
    around: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    THING.announce(inbox)
    THING.write(inbox)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Lost, match="could not be made durable"):
            THING.deliver(inbox)
    assert names(around) == []
    assert list((around / "inbox/.diode/parts").iterdir()) == [], "not one page is trusted"
    assert THING.give(inbox).path == "report.pdf"


def test_checkpoint_whose_sync_fails_gives_the_part_up(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    inbox.lost = lambda key, why: told.append((key, why))
    THING.announce(inbox)
    OTHER.announce(inbox)
    THING.write(inbox, 0)

    def fail(*_args: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fdatasync", fail)
    inbox.checkpoint()
    assert [key for key, _ in told] == [THING.key], "what wrote nothing lost nothing"
    monkeypatch.undo()
    assert THING.give(inbox).path == "report.pdf"


def test_folder_that_cannot_be_made_durable_is_looked_at_again(
    around: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.announce(inbox)
    THING.write(inbox)
    real = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "broken")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        assert isinstance(THING.deliver(inbox), Delivered)
    assert "durable" in inbox.notices[0]
    inbox.close()
    inbox = Inbox(str(around / "inbox"))
    list(inbox.unfinished())
    assert not THING.announce(inbox), "it is there"
    inbox.close()
    assert states(around) == [(7, 1, "delivered", b"report.pdf")]


@pytest.mark.parametrize("there", [True, False])
def test_delivery_that_had_begun_is_judged_by_the_inbox(around: Path, there: bool) -> None:
    inbox = Inbox(str(around / "inbox"))
    inbox._ledger.begin(THING.key, THING.manifest, "report.pdf")
    if there:
        (around / "inbox/report.pdf").write_bytes(THING.content)
    inbox.close()
    inbox = Inbox(str(around / "inbox"))
    list(inbox.unfinished())
    assert THING.announce(inbox) is not there
    inbox.close()


def test_replay_of_what_was_taken_out_is_dropped(around: Path) -> None:
    inbox = Inbox(str(around / "inbox"))
    THING.give(inbox)
    inbox.close()
    (around / "inbox/report.pdf").unlink()
    inbox = Inbox(str(around / "inbox"))
    list(inbox.unfinished())
    assert not THING.announce(inbox)
    inbox.close()
    assert names(around) == []


def test_unfinished_objects_expire_by_listening_time(around: Path) -> None:
    clock = [0.0]
    told = []

    def opened() -> Inbox:
        inbox = Inbox(str(around / "inbox"), expire=1000, clock=lambda: clock[0])
        inbox.evicted = lambda key, why: told.append((key.number, why))
        list(inbox.unfinished())
        inbox.checkpoint()
        return inbox

    inbox = opened()
    THING.announce(inbox)
    THING.write(inbox, 0)
    for _ in range(9):
        clock[0] += 100
        inbox.checkpoint()
    inbox.close()
    assert not told
    clock[0] += 10_000  # nobody listened: that is no waiting
    inbox = opened()
    assert not told
    clock[0] += 200
    inbox.checkpoint()
    assert told == [(1, "nothing of it came in 1000 s of listening")]
    inbox.close()


CRASHES = """
import json, os, signal, sys
sys.path[:0] = [{tests!r}]
from inboxes import BLOCK, Thing, some
from diode.sink import ledger, place
from diode.sink.folder import Inbox

thing = Thing(some(3 * BLOCK + 5), b"a/report.pdf")

def kill_at(last, before):
    # Die at the last-th call that changes the disk, before or after it is done.
    calls = 0
    def wrap(holder, name):
        real = getattr(holder, name)
        def counted(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == last and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **kwargs)
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(holder, name, counted)
    for name in ("pwrite", "ftruncate", "fchmod", "utime", "fsync", "mkdir", "unlink", "rmdir"):
        wrap(os, name)
    wrap(place, "_rename_noreplace")
    wrap(ledger.Ledger, "_write")

def receive():
    # As a session does it: go on with what is there, then hear everything once more.
    inbox = Inbox("inbox")
    done = []
    for old in inbox.unfinished():
        done = old.done.nonzero()[0].tolist()
        if len(done) == thing.blocks:
            thing.deliver(inbox)
    if thing.announce(inbox):
        for block in range(thing.blocks):
            if block not in done:
                thing.write(inbox, block)
                inbox.checkpoint()
        result = thing.deliver(inbox)
        if isinstance(result, list):
            for block in result or range(thing.blocks):
                thing.write(inbox, block)
            result = thing.deliver(inbox)
        assert not isinstance(result, list), result
    inbox.close()

os.chdir({work!r})
said = []
for before in (True, False):
    for last in range(1, 1000):
        os.mkdir(f"{{before}}{{last}}")
        os.chdir(f"{{before}}{{last}}")
        child = os.fork()
        if not child:
            kill_at(last, before)
            receive()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        receive()
        found = {{os.path.join(h, f) for h, d, fs in os.walk("inbox") for f in fs}}
        found = sorted(f for f in found if "/.diode/" not in f)
        left = os.listdir("inbox/.diode/parts")
        with open("inbox/a/report.pdf", "rb") as file:
            good = file.read() == thing.content
        said.append((before, last, status, found, left, good))
        os.chdir("..")
        if not status:
            break
print(json.dumps(said))
"""


def test_killed_at_every_step_the_next_run_ends_the_same(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    program = CRASHES.format(tests=tests, work=str(tmp_path))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    ran = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    said = json.loads(ran.stdout)
    assert [status for _, _, status, *_ in said].count(0) == 2
    assert len(said) > 40
    for before, last, status, found, left, good in said:
        assert status in (0, signal.SIGKILL), (before, last)
        assert (found, left, good) == (["inbox/a/report.pdf"], [], True), (before, last)
