"""Signatures: who announced an object (wire 5.5).

An announcement is signed with Ed25519 (RFC 8032), whose signatures are deterministic: the same
object and sender state give the same bytes. Signed are a context, the sender id, the object number
and the announcement up to its first signature; the manifest in there has name, size, geometry,
digest, mtime and status. So a signature fits one number of one sender and nothing else, and an
object made void is signed anew. The content is bound by its SHA-256. Symbols are not signed: a
forged one is found by the digest.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from diode.keytext import KEY_ID, Public, Secret
from diode.objects import Announcement

if TYPE_CHECKING:
    from diode.events import Key

SIGNATURE = 1
"""Section type of a signature (wire 5.1)."""
SECTION = KEY_ID + 64
"""Bytes of a signature section."""
CONTEXT = b"diode announcement v1\0"
IDENTITY = struct.Struct("<II")
"""Sender id and object number, as everything that is bound to one object has them."""


@dataclass(frozen=True, slots=True)
class PublicKey(Public):
    """Whose signatures to accept."""

    KIND: ClassVar[str] = "diode-ed25519-pub"

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made that signature (64 bytes) of that message. About 0.1 ms."""
        with contextlib.suppress(InvalidSignature, ValueError):
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
            return True
        return False


@dataclass(frozen=True, slots=True)
class SecretKey(Secret):
    """Signs announcements."""

    KIND: ClassVar[str] = "diode-ed25519-secret"

    @classmethod
    def generate(cls, comment: str = "") -> SecretKey:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw(), comment)

    @property
    def public(self) -> PublicKey:
        key = Ed25519PrivateKey.from_private_bytes(self.raw).public_key()
        return PublicKey(key.public_bytes_raw(), self.comment)

    @property
    def id(self) -> bytes:
        """The key id that its signatures name."""
        return self.public.id

    def sign(self, sender: int, number: int, announcement: Announcement) -> Announcement:
        """This announcement, which has no signature yet, with one."""
        message = to_be_signed(sender, number, announcement.serialize())
        signed = (SIGNATURE, self.id + self.signature(message))
        return replace(announcement, sections=(*announcement.sections, signed))

    def signature(self, message: bytes) -> bytes:
        """64 bytes; a message begins with a context that says what it is."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(message)


def to_be_signed(sender: int, number: int, body: bytes) -> bytes:
    """What a signature is made of; body: the announcement before its first signature."""
    return CONTEXT + IDENTITY.pack(sender, number) + body


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
