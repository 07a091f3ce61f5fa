"""What systemd and udev make of the files that come with the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import diode
from diode import carrier
from diode.carrier.absence import PATIENCE
from diode.service import install
from diode.service.install import ROLES, Service

UNITS = Path(diode.__file__).parent / "service/units"
BEST = 1.0
"""Highest exposure that is accepted; systemd calls everything below 2 safe."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both roles, a third instance over udp, installed below a folder."""
    for role in ROLES:
        here = Service(role, role, shutil.which("true") or "/bin/true")
        far = Service(role, f"far-{role}", here.program, address="10.9.0.1")
        for service in (here, far):
            install.carry_out(install.installing(service, str(tmp_path), force=False))
    return tmp_path


def tool(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt install systemd udev)")
    return subprocess.run(
        [name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("role", ROLES)
def test_exposure(role: str) -> None:
    unit = UNITS / f"diode-{role}@.service"
    done = tool("systemd-analyze", "security", "--offline=true", unit)
    if "offline" in done.stderr and done.returncode:
        pytest.skip(f"this systemd-analyze is too old: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(exposure[1]) <= BEST, done.stdout


@pytest.mark.parametrize(
    "name", ["sender@sender", "receiver@receiver", "sender@far-sender", "receiver@far-receiver"]
)
def test_units_are_valid(root: Path, name: str) -> None:
    units = root / "etc/systemd/system"
    done = tool(
        *(
            "systemd-analyze",
            "verify",
            "--man=no",
            "--recursive-errors=no",
            f"diode-{name}.service",
        ),
        SYSTEMD_UNIT_PATH=f"{units}:",
    )
    assert done.returncode == 0, done.stderr
    assert "diode" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("role", "access", "name"), [("receiver", "r", "rx"), ("sender", "w", "tx")]
)
def test_device_is_open_in_one_direction(role: str, access: str, name: str) -> None:
    """By the unit, by the mode that udev gives it, and under the name that the rule makes."""
    lines = (UNITS / f"diode-{role}@.service").read_text().splitlines()
    allowed = [line for line in lines if line.startswith("DeviceAllow=")]
    assert allowed == [f"DeviceAllow=/dev/diode-{name} {access}"]
    assert "DevicePolicy=closed" in lines
    rule = (UNITS / f"diode-{role}.rules").read_text()
    assert f'SYMLINK+="diode-{name}"' in rule
    assert (
        f'OWNER="diode-{role}", GROUP="root", MODE="{"0400" if access == "r" else "0200"}"' in rule
    )
    assert f"User=diode-{role}" in lines
    (drop_in,) = [
        line
        for line in (UNITS / f"diode-{role}.udp.conf").read_text().splitlines()
        if line.startswith("DeviceAllow=")
    ]
    assert drop_in == "DeviceAllow="


@pytest.mark.parametrize("role", ROLES)
def test_no_network_but_over_udp(role: str) -> None:
    lines = (UNITS / f"diode-{role}@.service").read_text().splitlines()
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "IPAddressDeny=any"} <= {
        *lines
    }
    assert not [line for line in lines if line.startswith("IPAddressAllow=")]


@pytest.mark.parametrize("role", ROLES)
def test_the_watchdog_outlasts_a_port_that_is_waited_for(role: str) -> None:
    lines = (UNITS / f"diode-{role}@.service").read_text().splitlines()
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=2min", "SuccessExitStatus=130"} <= {
        *lines
    }
    assert PATIENCE < 120


def test_users_and_folders(root: Path) -> None:
    """systemd makes the users, and the folders with their owners and modes."""
    done = tool("systemd-sysusers", f"--root={root}")
    assert done.returncode == 0, done.stderr
    users = {line.split(":")[0]: line.split(":") for line in read(root / "etc/passwd")}
    groups = {line.split(":")[0]: int(line.split(":")[2]) for line in read(root / "etc/group")}
    assert {"diode-sender", "diode-receiver"} <= users.keys()
    assert users["diode-sender"][6].endswith("nologin")
    done = tool("systemd-tmpfiles", f"--root={root}", "--create")
    assert done.returncode == 0, done.stderr
    made = {
        name: (root / name).stat()
        for name in (
            "var/spool/diode/out",
            "var/spool/diode/in",
            "etc/diode",
            "etc/diode/far-sender.toml",
        )
    }
    assert {name: oct(found.st_mode & 0o7777) for name, found in made.items()} == {
        "var/spool/diode/out": "0o2770",
        "var/spool/diode/in": "0o750",
        "etc/diode": "0o750",
        "etc/diode/far-sender.toml": "0o640",
    }
    if os.geteuid() == 0:
        assert {found.st_gid for found in made.values()} == {groups["diode"]}
        owners = [found.st_uid for found in made.values()]
        assert owners == [int(users[f"diode-{role}"][2]) for role in ROLES] + [0, 0]


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("role", ROLES)
def test_rules_are_valid(root: Path, role: str) -> None:
    rule = root / f"etc/udev/rules.d/70-diode-{role}.rules"
    done = tool("udevadm", "verify", "--resolve-names=never", rule)
    if done.returncode and "nknown" in done.stderr:
        pytest.skip("this udevadm does not verify rules (systemd 254)")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_first_configuration_is_one(root: Path, role: str) -> None:
    here, far = (
        tomllib.loads((root / f"etc/diode/{name}.toml").read_text())
        for name in (role, f"far-{role}")
    )
    key = "to" if role == "sender" else "from"
    assert list(here) == list(far) == [role]
    # A receiver has its state in the inbox: a unit cannot rename between two of its paths.
    assert here[role].get("state") == ("/var/lib/diode/sender" if role == "sender" else None)
    assert carrier.parse(here[role][key]).path.startswith("/dev/diode-")
    assert carrier.facts(far[role][key]).kind == "datagrams"


@pytest.mark.parametrize("role", ROLES)
def test_diode_run_reads_the_first_configuration(root: Path, role: str) -> None:
    config = pytest.importorskip("diode.service.config", reason="this version has no diode run")
    for name in (role, f"far-{role}"):
        config.read(str(root / f"etc/diode/{name}.toml"))
