"""A block whose symbols contradict its check, and the search for the wrong one.

A symbol can pass its frame's check and be wrong (one damaged frame in 2^32), or be forged. One
wrong symbol spoils a whole decoded block and says nothing of itself. So the symbols of such a block
become candidates, several contents for one number allowed, and each further symbol is an
occasion to decode without one of them; the block check decides. With one wrong symbol the
first good one that comes settles it.

The number of decodings is bounded: whoever sends wrong symbols on purpose gets work out of the
receiver in proportion to what was sent, and then the block is begun anew from symbols to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.block import BlockCheck
    from diode.code import Code
    from diode.frame import U8
    from diode.plan import Geometry

MAX_TRIALS = 1024
"""Decodings a suspect block may cost before it is begun anew: enough to leave out each symbol of
the widest zfec block four times over, in well under ten seconds of work."""
WIDEST = 255
"""Source symbols of the widest zfec block."""


class Suspect:
    """Candidates of one block: (symbol number, content), all different, in the order heard."""

    def __init__(
        self,
        geometry: Geometry,
        code: Code,
        check: BlockCheck,
        block: int,
        candidates: Iterable[tuple[int, bytes]],
    ) -> None:
        self.candidates = dict.fromkeys(candidates)
        self.trials = 0
        self._geometry = geometry
        self._code = code
        self._check = check
        self._block = block
        self._need = geometry.source_symbols(block)
        # Fewer for the wide blocks of code `repeat`: a decoding of those costs as much more.
        self._most = max(8, MAX_TRIALS * WIDEST // max(WIDEST, self._need))

    @property
    def hopeless(self) -> bool:
        """More wrong symbols than can be told apart within bounds."""
        return self.trials >= self._most

    def knows(self, candidate: tuple[int, bytes]) -> bool:
        return candidate in self.candidates

    def offer(self, candidate: tuple[int, bytes]) -> U8 | None:
        """Take one more candidate; the block's rows (k, S), not opened, if that settles it."""
        rows = self._settle(candidate)
        if rows is None:
            self.candidates[candidate] = None
        return rows

    def _settle(self, new: tuple[int, bytes]) -> U8 | None:
        """Decode with the new candidate in and one old one out, each in turn."""
        chosen, used = {new[0]: new[1]}, []
        spare: dict[int, tuple[int, bytes]] = {}
        for number, content in self.candidates:
            if number == new[0]:
                continue
            if number not in chosen and len(chosen) < self._need:
                chosen[number] = content
                used.append(number)
            else:  # the first to stand in: for another content of its number, or for any
                spare.setdefault(number if number in chosen else -1, (number, content))
        if len(chosen) < self._need:
            return None
        trials = [chosen]
        for left_out in used:
            instead = spare.get(left_out) or spare.get(-1)
            if instead is not None:
                trials.append({n: c for n, c in chosen.items() if n != left_out} | dict([instead]))
        for trial in trials:
            self.trials += 1
            rows = self._decode(trial)
            if rows is not None or self.hopeless:
                return rows
        return None

    def _decode(self, chosen: dict[int, bytes]) -> U8 | None:
        """The block from these symbols, if its check is right."""
        k = self._geometry.k
        rows = np.zeros((k, self._geometry.symbol_size), np.uint8)
        missing = np.ones(k, np.bool_)
        missing[self._need :] = False
        parity: list[int] = []
        for number, content in chosen.items():
            if number < k:
                rows[number] = np.frombuffer(content, np.uint8)
                missing[number] = False
            else:
                parity.append(number)
        holes = np.flatnonzero(missing)
        if len(holes):
            numbers = parity[: len(holes)]
            symbols = [np.frombuffer(chosen[number], np.uint8) for number in numbers]
            self._code.fill(rows, holes, np.array(numbers, np.int64), np.stack(symbols))
        flat = rows.reshape(-1).copy()  # opened where it lies, and its rows are wanted as they are
        right = self._check.open(flat, self._geometry.length(self._block), self._block)
        return rows if right else None
