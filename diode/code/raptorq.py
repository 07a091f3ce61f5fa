"""RaptorQ, RFC 6330: symbols without end, for a block of any width (wire 4.2).

A fountain code: 2^24 symbol numbers whatever k is. It is not quite as good as Reed-Solomon: k
symbols decode with probability 0.996, k + h with 1 - 256^-(h+1), so `fill` may say "not yet", and
a receiver keeps `spare` symbols more than k.

The library is raptorq (PyPI), a binding of cberner/raptorq in Rust. It cuts what it is given
into source blocks and sub-blocks as RFC 6330, 4.3 derives them from a decoder's memory of 10 MiB;
a block of this project is exactly one source block of one sub-block, which holds for k'·S
up to that (k' is k rounded up in the RFC's table), and for symbols of a multiple of 8 bytes.

It has no door to a symbol in the middle: for symbol k + r it makes all from 0 on. So a sender
walks through 8·k parity numbers (512 at least) and then begins again, although there are more; a
receiver takes all.

MB/s of one core (x86-64), symbols of 1,408 bytes, encoding the parity that 5 % loss needs and
filling in 5 % lost (benches/codes.py): k = 1,000: 391 and 343; 4,096: 358 and 303. With 8·k
parity symbols encoding falls to 60.

Misused, the library raises PanicException, a BaseException, on short packets, wrong block numbers
and empty data, does not come back from a huge declared length, and takes packets of wrong
content. It holds the interpreter lock during a call.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from diode.code.guard import check_fill, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.frame import I64, U8

try:
    import raptorq as _library
except ImportError:
    _library = None
_HEADER = 4
"""Bytes of the FEC payload id: source block, always 0, in the first, then the symbol number."""
_MAX_BLOCK = 6 << 20
"""Bytes: k'·S stays below the 10 MiB up to which there is one sub-block."""
_WIDEST = 8192
"""Source symbols: to decode 16,384 takes 27 MB, the RFC's 56,403 some 120."""


class RaptorQ:
    """One source block of RFC 6330."""

    id = 2
    name = "raptorq"
    step = 8
    spare = 4
    package = "raptorq"
    lacks = "" if _library else package

    def meant_for(self, most: int) -> RaptorQ:  # noqa: ARG002  the same for all
        return self

    def widest(self, symbol_size: int) -> int:
        return 0 if symbol_size % self.step else min(_WIDEST, _MAX_BLOCK // symbol_size)

    def fitting(self, most: int, sent: Callable[[int], int], passes: int) -> int:  # noqa: ARG002
        """Any width is as good."""
        return most

    def numbers(self, k: int) -> int:  # noqa: ARG002  the same for every k
        return 1 << 24

    def walk(self, k: int) -> int:
        return k + 8 * max(k, 64)

    def encode(self, block: U8, numbers: I64) -> U8:
        return encode(self, block, numbers, _parity)

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        check_fill(self, block, missing, numbers, symbols)
        if not len(missing):
            return True
        k, size = block.shape
        present = np.delete(np.arange(k), missing).tolist()
        there = ((number, block[number]) for number in present)
        try:
            found = _decoded(
                itertools.chain(there, zip(numbers.tolist(), symbols, strict=True)), k * size, size
            )
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            return False
        if found is None:
            return False
        block[missing] = np.frombuffer(found, np.uint8).reshape(k, size)[missing]
        return True


def _decoded(packets: Iterable[tuple[int, U8]], length: int, symbol_size: int) -> bytes | None:
    """The block's bytes from symbols with their numbers, or None where these do not suffice yet.

    One packet at a time: the library takes six times the block, and a copy of all is one more.
    """
    decoder = _library.Decoder.with_defaults(length, symbol_size)
    for number, symbol in packets:
        found: bytes | None = decoder.decode(number.to_bytes(_HEADER, "big") + symbol.tobytes())
        if found is not None:
            return found
    return None


def _parity(block: U8, numbers: list[int]) -> U8:
    encoder = _library.Encoder.with_defaults(block.tobytes(), block.shape[1])
    packets = encoder.get_encoded_packets(max(numbers) - len(block) + 1)
    chosen = np.frombuffer(b"".join([packets[n] for n in numbers]), np.uint8)
    return chosen.reshape(len(numbers), -1)[:, _HEADER:]
