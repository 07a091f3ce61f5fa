"""Goodput over line rate on a paced pseudo-terminal, and the CPU the sender takes for it.

"Possible" is what code rate and framing allow: file bytes over the bytes that have to be on the
line, as `diode plan` computes them. The reader takes everything as fast as it comes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import tty
from pathlib import Path

import numpy as np
from side_by_side import diode, heading, measured

from diode import line
from diode.carrier.pace import LEAD
from diode.forecast import forecast as predict
from diode.plan import Link, Settings

SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))


def run(baud: int, folder: Path) -> None:
    rate = baud / 10
    settings = Settings(redundancy=0.10, burst=0.5)
    encoder = line.encoder("cobs")
    link = Link(rate, encoder.max_frame, encoder.line_bytes)
    size = int(rate * SECONDS * 0.8)
    forecast = predict(size, settings, link)
    source = folder / "source"
    source.write_bytes(np.random.default_rng(1).bytes(size))
    master, slave = os.openpty()
    tty.setraw(slave)
    heard, first, last = 0, 0.0, 0.0

    def read() -> None:
        nonlocal heard, first, last
        while True:
            try:
                count = len(os.read(master, 65536))
            except OSError:
                return
            last = time.perf_counter()
            first = first or last
            heard += count

    thread = threading.Thread(target=read)
    thread.start()
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    url = f"serial:{os.ttyname(slave)}?baud={baud}"
    idle = measured(diode("--version"), environment)
    cost = measured(diode("send", source, "--to", url, "--redundancy", "10%", "-q"), environment)
    os.close(slave)
    thread.join()
    os.close(master)
    # A pseudo-terminal hands bytes over when they are written; a line still plays the last LEAD.
    took = last - first + LEAD
    goodput = size / took
    possible = size / forecast.total * rate
    busy = heard / rate / took
    share = (cost.cpu - idle.cpu) / took
    print(
        f"  {baud:>10} {goodput / rate:14.1%} {possible / rate:10.1%} {goodput / possible:12.3f}"
        f" {busy:10.1%} {heard / forecast.total:14.3f} {share:11.1%}"
    )


def main() -> None:
    heading("goodput on a paced pseudo-terminal, cobs, 10 % redundancy, one pass")
    print(
        f"  {'baud':>10} {'goodput/line':>14} {'possible':>10} {'of possible':>12}"
        f" {'line busy':>10} {'bytes/planned':>14} {'sender CPU':>11}"
    )
    with tempfile.TemporaryDirectory() as name:
        for baud in (115_200, 2_000_000, 12_000_000):
            run(baud, Path(name))


if __name__ == "__main__":
    sys.exit(main())
