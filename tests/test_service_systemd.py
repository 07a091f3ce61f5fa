"""The units under a real systemd: ready, watched, confined, and a file that crosses a line."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import wait_until
from machines import ENVIRONMENT, PROGRAM, Machine, started
from ptys import socat_line

OUT, IN = "/var/spool/diode/out", "/var/spool/diode/in"
SENDER, RECEIVER = "diode-sender@sender", "diode-receiver@receiver"
FIRST = re.compile(r"serial:/dev/diode-[rt]x\?baud=\d+")
"""The carrier of a configuration as it is installed."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with socat_line(tmp_path_factory.mktemp("line")) as ends:
        yield ends


@pytest.fixture(scope="module")
def machine(line: tuple[str, str]) -> Iterator[Machine]:
    """With both roles installed; the ports are the ends of a line, in their direction each."""
    with started() as machine:
        ends = [os.path.realpath(end) for end in line]
        for role, port, access in zip(("sender", "receiver"), ends, "wr", strict=True):
            install = [
                "env",
                *ENVIRONMENT.split(),
                *PROGRAM.split(),
                "service",
                "install",
                "--role",
                role,
            ]
            machine.run(*install)
            path = f"/etc/diode/{role}.toml"
            text = machine.run("cat", path).stdout
            text, changed = FIRST.subn(f"serial:{port}?baud=1000000", text)
            assert changed == 1
            machine.write(path, text)
            machine.write(
                f"/etc/systemd/system/diode-{role}@.service.d/test.conf",
                f"[Service]\nExecStart=\nExecStart={PROGRAM} run /etc/diode/%i.toml\n"
                f"Environment={ENVIRONMENT}\n"
                f"DeviceAllow=\nDeviceAllow={port} {access}\nWatchdogSec=3\n"
                f"StandardError=append:/run/{role}.log\n",
            )
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "diode-sender.conf", "diode-receiver.conf")
        for role, port, mode in zip(("sender", "receiver"), ends, (0o200, 0o400), strict=True):
            user = int(machine.run("id", "-u", f"diode-{role}").stdout)
            os.chown(port, user, 0)
            os.chmod(port, mode)
        machine.run("systemctl", "daemon-reload")
        yield machine


def start(machine: Machine, unit: str) -> None:
    """Start a unit, and wait until it said that it is ready."""
    done = machine.run("systemctl", "start", unit, check=False)
    log = machine.run("cat", f"/run/{unit.split('@')[1]}.log", check=False).stdout
    status = machine.run("systemctl", "status", unit, check=False).stdout
    assert done.returncode == 0, f"{log}{done.stderr}{status}"


def test_a_file_crosses(machine: Machine) -> None:
    machine.write(f"{OUT}/hello", "hello\n" * 100)
    start(machine, RECEIVER)  # returns when it said that it is ready
    assert machine.shows(RECEIVER)["SubState"] == "running"
    start(machine, SENDER)
    there = ("test", "-s", f"{IN}/hello")
    wait_until(lambda: machine.run(*there, check=False).returncode == 0)
    said = machine.run("stat", "-c", "%U %G %a", f"{IN}/hello").stdout.split()
    assert said == ["diode-receiver", "diode", "440"]
    wait_until(lambda: "1 delivered" in machine.shows(RECEIVER)["StatusText"])
    wait_until(lambda: machine.shows(SENDER)["StatusText"] == "0 objects to send")


@pytest.mark.parametrize("unit", [SENDER, RECEIVER])
def test_what_a_process_of_it_may_do(machine: Machine, unit: str) -> None:
    start(machine, unit)
    main = machine.shows(unit)["MainPID"]
    status = dict(
        text.split(":\t")
        for text in machine.run("cat", f"/proc/{main}/status").stdout.splitlines()
        if ":\t" in text
    )
    assert status["CapBnd"] == status["CapEff"] == "0000000000000000"
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert "0" not in status["Uid"].split()
    interfaces = machine.run("nsenter", "-t", main, "-n", "cat", "/proc/net/dev").stdout
    assert [text.split(":")[0].strip() for text in interfaces.splitlines()[2:]] == ["lo"]


def test_those_that_hang_are_started_again(machine: Machine) -> None:
    units = (SENDER, RECEIVER)
    for unit in units:
        start(machine, unit)
    before = {unit: machine.shows(unit) for unit in units}
    for shown in before.values():
        machine.run("kill", f"-{signal.SIGSTOP.value}", shown["MainPID"])
    for unit, shown in before.items():
        gone = (shown["MainPID"], "0")
        wait_until(lambda u=unit, g=gone: machine.shows(u)["MainPID"] not in g, 30)
        wait_until(lambda u=unit: machine.shows(u)["SubState"] == "running", 30)
        assert int(machine.shows(unit)["NRestarts"]) > int(shown["NRestarts"])


@pytest.mark.parametrize("unit", [SENDER, RECEIVER])
def test_a_stop_is_no_failure(machine: Machine, unit: str) -> None:
    start(machine, unit)
    machine.run("systemctl", "stop", unit)
    shown = machine.shows(unit)
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")


def test_nothing_is_left_on_this_machine(machine: Machine) -> None:
    assert not Path("/etc/systemd/system/diode-sender@.service").exists()
    assert stat.S_ISDIR(os.stat("/etc").st_mode)
