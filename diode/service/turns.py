"""What the sending loop takes frames from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from diode.frame import U8, Frames
    from diode.group import Place
    from diode.plan import Link, Settings
    from diode.traffic import Progress


class Turns(Protocol):
    """What gives frames: a `Transmitter`, or one at a constant rate, or one that stays on air."""

    @property
    def settings(self) -> Settings: ...

    @property
    def link(self) -> Link: ...

    @property
    def progress(self) -> Progress: ...

    @property
    def frames_sent(self) -> int: ...

    @property
    def lanes(self) -> U8: ...

    @property
    def place(self) -> Place | None: ...

    def step(self, now: float) -> Frames | None:
        """The next frames; EMPTY for none until `wake_at`, None at the end."""

    def wake_at(self) -> float:
        """When to ask again after there was nothing."""

    def stop(self) -> None:
        """Give nothing more but the last heartbeat."""
