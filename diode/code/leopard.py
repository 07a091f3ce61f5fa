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

MB/s of one core (x86-64, AVX2), symbols of 1,408 bytes, encoding the parity that 5 % loss needs and
filling in 5 % lost (benches/codes.py, which sets zfec beside it: with k = 200 29 and 80; what zfec
cannot do is do with so little parity). With k + R beyond a power of two filling in takes as long as
for the next one, so a sender's blocks are as large as fits one (`fitting`):

    k            896    3,584    4,096    7,168    8,192   16,384
    encode     1,682      900      685      735      592      415
    fill         545      390      244      287      229      160

A block is worked on in parts, some columns of all its symbols at a time (`AT_ONCE`), so filling in
takes up to four times that in memory, however large the block is.

Misused, the library raises ValueError or OverflowError, or takes what it is given: symbols of
wrong content, and too many. It holds the interpreter lock during a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diode.code.guard import check_fill, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.frame import I64, U8

try:
    import reed_solomon_leopard as _library
except ImportError:
    _library = None

AT_ONCE = 6 << 20
"""Bytes of a block that the library is given at a time: it slows down where a processor's cache
does not hold what it works on."""
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

    def fitting(self, most: int, sent: Callable[[int], int], passes: int) -> int:
        """Such that k + R is a power of two: filling in takes as long as for the next one above."""
        parity = FEWEST
        while (k := _floor(most + parity) - parity) > max(parity, most // 2):
            if self.meant_for(sent(k) * passes).numbers(k) <= k + parity:
                return k
            parity *= 2
        return most

    def numbers(self, k: int) -> int:
        return k + self._parity(k)

    def walk(self, k: int) -> int:
        return self.numbers(k)

    def encode(self, block: U8, numbers: I64) -> U8:
        return encode(self, block, numbers, self._recovery)

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        check_fill(self, block, missing, numbers, symbols)
        if len(missing):
            k, parity = len(block), self._parity(len(block))
            asked = _asked(parity, numbers - k)
            for part in _parts(*block.shape):
                rows = _rows(block[:, part])
                there = dict(enumerate(rows))
                there |= dict.fromkeys(range(k, _given(k, parity)), bytes(len(rows[0])))
                for row in missing.tolist():
                    del there[row]
                recovery = dict(zip((numbers - k).tolist(), _rows(symbols[:, part]), strict=True))
                found = _library.decode(_given(k, parity), asked, there, recovery)
                block[missing, part] = _block(found[row] for row in missing.tolist())
        return True

    def _parity(self, k: int) -> int:
        """R, how many parity symbols a block of k has."""
        all_ = _power(max(k, FEWEST))
        return min(all_, _power(max(self._most - k, FEWEST))) if self._most else all_

    def _recovery(self, block: U8, numbers: list[int]) -> U8:
        k, parity, recovery = len(block), self._parity(len(block)), np.array(numbers) - len(block)
        made = np.empty((len(numbers), block.shape[1]), np.uint8)
        for part in _parts(*block.shape):
            rows = _rows(block[:, part])
            rows += [bytes(len(rows[0]))] * (_given(k, parity) - k)
            found = _library.encode(rows, _asked(parity, recovery))
            made[:, part] = _block(found[r] for r in recovery.tolist())
        return made


def _parts(k: int, size: int) -> list[slice]:
    """What of each symbol is worked on at a time: 64 bytes of all of them stand for themselves."""
    count = -(-k * size // AT_ONCE)
    width = -(-size // count // Leopard.step) * Leopard.step
    return [slice(first, min(first + width, size)) for first in range(0, size, width)]


def _rows(part: U8) -> list[bytes]:
    """Rows, each contiguous, copied: nothing else is as quick for so many."""
    rows: list[bytes] = part.view(f"V{part.shape[1]}")[:, 0].tolist()
    return rows


def _block(rows: Iterable[bytes]) -> U8:
    """These rows as an array, (rows, bytes)."""
    joined = list(rows)
    return np.frombuffer(b"".join(joined), np.uint8).reshape(len(joined), -1)


def _power(count: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (count - 1).bit_length()


def _floor(count: int) -> int:
    """The largest power of two that is not above."""
    return 1 << (count.bit_length() - 1)


def _given(k: int, parity: int) -> int:
    """How many source symbols the library is given; those of a small block and zeros."""
    return max(k, parity // 2 + 1)


def _asked(parity: int, recovery: I64) -> int:
    """How many recovery symbols the library is to think of, so that these are among them."""
    return max(parity // 2, int(recovery.max())) + 1
