"""What is heard on several lanes (lanes.py), as if it came on one.

    carrier ─ line ─┐
    carrier ─ line ─┴─> frames, in the order of their coming

Frames say what they are, so the receiver takes them from anywhere. What must be kept apart are the
lines, since each has a piece of a frame in hand at any time: every lane has a decoder of its own.
Each lane has its own reading process and ring too (carrier/separate.py), of which one after the
other is asked what it has, and all are waited for together when none has anything.

A lane that ends or fails is told and left out; the session ends with the last of them. `Merged` is
to a session (service/receiver.py) both its carrier and its line. One lane alone is heard the
same way, and needs no carrier that can be waited for beside others.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diode.errors import CarrierError
from diode.frame import flat
from diode.reception import LaneReception

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.carrier import ReceivingCarrier
    from diode.frame import U8, Frames, Received
    from diode.line import Decoder


@dataclass(slots=True)
class Ear:
    """A lane that is listened to."""

    name: str
    """How the operator knows it."""
    carrier: ReceivingCarrier
    line: Decoder
    reception: LaneReception = field(default_factory=LaneReception)
    """Where there are several: what one alone has lost is what the receiver says."""
    bytes: int = 0
    """Bytes heard, of whatever kind."""
    last: float = 0.0
    """When the last frame was found, or when listening began."""
    over: bool = False
    """Whether it has ended, or failed."""


class Merged:
    """Several carriers and their lines as one of each."""

    def __init__(
        self,
        lanes: Sequence[Ear],
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """lanes: of several, all carriers must have `descriptors` (carrier/separate.py)."""
        self.lanes = list(lanes)
        rates = [lane.carrier.rate for lane in self.lanes]
        self.rate = None if None in rates else sum(rate or 0.0 for rate in rates)
        """Bytes per second of line time, of all; None when one has none."""
        self._notice = notice
        self._clock = clock
        self._waiting = select.poll() if hasattr(select, "poll") and len(lanes) > 1 else None
        self._next = 0
        """The lane that is asked first: each in its turn."""
        self._heard = self.lanes[0]
        """The lane of what was read last."""
        self._left: list[U8] = []
        """Frames that came out when a lane ended."""
        for lane in self.lanes:
            lane.last = clock()
            if self._waiting is not None:
                for descriptor in _descriptors(lane):
                    self._waiting.register(descriptor, select.POLLIN)

    # As a carrier -----------------------------------------------------------------------------

    @property
    def bytes_dropped(self) -> int:
        return self._sum("bytes_dropped")

    @property
    def reads_dropped(self) -> int:
        return self._sum("reads_dropped")

    @property
    def backlog(self) -> int:
        return self._sum("backlog")

    def read(self, timeout: float | None) -> bytes | Frames | None:
        """What has arrived on one of the lanes; b'' when all have ended, None after the timeout.

        Raises CarrierError when the last of the lanes fails.
        """
        end = None if timeout is None else self._clock() + timeout
        while there := [lane for lane in self.lanes if not lane.over]:
            left = None if end is None else max(0.0, end - self._clock())
            if len(there) == 1:
                data = self._listen(there[0], left)
                if data is None:
                    return None
            elif (data := self._listen_round()) is None:
                if left == 0:
                    return None
                assert self._waiting is not None
                self._waiting.poll(None if left is None else left * 1000)
            if data:
                self._heard.bytes += len(flat(data))
                return data
        return b""

    def close(self) -> None:
        """Close all carriers."""
        for lane in self.lanes:
            lane.carrier.close()

    # As a line --------------------------------------------------------------------------------

    @property
    def rejected(self) -> Counter[str]:
        return sum((lane.line.rejected for lane in self.lanes), Counter[str]())

    @property
    def noise(self) -> int:
        return sum(lane.line.noise for lane in self.lanes)

    def feed(self, data: Received) -> list[U8]:
        """The frames completed by these bytes, which are of what was read last."""
        return [*self._leave(), *self._found(self._heard, self._heard.line.feed(data))]

    def flush(self) -> list[U8]:
        """What could still be made of the last bytes of each lane."""
        return self._leave()

    # ------------------------------------------------------------------------------------------

    def _listen_round(self) -> bytes | Frames | None:
        """What the next lane has that has something, without waiting."""
        for _ in self.lanes:
            lane, self._next = self.lanes[self._next], (self._next + 1) % len(self.lanes)
            if not lane.over and (data := self._listen(lane, 0.0)) is not None:
                return data
        return None

    def _listen(self, lane: Ear, timeout: float | None) -> bytes | Frames | None:
        """As `read` of the lane's carrier. One that ends is left out, and so is one that fails,
        unless it is the last: CarrierError then.
        """
        try:
            data = lane.carrier.read(timeout)
        except CarrierError as error:
            self._end(lane)
            if all(one.over for one in self.lanes):
                raise
            self._notice(f"{lane.name} has failed, the others are listened to: {error}")
            return b""
        if isinstance(data, bytes) and not data:
            self._end(lane)
        else:
            self._heard = lane
        return data

    def _end(self, lane: Ear) -> None:
        lane.over = True
        self._left += self._found(lane, lane.line.flush())
        if self._waiting is not None:
            for descriptor in _descriptors(lane):
                self._waiting.unregister(descriptor)

    def _found(self, lane: Ear, rows: list[U8]) -> list[U8]:
        if rows:
            if len(self.lanes) > 1:
                lane.reception.heard(rows)
            lane.last = self._clock()
        return rows

    def _leave(self) -> list[U8]:
        left, self._left = self._left, []
        return left

    def _sum(self, name: str) -> int:
        return sum(getattr(lane.carrier, name, 0) for lane in self.lanes)


def _descriptors(lane: Ear) -> tuple[int, ...]:
    carrier: Any = lane.carrier
    descriptors: tuple[int, ...] = carrier.descriptors
    return descriptors
