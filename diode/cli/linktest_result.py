"""The saved result of a link test, read again: what `diode plan --linktest` reckons with.

A result is of frames of one length on one line. Its losses are taken to be those of other
transmissions on the same line (and modem); bursts, which last some time rather than some frames,
are scaled to the frames that are planned. The bounds count, not the means: what is as sure as
95 % (linkstats.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from diode import plan
from diode.advice import Channel
from diode.errors import SourceError, UsageError
from diode.objects import escape

if TYPE_CHECKING:
    from diode.geometry import Geometry
    from diode.plan import Link

VERSION = 1
LARGEST = 16 << 20
"""Bytes of a result."""
LIKE = 2.0
"""How many times longer or shorter frames may be before their losses are another matter."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Segment(msgspec.Struct, frozen=True):
    """What of a segment planning needs."""

    line: str
    frame_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    frames: Count
    loss: Share
    loss_bound: Share
    mean_burst_bound: Annotated[float, msgspec.Meta(ge=1)]
    bursts: dict[str, Count]
    modem: str | None = None
    rate: Annotated[int, msgspec.Meta(gt=0)] | None = None

    @property
    def longest(self) -> int:
        """Frames of the longest burst."""
        return max((int(length) for length in self.bursts if length.isdecimal()), default=0)

    def channel(self, link: Link, cut: Geometry) -> Channel:
        """The link as measured, for frames of this geometry."""
        here = link.line_bytes(plan.frame_bytes(link, cut)) / (link.rate or 1)
        there = link.line_bytes(min(self.frame_bytes, link.max_frame)) / (
            self.rate if link.rate and self.rate else link.rate or 1
        )
        scale = there / here
        burst = max(1.0, self.mean_burst_bound * scale)
        return Channel(link, self.loss_bound, burst, round(self.longest * scale))

    def like(self, link: Link, cut: Geometry) -> bool:
        """Whether frames of this geometry are about as long as those that were measured."""
        length = plan.frame_bytes(link, cut)
        return 1 / LIKE <= length / self.frame_bytes <= LIKE


class Result(msgspec.Struct, frozen=True):
    """A saved result."""

    event: Literal["linktest"]
    version: Literal[1]
    loss_target: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    segments: list[Segment]

    def segment(self, line: str, modem: str | None) -> Segment:
        """What was measured on that line and modem. UsageError where nothing was."""
        for segment in self.segments:
            if (segment.line, segment.modem) == (line, modem):
                return segment
        there = [" ".join(filter(None, (s.modem, s.line))) for s in self.segments]
        raise UsageError(
            f"the link test says nothing of {' '.join(filter(None, (modem, line)))}",
            hint=f"it has: {escape(', '.join(there)) or 'nothing'}; choose with --line or modem=",
        )


def read(path: str) -> Result:
    """The result in a file. SourceError where it cannot be read, UsageError where it is none."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST)
    except OSError as error:
        raise SourceError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error
    try:
        return msgspec.json.decode(content, type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{escape(path)} is no result of a link test: {escape(str(error))}",
            hint="diode linktest recv --from URL --save FILE writes one",
        ) from error
