"""Geometry: how an object is cut into blocks and symbols (wire 4.1).

    object   size bytes
    blocks   of k x symbol_size bytes, `block_data` of them the object's, then the check, then zeros
    symbols  k of the source and as many of parity as the code has; n of them go out in each pass

It is chosen by the sender (plan.py) and told in the manifest; everything else about the cut follows
from it at both ends. A receiver asks for its `problem` before it believes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode import frame
from diode.block import CHECKS, PLAIN
from diode.code import by_id

if TYPE_CHECKING:
    from diode.code import Code

MAX_BLOCKS = 1 << 32


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an object is cut (wire 4.1). n: symbols per block and pass."""

    size: int
    code: int
    k: int
    n: int
    symbol_size: int
    cipher: int = PLAIN
    passes: int = 0
    """Passes that are planned; 0: until stopped."""

    @property
    def coding(self) -> Code:
        """Its code, as this sender uses it. None of `problem` must be true."""
        code = by_id(self.code)
        assert code is not None
        return code.meant_for(self.n * self.passes)

    @property
    def check(self) -> int:
        """Bytes of check behind a block's data."""
        return CHECKS[self.cipher]

    @property
    def block_data(self) -> int:
        """Object bytes in a full block."""
        return self.k * self.symbol_size - self.check

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_data)

    def length(self, block: int) -> int:
        """Object bytes in that block."""
        return min(self.block_data, self.size - block * self.block_data)

    def source_symbols(self, block: int) -> int:
        """Source symbols of that block that are not zero by definition."""
        return -(-(self.length(block) + self.check) // self.symbol_size)

    def frames(self, block: int) -> int:
        """Data frames of that block in one pass: a shortened block loses no parity."""
        return self.n - (self.k - self.source_symbols(block))

    @property
    def data_frames(self) -> int:
        """Data frames of the object in one pass."""
        blocks = self.blocks
        return 0 if not blocks else (blocks - 1) * self.n + self.frames(blocks - 1)

    def problem(self) -> str:
        """What makes this geometry impossible, or an empty string (wire 3.5, 4.1)."""
        code = by_id(self.code)
        if code is None:
            return f"code {self.code} is not known"
        if self.cipher not in CHECKS:
            return f"cipher {self.cipher} is not known"
        largest = frame.MAX_FRAME - frame.HEADER - frame.CHECK
        if not 1 <= self.symbol_size <= largest:
            return f"symbol size {self.symbol_size}, possible are 1 … {largest}"
        if self.symbol_size % code.step:
            return f"symbol size {self.symbol_size}, {code.name} has multiples of {code.step}"
        widest = code.widest(self.symbol_size)
        if not 1 <= self.k <= widest:
            return f"k = {self.k}, {code.name} has 1 … {widest}"
        if self.block_data < 1:
            return f"blocks of {self.k} x {self.symbol_size} bytes hold no data"
        if not 0 <= self.size < 1 << 63:
            return f"size {self.size}"
        if self.blocks > MAX_BLOCKS:
            return f"{self.blocks} blocks, block numbers end at {MAX_BLOCKS}"
        return ""
