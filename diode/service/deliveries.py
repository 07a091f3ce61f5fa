"""What becomes of whole objects: from the announcement to the place where each belongs.

    announced -> unanswered    the sink has yet to say whether it is news
    whole     -> held          its turn has not come (ordering.py)
              -> delivering    the sink is at it
              -> waiting       the disk did not take it: each checkpoint tries again
              -> delivered, known (it was delivered before) or refused

An object is in one of these places at a time, and each is counted once. What the sink answers comes
through `Session.do`, so that a sink in another thread (disk.py) changes nothing here: everything in
this file runs in the listening loop's own thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from diode.errors import DestinationError
from diode.ordering import Turn
from diode.sink import Delivered, Refused, Unpacked
from diode.sink.trouble import Lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode import events
    from diode.events import Key
    from diode.incoming import Incoming
    from diode.objects import Manifest
    from diode.service.receiver import Session
    from diode.sink import Delivery

REUSED = (
    "its number was delivered before with other content: was the sender's state restored from a "
    "backup? Remove that state, so that it draws a new identity, and send again"
)


def plainly(
    _key: Key, _incoming: Incoming, _session: Session
) -> Callable[[Callable[[], Delivery]], Delivery]:
    """Do nothing around the delivery of an object: the work alone."""
    return lambda work: work()


@dataclass(slots=True)
class Deliveries:
    """The objects of one session that are on their way into the sink."""

    session: Session
    delivered: int = 0
    """Files; the members of a bundle are one each."""
    refused: int = 0
    known: int = 0
    """Objects heard that had been delivered before."""
    homeless: set[Key] = field(default_factory=set)
    """Objects that had no room when they were announced."""
    waiting: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects that cannot be delivered for now."""
    held: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects whose turn has not come."""
    unanswered: dict[Key, bool] = field(default_factory=dict)
    """Objects of which the sink has yet to say whether they are news; which are whole."""
    delivering: dict[Key, Incoming] = field(default_factory=dict)
    """Complete objects that the sink is delivering; the receiver may have forgotten them since."""
    _undecided: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects of which it is not known whether it is their turn."""

    @property
    def done(self) -> int:
        """Objects that nothing more will come of."""
        return self.delivered + self.refused + self.known

    @property
    def under_way(self) -> int:
        """Whole objects that are not in their place yet."""
        return len(self.waiting.keys() | self.delivering.keys())

    def announced(self, event: events.ObjectAnnounced) -> None:
        """Ask the sink whether an object is news; if not, nothing more is wanted of it."""
        key, manifest, session = event.key, event.manifest, self.session
        self.unanswered[key] = False

        def known(news: bool) -> None:
            whole = self.unanswered.pop(key, False)
            if news:
                self.homeless.discard(key)
                session.observer.event(event, session)
                if whole:
                    self.completed(key, manifest)
            else:
                session.receiver.finish(key)
                contradicts = partial(session.sink.contradicts, key, manifest)
                session.do(contradicts, partial(self._heard_before, key, manifest))
                self._settled(key)

        def no_room() -> None:
            self.unanswered.pop(key, None)
            session.receiver.forget(key)  # its next manifest announces it again
            if len(self.homeless) < session.limits.objects:
                self.homeless.add(key)

        session.do(
            partial(session.sink.announce, key, manifest, event.announcement), known, no_room
        )

    def completed(self, key: Key, manifest: Manifest) -> None:
        """Deliver an object if it is whole, known to be news, and not beyond those asked for."""
        incoming = self.session.receiver.objects.get(key)
        if key in self.unanswered:
            self.unanswered[key] = True
        elif incoming is not None and incoming.collector.complete and not self.session.enough:
            self._complete(key, manifest)

    def voided(self, key: Key, manifest: Manifest) -> None:
        """The sender took the object back."""
        self.waiting.pop(key, None)
        self.session.do(partial(self.session.sink.void, key, manifest))
        self._refused(key, manifest, "void: its source failed")
        self._settled(key)

    def crowded_out(self, key: Key, manifest: Manifest) -> None:
        """The receiver had no room for an unfinished object any more."""
        if key in self.delivering:
            return  # it was whole in time
        self.waiting.pop(key, None)
        self.session.do(partial(self.session.sink.discard, key))
        self._refused(key, manifest, "too many unfinished objects")

    def evicted(self, key: Key, why: str) -> None:
        """The sink had to drop an unfinished object."""
        incoming = self._dropped(key)
        if incoming is not None:
            self._refused(key, incoming.manifest, why)

    def lost(self, key: Key, why: str) -> None:
        """The disk has lost an unfinished object: its next manifest begins it anew."""
        incoming = self._dropped(key)
        if incoming is not None:
            self.session.observer.refused(key, incoming.manifest, why, self.session)

    def try_again(self) -> None:
        """Deliver what waits; give up what was waited for too long."""
        session = self.session
        for key, manifest in list(self.waiting.items()):
            self._deliver(key, manifest)
        undecided, self._undecided = self._undecided, {}
        for key, manifest in undecided.items():
            self.completed(key, manifest)
        for gap in session.order.overdue(session.clock()):
            session.do(partial(session.sink.give_up, *gap))
            session.observer.gave_up(gap, session)
            self._release(gap.sender)

    def _dropped(self, key: Key) -> Incoming | None:
        self.waiting.pop(key, None)
        self.held.pop(key, None)
        return self.session.receiver.forget(key)

    def _refused(self, key: Key, manifest: Manifest, why: str) -> None:
        self.refused += 1
        self.session.observer.refused(key, manifest, why, self.session)

    def _settled(self, key: Key) -> None:
        """Nothing more will come of that number: later ones need not wait for it."""
        self.session.order.settled(key)
        self._release(key.sender)

    def _heard_before(self, key: Key, manifest: Manifest, contradicts: bool) -> None:
        if contradicts:
            self._refused(key, manifest, REUSED)
        else:
            self.known += 1
            self.session.observer.known(key, manifest, self.session)

    def _complete(self, key: Key, manifest: Manifest) -> None:
        """Deliver a whole object if it is its turn, and then those that waited for it."""
        session = self.session
        try:
            turn = session.order.turn(key, partial(self._lowest, key.sender), session.clock())
        except DestinationError as error:  # the ledger cannot be asked
            session.troubled(error)
            self._undecided[key] = manifest
            return
        match turn:
            case Turn.HELD:
                if key not in self.held:
                    self.held[key] = manifest
                    session.observer.held(key, manifest, session)
            case Turn.LATE:
                session.do(partial(session.sink.discard, key))
                session.receiver.finish(key)
                self._refused(key, manifest, "out of order: later ones came before")
            case Turn.DUE:
                self._deliver(key, manifest)

    def _lowest(self, sender: int) -> int:
        """The lowest number of that sender among the unfinished objects."""
        return min(k.number for k in self.session.receiver.objects if k.sender == sender)

    def _release(self, sender: int) -> None:
        """Deliver held objects of a sender as long as it is their turn."""
        while (key := self.session.order.due(sender)) is not None:
            manifest = self.held.pop(key, None)
            if manifest is not None:
                self._deliver(key, manifest)

    def _deliver(self, key: Key, manifest: Manifest) -> None:
        incoming = self.session.receiver.objects.get(key)
        if incoming is None:
            self.waiting.pop(key, None)
        elif key not in self.delivering:
            session = self.session
            self.delivering[key] = incoming
            incoming.came = incoming.course(
                session.receiver.senders.get(key.sender), session.clock()
            )
            around = session.around(key, incoming, session)
            session.disk.do(
                partial(around, partial(session.sink.deliver, key, manifest, incoming.came)),
                partial(self._delivered, key, manifest),
            )

    def _delivered(self, key: Key, manifest: Manifest, answer: Delivery | DestinationError) -> None:
        """What the sink says of a delivery; None where it had dropped the object before."""
        session = self.session
        incoming = self.delivering.pop(key)
        if isinstance(answer, DestinationError):
            session.troubled(answer)
        if isinstance(answer, Lost):
            self.lost(key, str(answer))
        elif isinstance(answer, DestinationError):
            self.waiting[key] = manifest
        elif answer is not None:
            self.waiting.pop(key, None)
            if isinstance(answer, list):
                session.receiver.begin_anew(key, answer)
                session.observer.refused(key, manifest, "digest", session)
            else:
                self._finish(key, incoming, answer)

    def _finish(self, key: Key, incoming: Incoming, how: Delivered | Unpacked | Refused) -> None:
        """The sink has had its last word on an object."""
        session = self.session
        match how:
            case Delivered():
                self.delivered += 1
                session.observer.delivered(key, incoming, how, session)
            case Unpacked(files):
                self.delivered += len(files)
                session.observer.unpacked(key, incoming, how, session)
            case Refused(why):
                self._refused(key, incoming.manifest, why)
        session.receiver.finish(key)
        self._settled(key)
