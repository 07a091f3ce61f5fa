"""Every derived number, computed once.

From what the user asks for (`Settings`), what the carrier is (`Link`) and an object's size
follow its geometry, the order on air, the time on air and what it survives. Transmitter,
`diode plan` and the tests read the numbers here and nowhere else.

Reliability. With frame loss p and n of N symbols of a block on air, a block of k source symbols is
lost when more than n-k are, P = P[Binomial(n, p) > n-k]; an object of B blocks when any is:
1-(1-P)^B. Wide blocks need less redundancy for the same P (the relative deviation of a
binomial falls with the square root of n), so blocks are as wide as the code allows, and a small
block gets more redundancy when it is chosen automatically: enough for `AUTO_FAILURE` at
`AUTO_LOSS`. A user who knows the link names its loss instead (`Settings.loss`) and gets
the redundancy that this takes and no more.

Wide blocks. 3,584 symbols at 5 % loss need 7.2 % redundancy for a failure of 1e-6, 224 need 14 %,
7,680 still 6.6 %, and take twice the memory and 1.4 times as long to fill in: so large objects on
fast links of datagrams go in blocks of some thousand symbols of a wide code, if one is installed.

Bursts. An outage of F consecutive frames takes at most ceil(F·n/G) symbols of each block that
shares an interleaving group of G frames evenly. Blocks are grouped until that is at most
`BURST_SHARE` of the parity; the rest is left for random losses.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diode import frame
from diode.binomial import binomial_tail, copies_needed
from diode.block import CHECKS, PLAIN
from diode.code import CODES, by_name
from diode.errors import UsageError
from diode.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.code import Code

DEFAULT_REDUNDANCY = 0.25
AUTO_LOSS = 0.10
"""Frame loss that automatically chosen redundancy is meant for."""
AUTO_FAILURE = 1e-6
"""Probability of losing one block, or one manifest, at AUTO_LOSS that is small enough."""
MAX_LOSS = 0.5
"""Above, repeated passes are the better way."""
BURST_SHARE = 0.5
MAX_GROUP_BYTES = 64 << 20
"""An interleaving group is held in memory on both sides."""
MAX_GROUP_OBJECTS = 1024
"""Objects that share a group: a receiver knows 4,096 unfinished ones at a time (limits.py), and
those of the group before may still be on their way to its disk."""
WIDE_CODES = ("leopard", "raptorq")
"""Codes with blocks of thousands of symbols, the preferred one first."""
WIDE = 4096
"""Source symbols of a wide block at most, a power of two (code/leopard.py)."""
WIDE_GROUP = 16_384
"""Frames of their interleaving groups, at least: who stalls does so again and again, and it is the
length of the group that evens this out."""
WIDE_BYTES = 12 << 20
"""A receiver holds the blocks of an interleaving group, and decodes in three times a block."""
WIDE_FROM = 1_500_000
"""Bytes from which on an object goes in wide blocks. A smaller one is few narrow blocks, which
every receiver can decode."""
WIDE_RATE = 10_000_000
"""Bytes/s from which on a link is fast enough for these."""
WIDE_FRAME = 512
"""Bytes: symbols of wide codes are multiples, by which shorter frames would lose too much."""
WIDE_SYMBOL = 1408
"""On fast links. A multiple of 64 that fits a datagram of 1,472 bytes."""
STALL = 1000
"""Frames of an outage where no rate turns seconds into frames: a receiver that does not
look for 50 ms at 20,000 frames a second. No medium loses anything there."""
HEARTBEAT_FRAMES = 4096
"""Frames between two heartbeats on a link without a rate."""
MIN_MANIFESTS = 3
MIN_SYMBOL = 16
"""Shorter symbols would be mostly header; and a block check must fit one."""

# Symbol sizes by line rate in bytes/s: a slow line is a noisy one, and a short frame has more
# chances. 210 is what an `rs` frame holds behind a compact header.
_SYMBOL_SIZES = ((150_000, 210), (1_000_000, 512), (math.inf, 1024))
SMALL_PART = 256
"""A symbol no longer than this is not divided again for the sake of there being more."""
ENOUGH = 32
"""Symbols with which a code works well: fewer need much more redundancy for the same certainty."""
BUNDLE_BYTES = 4 << 20
"""Bytes of small files that go as one object at most: what one loss takes together."""
BUNDLE_SECONDS = 10.0
"""Seconds of line time that a bundle may take at most."""
BUNDLE_SHARE = 8
"""Part of a bundle up to which a file is a small one: beyond, it can bear a manifest of its own."""
RECORD_SECONDS = 0.25
"""Seconds of line time that one record may take, and"""
RECORD_BYTES = 256
"""bytes that it may have in any case, where frames are that long."""
COMPACT_RATE = 2_000_000
"""Lines up to this many bytes/s use compact frames; above, 12 bytes no longer count."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a carrier with its line is, as far as planning needs it.

    rate: bytes of line time per second, None where nothing limits it. line_bytes: expected bytes on
    the line for a frame of that many bytes. unit: line bytes that the medium carries or loses
    together, None where it has no such unit; frame_room: the longest frame that surely takes no
    more than so many line bytes. lanes: which of several links has each turn of a round (lanes.py).
    """

    rate: float | None = None
    max_frame: int = frame.MAX_FRAME
    line_bytes: Callable[[int], float] = float
    unit: int | None = None
    frame_room: Callable[[int], int] = int
    lanes: tuple[int, ...] = (0,)

    @property
    def compact(self) -> bool:
        return self.rate is not None and self.rate <= COMPACT_RATE

    @property
    def fast(self) -> bool:
        return self.rate is None or self.rate >= WIDE_RATE

    @property
    def wide(self) -> bool:
        """Whether large objects go in wide codes unless the user says otherwise.

        Only on fast links of datagrams, whose two ends are set up together: a receiver needs
        the same package, and a file may be carried to anybody.
        """
        return self.fast and self.unit is not None and self.max_frame >= WIDE_FRAME


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asks for. None: chosen automatically."""

    code: str | None = None
    redundancy: float | None = None
    passes: int = 1
    burst: float = 0.0
    symbol_size: int | None = None
    keep_order: bool = False
    """Never interleave one object with the next: the first is whole before the second begins."""
    loss: float | None = None
    """Share of frames lost that the redundancy is to be enough for, instead of `redundancy`."""
    cipher: int = PLAIN
    """What blocks are encrypted with (wire 5.2)."""
    bundle: bool = True
    """Send small files that follow each other as one object."""
    filled: bool = False
    """All frames are as long as the longest (slots.py): `symbol_size` holds for every object."""

    @property
    def planned_loss(self) -> float:
        return AUTO_LOSS if self.loss is None else self.loss

    def __post_init__(self) -> None:
        if self.code is not None:
            by_name(self.code)
        if self.redundancy is not None and not 0 <= self.redundancy <= 100:
            raise UsageError("redundancy goes from 0% to 10000%", hint="--redundancy 25%")
        if self.loss is not None and not 0 <= self.loss <= MAX_LOSS:
            raise UsageError(f"loss goes from 0% to {MAX_LOSS:.0%}", hint="--loss 5%")
        if self.loss is not None and self.redundancy is not None:
            raise UsageError(
                "loss and redundancy contradict each other",
                hint="--loss 5% chooses the redundancy; give one of the two",
            )
        if self.passes < 0:
            raise UsageError("passes cannot be negative", hint="--passes 0 sends until stopped")
        if not 0 <= self.burst <= 3600:
            raise UsageError("a burst to survive goes from 0 to an hour", hint="--burst 500ms")


