"""The senders that a receiver hears: what each of them has sent, and what of it was lost.

    frames of any kind ─> sequence numbers ─┬─> Reception of each sender
    heartbeats ─> counts, promises ─────────┘   SenderHeard, SenderFellSilent, GapSeen

Whoever can send can make up senders, so the number of those remembered is bounded; beyond, the one
that was not heard for the longest time is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.distinct import parted
from diode.events import GapSeen, SenderFellSilent, SenderHeard
from diode.frame import Reject
from diode.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.events import Event
    from diode.frame import U8

_BEAT = slice(frame.HEADER, frame.HEADER + frame.HEARTBEAT.itemsize)


class Senders:
    """All senders of one receiver."""

    def __init__(
        self,
        most: int,
        reject: Callable[[Reject, int, str], None],
        tell: Callable[[Event], None],
    ) -> None:
        """most: how many are remembered."""
        self._most = most
        self._reject = reject
        self._tell = tell
        self.known: OrderedDict[int, Reception] = OrderedDict()
        """The one heard last is last."""
        self._heard: list[Reception] = []
        """Those that something came of since `settle`."""

    def of(self, sender: int) -> Reception:
        """The reception of a sender that was just heard."""
        reception = self.known.get(sender)
        if reception is None:
            reception = self.known[sender] = Reception()
            self._tell(SenderHeard(sender))
            if len(self.known) > self._most:
                self.known.popitem(last=False)
                self._reject(Reject.LIMIT, 1, "senders")
        else:
            self.known.move_to_end(sender)
        self._heard.append(reception)
        return reception

    def count(self, rows: U8) -> None:
        """Frames count by their sequence, of idle ones nothing else does."""
        parsed = frame.parse_full(rows)
        for sender, chosen in parted(parsed.sender):
            self.of(sender).heard(parsed.sequence[chosen])

    def heartbeats(self, rows: U8) -> None:
        """Take in what senders say of themselves, (frames, bytes)."""
        parsed = frame.parse_full(rows)
        if rows.shape[1] < _BEAT.stop + frame.CHECK:
            self._reject(Reject.LENGTH, len(rows), "")
            return
        beats = np.ascontiguousarray(rows[:, _BEAT]).view(frame.HEARTBEAT)[:, 0]
        for index, sender in enumerate(parsed.sender.tolist()):
            reception = self.of(sender)
            reception.heard(parsed.sequence[index : index + 1])
            last = bool(parsed.code[index] == frame.Beat.LAST)
            reception.beat(beats[index], int(parsed.number[index]), last=last)
            if last:
                self._tell(SenderFellSilent(sender, reception.frames))

    def settle(self, frames: int, now: float) -> None:
        """All that came in one call is counted. frames: heard in all; now: monotonic seconds."""
        for reception in self._heard:
            reception.settle(frames, now)
        self._heard.clear()

    def gaps(self) -> list[GapSeen]:
        """Object numbers that senders have used and of which nothing was heard."""
        return [
            GapSeen(sender, first, last)
            for sender, reception in self.known.items()
            for first, last in reception.gaps()
        ]

    @property
    def lost(self) -> int:
        """Frames lost on the way, by the senders' sequence numbers."""
        return sum(reception.lost for reception in self.known.values())
