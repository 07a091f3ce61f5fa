"""What is written for systemd, and what is left alone: by the command as an operator has it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from cli import Shell

from diode.cli import service as verb
from diode.cli.report import Report
from diode.errors import UsageError
from diode.service import install
from diode.service.install import Service

UNIT = "etc/systemd/system/diode-receiver@.service"
RECEIVER = [
    "etc/diode/receiver.toml",
    UNIT,
    "etc/sysusers.d/diode-receiver.conf",
    "etc/tmpfiles.d/diode-receiver.conf",
    "etc/udev/rules.d/70-diode-receiver.rules",
]


@pytest.fixture
def root(shell: Shell) -> Path:
    return shell.folder / "root"


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def act(shell: Shell, root: Path, what: str, *more: str, role: str = "receiver"):
    return shell.run("service", what, "--role", role, "--root", root, "--json", *more)


def actions(ran) -> dict[str, str]:
    return {Path(e["path"]).name: e["action"] for e in ran.events("file")}


def test_install_and_remove(shell: Shell, root: Path) -> None:
    ran = act(shell, root, "install")
    assert ran.code == 0, ran.err
    assert files(root) == RECEIVER
    assert oct((root / "etc/diode/receiver.toml").stat().st_mode & 0o777) == "0o640"
    assert oct((root / UNIT).stat().st_mode & 0o777) == "0o644"
    assert set(actions(ran).values()) == {"write"}
    assert set(actions(act(shell, root, "install")).values()) == {"there"}
    ran = act(shell, root, "remove")
    assert ran.code == 0, ran.err
    assert files(root) == ["etc/diode/receiver.toml"]
    assert actions(act(shell, root, "remove")) == {}


def test_roles_do_not_know_each_other(shell: Shell, root: Path) -> None:
    act(shell, root, "install")
    act(shell, root, "install", role="sender")
    assert len(files(root)) == 2 * len(RECEIVER)
    act(shell, root, "remove", role="sender")
    assert files(root) == sorted([*RECEIVER, "etc/diode/sender.toml"])


@pytest.mark.parametrize("what", ["install", "remove"])
def test_what_somebody_changed_stays(shell: Shell, root: Path, what: str) -> None:
    act(shell, root, "install")
    unit = root / UNIT
    unit.write_text(unit.read_text() + "MemoryMax=1G\n")
    mine = unit.read_text()
    ran = act(shell, root, what)
    assert ran.code == 3
    assert actions(ran)["diode-receiver@.service"] == "changed"
    told = [e["message"] for e in ran.events("warning")]
    assert any("diode-receiver@.service was changed" in message for message in told)
    assert unit.read_text() == mine
    assert act(shell, root, what, "--force").code == 0
    assert (unit.read_text() != mine) if what == "install" else not unit.exists()


def test_a_file_of_another_origin_stays(shell: Shell, root: Path) -> None:
    unit = root / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    assert act(shell, root, "install").code == 3
    assert unit.read_text() == "[Unit]\n"
    assert len(files(root)) == len(RECEIVER)


def test_a_file_of_an_older_version_is_replaced(shell: Shell, root: Path) -> None:
    unit = root / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text(install.marked("[Unit]\n").replace("diode-fec 0", "diode-fec 0.0"))
    ran = act(shell, root, "install")
    assert ran.code == 0
    assert actions(ran)["diode-receiver@.service"] == "replace"
    assert "Type=notify" in unit.read_text()


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_a_configuration_is_never_replaced(shell: Shell, root: Path, more: tuple[str, ...]) -> None:
    configuration = root / "etc/diode/receiver.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("# mine\n")
    act(shell, root, "install", *more)
    act(shell, root, "remove", *more)
    assert configuration.read_text() == "# mine\n"


def test_dry_run_shows_everything_and_does_nothing(shell: Shell, root: Path) -> None:
    ran = shell.run("service", "install", "--role", "sender", "--root", root, "--dry-run")
    assert ran.code == 0
    assert not root.exists()
    assert f"write    {root}/etc/systemd/system/diode-sender@.service" in ran.out
    assert "    DeviceAllow=/dev/diode-tx w" in ran.out.splitlines()
    assert "systemctl enable --now diode-sender@sender" in ran.err


def test_next_steps_name_the_instance(shell: Shell, root: Path) -> None:
    ran = shell.run(
        *("service", "install", "--role", "receiver", "--root", root),
        *("--instance", "plant7", "--udp", "10.9.0.1"),
    )
    assert ran.code == 0, ran.err
    assert "systemctl enable --now diode-receiver@plant7" in ran.err
    assert "udevadm" not in ran.err, "there is no port"
    assert "etc/systemd/system/diode-receiver@plant7.service.d/udp.conf" in files(root)
    drop_in = root / "etc/systemd/system/diode-receiver@plant7.service.d/udp.conf"
    assert "IPAddressAllow=10.9.0.1\n" in drop_in.read_text()
    assert 'from = "udp://:5000?source=10.9.0.1"' in (root / "etc/diode/plant7.toml").read_text()
    assert act(shell, root, "remove", "--instance", "plant7").code == 0
    assert not drop_in.parent.exists()
    assert files(root) == ["etc/diode/plant7.toml"]


def test_the_unit_starts_the_program_that_wrote_it(shell: Shell, root: Path) -> None:
    program = shell.folder / "opt/bin/diode"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    service = Service("receiver", "receiver", str(program))
    install.carry_out(install.installing(service, str(root), force=False))
    unit = (root / UNIT).read_text()
    assert f"\nExecStart={program} run /etc/diode/%i.toml\n" in unit
    assert not re.search("@[A-Z]+@", unit)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--instance", "../x"), "cannot be the name"),
        (("--instance", "a b"), "cannot be the name"),
        (("--instance", "%i"), "cannot be the name"),
        (("--udp", "10.9.0.1\nUser=root"), "no address"),
        (("--udp", "example.org"), "no address"),
        (("--port", "/dev/not-there"), "udev does not know"),
    ],
)
def test_what_cannot_stand_in_a_file_of_systemds(
    shell: Shell, root: Path, more: tuple[str, ...], words: str
) -> None:
    ran = act(shell, root, "install", *more)
    assert ran.code == 2
    (error,) = ran.events("error")
    assert words in error["message"]
    assert not root.exists()


def test_a_program_that_a_unit_cannot_see(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A virtual environment for all may still have the Python of somebody's home."""
    for executable, called in (
        ("/home/x/venv/bin/python", "/home/x/venv/bin/diode"),
        ("/root/.pyenv/bin/python3", "/opt/diode/bin/diode"),
        ("/usr/bin/python3", "/opt/diode/bin/diode"),
    ):
        monkeypatch.setattr(verb.sys, "executable", executable)
        monkeypatch.setattr(verb.sys, "argv", [called])
        assert verb._program(Report()) == called
    first, second = capfd.readouterr().err.splitlines()
    assert "/home/x/venv/bin/diode cannot be seen" in first
    assert "/root/.pyenv/bin/python3 cannot be seen" in second


