"""Who computes the parity of blocks that are to be sent.

A wide code holds the interpreter for milliseconds a block, in which the frames of the block before
do not go out. So parity may be computed elsewhere (service/coders.py): it is begun for one block,
and asked for when the next blocks have been read. `Here` computes it on the spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from diode.frame import I64, U8
    from diode.geometry import Geometry


class Making(Protocol):
    """Parity that is being computed."""

    def put(self, into: U8) -> None:
        """Wait for it, and write it there, (count, S). Called once."""


class Coder(Protocol):
    """Computes parity."""

    width: int
    """Blocks that may be begun before the first of them is asked for."""

    def begin(self, geometry: Geometry, source: U8, numbers: I64) -> Making:
        """The symbols with these numbers, all of k or above, of a block with these source symbols.

        source: (k, S), C-contiguous, not to be changed until the parity is there.
        """


@dataclass(frozen=True, slots=True)
class Made:
    """Parity that is computed when it is asked for."""

    geometry: Geometry
    source: U8
    numbers: I64

    def put(self, into: U8) -> None:
        into[:] = self.geometry.coding.encode(self.source, self.numbers)


class Here:
    """Computes parity in this process."""

    width = 1

    def begin(self, geometry: Geometry, source: U8, numbers: I64) -> Making:
        return Made(geometry, source, numbers)
