"""What an operator asks of a receiver, as one value: `Health`.

Everything that shows it renders this value: `diode status`, its page, the metrics, the alarms. None
of them counts anything of its own, so they cannot disagree. The running receiver makes one each
second (service/vitals.py) and leaves it in its state folder. What was delivered is added from the
ledger by whoever reads it, so that one can ask also when no receiver runs.

Times are wall-clock seconds since 1970, for people; durations are measured by a monotonic clock.
Names are as the sender gave them, escaped (objects.escape): whatever renders them escapes them once
more for where they go.
"""

from __future__ import annotations

import enum

import msgspec


class LinkState(enum.Enum):
    """What is known of the line at one moment."""

    UNHEARD = "unheard"
    """No frame has come since the receiver started."""
    UP = "up"
    SILENT = "silent"
    """Nothing has come for longer than the configured time: the main alarm."""
    STOPPED = "stopped"
    """No receiver runs, or the one that does tells nothing any more."""


class Loss(msgspec.Struct, frozen=True):
    """Shares of the frames that were sent and did not come; None where nothing was sent."""

    minute: float | None = None
    hour: float | None = None
    day: float | None = None


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """Object numbers from first to last."""

    first: int
    last: int


class SenderHealth(msgspec.Struct, frozen=True):
    """One sender, as its frames and heartbeats show it."""

    sender: str
    """Eight hexadecimal digits."""
    last_heard: float
    silent_seconds: float
    ended: bool
    """Whether it said that what it sent last was its last frame for now."""
    frames: int
    """Heard since the receiver started."""
    lost: int
    sent: int
    """Its own count of the frames that it ever sent."""
    rate: int
    """Bytes per second of its line, as it says; 0 where not known."""
    uptime: int
    """Seconds since its start, as it says."""
    queued: int
    """Objects in its queue, as it says."""
    number_of_pass: int
    passes: int
    highest: int
    """Highest object number that it has used."""
    loss: Loss
    missing: list[Numbers]
    """Object numbers that it has used and nothing was heard of."""

    @property
    def missing_objects(self) -> int:
        return sum(r.last - r.first + 1 for r in self.missing)


class Unfinished(msgspec.Struct, frozen=True):
    """An object that is announced and not whole."""

    sender: str
    number: int
    name: str
    size: int
    since: float
    blocks: int
    blocks_done: int
    symbols: int
    """Symbols that it needs in all."""
    symbols_short: int
    signed_by: str = ""


class Outcomes(msgspec.Struct, frozen=True):
    """Objects since the receiver started, by what became of them."""

    delivered: int = 0
    refused: int = 0
    quarantined: int = 0
    known: int = 0
    """Heard again after they had been delivered."""
    held: int = 0
    waiting: int = 0
    """Whole, and the disk does not take them."""


class Refused(msgspec.Struct, frozen=True):
    """An object that was not delivered, and why."""

    time: float
    sender: str
    number: int
    name: str
    reason: str


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A minute of the line."""

    time: float
    """When it began."""
    frames: int
    lost: int


class Line(msgspec.Struct, frozen=True):
    """What came on the line since the receiver started."""

    state: LinkState
    silent_seconds: float
    silent_since: float | None
    """When the last frame came, of a line that is silent."""
    frames: int
    lost: int
    idle: int
    rejected: dict[str, int]
    """Frames that were not used, by reason."""
    bytes: int
    noise: int
    """Bytes that belong to no frame."""
    dropped_bytes: int
    """Heard, and lost here for want of room in the buffer."""
    kernel_dropped: int
    loss: Loss
    history: list[Sample]
    """The last day, the newest last."""


class Repair(msgspec.Struct, frozen=True):
    """How near to failing: of the parity that senders gave, what share was needed to make good what
    was lost, in the objects delivered lately. Above 1 an object would not have come whole.
    """

    last: float | None = None
    hour: float | None = None
    worst: float | None = None
    """Of the last hour."""


class Disk(msgspec.Struct, frozen=True):
    """Where objects go."""

    free: int
    quota: int
    unfinished: int
    """Bytes that unfinished objects take."""
    unwritten: int
    """Times that something could not be written."""
    trouble: str = ""


class Alarm(msgspec.Struct, frozen=True):
    """Something that a person should look at now."""

    name: str
    """silent, losing, repair, disk, gap, refused"""
    since: float
    text: str
    hint: str = ""


class Health(msgspec.Struct, frozen=True):
    """A receiver at one moment."""

    time: float
    started: float
    state: str
    """Name of its ledger."""
    listening: list[str]
    """Carrier URLs."""
    inbox: str
    line: Line
    repair: Repair
    outcomes: Outcomes
    senders: list[SenderHealth]
    unfinished: list[Unfinished]
    refused: list[Refused]
    """The last ones, the newest last."""
    disk: Disk
    alarms: list[Alarm]
