"""Objects: the manifest that describes one, its announcement on the wire, and names that are
safe to create (wire 5).

A manifest is decoded from hostile bytes: msgspec checks types and lengths, `problem()`
checks every number against the others, and nothing is allocated for an object before
both have passed.

Names. The sender's name is a claim. `safe_parts` turns it into path components a
receiver may create below its inbox: never absolute, never `..`, never NUL, and in the mode `safe`
nothing that a terminal, a shell or another operating system could take for something else:
such characters are percent-escaped, so two different names stay different. The mode
`exact` keeps every byte but `/` and NUL, for trees that must compare equal.
"""

from __future__ import annotations

import enum
import re
import struct
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from diode.block import PLAIN
from diode.errors import SourceError
from diode.frame import crc32c
from diode.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.block import BlockCheck

MAX_NAME = 4096
"""PATH_MAX of Linux: a longer name could not be created."""
MAX_PART = 255
"""NAME_MAX of every common file system."""
MAX_ANNOUNCEMENT = 12_288
"""Room for the longest name twice and a signature (wire 5.1)."""
DIGEST = 32
MAX_BUNDLE = 1 << 24
"""Bytes of a bundle: a receiver takes it apart in memory, and it is small things that it is for."""


class Status(enum.IntEnum):
    COMPLETE = 0
    VOID = 2


class Type(enum.IntEnum):
    FILE = 0
    DIRECTORY = 1
    BUNDLE = 2


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """What an object is (wire 5.2). Elements are positional: only ever append."""

    status: int
    type: int
    name: bytes
    size: int
    digest: bytes
    code: int
    k: int
    n: int
    symbol_size: int
    passes: int
    mtime: int | None
    cipher: int = PLAIN

    @property
    def geometry(self) -> Geometry:
        return Geometry(
            self.size, self.code, self.k, self.n, self.symbol_size, self.cipher, self.passes
        )

    @property
    def encrypted(self) -> bool:
        return self.cipher != PLAIN

    @property
    def concealed(self) -> bool:
        """Whether it leaves out what only the receivers of an encrypted object may know."""
        return self.encrypted and self == self.outer

    @property
    def outer(self) -> Manifest:
        """What of an encrypted object's manifest everybody may know (wire 5.6)."""
        return msgspec.structs.replace(self, type=Type.FILE, name=b"", digest=b"", mtime=None)

    def serialize(self) -> bytes:
        """A MessagePack array; the last element is there only where it says something."""
        return _encode(msgspec.structs.astuple(self)[: None if self.encrypted else -1])

    def problem(self) -> str:
        """What is wrong with this manifest, naming the field, or an empty string."""
        if self.status not in (Status.COMPLETE, Status.VOID):
            return f"status {self.status} is not known"
        if self.passes < 0 or self.n < 0:
            return "negative counts"
        return self.geometry.problem() or ("" if self.concealed else self._content_problem())

    def _content_problem(self) -> str:
        if self.type not in (Type.FILE, Type.DIRECTORY, Type.BUNDLE):
            return f"type {self.type} is not known"
        if not 0 < len(self.name) <= MAX_NAME or b"\0" in self.name:
            return f"name of {len(self.name)} bytes, or with NUL"
        if len(self.digest) != DIGEST:
            return f"digest of {len(self.digest)} bytes, SHA-256 has {DIGEST}"
        if self.type == Type.DIRECTORY and self.size:
            return f"a directory of {self.size} bytes"
        if self.type == Type.BUNDLE and self.size > MAX_BUNDLE:
            return f"a bundle of {self.size} bytes, at most {MAX_BUNDLE} are possible"
        if self.mtime is not None and not -(1 << 63) <= self.mtime < 1 << 63:
            return "mtime out of range"
        return ""


_decode = msgspec.msgpack.Decoder(Manifest).decode
_encode = msgspec.msgpack.Encoder().encode
LENGTH = struct.Struct("<H")
_SECTION = struct.Struct("<BH")


class Malformed(Exception):
    """An announcement that cannot be read; the text says why. Never leaves the receiver."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A manifest with the sections behind it: what the wire carries about an object."""

    manifest: Manifest
    sections: tuple[tuple[int, bytes], ...] = ()

    def serialize(self) -> bytes:
        """Bytes without the zeros at the end (wire 5.1). SourceError where it is too long."""
        body = self.manifest.serialize()
        parts = [LENGTH.pack(len(body)), body]
        for kind, content in self.sections:
            parts += [_SECTION.pack(kind, len(content)), content]
        data = b"".join(parts)
        if len(data) > MAX_ANNOUNCEMENT:
            raise SourceError("the name is too long to be announced")
        return data

    @classmethod
    def parse(cls, data: bytes) -> Announcement:
        """Read an announcement. Raises Malformed, and nothing else, whatever the bytes."""
        if len(data) < LENGTH.size:
            raise Malformed("shorter than its length field")
        (length,) = LENGTH.unpack_from(data)
        end = LENGTH.size + length
        if end > len(data):
            raise Malformed(f"manifest of {length} bytes in {len(data)}")
        try:
            manifest = _decode(data[LENGTH.size : end])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Malformed(str(error)) from None
        sections = []
        while end < len(data) and data[end]:
            if end + _SECTION.size > len(data):
                raise Malformed("truncated section")
            kind, length = _SECTION.unpack_from(data, end)
            start, end = end + _SECTION.size, end + _SECTION.size + length
            if end > len(data):
                raise Malformed(f"section {kind} of {length} bytes runs over the end")
            sections.append((kind, data[start:end]))
        if any(data[end:]):
            raise Malformed("bytes behind the end")
        if manifest.encrypted and not manifest.concealed:
            raise Malformed("encrypted, and in the open tells what it should not")
        problem = manifest.problem()
        if problem:
            raise Malformed(problem)
        return cls(manifest, tuple(sections))


