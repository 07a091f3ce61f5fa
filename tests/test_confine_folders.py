"""Folders that others could change are refused, with the folder and the next step named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from cli import Shell

from diode.confine.folders import check_folder
from diode.errors import UnsafeFolder
from diode.service.state import SenderState
from diode.sink.folder import Inbox

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
NOBODY = 65534


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    """outer/inner, both only ours."""
    made = tmp_path / "outer/inner"
    made.mkdir(parents=True, mode=0o755)
    return made


def refused(path: Path | str, **how: bool) -> UnsafeFolder:
    with pytest.raises(UnsafeFolder) as caught:
        check_folder(str(path), **how)
    assert caught.value.exit_code == 13
    return caught.value


def test_own_folders_and_those_of_root_are_fine(inner: Path, monkeypatch) -> None:
    check_folder(str(inner))
    check_folder(f"{inner}/")
    check_folder("/")
    monkeypatch.chdir(inner)
    check_folder(".")
    check_folder("../inner")


def test_the_sticky_bit_is_enough_above(inner: Path) -> None:
    inner.parent.chmod(0o1777)
    check_folder(str(inner))
    inner.chmod(0o1777)
    assert str(inner) in str(refused(inner)), "and not enough for what nobody else shall use"
    check_folder(str(inner), shared=True)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o703])
def test_others_may_write_above(inner: Path, mode: int) -> None:
    inner.parent.chmod(mode)
    error = refused(inner)
    assert f"other users may write to {inner.parent}" in str(error)
    assert error.hint.startswith(f"chmod o-w {inner.parent}")


def test_others_may_write_to_it(inner: Path) -> None:
    inner.chmod(0o707)
    assert f"other users may write to {inner}" in str(refused(inner))
    refused(inner, shared=True)


def test_our_primary_group_may_write(inner: Path) -> None:
    inner.parent.chmod(0o775)
    inner.chmod(0o770)
    check_folder(str(inner))


@root
def test_another_group_may_not_but_to_a_shared_folder(inner: Path) -> None:
    os.chown(inner, 0, NOBODY)
    inner.chmod(0o2770)
    assert refused(inner).hint.startswith(f"chmod go-w {inner}")
    check_folder(str(inner), shared=True)
    os.chown(inner.parent, 0, NOBODY)
    inner.parent.chmod(0o770)
    assert str(inner.parent) in str(refused(inner, shared=True))


@root
def test_another_owner(inner: Path) -> None:
    os.chown(inner.parent, NOBODY, 0)
    assert f"{inner.parent} belongs to another user (uid {NOBODY})" in str(refused(inner))
    os.chown(inner.parent, 0, 0)
    os.chown(inner, NOBODY, 0)
    assert f"{inner} belongs" in str(refused(inner))


def test_a_link_is_named_with_what_it_points_to(inner: Path) -> None:
    link = inner.parent / "link"
    link.symlink_to("inner")
    for spelt in (link, f"{link}/"):
        assert refused(spelt).hint == f"name what it points to: {inner}"


def test_links_above_are_followed_and_judged(inner: Path) -> None:
    (inner / "deep").mkdir()
    elsewhere = inner.parent.parent / "elsewhere"
    elsewhere.symlink_to("outer/../outer/inner")
    check_folder(f"{elsewhere}/deep")
    elsewhere.unlink()
    elsewhere.symlink_to(inner)
    check_folder(f"{elsewhere}/deep")
    inner.parent.chmod(0o777)
    assert str(inner.parent) in str(refused(f"{elsewhere}/deep")), "where it is, not where it seems"


@root
def test_a_link_of_somebody_else(inner: Path) -> None:
    (inner / "deep").mkdir()
    link = inner.parent / "link"
    link.symlink_to("inner")
    os.lchown(link, NOBODY, NOBODY)
    inner.parent.chmod(0o1777)
    assert f"{link} belongs to another user" in str(refused(f"{link}/deep"))


def test_links_without_end(inner: Path) -> None:
    (inner / "a").symlink_to("b")
    (inner / "b").symlink_to("a")
    with pytest.raises((UnsafeFolder, OSError)):
        check_folder(f"{inner}/a/deep")


def test_inbox_and_states(inner: Path) -> None:
    inner.parent.chmod(0o777)
    for made in (lambda: Inbox(f"{inner}/inbox"), lambda: SenderState(f"{inner}/state")):
        with pytest.raises(UnsafeFolder, match=re.escape(str(inner.parent))):
            made()
    inner.parent.chmod(0o755)
    (inner / "state").chmod(0o777)
    with pytest.raises(UnsafeFolder):
        SenderState(f"{inner}/state")
    with pytest.raises(UnsafeFolder):
        Inbox(f"{inner}/inbox", state=f"{inner}/state")


def test_command_line(shell: Shell) -> None:
    (shell.folder / "x").write_bytes(b"x")
    assert shell.run("send", "x", "--to", "file:capture").code == 0
    (shell.folder / "open").mkdir()
    (shell.folder / "open").chmod(0o777)
    ran = shell.run("recv", "open/inbox", "--from", "file:capture")
    assert ran.code == 13
    assert "other users may write to" in ran.err
    assert "hint: chmod o-w" in ran.err.replace("\n", " ")
    assert list((shell.folder / "open").rglob("x")) == []
    sent = shell.run("send", "x", "--to", "file:capture", "--state", "open/state")
    assert sent.code == 13
    (shell.folder / "link").symlink_to("real")
    (shell.folder / "real").mkdir()
    assert shell.run("recv", "link", "--from", "file:capture").code == 13
    assert shell.run("recv", "real", "--from", "file:capture").code == 0
