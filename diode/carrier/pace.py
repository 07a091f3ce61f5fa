"""Pacing: never hand the kernel more than it can play within 50 ms.

A line plays `rate` bytes a second whatever is written to it; the rest waits in the
kernel, where it can be neither recalled nor overtaken. `Pace` therefore keeps a model of the
line, one number: the instant at which everything handed over so far will have been played.
A slice may follow when that instant is, with the slice, at most LEAD ahead of now.

The schedule is absolute. A sleep that overshoots by 0.1 ms makes the next one shorter, so
the average rate is exact as long as nobody is later than LEAD; and when somebody was, the
line has stood idle, the model restarts at now, and the most that follows at once is LEAD.

A network card plays at its own speed whatever the pace is to be, so there LEAD is not what waits in
the kernel but the longest burst that a receiver has to take: it is a millisecond (`lead`),
and half of it may be late without the average suffering. What is later than that is made good
slowly, since the card can do it: each slice takes a share `repaid` less time until nothing is
left of the arrears. Whoever was later than ARREARS had nothing to send.

Time comes from outside (`clock`, `sleep`), so tests run on scheduled time and never wait.
"""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds on a clock that never steps, such as time.monotonic."""
Sleep = Callable[[float], None]
"""Waits for that many seconds."""

LEAD = 0.050
"""Most line time, in seconds, that is in the kernel's hands."""
SLICE = 0.010
"""Line time of one write in seconds: a fifth of LEAD, so that the queue never runs dry between
two writes, and a hundred writes a second, which cost next to nothing at any rate."""
ARREARS = 0.050
"""Most line time, in seconds, that is made good after somebody was late."""


class Pace:
    """The schedule of a line that plays `rate` bytes a second."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Clock,
        sleep: Sleep,
        lead: float = LEAD,
        slice_: float = SLICE,
        repaid: float = 0.0,
    ) -> None:
        """lead, slice_: seconds of line time that may be ahead, that are written at once.

        repaid: the share by which a slice's time is shortened to make good what was missed.
        """
        self._rate = rate
        self._repaid = repaid
        self._arrears = 0.0
        self._lead = lead
        self._clock = clock
        self._sleep = sleep
        self._played = clock()
        self.slice = max(1, int(rate * slice_))
        """Most bytes that should be written at once."""

    def admit(self, count: int) -> None:
        """Return when `count` more bytes may be handed over, and reckon with them."""
        now = self._clock()
        ahead = max(0.0, self._played - now)
        line = count / self._rate
        # On a line so slow that one byte outlasts `lead`, it is enough that the line is idle.
        if (wait := min(ahead, ahead + line - self._lead)) > 0:
            self._sleep(wait)
        if self._repaid:
            late = now - self._played
            if 0 < late <= ARREARS:
                self._arrears = min(ARREARS, self._arrears + late)
            made_good = min(self._arrears, line * self._repaid)
            self._arrears -= made_good
            line -= made_good
        self._played = max(self._played, now) + line

    def settle(self) -> None:
        """Return when everything handed over has been played."""
        if (wait := self._played - self._clock()) > 0:
            self._sleep(wait)


class Unpaced:
    """The schedule of a medium without a rate: everything at once, no waiting."""

    slice = 1 << 30

    def admit(self, count: int) -> None:
        """Any number of bytes may be handed over."""

    def settle(self) -> None:
        """Nothing is scheduled."""


def pace_at(rate: float | None, *, clock: Clock, sleep: Sleep) -> Pace | Unpaced:
    """The schedule for `rate` bytes per second, or none for None."""
    return Unpaced() if rate is None else Pace(rate, clock=clock, sleep=sleep)
