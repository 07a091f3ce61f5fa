"""Bundles in an inbox: every file once, whatever ends the delivery, and wherever."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from inboxes import Thing, descriptors, some, tree

from diode import bundle
from diode.bundle import MAX_MEMBERS, Member
from diode.errors import DestinationError
from diode.events import Key
from diode.objects import Type
from diode.sink import Delivered, Refused, Unpacked, place, unpack
from diode.sink.folder import Inbox
from diode.sink.trouble import Lost

TIME = 1_600_000_000_123_456_789
CONTENTS = {
    "photos/a.jpg": some(1000, 3),
    "photos/b.jpg": b"",
    "photos/2024/c": some(300, 4),
    "d": some(40, 5),
}


def bundled(contents: dict[str, bytes], *folders: str, number: int = 1) -> Thing:
    """A bundle as an object: files by name, and empty directories."""
    listed = [Member(Type.FILE, os.fsencode(n), len(c), TIME) for n, c in contents.items()]
    listed += [Member(Type.DIRECTORY, os.fsencode(name), 0, None) for name in folders]
    data = bundle.head(listed) + b"".join(contents.values())
    return Thing(data, b"some and more", Key(7, number), None, Type.BUNDLE)


PHOTOS = bundled(CONTENTS, "photos/empty")


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with closing(Inbox(str(tmp_path / "inbox"))) as inbox:
        yield inbox


def collected(inbox: Inbox, thing: Thing = PHOTOS) -> Thing:
    """The sink has every block of it, and has not been asked to deliver it."""
    assert thing.announce(inbox)
    thing.write(inbox)
    return thing


def files(folder: Path) -> dict[str, bytes]:
    """Content by name, without links and the state folder."""
    found = tree(folder / "inbox", ".diode").items()
    return {os.fsdecode(n): c for n, (mode, c) in found if stat.S_ISREG(mode)}


def rows(folder: Path) -> list[tuple]:
    with closing(sqlite3.connect(folder / "inbox/.diode/ledger.db")) as db:
        query = "SELECT member, state, path, size FROM objects ORDER BY sender, number, member"
        return [(m, state, os.fsdecode(path), size) for m, state, path, size in db.execute(query)]


def parts(folder: Path) -> list[str]:
    return os.listdir(folder / "inbox/.diode/parts")


def test_files_of_a_bundle(tmp_path: Path, inbox: Inbox) -> None:
    unpacked = collected(inbox).deliver(inbox)
    assert isinstance(unpacked, Unpacked)
    assert files(tmp_path) == CONTENTS
    assert (tmp_path / "inbox/photos/empty").is_dir()
    status = (tmp_path / "inbox/photos/a.jpg").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o440, TIME)
    told = {m.name.decode(): (m.size, d.path, d.duplicate) for m, d in unpacked.files}
    assert told == {
        **{name: (len(content), name, False) for name, content in CONTENTS.items()},
        "photos/empty": (0, "photos/empty", False),
    }
    paths = [*CONTENTS, "photos/empty"]
    assert rows(tmp_path) == [
        (0, "bundle", "", len(PHOTOS.content)),
        *((n, "delivered", p, len(CONTENTS.get(p, b""))) for n, p in enumerate(paths, 1)),
    ]
    assert parts(tmp_path) == []
    assert not PHOTOS.announce(inbox), "known from now on"
    assert not inbox.contradicts(PHOTOS.key, PHOTOS.manifest)
    assert inbox.contradicts(PHOTOS.key, bundled({"other": b""}).manifest)


def test_names_are_made_safe_and_nothing_is_overwritten(tmp_path: Path, inbox: Inbox) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "inbox/link").symlink_to(tmp_path)
    (tmp_path / "inbox/taken").write_bytes(b"was here")
    (tmp_path / "inbox/same").write_bytes(b"same")
    hostile = {
        "../victim": b"climbs",
        "/etc/passwd": b"absolute",
        "link/victim": b"through a link",
        ".diode/ledger.db": b"into the state",
        "taken": b"other",
        "same": b"same",
        "twice": b"a file",
        "twice/in it": b"and a folder of one name",
        "\x1b[2J": b"escape",
    }
    unpacked = collected(inbox, bundled(hostile)).deliver(inbox)
    assert isinstance(unpacked, Unpacked)
    assert files(tmp_path) == {
        "%2E%2E/victim": b"climbs",
        "etc/passwd": b"absolute",
        "link.2/victim": b"through a link",
        "%2Ediode/ledger.db": b"into the state",
        "taken": b"was here",
        "taken.2": b"other",
        "same": b"same",
        "twice": b"a file",
        "twice.2/in it": b"and a folder of one name",
        "%1B[2J": b"escape",
    }
    assert (tmp_path / "victim").read_bytes() == b"mine"
    duplicates = [m.name for m, d in unpacked.files if d.duplicate]
    assert duplicates == [b"same"]


@pytest.mark.parametrize(
    "content",
    [
        b"not a bundle at all",
        bundle.head([Member(Type.FILE, b"a", 1, 1)] * 2) + b"xy",
        (1_000_000).to_bytes(4, "little") + bytes(1000),
        PHOTOS.content[:-1],
        PHOTOS.content + b"\0",
    ],
    ids=["rubbish", "twice", "million", "cut", "trailing"],
)
def test_what_is_no_bundle_is_refused_once(tmp_path: Path, inbox: Inbox, content: bytes) -> None:
    thing = Thing(content, b"bad", Key(7, 9), None, Type.BUNDLE)
    refused = collected(inbox, thing).deliver(inbox)
    assert isinstance(refused, Refused)
    assert refused.why.startswith("it is not a bundle: ")
    assert files(tmp_path) == {}
    assert parts(tmp_path) == []
    assert not thing.announce(inbox), "it is not collected again"


def test_wrong_content_is_collected_again(tmp_path: Path, inbox: Inbox) -> None:
    """What lies on the disk counts, not what was hashed on its way there."""
    collected(inbox)
    data = tmp_path / "inbox/.diode/parts/00000007-1/data"
    with data.open("r+b") as file:
        file.write(b"\xff")
    assert PHOTOS.deliver(inbox) == [0]
    PHOTOS.write(inbox, 0)
    assert isinstance(PHOTOS.deliver(inbox), Unpacked)
    assert files(tmp_path) == CONTENTS


def test_what_is_staged_counts_for_the_quota(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inbox.held
    collected(inbox)
    monkeypatch.setattr(place, "_rename_noreplace", failing(errno.EACCES, 1))
    with pytest.raises(DestinationError):
        PHOTOS.deliver(inbox)
    assert inbox.held >= before + 2 * len(PHOTOS.content) + 5 * unpack.INODE - 4096
    assert isinstance(PHOTOS.deliver(inbox), Unpacked)
    assert inbox.held == before
    assert files(tmp_path) == CONTENTS


def test_few_descriptors_are_open_at_a_time(tmp_path: Path, inbox: Inbox) -> None:
    deep = {"/".join("abcdefghijkl"[: n % 12 + 1]) + f"/{n}": b"%d" % n for n in range(300)}
    collected(inbox, bundled(deep))
    most, real = 0, os.open

    def counting(*args, **kwargs) -> int:
        nonlocal most
        made = real(*args, **kwargs)
        most = max(most, descriptors())
        return made

    before = descriptors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", counting)
        assert isinstance(bundled(deep).deliver(inbox), Unpacked)
    assert descriptors() <= before
    assert most <= before + 5
    assert files(tmp_path) == deep


def test_as_many_members_as_there_may_be(tmp_path: Path, inbox: Inbox) -> None:
    most = {f"{n % 7}/{n}": b"" for n in range(MAX_MEMBERS)}
    unpacked = collected(inbox, bundled(most)).deliver(inbox)
    assert isinstance(unpacked, Unpacked)
    assert len(unpacked.files) == len(rows(tmp_path)) - 1 == MAX_MEMBERS
    assert files(tmp_path) == most


def test_without_syncfs_each_file_and_folder_is_synced(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(os.path.relpath(path, tmp_path / "inbox"))
        real(descriptor)

    collected(inbox)
    monkeypatch.setattr(place, "_syncfs", lambda: None)
    monkeypatch.setattr(os, "fsync", fsync)
    assert isinstance(PHOTOS.deliver(inbox), Unpacked)
    part = ".diode/parts/00000007-1"
    staged = [f"{part}/member-{n}" for n in range(5)]
    assert synced[:7] == [*staged, f"{part}/ready", part]
    assert {".", "photos", "photos/2024", "photos/empty"} <= set(synced[7:])
    assert files(tmp_path) == CONTENTS


# Trouble --------------------------------------------------------------------------------------


def failing(number: int, at: int, real: Callable | None = None) -> Callable:
    """A call that fails the `at`-th time."""
    left = [at]
    real = real or place._rename_noreplace

    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    return call


def calls(patch: pytest.MonkeyPatch, do: Callable[[str, int], None]) -> None:
    """`do(name, n)` before the n-th of all calls by which a delivery changes anything."""
    count = 0

    def watched(name: str, real: Callable) -> Callable:
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            do(name, count)
            return real(*args, **kwargs)

        return call

    for name in ("open", "pwrite", "fchmod", "fsync", "mkdir", "unlink", "rmdir"):
        patch.setattr(os, name, watched(name, getattr(os, name)))
    patch.setattr(place, "_rename_noreplace", watched("rename", place._rename_noreplace))
    patch.setattr(unpack, "syncfs", watched("syncfs", unpack.syncfs))


def how_many(folder: Path) -> int:
    """Calls of an undisturbed delivery."""
    seen: list[int] = []
    with closing(Inbox(str(folder / "inbox"))) as inbox, pytest.MonkeyPatch.context() as patch:
        collected(inbox)
        calls(patch, lambda _name, n: seen.append(n))
        assert isinstance(PHOTOS.deliver(inbox), Unpacked)
    return seen[-1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_trouble_at_every_call_is_got_over(tmp_path: Path, number: int) -> None:
    """The object waits and is tried again, or it was lost and is collected anew."""
    total = how_many(tmp_path / "first")
    assert total > 40
    ends = set()
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        where = []

        def trouble(name: str, n: int, at: int = at, where: list[str] = where) -> None:
            if n == at:
                where.append(name)
                raise OSError(number, os.strerror(number))

        with closing(Inbox(str(folder / "inbox"))) as inbox:
            collected(inbox)
            with pytest.MonkeyPatch.context() as patch:
                calls(patch, trouble)
                try:
                    end: object = PHOTOS.deliver(inbox)
                except DestinationError as error:
                    end = error
            ends.add(type(end))
            said = f"{where} {at}: {end!r}"
            if isinstance(end, Lost):
                assert files(folder) == {}, said
                collected(inbox)
            if isinstance(end, DestinationError):
                assert isinstance(PHOTOS.deliver(inbox), Unpacked), said
        with closing(Inbox(str(folder / "inbox"))) as inbox:  # where one was not sure
            for old in inbox.unfinished():
                assert old.done.all(), said
                assert isinstance(PHOTOS.deliver(inbox), Unpacked), said
        assert files(folder) == CONTENTS, said
        assert [m for m, *_ in rows(folder)] == list(range(6)), said
        assert parts(folder) == [], said
    assert ends == {Unpacked, DestinationError, Lost}


@pytest.mark.parametrize("taken", [False, True], ids=["left", "taken away"])
def test_killed_at_every_call_each_file_comes_once(tmp_path: Path, taken: bool) -> None:
    """A real SIGKILL; then somebody may take out what is there before the next start.

    Before the second call the journal does not say yet that all blocks came.
    """
    total = how_many(tmp_path / "first")
    for at in range(2, total + 1):
        folder = tmp_path / str(at)
        child = os.fork()
        if not child:  # nothing of the test's own may run on in here
            try:
                inbox = Inbox(str(folder / "inbox"))
                collected(inbox)
                patch = pytest.MonkeyPatch()
                calls(
                    patch, lambda _name, n, at=at: n == at and os.kill(os.getpid(), signal.SIGKILL)
                )
                PHOTOS.deliver(inbox)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, at
        there = files(folder)
        if taken:
            for name in there:
                (folder / "inbox" / name).unlink()
        with closing(Inbox(str(folder / "inbox"))) as inbox:
            unfinished = list(inbox.unfinished())
            if inbox._ledger.finished(PHOTOS.key):
                assert unfinished == [], at
            else:
                assert [old.done.all() for old in unfinished] == [True], at
                unpacked = PHOTOS.deliver(inbox)
                assert isinstance(unpacked, Unpacked), at
                assert [d.path for _, d in unpacked.files] == [*CONTENTS, "photos/empty"], at
        now = files(folder)
        if taken:
            assert not now.keys() & there.keys(), f"{at}: came twice"
        assert now | there == CONTENTS, at
        assert len(rows(folder)) == 6, at
        assert parts(folder) == [], at


def test_one_that_has_no_place_keeps_none_from_theirs(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(inbox)
    monkeypatch.setattr(place, "_rename_noreplace", failing(errno.EINVAL, 2))
    with pytest.raises(DestinationError):
        PHOTOS.deliver(inbox)
    assert files(tmp_path).keys() == CONTENTS.keys() - {"photos/b.jpg"}
    (tmp_path / "inbox/d").rename(tmp_path / "inbox/taken away")
    unpacked = PHOTOS.deliver(inbox)
    assert isinstance(unpacked, Unpacked)
    assert files(tmp_path).keys() == CONTENTS.keys() - {"d"} | {"taken away"}
    assert all(isinstance(where, Delivered) for _, where in unpacked.files)


def test_staged_files_of_other_content_are_not_used(tmp_path: Path, inbox: Inbox) -> None:
    """A marker that is not of this bundle, as after a crash under another announcement."""
    collected(inbox)
    part = tmp_path / "inbox/.diode/parts/00000007-1"
    (part / unpack.READY).write_bytes(bytes(32))
    (part / f"{unpack.STAGED}0").write_bytes(b"of something else")
    assert isinstance(PHOTOS.deliver(inbox), Unpacked)
    assert files(tmp_path) == CONTENTS
