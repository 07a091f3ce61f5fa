"""What the receiver keeps of an object between its manifest and its delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from diode.admission import Verdict
    from diode.collector import Collector
    from diode.objects import Manifest
    from diode.reception import Reception


class Course(NamedTuple):
    """How an object came, once it is whole."""

    signed_by: str = ""
    signed_by_key: str = ""
    seconds: float = 0.0
    """From its announcement to the last block."""
    loss: float = 0.0
    """Share of its sender's frames that were lost meanwhile."""
    frames: int = 0
    """Data frames heard of it."""
    passes: int = 0
    """Passes that it took, as far as symbol numbers show; 0 where not known."""
    blocks: int = 0
    blocks_decoded: int = 0
    parity_used: int = 0
    """Parity symbols that these were decoded with."""
    repair: float | None = None
    """As `health.Repair` has it."""


NOTHING_KNOWN = Course()


@dataclass(slots=True)
class Incoming:
    """An object in progress."""

    manifest: Manifest
    tag: int
    collector: Collector
    verdict: Verdict
    """Who signed it."""
    memory: int = 0
    """What the collector holds, as last accounted."""
    frames: int = 0
    decoded_blocks: int = 0
    started: float = 0.0
    before: tuple[int, int] = (0, 0)
    """Frames of its sender that were heard, and that were lost, when it was announced."""

    came: Course = NOTHING_KNOWN
    """How it came, once it is being delivered."""

    def course(self, reception: Reception | None, now: float) -> Course:
        """How it came. reception: of its sender, while that is known; now: monotonic."""
        collector, repair = self.collector, self.collector.repair
        heard, lost = (reception.frames, reception.lost) if reception else self.before
        heard, lost = heard - self.before[0], max(0, lost - self.before[1])
        return Course(
            self.verdict.signed_by or "",
            self.verdict.fingerprint or "",
            round(max(0.0, now - self.started), 3),
            round(lost / (heard + lost), 6) if lost else 0.0,
            self.frames,
            repair.passes,
            collector.geometry.blocks,
            self.decoded_blocks,
            repair.symbols,
            None if repair.share is None else round(repair.share, 6),
        )
