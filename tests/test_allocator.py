from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy as np
from diode import allocator
if {restrained}:
    allocator.restrain()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

first = np.ones(16 << 20, np.uint8)
del first  # from now on glibc would have such arrays in its heap
before = resident()
large, small = [], []
for _ in range(6):
    large.append(np.ones(12 << 20, np.uint8))
    small.append(b"x" * 100_000)  # which keep the heap from shrinking
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells what is resident")
def test_blocks_that_were_given_back_are_not_kept() -> None:
    kept = [
        int(
            subprocess.run(
                [sys.executable, "-c", SCRIPT.format(restrained=restrained)],
                capture_output=True,
                check=True,
            ).stdout
        )
        for restrained in (False, True)
    ]
    if kept[0] < 20 << 20:
        pytest.skip("this C library keeps nothing by itself")
    assert kept[1] < 5 << 20


def test_a_c_library_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from diode import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    allocator.restrain()
