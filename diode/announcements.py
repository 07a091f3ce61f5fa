"""Announcements on air: manifests cut into coded symbols, and found again among them (wire 5.1).

An announcement that fits one frame is repeated as it is; a longer one is coded like a block of
its own, so that each repetition brings fresh symbols. It has no block check: the tag in each of its
frames is the CRC-32C of the whole, and decides. `AnnouncementSymbols` is the sender's side,
`AnnouncementParts` one announcement at the receiver, `Announcements` all of them, within bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.code import CODES
from diode.errors import UsageError
from diode.frame import Reject, crc32c
from diode.objects import MAX_ANNOUNCEMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.code import Code
    from diode.events import Key
    from diode.frame import I64, U8
    from diode.objects import Announcement

MAX_SYMBOLS = 64
"""Symbols of one announcement: a long name on the shortest useful frames."""
OVERHEAD = 512
"""Bytes that a partly heard announcement is reckoned at, on top of its symbols."""


@dataclass(frozen=True, slots=True)
class AnnouncementSymbols:
    """An announcement cut and coded for the wire: `symbols` gives frames' payloads."""

    block: U8
    tag: int

    @classmethod
    def of(
        cls, announcement: Announcement, room: int, *, filled: bool = False
    ) -> AnnouncementSymbols:
        """Cut into as few symbols of at most `room` bytes as will do; filled: of just as many."""
        data = announcement.serialize()
        count = -(-len(data) // room)
        if count > MAX_SYMBOLS:
            raise UsageError(
                f"an announcement of {len(data)} bytes needs {count} frames of this line",
                hint=f"raise --symbol-size to {-(-len(data) // MAX_SYMBOLS)}",
            )
        size = room if filled else -(-len(data) // count)
        padded = data.ljust(count * size, b"\0")
        return cls(np.frombuffer(padded, np.uint8).reshape(count, size), crc32c(padded))

    @property
    def count(self) -> int:
        return len(self.block)

    @property
    def size(self) -> int:
        """Bytes of a symbol."""
        return int(self.block.shape[1])

    @property
    def walk(self) -> int:
        """How many symbol numbers there are."""
        return _code(self.count).numbers(self.count)

    def numbers(self, first: int, count: int) -> I64:
        """The next `count` symbol numbers from `first` on, cyclically."""
        return np.arange(first, first + count) % self.walk

    def symbols(self, numbers: I64) -> U8:
        """The symbols of these numbers, (len(numbers), size)."""
        return _code(self.count).encode(self.block, numbers)


class AnnouncementParts:
    """The symbols of one announcement as they are heard; the other direction of the class above.

    No block check here: the tag in every frame is the CRC-32C of the whole, and decides.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count = count
        self.size = size
        self._symbols: dict[int, U8] = {}

    @property
    def memory(self) -> int:
        return len(self._symbols) * (self.size + 128)

    def add(self, number: int, symbol: U8) -> bytes | None:
        """Take one symbol, its number below 256; the padded announcement once that is enough."""
        self._symbols.setdefault(number, symbol.copy())
        if len(self._symbols) < self.count:
            return None
        block = np.zeros((self.count, self.size), np.uint8)
        for row in range(self.count):
            if row in self._symbols:
                block[row] = self._symbols[row]
        missing = np.array([r for r in range(self.count) if r not in self._symbols], np.int64)
        parity = np.array([n for n in self._symbols if n >= self.count], np.int64)[: len(missing)]
        if len(missing):
            symbols = np.stack([self._symbols[n] for n in parity.tolist()])
            CODES["zfec"].fill(block, missing, parity, symbols)
        return block.tobytes()


class Announcements:
    """Announcements partly heard, at most `limit` bytes of them; the least recent go first."""

    def __init__(self, limit: int, reject: Callable[[Reject, int, str], object]) -> None:
        """`reject(reason, count, detail)` is told of every frame that was not used."""
        self._limit = limit
        self._reject = reject
        self._parts: OrderedDict[tuple[Key, int, int, int], AnnouncementParts] = OrderedDict()
        self.bytes = 0

    def take(self, key: Key, tag: int, count: int, number: int, symbol: U8) -> bytes | None:
        """Take one manifest frame; the padded announcement once enough of it is there."""
        size = len(symbol)
        if not (1 <= count <= MAX_SYMBOLS and size >= 1):
            self._reject(Reject.MANIFEST, 1, f"announcement of {count} x {size} bytes")
        elif (count - 1) * size >= MAX_ANNOUNCEMENT:
            self._reject(Reject.LIMIT, 1, f"announcement of {count} x {size} bytes")
        elif number >= _code(count).numbers(count):
            self._reject(Reject.INDEX, 1, f"announcement symbol {number}")
        else:
            data = (
                symbol.tobytes() if count == 1 else self._collect(key, tag, count, number, symbol)
            )
            if data is None or crc32c(data) == tag:
                return data
            self._reject(Reject.MANIFEST, 1, "announcement contradicts its tag")
        return None

    def _collect(self, key: Key, tag: int, count: int, number: int, symbol: U8) -> bytes | None:
        name = key, tag, count, len(symbol)  # what must agree (wire 5.1)
        parts = self._parts.get(name)
        if parts is None:
            parts = self._parts[name] = AnnouncementParts(count, len(symbol))
            self.bytes += OVERHEAD
        self._parts.move_to_end(name)
        before = parts.memory
        data = parts.add(number, symbol)
        self.bytes += parts.memory - before
        if data is not None:
            self._forget(name)
            return data
        while self.bytes > self._limit:
            self._forget(next(iter(self._parts)))
            self._reject(Reject.LIMIT, 1, "announcements")
        return None

    def _forget(self, name: tuple[Key, int, int, int]) -> None:
        self.bytes -= self._parts.pop(name).memory + OVERHEAD


def _code(count: int) -> Code:
    return CODES["zfec" if count > 1 else "repeat"]
