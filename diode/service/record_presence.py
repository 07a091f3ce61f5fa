"""Whether what a source's or a sink's process talks to is there, and since when it is not.

    the process says that it is            it is there
    the process says that it is not, died  it is away, from then on
    a batch is not answered for HANGS      a sink is away, from when it was given the batch on
    it was begun anew, and ran for         nothing is known: some connect only when they have
    SELDOM without a word                  something to say

Who looks asks for seconds, by a clock that nobody can set, and for a time of day to show.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from diode.objects import escape
from diode.service.record_process import LONGEST_WORD, SELDOM

if TYPE_CHECKING:
    from diode.service.record_process import Said

HANGS = 10.0
"""Seconds in which a sink that is there takes a batch."""


class Moment(NamedTuple):
    """By a clock of the machine, and by the wall's."""

    machine: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), time.time())


class Away(NamedTuple):
    """How long the other side has been."""

    since: float | None
    seconds: float
    why: str


class Presence:
    """Of one process. One thread changes it; any may look."""

    def __init__(self) -> None:
        self._there = False
        self._lost: tuple[Moment, str] | None = None
        self._begun: float | None = None
        self._given: Moment | None = None

    def hear(self, word: Said) -> None:
        """The process has said something."""
        if word.there:
            self._there, self._lost = True, None
        elif word.there is False:
            self.lose(word.text)

    def lose(self, why: str) -> None:
        """It is away. An outage begins once, whatever is said of it."""
        since = Moment.now() if self._lost is None else self._lost[0]
        self._there, self._begun = False, None
        self._lost = since, escape(why)[:LONGEST_WORD]

    def begun(self) -> None:
        """The process has begun, perhaps anew."""
        self._there, self._begun = False, time.monotonic()

    def gave(self) -> None:
        """It was given something to take."""
        self._given = Moment.now()

    def took(self) -> None:
        """It has taken it."""
        self._given = None

    @property
    def there(self) -> bool | None:
        """As it is now; None where nothing is known."""
        return False if self.away.since is not None else self._there or None

    @property
    def away(self) -> Away:
        """As it is now."""
        now, lost, given, begun = time.monotonic(), self._lost, self._given, self._begun
        if lost is not None and (begun is None or now - begun < SELDOM):
            return Away(lost[0].wall, round(now - lost[0].machine, 1), lost[1])
        if given is not None and now - given.machine > HANGS:
            return Away(given.wall, round(now - given.machine, 1), "it does not answer")
        return Away(None, 0.0, "")
