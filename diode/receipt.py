"""Receipts: what of a sender's objects is here, to be carried back to it by hand (wire 10).

A receipt says of one sender which object numbers have come whole, which will not be taken any more,
and up to which number anything is known at all. It says nothing smaller than an object: whatever is
carried back is a channel into the sender, and this one has a bit for each object and no more.

`Receipt` is the content; `signed` and `unsigned` make the bytes, `opened` takes them apart again,
the signature first: nothing of it is looked at before it is known to come from who it should. The
ranges make it small: ten thousand objects with five gaps are 35 bytes.

Which of two receipts of one ledger is the newer one needs no clock: what came is never taken back,
so it is the one that has more.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.errors import ReceiptError
from diode.frame import crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diode.seal import PublicKey, SecretKey

Ranges = tuple[tuple[int, int], ...]
"""(first, last), in order, at least one number between two of them."""

MAGIC = b"\xd1\x01"
"""No text begins so; the second byte is the version."""
CONTEXT = b"diode receipt v1\0"
UNSIGNED, SIGNED = 0, 1
SIGNATURE = 64
CHECK = 4
MOST = 1 << 16
"""Bytes of a receipt."""
MOST_RANGES = 8192
"""Of both kinds together; a receipt that needs more says less: see `bounded`."""
LAST_NUMBER = (1 << 32) - 1
_HEAD = struct.Struct("<2sII")
_VARINT = 5
"""Bytes of the longest number: 32 bits."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver has of a sender's objects."""

    sender: int
    ledger: int
    """The number that the receiver's ledger drew when it was begun."""
    highest: int
    """Nothing is said of numbers above it."""
    received: Ranges
    closed: Ranges = ()
    """Not here, and not to be sent under these numbers any more."""

    @property
    def count(self) -> int:
        """Objects received: the higher it is, the newer a receipt of one ledger."""
        return sum(last - first + 1 for first, last in self.received)

    @property
    def missing(self) -> Ranges:
        """Numbers up to the highest that are neither received nor closed."""
        found, at = [], 1
        for first, last in (*sorted((*self.received, *self.closed)), (self.highest + 1, 0)):
            if first > at:
                found.append((at, first - 1))
            at = max(at, last + 1)
        return tuple(found)

    @property
    def bits(self) -> int:
        """What a receipt of this length can say at most: its content, not what vouches for it."""
        return 8 * len(self.body())

    def body(self) -> bytes:
        """The content without what vouches for it."""
        parts = [_HEAD.pack(MAGIC, self.sender, self.ledger), _number(self.highest)]
        for ranges in (self.received, self.closed):
            parts.append(_number(len(ranges)))
            at = 0
            for first, last in ranges:
                parts += [_number(first - at - 1), _number(last - first)]
                at = last
        return b"".join(parts)

    def unsigned(self) -> bytes:
        """The receipt with a check against accidents."""
        body = self.body() + bytes([UNSIGNED])
        return body + struct.pack("<I", crc32c(body))

    def signed(self, key: SecretKey) -> bytes:
        """The receipt, signed."""
        body = self.body() + bytes([SIGNED])
        return body + key.signature(CONTEXT + body)


def bounded(ranges: Iterable[tuple[int, int]], most: int = MOST_RANGES // 2) -> Ranges:
    """The first `most` of them: of the rest it is not said that it came, so it is sent again."""
    return tuple(ranges)[:most]


def opened(data: bytes, keys: Sequence[PublicKey] | None) -> Receipt:
    """The receipt in these bytes, if one of the keys has signed it; None: whoever made it.

    Raises ReceiptError, and nothing else, whatever the bytes.
    """
    if len(data) > MOST:
        raise ReceiptError(f"a receipt has at most {MOST:,} bytes")
    if data[:1] != MAGIC[:1] or len(data) < _HEAD.size + 3 + 1 + CHECK:
        raise ReceiptError("this is no receipt of diode")
    if data[:2] != MAGIC:
        raise ReceiptError(f"a receipt of version {data[1]}, which is not known here")
    if keys is not None:
        return _parse(_vouched(data, keys))
    for length, kind in ((SIGNATURE, SIGNED), (CHECK, UNSIGNED)):
        body, rest = data[:-length], data[-length:]
        if body[-1:] != bytes([kind]):
            continue
        if kind == UNSIGNED and struct.pack("<I", crc32c(body)) != rest:
            continue
        try:
            return _parse(body[:-1])
        except ReceiptError:
            if kind == UNSIGNED:
                raise
    raise ReceiptError("the receipt is damaged: its check is wrong")


def signer(data: bytes, keys: Sequence[PublicKey]) -> PublicKey | None:
    """Which of these keys has signed it."""
    body, signature = data[:-SIGNATURE], data[-SIGNATURE:]
    if body[-1:] != bytes([SIGNED]):
        return None
    return next((key for key in keys if key.signed(CONTEXT + body, signature)), None)


def _vouched(data: bytes, keys: Sequence[PublicKey]) -> bytes:
    if signer(data, keys) is None:
        raise ReceiptError(
            "the receipt is not signed by a key given here",
            hint="diode receipt INBOX --sign KEY signs it, --receipt-key KEY.pub accepts that",
            forged=True,
        )
    return data[: -SIGNATURE - 1]


def _parse(body: bytes) -> Receipt:
    """Everything in it, to the last byte; each number in its shortest form."""
    if len(body) < _HEAD.size:
        raise ReceiptError("the receipt is cut short")
    _, sender, ledger = _HEAD.unpack_from(body)
    rest = _Rest(body, _HEAD.size)
    highest = rest.number()
    received = _ranges(rest, highest, MOST_RANGES)
    closed = _ranges(rest, highest, MOST_RANGES - len(received))
    if rest.at != len(body):
        raise ReceiptError("the receipt has bytes behind its end")
    if not sender:
        raise ReceiptError("the receipt is for no sender")
    both = sorted((*received, *closed))
    if any(first <= last for (_, last), (first, _) in itertools.pairwise(both)):
        raise ReceiptError("the receipt contradicts itself")
    return Receipt(sender, ledger, highest, received, closed)


def _ranges(rest: _Rest, highest: int, most: int) -> Ranges:
    count = rest.number()
    if count > most:
        raise ReceiptError(f"a receipt with {count:,} ranges, at most {most:,} are possible")
    found, at = [], 0
    for number in range(count):
        gap = rest.number()
        if number and not gap:
            raise ReceiptError("the receipt has two ranges for one")
        first = at + gap + 1
        at = first + rest.number()
        if at > highest:
            raise ReceiptError("the receipt says more than it says it knows")
        found.append((first, at))
    return tuple(found)


class _Rest:
    """What of a receipt is still to be read."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def number(self) -> int:
        """Seven bits a byte, the lowest first; the highest bit says that there is more."""
        value = 0
        for place in range(_VARINT):
            if self.at >= len(self._data):
                raise ReceiptError("the receipt is cut short")
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if value > LAST_NUMBER or (place and not byte):
                    break
                return value
        raise ReceiptError("the receipt has a number that is none")


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
