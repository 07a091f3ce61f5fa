"""Where the objects of a transmitter come from while it is on air."""

from __future__ import annotations

import enum
from typing import Protocol


class Supplied(enum.Enum):
    """Where objects for a transmitter come from, at one moment."""

    PREPARING = enum.auto()
    """Somebody else is filling the transmitter's queue: nothing is taken from it yet."""
    OPEN = enum.auto()
    """What is queued may go; more may follow."""
    CLOSED = enum.auto()
    """What is queued is all."""


class Supply(Protocol):
    """Brings objects to a transmitter."""

    def poll(self) -> Supplied:
        """Asked before every turn; may add objects, quickly."""

    def stop(self) -> None:
        """Bring no more. Returns when nobody else touches the transmitter any longer."""


class Given:
    """All objects have been added before."""

    def poll(self) -> Supplied:
        return Supplied.CLOSED

    def stop(self) -> None:
        """There is nothing to stop."""
