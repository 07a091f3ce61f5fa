"""The parity symbols that a block in progress holds beside its source symbols.

They have no row of their own in the block: which of them are needed, and for which rows, is known
only when it is decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.code import Code
    from diode.frame import I64, U8
    from diode.geometry import Geometry


class Parity:
    """Parity symbols of one block by number, in the order heard."""

    def __init__(self, size: int) -> None:
        """size: bytes of a symbol."""
        self.kept: set[int] = set()
        """Numbers that were handed out before."""
        self.in_vain = 0
        """Symbols of the block, source and parity, with which filling it has failed."""
        self._count = 0
        self._numbers: I64 = np.empty(0, np.int64)
        self._symbols: U8 = np.empty((0, size), np.uint8)

    def __len__(self) -> int:
        return self._count

    @property
    def numbers(self) -> I64:
        """Their numbers, (n,)."""
        return self._numbers[: self._count]

    def add(self, numbers: I64, symbols: U8, room: int) -> int:
        """Take the new ones of these, (n,) and (n, S), `room` at most; how many they were."""
        first = np.sort(np.unique(numbers, return_index=True)[1])
        fresh = first[~np.isin(numbers[first], self.numbers)][: max(0, room)]
        end = self._count + len(fresh)
        if end > len(self._numbers):
            self._grow(max(end, len(self._numbers) * 3 // 2))
        self._numbers[self._count : end] = numbers[fresh]
        self._symbols[self._count : end] = symbols[fresh]
        self._count = end
        return len(fresh)

    def first(self, count: int) -> tuple[I64, U8]:
        """Numbers and symbols of the first `count`: (count,), (count, S)."""
        end = min(count, self._count)
        return self._numbers[:end], self._symbols[:end]

    def not_kept(self) -> tuple[I64, U8]:
        """Numbers and symbols of those that were not handed out before: (n,), (n, S)."""
        new = ~np.isin(self.numbers, list(self.kept))
        return self.numbers[new], self._symbols[: self._count][new]

    def _grow(self, room: int) -> None:
        numbers, symbols = self.first(self._count)
        self._numbers = np.empty(room, np.int64)
        self._symbols = np.empty((room, symbols.shape[1]), np.uint8)
        self._numbers[: self._count], self._symbols[: self._count] = numbers, symbols


class Repair:
    """How much of the repair that its sender offers an object's blocks have needed.

    A pass sends the symbols of a block by number, and the next one goes on with fresh numbers
    (schedule.symbol_numbers). So when a block is decoded with symbol h as the highest, all up to h
    were sent, and as many of them lost as h is beyond the last of those it needs. What may get lost
    in all is what all passes send beyond those. Nothing is known of blocks of earlier runs, and
    what only comes again under the same number does not show.
    """

    def __init__(self, geometry: Geometry, code: Code) -> None:
        self._geometry = geometry
        self._offered = code.numbers(geometry.k) > geometry.k and bool(geometry.blocks)
        self.symbols = 0
        """Parity symbols that blocks were decoded with."""
        self.passes = 1
        """The pass that brought the last symbol needed."""
        self._worst: float | None = None

    def needed(self, block: int, count: int, numbers: I64) -> None:
        """A block was decoded with so many parity symbols, the last ones of these (n,)."""
        cut = self._geometry
        source, each = cut.source_symbols(block), cut.frames(block)
        position = int(numbers.max()) - (cut.k - source)
        here = position // each + 1
        self.symbols += count
        self.passes = max(self.passes, here)
        room = each * (cut.passes or here) - source
        if room > 0:
            self._worst = max(self._worst or 0.0, (position + 1 - source) / room)

    @property
    def share(self) -> float | None:
        """Of the block that needed most; None where there is no repair to need."""
        cut = self._geometry
        if not self._offered or cut.n * max(1, cut.passes) <= cut.k:
            return None
        return self._worst or 0.0
