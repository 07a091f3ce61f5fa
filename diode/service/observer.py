"""Who is told what a session of receiving sees, and in which terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from diode import events
    from diode.errors import DestinationError
    from diode.events import Key
    from diode.incoming import Incoming
    from diode.objects import Manifest
    from diode.ordering import GivenUp
    from diode.service.receiver import Session
    from diode.sink import Delivered, Unpacked


class Observer(Protocol):
    """Is told what happens, to show or to log it."""

    def event(self, event: events.Event, session: Session) -> None:
        """Something the receiver saw."""

    def delivered(self, key: Key, incoming: Incoming, how: Delivered, session: Session) -> None:
        """An object is in its place."""

    def unpacked(self, key: Key, incoming: Incoming, how: Unpacked, session: Session) -> None:
        """The files of a bundle are in their places."""

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:
        """An object is heard again that was delivered before."""

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        """An object will not be delivered, or must come again."""

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:
        """The disk does not take what came; `needed` bytes are still to be written."""

    def notice(self, text: str) -> None:
        """The sink has something to tell."""

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:
        """A whole object waits for those before it."""

    def gave_up(self, gap: GivenUp, session: Session) -> None:
        """Objects that others waited for are waited for no longer."""

    def tick(self, session: Session) -> None:
        """Some bytes, or some time, have passed."""
