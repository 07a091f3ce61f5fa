"""What is read of a machine, whatever it is: absent, enormous, a pipe, no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trees import ANN, machine, plant, process, with_status

from diode import doctor
from diode.carrier import parse
from diode.doctor import serial, sound, storage
from diode.doctor.machine import LARGEST, Machine


def test_files_of_all_kinds(tmp_path: Path) -> None:
    here = machine(tmp_path, {"/a": "12\n", "/hex": "0x2000", "/b": b"\xff\0\x1b[31m", "/d": None})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert (here.number("/a"), here.number("/hex", 16)) == (12, 0x2000)
    assert here.number("/b") is None
    for absent in ("/none", "/d", "/loop", "/a/b", "/\0", "/" + "x" * 5000):
        assert here.read(absent) is None
        assert here.line(absent) == ""
        assert here.names(absent) == []
    assert here.read("/pipe") == ""  # nobody fills it, and it is not waited for
    assert here.read("/b") == "�\0\x1b[31m"
    assert len(Machine().read("/dev/zero") or "") == LARGEST


def test_links_stay_within(tmp_path: Path) -> None:
    plant(tmp_path, {"/dev/ttyUSB0": "", "/dev/serial/by-id/usb-x": "->../../ttyUSB0"})
    here = Machine(str(tmp_path))
    assert here.real("/dev/serial/by-id/usb-x") == "/dev/ttyUSB0"
    assert here.names("/dev/serial") == ["by-id"]
    assert Machine().real("/") == "/"


@pytest.mark.parametrize(
    ("mode", "uid", "groups", "reads", "writes"),
    [
        (0o660, ANN, {20}, True, True),
        (0o640, ANN, {20}, True, False),
        (0o660, ANN, {21}, False, False),
        (0o604, ANN, {20}, False, False),  # the group's bits count for its members
        (0o602, ANN, set(), False, True),
        (0o000, 0, set(), True, True),
    ],
)
def test_who_may(tmp_path, monkeypatch, mode, uid, groups, reads, writes) -> None:
    here = machine(tmp_path, {"/dev/x": ""}, uid=uid, groups=frozenset(groups))
    monkeypatch.setattr(os, "geteuid", lambda: 99)
    found = os.stat_result((mode, 1, 1, 1, 0, 20, 0, 0, 0, 0))
    monkeypatch.setattr(Machine, "status", lambda *_: found)
    assert here.permits("/dev/x", write=False) == reads
    assert here.permits("/dev/x", write=True) == writes


def test_names_of_users(tmp_path: Path) -> None:
    here = machine(tmp_path, {})
    assert (here.user(ANN), here.user(7), here.group(20)) == ("ann", "7", "dialout")
    assert here.members(29) == ["ann"]
    plant(tmp_path, {"/etc/group": b"\xff:::\n::\n20\ndialout:x:20\n"})
    assert here.members(20) == []


def test_processes(tmp_path: Path) -> None:
    files = process(12, "ModemManager") | process(13, "systemd-timesyn", "/lib/systemd-timesyncd")
    files |= {"/proc/14/comm": "", "/proc/version": "", "/proc/15/cmdline": b"x\0"}
    here = machine(tmp_path, files)
    assert [p.name for p in here.processes()] == ["ModemManager", "systemd-timesyn"]
    assert here.runs("ntpd", "systemd-timesyncd") == "systemd-timesyncd"
    assert here.runs("brltty") == ""


def test_who_has_a_file_open(tmp_path: Path) -> None:
    files = process(12, "minicom") | process(13, "other") | {"/dev/ttyUSB0": ""}
    files |= {"/proc/12/fd/3": "->/dev/ttyUSB0", "/proc/13/fd/3": "->socket:[1]"}
    here = machine(tmp_path, files)
    assert [p.number for p in here.holders("/dev/ttyUSB0")] == [12]
    with open(tmp_path / "open", "w"):
        mine = Machine().holders(str(tmp_path / "open"))
    assert [p.number for p in mine] == [os.getpid()]


GARBAGE = [
    b"",
    b"\xff" * 5000,
    b":" * 9999,
    b"\0\n" * 500,
    b"1 2 3 - 4\n = \n[x]: 5" * 100,
    b"9" * 5000,
]
READ = [
    "/proc/cmdline",
    "/proc/consoles",
    "/sys/class/tty/console/active",
    "/sys/class/tty/ttyS0/type",
    "/sys/class/tty/ttyS0/uartclk",
    "/sys/class/tty/ttyS0/flags",
    "/sys/class/tty/ttyS0/rx_trig_bytes",
    "/sys/class/tty/ttyS0/dev",
    "/sys/class/tty/ttyS0/device/latency_timer",
    "/proc/tty/driver/serial",
    "/etc/passwd",
    "/etc/group",
    "/proc/self/mountinfo",
    "/proc/asound/cards",
    "/proc/asound/card0/stream0",
    "/proc/asound/card0/codec#0",
    "/proc/cpuinfo",
    "/sys/kernel/security/lsm",
    "/etc/ld.so.preload",
    "/proc/1/comm",
    "/proc/1/cmdline",
    "/proc/sys/kernel/seccomp/actions_avail",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_no_file_is_trouble(tmp_path: Path, garbage: bytes) -> None:
    """Every file that is looked at says nonsense, and every tool."""
    files = dict.fromkeys(READ, garbage) | {"/dev/ttyS0": "", "/run/systemd/system": None}
    here = Machine(str(tmp_path), lambda *_: garbage.decode(errors="replace"))
    plant(tmp_path, files | {"/etc/systemd/system/diode-sender@x.service": garbage, "/in": None})
    for sends in (True, False):
        found = serial.judge(serial.look("/dev/ttyS0", 115200, here, sends=sends))
        assert found[0].status == "ok"
        found += sound.checks(parse("audio:"), here, sends=sends)
        found += storage.judge(storage.look("/in", "inbox", here))
        found += doctor.examine_machine(here)
        with_status(found, "bad")
        assert len(found) > 20


def test_a_machine_without_anything(tmp_path: Path) -> None:
    here = Machine(str(tmp_path), lambda *_: None)
    assert with_status(doctor.examine_machine(here), "bad") == set()
    assert [c.status for c in storage.checks("/inbox", "inbox", here)] == ["hint"]
    assert serial.judge(serial.look("/dev/ttyS0", 9600, here, sends=True))[0].status == "bad"
