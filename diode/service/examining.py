"""A session of receiving, looked at: what its counts say as a `Health`.

Whether the line is silent.

    nothing came since the start     unheard; silent where a time is configured and over
    all senders said they were done  ended; silent where a time is configured and over
    a sender is not done             up, until nothing has come for the time that is configured, or
                                     for three of the intervals in which it promised a heartbeat,
                                     or for a minute where it promised nothing; then silent

A sender that had fallen silent before others were heard plays no part in that: its own line shows
it, and another one may have taken its place.

Missing are object numbers between those of which anything was heard, in this run or, as the ledger
tells, in an earlier one, up to the highest that the sender says it has used. Of a sender that is
not done as many of the highest numbers as it has objects in its queue are left out: these are still
to come, or to come again. A sender that was not heard in this run is shown as the run before left
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diode.health import (
    MOST,
    Clock,
    Disk,
    Health,
    Line,
    LinkState,
    Numbers,
    Outcomes,
    Refused,
    Repair,
    SenderHealth,
    Unfinished,
)
from diode.objects import escape
from diode.reception import missing
from diode.service.gaps import Dismissed, plain, seen_to, total, union, without
from diode.service.record_examining import RecordExaminer
from diode.service.windows import HOUR, History, Losses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.events import Key
    from diode.health import Sample
    from diode.incoming import Incoming
    from diode.reception import Reception
    from diode.service.receiver import Session

PROMISES = 3
"""Intervals of heartbeats that may pass: two of them may be lost."""
LEAST_PATIENCE = 10.0
PATIENCE = 60.0
GRACE = 60.0
"""Seconds in which missing objects may still come, before they are overdue."""
REFUSALS = 50
REPAIRS = 1000
"""Deliveries of the last hour whose need of repair is remembered."""


Figures = Callable[["Session"], dict[str, int]]
"""What the medium has counted, by the names of the `link` event."""


class About(NamedTuple):
    """What does not change while a receiver runs."""

    state: str
    listening: tuple[str, ...]
    inbox: str
    quota: int
    silence: float | None
    """Seconds after which a person is to be told, where that is configured."""
    boot: str


class Room(NamedTuple):
    """What the disk said last. Bytes."""

    free: int = 0
    size: int = 0
    held: int = 0
    """Of unfinished objects."""


class Moment(NamedTuple):
    """When a session is looked at: by the session's clock, a clock of the machine, and the wall."""

    now: float
    machine: float
    wall: float


@dataclass(slots=True)
class _Sender:
    """What is kept of a sender between two looks."""

    losses: Losses = field(default_factory=Losses)
    known: Sequence[tuple[int, int]] = ()
    """Numbers that the ledger knows something of."""
    missing: list[tuple[int, int]] = field(default_factory=list)
    dismissed: Sequence[tuple[int, int]] = ()
    _of: tuple[object, ...] = ()
    overdue_since: float | None = None

    def look(self, reception: Reception) -> None:
        """See what is missing, if anything has changed."""
        last = reception.highest_used - (0 if reception.ended else reception.queued)
        of = reception.changes, last, len(self.known), self.dismissed
        if of != self._of:
            self._of = of
            seen = union(self.known, reception.seen)
            found = [(a, min(b, last)) for a, b in missing(seen, last) if a <= last]
            self.missing = without(found, self.dismissed)

    def overdue(self, reception: Reception, now: float) -> int:
        """Objects that are missing and will hardly come any more."""
        count = total(self.missing)
        if not count:
            self.overdue_since = None
            return 0
        if self.overdue_since is None:
            self.overdue_since = now
        return count if reception.ended or now - self.overdue_since >= GRACE else 0


