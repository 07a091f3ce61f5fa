"""Floods of frames, with an honest object among them: python floods.py KIND COUNT > line bytes

KIND is one of FLOODS. COUNT: of what the flood consists of.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

import numpy as np
from pair import BytesSource, content, everything

from diode import frame, line, stamp
from diode.announcements import AnnouncementSymbols
from diode.code import CODES
from diode.frame import Frames, Kind
from diode.limits import Limits
from diode.objects import Announcement, Manifest, Status, Type
from diode.plan import Link, Settings
from diode.transmitter import Transmitter

HONEST = content(200_000)
SENDER = 3
BATCH = 500
"""Frames of the flood that come at a time."""
SHARE = 100
"""Honest frames that come behind them."""
ROOM = 1 << 20
"""Bytes of symbols made at a time."""
Rows = np.ndarray


def manifest(
    number: int, size: int, k: int, symbol: int, code: str = "zfec", sender: int = SENDER
) -> list[Rows]:
    """The frames that announce an object."""
    cut = (CODES[code].id, k, k + 8, symbol)
    told = Manifest(Status.COMPLETE, Type.FILE, b"f%d" % number, size, bytes(32), *cut, 1, None)
    made = AnnouncementSymbols.of(Announcement(told), 1024)
    numbers = made.numbers(0, made.count)
    rows = frame.blank_rows(made.count, made.size)
    frame.fill_full(
        rows,
        Kind.MANIFEST,
        code=made.count,
        sender=sender,
        number=number,
        block=made.tag,
        symbol=numbers,
    )
    frame.payload(rows)[:] = made.symbols(numbers)
    return [rows]


def symbols(number: int, numbers: np.ndarray, payload: np.ndarray, code: str = "zfec") -> Rows:
    """Symbols of block 0 of an object of SENDER."""
    rows = frame.blank_rows(len(numbers), payload.shape[1])
    where = {"code": CODES[code].id, "sender": SENDER, "number": number, "block": 0}
    frame.fill_full(rows, Kind.DATA, symbol=numbers, **where)
    frame.payload(rows)[:] = payload
    return rows


def one(number: int, size: int, code: str = "zfec") -> Rows:
    """The first symbol of an object."""
    return symbols(number, np.zeros(1, np.int64), np.zeros((1, size), np.uint8), code)


def objects(count: int) -> Iterator[Rows]:
    for number in range(1, count + 1):
        yield from manifest(number, 1000, 4, 256)


def senders(count: int) -> Iterator[Rows]:
    for sender in range(1000, 1000 + count):
        yield from manifest(1, 1000, 4, 256, sender=sender)


def huge(count: int) -> Iterator[Rows]:
    """Each of as many blocks as there may be."""
    for number in range(1, count + 1):
        yield from manifest(number, (1 << 24) * 4, 1, 12)


def early(count: int) -> Iterator[Rows]:
    """Symbols of objects that nobody has announced."""
    for number in range(1, count + 1):
        yield one(number, 1000)


def begun(count: int) -> Iterator[Rows]:
    for number in range(1, count + 1):
        yield from manifest(number, 1000, 4, 256)
        yield one(number, 256)


def widest(code: str) -> tuple[int, int]:
    """k and symbol size of the largest block that is accepted: with the most symbols."""
    step = CODES[code].step
    k = CODES[code].widest(step)
    symbol = Limits().max_block // k // step * step
    while CODES[code].widest(symbol) < k:
        symbol -= step
    return k, symbol


def wide(count: int) -> Iterator[Rows]:
    """A frame each that begins one of the largest blocks there are."""
    for number, code in zip(range(1, count + 1), itertools.cycle(["leopard", "raptorq"])):
        k, symbol = widest(code)
        yield from manifest(number, k * symbol - 8, k, symbol, code)
        yield one(number, symbol, code)


def decoded(code: str, count: int) -> Iterator[Rows]:
    """The largest blocks there are, whole but for some of their source symbols."""
    k, symbol = widest(code)
    rng = np.random.default_rng(1)
    for number in range(1, count + 1):
        block = rng.integers(0, 256, (k, symbol), np.uint8)
        size = k * symbol - 8
        yield from manifest(number, size, k, symbol, code)
        lost = k // 16
        parity = np.arange(k, k + lost + CODES[code].spare)
        step = max(1, ROOM // symbol)
        for first in range(lost, k, step):
            last = min(first + step, k)
            yield symbols(number, np.arange(first, last), block[first:last], code)
        yield symbols(number, parity, CODES[code].encode(block, parity), code)


FLOODS: dict[str, Callable[[int], Iterator[Rows]]] = {
    "objects": objects,
    "senders": senders,
    "huge": huge,
    "early": early,
    "begun": begun,
    "wide": wide,
    "leopard": lambda count: decoded("leopard", count),
    "raptorq": lambda count: decoded("raptorq", count),
}
CODES_OF = {"wide": ("leopard", "raptorq"), "leopard": ("leopard",), "raptorq": ("raptorq",)}
"""Codes that a flood is made with, besides the one that is always there."""


def honest() -> list[Rows]:
    transmitter = Transmitter(7, Settings(symbol_size=256, passes=2), Link(), highest_number=0)
    transmitter.add(1, BytesSource(HONEST, b"honest"))
    return everything(transmitter)


def flood(kind: str, count: int) -> Iterator[bytes]:
    """Line bytes: some honest frames behind every BATCH of the others, the rest at the end."""
    encode = line.encoder("cobs").encode
    told = iter(honest())
    waiting: list[Rows] = []

    def out(number: int) -> bytes:
        made = []
        if waiting:
            pieces = Frames.of_pieces([row for rows in waiting for row in rows])
            stamp.stamp(pieces, 0)
            made.append(encode(pieces).data)
            waiting.clear()
        if sent := list(itertools.islice(told, number)):
            made.append(encode(Frames.of_pieces(sent)).data)
        return b"".join(map(bytes, made))

    for rows in FLOODS[kind](count):
        waiting.append(rows)
        if sum(map(len, waiting)) >= BATCH:
            yield out(SHARE)
    yield out(1 << 20)


if __name__ == "__main__":
    for piece in flood(sys.argv[1], int(sys.argv[2])):
        sys.stdout.buffer.write(piece)