class Enclosed(NamedTuple):
    """An object's announcement, not signed yet, and what closes its blocks."""

    announcement: Announcement
    check: BlockCheck


class Opened(NamedTuple):
    """A manifest as the sender had it, who signed by its word, and what opens the blocks."""

    manifest: Manifest
    signers: tuple[bytes, ...]
    """Key ids."""
    check: BlockCheck


# Names ------------------------------------------------------------------------------------

_RESERVED = {"con", "prn", "aux", "nul", "clock$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789"
}
# Marks that reorder what a terminal shows (Unicode TR9), and the two odd line separators.
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
# A percent sign that would read as one of our escapes is escaped too: names stay distinct.
_AMBIGUOUS = re.compile(r"%(?=[0-9A-F]{2})")


def escape(text: bytes | str) -> str:
    """Text from the wire as printable ASCII on one line, for terminals, logs and messages."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if _plain(text) and "\\" not in text:
        return text
    return "".join(c if " " <= c <= "~" and c != "\\" else _backslashed(c) for c in text)


def _plain(text: str) -> bool:
    """Whether all of it is printable ASCII."""
    return text.isascii() and text.isprintable()


def _backslashed(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    if char == "\\":
        return "\\\\"
    if char <= "\x7f":  # DEL is ASCII too: backslashreplace would let it through
        return f"\\x{ord(char):02x}"
    return char.encode("ascii", "backslashreplace").decode()


def _percent(char: str) -> str:
    return "".join(f"%{b:02X}" for b in char.encode("utf-8", "surrogateescape"))


def _is_unsafe(char: str) -> bool:
    """Control characters (8-bit ones too), bytes that are not UTF-8, and bidi marks."""
    return char in _BIDI or unicodedata.category(char) in ("Cc", "Cs")


@lru_cache(maxsize=16)  # files of one folder mostly follow each other
def _folders(path: bytes, exact: bool) -> tuple[str, ...]:
    parts: list[str] = []
    for raw in path.split(b"/"):
        if raw not in (b"", b"."):
            parts.append(_component(raw, top=not parts, exact=exact))
    return tuple(parts)


def _component(raw: bytes, *, top: bool, exact: bool) -> str:
    part = raw.decode("utf-8", "surrogateescape")
    if raw == b"..":
        part = "%2E%2E"
    elif exact:
        part = part.replace("\0", "%00")
    else:
        part = _safe_part(part, top=top)
    return _shorten(part, raw)


def _safe_part(part: str, *, top: bool) -> str:
    part = _AMBIGUOUS.sub("%25", part)
    safe = part if _plain(part) else "".join(_percent(c) if _is_unsafe(c) else c for c in part)
    if top and safe[0] in ".-":
        safe = _percent(safe[0]) + safe[1:]
    if safe[-1] in ". ":
        safe = safe[:-1] + _percent(safe[-1])
    if safe.split(".")[0].lower() in _RESERVED:
        safe = _percent(safe[0]) + safe[1:]
    return safe


def safe_parts(name: bytes, *, exact: bool = False) -> list[str]:
    """Path components, below the inbox, for a name from the wire.

    name: as in the manifest. exact: keep every byte but `/` and NUL. The components are file
    system strings (surrogateescape), never empty, `.` or `..`, none over 255 bytes: a longer one
    is cut and closed with its CRC-32C, so that two long names stay two. Every name
    has an answer; one that leaves nothing becomes `unnamed`.
    """
    path, _, last = name.rpartition(b"/")
    parts = [*_folders(path, exact)]
    if last not in (b"", b"."):
        parts.append(_component(last, top=not parts, exact=exact))
    return parts or ["unnamed"]


def _shorten(part: str, raw: bytes) -> str:
    encoded = part.encode("utf-8", "surrogateescape")
    if len(encoded) <= MAX_PART:
        return part
    mark = f"~{crc32c(raw):08x}"
    return encoded[: MAX_PART - len(mark)].decode("utf-8", "ignore") + mark


def wire_name(parts: Iterable[str]) -> bytes:
    """A relative path's components as the manifest carries them."""
    return "/".join(parts).encode("utf-8", "surrogateescape")