class Examiner:
    """Looks at a session each second, and remembers what a look alone does not show."""

    def __init__(
        self, about: About, before: Health | None, history: list[Sample], figures: Figures
    ) -> None:
        """before, history: as the run before left them."""
        self._about = about
        self._figures = figures
        self._before = {one.sender: one for one in before.senders} if before else {}
        self.last_heard = before.line.last_heard if before else None
        self._old = history
        self._senders: dict[int, _Sender] = {}
        self._losses = Losses()
        self.history = History()
        self._repairs: deque[tuple[float, float]] = deque(maxlen=REPAIRS)
        self.refused: deque[Refused] = deque(before.refused if before else (), maxlen=REFUSALS)
        self.room = Room()
        self.dismissed: Dismissed = {}
        self.trouble = ""
        """What keeps things from being written for now."""
        self._started: float | None = None
        self.overdue = 0
        self.records = RecordExaminer(before.records if before else None)

    @property
    def sent_lately(self) -> int:
        """Frames of the last minute, those that were lost too."""
        return sum(self._losses.minute.counts)

    def strangers(self, session: Session) -> list[int]:
        """Senders of which the ledger was not asked yet."""
        return [sender for sender in session.receiver.senders if sender not in self._senders]

    def known(self, sender: int, ranges: list[tuple[int, int]]) -> None:
        """The ledger knows something of these numbers."""
        self._of(sender).known = ranges

    def delivered(self, incoming: Incoming, now: float) -> None:
        """An object came, and needed some repair."""
        if incoming.came.repair is not None:
            self._repairs.append((now, incoming.came.repair))

    def settled(self, key: Key) -> None:
        """A refusal of that object is over."""
        name = f"{key.sender:08x}", key.number
        kept = [one for one in self.refused if (one.sender, one.number) != name]
        if len(kept) < len(self.refused):
            self.refused = deque(kept, maxlen=REFUSALS)

    def look(self, session: Session, at: Moment) -> Health:
        """How it is, but for alarms."""
        if self._started is None:
            self._begin(at)
        receiver = session.receiver
        if receiver.frames:
            self.last_heard = at.wall - max(0.0, at.now - session.last_frame)
        more = self._losses.count(at.now, receiver.frames, receiver.lost)
        self.history.count(at.now, at.wall, *more)
        senders = self._look_at_senders(session, at)
        unfinished = [
            (key, one) for key, one in receiver.objects.items() if not one.collector.complete
        ]
        return Health(
            at.wall,
            self._started or at.wall,
            self._about.state,
            list(self._about.listening),
            self._about.inbox,
            self._line(session, at),
            self._repair(at.now),
            _outcomes(session),
            senders,
            [_unfinished(key, one, session, at) for key, one in unfinished[-MOST:]],
            len(unfinished),
            list(self.refused),
            self.disk(session),
            [],
            self._about.silence,
            Clock(self._about.boot, at.machine),
            self.records.look(session, at.now, at.wall),
        )

    def _begin(self, at: Moment) -> None:
        self._started = at.wall
        for age, sample in self.history.recall(self._old, at.wall):
            self._losses.recall(at.now - age, sample.frames, sample.lost)

    def _of(self, sender: int) -> _Sender:
        return self._senders.setdefault(sender, _Sender())

    # Parts of it ------------------------------------------------------------------------------

    def _line(self, session: Session, at: Moment) -> Line:
        receiver = session.receiver
        state = self._state(session, at.now)
        figures = self._figures(session)
        return Line(
            state,
            round(max(0.0, at.now - session.last_frame), 1),
            self.last_heard if state is LinkState.SILENT else None,
            self.last_heard,
            receiver.frames,
            receiver.lost,
            receiver.idle,
            dict(receiver.rejected + session.line.rejected),
            session.line_bytes,
            session.line.noise,
            figures.get("dropped_bytes", 0),
            figures.get("kernel_dropped", 0),
            self._losses.loss,
            [*self.history.samples, self.history.current],
        )

    def _state(self, session: Session, now: float) -> LinkState:
        quiet, silence = now - session.last_frame, self._about.silence
        if silence is not None and quiet > silence:
            return LinkState.SILENT
        if not session.receiver.frames:
            return LinkState.UNHEARD
        last = session.last_frame
        going_on = [
            one
            for one in session.receiver.senders.values()
            if not one.ended and one.last_heard >= last - _patience(one)
        ]
        if not going_on and session.receiver.senders:
            return LinkState.ENDED
        patience = silence or max((_patience(one) for one in going_on), default=PATIENCE)
        return LinkState.SILENT if quiet > patience else LinkState.UP

    def _look_at_senders(self, session: Session, at: Moment) -> list[SenderHealth]:
        self._senders = {s: self._of(s) for s in session.receiver.senders}
        found, self.overdue = [], 0
        for sender, reception in session.receiver.senders.items():
            known = self._of(sender)
            known.dismissed = plain(self.dismissed.get(f"{sender:08x}", ()))
            known.look(reception)
            known.losses.count(at.now, reception.frames, reception.lost)
            self.overdue += known.overdue(reception, at.now)
            found.append(_sender(sender, reception, known, at))
        here = {one.sender for one in found}
        earlier = [one for name, one in self._before.items() if name not in here]
        found = found[-MOST:]
        return [
            *(_remembered(one, self.dismissed, at) for one in earlier[: MOST - len(found)]),
            *found,
        ]

    def _repair(self, now: float) -> Repair:
        while self._repairs and now - self._repairs[0][0] >= HOUR:
            self._repairs.popleft()
        shares = [share for _, share in self._repairs]
        if not shares:
            return Repair()
        return Repair(shares[-1], round(sum(shares) / len(shares), 6), max(shares))

    def disk(self, session: Session) -> Disk:
        return Disk(
            self.room.free,
            self.room.size,
            self._about.quota,
            self.room.held,
            session.unwritten,
            self.trouble,
        )


def _patience(reception: Reception) -> float:
    if not reception.interval:
        return PATIENCE
    return max(PROMISES * reception.interval, LEAST_PATIENCE)


def _outcomes(session: Session) -> Outcomes:
    whole = session.deliveries
    return Outcomes(
        whole.delivered,
        whole.refused,
        session.receiver.quarantine.total,
        whole.known,
        len(whole.held),
        len(whole.waiting) + len(whole.homeless),
    )


def _sender(sender: int, reception: Reception, known: _Sender, at: Moment) -> SenderHealth:
    quiet = max(0.0, at.now - reception.last_heard)
    return SenderHealth(
        f"{sender:08x}",
        at.wall - quiet,
        round(quiet, 1),
        reception.interval,
        reception.ended,
        reception.frames,
        reception.lost,
        reception.sent,
        reception.rate,
        reception.uptime,
        reception.queued,
        reception.number_of_pass,
        reception.passes,
        max(reception.highest_used, reception.seen[-1][1] if reception.seen else 0),
        known.losses.loss,
        [Numbers(*one) for one in known.missing[:MOST]],
        total(known.missing),
    )


def _remembered(one: SenderHealth, dismissed: Dismissed, at: Moment) -> SenderHealth:
    """A sender that was heard in an earlier run only."""
    quiet = round(max(0.0, at.wall - one.last_heard), 1)
    return replace(seen_to(one, dismissed), silent_seconds=quiet, frames=0, lost=0)


def _unfinished(key: Key, incoming: Incoming, session: Session, at: Moment) -> Unfinished:
    manifest, collector = incoming.manifest, incoming.collector
    held, needed = collector.symbols
    begun = max(incoming.started, session.started)
    return Unfinished(
        f"{key.sender:08x}",
        key.number,
        escape(manifest.name),
        manifest.size,
        at.wall - max(0.0, at.now - begun),
        collector.geometry.blocks,
        collector.done_count,
        needed,
        needed - held,
        escape(incoming.verdict.signed_by or ""),
    )
