"""What the benches share: the machine, processes measured, tables."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Cost:
    """What a process took, in seconds; `user` and `system` are CPU time."""

    wall: float
    user: float
    system: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


def machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, {platform.system()} {platform.release()}"
    )


def heading(title: str) -> None:
    print(title)
    print(f"  {machine()}")
    print(f"  {' '.join([os.path.basename(sys.executable), *sys.argv])}")


def measured(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command that has to succeed; its wall and CPU time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)


def median(values: list[float]) -> float:
    return statistics.median(values)


def diode(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "diode", *map(str, arguments)]
