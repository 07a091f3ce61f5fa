"""Lanes: one transmission on several links, two fibres or four serial lines.

    frames ─> lane 0 ─> line ─> carrier ══> carrier ─> line ─┐
           ─> lane 1 ─> line ─> carrier ══> carrier ─> line ─┴─> one receiver

Every lane carries its share of everything, so that losing one of n lanes costs 1/n of the symbols
of each block, of each object's announcements and of the heartbeats: what redundancy is there for.
The receiver needs to know nothing: a frame says what it is, wherever it comes from.

Shares are as the lanes' rates, in frames per second. `Link.lanes` is a round: which lane has each
of its turns, every lane its share of them, at even distances (schedule.spread). What a block, or
an announcement, sends has consecutive turns (schedule.turns), and so any of them that are on air
together are shared out evenly, whatever else is on air between them. Places on air would not
do: of two blocks that alternate there, each would have a lane to itself. Blocks begin at different
turns, since each begins with the same lane otherwise, which would have more to carry; and when the
walk round the symbol numbers comes to the same number again, it is another lane's turn, as far
as there are others: most of what a lane with nine tenths of the turns carried, it carries again.

A round has LONGEST turns at most and each lane one of them, so a lane that is much slower than the
others would hold them up; `union` refuses it where one of them alone is done sooner.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from diode.errors import UsageError
from diode.frame import Frames
from diode.plan import Link
from diode.schedule import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.frame import I64, U8

MOST = 8
"""Lanes of one transmission: as many descriptors are set aside for links (carrier/apart.py)."""
LONGEST = 256
"""Turns of a round: with more, a small block would not see the shares any more."""
TOLERANCE = 1e-3
"""By which share of its rate a lane may miss it, for the sake of a short round."""


def union(links: Sequence[Link]) -> Link:
    """Several links as one, for planning and for the transmitter. One comes back as it is.

    Its rate is the sum, its frames fit all of them. UsageError where these cannot be shared out.
    """
    if len(links) == 1:
        return links[0]
    if len(links) > MOST:
        raise UsageError(
            f"{len(links)} lanes are more than the {MOST} that there may be",
            hint="send different files on some of them",
        )
    if len({link.rate is None for link in links}) > 1:
        raise UsageError(
            "frames are shared out by rate, and not all of these carriers have one",
            hint="say rate= for the others too",
        )
    longest = min(link.max_frame for link in links)
    rates = [link.rate or 1.0 for link in links]
    # Frames per second; each lane is as fast as its own overhead lets it be.
    speeds = [r / link.line_bytes(longest) for r, link in zip(rates, links, strict=True)]
    turns = round_of(speeds)
    shares = [turns.count(lane) / len(turns) for lane in range(len(links))]
    whole = sum(rates)

    def line_bytes(frame: int) -> float:
        """Of the time that the lane takes which is the last to be done."""
        each = zip(shares, rates, links, strict=True)
        return whole * max(share * link.line_bytes(frame) / rate for share, rate, link in each)

    alone = min(link.line_bytes(longest) / rate for rate, link in zip(rates, links, strict=True))
    if line_bytes(longest) / whole > alone:
        raise UsageError(
            "the fastest of these lanes alone is done sooner than all of them together",
            hint="leave out the slowest one",
        )
    units = [link.unit for link in links if link.unit is not None]
    return Link(
        None if links[0].rate is None else whole,
        longest,
        line_bytes,
        min(units) if len(units) == len(links) else None,
        lambda piece: min(link.frame_room(piece) for link in links),
        turns,
    )


def round_of(speeds: Sequence[float]) -> tuple[int, ...]:
    """The lane of each turn of the shortest round in which lanes have turns as their speeds are.

    speeds: in any unit, all above 0. Each lane has a turn at least, and no round is longer than
    LONGEST.
    """
    each = np.asarray(speeds, float) / sum(speeds)
    best: tuple[float, list[int]] = (math.inf, [])
    for length in range(len(each), LONGEST + 1):
        counts = _apportioned(each, length)
        off = float(np.abs(counts / (length * each) - 1).max())
        if off < best[0]:
            best = off, counts.tolist()
        if off <= TOLERANCE:
            break
    member, _ = spread(best[1], [0.5] * len(each))
    return tuple(member.tolist())


def _apportioned(shares: np.ndarray[tuple[int], np.dtype[np.float64]], length: int) -> I64:
    """So many turns by largest remainders (Hamilton's method), each lane one at least."""
    wanted = shares * length
    counts = np.maximum(1, np.floor(wanted)).astype(np.int64)
    while (missing := length - int(counts.sum())) != 0:
        rest = wanted - counts
        if missing > 0:
            counts[int(rest.argmax())] += 1
        else:
            counts[int(np.where(counts > 1, rest, np.inf).argmin())] -= 1
    return counts


def lanes_of(turns: I64, link: Link) -> U8:
    """Which lane of the link each of these turns is, uint8 (turns,)."""
    return np.asarray(link.lanes, np.uint8)[turns % len(link.lanes)]


def divided(frames: Frames, lanes: U8, count: int) -> list[Frames]:
    """The frames of each of `count` lanes, in order. lanes: which lane each is for, (frames,)."""
    rows = frames.equal_rows()
    if rows is not None:
        return [Frames.of_rows(rows[lanes == lane]) for lane in range(count)]
    lengths, parts = frames.lengths, []
    for lane in range(count):
        mine = lanes == lane
        ends = np.cumsum(lengths[mine], dtype=np.int64)
        parts.append(Frames(frames.data[np.repeat(mine, lengths)], ends))
    return parts
