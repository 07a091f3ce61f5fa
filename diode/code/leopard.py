"""Leopard-RS: Reed-Solomon over GF(2^16) by fast transforms, for wide blocks (wire 4.2).

Any k of a block's symbols give it back, as with zfec, but encoding and decoding cost O(log k) a
byte instead of O(n - k): blocks of thousands of symbols, which need much less redundancy (plan.py).
A call costs a quarter of a millisecond whatever it does, so narrow blocks are for zfec.

Its matrix depends on R, how many parity symbols there are, a power of two. A code of few takes 0.5
to 0.8 of the time to encode, and one of k or more has fresh symbols for every pass. So R follows
from how many symbols the sender will send in all its passes (`meant_for`), which the manifest says.

The library is reed-solomon-leopard (PyPI), a binding of the Rust crate reed-solomon-simd, in turn
after catid/leopard. It takes R from how many recovery symbols it is asked for: the next power of
two, as long as it is given more than R/2 source symbols. So it is always asked for more than R/2
and never for more than R, and given zeros beyond a small block.

MB/s of one core (x86-64, AVX-512), symbols of 1,408 bytes, encoding the parity that 10 % loss needs
and filling in 1 and 10 % lost (benches/codes.py, which sets zfec beside it: with ISA-L and k = 200
907, 1,021 and 253; what zfec cannot do is do with so little parity):

    k          1,000    4,096    8,192   16,384   32,768
    encode     1,539    1,314      975      711      523
    fill  1 %    434      363      334      178      171
    fill 10 %    410      334      291      165      164

Filling in takes two times K symbols of memory beside the block and what is handed over.

Misused, the library raises ValueError or OverflowError, or takes what it is given: symbols of
wrong content, and too many. It holds the interpreter lock during a call.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from diode.code.guard import check_fill, encode

if TYPE_CHECKING:
    from diode.frame import I64, U8

try:
    import reed_solomon_leopard as _library
except ImportError:
    _library = None

FEWEST = 64
"""Parity symbols of any block, so that small ones can be made certain too."""


class Leopard:
    """Systematic Reed-Solomon over GF(2^16)."""

    id = 3
    name = "leopard"
    step = 64
    spare = 0
    package = "reed-solomon-leopard"
    lacks = "" if _library else package

    def __init__(self, most: int = 0) -> None:
        """most: symbols of a block that will be sent in all; 0: no end to them."""
        self._most = most

    def meant_for(self, most: int) -> Leopard:
        return Leopard(most)

    def widest(self, symbol_size: int) -> int:
        return 0 if symbol_size % self.step else 32_768

    def numbers(self, k: int) -> int:
        return k + self._parity(k)

    def walk(self, k: int) -> int:
        return self.numbers(k)

    def encode(self, block: U8, numbers: I64) -> U8:
        return encode(self, block, numbers, self._recovery)

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        check_fill(self, block, missing, numbers, symbols)
        if len(missing):
            k, size = block.shape
            parity = self._parity(k)
            there = dict(enumerate(_rows(block)))
            there |= dict.fromkeys(range(k, _given(k, parity)), bytes(size))
            for row in missing.tolist():
                del there[row]
            recovery = {
                n - k: row.tobytes() for n, row in zip(numbers.tolist(), symbols, strict=True)
            }
            asked = _asked(parity, numbers - k)
            found = _library.decode(_given(k, parity), asked, there, recovery)
            block[missing] = [np.frombuffer(found[row], np.uint8) for row in missing.tolist()]
        return True

    def _parity(self, k: int) -> int:
        """R, how many parity symbols a block of k has."""
        all_ = _power(max(k, FEWEST))
        return min(all_, _power(max(self._most - k, FEWEST))) if self._most else all_

    def _recovery(self, block: U8, numbers: list[int]) -> U8:
        k, size = block.shape
        parity, recovery = self._parity(k), np.array(numbers) - k
        rows = [*_rows(block), *[bytes(size)] * (_given(k, parity) - k)]
        made = _library.encode(rows, _asked(parity, recovery))
        return np.frombuffer(b"".join([made[r] for r in recovery.tolist()]), np.uint8).reshape(
            -1, size
        )


def _rows(block: U8) -> tuple[bytes, ...]:
    """The rows of a contiguous block, copied: nothing else is as quick for so many."""
    k, size = block.shape
    return struct.unpack(f"{size}s" * k, block.data)


def _power(count: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (count - 1).bit_length()


def _given(k: int, parity: int) -> int:
    """How many source symbols the library is given; those of a small block and zeros."""
    return max(k, parity // 2 + 1)


def _asked(parity: int, recovery: I64) -> int:
    """How many recovery symbols the library is to think of, so that these are among them."""
    return max(parity // 2, int(recovery.max())) + 1
