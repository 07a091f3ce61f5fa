"""The way of unfinished blocks' symbols out of memory, to whoever keeps them.

A block is *parked* when there is no room for it: its symbols are handed out and forgotten, and
wanted again when more of it is heard. It is *saved* while it stays in memory: the symbols that came
since the last time are handed out too, each once in the life of the block, so that a process
that dies loses only what came after the last `save`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.events import BlockParked, BlockSaved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diode.events import Key
    from diode.incoming import Incoming


class Parking:
    """What the unfinished blocks of all objects hold in memory."""

    def __init__(self, objects: Mapping[Key, Incoming]) -> None:
        """objects: the receiver's own, in the order in which their blocks have to go."""
        self._objects = objects
        self.memory = 0
        """Bytes, as accounted so far."""
        self.blocks = 0
        """Blocks of all objects, begun or not."""

    def account(self, incoming: Incoming | None, *, closed: bool = False) -> None:
        """An object's collector has grown or shrunk, or is closed."""
        if incoming is not None:
            held = 0 if closed else incoming.collector.memory
            self.memory += held - incoming.memory
            incoming.memory = held
            if closed:
                self.blocks -= incoming.collector.geometry.blocks

    def park_beyond(self, memory: int) -> Iterator[BlockParked]:
        """Park the oldest blocks of the first objects until the rest fits that many bytes."""
        if self.memory <= memory:
            return
        for key, incoming in self._objects.items():
            collector = incoming.collector
            for block in collector.open_blocks:
                numbers, symbols = collector.park(block)
                self.account(incoming)
                if len(numbers):
                    yield BlockParked(key, block, numbers, symbols)
                if self.memory <= memory:
                    return

    def save(self) -> Iterator[BlockSaved]:
        """Symbols of blocks in memory that came since the last time."""
        for key, incoming in list(self._objects.items()):  # whoever keeps them may drop some
            for block, numbers, symbols in incoming.collector.unsaved():
                yield BlockSaved(key, block, numbers, symbols)

    def lost(self, key: Key, blocks: Sequence[int]) -> None:
        """Nothing that was saved of these blocks is kept: hand it out again."""
        incoming = self._objects.get(key)
        if incoming is not None:
            incoming.collector.not_saved(blocks)
