"""What became of known bytes on the way: flipped bits, slipped bytes, outages.

Both streams are there as a whole, what was sent and what was heard. Eight bytes that occur once in
the first and are found again in the second are an anchor; anchors lie so close
that between two of them there is seldom more than one fault. Along neighbouring anchors with
the same displacement (place heard minus place sent) the streams are compared bit by bit; where the
displacement changes, something was lost or inserted:

    by up to MAX_SLIP bytes                    so many slipped bytes
    forward in what was sent, from the end of
    one frame to the beginning of another      lost frames
    forward in any other way                   an outage of so many bytes
    backward                                   repeated or late frames, or noise: not counted

The place of a change is where both sides fit best. Two faults between two anchors may be taken
for one or for none, so the figures are a little low when bytes slip or bits flip at 1e-2 or
more: sound from there on is not a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import I64, U8, Bool

WORD = 8
"""Bytes of an anchor."""
STRIDE = 8
"""Bytes from one place where an anchor is looked for to the next."""
MAX_SLIP = 4
"""A larger change of displacement is an outage: no UART slips that far at once."""
DENSE = 0.2
"""Share of wrong bits between two anchors from which on they are not the same bytes."""
LONGEST_GAP = 1 << 12
"""Bytes between two anchors in which the place of a change is looked for."""


@dataclass(slots=True)
class Damage:
    """What was done to bytes whose place is known."""

    compared: int = 0
    """Bytes compared one by one."""
    flipped: int = 0
    """Bits among these that were wrong."""
    lost: int = 0
    """Bytes that slipped away."""
    inserted: int = 0
    """Bytes that slipped in."""
    outages: list[int] = field(default_factory=list)
    """Bytes missing in a row, of each outage."""
    frames_missing: int = 0
    """Gaps of whole frames."""

    @property
    def bit_error_rate(self) -> float | None:
        return self.flipped / (8 * self.compared) if self.compared else None

    @property
    def slip_rate(self) -> float | None:
        """Slips for each byte."""
        return (self.lost + self.inserted) / self.compared if self.compared else None


def compare(sent: U8, ends: I64, heard: U8) -> Damage:
    """What became of `sent` (uint8, frames that end at `ends`) in `heard` (uint8)."""
    damage = Damage()
    places, shifts = _anchors(sent, heard)
    if not len(places):
        return damage
    bounds = set(ends.tolist()) | {0}
    changes = np.flatnonzero(np.diff(shifts)) + 1
    firsts = np.concatenate([[0], changes])
    lasts = np.concatenate([changes, [len(places)]]) - 1
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        _compare_run(sent, heard, places[first : last + 1], int(shifts[first]), damage)
    for at in changes.tolist():
        gap = int(places[at - 1]) + WORD, int(places[at])
        _judge(sent, heard, gap, (int(shifts[at - 1]), int(shifts[at])), bounds, damage)
    return damage


def _words(data: U8, stride: int = 1) -> NDArray[np.uint64]:
    """The eight bytes from every place (every so many-th) on, as numbers."""
    windows = np.lib.stride_tricks.sliding_window_view(data, WORD)[::stride]
    words: NDArray[np.uint64] = np.ascontiguousarray(windows).view("<u8")[:, 0]
    return words


def _anchors(sent: U8, heard: U8) -> tuple[I64, I64]:
    """Places in `heard` that are found in `sent`, and their displacements."""
    if min(len(sent), len(heard)) < WORD:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    words = _words(sent)
    order = np.argsort(words, kind="stable")
    known = words[order]
    same = known[1:] == known[:-1]
    once = ~(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    known, order = known[once], order[once]
    wanted = _words(heard, STRIDE)
    at = np.searchsorted(known, wanted)
    found = at < len(known)
    found[found] = known[at[found]] == wanted[found]
    places = np.flatnonzero(found) * STRIDE
    shifts = places - order[at[found]]
    if not len(places):
        return places, shifts
    # One that agrees with none of its neighbours may be a damaged header like another one.
    near = shifts[1:] == shifts[:-1]
    firm = np.concatenate([near, [False]]) | np.concatenate([[False], near])
    return places[firm], shifts[firm]


def _compare_run(sent: U8, heard: U8, places: I64, shift: int, damage: Damage) -> None:
    """Count wrong bits between anchors of one displacement."""
    start, stop = int(places[0]), int(places[-1]) + WORD
    wrong = np.bitwise_count(heard[start:stop] ^ sent[start - shift : stop - shift])
    total = np.concatenate([[0], np.cumsum(wrong, dtype=np.int64)])
    begins, ends = places[:-1] - start, places[1:] - start
    bits, lengths = total[ends] - total[begins], ends - begins
    alike = (bits <= DENSE * 8 * lengths) | (lengths <= STRIDE)
    damage.flipped += int(bits[alike].sum())
    damage.compared += int(lengths[alike].sum()) + WORD


def _judge(
    sent: U8,
    heard: U8,
    gap: tuple[int, int],
    shifts: tuple[int, int],
    bounds: set[int],
    damage: Damage,
) -> None:
    """Say what a change of displacement was. gap: the places heard between the two anchors."""
    extra = shifts[1] - shifts[0]
    if abs(extra) <= MAX_SLIP:
        damage.inserted += max(0, extra)
        damage.lost += max(0, -extra)
        return
    if extra > 0:
        return
    start, stop = gap[0] - WORD, gap[1] + WORD  # chance may have drawn an anchor over the place
    if stop - start <= LONGEST_GAP:
        for place in _splits(sent, heard, start, stop, shifts):
            ended, began = place - shifts[0], place - shifts[1]
            if ended in bounds and not bounds.isdisjoint(range(began - 1, began + 2)):
                damage.frames_missing += 1  # a slip on top of it goes uncounted
                return
    damage.outages.append(-extra)


def _splits(sent: U8, heard: U8, start: int, stop: int, shifts: tuple[int, int]) -> list[int]:
    """Places between start and stop where going over from one to the other fits best."""

    def wrong(shift: int) -> Bool:
        places = np.arange(start, stop)
        inside = (places >= shift) & (places - shift < len(sent))
        known = sent[np.clip(places - shift, 0, len(sent) - 1)]
        return np.asarray((heard[start:stop] != known) | ~inside, np.bool_)

    before = np.concatenate([[0], np.cumsum(wrong(shifts[0]))])
    after = np.concatenate([[0], np.cumsum(wrong(shifts[1])[::-1])])[::-1]
    cost = before + after
    return [start + int(i) for i in np.flatnonzero(cost == cost.min())]
