"""Collecting the symbols of one object until its blocks can be decoded.

Symbols come in any order, any number of times, from any block. A block that has begun holds a
slot: rows for its k source symbols, into which a batch of frames is copied by one fancy
assignment. Parity is kept only while it could still be needed. As soon as k
different symbols are there the block is filled, its check (block.py) decides, and its slot
is free again; a block that lost nothing is never decoded. A code may say that k symbols do
not suffice (raptorq, once in 256 blocks); then the block waits for one more.

A symbol can pass its frame's check and be wrong. The block check shows it, and the block is left
to a `Suspect` (suspect.py) until one of the symbols to come settles it.

Memory: at most two k x S bytes for a block in progress. Blocks can be parked (handed out to be
kept elsewhere) and restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.block import CRC
from diode.distinct import different, parted
from diode.frame import evenly
from diode.parity import Parity, Repair
from diode.suspect import Spent, Suspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diode.block import BlockCheck
    from diode.code import Code
    from diode.frame import I64, U8, Bool
    from diode.geometry import Geometry

SPARE = 256 << 10
"""Bytes of room that a collector keeps for blocks to come, when few are in progress."""


@dataclass(slots=True)
class Recovered:
    """A block that is whole. data: the object's bytes in it, valid until `release`."""

    block: int
    data: U8
    decoded: bool


