"""What the receiver keeps of an object between its manifest and its delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diode.admission import Verdict
    from diode.collector import Collector
    from diode.objects import Manifest


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
