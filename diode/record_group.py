"""Groups of record frames, coded across (firmware-notes/wire-format.md, section 11.3).

Source frames go out as soon as they are packed; what is added when a group is over repairs those of
them that were lost. So a record waits for nobody's parity, and parity costs a lost record a
fraction of a second instead of the wait for its repeat. Groups are small: it is time that one
spans, not bytes.

A symbol is the payload of a source frame with zeros behind it. Zeros behind records mean nothing
(11.1), so a frame given back needs no length.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.code.zfec import Zfec

if TYPE_CHECKING:
    from diode.frame import U8

WIDEST = 64
"""Source frames of a group."""
NUMBERS = 256
CHECK = 4
"""Bytes behind a parity symbol."""
OPEN = 64
"""Groups of a stream that a receiver keeps, for what is missing of them: many seconds, since a
frame that comes later than that was overtaken by its repeat."""
HELD = 1 << 20
"""Bytes of them that it keeps."""

_CODE = Zfec()


@dataclass(slots=True)
class Parity:
    """What is added to a group."""

    k: int
    numbers: list[int]
    payloads: U8
    """(frames, L + CHECK)."""


def parity(payloads: list[bytes], redundancy: float, width: int = 0) -> Parity:
    """Parity frames for these source payloads, at least one. width: L, where it is fixed."""
    k = len(payloads)
    block = _block(payloads, width or max(map(len, payloads)))
    count = min(max(1, math.ceil(k * redundancy - 1e-9)), NUMBERS - k)
    numbers = np.arange(k, k + count)
    symbols = _CODE.encode(block, numbers)
    check = np.frombuffer(frame.crc32c(block.tobytes()).to_bytes(CHECK, "little"), np.uint8)
    return Parity(k, numbers.tolist(), np.hstack([symbols, np.tile(check, (count, 1))]))


def _block(payloads: list[bytes], width: int) -> U8:
    whole = b"".join(payload[:width].ljust(width, b"\0") for payload in payloads)
    return np.frombuffer(whole, np.uint8).reshape(len(payloads), width)


@dataclass(slots=True)
class _Group:
    """One that is not whole."""

    source: dict[int, bytes] = field(default_factory=dict)
    parity: dict[int, bytes] = field(default_factory=dict)
    k: int = 0
    """0 before a parity frame has come."""
    size: int = 0
    """Bytes held."""
    over: bool = False

    def missing(self) -> list[int]:
        return [n for n in range(self.k) if n not in self.source]


@dataclass(slots=True)
class Groups:
    """Those of one stream, at a receiver."""

    spoiled: int = 0
    """Groups whose check said that something was wrong with them."""
    repaired: int = 0
    """Source frames given back."""
    _open: OrderedDict[int, _Group] = field(default_factory=OrderedDict)
    _held: int = 0

    def source(self, number: int, index: int, payload: bytes) -> list[bytes]:
        """A source frame came. What that gives back of others."""
        group = self._group(number)
        if group.over or index >= WIDEST or index in group.source:
            return []
        group.source[index] = payload
        self._account(group, len(payload))
        return self._complete(group)

    def parity(self, number: int, k: int, index: int, payload: bytes) -> list[bytes]:
        """A parity frame came. What it gives back of source frames."""
        group = self._group(number)
        fits = 1 <= k <= WIDEST and k <= index < NUMBERS and len(payload) > CHECK
        same = not group.parity or (k, len(payload)) == (
            group.k,
            len(next(iter(group.parity.values()))),
        )
        if group.over or not (fits and same) or index in group.parity:
            return []
        group.k = k
        group.parity[index] = payload
        self._account(group, len(payload))
        return self._complete(group)

    def _group(self, number: int) -> _Group:
        group = self._open.get(number)
        if group is None:
            group = self._open[number] = _Group()
            self._forget()
        return group

    def _account(self, group: _Group, size: int) -> None:
        group.size += size
        self._held += size
        self._forget()

    def _forget(self) -> None:
        while len(self._open) > OPEN or (self._held > HELD and len(self._open) > 1):
            _, old = self._open.popitem(last=False)
            self._held -= old.size

    def _complete(self, group: _Group) -> list[bytes]:
        """The source frames that are missing, once there is enough of the others."""
        if not group.k:
            return []
        missing = group.missing()
        if missing and len(group.parity) < len(missing):
            return []
        found = _given_back(group, missing) if missing else []
        self.spoiled += found is None
        self.repaired += len(found or [])
        self._held -= group.size
        group.size, group.over = 0, True
        group.source.clear()
        group.parity.clear()
        return found or []


def _given_back(group: _Group, missing: list[int]) -> list[bytes] | None:
    """The missing source frames; None where the check says no."""
    numbers = sorted(group.parity)[: len(missing)]
    whole = [group.parity[n] for n in numbers]
    width = len(whole[0]) - CHECK
    if any(any(group.source[n][width:]) for n in group.source if n < group.k):
        return None
    block = _block([group.source.get(n, b"") for n in range(group.k)], width).copy()
    symbols = np.frombuffer(b"".join(w[:width] for w in whole), np.uint8).reshape(-1, width)
    _CODE.fill(block, np.array(missing), np.array(numbers), symbols)
    if frame.crc32c(block.tobytes()).to_bytes(CHECK, "little") != whole[0][width:]:
        return None
    return [block[n].tobytes() for n in missing]