class Collector:
    """The receiving side of one object's blocks."""

    def __init__(self, geometry: Geometry, code: Code, check: BlockCheck = CRC) -> None:
        self.geometry = geometry
        self.code = code
        self.check = check
        self.numbers = code.numbers(geometry.k)
        self.done: Bool = np.zeros(geometry.blocks, np.bool_)
        self.done_count = 0
        self.parked: dict[int, int] = {}
        """Blocks that were handed out to be kept elsewhere, and how many symbols of each."""
        self.spoiled: list[int] = []
        """Blocks that turned suspect since the list was last emptied."""
        self.wanted: list[int] = []
        """Parked blocks that are being heard again since the list was last emptied."""
        self.duplicates = 0
        self.repair = Repair(geometry, code)
        self._slots: dict[int, int] = {}  # block -> slot; insertion order is age
        self._free: list[int] = []
        self._releasing: dict[int, int] = {}  # block -> slot, of blocks handed out
        self._held: dict[int, int] = {}  # of those that are needed longer
        self._source: U8 = np.empty((0, geometry.k, geometry.symbol_size), np.uint8)
        self._have: Bool = np.empty((0, geometry.k), np.bool_)
        self._kept: Bool = np.empty((0, geometry.k), np.bool_)  # was handed out before
        self._parity: dict[int, Parity] = {}
        self._suspects: dict[int, Suspect] = {}
        self._spent = Spent(geometry)
        self._touched: set[int] = set()
        self._due: set[int] = set()
        """Blocks in which something came since `unsaved` was last asked, and before that."""

    @property
    def complete(self) -> bool:
        return self.done_count == self.geometry.blocks

    @property
    def open_blocks(self) -> list[int]:
        """Blocks in memory that are not whole, oldest first."""
        return list(self._slots)

    @property
    def memory(self) -> int:
        """Bytes held for blocks in progress."""
        size = self.geometry.symbol_size
        parity = sum(len(p) for p in self._parity.values())
        suspect = sum(len(s.candidates) for s in self._suspects.values())
        return len(self._slots) * self.geometry.k * size + (parity + suspect) * size

    @property
    def block_memory(self) -> int:
        """Bytes set aside for a block when its first symbol comes: symbols and two flags each."""
        return self.geometry.k * (self.geometry.symbol_size + 2)

    def beginning(self, blocks: I64) -> I64:
        """Which different blocks of these, (frames,), would have to be begun, in order."""
        found, _ = different(blocks)
        new = [b not in self._slots for b in found.tolist()]
        return found[np.array(new, np.bool_) & ~self.done[found]]

    @property
    def symbols(self) -> tuple[int, int]:
        """Symbols at hand or no longer needed, and symbols needed in all. For display."""
        k, cut = self.geometry.k, self.geometry
        held = sum(min(k, count) for count in (*map(self.held, self._slots), *self.parked.values()))
        return self.done_count * k + held, cut.blocks * k

    def valid(self, blocks: I64, symbols: I64) -> Bool:
        """Which of these lie inside the object's geometry."""
        inside = (blocks < self.geometry.blocks) & (symbols < self.numbers)
        last = self.geometry.blocks - 1
        if last >= 0 and (of_last := blocks == last).any():
            # its symbols that are zero by definition are never sent
            known = symbols >= self.geometry.source_symbols(last)
            inside &= ~(of_last & known & (symbols < self.geometry.k))
        return np.asarray(inside, np.bool_)

    def held(self, block: int) -> int:
        """Different symbols held in memory for an unfinished block, zero ones included."""
        slot = self._slots.get(block)
        if slot is None:
            return 0
        parity = self._parity.get(block)
        return int(np.count_nonzero(self._have[slot])) + (len(parity) if parity else 0)

    def add(self, blocks: I64, symbols: I64, payload: U8, *, heard: bool = True) -> list[Recovered]:
        """Take symbols, heard now or once before; return the blocks they complete.

        blocks, symbols: int64 (frames,), inside the geometry. payload: uint8 (frames, S).
        """
        if heard:
            self._spent.heard(blocks)
        touched, inverse = different(blocks)
        if self.done[touched].any():
            fresh = ~self.done[blocks]
            self.duplicates += len(fresh) - int(np.count_nonzero(fresh))
            if not fresh.any():
                return []
            blocks, symbols, payload = blocks[fresh], symbols[fresh], payload[fresh]
            touched, inverse = different(blocks)
        slots = [self._slot(b) for b in touched.tolist()]
        self._touched.update(touched.tolist())
        known = set(self._suspects)
        if self._suspects:
            self._add_candidates(blocks, symbols, payload)
        of_parity = self._add_source(np.array(slots, np.int64)[inverse], symbols, payload)
        missing = [self.geometry.k - int(np.count_nonzero(self._have[slot])) for slot in slots]
        if len(of_parity):
            useful = of_parity[np.array(missing)[inverse[of_parity]] > 0]
            self.duplicates += len(of_parity) - len(useful)
            self._add_parity(blocks[useful], symbols[useful], payload[useful])
        found = [
            recovered
            for block, short in zip(touched.tolist(), missing, strict=True)
            if (recovered := self._try(block, short)) is not None
        ]
        turned = self._suspects.keys() - known
        if turned:
            found += self._use_the_rest(turned, blocks, symbols, payload)
        return found

    def release(self) -> None:
        """The blocks handed out so far have been used, all but those held: their memory may be
        used again.
        """
        self._free.extend(self._releasing.values())
        self._releasing.clear()
        self._shrink()

    def hold(self, block: int) -> None:
        """A block handed out last is needed until it is given back."""
        if block in self._releasing:
            self._held[block] = self._releasing.pop(block)

    def give_back(self, block: int) -> None:
        """A block that was held is needed no longer."""
        if block in self._held:
            self._free.append(self._held.pop(block))

    def park(self, block: int) -> tuple[I64, U8]:
        """Forget an unfinished block and hand out its symbols: (n,), (n, S).

        Those that were handed out before, and came back by `restore`, are left out.
        """
        numbers, symbols = self._not_kept(block)
        self.parked[block] = self.held(block)
        self._free.append(self._slots.pop(block))
        self._parity.pop(block, None)
        self._spent.keep(block, self._suspects.pop(block, None))
        self._shrink()
        return numbers, symbols

    def unsaved(self) -> Iterator[tuple[int, I64, U8]]:
        """Symbols of blocks that were unfinished the last time too: block, (n,), (n, S).

        They count as handed out from now on, as if they had been parked and restored.
        """
        while self._due:  # whoever stops in the middle goes on there the next time
            block = self._due.pop()
            self._touched.discard(block)
            if block in self._slots and len((kept := self._not_kept(block))[0]):
                numbers, symbols = kept
                self._keep(block, numbers)
                yield block, numbers, symbols
        self._due, self._touched = self._touched, self._due

    def not_saved(self, blocks: Iterable[int]) -> None:
        """Whoever keeps what was handed out has lost it: hand it out again."""
        for block in blocks:
            slot = self._slots.get(block)
            if slot is not None:
                self._kept[slot, : self.geometry.source_symbols(block)] = False
                if block in self._parity:
                    self._parity[block].kept.clear()
                self._due.add(block)

    def restore(self, block: int, numbers: I64, symbols: U8) -> list[Recovered]:
        """Take back all that `park` handed out, perhaps long ago: (n,), (n, S)."""
        self.parked.pop(block, None)
        found = self.add(np.full(len(numbers), block), numbers, symbols, heard=False)
        if block in self._slots:
            self._keep(block, numbers)
        return found

    def mark_done(self, done: Bool) -> None:
        """Count these blocks, (blocks,), as recovered by an earlier run."""
        self.done |= done
        self.done_count = int(self.done.sum())

    def mark_missing(self, blocks: Sequence[int]) -> None:
        """Count these blocks as not recovered after all."""
        self.done[list(blocks)] = False
        self.done_count = int(self.done.sum())
        self.parked |= dict.fromkeys(blocks, 0)  # what was kept of them may still be there

    # One block --------------------------------------------------------------------------

    def _not_kept(self, block: int) -> tuple[I64, U8]:
        """A block's symbols in memory that were not handed out before: (n,), (n, S)."""
        slot = self._slots[block]
        new = np.flatnonzero(self._have[slot] & ~self._kept[slot])
        parity = self._parity.get(block)
        if parity is None:
            return new, self._source[slot, new]
        numbers, symbols = parity.not_kept()
        every = np.empty((len(new) + len(numbers), self.geometry.symbol_size), np.uint8)
        np.take(self._source[slot], new, axis=0, out=every[: len(new)], mode="clip")
        every[len(new) :] = symbols
        return np.concatenate([new, numbers]), every

    def _keep(self, block: int, numbers: I64) -> None:
        """These symbols of a block in memory are handed out, and kept elsewhere."""
        self._kept[self._slots[block], numbers[numbers < self.geometry.k]] = True
        parity = self._parity.get(block)
        if parity is not None:
            parity.kept.update(numbers.tolist())

    def _slot(self, block: int) -> int:
        slot = self._slots.get(block)
        if slot is not None:
            return slot
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._slots[block] = slot
        if block in self.parked:
            del self.parked[block]
            self.wanted.append(block)
        self._have[slot] = self._kept[slot] = False
        present = self.geometry.source_symbols(block)
        self._have[slot, present:] = self._kept[slot, present:] = True
        self._source[slot, present:] = 0
        return slot

    @property
    def _lent(self) -> int:
        return len(self._releasing) + len(self._held)

    def _grow(self) -> None:
        old = len(self._source)
        new = min(max(2 * old, 1), max(self.geometry.blocks + self._lent, 1))
        source = np.empty((new, *self._source.shape[1:]), np.uint8)
        source[:old] = self._source
        have = np.zeros((2, new, self.geometry.k), np.bool_)
        have[:, :old] = self._have, self._kept
        self._source, self._have, self._kept = source, have[0], have[1]
        self._free.extend(range(new - 1, old - 1, -1))

    def _shrink(self) -> None:
        """Give back the room of a busier time; never while blocks handed out point into it."""
        rooms, used = len(self._source), len(self._slots)
        if self._lent or rooms < 4 * used or rooms * self.block_memory <= SPARE:
            return
        kept = list(self._slots.values())
        self._source = self._source[kept]
        self._have, self._kept = self._have[kept], self._kept[kept]
        self._slots = {block: slot for slot, block in enumerate(self._slots)}
        self._free.clear()

    def _add_source(self, slots: I64, symbols: I64, payload: U8) -> I64:
        """Put source symbols, in these slots, (n,), (n,), (n, S), in their places; which of these
        symbols are parity.
        """
        k, of_parity = self.geometry.k, np.flatnonzero(symbols >= self.geometry.k)
        place = slots * k + symbols
        if len(of_parity):
            of_source = symbols < k
            place, payload = place[of_source], payload[of_source]
        have = self._have.reshape(-1)
        known = have[place]
        if known.any():
            self.duplicates += int(np.count_nonzero(known))
            if self._suspects:  # what a suspect block was decoded from must not change under it
                place, payload = place[~known], payload[~known]
        self._source.reshape(-1, self.geometry.symbol_size)[evenly(place)] = payload
        have[place] = True
        return of_parity

    def _add_parity(self, blocks: I64, numbers: I64, symbols: U8) -> None:
        """Keep parity symbols, (n,), (n,), (n, S), of blocks that are still short of some."""
        for block, of_it in parted(blocks):
            parity = self._parity.setdefault(block, Parity(self.geometry.symbol_size))
            room = self.geometry.k + self.code.spare - self.held(block)
            mine = numbers[of_it]
            self.duplicates += len(mine) - parity.add(mine, symbols[of_it], room)

    def _try(self, block: int, short: int) -> Recovered | None:
        """The block, if it can be had now. short: source symbols missing."""
        if block in self._suspects:
            return None
        parity = self._parity.get(block)
        if short and (parity is None or len(parity) < short):
            return None
        slot = self._slots[block]
        rows = self._source[slot]
        if short:
            assert parity is not None
            if not self._fill(block, rows, np.flatnonzero(~self._have[slot]), parity):
                return None
        if self.check.open(rows.reshape(-1), self.geometry.length(block), block):
            if short and parity is not None:
                self.repair.needed(block, short, parity.first(short + self.code.spare)[0])
            return self._finish(block, rows, decoded=short > 0)
        known = self._candidates(block), self._spent.of(block)
        self._suspects[block] = Suspect(self.geometry, self.code, self.check, block, *known)
        self.spoiled.append(block)
        return None

    def _fill(self, block: int, rows: U8, missing: I64, parity: Parity) -> bool:
        """Decode the missing rows of a block, if its symbols suffice."""
        held, spare = self.held(block), self.code.spare
        if held <= parity.in_vain:
            return False
        if self.code.fill(rows, missing, *parity.first(len(missing) + spare)):
            return True
        parity.in_vain = held
        if held >= self.geometry.k + spare:  # no chance leads here, only choice of what arrives
            self._begin_anew(block)
        return False

    def _finish(self, block: int, rows: U8, *, decoded: bool) -> Recovered:
        self._releasing[block] = self._slots.pop(block)
        self._parity.pop(block, None)
        self._suspects.pop(block, None)
        self._spent.forget(block)
        self.done[block] = True
        self.done_count += 1
        return Recovered(block, rows.reshape(-1)[: self.geometry.length(block)], decoded)

    # Suspect blocks ---------------------------------------------------------------------

    def _candidates(self, block: int) -> list[tuple[int, bytes]]:
        slot = self._slots[block]
        real = np.flatnonzero(self._have[slot][: self.geometry.source_symbols(block)])
        found = [(int(n), self._source[slot, n].tobytes()) for n in real]
        parity = self._parity.get(block)
        if parity is not None:
            numbers, symbols = parity.first(len(parity))
            found += zip(numbers.tolist(), map(bytes, symbols), strict=True)
        return found

    def _add_candidates(self, blocks: I64, symbols: I64, payload: U8) -> None:
        """Give the symbols of suspect blocks their chance; recovered ones end in their slot.

        A right one leaves its rows correct and all present, so that the ordinary path of
        `add`, which comes next, finds it whole.
        """
        for block in different(blocks)[0].tolist():
            suspect = self._suspects.get(block)
            if suspect is None:
                continue
            for row in np.flatnonzero(blocks == block).tolist():
                candidate = (int(symbols[row]), payload[row].tobytes())
                if suspect.knows(candidate):
                    self.duplicates += 1
                    continue
                whole = None if suspect.hopeless else suspect.offer(candidate)
                if whole is not None:
                    slot = self._slots[block]
                    self._source[slot] = whole
                    self._have[slot] = True
                    del self._suspects[block]
                    break
                if suspect.hopeless:
                    self._begin_anew(block)
                    break

    def _use_the_rest(
        self, turned: set[int], blocks: I64, symbols: I64, payload: U8
    ) -> list[Recovered]:
        """Blocks found wrong in this call: it may have brought more symbols than were tried."""
        again = np.isin(blocks, list(turned))
        duplicates = self.duplicates
        self._add_candidates(blocks[again], symbols[again], payload[again])
        self.duplicates = duplicates  # all of these are counted already
        found = []
        for block in sorted(turned - self._suspects.keys()):
            short = self.geometry.k - int(self._have[self._slots[block]].sum())
            recovered = self._try(block, short)
            if recovered is not None:
                found.append(recovered)
        return found

    def _begin_anew(self, block: int) -> None:
        """More wrong symbols than can be told apart: forget them all and wait for others."""
        self._spent.keep(block, self._suspects.pop(block, None))
        self._parity.pop(block, None)
        slot = self._slots[block]
        self._have[slot] = self._kept[slot] = False
        present = self.geometry.source_symbols(block)
        self._have[slot, present:] = self._kept[slot, present:] = True