def test_a_program_that_is_no_word() -> None:
    with pytest.raises(UsageError):
        Service("receiver", "x", "/opt/my programs/diode")


def test_a_place_that_cannot_be_written(shell: Shell, root: Path) -> None:
    root.write_text("a file")
    ran = shell.run("service", "install", "--role", "sender", "--root", root)
    assert ran.code == 2  # click's word for a folder that is none
    (shell.folder / "other/etc").mkdir(parents=True)
    (shell.folder / "other/etc/systemd").write_text("a file")
    ran = shell.run("service", "install", "--role", "sender", "--root", shell.folder / "other")
    assert ran.code == 13
    assert "etc/systemd/system" in ran.err


# Ports --------------------------------------------------------------------------------------

FTDI = {
    "DEVNAME": "/dev/ttyUSB0",
    "ID_VENDOR_ID": "0403",
    "ID_MODEL_ID": "6001",
    "ID_SERIAL_SHORT": "A10KZP3T",
    "ID_USB_INTERFACE_NUM": "00",
    "ID_PATH": "pci-0000:00:14.0-usb-0:2:1.0",
}


def test_a_port_is_known_by_its_serial_number() -> None:
    assert install.rule(FTDI) == (
        'SUBSYSTEM=="tty", ENV{ID_VENDOR_ID}=="0403", ENV{ID_MODEL_ID}=="6001", '
        'ENV{ID_SERIAL_SHORT}=="A10KZP3T", ENV{ID_USB_INTERFACE_NUM}=="00"'
    )


def test_without_one_by_its_place_and_then_by_its_name() -> None:
    numberless = {**FTDI, "ID_SERIAL_SHORT": ""}
    assert install.rule(numberless) == f'SUBSYSTEM=="tty", ENV{{ID_PATH}}=="{FTDI["ID_PATH"]}"'
    assert install.rule({"DEVNAME": "/dev/ttyS0"}) == 'SUBSYSTEM=="tty", KERNEL=="ttyS0"'
    assert install.rule({}) == ""


@pytest.mark.parametrize("serial", ['A"B', "A*", "A\nRUN", "[AB]", "A|B", "A\\"])
def test_a_serial_number_that_would_be_a_pattern_is_refused(serial: str) -> None:
    """The adapter's maker, or whoever programmed it, chooses that text."""
    assert install.rule({**FTDI, "ID_SERIAL_SHORT": serial}) == ""


def test_what_udev_says_becomes_a_rule(tmp_path: Path) -> None:
    said = "\n".join(f"{key}={value}" for key, value in FTDI.items())
    known = verb._known("/dev/ttyUSB0", lambda _port: said)
    service = Service("receiver", "receiver", "/usr/bin/diode", known)
    install.carry_out(install.installing(service, str(tmp_path), force=False))
    rules = (tmp_path / "etc/udev/rules.d/70-diode-receiver.rules").read_text().splitlines()
    port, latency = (line for line in rules if not line.startswith("#"))
    assert port.startswith(known + ', SYMLINK+="diode-rx"')
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in port
    assert latency == f'{known}, TEST=="device/latency_timer", ATTR{{device/latency_timer}}="1"'


def test_udev_fails() -> None:
    def refuses(_port: str) -> str:
        raise subprocess.CalledProcessError(1, "udevadm")

    with pytest.raises(UsageError, match="does not know"):
        verb._known("/dev/ttyUSB0", refuses)
    with pytest.raises(UsageError, match="does not say"):
        verb._known("/dev/ttyUSB0", lambda _: "SUBSYSTEM=tty\n")


def test_kinds_of_changes_in_the_first_line() -> None:
    text = install.marked("a\nb\n")
    assert install.untouched(text)
    for changed in (text + "c\n", text.replace("a\n", "A\n"), "a\nb\n", "", text[1:]):
        assert not install.untouched(changed)


def test_nothing_is_left_of_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    service = Service("receiver", "receiver", "/usr/bin/diode")
    from diode.errors import DestinationError

    with pytest.raises(DestinationError, match="No space"):
        install.carry_out(install.installing(service, str(tmp_path), force=False))
    assert files(tmp_path) == []
