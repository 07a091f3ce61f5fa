"""What has become of objects at the sender, as small frozen values named in the past tense."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassSent:
    """One more pass of an object is on its way to the carrier."""

    number: int
    passes_done: int


@dataclass(frozen=True, slots=True)
class ObjectSent:
    """Every planned pass of an object is on its way to the carrier."""

    number: int
    name: bytes
    passes: int


@dataclass(frozen=True, slots=True)
class ObjectRetired:
    """An object has left for good: its source is closed, and will not be read any more."""

    number: int


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """An object was made void because its source failed."""

    number: int
    name: bytes
    reason: str


Sent = PassSent | ObjectSent | ObjectRetired | SourceFailed
