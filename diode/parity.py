"""The parity symbols that a block in progress holds beside its source symbols.

They have no row of their own in the block: which of them are needed, and for which rows, is known
only when it is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.frame import I64, U8


@dataclass(slots=True)
class Parity:
    """Parity symbols of one block by number, in the order heard."""

    symbols: dict[int, U8] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    """Numbers that were handed out before."""
    in_vain: int = 0
    """Symbols of the block, source and parity, with which filling it has failed."""

    def __len__(self) -> int:
        return len(self.symbols)

    def first(self, count: int) -> tuple[I64, U8]:
        """Numbers and symbols of the first `count`: (count,), (count, S)."""
        numbers = list(self.symbols)[:count]
        return np.array(numbers, np.int64), np.stack([self.symbols[n] for n in numbers])
