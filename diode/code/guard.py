"""What every code checks before it hands memory to a library (see `diode.code`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.frame import I64, U8


def check_encode(block: U8, numbers: I64, max_k: int, total: int) -> None:
    """Raise ValueError unless block is (k, S) with 1 <= k <= max_k and numbers are < total."""
    if block.ndim != 2 or not 1 <= block.shape[0] <= max_k or block.shape[1] < 1:
        raise ValueError(f"block of shape {block.shape}, k goes from 1 to {max_k}")
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= total):
        raise ValueError(f"symbol numbers go from 0 to {total - 1}")


def check_fill(block: U8, missing: I64, numbers: I64, symbols: U8, max_k: int, total: int) -> None:
    """Raise ValueError unless this is a legal `Code.fill` call."""
    check_encode(block, numbers, max_k, total)
    k = block.shape[0]
    if block.dtype != np.uint8 or not block.flags.c_contiguous or symbols.dtype != np.uint8:
        raise ValueError("a block is filled in place: uint8, and C-contiguous")
    if len(missing) != len(numbers) or symbols.shape != (len(numbers), block.shape[1]):
        raise ValueError(f"{len(missing)} missing, {len(numbers)} numbers, {symbols.shape} symbols")
    if len(np.unique(numbers)) != len(numbers) or len(np.unique(missing)) != len(missing):
        raise ValueError("numbers repeat")
    if len(missing) and (missing.min() < 0 or missing.max() >= k):
        raise ValueError("missing rows lie outside the block")
    if len(numbers) and numbers.min() < k:
        raise ValueError(f"parity numbers start at {k}")
