"""The records of a session, looked at: what its parts know of them, as one `RecordsIn`.

Inflow    what was new, known again, missing
Recipient what was dropped, what waits, how its sinks are
events    when which ones were missing, and when the newest was heard
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diode import events
from diode.objects import escape
from diode.record import EVERY, LATEST
from diode.record_health import RecordGap

if TYPE_CHECKING:
    from diode.record_health import RecordsIn
    from diode.service.receiver import Session

GAPS = 50
"""That are remembered one by one."""


class RecordExaminer:
    """Remembers what a look alone does not show."""

    def __init__(self, before: RecordsIn | None) -> None:
        """before: as the run before left them."""
        self._gaps = deque(before.gaps if before else (), maxlen=GAPS)
        self._newest = before.newest if before else None
        self._heard: float | None = None

    def hear(self, event: events.Event, now: float, wall: float) -> None:
        """Something was seen, at that time of the session and of the day."""
        match event:
            case events.RecordsHeard():
                self._heard = now
            case events.RecordGap(sender, _, topic, first, last):
                gap = RecordGap(wall, f"{sender:08x}", escape(topic), first, last)
                self._gaps.append(gap)

    def look(self, session: Session, now: float, wall: float) -> RecordsIn | None:
        """How they are now; None where nobody wants any."""
        known, inflow = session.records.health(), session.receiver.records
        if known is None:
            return None
        if self._heard is not None:
            self._newest = wall - max(0.0, now - self._heard)
        return replace(
            known,
            latest=inflow.new[LATEST],
            every=inflow.new[EVERY],
            known=inflow.known,
            missing=inflow.gaps,
            gaps=list(self._gaps),
            topics=inflow.topics,
            newest=self._newest,
        )
