"""Signatures: who announced an object (wire 5.5).

An announcement is signed with Ed25519 (RFC 8032), whose signatures are deterministic: the same
object and sender state give the same bytes. Signed are a context, the sender id, the object number
and the announcement up to its first signature; the manifest in there has name, size, geometry,
digest, mtime and status. So a signature fits one number of one sender and nothing else, and an
object made void is signed anew. The content is bound by its SHA-256. Symbols are not signed: a
forged one is found by the digest.

Keys are one line of text each, for files, for the command line (public ones), for reading out:

    diode-ed25519-pub    BASE64 [comment]     the 32 bytes of RFC 8032
    diode-ed25519-secret BASE64 [comment]     the 32 bytes they are made of

A fingerprint is the key id in a signature, the first 8 bytes of the SHA-256 of the public
key: to compare two keys by eye, not to trust one by.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from diode.errors import KeyFileError
from diode.objects import Announcement

if TYPE_CHECKING:
    from diode.events import Key
    from diode.objects import Manifest

SIGNATURE = 1
"""Section type of a signature (wire 5.1)."""
PUBLIC, SECRET = "diode-ed25519-pub", "diode-ed25519-secret"
KEY = 32
KEY_ID = 8
SECTION = KEY_ID + 64
"""Bytes of a signature section."""
MAX_COMMENT = 200
CONTEXT = b"diode announcement v1\0"
_IDENTITY = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whose signatures to accept."""

    raw: bytes
    comment: str = ""

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.raw).digest()[:KEY_ID]

    @property
    def fingerprint(self) -> str:
        """The key id for people: 4f2a-91c0-33de-7b10."""
        return self.id.hex("-", 2)

    @property
    def name(self) -> str:
        """What its owner called it, or else its fingerprint."""
        return self.comment or self.fingerprint

    @property
    def line(self) -> str:
        return _line(PUBLIC, self.raw, self.comment)

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made that signature (64 bytes) of that message. About 0.1 ms."""
        with contextlib.suppress(InvalidSignature, ValueError):
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
            return True
        return False


@dataclass(frozen=True, slots=True)
class SecretKey:
    """Signs announcements. Its bytes show in no representation."""

    raw: bytes = field(repr=False)
    comment: str = ""

    @classmethod
    def generate(cls, comment: str = "") -> SecretKey:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw(), comment)

    @property
    def public(self) -> PublicKey:
        key = Ed25519PrivateKey.from_private_bytes(self.raw).public_key()
        return PublicKey(key.public_bytes_raw(), self.comment)

    @property
    def line(self) -> str:
        return _line(SECRET, self.raw, self.comment)

    @property
    def identity(self) -> str:
        """The public key's fingerprint."""
        return self.public.fingerprint

    def announce(self, sender: int, number: int, manifest: Manifest) -> Announcement:
        """The announcement of this manifest, signed."""
        plain = Announcement(manifest)
        message = to_be_signed(sender, number, plain.serialize())
        signature = Ed25519PrivateKey.from_private_bytes(self.raw).sign(message)
        return Announcement(manifest, ((SIGNATURE, self.public.id + signature),))


def to_be_signed(sender: int, number: int, body: bytes) -> bytes:
    """What a signature is made of; body: the announcement before its first signature."""
    return CONTEXT + _IDENTITY.pack(sender, number) + body


@dataclass(frozen=True, slots=True)
class Sealed:
    """An announcement taken apart for its signatures."""

    message: bytes
    signatures: tuple[tuple[bytes, bytes], ...]
    """Key id and signature of each."""
    sound: bool
    """Whether each has the right length and nothing else follows the first of them."""


def take_apart(key: Key, announcement: bytes) -> Sealed:
    """The signatures in an announcement that `Announcement.parse` accepts, and what they sign."""
    sections = Announcement.parse(announcement).sections
    kinds = [kind for kind, _ in sections]
    first = kinds.index(SIGNATURE) if SIGNATURE in kinds else len(kinds)
    (end,) = struct.unpack_from("<H", announcement)
    end += 2 + sum(3 + len(content) for _, content in sections[:first])
    signatures = sections[first:]
    sound = all(kind == SIGNATURE and len(content) == SECTION for kind, content in signatures)
    return Sealed(
        to_be_signed(*key, announcement[:end]),
        tuple((s[:KEY_ID], s[KEY_ID:]) for kind, s in signatures if kind == SIGNATURE),
        sound,
    )


# Keys as text -----------------------------------------------------------------------------------


def _line(kind: str, raw: bytes, comment: str) -> str:
    return f"{kind} {base64.b64encode(raw).decode()} {comment}".rstrip()


def _words(text: str, kind: str) -> list[tuple[bytes, str]]:
    """Key bytes and comment of every line of that kind; other kinds are an error."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        encoded, _, comment = rest.strip().partition(" ")
        if word != kind:
            raise KeyFileError(_not_this(word, kind, number))
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY:
            raise KeyFileError(f"the key in line {number} is not {KEY} bytes in base64")
        found.append((raw, clean_comment(comment)))
    if not found:
        raise KeyFileError(f"there is no {kind} line")
    return found


def _not_this(word: str, kind: str, line: int) -> str:
    """Never quotes the line: it may be the secret of something."""
    known = {PUBLIC: "a public key", SECRET: "a secret key"}
    return f"line {line} is {known.get(word, 'no key')} where {known[kind]} is needed"


def clean_comment(text: str) -> str:
    """A comment on one line of printable ASCII, not too long. Raises KeyFileError."""
    text = text.strip()
    if len(text) > MAX_COMMENT or not (text.isascii() and text.isprintable()):
        raise KeyFileError(f"a key's comment is at most {MAX_COMMENT} printable ASCII characters")
    return text


def public_keys(text: str) -> list[PublicKey]:
    """The public keys in this text, one a line; `#` begins a remark. Raises KeyFileError."""
    return [PublicKey(raw, comment) for raw, comment in _words(text, PUBLIC)]


def secret_key(text: str) -> SecretKey:
    """The secret key in this text. Raises KeyFileError, which never quotes it."""
    found = _words(text, SECRET)
    if len(found) > 1:
        raise KeyFileError("there is more than one secret key")
    return SecretKey(*found[0])
