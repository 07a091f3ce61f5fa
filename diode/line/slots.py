"""Slots: line bytes of equal frames brought to one size, for a constant rate (wire 3.10).

Frames of one length become pieces of one length on `rs` and as datagrams. On `cobs` what a
frame holds decides about a byte in 254; what is missing to the most that it can be
is made up with empty frames, that is with zeros, which mean nothing there (wire 6.1). They go
before the frame, so that the first one of a stream has its leading zero if it has room for it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import EMPTY, Frames

if TYPE_CHECKING:
    from diode.line import Encoder


class Slots:
    """An encoder of which every piece has `size` bytes."""

    def __init__(self, line: Encoder, frame: int) -> None:
        """frame: bytes of all frames that are going to come."""
        self._line = line
        self.max_frame = frame
        self.size = next(n for n in itertools.count(frame) if line.frame_room(n) >= frame)
        """Bytes of a slot: the most that such a frame can take."""

    def encode(self, frames: Frames) -> Frames:
        """Line bytes of these frames, each `size` of them. ValueError for one of another length."""
        if not len(frames):
            return EMPTY
        if (frames.lengths != self.max_frame).any():
            raise ValueError(f"frames here have {self.max_frame} bytes")
        pieces = self._line.encode(frames)
        if (pieces.lengths == self.size).all():
            return pieces
        missing = self.size - pieces.lengths
        # Only a zero in front of the whole stream can be too much.
        data = pieces.data[max(0, -int(missing[0])) :]
        slots = np.zeros((len(pieces), self.size), np.uint8)
        slots[np.arange(self.size) >= missing[:, None]] = data
        return Frames.of_rows(slots)

    def line_bytes(self, frame: int) -> float:  # noqa: ARG002  every slot is as large
        """Bytes of a slot."""
        return float(self.size)

    def frame_room(self, piece: int) -> int:
        """The length of the frames, if that many line bytes hold a slot."""
        return self.max_frame if piece >= self.size else 0
