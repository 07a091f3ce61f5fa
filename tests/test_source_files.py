"""A file as an object: hashed, read again, and watched for changes in between."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inboxes import descriptors, some, unprivileged
from pair import Listener, everything

from diode.errors import SourceError
from diode.events import Key, ObjectVoided
from diode.objects import Type
from diode.plan import Link, Settings
from diode.sent import SourceFailed
from diode.source import files
from diode.source.files import DirectorySource, FileSource, NotRegular
from diode.transmitter import Transmitter

CONTENT = some(100_000)
HALF = len(CONTENT) // 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def source_of(path: Path) -> FileSource:
    return FileSource(str(path), b"name")


def read(source: FileSource, offset: int, size: int) -> bytes:
    into = np.zeros(size, np.uint8)
    source.read(offset, into)
    return into.tobytes()


def test_what_is_known_before_it_is_sent(path: Path) -> None:
    os.utime(path, ns=(5, 1_600_000_000_000_000_007))
    before, told = descriptors(), []
    source = FileSource(str(path), b"name", hashed=told.append)
    assert descriptors() == before, "a queue of many files holds none of them open"
    assert source.size == sum(told) == len(CONTENT)
    assert source.digest == hashlib.sha256(CONTENT).digest()
    assert source.mtime == 1_600_000_000_000_000_007
    assert (source.type, source.name) == (Type.FILE, b"name")


@pytest.mark.parametrize("piece", [1, 7, 100_000, 1 << 20])
def test_hash_is_the_same_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    (tmp_path / "x").write_bytes(CONTENT[:1000])
    monkeypatch.setattr(files, "HASH_PIECE", piece)
    assert source_of(tmp_path / "x").digest == hashlib.sha256(CONTENT[:1000]).digest()


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    source = source_of(tmp_path / "empty")
    assert (source.size, source.digest) == (0, hashlib.sha256(b"").digest())
    source.check()
    source.close()


def test_reading_holds_one_descriptor_until_the_last_byte(path: Path) -> None:
    source, before = source_of(path), descriptors()
    for _ in range(3):
        assert read(source, 0, HALF) == CONTENT[:HALF]
        assert descriptors() == before + 1
        assert read(source, 10, 20) == CONTENT[10:30]
        assert read(source, HALF, HALF) == CONTENT[HALF:]
        assert descriptors() == before
    source.check()
    read(source, 0, 1)
    source.check()
    source.close()
    source.close()
    assert descriptors() == before


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.rename(path)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def write_into(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"changed")
    touch(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


CHANGES: list[Callable[[Path], None]] = [
    touch,
    write_into,
    append,
    replace,
    lambda path: os.truncate(path, HALF - 10),
    lambda path: os.truncate(path, 0),
    lambda path: path.unlink(),
    lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: (path.unlink(), os.mkfifo(path)),
]
CHANGE_NAMES = [
    "touch",
    "write",
    "append",
    "replace",
    "cut",
    "empty",
    "remove",
    "link",
    "folder",
    "fifo",
]


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
@pytest.mark.parametrize("when", ["queued", "between passes"])
def test_change_of_a_closed_file_is_noticed(
    path: Path, change: Callable[[Path], None], when: str
) -> None:
    source = source_of(path)
    if when == "between passes":
        read(source, 0, len(CONTENT))
    source.check()
    change(path)
    before = descriptors()
    with pytest.raises(SourceError, match="file") as caught:
        source.check()
    assert caught.value.exit_code == 1
    with pytest.raises(SourceError, match="file"):
        read(source, 0, 10)
    source.close()
    assert descriptors() == before


# What happens to a name does not happen to the file that is open: that content is still right.
@pytest.mark.parametrize(
    "change", CHANGES[:3] + CHANGES[4:6], ids=[*CHANGE_NAMES[:3], "cut", "empty"]
)
def test_change_of_an_open_file_is_noticed(path: Path, change: Callable[[Path], None]) -> None:
    source = source_of(path)
    read(source, 0, 10)
    change(path)
    with pytest.raises(SourceError, match=r"changed|shorter"):
        read(source, HALF, HALF)
    with pytest.raises(SourceError, match="changed"):
        source.check()
    source.close()


def test_replaced_name_of_an_open_file_ends_the_next_pass(path: Path) -> None:
    source = source_of(path)
    read(source, 0, 10)
    replace(path)
    assert read(source, 10, len(CONTENT) - 10) == CONTENT[10:]
    with pytest.raises(SourceError, match="changed"):
        source.check()


def test_file_that_changes_while_it_is_hashed(path: Path) -> None:
    with pytest.raises(SourceError, match="being written to"):
        FileSource(str(path), b"name", hashed=lambda _: touch(path))
    files_of = iter([lambda: os.truncate(path, 10)])
    before = descriptors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "HASH_PIECE", 100)
        with pytest.raises(SourceError, match="became shorter"):
            FileSource(str(path), b"name", hashed=lambda _: next(files_of, int)())
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "socket", "folder", "device"])
def test_what_is_no_regular_file(tmp_path: Path, path: Path, kind: str) -> None:
    other = tmp_path / "other"
    match kind:
        case "link":
            other.symlink_to(path)
        case "dangling link":
            other.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(other)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(other))
        case "folder":
            other.mkdir()
        case "device":
            other = Path("/dev/null")
    before = descriptors()
    with pytest.raises(NotRegular, match="is not a regular file"):
        source_of(other)
    assert descriptors() == before


def test_missing_and_unreadable_files(tmp_path: Path, path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        source_of(tmp_path / "missing")
    with pytest.raises(SourceError, match="name too long"):
        source_of(tmp_path / ("x" * 300))
    tmp_path.chmod(0o755)
    path.chmod(0)
    with unprivileged(), pytest.raises(SourceError, match="Permission denied"):
        source_of(path)


def test_disk_error_names_the_file_and_its_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> int:
        raise OSError(errno.EIO, "broken")

    source, before = source_of(path), descriptors()
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(SourceError, match="file: Input/output error"):
        read(source, 0, 10)
    source.close()
    with pytest.raises(SourceError, match="file: Input/output error"):
        source_of(path)
    assert descriptors() == before


def test_short_reads_are_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: real(fd, [views[0][:999]], at))
    source = source_of(path)
    assert source.digest == hashlib.sha256(CONTENT).digest()
    assert read(source, 0, len(CONTENT)) == CONTENT


def test_names_in_messages_are_escaped(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        source_of(tmp_path / "\x1b[2Jgone\n")
    assert str(caught.value).isprintable()
    assert "\\x1b[2Jgone\\x0a" in str(caught.value)


def test_directory_is_an_object_without_content() -> None:
    source = DirectorySource(b"folder", 5)
    assert (source.type, source.size, source.mtime) == (Type.DIRECTORY, 0, 5)
    assert source.digest == hashlib.sha256(b"").digest()
    source.check()
    source.close()
    with pytest.raises(AssertionError):
        source.read(0, np.zeros(1, np.uint8))


@pytest.mark.parametrize("passes", [1, 2])
def test_file_cut_in_mid_send_is_made_void(path: Path, passes: int) -> None:
    sender = Transmitter(7, Settings(passes=passes, symbol_size=64), Link())
    sender.add(1, source_of(path))
    sent = [p.copy() for p in sender.step(0.0).pieces()]
    os.truncate(path, 1000)
    before = descriptors()
    sent += everything(sender)
    assert descriptors() <= before
    (failed,) = [e for e in sender.events() if isinstance(e, SourceFailed)]
    assert failed.number == 1
    listener = Listener().hear(sent)
    assert listener.delivered == {}
    assert [e.key for e in listener.of(ObjectVoided)] == [Key(7, 1)]


def test_two_thousand_files_need_few_descriptors(tmp_path: Path) -> None:
    before = descriptors()
    sender = Transmitter(7, Settings(passes=2), Link())
    for number in range(1, 2001):
        path = tmp_path / str(number)
        path.write_bytes(b"%d" % number)
        sender.add(number, source_of(path))
    assert descriptors() == before
    most = 0
    while (frames := sender.step(0.0)) is not None:
        most = max(most, descriptors())
        assert frames
    assert most <= before + 8
    assert descriptors() == before
