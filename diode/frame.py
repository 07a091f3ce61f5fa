"""Frames: header, payload, check (firmware-notes/wire-format.md, section 3).

The unit of work is a batch. Two shapes occur:

- `Frames`: one flat uint8 array and the offsets at which its pieces end. This is what goes
  down to a line and a carrier; pieces may differ in length, and for a run of equal ones
  `rows()` is a view without a copy.
- rows: a 2-D uint8 array (frames x bytes), all of one length. This is what a line hands up
  after it found frames and checked them, and what the transmitter fills.

Headers are columns of a numpy structured dtype laid over the rows, so packing and parsing
cost a few nanoseconds a frame. Sequence numbers and checks are written last (stamp.py).

Nothing here raises on what a link can deliver: rows that fail are masked out and counted by
the caller under a `Reject` reason.
"""

from __future__ import annotations

import enum
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import crcmod.predefined
import numpy as np
from fastcrc import crc32
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Column = NDArray[np.integer]
"""A header field of many frames, in its own width."""

VERSION = 1

HEADER = 20
"""Bytes before the payload of a full frame (wire 3.1)."""

COMPACT_HEADER = 8
"""Bytes before the payload of a compact data frame (wire 3.2)."""

CHECK = 4
"""Bytes of CRC-32C behind the payload."""

MAX_FRAME = 16_384
"""Longest legal frame. Above any jumbo datagram (9,000), small enough that a receiver may
hold one per line state, and well inside the range where CRC-32C has Hamming distance 4."""

MIN_FRAME = COMPACT_HEADER + CHECK

COMPACT_MAX_BLOCK = 1 << 24
COMPACT_MAX_SYMBOL = 1 << 8
MAX_SYMBOL = 1 << 24

RUN = 16
"""Pieces of one length that follow each other, on average, from which on they are left where they
lie."""


class Kind(enum.IntEnum):
    """Kinds of frame, wire 3.1."""

    DATA = 1
    COMPACT = 2
    MANIFEST = 3
    HEARTBEAT = 4
    RECORD = 5
    LINKTEST = 6
    IDLE = 7


class Reject(enum.StrEnum):
    """Why a frame, or what looked like one, was not used. Values are stable names."""

    CHECK = "check"  # damaged: its CRC is wrong
    LENGTH = "length"  # shorter or longer than any frame, or not the object's symbol size
    VERSION = "version"
    KEYED = "keyed"  # tagged with a link key, and none is known here
    UNTAGGED = "untagged"  # without a tag, where a link key is asked for
    TAG = "tag"  # with one that this key did not make
    KIND = "kind"
    INDEX = "index"  # block or symbol number outside the object's geometry
    MANIFEST = "manifest"  # an announcement that cannot be read or contradicts itself
    RECORD = "record"  # a record that breaks a rule of the format
    CODE = "code"  # an announcement of an object in a code that is not installed here
    LIMIT = "limit"  # over a configured limit
    CONFLICT = "conflict"  # a second, different manifest for a number already in use
    SIGNATURE = "signature"  # an announcement not signed by a key that counts
    SEAL = "seal"  # an announcement that is encrypted and cannot be opened here
    QUARANTINE = "quarantine"  # data of an object so announced
    ORPHAN = "orphan"  # data without a manifest, dropped because the buffer for it was full


FULL = np.dtype(
    [
        ("vk", "u1"),
        ("code", "u1"),
        ("sequence", "<u2"),
        ("sender", "<u4"),
        ("object", "<u4"),
        ("block", "<u4"),
        ("symbol", "<u4"),
    ]
)
COMPACT = np.dtype([("vk", "u1"), ("sequence", "u1"), ("alias", "<u2"), ("index", "<u4")])
NAMED = np.dtype({"names": ["name"], "formats": ["<u8"], "offsets": [4], "itemsize": HEADER})
"""Sender and object of a full header, which lie beside each other, as one number."""
assert FULL.itemsize == HEADER
assert COMPACT.itemsize == COMPACT_HEADER

crc32c = crc32.iscsi
"""CRC-32C of bytes; it goes by the name of its first user."""

_crc16 = crcmod.predefined.mkPredefinedCrcFun("xmodem")


@functools.lru_cache(maxsize=4096)
def alias(sender: int, number: int) -> int:
    """The 16 bits that name an object in compact frames (wire 3.2)."""
    return int(_crc16(sender.to_bytes(4, "little") + number.to_bytes(4, "little")))


