"""Scripts with mounts of their own, which are gone when they end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import Shell


def with_mounts(shell: Shell, script: str) -> str:
    """Run this with mounts of its own; what it said. `diode` is there, and x, sent as cap."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("only root may mount")
    head = f'set -e; diode() {{ {sys.executable} -m diode "$@"; }}; mkdir -p mnt\n'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", head + script],
        cwd=shell.folder,
        env=shell.environment | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"not to be had here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr
