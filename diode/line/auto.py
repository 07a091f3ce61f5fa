"""Listening without being told which line is spoken.

All decoders hear the same bytes until one of them finds a frame; since a frame is accepted
by its own check, that answers the question, and from then on only that one is fed. When
it finds nothing in 64 KiB (the sender was restarted with another line, or another sender
was plugged in), all are asked again, beginning with the bytes in which it found nothing.

    asking    feed all        --- one finds frames ------------>  locked
    locked    feed that one   --- nothing in 64 KiB ----------->  asking

Refusals are told of the locked decoder alone: to the others everything is damaged. Bytes
heard while asking are noise until someone makes frames of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from diode.frame import flat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diode.frame import U8, Received
    from diode.line import Decoder

QUIET = 1 << 16
"""Bytes without a frame after which a locked decoder is doubted. Above two of the longest frames,
so that a line in use always has one in them."""


class Auto:
    """Whichever of several decoders finds frames."""

    def __init__(self, decoders: Mapping[str, Callable[[], Decoder]]) -> None:
        self.rejected: Counter[str] = Counter()
        self.noise = 0
        self.locked: str | None = None
        """Name of the line in use, None while asking."""
        self._factories = dict(decoders)
        self._asked = {name: make() for name, make in self._factories.items()}
        self._last: str | None = None  # the line of the last frame
        # counts when the decoder of that line was made, and when it last found a frame
        self._base: tuple[Counter[str], int] = (Counter(), 0)
        self._mark: tuple[Counter[str], int] = (Counter(), 0)
        self._quiet = bytearray()  # since the last frame, while locked
        self._unheard = 0  # bytes since the last frame, while asking

    def feed(self, data: Received) -> list[U8]:
        """The frames completed by these bytes, as rows grouped by length."""
        array = flat(data)
        out: list[U8] = []
        first = 0
        while first < len(array):
            # Whole buffers to a decoder that finds frames: per call it has a price of its own.
            size = QUIET if self.locked is None or self._quiet else len(array)
            out += self._slice(array[first : first + size])
            first += size
        return out

    def flush(self) -> list[U8]:
        """The stream has ended: what can still be made of the bytes held back."""
        name = self.locked
        if name is None:
            return self._flush_all()
        rows = self._asked[name].flush()
        self._count(found=bool(rows))
        if rows or not self._quiet:
            return rows
        rows = self._ask_again() + self._flush_all()
        # when nobody knew better, what the old one refused at the end counts
        self.locked = self.locked or name
        self._count()
        return rows

    def _flush_all(self) -> list[U8]:
        return self._choose({name: asked.flush() for name, asked in self._asked.items()})

    def _slice(self, data: U8) -> list[U8]:
        if self.locked is None:
            self._unheard += len(data)
            return self._choose({name: asked.feed(data) for name, asked in self._asked.items()})
        rows = self._asked[self.locked].feed(data)
        if rows:
            self._quiet.clear()
            self._count(found=True)
            return rows
        self._quiet += data.data
        self._count()
        return self._ask_again() if len(self._quiet) >= QUIET else []

    def _ask_again(self) -> list[U8]:
        """Doubt the locked decoder: let the others, made anew, hear what it made nothing of."""
        data = np.frombuffer(bytes(self._quiet), np.uint8)
        self._quiet.clear()
        self._unheard = len(data)
        doubted, self.locked = self.locked, None
        for name, make in self._factories.items():
            if name != doubted:
                self._asked[name] = make()
        others = {n: asked.feed(data) for n, asked in self._asked.items() if n != doubted}
        return self._choose(others)

    def _choose(self, found: Mapping[str, list[U8]]) -> list[U8]:
        """Lock to the line that found most; all frames found are handed up."""
        frames = {name: sum(len(rows) for rows in groups) for name, groups in found.items()}
        best = max(frames, key=lambda name: frames[name])
        if frames[best]:
            if self._last not in (None, best):
                self._base = self._mark
            self.locked = self._last = best
            self._unheard = 0
            self._count(found=True)
        else:
            self.rejected, self.noise = self._mark[0].copy(), self._mark[1] + self._unheard
        return [rows for groups in found.values() for rows in groups]

    def _count(self, *, found: bool = False) -> None:
        """Bring the counts up to date from those of the locked decoder."""
        assert self.locked is not None, "refusals count for a locked decoder only"
        decoder = self._asked[self.locked]
        self.rejected = self._base[0] + decoder.rejected
        self.noise = self._base[1] + decoder.noise
        if found:
            self._mark = (self.rejected.copy(), self.noise)
