"""Where symbols of unfinished blocks are kept: the append-only journal (sink/parts.py) or SQLite.

The same symbols in the same batches, one batch a second of line time, synced after each: with the
journal of a part, and in a table with a row a symbol, SQLite in WAL mode, which syncs at every
commit (FULL) or at checkpoints of its own (NORMAL, which may lose the last seconds to a power cut).
Time is not waited for. Bytes are those that the file system wrote to its disk, from
/proc/self/io. Afterwards the writer is killed with SIGKILL, and another process opens what is
there and reads every symbol back: recovery.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from side_by_side import heading, median

from diode.code import by_name
from diode.geometry import Geometry
from diode.sink.parts import Part

RUNS = int(os.environ.get("BENCH_RUNS", "3"))
K, N = 204, 255
CASES = {
    "11,520 B/s": (210, 55, 300),  # bytes of a symbol, symbols a batch, batches
    "100 MB/s": (1024, 97_656, 5),
}
Keep = Callable[[int, np.ndarray, np.ndarray], None]


def geometry(symbol: int, batch: int, batches: int) -> Geometry:
    blocks = -(-batch * batches // (3 * N)) * 3
    return Geometry(blocks * (K * symbol - 8), by_name("zfec").id, K, N, symbol)


class Journal:
    """The journal of a part."""

    def __init__(self, folder: str, cut: Geometry) -> None:
        self._parent = os.open(folder, os.O_RDONLY)
        self._part = Part(self._parent, "part", cut, b"announcement")

    def park(self, block: int, numbers: np.ndarray, symbols: np.ndarray) -> None:
        self._part.park(block, numbers, symbols)

    def sync(self) -> None:
        self._part.checkpoint()
        self._part.sync()

    def held(self) -> int:
        return sum(len(self._part.parked(block)[0]) for block in self._part.parked_blocks)


class Table:
    """A row a symbol."""

    synchronous = "FULL"

    def __init__(self, folder: str, cut: Geometry) -> None:
        del cut
        self._db = sqlite3.connect(os.path.join(folder, "symbols.db"), isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={self.synchronous}")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS symbols (block INT, number INT, symbol BLOB, "
            "PRIMARY KEY (block, number)) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def park(self, block: int, numbers: np.ndarray, symbols: np.ndarray) -> None:
        rows = zip(numbers.tolist(), map(bytes, symbols), strict=True)
        self._db.executemany(
            "INSERT OR IGNORE INTO symbols VALUES (?, ?, ?)", ((block, n, s) for n, s in rows)
        )

    def sync(self) -> None:
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")

    def held(self) -> int:
        return sum(1 for _ in self._db.execute("SELECT block, number, symbol FROM symbols"))


class Lax(Table):
    synchronous = "NORMAL"


STORES = {"journal": Journal, "sqlite FULL": Table, "sqlite NORMAL": Lax}


def write(store: Journal | Table, symbol: int, batch: int, batches: int) -> None:
    """Park the symbols as they would be heard, three blocks interleaved."""
    rows = np.random.default_rng(1).integers(0, 256, (batch, symbol), np.uint8)
    at = np.arange(batch)
    for second in range(batches):
        place = at + second * batch
        block, number = place // (3 * N) * 3 + place % 3, place % (3 * N) // 3
        for one in np.unique(block):
            mine = block == one
            store.park(int(one), number[mine], rows[mine])
        store.sync()


def disk_bytes() -> int:
    with open("/proc/self/io", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))


def child(what: str, name: str, folder: str, case: str) -> None:
    """What a measured process does; its figures on standard output."""
    cut = geometry(*CASES[case])
    if what == "recover":
        start = time.perf_counter()
        held = STORES[name](folder, cut).held()
        print(time.perf_counter() - start, held)
        return
    store = STORES[name](folder, cut)
    before, bytes_ = resource.getrusage(resource.RUSAGE_SELF), disk_bytes()
    start = time.perf_counter()
    write(store, *CASES[case])
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(wall, cpu, disk_bytes() - bytes_, flush=True)
    if what == "write":
        signal.pause()  # until it is killed


@dataclass
class Figures:
    wall: float
    cpu: float
    written: float
    recovery: float
    held: int


def run(name: str, case: str) -> Figures:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        command = [sys.executable, __file__, "write", name, folder, case]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            wall, cpu, written = map(float, process.stdout.readline().split())
            process.kill()
        command[2] = "recover"
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return Figures(wall, cpu, written, float(said[0]), int(said[1]))


def syncs(name: str, case: str) -> str:
    """Calls of fsync and fdatasync in a run of its own, which strace makes slow."""
    if shutil.which("strace") is None:
        return "-"
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        command = [sys.executable, __file__, "count", name, folder, case]
        traced = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), *command]
        subprocess.run(traced, check=True, stdout=subprocess.DEVNULL)
        return str(sum("sync(" in line for line in trace.read_text().splitlines()))


def main() -> None:
    heading("Symbols of unfinished blocks: journal and SQLite side by side")
    for case, (symbol, batch, batches) in CASES.items():
        content = symbol * batch * batches
        print(f"\n  {case}: {batches} batches of {batch} symbols of {symbol} bytes")
        print("                    CPU s   wall s   on disk   syncs   recovery s   symbols")
        figures = {}
        for name in STORES:
            runs = [run(name, case) for _ in range(RUNS)]
            figures[name] = Figures(
                *(median([getattr(r, f) for r in runs]) for f in ("wall", "cpu", "written")),
                median([r.recovery for r in runs]),
                runs[0].held,
            )
            one = figures[name]
            print(
                f"    {name:14} {one.cpu:7.2f}  {one.wall:7.2f}  {one.written / content:6.2f}x "
                f"{syncs(name, case):>7}  {one.recovery:10.3f}  {one.held:9,}"
            )
        journal = figures.pop("journal")
        for name, other in figures.items():
            print(
                f"    {name} to journal: CPU {other.cpu / journal.cpu:.1f}x, bytes "
                f"{other.written / journal.written:.1f}x, recovery "
                f"{other.recovery / journal.recovery:.1f}x"
            )


if __name__ == "__main__":
    if len(sys.argv) == 5:
        child(*sys.argv[1:])
    else:
        main()
