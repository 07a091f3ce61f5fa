"""Erasure codes: k source symbols of a block become as many symbols as wanted, and any k
different ones give the block back (wire 4.2), or a few more.

    repeat    the source symbols again; for objects of one symbol
    zfec      Reed-Solomon over GF(256), narrow blocks; always there
    leopard   Reed-Solomon over GF(2^16), wide blocks, fast; optional
    raptorq   a fountain of symbols, wide blocks; optional

Members are chosen by name in `CODES` and known on the wire by `id`. A code works on one
block at a time, a uint8 array (k, S). The libraries behind them do not guard themselves (zfec
loops for ever on duplicate share numbers and reorders its caller's lists), so every call
here is validated first, and a wrong call raises ValueError: numbers from a link are
checked against `numbers(k)` and made unique by the collector before they come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from diode.code.leopard import Leopard
from diode.code.raptorq import RaptorQ
from diode.code.repeat import Repeat
from diode.code.zfec import Zfec
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import I64, U8


class Code(Protocol):
    """One erasure code."""

    id: int
    """Its number on the wire."""
    name: str
    step: int
    """Symbol sizes are multiples of this many bytes."""
    spare: int
    """Symbols beyond k that may be needed; with all of them decoding is as good as certain."""
    package: str
    """What pip installs for it; empty where nothing has to be."""
    lacks: str
    """`package` where that is not installed, so that the code does not work here; else empty."""

    def meant_for(self, most: int) -> Code:
        """The code for a sender that sends at most that many symbols of a block in all its passes;
        0: for ever. One that does not depend on it is the same for all.
        """

    def widest(self, symbol_size: int) -> int:
        """Source symbols of the widest block with symbols of that size; 0: there is none."""

    def fitting(self, most: int, sent: Callable[[int], int], passes: int) -> int:
        """Source symbols of the block of at most `most` that suits it best.

        sent: how many symbols of a block of k one pass sends, more of a wider one. passes: as
        in a manifest; 0: there is no end to them.
        """

    def numbers(self, k: int) -> int:
        """How many symbol numbers a block of k source symbols has."""

    def walk(self, k: int) -> int:
        """How many of these a sender goes through before it begins again."""

    def encode(self, block: U8, numbers: I64) -> U8:
        """The symbols with these numbers. block: (k, S); returns (len(numbers), S), to be read."""

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        """Recover the missing source symbols of a block in place; False: these do not suffice.

        block: (k, S), all rows right but those in `missing`. numbers, symbols: as many parity
        symbols as rows are missing, or up to `spare` more, (m,) and (m, S), their numbers
        different and >= k. False happens only where `spare` is not 0. Raises ValueError
        when the call breaks these rules.
        """


CODES: dict[str, Code] = {code.name: code for code in (Repeat(), Zfec(), RaptorQ(), Leopard())}
_BY_ID = {code.id: code for code in CODES.values()}


def by_name(name: str) -> Code:
    """The code of that name; UsageError for one there is not, or not on this machine."""
    if name not in CODES:
        raise UsageError(f"there is no code {name!r}", hint=f"--code takes {', '.join(CODES)}")
    code = CODES[name]
    if code.lacks:
        raise UsageError(f"code {name} is not installed here", hint=f"pip install {code.lacks}")
    return code


def by_id(number: int) -> Code | None:
    """The code with that number on the wire, installed here or not, or None."""
    return _BY_ID.get(number)
