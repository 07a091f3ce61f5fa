"""A medium that went away and is waited for: a serial adapter, a network interface.

It is looked for after 0.1 s at first, then at intervals that double up to 2 s, until patience is at
its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diode.carrier.pace import Clock

FIRST, LONGEST = 0.1, 2.0
"""Seconds between two attempts."""
PATIENCE = 30.0
"""Seconds, where `reopen=` does not say how many."""


class Absence:
    """When to look again for what is gone. Good for one absence."""

    def __init__(self, patience: float, clock: Clock) -> None:
        """`patience`: seconds until it is given up."""
        self._clock = clock
        self._delay = FIRST
        self._due = clock() + self._delay
        self._end = clock() + patience

    def wait(self) -> float:
        """Seconds until the next attempt is due, not beyond the end."""
        return max(0.0, min(self._due, self._end) - self._clock())

    def over(self) -> bool:
        """Whether patience is at its end."""
        return self._clock() >= self._end

    def missed(self) -> None:
        """An attempt failed: the next one is later."""
        self._delay = min(LONGEST, self._delay * 2)
        self._due = self._clock() + self._delay
