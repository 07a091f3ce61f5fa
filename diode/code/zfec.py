"""Reed-Solomon over GF(256) as Tahoe-LAFS's zfec defines it (wire 4.2).

One code on the wire, several engines that give the same bytes:

- `LibraryEngine`: the zfec package, always there. Its cost grows with the number of parity symbols.
- `isal.IsalEngine`: Intel's ISA-L where that shared library is installed, ten and more times
  faster; it multiplies by the same matrix.

The engine is chosen once, at first use; DIODE_ENGINE=zfec|isal in the environment forces one.
zfec is always asked for a (k, 256) code: its matrix depends on k alone, so every pass may
ask for numbers no earlier pass has sent.

What zfec does when misused, and why the guard stands before each call: duplicate share numbers
make it loop for ever; numbers >= m index past its matrix; it sorts the caller's sequences in
place, even a tuple, so that a second call gives wrong data. It gets fresh lists each time.
"""

from __future__ import annotations

import bisect
import functools
import os
from typing import TYPE_CHECKING, Protocol

import numpy as np
import zfec

from diode.code.guard import check_fill, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import I64, U8

NUMBERS = 256


class Engine(Protocol):
    """Something that multiplies by the code's matrix. Arguments are already validated."""

    name: str

    def encode(self, block: U8, numbers: list[int]) -> U8:
        """Rows `numbers` of the matrix times the block. block: (k, S), C-contiguous."""

    def fill(self, block: U8, missing: list[int], numbers: list[int], symbols: U8) -> None:
        """Recover rows `missing` of block in place from as many parity symbols."""


class LibraryEngine:
    """The zfec package."""

    name = "zfec"

    def encode(self, block: U8, numbers: list[int]) -> U8:
        shares = _encoder(len(block)).encode(list(block), list(numbers))
        return np.frombuffer(b"".join(shares), np.uint8).reshape(len(numbers), block.shape[1])

    def fill(self, block: U8, missing: list[int], numbers: list[int], symbols: U8) -> None:
        shares = list(block)
        held = list(range(len(block)))
        for row, number, symbol in zip(missing, numbers, symbols, strict=True):
            shares[row], held[row] = symbol, number
        source = _decoder(len(block)).decode(shares, held)
        for row in missing:
            block[row] = np.frombuffer(source[row], np.uint8)


@functools.lru_cache(maxsize=64)
def _encoder(k: int) -> zfec.Encoder:
    return zfec.Encoder(k, NUMBERS)


@functools.lru_cache(maxsize=64)
def _decoder(k: int) -> zfec.Decoder:
    return zfec.Decoder(k, NUMBERS)


@functools.cache
def engine() -> Engine:
    """The fastest engine on this machine."""
    wanted = os.environ.get("DIODE_ENGINE", "")
    if wanted != "zfec":
        from diode.code import isal  # noqa: PLC0415  looks for a shared library when imported

        found = isal.find()
        if found is not None:
            return found
    return LibraryEngine()


class Zfec:
    """Systematic Reed-Solomon over GF(256), up to 256 symbols a block."""

    id = 1
    name = "zfec"
    step = 1
    spare = 0
    package = ""
    lacks = ""

    def meant_for(self, most: int) -> Zfec:  # noqa: ARG002  the same for all
        return self

    def widest(self, symbol_size: int) -> int:  # noqa: ARG002  the same for every size
        return 255

    def fitting(self, most: int, sent: Callable[[int], int], passes: int) -> int:  # noqa: ARG002
        """The widest of which a pass sends no number twice."""
        return max(1, bisect.bisect_right(range(1, most + 1), NUMBERS, key=sent))

    def numbers(self, k: int) -> int:  # noqa: ARG002  256 for every k; other codes differ
        return NUMBERS

    def walk(self, k: int) -> int:
        return self.numbers(k)

    def encode(self, block: U8, numbers: I64) -> U8:
        return encode(self, block, numbers, lambda block, wanted: engine().encode(block, wanted))

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        check_fill(self, block, missing, numbers, symbols)
        if len(missing):
            engine().fill(block, missing.tolist(), numbers.tolist(), np.ascontiguousarray(symbols))
        return True
