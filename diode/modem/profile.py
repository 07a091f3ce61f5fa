"""Profiles: the numbers of the synchronous modems, in one table (wire 7.2).

Every profile is M-ary FSK with many tones side by side. A channel symbol lasts `window` samples and
a guard; the tones stand 1/window apart, which makes them orthogonal over it. They are
divided into groups, and each group carries four bits in every symbol, as a word of tones that sound
while the others are silent:

    1 of 16   16-ary orthogonal FSK: most bits for the energy. 1/4 bit per second and hertz.
    3 of 6    16 of the 20 words of six tones: 2/3 bit per second and hertz, for 6 dB more.

Long symbols beside each other instead of short ones behind each other, because rooms and cards
smear time by milliseconds: a symbol must be long against that, and it is cheap in bandwidth.
A word has always the same number of tones, so no receiver needs to know the level.

`robust` puts seven groups into what a telephone carries. `telephone` is three times as fast in the
same band, where the noise allows it. `cable` fills the band that a sound card has at 48 kHz,
and 44.1 kHz nearly.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import U8, Bool  # noqa: TC001  used at run time by dataclass fields

if TYPE_CHECKING:
    from collections.abc import Iterator

BITS = 4
"""Bits in a word: one symbol of the inner code, an element of GF(16)."""
VALUES = 1 << BITS

CLASSES = 4
"""Lengths that a frame can have."""
CLASS_SYMBOLS = 32
"""Channel symbols in a frame of class 1; one of class c has c times as many."""


def xorshift(state: int) -> Iterator[int]:
    """Marsaglia's generator of 32 bits (Journal of Statistical Software 8(14), 2003)."""
    while True:
        state ^= state << 13 & 0xFFFF_FFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFF_FFFF
        yield state


def words(tones: int, sounding: int) -> Bool:
    """The 16 words: bool, shape (16, tones); the first combinations in lexical order."""
    table = np.zeros((VALUES, tones), np.bool_)
    chosen = itertools.islice(itertools.combinations(range(tones), sounding), VALUES)
    for value, combination in enumerate(chosen):
        table[value, list(combination)] = True
    return table


@dataclass(frozen=True, slots=True)
class Profile:
    """One synchronous modem. Lengths in samples at `rate` (Hz)."""

    name: str
    rate: int
    window: int
    guard: int
    first: int
    """Number of the lowest tone, in multiples of the spacing."""
    groups: int
    tones: int
    """Tones of a group."""
    sounding: int
    """How many of them sound at a time."""
    chirp: int
    rising: bool
    code_rate: tuple[int, int]
    """Information symbols and code symbols of the inner code, as a ratio."""
    words: Bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", words(self.tones, self.sounding))

    @property
    def symbol(self) -> int:
        """Samples of a channel symbol, guard and window."""
        return self.guard + self.window

    @property
    def spacing(self) -> float:
        """Hertz from tone to tone."""
        return self.rate / self.window

    @property
    def all_tones(self) -> int:
        return self.groups * self.tones

    @property
    def low(self) -> float:
        """The lowest tone in Hz."""
        return self.first * self.spacing

    @property
    def high(self) -> float:
        """The highest tone in Hz."""
        return (self.first + self.all_tones - 1) * self.spacing

    @property
    def preamble(self) -> int:
        """Samples before the data of a frame: the chirp and the header symbol."""
        return self.chirp + self.symbol

    def frame(self, size: int) -> int:
        """Samples of a whole frame of that class, 1 … 4."""
        return self.preamble + size * CLASS_SYMBOLS * self.symbol

    def code_symbols(self, size: int) -> int:
        """Symbols of the inner code word in a frame of that class."""
        return size * CLASS_SYMBOLS * self.groups

    def information(self, size: int) -> int:
        """Of these, how many carry line bytes; an even number."""
        k, n = self.code_rate
        return self.code_symbols(size) * k // n // 2 * 2

    def room(self, size: int) -> int:
        """Line bytes in a frame of that class."""
        return self.information(size) * BITS // 8

    @property
    def byte_rate(self) -> float:
        """Line bytes per second in frames of the longest class."""
        return self.room(CLASSES) * self.rate / self.frame(CLASSES)


PROFILES = {
    "robust": Profile("robust", 8_000, 300, 0, 12, 7, 16, 1, 1_200, True, (1, 2)),
    "telephone": Profile("telephone", 8_000, 160, 8, 8, 9, 6, 3, 1_280, False, (3, 4)),
    "cable": Profile("cable", 48_000, 512, 16, 4, 37, 6, 3, 1_024, True, (7, 8)),
}
"""The synchronous modems by name."""


def class_for(profile: Profile, size: int) -> int:
    """The smallest class whose room is at least `size` bytes; the largest if none has."""
    fitting = (c for c in range(1, CLASSES + 1) if profile.room(c) >= size)
    return next(fitting, CLASSES)


def nibbles(data: U8) -> U8:
    """Bytes as symbols of four bits, the high one first. data: uint8, (n,). Returns (2n,)."""
    return np.stack([data >> 4, data & 15], axis=-1).reshape(-1)


def octets(symbols: U8) -> U8:
    """The bytes of an even number of four-bit symbols; the inverse of `nibbles`."""
    pairs = symbols.reshape(-1, 2)
    return np.bitwise_or(np.left_shift(pairs[:, 0], np.uint8(4)), pairs[:, 1])
