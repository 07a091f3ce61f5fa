"""Floods: whatever arrives, memory and disk stay bounded, and an honest object comes through.

Each is written into a `diode recv` as an operator runs it: a process that reads, the ring, and the
one that works, both measured all the time by their proportional share of memory (PSS), in which
what they share counts once. A peak between two looks is missed; what the kernel holds for a
pipe or a file is not counted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import Shell, children, proportional
from floods import CODES_OF, FLOODS, HONEST

from diode.code import CODES

MEMORY = 256e6
QUOTA = 64 << 20
FOLDERS = 64 << 20
"""Bytes that the folders and journals of what is unfinished may take besides."""
SHORT = {"early": 20_000, "huge": 800, "begun": 1_500, "wide": 40, "leopard": 4, "raptorq": 4}
LONG = {"early": 1_000_000, "wide": 2_000, "leopard": 20, "raptorq": 100}


def disk(folder: Path) -> int:
    """Bytes that the files below it take."""
    total = 0
    for here, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(here, name)).st_blocks * 512
    return total


def flooded(shell: Shell, kind: str, count: int) -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this kernel does not tell how memory is shared")
    for code in CODES_OF.get(kind, ()):
        if CODES[code].lacks:
            pytest.skip(f"{CODES[code].lacks} is not installed")
    flood = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "floods.py", kind, str(count)],
        stdout=subprocess.PIPE,
    )
    command = ["recv", "inbox", "--from", "-", "-q", "--quota", str(QUOTA)]
    with (shell.folder / "said").open("wb") as said:  # warnings by the thousand would fill a pipe
        receiver = subprocess.Popen(
            [sys.executable, "-m", "diode", *command],
            stdin=flood.stdout,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=shell.folder,
            env=shell.environment,
        )
    flood.stdout.close()
    shell.processes.append(receiver)
    most, split, stored, looks = 0, (0, 0), 0, 0
    while receiver.poll() is None:
        sizes = [proportional(process) for process in (receiver.pid, *children(receiver.pid))]
        if sum(sizes) > most and len(sizes) == 2:
            most, split = sum(sizes), (sizes[0], sizes[1])
        looks += 1
        if looks % 10 == 0:
            stored = max(stored, disk(shell.folder / "inbox"))
        time.sleep(0.02)
    err = (shell.folder / "said").read_text()
    print(
        f"{kind} {count}: {most / 1e6:.0f} MB, {split[0] / 1e6:.0f} that works and "
        f"{split[1] / 1e6:.0f} that reads; {stored / 1e6:.0f} MB on disk; {looks} looks"
    )
    assert flood.wait(60) == 0
    assert receiver.returncode in (0, 3), err[-3000:]
    assert "Traceback" not in err
    assert (shell.folder / "inbox/honest").read_bytes() == HONEST
    assert 10e6 < most < MEMORY
    assert max(stored, disk(shell.folder / "inbox")) < QUOTA + FOLDERS


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(shell: Shell, kind: str) -> None:
    flooded(shell, kind, SHORT.get(kind, 3_000))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLOODS)
def test_long_flood(shell: Shell, kind: str) -> None:
    flooded(shell, kind, LONG.get(kind, 100_000))
