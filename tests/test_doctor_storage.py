"""Folders and keys: room, what is kept over a power cut, who else may write."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from cli import Shell
from trees import ANN, by_name, machine, with_status

from diode.doctor import keys, storage
from diode.doctor.machine import Machine
from diode.doctor.storage import Folder

WELL = Folder(
    "/inbox", "inbox", "folder", True, 0o750, "ann", True, "ext4", frozenset({"rw", "relatime"}),
    50 << 30, 0.5, 0.9, 0.004,
)  # fmt: skip


def test_a_folder_that_is_well() -> None:
    found = storage.judge(WELL)
    assert {check.status for check in found} == {"ok"}
    assert len(by_name(found)) == 5
    assert by_name(found)["inbox fsync"].found == "4 ms"


FAULTS = [
    ({"permitted": False}, "inbox permission", "bad", "chown $USER /inbox"),
    ({"mode": 0o777}, "inbox permission", "bad", "chmod go-w /inbox"),
    ({"mode": 0o770}, "inbox permission", "hint", "chmod go-w /inbox"),
    ({"mine": False}, "inbox permission", "hint", "chown $USER /inbox"),
    ({"system": "tmpfs"}, "inbox file system", "bad", "findmnt"),
    ({"system": "nfs4"}, "inbox file system", "hint", "findmnt"),
    ({"system": "vfat"}, "inbox file system", "hint", "findmnt"),
    ({"options": frozenset({"ro"})}, "inbox file system", "bad", "mount -o remount,rw"),
    ({"options": frozenset({"rw", "nobarrier"})}, "inbox file system", "bad", "grep -n nobarrier"),
    ({"free": 5 << 20, "share": 0.001}, "inbox room", "bad", "du -xh /inbox"),
    ({"share": 0.05}, "inbox room", "hint", "du -xh"),
    ({"files": 0.001}, "inbox room", "hint", "du -xh"),
    ({"sync": 0.5}, "inbox fsync", "hint", "iotop"),
    ({"sync": 5e-6}, "inbox fsync", "hint", "hdparm"),
]


@pytest.mark.parametrize(("change", "name", "status", "mend"), FAULTS)
def test_a_fault_is_found_alone_with_its_mend(change, name, status, mend) -> None:
    found = storage.judge(dataclasses.replace(WELL, **change))
    assert {check.name for check in found if check.status != "ok"} == {name}
    assert with_status(found, status) == {name}
    assert mend in by_name(found)[name].mend


def test_others_may_not_write_into_a_state_folder() -> None:
    state = dataclasses.replace(WELL, purpose="state", mode=0o770)
    assert by_name(storage.judge(state))["state permission"].status == "bad"
    assert by_name(storage.judge(dataclasses.replace(WELL, mode=0o1777)))[
        "inbox permission"
    ].status == "ok"  # fmt: skip


def test_what_is_not_told_is_no_fault() -> None:
    silent = dataclasses.replace(WELL, system="", free=None, share=None, files=None, sync=None)
    assert with_status(storage.judge(silent), "unknown") == {"inbox room", "inbox fsync"}
    assert with_status(storage.judge(silent), "bad") == set()


MOUNTS = """\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
26 25 0:5 / /var/lib\\040x ro,nosuid - xfs /dev/sdb1 rw,nobarrier
27 25 0:6 / /var rw - tmpfs tmpfs rw
28 25 0:7 / /var rw - btrfs /dev/sdc1 rw
garbage - x
"""


def test_mounts() -> None:
    assert storage.mount(MOUNTS, "/home")[0] == "ext4"
    assert storage.mount(MOUNTS, "/var/lib") == ("btrfs", frozenset({"rw"}))  # mounted later
    system, options = storage.mount(MOUNTS, "/var/lib x/y")
    assert system == "xfs"
    assert {"ro", "nobarrier"} <= options
    assert storage.mount("", "/") == ("", frozenset())


def test_a_real_folder_is_timed_and_left_as_it_was(tmp_path: Path) -> None:
    found = storage.look(str(tmp_path), "inbox", Machine())
    assert found.kind == "folder"
    assert found.system
    assert found.free
    assert found.sync is not None
    assert os.listdir(tmp_path) == []


def test_measuring_ends_on_a_disk_that_hangs(tmp_path: Path) -> None:
    now = iter(range(0, 1000, 2))
    assert storage.measure(str(tmp_path), lambda: float(next(now))) == 2.0
    assert next(now) < 20
    assert storage.measure(str(tmp_path / "none")) is None


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (missing,) = storage.checks(str(tmp_path / "a b"), "state", Machine())
    assert (missing.status, missing.mend) == ("hint", f"mkdir -m 700 '{tmp_path}/a b'")
    (other,) = storage.checks(str(tmp_path / "file"), "state", Machine())
    assert other.status == "bad"


# Keys ---------------------------------------------------------------------------------------


def keys_of(shell: Shell) -> None:
    assert shell.run("keygen", "k").code == 0


def test_keys_as_they_are_made(shell: Shell) -> None:
    keys_of(shell)
    for name, word in (("k", "a secret key to sign with"), ("k.pub", "a public key")):
        found = keys.checks(str(shell.folder / name), Machine())
        assert {check.status for check in found} == {"ok"}
        assert word in found[0].found


@pytest.mark.parametrize(
    ("name", "mode", "mend"),
    [("k", 0o640, "chmod 600"), ("k", 0o604, "chmod 600"), ("k.pub", 0o666, "chmod go-w")],
)
def test_keys_that_others_may_use_or_change(shell: Shell, name, mode, mend) -> None:
    keys_of(shell)
    path = shell.folder / name
    path.chmod(mode)
    ran = shell.run("doctor", "--json", "--key", name)
    assert ran.code == 3
    (check,) = [c for c in ran.events("check") if c["name"] == f"key {name}"]
    assert check["status"] == "bad"
    command = check["mend"].partition("  #")[0]
    assert command.startswith(mend)
    assert os.system(f"cd {shell.folder} && {command}") == 0
    assert shell.run("doctor", "--key", name).code == 0


def test_a_folder_in_which_others_may_replace_a_key(shell: Shell) -> None:
    keys_of(shell)
    shell.folder.chmod(0o777)
    found = keys.checks(str(shell.folder / "k.pub"), Machine())
    assert [check.status for check in found] == ["ok", "bad"]


def test_a_key_of_another_user(tmp_path: Path) -> None:
    line = "# a remark\ndiode-ed25519-secret AAAA\n"
    here = machine(tmp_path, {"/k": line}, uid=ANN)
    os.chmod(tmp_path / "k", 0o644)
    if os.geteuid():
        assert "belongs to another user" in keys.checks("/k", here)[0].found
    assert keys.checks("/k", here)[0].status == "bad"


def test_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\0" * 100)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("x", "empty", "none", "."):
        (found,) = keys.checks(str(tmp_path / name), Machine())
        assert (found.status, bool(found.mend)) == ("bad", True)
    secret = b"diode-ed25519-secret c2VjcmV0"
    (tmp_path / "x").write_bytes(secret)
    said = repr(keys.checks(str(tmp_path / "x"), Machine()))
    assert "c2VjcmV0" not in said
