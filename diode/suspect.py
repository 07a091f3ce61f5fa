"""A block whose symbols contradict its check, and the search for the wrong one.

A symbol can pass its frame's check and be wrong (one damaged frame in 2^32), or be forged. One
wrong symbol spoils a whole decoded block and says nothing of itself. So the symbols of such a block
become candidates, several contents for one number allowed, and each further symbol is an
occasion to decode without one of them; the block check decides. With one wrong symbol the
first good one that comes settles it.

Decoding is bounded, in number and in bytes: whoever sends wrong symbols on purpose gets work out of
the receiver in proportion to what was sent, and then the block is begun anew from symbols to
come. What was spent stays with the block while it is parked or begun anew, and only symbols that
are heard earn it back (`Spent`). A wide block cannot be decoded once for each of its thousands of
symbols. There several are left out at a time, and the search waits until as many have come to
stand in for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.block import BlockCheck
    from diode.code import Code
    from diode.frame import I64, U8
    from diode.geometry import Geometry

MAX_TRIALS = 1024
"""Decodings a suspect block may cost before it is begun anew: enough to leave out each symbol of
the widest zfec block four times over, in well under ten seconds of work."""
MAX_WORK = 1 << 30
"""Bytes of block that these decodings may add up to: some three seconds with the wide codes."""
FEWEST = 8
"""Decodings that a block may cost whatever its size."""
MOST_BLOCKS = 4096
"""Blocks of an object whose spent decodings are remembered. Each took as many frames as it has
symbols to turn suspect, so that to make room among so many earns nobody anything."""


def most_trials(need: int, symbol_size: int) -> int:
    """Decodings that a block of that many symbols may cost."""
    return max(FEWEST, min(MAX_TRIALS, MAX_WORK // (need * symbol_size)))


class Spent:
    """Decodings that blocks have cost which are not suspect any more, or not in memory.

    A frame is all it takes to have a parked block restored, and its symbols, kept on disk, turn it
    suspect at once. Without a memory, each such frame would buy the whole budget again.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._trials: dict[int, float] = {}

    def of(self, block: int) -> int:
        """What that block has cost and not earned back."""
        return int(self._trials.get(block, 0))

    def keep(self, block: int, suspect: Suspect | None) -> None:
        """What it cost, if it was suspect; of more than MOST_BLOCKS the cheapest is forgotten."""
        if suspect is not None and suspect.trials:
            self._trials[block] = suspect.trials
        if len(self._trials) > MOST_BLOCKS:
            del self._trials[min(self._trials, key=self._trials.__getitem__)]

    def heard(self, blocks: I64) -> None:
        """Symbols came over the link, (frames,): as many as a block has earn a whole budget."""
        if not self._trials:
            return
        for block, count in zip(*np.unique(blocks, return_counts=True), strict=True):
            spent = self._trials.get(int(block))
            if spent is not None:
                need = self._geometry.source_symbols(int(block))
                spent -= int(count) * most_trials(need, self._geometry.symbol_size) / need
                self._trials[int(block)] = max(0.0, spent)

    def forget(self, block: int) -> None:
        """That block is whole."""
        self._trials.pop(block, None)


class Suspect:
    """Candidates of one block: (symbol number, content), all different, in the order heard."""

    def __init__(
        self,
        geometry: Geometry,
        code: Code,
        check: BlockCheck,
        block: int,
        candidates: Iterable[tuple[int, bytes]],
        spent: int = 0,
    ) -> None:
        """spent: decodings that the block has cost before."""
        self.candidates = dict.fromkeys(candidates)
        self.trials = spent
        self._geometry = geometry
        self._code = code
        self._check = check
        self._block = block
        self._need = geometry.source_symbols(block)
        self._most = most_trials(self._need, geometry.symbol_size)
        self._at_a_time = -(-2 * self._need // self._most)  # two searches are within bounds
        self._searches = 0

    @property
    def hopeless(self) -> bool:
        """More wrong symbols than can be told apart within bounds."""
        return self.trials >= self._most

    def knows(self, candidate: tuple[int, bytes]) -> bool:
        return candidate in self.candidates

    def offer(self, candidate: tuple[int, bytes]) -> U8 | None:
        """Take one more candidate; the block's rows (k, S), not opened, if that settles it."""
        enough = self._need + (self._searches + 1) * self._at_a_time
        rows = None
        if self._at_a_time == 1 or len(self.candidates) >= enough:
            self._searches += 1
            rows = self._settle(candidate)
        if rows is None:
            self.candidates[candidate] = None
        return rows

    def _settle(self, new: tuple[int, bytes]) -> U8 | None:
        """Decode with the new candidate in and some old ones out, each in turn."""
        chosen, used = {new[0]: new[1]}, []
        same: dict[int, bytes] = {}  # another content of a number that is chosen, the first
        others: dict[int, bytes] = {}
        for number, content in self.candidates:
            if number == new[0]:
                continue
            if number in chosen:
                same.setdefault(number, content)
            elif len(chosen) < self._need + self._code.spare:
                chosen[number] = content
                used.append(number)
            else:
                others[number] = content
        if len(chosen) < self._need:
            return None
        newest = list(others.items())[-self._at_a_time :]
        for trial in self._trials(chosen, used, same, newest):
            self.trials += 1
            rows = self._decode(trial)
            if rows is not None or self.hopeless:
                return rows
        return None

    def _trials(
        self,
        chosen: dict[int, bytes],
        used: list[int],
        same: dict[int, bytes],
        others: list[tuple[int, bytes]],
    ) -> Iterator[dict[int, bytes]]:
        """All that is chosen, then without some of those used and with others instead."""
        yield chosen
        for first in range(0, len(used), self._at_a_time):
            left_out = used[first : first + self._at_a_time]
            instead = {number: same[number] for number in left_out if number in same}
            instead |= dict(others[: len(left_out) - len(instead)])
            if len(instead) == len(left_out):
                trial = dict(chosen)
                for number in left_out:
                    del trial[number]
                yield trial | instead

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
            numbers = parity[: len(holes) + self._code.spare]
            symbols = [np.frombuffer(chosen[number], np.uint8) for number in numbers]
            if not self._code.fill(rows, holes, np.array(numbers, np.int64), np.stack(symbols)):
                return None
        flat = rows.reshape(-1).copy()  # opened where it lies, and its rows are wanted as they are
        right = self._check.open(flat, self._geometry.length(self._block), self._block)
        return rows if right else None
