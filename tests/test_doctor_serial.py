"""Serial ports: a made-up machine whose port is well, and each fault alone with its mend."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cli import Shell
from ptys import Pty
from trees import ANN, by_name, machine, process, with_status

from diode.carrier import parse
from diode.doctor import Check, ports, serial
from diode.doctor.machine import Machine

S0 = "/sys/class/tty/ttyS0"
USB0 = "/sys/class/tty/ttyUSB0"
WELL = {
    "/dev/ttyS0": "",
    f"{S0}/device/driver": None,
    f"{S0}/type": "4\n",
    f"{S0}/uartclk": "1843200\n",
    f"{S0}/xmit_fifo_size": "16\n",
    f"{S0}/rx_trig_bytes": "8\n",
    f"{S0}/flags": "0x10002000\n",
    f"{S0}/dev": "4:64\n",
    "/proc/tty/driver/serial": "serinfo:1.0 driver revision:\n0: uart:16550A port:3F8 tx:9 rx:7\n",
    "/dev/ttyUSB0": "",
    f"{USB0}/device/latency_timer": "1\n",
    f"{USB0}/dev": "188:0\n",
    "/dev/serial/by-id/usb-FTDI_x-port0": "->../../ttyUSB0",
    "/proc/cmdline": "root=/dev/sda1 console=tty0 quiet\n",
    "/proc/consoles": "tty0                 -WU (EC p  )    4:7\n",
}
BY_ID = "/dev/serial/by-id/usb-FTDI_x-port0"


def examined(root: Path, url: str, files: dict, *, sends: bool = False, **who) -> list[Check]:
    mode = who.pop("mode", 0o660)
    here = machine(root, WELL | files, **who)
    for name in ("ttyS0", "ttyUSB0"):
        os.chmod(root / "dev" / name, mode)
    return serial.checks(parse(url), here, sends=sends)


@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("port", ["/dev/ttyS0", BY_ID])
def test_a_port_that_is_well(tmp_path: Path, port: str, sends: bool) -> None:
    found = examined(tmp_path, f"serial:{port}?baud=115200", {}, sends=sends)
    assert {check.status for check in found} == {"ok"}, found
    assert len(by_name(found)) >= 7
    assert not any(check.mend for check in found)


CONSOLE = "sed -i 's/console=ttyS0[^ \"]*//' /etc/default/grub && update-grub"
LOGIN = process(77, "agetty", "/sbin/agetty", "-o", "-p", "115200", "ttyS0", "vt220")
PI = {"/boot/firmware/cmdline.txt": "console=serial0,115200 root=x"}
FAULTS = [
    ("ttyS0", {"/proc/cmdline": "console=ttyS0,115200n8 quiet"}, "console", "bad", CONSOLE),
    ("ttyS0", {"/proc/cmdline": "console=ttyS0", **PI}, "console", "bad", "(serial0|ttyS0)"),
    ("ttyS0", {"/proc/cmdline": "kgdboc=ttyS0,115200"}, "console", "bad", "grub"),
    ("ttyS0", {"/proc/consoles": "ttyS0  -W- (EC p a)  4:64\n"}, "console", "bad", "grub"),
    ("ttyS0", {"/sys/class/tty/console/active": "tty0 ttyS0\n"}, "console", "bad", "grub"),
    ("ttyS0", LOGIN, "login", "bad", "systemctl mask --now serial-getty@ttyS0.service"),
    (
        "ttyS0",
        {"/run/systemd/generator/getty.target.wants/serial-getty@ttyS0.service": ""},
        "login",
        "bad",
        "systemctl mask",
    ),
    ("ttyUSB0", process(8, "ModemManager"), "ModemManager", "bad", "disable --now ModemManager"),
    ("ttyUSB0", process(8, "brltty"), "brltty", "bad", "mask --now brltty"),
    (
        "ttyUSB0",
        process(9, "minicom") | {"/proc/9/fd/3": "->/dev/ttyUSB0"},
        "in use",
        "bad",
        "kill 9",
    ),
    ("ttyUSB0", {f"{USB0}/device/latency_timer": "16"}, "latency", "hint", "echo 1 > /sys/bus/usb"),
    ("ttyS0", {f"{S0}/flags": "0x10000000"}, "latency", "hint", "setserial /dev/ttyS0 low_latency"),
    ("ttyS0", {f"{S0}/uartclk": "921600"}, "uart", "bad", "baud=57600"),
    ("ttyS0", {f"{S0}/type": "2", f"{S0}/xmit_fifo_size": "1"}, "uart", "bad", "baud=57600"),
    ("ttyS0", {f"{S0}/rx_trig_bytes": "14"}, "fifo", "hint", "echo 8 > /sys/class/tty/ttyS0/rx"),
    (
        "ttyS0",
        {"/proc/tty/driver/serial": "0: uart:16550A rx:7 oe:12 RTS|DTR\n"},
        "overruns",
        "bad",
        "rx_trig_bytes",
    ),
]


@pytest.mark.parametrize(("port", "files", "name", "status", "mend"), FAULTS)
def test_a_fault_is_found_alone_with_its_mend(tmp_path, port, files, name, status, mend) -> None:
    path = BY_ID if port == "ttyUSB0" else f"/dev/{port}"
    found = examined(tmp_path, f"serial:{path}?baud=115200", files)
    assert {check.name for check in found if check.status != "ok"} == {name}
    assert with_status(found, status) == {name}
    assert mend in by_name(found)[name].mend


def test_no_hardware_behind_a_name(tmp_path: Path) -> None:
    found = by_name(examined(tmp_path, "serial:/dev/ttyS0", {f"{S0}/type": "0"}))
    assert found["uart"].status == "bad"
    listed = list(ports.names_of(Machine(str(tmp_path))))
    assert listed == [BY_ID]


def test_permission_by_group(tmp_path: Path) -> None:
    ann = {"uid": ANN, "groups": frozenset({4711})}
    with as_somebody_else():
        found = by_name(examined(tmp_path, "serial:/dev/ttyS0", {}, **ann))["permission"]
    assert found.status == "bad"
    group = Machine(str(tmp_path)).group(os.stat(tmp_path / "dev/ttyS0").st_gid)
    assert "ann may not read it" in found.found
    wanted = "chgrp dialout /dev/ttyS0" if group == "root" else f"usermod -a -G {group} ann"
    assert wanted in found.mend


@contextlib.contextmanager
def as_somebody_else():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 99)
        yield


@pytest.mark.parametrize(
    ("group", "member", "mode", "mend"),
    [
        ("dialout", False, 0o660, "usermod -a -G dialout ann"),
        ("dialout", True, 0o660, "newgrp dialout"),
        ("root", False, 0o660, "chgrp dialout /dev/x && chmod 660 /dev/x"),
        ("dialout", True, 0o600, "chgrp dialout /dev/x && chmod 660 /dev/x"),
    ],
)
def test_permission_by_facts(group: str, member: bool, mode: int, mend: str) -> None:
    port = serial.Port("/dev/x", True, 9600, "x", "port", mode, group, "ann", False, member=member)
    assert mend in by_name(serial.judge(port))["permission"].mend


def test_a_port_for_everybody(tmp_path: Path) -> None:
    found = by_name(examined(tmp_path, "serial:/dev/ttyS0", {}, mode=0o666))
    assert (found["permission"].status, found["permission"].mend) == (
        "hint",
        "chmod o-rw /dev/ttyS0",
    )


def test_a_name_that_may_change(tmp_path: Path) -> None:
    found = by_name(examined(tmp_path, "serial:/dev/ttyUSB0", {}, sends=True))
    assert found["name"].status == "hint"
    assert found["name"].mend == f"diode doctor --to 'serial:{BY_ID}?baud=115200'"


def test_modem_manager_that_was_told(tmp_path: Path) -> None:
    files = process(8, "ModemManager") | {"/run/udev/data/c188:0": "E:ID_MM_DEVICE_IGNORE=1\n"}
    found = by_name(examined(tmp_path, f"serial:{BY_ID}", files))
    assert found["ModemManager"].status == "ok"


def test_diode_itself_may_have_it(tmp_path: Path) -> None:
    files = process(9, "python3", "python3", "-m", "diode", "send") | {
        "/proc/9/fd/3": "->/dev/ttyS0"
    }
    assert by_name(examined(tmp_path, "serial:/dev/ttyS0", files))["in use"].status == "ok"


def test_what_is_no_port(tmp_path: Path) -> None:
    here = machine(tmp_path, WELL | {"/dev/file": ""})
    (found,) = serial.checks(parse("serial:/dev/file"), here, sends=True)
    assert (found.name, found.status) == ("port", "bad")
    (found,) = serial.checks(parse("serial:/dev/ttyUSB7"), here, sends=False)
    assert "found: /dev/ttyS0, /dev/serial/by-id" in found.found
    assert found.mend == "diode doctor --from 'serial:/dev/ttyS0?baud=115200'"
    (found,) = serial.checks(parse("serial:/dev/null"), Machine(), sends=False)
    assert found.status == "bad"


def test_the_machine_lists_ports(tmp_path: Path) -> None:
    files = process(8, "ModemManager") | process(9, "brltty")
    found = by_name(ports.checks(machine(tmp_path, WELL | files)))
    assert found["serial ports"].found == f"/dev/ttyS0, {BY_ID}"
    assert found["ModemManager"].status == found["brltty"].status == "hint"


def test_a_real_pseudo_terminal(shell: Shell) -> None:
    with Pty(shell.folder / "port") as pty:
        ran = shell.run("doctor", "--json", "--to", f"serial:{pty.link}?baud=9600")
    assert ran.code == 0, ran.out
    checks = {check["name"]: check for check in ran.events("check")}
    assert checks["port"]["found"].startswith(f"{pty.link} of another program, which is /dev/pts/")
    assert checks["permission"]["status"] == "ok"
    assert "console" not in checks


def test_a_name_that_would_speak_to_the_terminal(shell: Shell) -> None:
    ran = shell.run("doctor", "--to", "serial:/dev/%1b[31mx")
    assert ran.code == 3
    assert "\x1b" not in ran.out
    assert "/dev/\\x1b[31mx" in ran.out
