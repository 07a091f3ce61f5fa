"""Leopard-RS: Reed-Solomon over GF(2^16) by fast transforms, for wide blocks (wire 4.2).

Any k of a block's symbols give it back, as with zfec, but encoding and decoding cost O(log k) a
byte instead of O(n - k): blocks of thousands of symbols, which need much less redundancy (plan.py).
A call costs a quarter of a millisecond whatever it does, so narrow blocks are for zfec.

The library is reed-solomon-leopard (PyPI), a binding of the Rust crate reed-solomon-simd, in turn
after catid/leopard. Its code depends on how many recovery symbols it is asked for,
but only by steps: where it is given more than K/2 source symbols, K a power of two, all counts of
recovery symbols above K/2 give the same ones. So it is always asked for more than K/2, never for
more than K, and symbol k + r is recovery symbol r whatever a sender means to send. A code made for
few recovery symbols would be up to twice as fast to encode, and would have no fresh symbols for
a second pass.

MB/s of one core (x86-64, AVX-512), symbols of 1,408 bytes, encoding the parity that 10 % loss needs
and filling in 1 and 10 % lost (benches/codes.py, which sets zfec beside it: with ISA-L and k = 200
1,105, 2,248 and 364; what zfec cannot do is do with so little parity):

    k          1,000    4,096    8,192   16,384   32,768
    encode     1,321    1,067      937      717      404
    fill  1 %    419      368      341      218      188
    fill 10 %    413      361      326      208      179

Filling in takes two times K symbols of memory beside the block and what is handed over.

Misused, the library raises ValueError or OverflowError, or takes what it is given: symbols of
wrong content, and too many. It holds the interpreter lock during a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diode.code.guard import check_fill, encode

if TYPE_CHECKING:
    from diode.frame import I64, U8

try:
    import reed_solomon_leopard as _library
except ImportError:
    _library = None

_FEWEST = 64
"""Parity symbols of any block, so that small ones can be made certain too."""


class Leopard:
    """Systematic Reed-Solomon over GF(2^16), at least as many parity symbols as source symbols."""

    id = 3
    name = "leopard"
    step = 64
    spare = 0
    package = "reed-solomon-leopard"
    lacks = "" if _library else package

    def widest(self, symbol_size: int) -> int:
        return 0 if symbol_size % self.step else 32_768

    def numbers(self, k: int) -> int:
        return k + _power(k)

    def walk(self, k: int) -> int:
        return self.numbers(k)

    def encode(self, block: U8, numbers: I64) -> U8:
        return encode(self, block, numbers, _parity)

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        check_fill(self, block, missing, numbers, symbols)
        if len(missing):
            k, size = block.shape
            there = dict.fromkeys(range(k, _given(k)), bytes(size))
            there |= {
                row: block[row].tobytes() for row in np.delete(np.arange(k), missing).tolist()
            }
            recovery = {
                n - k: row.tobytes() for n, row in zip(numbers.tolist(), symbols, strict=True)
            }
            found = _library.decode(_given(k), _asked(k, numbers - k), there, recovery)
            block[missing] = [np.frombuffer(found[row], np.uint8) for row in missing.tolist()]
        return True


def _power(k: int) -> int:
    """K, how many parity symbols there are: the smallest power of two not below k and _FEWEST."""
    return 1 << (max(k, _FEWEST) - 1).bit_length()


def _given(k: int) -> int:
    """How many source symbols the library is given; those of a block under 33 and zeros."""
    return max(k, _power(k) // 2 + 1)


def _asked(k: int, recovery: I64) -> int:
    """How many recovery symbols the library is to think of, so that these are among them."""
    return max(_power(k) // 2, int(recovery.max())) + 1


def _parity(block: U8, numbers: list[int]) -> U8:
    k, size = block.shape
    recovery = np.array(numbers) - k
    rows = [row.tobytes() for row in block]
    rows += [bytes(size)] * (_given(k) - k)
    made = _library.encode(rows, _asked(k, recovery))
    return np.frombuffer(b"".join([made[r] for r in recovery.tolist()]), np.uint8).reshape(-1, size)
