"""What an operator asks of records (wire 11): a part of the `Health` of a receiver, and of the
`Sending` of a sender.

Counts are those since the start. What was heard, offered or is missing counts records, not frames.
Times are as in health.py: wall-clock seconds since 1970 for people, durations by a monotonic clock.
Topics, reasons and the names of sources and sinks are escaped (objects.escape).
"""

from __future__ import annotations

import msgspec

PATIENCE = 60.0
"""Seconds for which a source or a sink may be away, where nothing else was configured."""


class RecordGap(msgspec.Struct, frozen=True):
    """Records of a topic of `every` that never came, by their numbers."""

    time: float
    """When they were waited for no longer."""
    sender: str
    """Eight hexadecimal digits."""
    topic: str
    first: int
    last: int


class Dropped(msgspec.Struct, frozen=True):
    """Records of a topic that there was no room for."""

    topic: str
    count: int


class Peer(msgspec.Struct, frozen=True):
    """A source or a sink: whether what it talks to, a broker or a file, is there."""

    name: str
    there: bool | None
    """None where nothing is known yet."""
    away_since: float | None
    """None where it is not away."""
    away_seconds: float
    why: str
    """As its process says; empty where it is there, or says nothing."""
    taken: int
    """Records that a source has given, or a sink has taken."""


class Sink(Peer, frozen=True):
    """Where records go."""

    waiting: int
    """Records that it has not taken: of `latest` the newest of each topic."""


class Source(Peer, frozen=True):
    """Where records come from."""

    ended: bool
    """Whether there is nothing more of it: the end of its input, not an outage."""


class RecordsIn(msgspec.Struct, frozen=True):
    """The records of a receiver that has sinks."""

    latest: int = 0
    """Heard, and new."""
    every: int = 0
    """Heard, new, and next in order."""
    known: int = 0
    """Heard again."""
    missing: int = 0
    """Of `every`, given up."""
    gaps: list[RecordGap] = []
    """The last ones of these, in this run or an earlier one, the newest last."""
    dropped: int = 0
    """Heard, and lost here since a sink or the disk took nothing for too long."""
    dropped_of: list[Dropped] = []
    """The topics that most of these are of."""
    unstored: int = 0
    """Of `every`, heard and not on disk yet."""
    topics: int = 0
    newest: float | None = None
    """When a new one was heard last, in this run or an earlier one."""
    sinks: list[Sink] = []
    patience: float = PATIENCE
    """Seconds after which a sink that takes nothing is an alarm."""


class RecordsOut(msgspec.Struct, frozen=True):
    """The records of a sender that has sources."""

    latest: int = 0
    """Offered by sources."""
    every: int = 0
    replaced: int = 0
    """Values of `latest` that a newer one has replaced before they were sent."""
    repeated: int = 0
    """Times that one was sent again."""
    waiting: int = 0
    """Not sent once."""
    kept: int = 0
    """Of `every`, on disk until they are sent for the last time."""
    kept_bytes: int = 0
    quota: int = 0
    """Bytes of these; beyond, sources have to wait."""
    refused: int = 0
    """What cannot be a record, or cannot be sent."""
    dropped: int = 0
    """Lost since it came faster than it was taken, from a source that cannot wait."""
    topics: int = 0
    """Topics, those of `every` of earlier runs too."""
    sources: list[Source] = []
    patience: float = PATIENCE
    """Seconds after which a source that is away is an alarm."""


def away(peers: list[Sink] | list[Source], patience: float) -> list[Peer]:
    """Those that have been away for longer than that."""
    return [one for one in peers if one.away_since is not None and one.away_seconds >= patience]
