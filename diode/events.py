"""What happened, as small frozen values named in the past tense.

The receiver returns them, the service acts on them and shows them. `Key` names an object.
Arrays inside events are views into the receiver's buffers: they hold until its next call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from diode.frame import I64, U8
    from diode.objects import Manifest
    from diode.record import Record


class Key(NamedTuple):
    """An object on a line: who sent it and its number there."""

    sender: int
    number: int

    def __str__(self) -> str:
        return f"{self.sender:08x}:{self.number}"


@dataclass(frozen=True, slots=True)
class SenderHeard:
    """A sender id was heard for the first time."""

    sender: int


@dataclass(frozen=True, slots=True)
class ObjectAnnounced:
    """A manifest was heard whole for the first time."""

    key: Key
    manifest: Manifest
    announcement: bytes


@dataclass(frozen=True, slots=True)
class BlockRecovered:
    """A block is whole and its check is right. data: uint8 (bytes,), at `offset` of the object."""

    key: Key
    block: int
    offset: int
    data: U8
    decoded: bool
    """Whether source symbols had to be computed from parity."""


@dataclass(frozen=True, slots=True)
class BlockParked:
    """An unfinished block's symbols left memory: keep them, beside those parked before."""

    key: Key
    block: int
    numbers: I64
    symbols: U8


@dataclass(frozen=True, slots=True)
class BlockSaved:
    """Symbols of an unfinished block that stays in memory: keep them, like parked ones."""

    key: Key
    block: int
    numbers: I64
    symbols: U8


@dataclass(frozen=True, slots=True)
class BlockWanted:
    """A parked block is being heard again: `Receiver.restore` all symbols parked for it."""

    key: Key
    block: int


@dataclass(frozen=True, slots=True)
class BlockSpoiled:
    """A block's symbols contradict its check: one of them is wrong though its frame was not."""

    key: Key
    block: int


@dataclass(frozen=True, slots=True)
class ObjectCompleted:
    """Every block of the object is recovered; its digest is the sink's to verify."""

    key: Key
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ObjectEvicted:
    """An unfinished object had to go from memory: more were begun than the limit allows."""

    key: Key
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ObjectVoided:
    """The sender says that the source of this object failed."""

    key: Key
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ObjectQuarantined:
    """An announcement is not signed by a key that counts. Told once; nothing is kept of it."""

    key: Key
    manifest: Manifest
    reason: str
    """An `admission.Refusal` value."""


@dataclass(frozen=True, slots=True)
class FrameRejected:
    """Frames were not used. reason: a `frame.Reject` value."""

    reason: str
    count: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SenderFellSilent:
    """The sender said that this was its last frame for now."""

    sender: int
    frames: int


@dataclass(frozen=True, slots=True)
class GapSeen:
    """Object numbers the sender has used and nothing was heard of."""

    sender: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class RecordsHeard:
    """Records that are new, of `latest`, or next in order, of `every`."""

    sender: int
    class_: int
    """record.LATEST or EVERY."""
    stream: int
    records: list[Record]


@dataclass(frozen=True, slots=True)
class RecordGap:
    """Records of a topic of `every` that are waited for no longer, by their numbers."""

    sender: int
    stream: int
    topic: bytes
    first: int
    last: int


Event = (
    SenderHeard
    | ObjectAnnounced
    | BlockRecovered
    | BlockParked
    | BlockSaved
    | BlockWanted
    | BlockSpoiled
    | ObjectCompleted
    | ObjectEvicted
    | ObjectVoided
    | ObjectQuarantined
    | FrameRejected
    | SenderFellSilent
    | GapSeen
    | RecordsHeard
    | RecordGap
)
