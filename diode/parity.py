"""The parity symbols that a block in progress holds beside its source symbols.

They have no row of their own in the block: which of them are needed, and for which rows, is known
only when it is decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.frame import I64, U8


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
