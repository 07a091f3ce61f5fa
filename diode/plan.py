"""Every derived number, computed once.

From what the user asks for (`Settings`), what the carrier is (`Link`) and an object's size
follow its geometry, the order on air, the time on air and what it survives. Transmitter,
`diode plan` and the tests read the numbers here and nowhere else.

Reliability. With frame loss p and n of N symbols of a block on air, a block of k source symbols is
lost when more than n-k are, P = P[Binomial(n, p) > n-k]; an object of B blocks when any is:
1-(1-P)^B. Wide blocks need less redundancy for the same P (the relative deviation of a
binomial falls with the square root of n), so blocks are as wide as the code allows, and a small
block gets more redundancy when it is chosen automatically: enough for `AUTO_FAILURE` at
`AUTO_LOSS`.

Bursts. An outage of F consecutive frames takes at most ceil(F·n/G) symbols of each block that
shares an interleaving group of G frames evenly. Blocks are grouped until that is at most
`BURST_SHARE` of the parity; the rest is left for random losses.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diode import frame
from diode.block import CHECKS, PLAIN
from diode.code import by_id, by_name
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_REDUNDANCY = 0.25
AUTO_LOSS = 0.10
"""Frame loss that automatically chosen redundancy is meant for."""
AUTO_FAILURE = 1e-6
"""Probability of losing one block, or one manifest, at AUTO_LOSS that is small enough."""
BURST_SHARE = 0.5
MAX_GROUP_BYTES = 64 << 20
"""An interleaving group is held in memory on both sides."""
MIN_MANIFESTS = 3
MIN_SYMBOL = 16
"""Shorter symbols would be mostly header; and a block check must fit one."""
MAX_BLOCKS = 1 << 32

# Symbol sizes by line rate in bytes/s: a slow line is a noisy one, and a short frame has more
# chances. 210 is what an `rs` frame holds behind a compact header.
_SYMBOL_SIZES = ((150_000, 210), (1_000_000, 512), (math.inf, 1024))
SMALL_PART = 256
"""A symbol no longer than this is not divided again for the sake of there being more."""
ENOUGH = 32
"""Symbols with which a code works well: fewer need much more redundancy for the same certainty."""
COMPACT_RATE = 2_000_000
"""Lines up to this many bytes/s use compact frames; above, 12 bytes no longer count."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a carrier with its line is, as far as planning needs it.

    rate: bytes of line time per second, None where nothing limits it. line_bytes: expected bytes on
    the line for a frame of that many bytes. unit: line bytes that the medium carries or loses
    together, None where it has no such unit; frame_room: the longest frame that surely takes no
    more than so many line bytes.
    """

    rate: float | None = None
    max_frame: int = frame.MAX_FRAME
    line_bytes: Callable[[int], float] = float
    unit: int | None = None
    frame_room: Callable[[int], int] = int

    @property
    def compact(self) -> bool:
        return self.rate is not None and self.rate <= COMPACT_RATE


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
    cipher: int = PLAIN
    """What blocks are encrypted with (wire 5.2)."""

    def __post_init__(self) -> None:
        if self.code is not None:
            by_name(self.code)
        if self.redundancy is not None and not 0 <= self.redundancy <= 100:
            raise UsageError("redundancy goes from 0% to 10000%", hint="--redundancy 25%")
        if self.passes < 0:
            raise UsageError("passes cannot be negative", hint="--passes 0 sends until stopped")
        if not 0 <= self.burst <= 3600:
            raise UsageError("a burst to survive goes from 0 to an hour", hint="--burst 500ms")


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an object is cut (wire 4.1). n: symbols per block and pass."""

    size: int
    code: int
    k: int
    n: int
    symbol_size: int
    cipher: int = PLAIN

    @property
    def check(self) -> int:
        """Bytes of check behind a block's data."""
        return CHECKS[self.cipher]

    @property
    def block_data(self) -> int:
        """Object bytes in a full block."""
        return self.k * self.symbol_size - self.check

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_data)

    def length(self, block: int) -> int:
        """Object bytes in that block."""
        return min(self.block_data, self.size - block * self.block_data)

    def source_symbols(self, block: int) -> int:
        """Source symbols of that block that are not zero by definition."""
        return -(-(self.length(block) + self.check) // self.symbol_size)

    def frames(self, block: int) -> int:
        """Data frames of that block in one pass: a shortened block loses no parity."""
        return self.n - (self.k - self.source_symbols(block))

    @property
    def data_frames(self) -> int:
        """Data frames of the object in one pass."""
        blocks = self.blocks
        return 0 if not blocks else (blocks - 1) * self.n + self.frames(blocks - 1)

    def problem(self) -> str:
        """What makes this geometry impossible, or an empty string (wire 3.5, 4.1)."""
        code = by_id(self.code)
        if code is None:
            return f"code {self.code} is not known"
        if self.cipher not in CHECKS:
            return f"cipher {self.cipher} is not known"
        if not 1 <= self.k <= code.max_k:
            return f"k = {self.k}, {code.name} has 1 … {code.max_k}"
        largest = frame.MAX_FRAME - frame.HEADER - frame.CHECK
        if not 1 <= self.symbol_size <= largest:
            return f"symbol size {self.symbol_size}, possible are 1 … {largest}"
        if self.block_data < 1:
            return f"blocks of {self.k} x {self.symbol_size} bytes hold no data"
        if not 0 <= self.size < 1 << 63:
            return f"size {self.size}"
        if self.blocks > MAX_BLOCKS:
            return f"{self.blocks} blocks, block numbers end at {MAX_BLOCKS}"
        return ""


def binomial_tail(n: int, p: float, more_than: int) -> float:
    """P[Binomial(n, p) > more_than], summed from the largest term's side in logarithms."""
    if p <= 0 or more_than >= n:
        return 0.0
    if p >= 1 or more_than < 0:
        return 1.0
    log_p, log_q = math.log(p), math.log1p(-p)
    terms = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * log_p
        + (n - i) * log_q
        for i in range(more_than + 1, n + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def copies_needed(k: int, most: int, loss: float = AUTO_LOSS, failure: float = AUTO_FAILURE) -> int:
    """Smallest n <= most such that n symbols bring k across with at most that failure."""
    low, high = k, most
    while low < high:
        middle = (low + high) // 2
        if binomial_tail(middle, loss, middle - k) <= failure * (1 + 1e-9):
            high = middle
        else:
            low = middle + 1
    return low


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
    """How an object of that many bytes is cut for that link."""
    largest = symbol_size(settings, link, size)
    check = CHECKS[settings.cipher]
    total = max(1, -(-(size + check) // largest))
    code = by_name(settings.code or ("repeat" if total == 1 else "zfec"))
    redundancy = DEFAULT_REDUNDANCY if settings.redundancy is None else settings.redundancy
    most = code.max_k if code.name == "repeat" else code.numbers(1)
    widest = max(1, min(code.max_k, int(most / (1 + redundancy) + 1e-9)))
    if code.name == "repeat":
        widest = min(widest, max(1, MAX_GROUP_BYTES // largest // 64))
        if link.compact:  # whose headers have room for no more
            widest = min(widest, frame.COMPACT_MAX_SYMBOL)
    blocks = max(1, -(-size // (widest * largest - check)))
    per_block = max(1, -(-size // blocks)) + check  # equal blocks rather than a short last one
    k = -(-per_block // largest)
    fitting = max(MIN_SYMBOL, -(-per_block // k))  # a small object is not padded to whole symbols
    n = k + math.ceil(k * redundancy - 1e-9)
    if settings.redundancy is None:
        n = max(n, copies_needed(k, 64 * k if code.name == "repeat" else code.numbers(k)))
    cut = Geometry(size, code.id, k, n, fitting, settings.cipher)
    if (
        frame_bytes(link, cut) > link.max_frame
    ):  # full headers after all: too many blocks or symbols
        room = link.max_frame - frame.HEADER - frame.CHECK
        return geometry(size, replace(settings, symbol_size=room), link)
    return cut


def uses_compact(link: Link, cut: Geometry) -> bool:
    """Whether an object's data goes in compact frames on that link (wire 3.2)."""
    code = by_id(cut.code)
    assert code is not None
    return (
        link.compact
        and code.numbers(cut.k) <= frame.COMPACT_MAX_SYMBOL
        and cut.blocks <= frame.COMPACT_MAX_BLOCK
    )


def announcement_room(settings: Settings, link: Link) -> int:
    """Bytes of announcement that one frame may carry: no longer than data frames are."""
    longest = max(symbol_size(settings, link), 128)
    return min(longest, link.max_frame - frame.HEADER - frame.CHECK)


def manifest_copies(symbols: int, settings: Settings, failure: float = AUTO_FAILURE) -> int:
    """Times an object's announcement of that many symbols is sent per pass at least."""
    needed = copies_needed(symbols, 64 * symbols, failure=failure) / symbols
    return max(MIN_MANIFESTS, math.ceil(needed / max(1, settings.passes)))


def manifest_interval(link: Link, frame_bytes: int) -> int:
    """Data frames between two announcements of a long object: about a second of line time."""
    return max(64, int(link.rate / frame_bytes)) if link.rate else 2048


def manifests(cut: Geometry, settings: Settings, link: Link, symbols: int) -> int:
    """Times an object's announcement of that many symbols is sent in one pass."""
    interval = manifest_interval(link, frame_bytes(link, cut))
    failure = max(AUTO_FAILURE, _data_failure(cut, settings) / 10)
    return max(manifest_copies(symbols, settings, failure), -(-cut.data_frames // interval))


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
    if not link.rate or not settings.burst or geometry.n <= geometry.k:
        return geometry.n
    outage = burst_frames(settings.burst, link, geometry)
    spare = max(1, int((geometry.n - geometry.k) * BURST_SHARE))
    blocks = -(-outage // spare)
    return blocks * geometry.n


def frame_bytes(link: Link, geometry: Geometry) -> int:
    """A data frame's length before the line."""
    header = frame.COMPACT_HEADER if uses_compact(link, geometry) else frame.HEADER
    return header + geometry.symbol_size + frame.CHECK


def burst_frames(seconds: float, link: Link, geometry: Geometry) -> int:
    """Frames that an outage of that length can hit."""
    assert link.rate is not None
    return 1 + math.ceil(seconds * link.rate / link.line_bytes(frame_bytes(link, geometry)))