@dataclass(frozen=True, slots=True)
class Frames:
    """A batch of byte pieces: `data[ends[i-1]:ends[i]]` is piece i.

    data: uint8, shape (bytes,). ends: int64, shape (pieces,), increasing. size: the length of each
    piece where all have one and whoever made the batch knew it; else 0.
    """

    data: U8
    ends: I64
    size: int = 0

    def __len__(self) -> int:
        return len(self.ends)

    @classmethod
    def of_rows(cls, rows: U8) -> Frames:
        """A batch of equal pieces; `rows` (frames x bytes) must be C-contiguous."""
        count, length = rows.shape
        return cls(rows.reshape(-1), np.arange(1, count + 1, dtype=np.int64) * length, length)

    @classmethod
    def of_pieces(cls, pieces: Iterable[bytes | U8]) -> Frames:
        """A batch from separate pieces (copies; for small numbers)."""
        arrays = [np.frombuffer(p, np.uint8) if isinstance(p, bytes) else p for p in pieces]
        if not arrays:
            return EMPTY
        return cls(np.concatenate(arrays), np.cumsum([len(a) for a in arrays], dtype=np.int64))

    @property
    def starts(self) -> I64:
        """Offsets at which pieces begin."""
        starts = np.empty_like(self.ends)
        if len(starts):
            starts[0] = 0
            starts[1:] = self.ends[:-1]
        return starts

    @property
    def lengths(self) -> I64:
        return self.ends - self.starts

    def piece(self, index: int) -> U8:
        """Piece number `index` as a view."""
        start = int(self.ends[index - 1]) if index else 0
        return self.data[start : int(self.ends[index])]

    def pieces(self) -> list[U8]:
        """All pieces as views. For tests and small batches."""
        return [self.piece(i) for i in range(len(self))]

    def part(self, first: int, last: int) -> Frames:
        """Pieces first … last-1 as a batch over the same memory."""
        start = int(self.ends[first - 1]) if first else 0
        end = int(self.ends[last - 1]) if last else 0
        return Frames(self.data[start:end], self.ends[first:last] - start, self.size)

    def equal_rows(self) -> U8 | None:
        """The pieces as rows without a copy, where all have one length."""
        count = len(self)
        if self.size and count:
            return self.data.reshape(count, self.size)
        if not count or len(self.data) != count * int(self.ends[0]):
            return None
        if (self.lengths != self.ends[0]).any():
            return None
        return self.data.reshape(count, -1)

    def counts(self) -> dict[int, int]:
        """How many pieces there are of each length."""
        equal = self.equal_rows()
        if equal is not None:
            return {equal.shape[1]: len(equal)}
        lengths, counts = np.unique(self.lengths, return_counts=True)
        return dict(zip(lengths.tolist(), counts.tolist(), strict=True))

    def rows(self) -> list[U8]:
        """The pieces as rows (frames x bytes), those of one length together.

        What follows each other with one length is a view without a copy. Only where the length
        changes all the time are pieces grouped by it, which copies them.
        """
        if not len(self):
            return []
        equal = self.equal_rows()
        if equal is not None:
            return [equal]
        lengths, starts = self.lengths, self.starts
        turns = np.flatnonzero(np.diff(lengths)) + 1
        if len(turns) * RUN <= len(self):
            edges = [0, *turns.tolist(), len(self)]
            runs = (self.part(*edge) for edge in itertools.pairwise(edges))
            return [run.data.reshape(len(run), -1) for run in runs]
        return [
            self.data[starts[lengths == length][:, None] + np.arange(length)]
            for length in np.unique(lengths)
        ]


EMPTY = Frames(np.empty(0, np.uint8), np.empty(0, np.int64))


Received = bytes | U8 | Frames
"""What comes of a carrier: bytes in which frames are to be found, or pieces that came apart."""


def flat(data: Received) -> U8:
    """The bytes of what was received, whatever it came in; uint8, shape (bytes,)."""
    if isinstance(data, Frames):
        return data.data
    return np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data


def portions(data: Received, size: int) -> Iterator[U8 | Frames]:
    """What was received in portions of at most `size` bytes, or of one piece."""
    if not isinstance(data, Frames):
        array = flat(data)
        yield from (array[start : start + size] for start in range(0, len(array), size))
        return
    first = 0
    while first < len(data):
        start = int(data.ends[first - 1]) if first else 0
        last = int(np.searchsorted(data.ends, start + size, "right"))
        last = max(last, first + 1)
        yield data.part(first, last)
        first = last


