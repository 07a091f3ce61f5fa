"""Trees: what is found, in which order, under which names, and what is left out aloud."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from inboxes import descriptors, reachable, unprivileged

from diode.errors import SourceError
from diode.objects import Type
from diode.source.files import DirectorySource, FileSource
from diode.source.folder import LINKED, Found, find


def found(path: Path | str, name: str | None = None) -> list[Found]:
    """Everything to send; nothing may be left out."""
    left_out: list[tuple[str, str]] = []
    listed = list(find(str(path), name, lambda *what: left_out.append(what)))
    assert left_out == []
    return listed


def names(listed: list[Found]) -> list[str]:
    return ["/".join(f.parts) + ("/" if f.directory else "") for f in listed]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    top.mkdir()
    return top


def test_single_file(top: Path) -> None:
    (top / "x").write_bytes(b"12345")
    os.utime(top / "x", ns=(1, 1_600_000_000_000_000_007))
    (thing,) = found(top / "x")
    assert thing == Found(str(top / "x"), ("x",), False, 5, 1_600_000_000_000_000_007)
    told: list[int] = []
    source = thing.source(told.append)
    assert isinstance(source, FileSource)
    assert (source.name, source.size, told) == (b"x", 5, [5])


@pytest.mark.parametrize(
    ("name", "parts"),
    [("y", ["y"]), ("a/b", ["a/b"]), ("/a//b/", ["a/b"]), ("/", ["unnamed"]), (None, ["x"])],
)
def test_name_at_the_other_end(top: Path, name: str | None, parts: list[str]) -> None:
    (top / "x").write_bytes(b"")
    assert names(found(top / "x", name)) == parts


def test_tree_in_the_order_of_names(top: Path) -> None:
    for path in ("b/2", "b/10", "b/a/z", "a/x", "c", "B", "é", "a.txt"):
        (top / path).parent.mkdir(exist_ok=True)
        (top / path).write_bytes(path.encode())
    (top / "empty/inner").mkdir(parents=True)
    wanted = ["B", "a.txt", "c", "é", "a/x", "b/10", "b/2", "b/a/z", "empty/inner/"]
    assert names(found(top)) == ["top/" + name for name in wanted]
    assert names(found(top, "other/name"))[0] == "other/name/B"
    copy = top.with_name("copy")
    copy.mkdir()
    for thing in reversed(found(top)):  # made in another order
        target = copy.joinpath(*thing.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if thing.directory else target.write_bytes(b"")
    assert names(found(copy, "top")) == names(found(top))


def test_trailing_slash_and_the_current_folder(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "x").write_bytes(b"")
    assert names(found(f"{top}/")) == ["top/x"]
    monkeypatch.chdir(top)
    assert names(found(".")) == ["top/x"]
    assert names(found("x")) == ["x"]


def test_empty_directories_are_objects(top: Path) -> None:
    (thing,) = found(top)
    assert (thing.parts, thing.directory, thing.size) == (("top",), True, 0)
    source = thing.source()
    assert isinstance(source, DirectorySource)
    assert (source.name, source.type) == (b"top", Type.DIRECTORY)
    assert source.mtime == top.stat().st_mtime_ns


def test_what_is_not_sent_is_named(top: Path) -> None:
    (top / "x").write_bytes(b"")
    (top / "link").symlink_to("x")
    (top / "to folder").symlink_to("/etc")
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))
    wanted = {
        "link": "a symbolic link",
        "to folder": "a symbolic link",
        "dangling": "a symbolic link",
        "pipe": "a pipe",
        "socket": "a socket",
    }
    for kind, number, what in (("c", 0o020000, "character"), ("b", 0o060000, "block")):
        try:
            os.mknod(top / kind, number | 0o600, os.makedev(1, 3))
        except PermissionError:
            continue
        wanted[kind] = f"a {what} device"
    left_out: dict[str, str] = {}
    before = descriptors()
    listed = list(find(str(top), None, left_out.__setitem__))
    assert names(listed) == ["top/x"]
    assert left_out == {str(top / name): why for name, why in wanted.items()}
    for name, why in wanted.items():
        left_out.clear()
        assert list(find(str(top / name), None, left_out.__setitem__)) == []
        assert left_out == {str(top / name): why}
    assert descriptors() == before


def test_missing_path_is_an_error(top: Path) -> None:
    with pytest.raises(SourceError, match="No such file") as caught:
        next(find(str(top / "gone\n"), None, print))
    assert caught.value.hint
    assert str(caught.value).isprintable()


def test_unreadable_folder_is_named_and_the_rest_is_found(top: Path) -> None:
    for name in ("a", "b", "c"):
        (top / name).mkdir()
        (top / name / "x").write_bytes(b"")
    (top / "b").chmod(0)
    reachable(top).chmod(0o755)
    left_out: dict[str, str] = {}
    with unprivileged():
        if not os.access(top, os.R_OK, effective_ids=True):
            pytest.skip("no folder here that somebody else may look into")
        listed = list(find(str(top), None, left_out.__setitem__))
    (top / "b").chmod(0o755)
    assert names(listed) == ["top/a/x", "top/c/x"]
    assert left_out == {str(top / "b"): "Permission denied"}


def test_file_that_goes_away_while_the_tree_is_read(top: Path) -> None:
    for name in ("a/1", "b/2", "c/3"):
        (top / name).parent.mkdir()
        (top / name).write_bytes(b"")
    left_out: dict[str, str] = {}
    walk = find(str(top), None, left_out.__setitem__)
    assert next(walk).parts == ("top", "a", "1")
    shutil.rmtree(top / "b")
    assert names(list(walk)) == ["top/c/3"]
    assert left_out == {str(top / "b"): "No such file or directory"}


def test_files_with_other_names(top: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (top / "inside").hardlink_to(secret)
    (top / "alone").write_bytes(b"y")
    left_out: dict[str, str] = {}
    assert names(list(find(str(top), None, left_out.__setitem__))) == ["top/alone"]
    assert left_out == {str(top / "inside"): LINKED}
    assert "--hard-links" in LINKED
    everything = list(find(str(top), None, left_out.__setitem__, hard_links=True))
    assert names(everything) == ["top/alone", "top/inside"]
    assert names(found(top / "inside")) == ["inside"]  # named itself: that is what is wanted


def test_entry_that_cannot_be_examined_is_named(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "x").write_bytes(b"")
    real = os.scandir

    class Entry:
        name, path = "broken", str(top / "broken")

        def stat(self, *, follow_symlinks: bool) -> None:
            raise PermissionError(13, "no")

    class Listing:
        def __init__(self, path: str) -> None:
            self.path = path

        def __enter__(self) -> list:
            with real(self.path) as entries:
                return [*entries, Entry()]

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Listing)
    left_out: dict[str, str] = {}
    assert names(list(find(str(top), None, left_out.__setitem__))) == ["top/x"]
    assert left_out == {Entry.path: "Permission denied"}


def test_names_of_any_bytes_reach_the_manifest(top: Path) -> None:
    wanted = [b"new\nline", b"\xff\x80", b"\x1b[2K", b" ", b"-rf", b"...", "漢字".encode()]
    for name in wanted:
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(name)
    listed = found(top)
    assert len(listed) == len(wanted)
    assert sorted(thing.source().name for thing in listed) == sorted(b"top/" + n for n in wanted)


@pytest.fixture
def deep(top: Path) -> Iterator[Path]:
    """A tree deeper than Python's stack, with a file at its end."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    yield top
    here = os.open(top, os.O_RDONLY)  # what removes the temporary folder recurses
    for _ in range(1500):
        os.rename("d", f"{os.getpid()}", src_dir_fd=here, dst_dir_fd=here)
        inner = os.open(f"{os.getpid()}", os.O_RDONLY, dir_fd=here)
        if os.listdir(inner) == ["d"]:
            os.rename("d", "d", src_dir_fd=inner, dst_dir_fd=here)
        else:
            os.unlink("x", dir_fd=inner)
        os.close(inner)
        os.rmdir(f"{os.getpid()}", dir_fd=here)
    os.close(here)


def test_deep_tree(deep: Path) -> None:
    before = descriptors()
    (thing,) = found(deep)
    assert thing.parts == ("top", *["d"] * 1500, "x")
    source = thing.source()
    assert source.name == b"top/" + b"d/" * 1500 + b"x"
    assert descriptors() == before
