"""Any carrier, made worse on purpose (`--impair SPEC`; the models: impairment.py).

The sending side knows where frames end, so whole frames are dropped, doubled and delayed.
The receiving side does so with datagrams. Of a stream it sees only bytes: there a piece is 256
bytes, cut wherever the stream stands. What is held back to fill a piece or to come
late is let go when the line falls silent. `tally` says what was done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diode.carrier.channel import Channel, DatagramChannel, StreamChannel
from diode.carrier.impairment import Impairment

if TYPE_CHECKING:
    from diode.carrier import ReceivingCarrier, SendingCarrier
    from diode.carrier.pace import Clock
    from diode.carrier.sound import Ear
    from diode.frame import Frames
    from diode.modem.hearing import Hearing

__all__ = ["ImpairedReceiver", "ImpairedSender", "Impairment"]


class ImpairedSender:
    """A sending carrier that damages what it is given."""

    def __init__(self, carrier: SendingCarrier, impairment: Impairment) -> None:
        self.rate = carrier.rate
        self._carrier = carrier
        self._channel = Channel(impairment, carrier.rate)
        self.tally = self._channel.tally

    def write(self, pieces: Frames) -> None:
        """Pass on what is left of the pieces."""
        self._pass_on(self._channel.apply(pieces))

    def drain(self) -> None:
        """Let go of what was to come late, then drain."""
        self._pass_on(self._channel.flush())
        self._carrier.drain()

    def close(self) -> None:
        """Close the carrier; what was held back is lost, as on any line that is cut."""
        self._carrier.close()

    def _pass_on(self, pieces: Frames) -> None:
        if len(pieces.data):
            self._carrier.write(pieces)


class ImpairedReceiver:
    """A receiving carrier that damages what it hears."""

    def __init__(
        self,
        carrier: ReceivingCarrier,
        impairment: Impairment,
        *,
        datagrams: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        """datagrams: whether that is what the carrier gives, else a stream of bytes."""
        self.rate = carrier.rate
        self._carrier = carrier
        self._clock = clock
        self._channel: DatagramChannel | StreamChannel = (
            DatagramChannel(impairment, carrier.rate)
            if datagrams
            else StreamChannel(impairment, carrier.rate)
        )
        self.tally = self._channel.tally

    @property
    def heard(self) -> Hearing | None:
        """What a carrier of sound hears; None for all others."""
        return getattr(self._carrier, "heard", None)

    @property
    def ear(self) -> Ear | None:
        """The ear of a carrier of sound; None for all others."""
        return getattr(self._carrier, "ear", None)

    @property
    def counts(self) -> dict[str, int]:
        """What the carrier counts."""
        return getattr(self._carrier, "counts", {})

    def read(self, timeout: float | None) -> bytes | Frames | None:
        """What is left of what arrived; None and b'' as for any carrier."""
        end = None if timeout is None else self._clock() + timeout
        while True:
            data = self._carrier.read(None if end is None else max(0.0, end - self._clock()))
            if not data:  # silence, or the end
                return self._channel.flush() or data
            if heard := self._channel.feed(data):
                return heard

    def close(self) -> None:
        """Close the carrier."""
        self._carrier.close()
