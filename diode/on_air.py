"""What the ways of staying on air have in common: a transmitter inside, and to whoever sends
(service/turns.py) the look of one.

    OnAir ─┬─ Standing       silence and heartbeats where there is nothing to send
           └─ ConstantRate   frames of one size, idle ones where there is nothing to send
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.supply import Given

if TYPE_CHECKING:
    from diode.frame import U8
    from diode.group import Place
    from diode.plan import Link, Settings
    from diode.supply import Supply
    from diode.traffic import Progress
    from diode.transmitter import Transmitter


class OnAir:
    """A transmitter whose objects come from a supply while it sends."""

    def __init__(self, transmitter: Transmitter, supply: Supply) -> None:
        self._transmitter = transmitter
        self._supply = supply

    @property
    def settings(self) -> Settings:
        return self._transmitter.settings

    @property
    def link(self) -> Link:
        return self._transmitter.link

    @property
    def progress(self) -> Progress:
        return self._transmitter.progress

    @property
    def frames_sent(self) -> int:
        return self._transmitter.frames_sent

    @property
    def lanes(self) -> U8:
        return self._transmitter.lanes

    @property
    def place(self) -> Place | None:
        return self._transmitter.place

    def stop(self) -> None:
        """Give nothing more but the last heartbeat."""
        self._supply.stop()
        self._supply = Given()
        self._transmitter.stop()
