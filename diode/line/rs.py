"""Reed-Solomon words behind a sync word: the line for noisy carriers (wire 6.2).

Every frame becomes 259 bytes: the CCSDS attached sync marker, then a code word RS(255,223) with
the frame's length, the frame and zeros, scrambled. The receiver looks for the marker
at every byte position with up to three wrong bits, so that no slip and no burst costs more
than the frames it touches, and what it finds must pass in turn: the code, the length,
the padding, the frame's own check. The order of these is also that of their false acceptance:
a cyclic code takes its own words shifted by a byte for words, so that without the scrambler
and the CRC inside the word a frame that lost a zero byte would pass as another one.

Candidates are judged in order of position. Behind an accepted frame the search goes on at its
end, behind a refused one at the next byte. Checking a word costs a tenth of correcting it;
so all candidates are checked first, and corrected only where they do not lie inside
a frame that is accepted already. That is done over until nothing is left to try, and then equals
the judgement one by one.

A position is judged once all 259 bytes from it have come, so any split of the stream
gives the same frames, and never more than 258 bytes are held back. At the end of
the stream a frame may lack up to 32 bytes: they are erasures, which the code can fill in.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from diode import stamp
from diode.frame import EMPTY, MIN_FRAME, Frames, Reject, flat
from diode.line.codeword import DATA, PARITY, WORD, correct, parity, valid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import U8, Bool, Received

    Index = NDArray[np.int64]

SYNC = np.frombuffer(bytes.fromhex("1ACFFC1D"), np.uint8)
SYNC_ERRORS = 3
"""Wrong bits of 32 with which the sync word is still one."""

MAX_FRAME = DATA - 1
PIECE = len(SYNC) + WORD
"""Line bytes of every frame."""

_SLICE = 1 << 18
"""Bytes searched at a time."""

_CANDIDATES = 1024
"""Candidates judged at a time; bounds memory when a stream is full of sync words."""


def _pseudo_random() -> U8:
    """255 bytes of the CCSDS sequence, most significant bit first (CCSDS 131.0-B, 10.4)."""
    bits = np.ones(8 * WORD, np.uint8)
    for i in range(8, len(bits)):
        bits[i] = bits[i - 1] ^ bits[i - 3] ^ bits[i - 5] ^ bits[i - 8]
    return np.packbits(bits)


SCRAMBLER = _pseudo_random()

_WRONG_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None] ^ SYNC[None, :], axis=0)
_WRONG_BITS = _WRONG_BITS.reshape(256, 8, len(SYNC)).sum(axis=1, dtype=np.uint8).T.copy()
"""uint8, shape (4, 256): [i, v] is how many bits of byte v differ from byte i of the sync word."""


class Encoder:
    """Frames of 12 … 222 bytes to pieces of 259."""

    max_frame = MAX_FRAME

    def encode(self, frames: Frames) -> Frames:
        """Line bytes of these frames; piece i of the result is frame i on the line.

        Raises ValueError for a frame shorter or longer than the line can carry.
        """
        count = len(frames)
        if not count:
            return EMPTY
        lengths = frames.lengths
        if int(lengths.min()) < MIN_FRAME or int(lengths.max()) > MAX_FRAME:
            raise ValueError(f"frames on this line have {MIN_FRAME} to {MAX_FRAME} bytes")
        out = np.zeros((count, PIECE), np.uint8)
        out[:, : len(SYNC)] = SYNC
        word = out[:, len(SYNC) :]
        word[:, 0] = lengths
        word[:, 1:DATA][np.arange(MAX_FRAME) < lengths[:, None]] = frames.data
        word[:, DATA:] = parity(word[:, :DATA])
        word ^= SCRAMBLER
        return Frames.of_rows(out)

    def line_bytes(self, frame: int) -> float:  # noqa: ARG002  every frame takes as much
        """Expected bytes on the line for a frame of that many random bytes."""
        return float(PIECE)

    def frame_room(self, piece: int) -> int:
        """The longest frame that never takes more than that many line bytes."""
        return self.max_frame if piece >= PIECE else 0


def sync_positions(data: U8) -> Index:
    """Where the sync word stands with at most three wrong bits.

    data: uint8, shape (bytes,). Three wrong bits leave one of four bytes right, so
    positions where none is right (63 of 64 in noise) are passed over by plain comparisons.
    """
    count = len(data) - len(SYNC) + 1
    if count <= 0:
        return np.empty(0, np.int64)
    near = data[:count] == SYNC[0]
    same = np.empty(count, np.bool_)
    for i in range(1, len(SYNC)):
        np.equal(data[i : count + i], SYNC[i], out=same)
        near |= same
    places: Index = np.flatnonzero(near)
    wrong = _WRONG_BITS[0][data[places]]
    for i in range(1, len(SYNC)):
        wrong += _WRONG_BITS[i][data[places + i]]
    found: Index = places[wrong <= SYNC_ERRORS]
    return found


class Decoder:
    """Pieces of 259 bytes to checked frames, streaming."""

    def __init__(self) -> None:
        self.rejected: Counter[str] = Counter()
        self.noise = 0
        self._tail = np.empty(0, np.uint8)  # bytes no frame has been looked for at

    def feed(self, data: Received) -> list[U8]:
        """The frames completed by these bytes, as rows grouped by length.

        data: uint8, shape (bytes,). Rows are in the order they came, own their memory, and
        there may be several groups of one length.
        """
        array = flat(data)
        out: list[U8] = []
        for first in range(0, len(array), _SLICE):
            work = np.concatenate([self._tail, array[first : first + _SLICE]])
            after = self._search(work, len(work), out)
            self._tail = work[max(after, len(work) - PIECE + 1) :].copy()
            self.noise += max(0, len(work) - PIECE + 1 - after)
        return out

    def flush(self) -> list[U8]:
        """The stream has ended: a last frame that lacks up to 32 bytes, if there is one."""
        out: list[U8] = []
        work = np.concatenate([self._tail, np.zeros(PARITY, np.uint8)])
        after = self._search(work, len(self._tail), out)
        self.noise += max(0, len(self._tail) - after)
        self._tail = np.empty(0, np.uint8)
        return out

    def _search(self, work: U8, real: int, out: list[U8]) -> int:
        """Add the frames in `work` to `out`; returns the end of the last one, or 0.

        Bytes from `real` on are not from the line but stand for missing ones.
        """
        places = sync_positions(work[: max(0, len(work) - WORD)])
        after = 0
        for first in range(0, len(places), _CANDIDATES):
            part = places[first : first + _CANDIDATES]
            part = part[part >= after]
            if len(part):
                after = self._judge(work, real, part, after, out)
        return after

    def _judge(self, work: U8, real: int, places: Index, after: int, out: list[U8]) -> int:
        """Accept or refuse the candidates at `places`, the first of them not before `after`."""
        windows = np.lib.stride_tricks.sliding_window_view(work, PIECE)
        words = windows[places][:, len(SYNC) :] ^ SCRAMBLER
        tried = valid(words)
        good = tried.copy()
        good[tried], short = _contents(words[tried])
        unfit = np.zeros(len(places), np.bool_)
        unfit[tried] = short
        while True:
            taken = _in_order(places, good)
            inside = _inside(places, places[taken])
            left = np.flatnonzero(~tried & ~inside)
            if not len(left):
                break
            missing = [range(real - p - len(SYNC), WORD) for p in places[left].tolist()]
            words[left], fixed = correct(words[left], missing if real < len(work) else None)
            right, short = _contents(words[left])
            good[left] = fixed & right
            unfit[left] = fixed & short
            tried[left] = True
        refused = ~good & ~inside
        for reason, which in ((Reject.LENGTH, refused & unfit), (Reject.CHECK, refused & ~unfit)):
            if which.any():
                self.rejected[reason] += int(np.count_nonzero(which))
        if not len(taken):
            return after
        self.noise += int(places[taken[0]]) - after
        self.noise += int((np.diff(places[taken]) - PIECE).sum())
        lengths = words[taken, 0]
        out += [
            words[taken[lengths == length], 1 : 1 + length]
            for length in np.unique(lengths).tolist()
        ]
        return int(places[taken[-1]]) + PIECE


def _contents(words: U8) -> tuple[Bool, Bool]:
    """Which words hold a frame: length, padding and check are right; and where the length is not.

    words: uint8, shape (words, 255), descrambled and corrected.
    """
    lengths = words[:, 0]
    unfit = (lengths < MIN_FRAME) | (lengths > MAX_FRAME)
    good = np.zeros(len(words), np.bool_)
    for length in np.unique(lengths[~unfit]).tolist():
        same = np.flatnonzero(lengths == length)
        padding = words[same, 1 + length : DATA].any(axis=1)
        good[same] = stamp.check_rows(words[same, 1 : 1 + length]) & ~padding
    return good, unfit


def _in_order(places: Index, good: Bool) -> Index:
    """Numbers of the good candidates that do not begin inside an earlier accepted one."""
    which = np.flatnonzero(good)
    if (np.diff(places[which]) >= PIECE).all():
        return which
    taken = []
    free = 0
    for i, place in zip(which.tolist(), places[which].tolist(), strict=True):
        if place >= free:
            taken.append(i)
            free = place + PIECE
    return np.array(taken, np.int64)


def _inside(places: Index, accepted: Index) -> Bool:
    """Which places lie inside an accepted piece, its first byte excepted."""
    if not len(accepted):
        return np.zeros(len(places), np.bool_)
    before = np.searchsorted(accepted, places, "right") - 1
    distance = places - accepted[np.maximum(before, 0)]
    return np.asarray((before >= 0) & (distance > 0) & (distance < PIECE), np.bool_)
