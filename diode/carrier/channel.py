"""The seeded channel: an `Impairment` at work on a stream (what it means: impairment.py).

Two stages, each a pure function of its seed and of the count of pieces or bytes that went
before: `PieceFaults` selects pieces by index, `ByteFaults` edits the bytes that are left and
keeps the ends of the pieces true. `Channel` is both, for a sender that knows where frames end;
`StreamChannel` cuts a byte stream into pieces of 256 bytes first, if pieces matter at all;
`DatagramChannel` is for a receiver to which they come apart.

Everything is done on whole batches. The cost of a fault is that of its occurrences, and a
batch in which nothing happens is passed on uncopied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import EMPTY, Frames, flat, join

if TYPE_CHECKING:
    from diode.carrier.impairment import Impairment
    from diode.frame import I64, U8, Bool, Received

PIECE = 256
"""Bytes of a piece where frames cannot be seen."""

_BLOCK = 1024
"""Events drawn at a time. Fixed, so that draws do not depend on how calls are cut."""

_NO_EVENTS = np.empty(0, np.int64)


@dataclass(slots=True)
class Tally:
    """What went in and what was done to it."""

    pieces: int = 0
    pieces_dropped: int = 0
    pieces_duplicated: int = 0
    pieces_late: int = 0
    bytes: int = 0
    bytes_burst: int = 0
    """Bytes that fell into an outage."""
    outages: int = 0
    bits_flipped: int = 0
    bytes_lost: int = 0
    """Bytes that slipped away one by one."""
    bytes_inserted: int = 0

    @property
    def bytes_slipped(self) -> int:
        """Places where the stream slipped, either way."""
        return self.bytes_lost + self.bytes_inserted


class _Arrivals:
    """Positions of independent rare events in an endless count, each with 16 random bits."""

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        self._rng = rng
        self._share = share
        self._ahead = _NO_EVENTS
        self._marks = np.empty(0, np.uint16)
        self._last = -1

    def before(self, stop: int) -> tuple[I64, np.ndarray[tuple[int], np.dtype[np.uint16]]]:
        """The events not yet returned that lie before `stop`, and their random bits."""
        if not self._share:
            return _NO_EVENTS, self._marks
        while self._last < stop:
            # A gap is clipped so that sums stay far inside 64 bits; 2^50 is beyond any stream.
            gaps = np.minimum(self._rng.geometric(self._share, _BLOCK), 1 << 50)
            positions = self._last + np.cumsum(gaps)
            marks = self._rng.integers(0, 1 << 16, _BLOCK, np.uint16)
            self._ahead = np.concatenate([self._ahead, positions])
            self._marks = np.concatenate([self._marks, marks])
            self._last = int(positions[-1])
        cut = int(np.searchsorted(self._ahead, stop))
        found = self._ahead[:cut], self._marks[:cut]
        self._ahead, self._marks = self._ahead[cut:], self._marks[cut:]
        return found


class _TwoStates:
    """The Gilbert-Elliott chain over pieces: good at first, sojourns of geometric length."""

    def __init__(self, rng: np.random.Generator, turns: tuple[float, float] | None) -> None:
        self._rng = rng
        self._turns = turns if turns and turns[0] else None
        self._edges = _NO_EVENTS  # where the state changes, from good to bad and so on
        self._bad = 0
        self._last = 0

    def bad(self, start: int, stop: int) -> Bool:
        """Whether each piece from start to stop falls into a bad state."""
        if self._turns is None:
            return np.zeros(stop - start, np.bool_)
        while self._last < stop:
            stays = np.empty((_BLOCK, 2), np.int64)
            stays[:, 0] = np.minimum(self._rng.geometric(self._turns[0], _BLOCK), 1 << 50)
            stays[:, 1] = np.minimum(self._rng.geometric(self._turns[1], _BLOCK), 1 << 50)
            edges = self._last + np.cumsum(stays.reshape(-1))
            self._edges = np.concatenate([self._edges, edges])
            self._last = int(edges[-1])
        passed = np.searchsorted(self._edges, np.arange(start, stop), "right")
        states = np.asarray((self._bad + passed) & 1, np.bool_)
        done = int(np.searchsorted(self._edges, stop, "right"))
        self._bad = (self._bad + done) & 1
        self._edges = self._edges[done:]
        return states


def select(frames: Frames, order: I64) -> Frames:
    """The pieces with these numbers, in this order, as a batch of its own."""
    if not len(order):
        return EMPTY
    lengths = frames.lengths
    if (lengths == lengths[0]).all():
        return Frames.of_rows(frames.data.reshape(len(frames), int(lengths[0]))[order])
    lengths = lengths[order]
    ends = np.cumsum(lengths, dtype=np.int64)
    shift = np.repeat(frames.starts[order] - (ends - lengths), lengths)
    return Frames(frames.data[shift + np.arange(len(shift))], ends)


class PieceFaults:
    """Loses, repeats and delays whole pieces."""

    def __init__(self, impairment: Impairment, tally: Tally) -> None:
        seeds = np.random.SeedSequence([impairment.seed, 1]).spawn(4)
        self._drops, states, self._dups, self._delays = map(np.random.default_rng, seeds)
        self._states = _TwoStates(states, impairment.ge)
        self._wanted = impairment
        self._tally = tally
        self._held = EMPTY
        self._turns = _NO_EVENTS  # place in the new order of each held piece
        self._count = 0  # pieces that reached the reordering

    def apply(self, frames: Frames) -> Frames:
        """The pieces that come out now; those delayed come with later calls or `flush`."""
        seen, count = self._tally.pieces, len(frames)
        self._tally.pieces += count
        if not self._wanted.by_piece or not count:
            return frames
        lost = self._states.bad(seen, seen + count)
        if self._wanted.drop:
            lost |= self._drops.random(count) < self._wanted.drop
        order = np.flatnonzero(~lost)
        self._tally.pieces_dropped += count - len(order)
        if self._wanted.dup:
            twice = self._dups.random(len(order)) < self._wanted.dup
            self._tally.pieces_duplicated += int(twice.sum())
            order = np.repeat(order, 1 + twice)
        kept = frames if len(order) == count and not self._wanted.dup else select(frames, order)
        return self._delay(kept) if self._wanted.reorder else kept

    def flush(self) -> Frames:
        """The pieces still held back."""
        held, self._held = select(self._held, np.argsort(self._turns, kind="stable")), EMPTY
        self._turns = _NO_EVENTS
        return held

    def _delay(self, frames: Frames) -> Frames:
        numbers = np.arange(self._count, self._count + len(frames))
        self._count += len(frames)
        delays = (self._delays.random(len(frames)) * (self._wanted.reorder + 1)).astype(np.int64)
        self._tally.pieces_late += int((delays > 0).sum())
        waiting = join(self._held, frames)
        # A late piece comes just behind the one whose place it takes, so turns are half places.
        turns = np.concatenate([self._turns, 2 * (numbers + delays) + (delays > 0)])
        # One may go once none that is still to come can precede it. Equal turns go by age.
        ready = turns < 2 * self._count
        order = np.flatnonzero(ready)
        order = order[np.argsort(turns[order], kind="stable")]
        self._held = select(waiting, np.flatnonzero(~ready))
        self._turns = turns[~ready]
        return select(waiting, order)


class ByteFaults:
    """Cuts outages out of the stream, flips bits and slips bytes."""

    def __init__(self, impairment: Impairment, rate: float | None, tally: Tally) -> None:
        seeds = np.random.SeedSequence([impairment.seed, 2]).spawn(3)
        phase, flips, slips = map(np.random.default_rng, seeds)
        self._tally = tally
        self._flips = _Arrivals(flips, impairment.flip)
        self._slips = _Arrivals(slips, impairment.slip)
        self._outage, self._period, self._phase = 0, 1, 0
        if impairment.burst is not None:
            self._period = impairment.burst[1].size(rate)
            self._outage = min(impairment.burst[0].size(rate), self._period)
            self._phase = int(phase.integers(0, self._period - self._outage + 1))
        self._cut_seen = 0
        self._flip_seen = 0
        self._slip_seen = 0

    def apply(self, frames: Frames) -> Frames:
        """The bytes that come through; pieces of which nothing is left are gone."""
        self._tally.bytes += len(frames.data)
        return self._slip(self._flip(self._cut(frames)))

    def _cut(self, frames: Frames) -> Frames:
        start, count = self._cut_seen, len(frames.data)
        self._cut_seen = stop = start + count
        if not self._outage or not count:
            return frames
        first = max(0, (start - self._phase - self._outage) // self._period + 1)
        if self._phase + first * self._period >= stop:
            return frames
        last = (stop - 1 - self._phase) // self._period
        begins = self._phase + np.arange(first, last + 1) * self._period
        lost = np.zeros(count + 1, np.int8)
        lost[np.maximum(begins - start, 0)] += 1
        lost[np.minimum(begins + self._outage - start, count)] -= 1
        kept = np.cumsum(lost[:-1], dtype=np.int8) == 0
        data = frames.data[kept]
        self._tally.outages += int((begins >= start).sum())
        self._tally.bytes_burst += count - len(data)
        return _tidy(data, np.cumsum(kept, dtype=np.int64)[frames.ends - 1])

    def _flip(self, frames: Frames) -> Frames:
        start, count = self._flip_seen, len(frames.data)
        self._flip_seen = start + count
        bits, _ = self._flips.before((start + count) * 8)
        if not len(bits):
            return frames
        bits = bits - start * 8
        data = frames.data.copy()
        np.bitwise_xor.at(data, bits >> 3, (1 << (bits & 7)).astype(np.uint8))
        self._tally.bits_flipped += len(bits)
        return Frames(data, frames.ends)

    def _slip(self, frames: Frames) -> Frames:
        start, count = self._slip_seen, len(frames.data)
        self._slip_seen = start + count
        places, marks = self._slips.before(start + count)
        if not len(places):
            return frames
        places = places - start
        inserted = (marks & 0x100) != 0
        counts = np.ones(count, np.int64)
        counts[places] += np.where(inserted, 1, -1)
        shift = np.concatenate([[0], np.cumsum(np.where(inserted, 1, -1))])
        data = np.repeat(frames.data, counts)
        data[places[inserted] + shift[:-1][inserted]] = marks[inserted].astype(np.uint8)
        self._tally.bytes_inserted += int(inserted.sum())
        self._tally.bytes_lost += int((~inserted).sum())
        return _tidy(data, frames.ends + shift[np.searchsorted(places, frames.ends)])


def _tidy(data: U8, ends: I64) -> Frames:
    """A batch without the pieces that became empty."""
    return Frames(data, ends[np.diff(ends, prepend=0) > 0])


class Channel:
    """An impairment at work on frames."""

    def __init__(self, impairment: Impairment, rate: float | None) -> None:
        """`rate`: bytes per second, by which times become lengths."""
        self.tally = Tally()
        self._pieces = PieceFaults(impairment, self.tally)
        self._bytes = ByteFaults(impairment, rate, self.tally)

    def apply(self, frames: Frames) -> Frames:
        """What comes out now. The input is not changed."""
        return self._bytes.apply(self._pieces.apply(frames))

    def flush(self) -> Frames:
        """What was held back for reordering."""
        return self._bytes.apply(self._pieces.flush())


class StreamChannel:
    """An impairment at work on a byte stream."""

    def __init__(self, impairment: Impairment, rate: float | None) -> None:
        self._channel = Channel(impairment, rate)
        self.tally = self._channel.tally
        self._cutting = impairment.by_piece
        self._rest = np.empty(0, np.uint8)  # less than a piece

    def feed(self, data: Received) -> bytes:
        """The bytes that come out now; up to a piece, and what is late, stays inside."""
        array = flat(data)
        if not self._cutting:
            whole = Frames(array, np.array([len(array)], np.int64))
            return self._channel.apply(whole).data.tobytes()
        return self._cut(np.concatenate([self._rest, array]))

    def _cut(self, data: U8) -> bytes:
        whole = len(data) - len(data) % PIECE
        self._rest = data[whole:].copy()
        rows = Frames.of_rows(data[:whole].reshape(-1, PIECE))
        return self._channel.apply(rows).data.tobytes()

    def flush(self) -> bytes:
        """The bytes still inside; for when the stream ends or falls silent."""
        rest, self._rest = self._rest, self._rest[:0]
        last = (
            self._channel.apply(Frames(rest, np.array([len(rest)], np.int64)))
            if len(rest)
            else EMPTY
        )
        return join(last, self._channel.flush()).data.tobytes()


class DatagramChannel:
    """An impairment at work on datagrams, which are the pieces."""

    def __init__(self, impairment: Impairment, rate: float | None) -> None:
        self._channel = Channel(impairment, rate)
        self.tally = self._channel.tally

    def feed(self, data: Received) -> Frames:
        """The datagrams that come out now; what is late stays inside."""
        assert isinstance(data, Frames), "a carrier of datagrams gives datagrams"
        return self._channel.apply(data)

    def flush(self) -> Frames:
        """The datagrams still inside."""
        return self._channel.flush()
