"""What every code checks before it hands memory to a library (see `diode.code`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.code import Code
    from diode.frame import I64, U8


def check_encode(code: Code, block: U8, numbers: I64) -> None:
    """Raise ValueError unless the code has blocks of this shape, (k, S), and these numbers."""
    if block.ndim != 2 or block.shape[1] < 1 or block.dtype != np.uint8:
        raise ValueError(f"a block is uint8 (k, S), not {block.dtype} {block.shape}")
    k, size = block.shape
    if not 1 <= k <= code.widest(size):
        raise ValueError(f"block of shape {block.shape}, {code.name} has 1 … {code.widest(size)}")
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= code.numbers(k)):
        raise ValueError(f"symbol numbers go from 0 to {code.numbers(k) - 1}")


def encode(code: Code, block: U8, numbers: I64, parity: Callable[[U8, list[int]], U8]) -> U8:
    """The symbols with these numbers of a systematic code, (len(numbers), S).

    parity: gives the symbols with numbers of k and above, of a C-contiguous block.
    """
    check_encode(code, block, numbers)
    k, size = block.shape
    source = numbers < k
    if not source.any() and len(numbers):
        return parity(np.ascontiguousarray(block), numbers.tolist())
    out = np.empty((len(numbers), size), np.uint8)
    out[source] = block[numbers[source]]
    if not source.all():
        out[~source] = parity(np.ascontiguousarray(block), numbers[~source].tolist())
    return out


def check_fill(code: Code, block: U8, missing: I64, numbers: I64, symbols: U8) -> None:
    """Raise ValueError unless this is a legal `Code.fill` call."""
    check_encode(code, block, numbers)
    k, size = block.shape
    if not block.flags.c_contiguous or symbols.dtype != np.uint8:
        raise ValueError("a block is filled in place: uint8, and C-contiguous")
    if not 0 <= len(numbers) - len(missing) <= code.spare or symbols.shape != (len(numbers), size):
        raise ValueError(f"{len(missing)} missing, {len(numbers)} numbers, {symbols.shape} symbols")
    if len(np.unique(numbers)) != len(numbers) or len(np.unique(missing)) != len(missing):
        raise ValueError("numbers repeat")
    if len(missing) and (missing.min() < 0 or missing.max() >= k):
        raise ValueError("missing rows lie outside the block")
    if len(numbers) and numbers.min() < k:
        raise ValueError(f"parity numbers start at {k}")
