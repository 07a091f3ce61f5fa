"""The vital signs of a receiver that runs: once a second its health, for whoever wants it.

`Vitals` stands between a session and its observer: it hears all that is told and passes it on. Once
a second it has the session looked at (examining.py), sees which alarms that raises or clears
(alarms.py), and gives the health away: to `sinks` at once, which must not wait for anything, and to
the files in the state folder. Those are written where work on the disk is done (disk.py), one at a
time, so that a disk that is slow, full or gone holds up no listening; what cannot be written is
left, the next second has a newer one.

Of the history only minutes that are not in `history.json` yet are in `health.json`, which is so
small that it may be written each second for years.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diode import events
from diode.health import Alarm, Health, LinkState, Refused, Sample
from diode.objects import escape
from diode.reception import MAX_RANGES
from diode.record_health import RecordsIn
from diode.service import gaps, snapshots
from diode.service.alarms import RULES, Alarms, Rise, Signs
from diode.service.examining import About, Examiner, Moment, Room
from diode.service.windows import merged
from diode.sink.ledger import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diode.errors import DestinationError
    from diode.events import Key
    from diode.incoming import Incoming
    from diode.objects import Manifest
    from diode.ordering import GivenUp
    from diode.service.observer import Observer
    from diode.service.receiver import Session
    from diode.sink import Delivered, Unpacked

SECOND = 1.0
PENDING = 256
"""Refusals of one second that are written into the ledger; the others are only counted."""
TROUBLED = 10.0
"""Seconds after something could not be written in which all is not well again."""


class Vitals:
    """An observer of a session that tells how it is."""

    def __init__(
        self,
        observer: Observer,
        folder: str,
        inbox: str,
        about: About,
        *,
        held: Callable[[], int] = lambda: 0,
        figures: Callable[[Session], dict[str, int]] = lambda _: {},
        told: Sequence[Callable[[Alarm, bool], object]] = (),
        sinks: Sequence[Callable[[Health], object]] = (),
        files: Sequence[Callable[[Health], object]] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        """To be made before this process is confined.

        folder: of the state. inbox: where objects go. held: bytes of unfinished objects, asked
        where work on the disk is done. figures: what the medium has counted, by name. told: is
        told of each alarm when it is raised (True) or cleared. sinks: take each health, at once.
        files: take it where work on the disk is done, and may raise OSError.
        """
        self._observer = observer
        self._where = folder
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inbox = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held = held
        self._told, self._sinks, self._files = told, sinks, files
        self._wall = wall
        before = snapshots.read(folder, snapshots.HEALTH, Health)
        history = snapshots.read(folder, snapshots.HISTORY, list[Sample]) or []
        if before is not None:
            history = merged(history, before.line.history)
        self._examiner = Examiner(about, before, history, figures)
        with contextlib.suppress(OSError):
            self._examiner.dismissed = gaps.read(folder)
        self._alarms = Alarms(RULES, before.alarms if before else ())
        self._record_gaps, self._dropped = Rise(), Rise()
        self._due = 0.0
        self._writing = False
        self._minutes_kept = -1.0
        self._pending: list[Refusal] = []
        self._refusals = 0
        self._refused_at: float | None = None
        self._unwritten = 0
        self._trouble_at: float | None = None
        self.health: Health | None = None
        """The last one."""

    def close(self) -> None:
        os.close(self._folder)
        os.close(self._inbox)

    @property
    def observer(self) -> Observer:
        """What the session is to have as its observer."""
        return self

    # As an observer ---------------------------------------------------------------------------

    def event(self, event: events.Event, session: Session) -> None:
        if isinstance(event, events.ObjectQuarantined):
            self._refuse(event.key, event.manifest, event.reason, session)
        self._examiner.records.hear(event, session.clock(), self._wall())
        self._observer.event(event, session)

    def delivered(self, key: Key, incoming: Incoming, how: Delivered, session: Session) -> None:
        self._came(key, incoming, session)
        self._observer.delivered(key, incoming, how, session)

    def unpacked(self, key: Key, incoming: Incoming, how: Unpacked, session: Session) -> None:
        self._came(key, incoming, session)
        self._observer.unpacked(key, incoming, how, session)

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:
        self._observer.known(key, manifest, session)

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        if session.deliveries.refused > self._refusals:  # otherwise it is collected once more
            self._refusals = session.deliveries.refused
            self._refuse(key, manifest, why, session)
        self._observer.refused(key, manifest, why, session)

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:
        self._observer.trouble(error, needed, session)

    def notice(self, text: str) -> None:
        self._observer.notice(text)

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:
        self._observer.held(key, manifest, session)

    def gave_up(self, gap: GivenUp, session: Session) -> None:
        self._observer.gave_up(gap, session)

    def tick(self, session: Session) -> None:
        now = session.clock()
        if now >= self._due:
            self._due = now + SECOND
            self._look(session, now)
        self._observer.tick(session)

    @contextlib.contextmanager
    def watching(self, session: Session) -> Iterator[None]:
        """While a session runs; its end is the last word, and what ended it if nobody asked."""
        try:
            yield
        except BaseException as error:
            self._finish(session, error)
            raise
        self._finish(session, None)

    def _finish(self, session: Session, error: BaseException | None) -> None:
        health = self._look(session, session.clock())
        alarms = health.alarms
        if error is not None:
            hint = getattr(error, "hint", "")
            gone = Alarm("gone", health.time, f"the receiver ended: {escape(str(error))}", hint)
            alarms = [gone, *alarms]
        session.disk.settle(wait=True)  # then it is known, too, what room there is
        line = replace(health.line, state=LinkState.STOPPED)
        disk = self._examiner.disk(session)
        self._hand_out(replace(health, line=line, disk=disk, alarms=alarms))
        self._keep(self.health, session)
        session.disk.settle(wait=True)

    # ------------------------------------------------------------------------------------------

    def _came(self, key: Key, incoming: Incoming, session: Session) -> None:
        self._examiner.delivered(incoming, session.clock())
        self._examiner.settled(key)

    def _refuse(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        self._refused_at = session.clock()
        name = b"" if manifest.concealed else manifest.name
        self._examiner.settled(key)
        self._examiner.refused.append(
            Refused(self._wall(), f"{key.sender:08x}", key.number, escape(name), escape(why))
        )
        if len(self._pending) < PENDING:
            self._pending.append(Refusal(key, name, why))

    def _look(self, session: Session, now: float) -> Health:
        at = Moment(now, time.monotonic(), self._wall())
        for sender in self._examiner.strangers(session):
            known = partial(session.sink.numbers, sender, MAX_RANGES)
            session.do(known, partial(self._examiner.known, sender))
        blocked = self._blocked(session, now)
        self._examiner.trouble = escape(str(session.trouble)) if blocked else ""
        health = self._examiner.look(session, at)
        records = health.records or RecordsIn()
        signs = Signs(
            self._examiner.sent_lately,
            self._examiner.overdue,
            None if self._refused_at is None else now - self._refused_at,
            blocked,
            self._record_gaps.ago(records.missing, now),
            self._dropped.ago(records.dropped, now),
        )
        for alarm, raised in self._alarms.look(health, signs):
            for told in self._told:
                told(alarm, raised)
        health = replace(health, alarms=self._alarms.raised)
        self._hand_out(health)
        self._keep(health, session)
        if self._pending:
            session.do(partial(session.sink.refuse, self._pending))
            self._pending = []
        return health

    def _blocked(self, session: Session, now: float) -> bool:
        """Whether something cannot be written for now."""
        if session.unwritten > self._unwritten:
            self._unwritten, self._trouble_at = session.unwritten, now
        whole = session.deliveries
        lately = self._trouble_at is not None and now - self._trouble_at < TROUBLED
        return bool(lately or whole.waiting or whole.homeless)

    def _hand_out(self, health: Health) -> None:
        self.health = health
        for sink in self._sinks:
            sink(health)

    def _keep(self, health: Health | None, session: Session) -> None:
        """Have it written, unless the one before still is being written."""
        if self._writing or health is None:
            return
        self._writing = True
        history = health.line.history
        minutes = history[:-1] if health.line.state is not LinkState.STOPPED else history
        newest = minutes[-1].time if minutes else -1.0

        def written(answer: tuple[Room, gaps.Dismissed, bool]) -> None:
            self._writing = False
            self._examiner.room, self._examiner.dismissed, done = answer
            if done:
                self._minutes_kept = newest

        fresh = minutes if newest != self._minutes_kept else None
        session.do(partial(self._write, health, fresh), written)

    def _write(
        self, health: Health, minutes: list[Sample] | None
    ) -> tuple[Room, gaps.Dismissed, bool]:
        """In the disk's thread: the files; what room there is, which gaps were dismissed, and
        whether the files are written.
        """
        room, dismissed, done = self._examiner.room, self._examiner.dismissed, False
        with contextlib.suppress(OSError):
            dismissed = gaps.read(self._where)
        with contextlib.suppress(OSError):
            there = os.fstatvfs(self._inbox)
            free, size = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
            room = Room(free, size, self._held())
        lately = replace(health.line, history=health.line.history[-2:])
        with contextlib.suppress(OSError):
            if minutes is not None:
                snapshots.write(self._folder, snapshots.HISTORY, minutes)
            snapshots.write(self._folder, snapshots.HEALTH, replace(health, line=lately))
            done = True
        for file in self._files:
            with contextlib.suppress(OSError):
                file(health)
        return room, dismissed, done
