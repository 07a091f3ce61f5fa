"""What the frames in a capture are, without delivering anything.

Counts frames by sender, object and kind, and for each object how many different symbols of each
block are there, which says whether the capture is enough. Memory grows with the number
of data frames (8 bytes each), not with the size of the objects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diode import frame
from diode.announcements import AnnouncementParts
from diode.code import by_id
from diode.events import Key
from diode.frame import Kind
from diode.objects import Announcement, Malformed, Manifest, Status
from diode.reception import Reception
from diode.tag import MARK, Untagged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.frame import I64, U8, Reject
    from diode.tag import Tags

_BLOCK = 24  # bits of symbol number below the block number in a data frame's mark


@dataclass(slots=True)
class Seen:
    """What a capture holds of one object; of one alias, while its manifest is not known."""

    manifest: Manifest | None = None
    void: bool = False
    manifests: int = 0
    data_frames: int = 0
    marks: list[I64] = field(default_factory=list)  # block << 24 | symbol

    def symbols_by_block(self) -> tuple[I64, I64]:
        """Blocks heard of and how many different symbols of each: (n,), (n,)."""
        if not self.marks:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        marks = np.unique(np.concatenate(self.marks))
        self.marks = [marks]
        blocks, counts = np.unique(marks >> _BLOCK, return_counts=True)
        return blocks, counts

    @property
    def repeated(self) -> int:
        """Data frames that brought a symbol seen before."""
        _, counts = self.symbols_by_block()
        return self.data_frames - int(counts.sum())

    def recoverable(self) -> tuple[int, int]:
        """Blocks that can be decoded, and symbols the rest still lacks."""
        assert self.manifest is not None
        cut = self.manifest.geometry
        blocks, counts = self.symbols_by_block()
        inside = blocks < cut.blocks
        blocks, counts = blocks[inside], counts[inside]
        need = np.full(len(blocks), cut.k, np.int64)
        need[blocks == cut.blocks - 1] = cut.source_symbols(cut.blocks - 1) if cut.blocks else 0
        missing = np.maximum(need - counts, 0)
        unheard = cut.blocks - len(blocks)
        last_unheard = cut.blocks > 0 and cut.blocks - 1 not in blocks
        lacking = int(missing.sum()) + unheard * cut.k
        if last_unheard:
            lacking -= cut.k - cut.source_symbols(cut.blocks - 1)
        return int((missing == 0).sum()), lacking


class Inspection:
    """Takes frames, any number of captures after each other, and keeps count."""

    def __init__(self, tags: Tags | None = None) -> None:
        """tags: which frames count, as at a receiver; those without a tag where none is given."""
        self._tags = tags or Untagged()
        self.untold: Counter[Reject] = Counter()
        """Frames that do not count, by what is wrong with their tags."""
        self.kinds: Counter[int] = Counter()
        self.versions: Counter[int] = Counter()
        self.objects: dict[Key, Seen] = {}
        self.aliases: dict[int, Seen] = {}
        self.senders: dict[int, Reception] = {}
        self._partial: dict[tuple[Key, int], AnnouncementParts] = {}
        self._owners: dict[int, int] = {}  # alias to sender
        self._unowned: Counter[int] = Counter()  # compact frames by alias, sender not known

    def take(self, batches: Iterable[U8]) -> None:
        """Count rows of checked frames, as a line's decoder gives them."""
        for heard in batches:
            rows = self._tags.accepted(heard, self._refuse)
            versions = (rows[:, 0] & ~np.uint8(MARK)) >> 4
            self.versions.update(versions.tolist())
            rows = rows[versions == frame.VERSION]  # the others cannot be read
            kinds = rows[:, 0] & 0x0F
            self.kinds.update(kinds.tolist())
            self._full(rows[kinds != Kind.COMPACT])
            self._compact(rows[kinds == Kind.COMPACT])
        for reception in self.senders.values():
            reception.settle(self.kinds.total())

    def _refuse(self, why: Reject, count: int) -> None:
        self.untold[why] += count

    def resolved(self) -> dict[Key, Seen]:
        """The objects, compact frames given to those that own their alias."""
        owners = {frame.alias(*key): key for key in self.objects}
        for name in [n for n in self.aliases if n in owners]:
            seen, owner = self.aliases.pop(name), self.objects[owners[name]]
            owner.data_frames += seen.data_frames
            owner.marks += seen.marks
        return self.objects

    def _full(self, rows: U8) -> None:
        if not len(rows) or rows.shape[1] < frame.HEADER + frame.CHECK:
            return
        parsed = frame.parse_full(rows)
        for sender in np.unique(parsed.sender).tolist():
            self.senders.setdefault(sender, Reception()).heard(
                parsed.sequence[parsed.sender == sender]
            )
        data = np.flatnonzero(parsed.kind == Kind.DATA)
        names = parsed.sender.astype(np.uint64) << np.uint64(32) | parsed.number
        for name in np.unique(names).tolist():
            self._own(name >> 32, name & 0xFFFF_FFFF)
        for name in np.unique(names[data]).tolist():
            mine = data[names[data] == name]
            seen = self.objects.setdefault(Key(name >> 32, name & 0xFFFF_FFFF), Seen())
            _count(seen, parsed.block[mine], parsed.symbol[mine])
        for index in np.flatnonzero(parsed.kind == Kind.MANIFEST).tolist():
            self._manifest(parsed, index)

    def _compact(self, rows: U8) -> None:
        if not len(rows):
            return
        parsed = frame.parse_compact(rows)
        for name in np.unique(parsed.alias).tolist():
            mine = parsed.alias == name
            _count(self.aliases.setdefault(name, Seen()), parsed.block[mine], parsed.symbol[mine])
            self._unowned[name] += int(mine.sum())
            if name in self._owners:
                self._count_owned(name)

    def _own(self, sender: int, number: int) -> None:
        """A full frame tells whose an alias is."""
        name = frame.alias(sender, number)
        if self._owners.setdefault(name, sender) == sender:
            self._count_owned(name)

    def _count_owned(self, name: int) -> None:
        count = self._unowned.pop(name, 0)
        if count:
            reception = self.senders.setdefault(self._owners[name], Reception())
            reception.count(count, self.kinds.total())

    def _manifest(self, parsed: frame.Parsed, index: int) -> None:
        key = Key(int(parsed.sender[index]), int(parsed.number[index]))
        seen = self.objects.setdefault(key, Seen())
        seen.manifests += 1
        tag, count = int(parsed.block[index]), int(parsed.code[index])
        symbol = parsed.payload[index]
        if count == 1:
            data: bytes | None = symbol.tobytes()
        else:
            name = (key, tag)
            parts = self._partial.setdefault(name, AnnouncementParts(count, len(symbol)))
            number = int(parsed.symbol[index])
            fits = (parts.count, parts.size) == (count, len(symbol)) and number < 256 and count
            data = parts.add(number, symbol) if fits else None
        if data is None or frame.crc32c(data) != tag:
            return
        try:
            manifest = Announcement.parse(data).manifest
        except Malformed:
            return
        seen.void |= manifest.status == Status.VOID
        seen.manifest = seen.manifest or manifest


def _count(seen: Seen, blocks: frame.Column, symbols: frame.Column) -> None:
    seen.data_frames += len(blocks)
    seen.marks.append(blocks.astype(np.int64) << _BLOCK | symbols.astype(np.int64))


def code_name(manifest: Manifest) -> str:
    """The name of an object's code."""
    code = by_id(manifest.code)
    return code.name if code else f"code {manifest.code}"
