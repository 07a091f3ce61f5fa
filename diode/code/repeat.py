"""The code that only repeats: the source symbols themselves, again on every pass.

The plain baseline, and the right thing for a block of one symbol, where every share of
any code is the same bytes. Never recovers a symbol it did not hear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.code.guard import check_encode, check_fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import I64, U8


class Repeat:
    """Symbol i is source symbol i, and there are no others."""

    id = 0
    name = "repeat"
    step = 1
    spare = 0
    package = ""
    lacks = ""

    def meant_for(self, most: int) -> Repeat:  # noqa: ARG002  the same for all
        return self

    def widest(self, symbol_size: int) -> int:  # noqa: ARG002  the same for every size
        return 65_535

    def fitting(self, most: int, sent: Callable[[int], int], passes: int) -> int:  # noqa: ARG002
        """Any width is as good."""
        return most

    def numbers(self, k: int) -> int:
        return k

    def walk(self, k: int) -> int:
        return k

    def encode(self, block: U8, numbers: I64) -> U8:
        check_encode(self, block, numbers)
        return block[numbers]

    def fill(self, block: U8, missing: I64, numbers: I64, symbols: U8) -> bool:
        """Nothing can be missing; anything else breaks a rule of `Code.fill`."""
        check_fill(self, block, missing, numbers, symbols)
        return True
