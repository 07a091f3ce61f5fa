"""Erasure codes: CPU time to encode parity and to fill in what was lost, side by side in one run.

Symbols of 1,408 bytes. MB/s are megabytes of source per second of CPU time, the best of three; the
last column is the time for both against that of zfec at k = 200 and the same loss. `encode`
makes as much parity as that loss needs for a failure of 1e-6 (plan.py), `fill` replaces
that share of the source symbols.

    benches/codes.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from side_by_side import heading

from diode.binomial import copies_needed
from diode.code import CODES
from diode.code.zfec import engine
from diode.plan import AUTO_FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable

SYMBOL = 1408
WIDTHS = (896, 3584, 4096, 7168, 8192, 16_384)
LOSSES = (0.01, 0.05, 0.10)


def cpu(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU time, the least of so many tries."""
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def speeds(name: str, k: int, loss: float, times: int) -> tuple[float, float]:
    """MB/s of encoding and of filling in."""
    random = np.random.default_rng(k)
    block = random.integers(0, 256, (k, SYMBOL), np.uint8)
    parity = np.arange(k, copies_needed(k, 2 * k, loss, AUTO_FAILURE))
    code = CODES[name].meant_for(k + len(parity))
    count = max(1, round(k * loss))
    used = parity[: count + code.spare]
    symbols = code.encode(block, used)
    rows = block.copy()

    def fill() -> None:
        lost = np.sort(random.permutation(k)[:count])  # others each time: engines remember patterns
        rows[lost] = 0
        if not code.fill(rows, lost, used, symbols) or (rows != block).any():
            raise SystemExit(f"{name}: k = {k} was filled in wrong")

    repeats = max(times, 2000 // k)  # small blocks are short: many, for the clock's sake
    encoding = cpu(lambda: [code.encode(block, parity) for _ in range(repeats)], times) / repeats
    filling = cpu(lambda: [fill() for _ in range(repeats)], times) / repeats
    return block.size / encoding / 1e6, block.size / filling / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two widths, one try")
    quick = parser.parse_args().quick
    times = 1 if quick else 3
    heading("Erasure codes, MB/s of source and CPU time")
    print(f"  zfec is computed by: {engine().name}\n")
    print(f"  {'code':8} {'k':>6} {'lost':>5} {'encode':>8} {'fill':>8} {'both, against zfec':>20}")
    base = {}
    for name in ("zfec", "leopard", "raptorq"):
        code = CODES[name]
        if code.lacks:
            print(f"  {name:8} not installed: pip install {code.lacks}")
            continue
        widths = (200,) if name == "zfec" else WIDTHS[: 2 if quick else None]
        for k in widths:
            if k > code.widest(SYMBOL):
                print(f"  {name:8} {k:6} wider than its blocks ({code.widest(SYMBOL)})")
                continue
            for loss in LOSSES:
                encode, fill = speeds(name, k, loss, times)
                both = 1 / encode + 1 / fill
                ratio = base.setdefault(loss, both) / both
                print(f"  {name:8} {k:6} {loss:5.0%} {encode:8.0f} {fill:8.0f} {ratio:19.2f}x")


if __name__ == "__main__":
    main()
