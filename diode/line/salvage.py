"""What can be saved of one COBS chunk that is not one frame (wire 6.1).

When a delimiter is lost or changed, two frames stand in one chunk. The chain of code bytes of
the first still leads exactly to the place where the second begins, since the last code
byte of a frame points behind it. So it is enough to run along the chain and to ask at each
stop whether what was passed is a frame. The question costs nothing with a running check: what
CRC-32C makes of a message followed by its own CRC is one constant, the residue, whatever the
message. One run is linear in the chunk however short its groups are.

Nothing is indexed by numpy here: chunks that fail are few, or noise, and then short.
"""

from __future__ import annotations

from fastcrc.crc32 import iscsi as crc32c

from diode.frame import CHECK, MAX_FRAME, MIN_FRAME

GROUP = 254
"""Most bytes behind one code byte."""

_RESIDUE = 0x48674BC7
"""CRC-32C of any message followed by its CRC-32C, little-endian."""
assert crc32c(bytes(4) + crc32c(bytes(4)).to_bytes(CHECK, "little")) == _RESIDUE

_READS = 4
"""Times its own length that one chunk may be read. A chunk with one delimiter hit takes three;
only a crafted one takes more."""


def salvage(chunk: bytes) -> tuple[list[bytes], int]:
    """Frames that stand behind each other in a chunk without zeros, and the bytes left over.

    After a frame the next may begin at once (its delimiter was lost) or behind one byte
    (it was changed).
    """
    frames: list[bytes] = []
    budget = _READS * len(chunk)
    at = 0
    rest = 0
    while at < len(chunk):
        for begin in (at, at + 1) if frames else (at,):
            end = _prefix(chunk, begin) if budget > 0 else begin
            budget -= len(chunk) - begin if end == begin else end - begin
            if end > begin:
                break
        else:
            break
        frames.append(_decode(chunk, begin, end))
        rest += begin - at
        at = end
    return frames, rest + len(chunk) - at


def _prefix(chunk: bytes, begin: int) -> int:
    """Where the first frame that begins at `begin` ends; `begin` when there is none."""
    at = begin
    crc = 0
    length = 0
    gap = b""
    while at < len(chunk):
        following = at + chunk[at]
        if following > len(chunk) or length > MAX_FRAME:
            break
        group = gap + chunk[at + 1 : following]
        crc = crc32c(group, crc)
        length += len(group)
        if crc == _RESIDUE and MIN_FRAME <= length <= MAX_FRAME:
            return following
        gap = b"\0" if chunk[at] <= GROUP else b""
        at = following
    return begin


def _decode(chunk: bytes, begin: int, end: int) -> bytes:
    """The frame in chunk[begin:end], whose chain ends there."""
    out = bytearray()
    while begin < end:
        following = begin + chunk[begin]
        out += chunk[begin + 1 : following]
        if chunk[begin] <= GROUP and following < end:
            out.append(0)
        begin = following
    return bytes(out)