def symbol_size(settings: Settings, link: Link, size: float = math.inf) -> int:
    """Payload of a data frame of an object of that size in bytes, before small ones shrink it."""
    header = frame.COMPACT_HEADER if link.compact else frame.HEADER
    room = link.max_frame - header - frame.CHECK
    if room < MIN_SYMBOL:
        raise UsageError(
            f"frames of {link.max_frame} bytes are too short for any symbol",
            hint=f"the line or datagram must carry {header + MIN_SYMBOL + frame.CHECK} bytes",
        )
    if settings.symbol_size is not None:
        if not MIN_SYMBOL <= settings.symbol_size <= room:
            raise UsageError(
                f"symbols of {settings.symbol_size} bytes do not fit this line",
                hint=f"--symbol-size goes from {MIN_SYMBOL} to {room} here",
            )
        return settings.symbol_size
    if link.unit is not None:
        return min(room, _part_of(link.unit, link, header + frame.CHECK, size))
    rate = math.inf if link.rate is None else link.rate
    return min(room, next(size for limit, size in _SYMBOL_SIZES if rate <= limit))


def _part_of(unit: int, link: Link, overhead: int, size: float) -> int:
    """The largest symbol of which a whole number fills a unit and ENOUGH make the object.

    What stands or falls together may as well be one symbol, but for the code to work with there
    must be some.
    """
    for parts in itertools.count(1):
        symbol = link.frame_room(unit // parts) - overhead
        if symbol <= SMALL_PART or size / symbol >= ENOUGH:
            return max(MIN_SYMBOL, symbol)
    raise AssertionError


def geometry(size: int, settings: Settings, link: Link) -> Geometry:
    """How an object of that many bytes is cut for that link. UsageError where it cannot be."""
    check = CHECKS[settings.cipher]
    code = choose_code(size, settings, link)
    largest = _symbol_size_for(code, size, settings, link)
    widest = _widest(code, largest, settings, link)
    blocks = max(1, -(-size // (widest * largest - check)))
    per_block = max(1, -(-size // blocks)) + check  # equal blocks rather than a short last one
    k = -(-per_block // largest)
    # A small object is not padded to whole symbols, unless all frames are to be equal.
    fitting = largest if settings.filled else max(MIN_SYMBOL, -(-per_block // k))
    fitting += -fitting % code.step
    n = _symbols_sent(code, k, settings)
    if n > code.walk(k) and code.name != "repeat":
        raise UsageError(
            f"{code.name} makes {code.walk(k)} of {k} symbols, and {n} are wanted",
            hint="--code zfec, or less redundancy and more passes",
        )
    cut = Geometry(size, code.id, k, n, fitting, settings.cipher, settings.passes)
    # Full headers after all, where there are too many blocks or symbols.
    if frame_bytes(link, cut) > link.max_frame:
        room = link.max_frame - frame.HEADER - frame.CHECK
        return geometry(size, replace(settings, symbol_size=room - room % code.step), link)
    return cut


def choose_code(size: int, settings: Settings, link: Link) -> Code:
    """The code for an object of that many bytes: as the user wants, or by size and link."""
    if settings.code is not None:
        return by_name(settings.code)
    symbols = max(1, -(-(size + CHECKS[settings.cipher]) // symbol_size(settings, link, size)))
    # Wide codes keep the interpreter to themselves, and a constant rate waits for nobody.
    wide = symbols > CODES["zfec"].numbers(1) and size >= WIDE_FROM and not settings.filled
    if wide and link.wide and (settings.redundancy or 0) <= 1:
        for name in WIDE_CODES:
            code = CODES[name]
            if not code.lacks and (settings.symbol_size or 0) % code.step == 0:
                return code
    return by_name("repeat" if symbols == 1 else "zfec")


def _symbol_size_for(code: Code, size: int, settings: Settings, link: Link) -> int:
    """The largest symbol of a block of that code."""
    largest = symbol_size(settings, link, size)
    if settings.symbol_size is not None:
        if largest % code.step:
            near = max(code.step, largest - largest % code.step)
            raise UsageError(
                f"{code.name} has symbols of a multiple of {code.step} bytes, not {largest}",
                hint=f"--symbol-size {near}",
            )
        return largest
    if code.name in WIDE_CODES and link.fast:
        # One that fills a datagram, or, where frames may have any length, is about as long.
        room = link.max_frame - frame.HEADER - frame.CHECK
        largest = room if link.unit is not None else min(WIDE_SYMBOL, room)
    if largest < code.step:
        raise UsageError(
            f"{code.name} has symbols of at least {code.step} bytes, room is for {largest} here",
            hint="--code zfec",
        )
    return largest - largest % code.step


def _widest(code: Code, symbol: int, settings: Settings, link: Link) -> int:
    """Source symbols of the widest block, with symbols of that many bytes."""
    most = code.widest(symbol)
    if code.name == "repeat":
        most = min(most, max(1, MAX_GROUP_BYTES // symbol // 64))
        # compact headers have room for no more
        most = min(most, frame.COMPACT_MAX_SYMBOL) if link.compact else most
    elif code.name in WIDE_CODES:
        most = max(1, min(most, WIDE, WIDE_BYTES // symbol))
    sent = functools.partial(_symbols_sent, code, settings=settings)
    return code.fitting(most, sent, settings.passes)


def _symbols_sent(code: Code, k: int, settings: Settings) -> int:
    """n: symbols of a block of k that one pass sends."""
    if settings.loss is not None:
        if code.name == "repeat" and k > 1:  # each symbol stands for itself
            return k * copies_needed(1, 64, settings.loss, AUTO_FAILURE / k)
        return copies_needed(k, 64 * k, settings.loss, AUTO_FAILURE) + code.spare
    redundancy = DEFAULT_REDUNDANCY if settings.redundancy is None else settings.redundancy
    n = k + math.ceil(k * redundancy - 1e-9)
    if settings.redundancy is None:
        most = 64 * k if code.name == "repeat" else code.walk(k)
        n = max(n, copies_needed(k, most, AUTO_LOSS, AUTO_FAILURE))
    return n


def uses_compact(link: Link, cut: Geometry) -> bool:
    """Whether an object's data goes in compact frames on that link (wire 3.2)."""
    return (
        link.compact
        and cut.coding.numbers(cut.k) <= frame.COMPACT_MAX_SYMBOL
        and cut.blocks <= frame.COMPACT_MAX_BLOCK
    )


def bundle_room(settings: Settings, link: Link) -> int:
    """Bytes of a bundle at most (wire 5.7); 0 where there are to be none."""
    if not settings.bundle:
        return 0
    return int(min(BUNDLE_BYTES, (link.rate or math.inf) * BUNDLE_SECONDS))


def longest_record(link: Link) -> int:
    """Bytes that one record may have there, with its topic: what its frame takes in line time is
    what all others wait for.
    """
    fair = math.inf if link.rate is None else max(RECORD_BYTES, link.rate * RECORD_SECONDS)
    return int(min(link.max_frame - frame.HEADER - frame.CHECK, fair))


def announcement_room(settings: Settings, link: Link) -> int:
    """Bytes of announcement that one frame may carry: no longer than data frames are."""
    longest = max(symbol_size(settings, link), 128)
    return min(longest, link.max_frame - frame.HEADER - frame.CHECK)


def manifest_copies(symbols: int, settings: Settings, failure: float = AUTO_FAILURE) -> int:
    """Times an object's announcement of that many symbols is sent per pass at least."""
    needed = copies_needed(symbols, 64 * symbols, settings.planned_loss, failure) / symbols
    return max(MIN_MANIFESTS, math.ceil(needed / max(1, settings.passes)))


def manifest_interval(link: Link, frame_bytes: int) -> int:
    """Data frames between two announcements of a long object: about a second of line time."""
    return max(64, int(link.rate / frame_bytes)) if link.rate else 2048


def heartbeat_interval(settings: Settings, link: Link) -> int:
    """Frames between two heartbeats: about a second of line time."""
    if not link.rate:
        return HEARTBEAT_FRAMES
    longest = symbol_size(settings, link) + frame.HEADER + frame.CHECK
    return max(16, int(link.rate / link.line_bytes(longest)))


def manifests(cut: Geometry, settings: Settings, link: Link, symbols: int) -> int:
    """Times an object's announcement of that many symbols is sent in one pass."""
    interval = manifest_interval(link, frame_bytes(link, cut))
    failure = max(AUTO_FAILURE, _data_failure(cut, settings) / 10)
    return max(manifest_copies(symbols, settings, failure), -(-cut.data_frames // interval))


@functools.lru_cache(maxsize=256)
def _data_failure(cut: Geometry, settings: Settings) -> float:
    """Probability of losing a block at AUTO_LOSS, where the redundancy is the user's choice.

    Manifests need not be much surer than what they announce.
    """
    if settings.redundancy is None or not cut.blocks:
        return 0.0
    passes = max(1, settings.passes)
    if cut.code == by_name("repeat").id:
        return AUTO_LOSS ** (cut.n // cut.k * passes)
    return binomial_tail(cut.n * passes, AUTO_LOSS, cut.n * passes - cut.k)


def group_frames(settings: Settings, link: Link, geometry: Geometry) -> int:
    """Frames that must share an interleaving group so that `settings.burst` is survived."""
    if not settings.burst or geometry.n <= geometry.k:
        return geometry.n
    outage = burst_frames(settings.burst, link, geometry) if link.rate else STALL
    spare = max(1, int((geometry.n - geometry.k) * BURST_SHARE))
    blocks = -(-outage // spare)
    if geometry.coding.name in WIDE_CODES:
        blocks = max(blocks, -(-WIDE_GROUP // geometry.n))
    return blocks * geometry.n


def frame_bytes(link: Link, geometry: Geometry) -> int:
    """A data frame's length before the line."""
    header = frame.COMPACT_HEADER if uses_compact(link, geometry) else frame.HEADER
    return header + geometry.symbol_size + frame.CHECK


def burst_frames(seconds: float, link: Link, geometry: Geometry) -> int:
    """Frames that an outage of that length can hit."""
    assert link.rate is not None
    return 1 + math.ceil(seconds * link.rate / link.line_bytes(frame_bytes(link, geometry)))
