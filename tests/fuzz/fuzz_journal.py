"""Parts on disk: a journal of any bytes opens without an exception and is cut at its first broken
record; what it claims lies inside the object; the symbols it kept are taken by a receiver without
an exception; what is written after that is there at the next opening, and so it is when
the file is cut anywhere.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import harness

with harness.instrumented():
    import numpy as np

    from diode.code import CODES
    from diode.collector import Collector
    from diode.frame import crc32c
    from diode.geometry import Geometry
    from diode.sink.parts import Part

BLOCKS = 5
CUT = Geometry(BLOCKS * (3 * 16 - 8) - 7, 1, 3, 4, 16)
NAME = "00000007-1"


def records(choices: harness.Choices) -> bytes:
    """Records with the right check and contents that the fuzzer chooses."""
    out = b""
    while choices:
        kind = choices.of(b"D", b"S", b"S", b"X", bytes([choices.byte()]))
        block, size = choices.byte() % 7, choices.of(16, 16, 16, 0, 3, choices.word())
        count = choices.of(1, 2, 3, 0, choices.byte(), choices.word())
        length = count * (12 if kind == b"D" else 4 + size)
        if length < 2000:
            head = struct.pack("<cIII", kind, block, size, count)
            content = bytes(b % 9 if i % 4 == 0 else 0 for i, b in enumerate(choices.take(length)))
            out += head + content + struct.pack("<I", crc32c(head + content))
        else:
            out += struct.pack("<cIII", kind, block, size, count)
    return out


class Store:
    """A folder for one part."""

    def __init__(self, folder: str) -> None:
        self.descriptor = os.open(folder, os.O_RDONLY)
        self.path = Path(folder) / NAME

    def put(self, journal: bytes) -> None:
        self.path.mkdir(exist_ok=True)
        for name, content in (("announcement", b"told"), ("journal", journal), ("data", b"")):
            (self.path / name).write_bytes(content)

    def journal(self) -> bytes:
        return (self.path / "journal").read_bytes()

    def open(self) -> Part:
        return Part(self.descriptor, NAME, CUT, b"told")


def state(part: Part):
    kept = {b: [x.tolist() for x in part.parked(b)] for b in sorted(part.parked_blocks)}
    return part.done.tolist(), kept


def check_state(part: Part) -> None:
    assert part.done.shape == (CUT.blocks,)
    assert part.size >= 0
    collector = Collector(CUT, CODES["zfec"])
    collector.mark_done(part.done)
    for block in part.parked_blocks:
        assert 0 <= block < CUT.blocks
        numbers, symbols = part.parked(block)
        assert symbols.shape == (len(numbers), CUT.symbol_size)
        good = collector.valid(np.full(len(numbers), block, np.int64), numbers)
        if good.all() and len(numbers):
            collector.restore(block, numbers, symbols)
            collector.release()


def write_on(part: Part) -> None:
    """What a receiver goes on to do."""
    part.park(1, np.array([0, 200]), np.full((2, CUT.symbol_size), 7, np.uint8))
    part.write(0, 0, np.arange(CUT.length(0), dtype=np.uint8))
    last = CUT.blocks - 1
    part.write(last, last * CUT.block_data, np.arange(CUT.length(last), dtype=np.uint8))
    part.checkpoint()


def run(store: Store, journal: bytes, cut_at: int) -> None:
    store.put(journal)
    part = store.open()
    check_state(part)
    kept = store.journal()
    assert journal.startswith(kept)
    before = state(part)
    part.close()
    part = store.open()
    assert state(part) == before
    write_on(part)
    after = state(part)
    assert after[0][0] and after[0][-1]
    part.close()
    part = store.open()
    assert state(part) == after
    wrong = part.wrong_blocks()
    assert not {0, CUT.blocks - 1} & set(wrong)
    part.digest()
    part.close()
    whole = store.journal()
    store.put(whole[: len(kept) + cut_at % (len(whole) - len(kept) + 1)])
    part = store.open()
    check_state(part)
    part.begin_anew()
    assert not part.done.any() and not part.parked_blocks
    part.remove()


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        store = Store(folder)
        try:
            cut_at = len(data) * 7 + sum(data[:4])
            run(store, data, cut_at)
            run(store, records(harness.Choices(data)), cut_at)
        finally:
            os.close(store.descriptor)


_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

if __name__ == "__main__":
    harness.run(target)
