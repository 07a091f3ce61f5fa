"""COBS: frames between zero bytes (wire 6.1).

Consistent Overhead Byte Stuffing (Cheshire & Baker, IEEE/ACM Transactions on Networking 7(2),
1999) cuts a frame behind each of its zeros into groups. A group is sent as a code byte, which
is the distance to the next code byte, and the group without its zero; 254 bytes without a
zero make a group of code 255 that stands for no zero. So a zero on the line is always a
delimiter, and after any damage the next zero begins anew.

Both directions work on all frames of a slice at once. The encoder finds the ends of
runs (zeros and frame ends) and lays out the line bytes: all of the frame but the places of
code bytes, which are then written. The decoder walks the chains of code bytes of all chunks
in lockstep (so the number of numpy calls is that of groups in one chunk, not in the slice), then
drops the code bytes that stand for nothing by a boolean mask, writes zeros over the others,
and has all frames in one array. The last few long chains are walked one by one. Slices are
small enough for the second cache level: fresh memory costs more than the work itself.

A chunk that fails its check may be two frames whose delimiter was hit: see `salvage`.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from diode import stamp
from diode.frame import EMPTY, MAX_FRAME, MIN_FRAME, Frames, Reject, flat
from diode.line.salvage import GROUP, salvage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import U8, Bool, Received

    Index = NDArray[np.int64]

LONGEST = 2 * (MAX_FRAME + MAX_FRAME // GROUP + 1) + 1
"""Longest chunk that is looked at: two of the longest frames and a delimiter that was changed.
Anything longer is noise, and need not be kept."""

_SLICE = 1 << 18
"""Bytes worked on at a time."""

_ALONE = 48
"""Chains fewer than this are walked one by one: a round of numpy calls costs as much."""


class Encoder:
    """Frames to COBS chunks, each followed by a zero."""

    max_frame = MAX_FRAME

    def __init__(self) -> None:
        self._begun = False

    def encode(self, frames: Frames) -> Frames:
        """Line bytes of these frames; piece i of the result is frame i on the line.

        The first piece of a stream begins with one zero more. Raises ValueError for a frame
        longer than `max_frame`.
        """
        count = len(frames)
        if not count:
            return EMPTY
        lengths = frames.lengths
        if int(lengths.max()) > self.max_frame:
            raise ValueError(f"a frame of {int(lengths.max())} bytes is longer than {MAX_FRAME}")
        # one code byte and one delimiter a frame, and one for each full group
        bound = len(frames.data) + len(frames.data) // GROUP + 2 * count + 1
        out = np.empty(bound, np.uint8)
        ends = np.empty(count, np.int64)
        at = 0
        if not self._begun:
            self._begun = True
            out[0] = 0
            at = 1
        first = 0
        while first < count:
            start = int(frames.ends[first] - lengths[first])
            last = int(np.searchsorted(frames.ends, start + _SLICE, "right"))
            last = max(last, first + 1)
            part = frames.part(first, last)
            ends[first:last] = _stuff(part, out[at:]) + at
            at = int(ends[last - 1])
            first = last
        return Frames(out[:at], ends)

    def line_bytes(self, frame: int) -> float:
        """Expected bytes on the line for a frame of that many random bytes."""
        return frame + 2 + _full_groups(frame)

    def frame_room(self, piece: int) -> int:
        """The longest frame that never takes more than that many line bytes."""
        # a delimiter, and a code byte for every 254 bytes begun
        return max(0, min(self.max_frame, piece - 1 - -(-(piece - 1) // (GROUP + 1))))


@functools.lru_cache(maxsize=1024)
def _full_groups(length: int) -> float:
    """Expected groups without a zero in that many random bytes, for which a byte is added.

    A group begins behind a zero or a full group; it is full with probability f = (255/256)^254
    and takes 256·(1-f) bytes on average. A full group that ends with the frame adds nothing,
    so groups count that begin up to 255 bytes before the end: surely at byte 0, with
    probability 1/256 at each of the next 253 (behind a zero), then at the average rate.
    """
    full = (255 / 256) ** GROUP
    later = length - GROUP - 1
    if later < 0:
        return 0.0
    near = min(later, GROUP - 1)
    return full * (1 + near / 256 + (later - near) / (256 * (1 - full)))


def _stuff(frames: Frames, out: U8) -> Index:
    """Write the chunks of these frames, each with its zero, into `out`; the ends of the chunks.

    A run ends at a zero or with its frame. It becomes its groups; the zero itself has
    no byte of its own but for the code byte of the next run, which takes its place.
    """
    data = frames.data
    zeros = np.flatnonzero(data == 0)
    # merge zeros and frame ends in order; an end stands before a zero of the same offset
    is_end = np.zeros(len(zeros) + len(frames), np.bool_)
    where = np.searchsorted(zeros, frames.ends) + np.arange(len(frames))
    is_end[where] = True
    stop = np.empty(len(is_end), np.int64)
    stop[where] = frames.ends
    stop[~is_end] = zeros
    run = stop.copy()
    run[1:] -= stop[:-1]
    run[1:] -= ~is_end[:-1]  # the zero before this run belongs to neither
    # a frame that ends with a full group needs no empty group behind it
    full = np.where(is_end, np.maximum(run - 1, 0), run) // GROUP
    size = 1 + run + full + is_end
    place = np.cumsum(size)
    total = int(place[-1])
    chunk_ends: Index = place[where]
    place -= size

    keep = np.ones(total, np.bool_)
    keep[chunk_ends - 1] = False
    keep[place[0]] = False
    keep[chunk_ends[:-1]] = False
    has_full = np.flatnonzero(full)
    times = full[has_full]
    origin = np.repeat(place[has_full], times)
    step = np.arange(len(origin)) - np.repeat(np.cumsum(times) - times, times)
    full_codes = origin + step * (GROUP + 1)
    last_codes = place + full * (GROUP + 1)
    keep[full_codes + (GROUP + 1)] = False

    line = out[:total]
    line[keep] = data
    line[full_codes] = GROUP + 1
    line[last_codes] = (run - full * GROUP + 1).astype(np.uint8)
    line[chunk_ends - 1] = 0
    return chunk_ends


class Decoder:
    """COBS chunks to checked frames, streaming."""

    def __init__(self) -> None:
        self.rejected: Counter[str] = Counter()
        self.noise = 0
        self._pending = bytearray()  # what came since the last zero, unless …
        self._overlong = False  # … that is longer than any chunk, and dropped
        self._work = np.empty(0, np.uint8)
        self._keep = np.empty(0, np.bool_)

    def feed(self, data: Received) -> list[U8]:
        """The frames completed by these bytes, as rows grouped by length.

        data: uint8, any shape (bytes,). Rows are in the order they came, own their memory,
        and there may be several groups of one length.
        """
        array = flat(data)
        out: list[U8] = []
        for first in range(0, len(array), _SLICE):
            out += self._slice(array[first : first + _SLICE])
        return out

    def flush(self) -> list[U8]:
        """The stream has ended: the bytes since the last zero, as if a zero followed."""
        return self._slice(np.zeros(1, np.uint8))

    def _slice(self, data: U8) -> list[U8]:
        """Frames completed by at most `_SLICE` bytes."""
        zeros = np.flatnonzero(data == 0)
        if not len(zeros):
            self._hold(data)
            return []
        first, after = int(zeros[0]), int(zeros[-1]) + 1
        if self._overlong:
            self.noise += first
            self._overlong = False
        else:
            first = 0
        held = len(self._pending)
        size = held + after - first
        if len(self._work) < size:
            self._work = np.empty(max(size, min(2 * size, _SLICE + LONGEST)), np.uint8)
            self._keep = np.empty(len(self._work), np.bool_)
        work = self._work[:size]
        work[:held] = np.frombuffer(self._pending, np.uint8)
        work[held:] = data[first:after]
        self._pending = bytearray()
        self._hold(data[after:])
        return self._chunks(work, self._keep[:size], zeros + (held - first))

    def _hold(self, data: U8) -> None:
        """Keep bytes of a chunk that has not ended, as long as it can be one."""
        if not self._overlong:
            self._pending += data.data
            if len(self._pending) <= LONGEST:
                return
            self._overlong = True
            self.rejected[Reject.LENGTH] += 1
            self.noise += len(self._pending)
            self._pending = bytearray()
        else:
            self.noise += len(data)

    def _chunks(self, work: U8, keep: Bool, ends: Index) -> list[U8]:
        """Frames in bytes with zeros at `ends`, the last of them one. Uses up `work` and `keep`."""
        keep[:] = True
        keep[ends] = False
        starts = np.empty_like(ends)
        starts[0] = 0
        starts[1:] = ends[:-1] + 1
        wrong = (ends - starts > LONGEST).nonzero()[0]
        for start, end in zip(starts[wrong].tolist(), ends[wrong].tolist(), strict=True):
            self.rejected[Reject.LENGTH] += 1
            self.noise += end - start
            keep[start:end] = False
        starts[wrong] = ends[wrong]
        some = ends > starts
        starts, ends = starts[some], ends[some]
        if not len(starts):
            return []
        dropped, zeros, whole = _walk(work, keep, starts, ends)
        codes = work[zeros]
        work[zeros] = 0
        lengths = ends - starts - dropped
        fits = whole & (lengths >= MIN_FRAME) & (lengths <= MAX_FRAME)
        groups = _group(work[keep], lengths, fits)
        accepted = np.zeros(len(starts), np.bool_)
        for order, _ in groups:
            accepted[order] = True
        failed = np.flatnonzero(~accepted)
        if not len(failed):
            return [rows for _, rows in groups]
        work[zeros] = codes
        unfit = whole & ~fits
        sizes = ends - starts
        # too short for any frame: noise comes in swarms of them
        small = failed[sizes[failed] <= MIN_FRAME]
        self.noise += int(sizes[small].sum())
        for reason, which in ((Reject.LENGTH, unfit[small]), (Reject.CHECK, ~unfit[small])):
            if which.any():
                self.rejected[reason] += int(np.count_nonzero(which))
        saved: list[tuple[int, bytes]] = []
        for i in failed[sizes[failed] > MIN_FRAME].tolist():
            chunk = work[int(starts[i]) : int(ends[i])].tobytes()
            found = self._refused(chunk, Reject.LENGTH if unfit[i] else Reject.CHECK)
            saved += [(i, body) for body in found]
        return _merge(groups, saved)

    def _refused(self, chunk: bytes, reason: Reject) -> list[bytes]:
        """What can be saved of a chunk that is no frame; counts the rest."""
        frames, rest = salvage(chunk)
        self.noise += rest
        if not frames:
            self.rejected[reason] += 1
        elif rest > MIN_FRAME:  # less cannot have been a frame, so none was refused
            self.rejected[Reject.CHECK] += 1
        return frames


def _walk(work: U8, keep: Bool, starts: Index, ends: Index) -> tuple[Index, Index, Bool]:
    """Follow the code bytes of all chunks [start, end); clears `keep` where nothing is kept.

    Returns, per chunk, the number of bytes not kept; the places of code bytes that stand for a
    zero; and, per chunk, whether its chain ends where the chunk does.
    """
    # A chain that has reached the zero at its end stays there: its code is zero.
    keep[starts] = False
    at = starts
    over = np.zeros(len(starts), np.bool_)
    stops, codes = [], []
    running = len(starts)
    while running > _ALONE:
        code = work.take(at)
        at = at + code
        over |= at > ends
        at = np.minimum(at, ends)
        stops.append(at)
        codes.append(code)
        running = len(at) - int(np.count_nonzero(at == ends))
    dropped = np.ones(len(starts), np.int64)
    zeros = np.empty(0, np.int64)
    if stops:
        places = np.stack(stops)
        full = np.stack(codes) == GROUP + 1
        inside = places < ends
        zeros = places[inside & ~full]
        full &= inside
        keep[places[full]] = False
        dropped += np.count_nonzero(full, axis=0)
    if running:
        alone = _walk_alone(work, keep, at, ends, dropped=dropped, over=over)
        zeros = np.concatenate([zeros, alone])
    return dropped, zeros, ~over


def _walk_alone(
    work: U8, keep: Bool, at: Index, ends: Index, *, dropped: Index, over: Bool
) -> Index:
    """Follow to their ends, one by one, the chains that have come as far as `at`.

    Brings `keep`, `dropped` and `over` up to date; returns the places that stand for a zero.
    """
    zeros: list[int] = []
    view = work.data
    for chain in np.flatnonzero(at < ends).tolist():
        place, stop = int(at[chain]), int(ends[chain])
        while True:
            step = view[place]
            place += step
            if place >= stop:
                break
            if step <= GROUP:
                zeros.append(place)
            else:
                keep[place] = False
                dropped[chain] += 1
        over[chain] = place > stop
    return np.array(zeros, np.int64)


def _group(decoded: U8, lengths: Index, fits: Bool) -> list[tuple[Index, U8]]:
    """Checked frames by length, each group as (piece numbers, rows).

    decoded: pieces of `lengths` bytes behind each other; those that do not fit are passed over.
    """
    size = int(lengths[0])
    if fits.all() and (lengths == size).all():
        rows = decoded.reshape(len(lengths), size)
        good = np.flatnonzero(stamp.check_rows(rows))
        return [(good, rows if len(good) == len(rows) else rows[good])] if len(good) else []
    starts = np.cumsum(lengths) - lengths
    order = np.flatnonzero(fits)
    order = order[np.argsort(lengths[order], kind="stable")]
    cuts = np.flatnonzero(np.diff(lengths[order])) + 1
    out = []
    for members in np.split(order, cuts) if len(order) else []:
        size = int(lengths[members[0]])
        windows = np.lib.stride_tricks.as_strided(
            decoded, (len(decoded) - size + 1, size), (1, 1), writeable=False
        )
        rows = windows[starts[members]]
        passed = stamp.check_rows(rows)
        if passed.all():
            out.append((members, rows))
        elif passed.any():
            out.append((members[passed], rows[passed]))
    return out


def _merge(groups: list[tuple[Index, U8]], saved: list[tuple[int, bytes]]) -> list[U8]:
    """Rows by length, with salvaged frames in the place of their chunk."""
    by_length = {rows.shape[1]: (order, rows) for order, rows in groups}
    for length in {len(found) for _, found in saved}:
        same = [(i, found) for i, found in saved if len(found) == length]
        order = np.array([i for i, _ in same], np.int64)
        rows = np.frombuffer(b"".join(f for _, f in same), np.uint8).reshape(-1, length).copy()
        if length in by_length:
            order = np.concatenate([by_length[length][0], order])
            rows = np.concatenate([by_length[length][1], rows])
            rows = rows[np.argsort(order, kind="stable")]
        by_length[length] = (order, rows)
    return [rows for _, rows in by_length.values()]
