"""Standing: a transmitter that stays on air when it has nothing to send.

    objects ─> Transmitter ─ what is there ─┐
                                            ├─> frames, or none for now ─> line
                           heartbeats ──────┘

Objects come by a `Supply` (supply.py), which is asked at every step, for as long as the
service runs. While there is nothing to send, a heartbeat goes out each `heartbeat` seconds, so that
the receiver can tell a line that has nothing to say from one that is broken. That is what each
heartbeat promises: the next comes within that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.frame import EMPTY
from diode.on_air import OnAir
from diode.supply import Supplied

if TYPE_CHECKING:
    from diode.frame import Frames
    from diode.supply import Supply
    from diode.transmitter import Transmitter

HEARTBEAT = 10.0


class Standing(OnAir):
    """Silence while there is nothing to send, but for heartbeats."""

    def __init__(
        self, transmitter: Transmitter, supply: Supply, heartbeat: float = HEARTBEAT
    ) -> None:
        """heartbeat: seconds between two while there is nothing to send."""
        transmitter.promise = heartbeat
        super().__init__(transmitter, supply)
        self._heartbeat = heartbeat
        self._begun = self._stopping = self._over = False
        self._last_beat = 0.0

    def wake_at(self) -> float:
        """When there is something to say though nothing is to be sent, in `step`'s time."""
        return min(self._beat_at, self._transmitter.wake_at())

    @property
    def _beat_at(self) -> float:
        return self._last_beat + self._heartbeat

    def step(self, now: float) -> Frames | None:
        """The next frames for the line; EMPTY when there are none for now: ask again when the
        supply has brought something, or at `wake_at`. None after `stop` and the last heartbeat,
        or when the supply is closed and everything has been sent.
        """
        if self._over:
            return None
        if not self._begun:
            self._begun, self._last_beat = True, now
            return self._transmitter.first(now)
        supplied = Supplied.CLOSED if self._stopping else self._supply.poll()
        beat = self._beat(now)
        if beat is not None:
            return beat
        more = None if supplied is Supplied.PREPARING else self._transmitter.next(now)
        if more is not None:
            return more
        if supplied is Supplied.CLOSED:
            self._over = True
            return self._transmitter.last(now)
        return EMPTY

    def stop(self) -> None:
        """Send nothing more but the last heartbeat."""
        super().stop()
        self._stopping = True

    def _beat(self, now: float) -> Frames | None:
        """A heartbeat if one is due, by what was sent or by the clock."""
        beat = self._transmitter.heartbeat(now)
        if beat is None and now >= self._beat_at:
            beat = self._transmitter.heartbeat(now, due=True)
        if beat is not None:
            self._last_beat = now
        return beat
