"""Encode and decode speed through `file:`, whole processes, one core each.

Ratios are to what the same machine does in the same run without diode: writing a new file of that
size (which bounds both ends: each writes one) and SHA-256 of it. Times include starting Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from side_by_side import Cost, diode, heading, measured, median

SIZE = int(os.environ.get("BENCH_BYTES", "400_000_000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
PIECE = 208 * 1024
CASES = (
    ("10 % redundancy, no loss", ["--redundancy", "10%"], []),
    ("25 % redundancy, no loss", ["--redundancy", "25%"], []),
    ("25 % redundancy, 10 % loss", ["--redundancy", "25%"], ["--impair", "drop=10%,seed=1"]),
)


def baseline(folder: Path, source: Path) -> tuple[float, float]:
    """Seconds to write a new file of that content piece by piece, and to hash it."""
    content = source.read_bytes()
    start = time.perf_counter()
    with (folder / "new").open("wb", buffering=0) as file:
        for at in range(0, len(content), PIECE):
            file.write(content[at : at + PIECE])
    write = time.perf_counter() - start
    (folder / "new").unlink()
    start = time.perf_counter()
    hashlib.sha256(content).digest()
    return write, time.perf_counter() - start


def one_core(command: list[str]) -> list[str]:
    return ["taskset", "-c", "0", *command] if shutil.which("taskset") else command


def line(what: str, cost: Cost, write: float) -> None:
    megabytes = SIZE / 1e6
    print(
        f"  {what:38} {megabytes / cost.wall:7.0f} {megabytes / cost.cpu:9.0f} "
        f"{megabytes / cost.user:10.0f} {write / cost.wall:12.2f}"
    )


def typical(costs: list[Cost]) -> Cost:
    return Cost(
        median([c.wall for c in costs]),
        median([c.user for c in costs]),
        median([c.system for c in costs]),
    )


def main() -> None:
    heading(f"throughput through file:, {SIZE / 1e6:.0f} MB, median of {RUNS} runs")
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        source = folder / "source"
        rng = np.random.default_rng(1)
        with source.open("wb") as file:
            for _ in range(0, SIZE, 1 << 20):
                file.write(rng.bytes(min(1 << 20, SIZE - file.tell())))
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        writes, hashes = zip(*(baseline(folder, source) for _ in range(RUNS)), strict=True)
        write = median(list(writes))
        print(f"  writing a new file alone: {SIZE / 1e6 / write:.0f} MB/s")
        print(f"  SHA-256 alone:            {SIZE / 1e6 / median(list(hashes)):.0f} MB/s")
        columns = f"{'wall':>7} {'CPU':>9} {'user CPU':>10} {'of writing':>12}"
        print(f"  {'MB of file a second':38} {columns}")
        for engine in ("isal", "zfec"):
            environment["DIODE_ENGINE"] = engine
            for title, redundancy, damage in CASES:
                sends, receives = [], []
                for _ in range(RUNS):
                    to = ["--to", f"file:{folder}/cap", *redundancy, *damage, "-q"]
                    sends.append(measured(one_core(diode("send", source, *to)), environment))
                    inbox = folder / "inbox"
                    command = diode("recv", inbox, "--from", f"file:{folder}/cap", "-q")
                    receives.append(measured(one_core(command), environment))
                    shutil.rmtree(inbox)
                line(f"{engine}: send, {title}", typical(sends), write)
                line(f"{engine}: recv, {title}", typical(receives), write)
            if not has_isal():
                print("  (ISA-L is not installed: the first half used zfec as well)")


def has_isal() -> bool:
    from diode.code import isal

    return isal.find() is not None


if __name__ == "__main__":
    sys.exit(main())
