"""Keys as text: one line each, for files, for the command line (public ones), for reading out.

    diode-ed25519-pub    BASE64 [comment]     whose signatures to accept     seal.py
    diode-ed25519-secret BASE64 [comment]     signs
    diode-x25519-pub     BASE64 [comment]     for whom to encrypt            envelope.py
    diode-x25519-secret  BASE64 [comment]     decrypts
    diode-link-secret    BASE64 [comment]     tags frames, at both ends      tag.py

Each is 32 bytes. `Public` and `Secret` are what all kinds have in common; a kind is a subclass that
says its first word. No message quotes a line, since it may be the secret of something, and a secret
shows in no representation.

A fingerprint is the key id, the first 8 bytes of the SHA-256 of the key: to compare two keys by
eye, not to trust one by.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import ClassVar, Self

from diode.errors import KeyFileError

KEY = 32
KEY_ID = 8
MAX_COMMENT = 200
KINDS = {
    "diode-ed25519-pub": "a public key to verify with",
    "diode-ed25519-secret": "a secret key to sign with",
    "diode-x25519-pub": "a public key to encrypt to",
    "diode-x25519-secret": "a secret key to decrypt with",
    "diode-link-secret": "a link key",
}
"""First words of the lines there are, and what they are called."""
PUBLIC = tuple(kind for kind in KINDS if kind.endswith("-pub"))
SECRET = tuple(kind for kind in KINDS if kind not in PUBLIC)


@dataclass(frozen=True, slots=True)
class Public:
    """A key that everybody may know."""

    KIND: ClassVar[str]

    raw: bytes
    comment: str = ""

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.raw).digest()[:KEY_ID]

    @property
    def fingerprint(self) -> str:
        """The key id for people: 4f2a-91c0-33de-7b10."""
        return fingerprint(self.id)

    @property
    def name(self) -> str:
        """What its owner called it, or else its fingerprint."""
        return self.comment or self.fingerprint

    @property
    def line(self) -> str:
        return _line(self.KIND, self.raw, self.comment)

    @classmethod
    def parse(cls, text: str) -> list[Self]:
        """The keys of this kind in a text, one a line; `#` begins a remark. Raises KeyFileError."""
        return [cls(raw, comment) for raw, comment in _words(text, cls.KIND)]


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that its owner alone may know. Its bytes show in no representation."""

    KIND: ClassVar[str]

    raw: bytes = field(repr=False)
    comment: str = ""

    @property
    def line(self) -> str:
        return _line(self.KIND, self.raw, self.comment)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The one key of this kind in a text. Raises KeyFileError, which never quotes it."""
        found = _words(text, cls.KIND)
        if len(found) > 1:
            raise KeyFileError("there is more than one secret key")
        return cls(*found[0])


def fingerprint(key_id: bytes) -> str:
    """A key id for people."""
    return key_id.hex("-", 2)


def clean_comment(text: str) -> str:
    """A comment on one line of printable ASCII, not too long. Raises KeyFileError."""
    text = text.strip()
    if len(text) > MAX_COMMENT or not (text.isascii() and text.isprintable()):
        raise KeyFileError(f"a key's comment is at most {MAX_COMMENT} printable ASCII characters")
    return text


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
            known = KINDS.get(word, "no key")
            raise KeyFileError(f"line {number} is {known} where {KINDS[kind]} is needed")
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
