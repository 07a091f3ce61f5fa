"""The systemd units that come with the package: hardened, and of one direction each."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import diode

UNITS = Path(diode.__file__).parent / "service/units"
BEST = 1.0
"""Highest exposure that is accepted; systemd calls everything below 2 safe."""


@pytest.mark.parametrize("name", ["diode-recv", "diode-send"])
def test_exposure(name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(UNITS / f"{name}.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "offline" in done.stderr and done.returncode:
        pytest.skip(f"this systemd-analyze is too old: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(exposure[1]) <= BEST, done.stdout


@pytest.mark.parametrize(("name", "access"), [("diode-recv", "r"), ("diode-send", "w")])
def test_device_is_open_in_one_direction(name: str, access: str) -> None:
    lines = (UNITS / f"{name}.service").read_text().splitlines()
    assert [line for line in lines if line.startswith("DeviceAllow=")] == [
        f"DeviceAllow=/dev/ttyUSB0 {access}"
    ]
    assert "DevicePolicy=closed" in lines
