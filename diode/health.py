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

from diode.record_health import RecordsIn, RecordsOut  # noqa: TC001  msgspec asks for them

MOST = 100
"""Ranges, senders, objects that are named one by one; beyond, they are only counted. A receiver
may be made to know thousands, and writes this down each second."""


class Clock(msgspec.Struct, frozen=True):
    """When a value was written, by a clock that nobody can set: so its age is known for sure."""

    boot: str = ""
    """Since which start of the machine it runs."""
    seconds: float = 0.0


class LinkState(enum.Enum):
    """What is known of the line at one moment."""

    UNHEARD = "unheard"
    """No frame has come since the receiver started."""
    UP = "up"
    ENDED = "ended"
    """Nothing comes any more, and every sender had said that it was done: nothing is wrong."""
    SILENT = "silent"
    """Nothing has come for longer than was configured, or promised: the main alarm."""
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
    interval: float
    """Seconds in which it promised its next heartbeat; 0 where not known."""
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
    """Object numbers that it has used and nothing was heard of, in this run or an earlier one;
    the first MOST of these ranges."""
    missing_objects: int
    """How many numbers that are, those of all ranges."""


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
    """When the last frame came, of a line that is silent; None too where none ever came."""
    last_heard: float | None
    """When the last frame came, in this run or an earlier one; None where none ever did."""
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
    """How near to failing the objects delivered lately were.

    A block of k source symbols is sent as n x passes symbols, one after the other by number, so
    n x passes - k of them may get lost. When it became whole with symbol h as the highest it
    needed, h + 1 - k had been. The share of an object is the one of its worst block. Above 1 it
    would not have come whole, had it not been sent more often than planned. None: nothing was
    delivered, or no repair was offered.
    """

    last: float | None = None
    hour: float | None = None
    worst: float | None = None
    """Of the last hour."""


class Disk(msgspec.Struct, frozen=True):
    """Where objects go. Bytes; 0 where not known."""

    free: int
    size: int
    """Of the whole file system."""
    quota: int
    unfinished: int
    """Bytes that unfinished objects take."""
    unwritten: int
    """Times that something could not be written."""
    trouble: str = ""


class Alarm(msgspec.Struct, frozen=True):
    """Something that a person should look at now."""

    name: str
    """A row of service/alarms.py; gone, of a receiver that ended without a word."""
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
    unfinished_objects: int
    """How many there are; `unfinished` has the first MOST of them."""
    refused: list[Refused]
    """The last ones, the newest last."""
    disk: Disk
    alarms: list[Alarm]
    silence: float | None = None
    """Seconds of silence after which a person is to look, where that was configured."""
    clock: Clock = Clock()
    records: RecordsIn | None = None
    """None where nobody wants any."""

    @property
    def missing_objects(self) -> int:
        """Object numbers of which nothing was heard, of all senders."""
        return sum(sender.missing_objects for sender in self.senders)

    @property
    def stuck(self) -> bool:
        """Whether objects are unfinished and nothing comes that could complete them."""
        return bool(self.unfinished_objects) and self.line.state is not LinkState.UP

    @property
    def well(self) -> bool:
        """Whether nothing is missing and no person has to look."""
        return not (self.alarms or self.missing_objects or self.stuck)


# What was delivered, from the ledger -----------------------------------------------------------


class Delivery(msgspec.Struct, frozen=True):
    """An object that was delivered, and how it came."""

    time: float
    sender: str
    number: int
    name: str
    path: str
    """Below the inbox."""
    size: int
    sha256: str
    files: int = 1
    """Of a bundle, how many; 1 of a file."""
    duplicate: bool = False
    """Whether that content was there already."""
    signed_by: str = ""
    signed_by_key: str = ""
    loss: float = 0.0
    """Share of the sender's frames that were lost while it was under way."""
    passes: int = 0
    """Passes that it took; 0 where not known."""
    frames: int = 0
    """Data frames heard of it."""
    seconds: float = 0.0
    """From its announcement to the last block."""
    blocks: int = 0
    blocks_decoded: int = 0
    """Blocks in which something was lost that parity made good."""
    parity_used: int = 0
    """Parity symbols that they were decoded with."""
    repair: float | None = None
    """As `Repair` has it."""


# The sender's side -----------------------------------------------------------------------------


class FlowHealth(msgspec.Struct, frozen=True):
    """What waits in one queue of a sender."""

    name: str
    priority: int
    objects: int
    bytes: int


class UnderWay(msgspec.Struct, frozen=True):
    """An object that is being sent."""

    number: int
    name: str
    size: int
    number_of_pass: int
    passes: int
    """0: until stopped."""
    flow: str = ""


class Sending(msgspec.Struct, frozen=True):
    """A sender at one moment, as it leaves it in its state folder (`sending.json`)."""

    time: float
    started: float
    sender: str
    """Eight hexadecimal digits."""
    to: list[str]
    """Carrier URLs."""
    running: bool
    """False in the last one, of an orderly end."""
    frames: int
    """Frames that this sender ever sent."""
    line_bytes: int
    """Since the start."""
    rate: int
    """Bytes per second of its line; 0 where not known."""
    highest: int
    """Highest object number used."""
    sent: int
    """Objects sent in all their passes since the start. Whether they arrived nobody here knows."""
    failed: int
    """Objects whose source failed."""
    queue: list[FlowHealth]
    under_way: list[UnderWay]
    alarms: list[Alarm]
    carousel: int = 0
    """Objects that are repeated while there is nothing else to send."""
    clock: Clock = Clock()
    records: RecordsOut | None = None
    """None where there are no sources of any."""