def evenly(rows: I64) -> I64 | slice:
    """The same choice of rows as a slice where they follow each other, which is copied faster."""
    if len(rows) and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def join(first: Frames, second: Frames) -> Frames:
    """Two batches as one."""
    if not len(first) or not len(second):
        return first if len(first) else second
    ends = np.concatenate([first.ends, second.ends + len(first.data)])
    return Frames(np.concatenate([first.data, second.data]), ends)


def blank_rows(count: int, payload: int, *, compact: bool = False) -> U8:
    """Rows for `count` frames around payloads of that many bytes; contents undefined."""
    header = COMPACT_HEADER if compact else HEADER
    return np.empty((count, header + payload + CHECK), np.uint8)


def fill_full(
    rows: U8,
    kind: Kind,
    *,
    code: int,
    sender: int,
    number: int,
    block: I64 | int,
    symbol: I64 | int,
) -> None:
    """Write full headers into rows (wire 3.1), all but sequence and check."""
    header = rows[:, :HEADER].view(FULL)[:, 0]
    header["vk"] = VERSION << 4 | kind
    header["code"] = code
    header["sender"] = sender
    header["object"] = number
    header["block"] = block
    header["symbol"] = symbol


def fill_compact(
    rows: U8, *, sender: int, number: int, block: I64 | int, symbol: I64 | int
) -> None:
    """Write compact data headers into rows (wire 3.2), all but sequence and check."""
    header = rows[:, :COMPACT_HEADER].view(COMPACT)[:, 0]
    header["vk"] = VERSION << 4 | Kind.COMPACT
    header["alias"] = alias(sender, number)
    header["index"] = np.asarray(block, np.uint32) << np.uint32(8) | np.asarray(symbol, np.uint32)


def payload(rows: U8, *, compact: bool = False) -> U8:
    """The payload columns of rows, as a view."""
    return rows[:, COMPACT_HEADER if compact else HEADER : -CHECK]


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rows of one length with their headers as columns, each of shape (frames,).

    Compact frames have no sender and number but an alias; the others an alias of 0.
    """

    kind: Column
    code: Column
    sequence: Column
    sender: Column
    number: Column
    name: Column
    """Sender and number in one: number · 2^32 + sender."""
    block: Column
    symbol: Column
    payload: U8


def parse_full(rows: U8) -> Parsed:
    """Columns of rows that are full frames. rows: contiguous, at least 24 bytes each."""
    header = np.ascontiguousarray(rows[:, :HEADER]).view(FULL)[:, 0]  # beside each other, for speed
    return Parsed(
        header["vk"] & 0x0F,
        header["code"],
        header["sequence"],
        header["sender"],
        header["object"],
        header.view(NAMED)["name"],
        header["block"],
        header["symbol"] & (MAX_SYMBOL - 1),
        payload(rows),
    )


@dataclass(frozen=True, slots=True)
class ParsedCompact:
    """Compact data rows as columns, each of shape (frames,)."""

    sequence: Column
    alias: Column
    block: Column
    symbol: Column
    payload: U8


def parse_compact(rows: U8) -> ParsedCompact:
    """Columns of rows that are compact data frames. rows: contiguous, at least 12 bytes."""
    header = np.ascontiguousarray(rows[:, :COMPACT_HEADER]).view(COMPACT)[:, 0]
    index = header["index"]
    return ParsedCompact(
        header["sequence"],
        header["alias"],
        index >> np.uint32(8),
        index & np.uint32(0xFF),
        payload(rows, compact=True),
    )


class Beat(enum.IntEnum):
    """What the code field of a heartbeat says (wire 3.1)."""

    GOING_ON = 0
    LAST = 1
    FIRST = 2


HEARTBEAT = np.dtype(
    [
        ("frames", "<u8"),
        ("uptime", "<u4"),
        ("interval_ms", "<u4"),
        ("rate", "<u4"),
        ("queue", "<u4"),
        ("pass", "<u2"),
        ("passes", "<u2"),
    ]
)
"""Payload of a heartbeat (wire 3.4)."""
LANE = np.dtype([("frames", "<u8"), ("lane", "<u2"), ("lanes", "<u2")])
"""Of several lanes, what a heartbeat says of its own behind that."""
