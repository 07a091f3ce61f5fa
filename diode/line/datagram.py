"""Datagrams: a frame is a datagram and a datagram is a frame (wire 1).

Where the medium keeps apart what is sent there is nothing to find again and nothing to add. The
encoder passes frames on as they are; the decoder groups the datagrams by length and asks each
for its check. A datagram is whole or it is nothing: one that was cut, that has something
behind its frame, or that never was a frame fails the check, is counted and costs no other.

Unlike on a stream of bytes the length is known, so it comes first among the reasons (wire 3.5).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from diode import stamp
from diode.frame import MAX_FRAME, MIN_FRAME, Frames, Reject, flat

if TYPE_CHECKING:
    from diode.frame import U8, Received


class Encoder:
    """Frames as they are."""

    max_frame = MAX_FRAME

    def encode(self, frames: Frames) -> Frames:
        """The same frames."""
        return frames

    def line_bytes(self, frame: int) -> float:
        """A frame's own bytes; what a network puts around them is the carrier's business."""
        return float(frame)

    def frame_room(self, piece: int) -> int:
        """The longest frame that fits a datagram of that many bytes."""
        return min(self.max_frame, piece)


class Decoder:
    """Datagrams to checked frames. Nothing is held back, so no datagram waits for another."""

    def __init__(self) -> None:
        self.rejected: Counter[str] = Counter()
        self.noise = 0

    def feed(self, data: Received) -> list[U8]:
        """The frames among these datagrams, as rows grouped by length, in the order they came.

        Bytes that come as no pieces are one datagram. Rows of datagrams of one length are a view
        of what was given.
        """
        if not isinstance(data, Frames):
            data = Frames(flat(data), np.array([len(data)], np.int64))
        return [good for rows in data.rows() if len(good := self._checked(rows))]

    def flush(self) -> list[U8]:
        """Nothing: a datagram is complete when it comes."""
        return []

    def _checked(self, rows: U8) -> U8:
        count, length = rows.shape
        passed = stamp.check_rows(rows)
        failed = count - int(np.count_nonzero(passed))
        if not failed:
            return rows
        fits = MIN_FRAME <= length <= MAX_FRAME
        self.rejected[Reject.CHECK if fits else Reject.LENGTH] += failed
        self.noise += failed * length
        return rows[passed]
