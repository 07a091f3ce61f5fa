"""Envelopes: for whom an object is encrypted, and what of it only they learn (wire 5.6).

Every object has a key of its own. One envelope for each recipient holds it, in the manner of the
X25519 recipients of age (C2SP): the sender makes a pair of keys for this envelope alone, and what
it agrees on with the recipient's public key (X25519, RFC 7748) wraps the object key. An envelope
names nobody; who reads an object is found out by trying. Under the object key go the blocks
(cipher.py) and, in a section of its own, what the manifest leaves open: name, type, digest, time,
and who signed, so that nobody can put another signature on what he cannot read.

Nothing is drawn at random. The sender keeps one secret, and the object key is derived (HKDF,
RFC 5869) from that and everything the whole manifest says: number, digest and geometry among it.
So the same object and state give the same bytes, and even a sender whose state came back from a
backup never encrypts two contents, or one content cut in two ways, under one key and nonce. The
keys of the envelopes are derived from the secret too, so that one recipient cannot find out who
the others are.

What this does not give: a recipient's secret key opens whatever was ever sent to it, and the
sender's secret whatever it sent (no forward secrecy); and anybody who has the public key can
encrypt to it, so who sent an object only its signature says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from diode.block import AES_GCM
from diode.cipher import NONCE, BlockCipher
from diode.errors import KeyFileError, UsageError
from diode.keytext import KEY, KEY_ID, Public, Secret
from diode.objects import LENGTH, Announcement, Enclosed, Malformed, Manifest, Opened
from diode.seal import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.events import Key

ENVELOPE, CONCEALED = 2, 3
"""Section types of an envelope and of the concealed part of a manifest (wire 5.1)."""
ENVELOPES = 16
"""Envelopes of one object: what a receiver tries at most, and so what a sender makes."""
SECTION = KEY + KEY + 16
"""Bytes of an envelope: public key, wrapped object key, tag."""
STEP = 32
"""The concealed part is filled up to a multiple of this, so that it tells little of the name."""
_OBJECT, _PAIR = b"diode object v1\0", b"diode ephemeral v1\0"
_WRAP, _BLOCKS, _MANIFEST = b"diode envelope v1\0", b"diode blocks v1\0", b"diode manifest v1\0"
_ZERO = bytes(NONCE)
"""The nonce where a key serves once."""


@dataclass(frozen=True, slots=True)
class Recipient(Public):
    """For whom to encrypt."""

    KIND: ClassVar[str] = "diode-x25519-pub"

    def __post_init__(self) -> None:
        """Raises KeyFileError where everybody could decrypt what is encrypted for it."""
        try:
            _agree(X25519PrivateKey.from_private_bytes(bytes(KEY)), self.raw)
        except ValueError:
            raise KeyFileError(f"{self.fingerprint} is no key to encrypt to") from None


@dataclass(frozen=True, slots=True)
class Identity(Secret):
    """Opens what is encrypted for its public half."""

    KIND: ClassVar[str] = "diode-x25519-secret"

    @classmethod
    def generate(cls, comment: str = "") -> Identity:
        return cls(X25519PrivateKey.generate().private_bytes_raw(), comment)

    @property
    def public(self) -> Recipient:
        key = X25519PrivateKey.from_private_bytes(self.raw).public_key()
        return Recipient(key.public_bytes_raw(), self.comment)


class Unwrapper:
    """Finds the object key in envelopes for one identity."""

    def __init__(self, identity: Identity) -> None:
        self._secret = X25519PrivateKey.from_private_bytes(identity.raw)
        self._public = identity.public.raw

    def unwrap(self, key: Key, envelope: bytes) -> bytes | None:
        """The object key in an envelope for this identity; None in any other."""
        if len(envelope) != SECTION:
            return None
        pair, wrapped = envelope[:KEY], envelope[KEY:]
        try:
            wrapper = _wrapper(_agree(self._secret, pair), pair, self._public, *key)
            return ChaCha20Poly1305(wrapper).decrypt(_ZERO, wrapped, None)
        except (ValueError, InvalidTag):  # ValueError: they agree on zero (RFC 7748, 6.1)
            return None


class _Content(msgspec.Struct, array_like=True, frozen=True):
    """The concealed part of a manifest (wire 5.6)."""

    type: int
    name: bytes
    digest: bytes
    mtime: int | None
    signers: bytes


def distinct(recipients: Iterable[Recipient]) -> list[Recipient]:
    """Each of them once. UsageError where an object cannot go to so many."""
    found = list({recipient.raw: recipient for recipient in recipients}.values())
    if len(found) > ENVELOPES:
        raise UsageError(
            f"{len(found)} recipients, and an object goes to {ENVELOPES} at most",
            hint="send it twice, or give several receivers one identity",
        )
    return found


class Recipients:
    """Encloses objects for these recipients."""

    cipher = AES_GCM

    def __init__(self, recipients: Iterable[Recipient], secret: bytes) -> None:
        """secret: 32 bytes that the sender keeps."""
        self._recipients = distinct(recipients)
        self._secret = secret

    def enclose(self, sender: int, number: int, manifest: Manifest, signer: bytes) -> Enclosed:
        """The announcement of an encrypted object. signer: id of the key that will sign it."""
        bound = IDENTITY.pack(sender, number) + manifest.serialize() + signer
        object_key = _derived(self._secret, _OBJECT + bound)
        outer = manifest.outer
        envelopes = [
            (ENVELOPE, self._wrapped(object_key, recipient, sender, number))
            for recipient in self._recipients
        ]
        content = _Content(manifest.type, manifest.name, manifest.digest, manifest.mtime, signer)
        body = _encode(content)
        plain = LENGTH.pack(len(body)) + body
        plain = plain.ljust(-(-len(plain) // STEP) * STEP, b"\0")
        binding = _binding(sender, number, outer.serialize())
        sealed = AESGCM(_derived(object_key, _MANIFEST)).encrypt(_ZERO, plain, binding)
        sections = (*envelopes, (CONCEALED, sealed))
        return Enclosed(Announcement(outer, sections), _cipher(object_key))

    def _wrapped(self, object_key: bytes, to: Recipient, sender: int, number: int) -> bytes:
        derived = _derived(self._secret + object_key, _PAIR + to.raw)
        ephemeral = X25519PrivateKey.from_private_bytes(derived)
        pair = ephemeral.public_key().public_bytes_raw()
        wrapper = _wrapper(_agree(ephemeral, to.raw), pair, to.raw, sender, number)
        return pair + ChaCha20Poly1305(wrapper).encrypt(_ZERO, object_key, None)


def open_concealed(key: Key, data: bytes, object_key: bytes) -> Opened:
    """What the object key opens of an announcement. Raises Malformed, whatever the bytes."""
    announcement = Announcement.parse(data)
    sealed = [content for kind, content in announcement.sections if kind == CONCEALED]
    if len(sealed) != 1:
        raise Malformed(f"{len(sealed)} concealed parts")
    (length,) = LENGTH.unpack_from(data)
    binding = _binding(*key, data[LENGTH.size : LENGTH.size + length])
    try:
        aead = AESGCM(_derived(object_key, _MANIFEST))
        plain = aead.decrypt(_ZERO, sealed[0], binding)
        (length,) = LENGTH.unpack_from(plain)
        content = _decode(plain[LENGTH.size : LENGTH.size + length])
    except (InvalidTag, ValueError, struct.error, msgspec.MsgspecError, RecursionError):
        raise Malformed("the concealed part is not what was enclosed") from None
    manifest = msgspec.structs.replace(
        announcement.manifest,
        type=content.type,
        name=content.name,
        digest=content.digest,
        mtime=content.mtime,
    )
    problem = "nothing is concealed" if manifest.concealed else manifest.problem()
    if problem or len(content.signers) % KEY_ID:
        raise Malformed(problem or f"signers of {len(content.signers)} bytes")
    ids = range(0, len(content.signers), KEY_ID)
    signers = tuple(content.signers[at : at + KEY_ID] for at in ids)
    return Opened(manifest, signers, _cipher(object_key))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Content).decode


def _cipher(object_key: bytes) -> BlockCipher:
    return BlockCipher(_derived(object_key, _BLOCKS))


def _binding(sender: int, number: int, outer: bytes) -> bytes:
    """What the concealed part belongs to; outer: the manifest in the open, as it was sent."""
    return IDENTITY.pack(sender, number) + outer


def _wrapper(shared: bytes, pair: bytes, recipient: bytes, sender: int, number: int) -> bytes:
    """The key that wraps an object key."""
    return _derived(shared, _WRAP + IDENTITY.pack(sender, number), salt=pair + recipient)


def _agree(secret: X25519PrivateKey, public: bytes) -> bytes:
    """X25519; ValueError where it comes to zero."""
    return secret.exchange(X25519PublicKey.from_public_bytes(public))


def _derived(secret: bytes, info: bytes, *, salt: bytes | None = None) -> bytes:
    """HKDF-SHA256, 32 bytes."""
    return HKDF(SHA256(), KEY, salt, info).derive(secret)
