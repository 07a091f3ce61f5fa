"""Erasure codes: k source symbols of a block become as many symbols as wanted, and any k
different ones give the block back (wire 4.2).

Members are chosen by name in `CODES` and known on the wire by `id`. A code works on one
block at a time, a uint8 array (k, S). The libraries behind them do not guard themselves (zfec
loops for ever on duplicate share numbers and reorders its caller's lists), so every call
here is validated first, and a wrong call raises ValueError: numbers from a link are
checked against `numbers(k)` and made unique by the collector before they come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from diode.code.repeat import Repeat
from diode.code.zfec import Zfec
from diode.errors import UsageError

if TYPE_CHECKING:
    from diode.frame import I64, U8


class Code(Protocol):
    """One erasure code."""

    id: int
    """Its number on the wire."""
    name: str
    max_k: int
    """Widest block, in source symbols."""

    def numbers(self, k: int) -> int:
        """How many symbol numbers a block of k source symbols has."""

    def encode(self, block: U8, numbers: I64) -> U8:
        """The symbols with these numbers. block: (k, S); returns (len(numbers), S)."""

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> None:
        """Recover the missing source symbols of a block in place.

        block: (k, S), all rows right but those in `missing`. numbers, symbols: as many parity
        symbols as rows are missing, (m,) and (m, S), their numbers different and >= k.
        Raises ValueError when the call breaks these rules.
        """


CODES: dict[str, Code] = {code.name: code for code in (Repeat(), Zfec())}
_BY_ID = {code.id: code for code in CODES.values()}


def by_name(name: str) -> Code:
    """The code of that name; UsageError for a name there is none of."""
    if name not in CODES:
        raise UsageError(f"there is no code {name!r}", hint=f"--code takes {', '.join(CODES)}")
    return CODES[name]


def by_id(number: int) -> Code | None:
    """The code with that number on the wire, or None."""
    return _BY_ID.get(number)
