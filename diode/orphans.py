"""Data frames whose manifest has not been heard, kept within bounds until it comes (wire 5.3)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from diode.events import Key
    from diode.frame import I64, U8

OVERHEAD = 512
"""Bytes that a part is reckoned at on top of its arrays."""


class Part(NamedTuple):
    """Frames that came together. heard: how many frames the receiver had heard by then."""

    blocks: I64
    symbols: I64
    payload: U8
    heard: int

    @property
    def bytes(self) -> int:
        return self.payload.size + self.blocks.nbytes + self.symbols.nbytes + OVERHEAD


@dataclass(slots=True)
class Orphans:
    """Parts by object, or by alias for compact frames; the least recent go first."""

    limit: int
    """Bytes kept at most."""
    bytes: int = 0
    _parts: OrderedDict[Key | int, list[Part]] = field(default_factory=OrderedDict)

    def keep(self, name: Key | int, part: Part) -> int:
        """Keep frames, copied; how many frames had to go for them."""
        part = part._replace(payload=part.payload.copy())
        self._parts.setdefault(name, []).append(part)
        self._parts.move_to_end(name)
        self.bytes += part.bytes
        dropped = 0
        while self.bytes > self.limit:
            dropped += sum(len(p.blocks) for p in self.take(next(iter(self._parts))))
        return dropped

    def take(self, name: Key | int) -> list[Part]:
        """The parts kept under that name, which are kept no longer."""
        parts = self._parts.pop(name, [])
        self.bytes -= sum(part.bytes for part in parts)
        return parts
