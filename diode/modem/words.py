"""The content of a frame as words of channel symbols, and back (wire 7.2).

    bytes -> elements of GF(16) -> inner code -> scattered over the frame -> scrambled -> words

Scattering puts neighbours of the inner code far apart in time and frequency, so that a bark or a
hum line takes a few symbols from everywhere. Scrambling makes words of every kind equally
frequent, whatever the content: padding would otherwise be one chord for seconds.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diode.modem.ldpc import EXP, MUL, code
from diode.modem.profile import (
    BITS,
    CLASS_SYMBOLS,
    CLASSES,
    VALUES,
    Profile,
    class_for,
    nibbles,
    octets,
    xorshift,
)
from diode.modem.soft import evidence, likelihoods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.frame import U8, Frames
    from diode.modem import F32

    Index = NDArray[np.int64]

_SEED = 0x9E3779B9
_ENOUGH = 0.75
"""Share of the information that a code word has, as the likelihoods claim it, below which decoding
is not tried. What came out ever had 0.93; noise claims 0.5."""
_EVIDENCE = 0.2
"""Nats by which the words of a frame must be likelier than noise, on average. The inner code needs
some 1.4."""


@functools.cache
def scrambler(groups: int) -> U8:
    """A word for every group of every symbol of the longest frame. Shape (symbols, groups)."""
    random = xorshift(_SEED)
    count = CLASSES * CLASS_SYMBOLS * groups
    return np.array([next(random) >> 28 for _ in range(count)], np.uint8).reshape(-1, groups)


@functools.cache
def _slots(count: int) -> Index:
    """Where in the frame each code symbol goes: steps of the golden ratio. Shape (count,)."""
    stride = round(count * (math.sqrt(5) - 1) / 2)
    while math.gcd(stride, count) != 1:
        stride += 1
    return np.arange(count, dtype=np.int64) * stride % count


def header(profile: Profile, size: int) -> U8:
    """The words of the header symbol of that class: uint8, shape (groups,)."""
    value = (size - 1) | (CLASSES - size) << 2
    factors = [EXP[group % (VALUES - 1)] for group in range(profile.groups)]
    return MUL[value, factors]


def packed(profile: Profile, pieces: Frames) -> list[U8]:
    """The bytes of each frame: whole pieces, as many as fit; a longer one is cut."""
    room = profile.room(CLASSES)
    frames: list[U8] = []
    begin = 0
    ends = pieces.ends.tolist()
    for number, end in enumerate(ends):
        while end - begin > room:  # one piece that is longer than any frame
            frames.append(pieces.data[begin : begin + room])
            begin += room
        following = ends[number + 1] if number + 1 < len(ends) else None
        if following is None or following - begin > room:
            frames.append(pieces.data[begin:end])
            begin = end
    return frames


def encode(profile: Profile, content: U8) -> U8:
    """The words of a frame, the header's first: uint8, shape (1 + symbols, groups).

    content: at most as many bytes as the longest class has room for.
    """
    size = class_for(profile, len(content))
    n, k = profile.code_symbols(size), profile.information(size)
    filled = np.zeros(profile.room(size), np.uint8)
    filled[: len(content)] = content
    slots = np.empty(n, np.uint8)
    slots[_slots(n)] = code(k, n).encode(nibbles(filled))
    words = slots.reshape(-1, profile.groups)
    words ^= scrambler(profile.groups)[: len(words)]
    return np.concatenate([header(profile, size)[None, :], words])


def _information(likelihood: F32) -> float:
    """Mean information in a row of probabilities, in bits: those of a word less their entropy."""
    return BITS + float((likelihood * np.log2(likelihood)).sum(axis=-1).mean())


class Decoded(NamedTuple):
    """What came out of a frame."""

    content: bytes
    error_rate: float
    """Share of the words that were wrong before decoding."""


def decode(profile: Profile, logarithms: F32) -> Decoded | None:
    """The content of a frame, or None if it does not come out.

    logarithms: of the words' likelihoods, header excluded, float32, (symbols, groups, 16).
    """
    if evidence(logarithms).mean() < _EVIDENCE * profile.groups:
        return None  # silence satisfies every check
    rows = logarithms.reshape(-1, VALUES)
    n = len(rows)
    k = profile.information(len(logarithms) // CLASS_SYMBOLS)
    if _information(likelihoods(rows)) < _ENOUGH * BITS * k / n:
        return None  # no code could, and this one would try for long
    # word v was sent as v ^ s
    words = np.arange(VALUES, dtype=np.uint8) ^ scrambler(profile.groups).reshape(-1, 1)[:n]
    plain = np.take_along_axis(rows, words.astype(np.int64), axis=1)[_slots(n)]
    word = code(k, n).decode(likelihoods(plain))
    if word is None:
        return None
    return Decoded(octets(word[:k]).tobytes(), float(np.mean(plain.argmax(axis=1) != word)))
