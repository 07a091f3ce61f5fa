"""Unfinished objects on disk: a part file with recovered blocks at their places, and a journal.

    parts/<sender>-<number>/announcement   the manifest, as heard
                            data           recovered blocks, sparse
                            journal        what is recovered, and symbols of blocks that are not

The journal is append-only, record by record, each with its CRC-32C; a record torn by a crash ends
it and is cut off at the next start:

    | 'D' | 0 | S = 0 | count | block numbers u32, their CRC-64s u64 | crc |   recovered
    | 'S' | block | S | count | symbol numbers u32, symbols           | crc |   parked or saved

A crash may have kept a record and lost the data it speaks of. So the journal claims and the
checks decide: an object is delivered only when its SHA-256 is right, and when it is not,
each recovered block is held against the CRC-64 in the journal and the wrong ones go back to
"missing". Nothing here has to be fsynced in order.
A file, no database: a symbol costs one copy into the page cache, which no SIGKILL touches. Of the
same symbols SQLite in WAL mode writes 5 times as many bytes at 11,520 B/s, for as much CPU time,
and 9 times as many at 100 MB/s, for 10 times as much; to read them back takes it 1.3 and 3 times
as long (benches/journal.py). Symbols of blocks recovered since are dead weight; a journal that is
mostly dead is written anew. One that is damaged in its middle is moved aside, and what comes
before the damage is used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from diode import block as block_layer
from diode.frame import I64, U8, Bool, crc32c
from diode.sink.files import (
    MODE,
    READ_PIECE,
    Descriptors,
    OpenFiles,
    copy,
    names_in,
    open_writable,
    read_file,
    set_aside,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from diode.geometry import Geometry
    from diode.sink import Delivered

RECORD = struct.Struct("<cIII")
CRC = struct.Struct("<I")
MAX_RECORD = 1 << 30
UNWRITTEN = 4096
"""Recovered blocks that are written into the journal at once, between checkpoints."""
COMPACT = 8 << 20
"""Bytes of journal below which nothing is gained by writing it anew."""
WRONG = 0
"""In place of a CRC-64: the block turned out wrong after all."""


class Part:
    """One unfinished object. Methods raise OSError; the sink makes operator errors of them."""

    def __init__(
        self,
        parent: int,
        name: str,
        geometry: Geometry,
        announcement: bytes,
        files: OpenFiles | None = None,
    ) -> None:
        """Open, or begin. parent: descriptor of the folder that holds all parts.

        files: shared by the parts of a sink, so that only a few have their files open.
        """
        self.name = name
        self.geometry = geometry
        self._parent = parent
        self._files = files or OpenFiles()
        self._descriptors: Descriptors | None = None
        self._journal_end = 0
        self._compact_at = COMPACT
        self._dirty = False
        self.damaged = ""
        """Name of the damaged journal that was moved aside at the start, where it was."""
        self.placed: Delivered | None = None
        """Where the content is, once it has its final name."""
        self.staged = 0
        """Bytes that a bundle's files take beside it."""
        self.done: Bool = np.zeros(geometry.blocks, np.bool_)
        """Which blocks are recovered, (blocks,). Their CRC-64s stay in the journal alone."""
        self._done_bytes = 0
        self._unwritten: list[tuple[int, int]] = []  # block, CRC-64
        self._symbols: dict[int, list[tuple[int, int, int]]] = {}  # block: offset, count, S
        self._digest = hashlib.sha256()
        self._hashed = 0
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        try:
            self._load()
            self._keep_announcement(announcement)
        except OSError:
            self.close()
            raise

    @property
    def folder(self) -> int:
        """Descriptor of the part's folder, in which the content is called `data`."""
        return self._open().folder

    @property
    def data(self) -> int:
        """Descriptor of the content."""
        return self._open().data

    @property
    def parked_blocks(self) -> list[int]:
        return [b for b in self._symbols if not self.done[b]]

    def symbols_of(self, block: int) -> int:
        """How many symbols of it are parked."""
        return sum(count for _, count, _ in self._symbols.get(block, ()))

    @property
    def size(self) -> int:
        """Bytes taken on disk, about."""
        return self._done_bytes + self._journal_end + self.staged

    # Blocks and symbols ---------------------------------------------------------------------

    def write(self, block: int, offset: int, data: U8) -> None:
        """Put a recovered block in its place."""
        view = data.data
        write_all(self.data, view, offset)
        self._dirty = True
        if not self.done[block]:
            self.done[block] = True
            self._done_bytes += len(view)
        if offset == self._hashed:
            self._digest.update(view)
            self._hashed += len(view)
            self._hash_on()
        self._symbols.pop(block, None)
        self._unwritten.append((block, int.from_bytes(block_layer.check(data), "little")))
        if len(self._unwritten) >= UNWRITTEN:
            self.checkpoint()

    def park(self, block: int, numbers: I64, symbols: U8) -> None:
        content = numbers.astype("<u4"), np.ascontiguousarray(symbols)
        at = self._append(b"S", block, symbols.shape[1], len(numbers), *content)
        self._symbols.setdefault(block, []).append((at, len(numbers), symbols.shape[1]))

    def parked(self, block: int) -> tuple[I64, U8]:
        """All symbols kept for that block: (n,), (n, S)."""
        return self._read_symbols(self._journal, self._symbols.get(block, ()))

    def checkpoint(self) -> None:
        """Write down which blocks were recovered since the last time."""
        if self._unwritten:
            numbers = np.array([block for block, _ in self._unwritten], "<u4")
            checks = np.array([check for _, check in self._unwritten], "<u8")
            self._append(b"D", 0, 0, len(numbers), numbers, checks)
            self._unwritten.clear()
        if self._journal_end > self._compact_at:
            self._compact()

    def sync(self) -> None:
        """Have what was written survive a power cut. After an error the files are not to be used
        again: the kernel may have dropped pages and call them clean.
        """
        if self._dirty:
            os.fdatasync(self.data)
            os.fdatasync(self._journal)
            self._dirty = False

    # Finishing ------------------------------------------------------------------------------

    def digest(self) -> bytes:
        """SHA-256 of the part file, hashing what was not hashed on the way in."""
        self._hash_to(self.geometry.size)
        return self._digest.digest()

    def _hash_on(self) -> None:
        """Hash the blocks behind that came before their turn, while they are in the page cache."""
        cut = self.geometry
        while (block := self._hashed // cut.block_data) < cut.blocks and self.done[block]:
            self._hash_to(min((block + 1) * cut.block_data, cut.size))
            if self._hashed == cut.size:
                break

    def _hash_to(self, end: int) -> None:
        while self._hashed < end:
            piece = os.pread(self.data, min(READ_PIECE, end - self._hashed), self._hashed)
            if not piece:
                piece = bytes(min(READ_PIECE, end - self._hashed))
            self._digest.update(piece)
            self._hashed += len(piece)

    def wrong_blocks(self) -> list[int]:
        """Recovered blocks whose bytes on disk no longer have their CRC-64; they are forgotten."""
        cut = self.geometry
        wrong = []
        self.checkpoint()
        for block, check in self._journal_checks():
            length = cut.length(block)
            raw = os.pread(self.data, length, block * cut.block_data).ljust(length, b"\0")
            found = block_layer.check(np.frombuffer(raw, np.uint8))
            if int.from_bytes(found, "little") != check:
                wrong.append(block)
        self._digest, self._hashed = hashlib.sha256(), 0
        self.done[wrong] = False
        self._done_bytes -= sum(cut.length(block) for block in wrong)
        self._unwritten = [(block, 0) for block in wrong]  # the journal's last word on them
        return wrong

    def begin_anew(self) -> None:
        """Forget everything received."""
        self._digest, self._hashed = hashlib.sha256(), 0
        self.done[:] = False
        self._done_bytes = 0
        self._symbols.clear()
        self._unwritten.clear()
        os.ftruncate(self._journal, 0)
        os.ftruncate(self.data, 0)
        self._journal_end = 0

    def close(self) -> None:
        """Close the files; whatever needs them opens them again."""
        self._files.closed(self)
        for descriptor in self._descriptors or ():
            os.close(descriptor)
        self._descriptors = None

    def remove(self) -> None:
        """Close and delete; what was renamed away already is not missed."""
        for name in names_in(self.folder):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)
        self.close()
        with contextlib.suppress(OSError):
            os.rmdir(self.name, dir_fd=self._parent)

    # Files ----------------------------------------------------------------------------------

    @property
    def _journal(self) -> int:
        return self._open().journal

    def _open(self) -> Descriptors:
        """The open files, opened again where other parts had to have theirs."""
        if self._descriptors is None:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.ExitStack() as opened:
                folder = os.open(self.name, flags, dir_fd=self._parent)
                opened.callback(os.close, folder)
                data = open_writable(folder, "data")
                opened.callback(os.close, data)
                self._descriptors = Descriptors(folder, data, open_writable(folder, "journal"))
                opened.pop_all()
        self._files.used(self)
        return self._descriptors

    # Journal --------------------------------------------------------------------------------

    def _append(
        self, kind: bytes, block: int, size: int, count: int, *content: NDArray[Any]
    ) -> int:
        """Append one record; the offset of its content, which is copied once."""
        pieces: list[bytes | memoryview] = [RECORD.pack(kind, block, size, count)]
        pieces += [array.reshape(-1).view(np.uint8).data for array in content]
        pieces.append(CRC.pack(functools.reduce(lambda crc, one: crc32c(one, crc), pieces, 0)))
        at, record = self._journal_end, b"".join(pieces)
        write_all(self._journal, record, at)
        self._dirty = True
        self._journal_end = at + len(record)
        return at + RECORD.size

    def _load(self) -> None:
        """Read the journal up to its first broken record; what follows is cut off or kept aside."""
        size = os.fstat(self._journal).st_size
        while self._load_record(size):
            pass
        if self._journal_end:  # else nothing is done: a bit array nobody touches costs no memory
            done = int(self.done.sum()) * self.geometry.block_data
            self._done_bytes = min(done, self.geometry.size)
        if self._journal_end < size:
            if not self._torn(size):
                self._keep_aside()
            os.ftruncate(self._journal, self._journal_end)

    def _torn(self, size: int) -> bool:
        """Whether the journal ends as after a crash, in the middle of a sound record."""
        head = os.pread(self._journal, RECORD.size, self._journal_end)
        if len(head) < RECORD.size:
            return True
        kind, block, symbol, count = RECORD.unpack(head)
        length = count * (4 + (8 if kind == b"D" else symbol))
        sound = kind == b"D" and not block and not symbol and count <= UNWRITTEN
        if kind == b"S":
            cut = self.geometry
            sound = block < cut.blocks and symbol == cut.symbol_size and count <= 2 * cut.k + 256
        return sound and self._journal_end + RECORD.size + length + CRC.size > size

    def _keep_aside(self) -> None:
        """Keep the damaged journal for whoever asks why, and go on with a copy."""
        self.damaged = set_aside(self.folder, "journal")
        self.close()
        aside = os.open(
            self.damaged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder
        )
        try:
            copy(aside, self._journal, self._journal_end)
        finally:
            os.close(aside)

    def _compact(self) -> None:
        """Write the journal anew without the symbols of blocks recovered since."""
        living = sum(n * (4 + size) for p in self._symbols.values() for _, n, size in p)
        self._compact_at = 2 * self._journal_end
        if 2 * living > self._journal_end:
            return
        end, checks = self._journal_end, list(self._journal_checks())
        old = self._journal
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        new = os.open("journal.new", flags, MODE, dir_fd=self.folder)
        descriptors = self._open()
        self._descriptors = descriptors._replace(journal=new)
        before, self._journal_end, self._symbols = self._symbols, 0, {}
        try:
            for at in range(0, len(checks), UNWRITTEN):
                pairs = np.array(checks[at : at + UNWRITTEN], np.uint64)
                content = pairs[:, 0].astype("<u4"), pairs[:, 1].astype("<u8")
                self._append(b"D", 0, 0, len(pairs), *content)
            for block, places in before.items():
                if not self.done[block]:
                    self.park(block, *self._read_symbols(old, places))
            os.fsync(new)
            os.rename("journal.new", "journal", src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except OSError:
            os.close(new)
            self._descriptors, self._journal_end, self._symbols = descriptors, end, before
            raise
        os.close(old)
        self._compact_at = max(COMPACT, 2 * self._journal_end)

    def _load_record(self, end: int) -> bool:
        at = self._journal_end
        head = os.pread(self._journal, RECORD.size, at)
        if len(head) < RECORD.size:
            return False
        kind, block, size, count = RECORD.unpack(head)
        length = count * (4 + (8 if kind == b"D" else size))
        if length > MAX_RECORD or at + RECORD.size + length + CRC.size > end:
            return False
        content = os.pread(self._journal, length + CRC.size, at + RECORD.size)
        if CRC.pack(crc32c(head + content[:length])) != content[length:]:
            return False
        self._journal_end = at + RECORD.size + length + CRC.size
        if kind == b"D":
            blocks, checks = _done_record(content, count)
            there = blocks < self.geometry.blocks
            self.done[blocks[there]] = checks[there] != WRONG
        elif block < self.geometry.blocks and size == self.geometry.symbol_size:
            self._symbols.setdefault(block, []).append((at + RECORD.size, count, size))
        return True

    def _read_symbols(self, journal: int, places: Iterable[tuple[int, int, int]]) -> tuple[I64, U8]:
        """Symbols from a journal's records: (n,), (n, S). places: offset, count, S."""
        numbers, symbols = (
            [np.empty(0, np.int64)],
            [np.empty((0, self.geometry.symbol_size), np.uint8)],
        )
        for at, count, size in places:
            raw = os.pread(journal, count * (4 + size), at)
            if len(raw) == count * (4 + size):
                numbers.append(np.frombuffer(raw, "<u4", count).astype(np.int64))
                symbols.append(np.frombuffer(raw, np.uint8, offset=4 * count).reshape(count, size))
        return np.concatenate(numbers), np.concatenate(symbols)

    def _journal_checks(self) -> Iterator[tuple[int, int]]:
        """Recovered blocks and their CRC-64, from the journal, the last word on each block."""
        last: dict[int, int] = {}
        at = 0
        while at < self._journal_end:
            kind, _, size, count = RECORD.unpack(os.pread(self._journal, RECORD.size, at))
            length = count * (4 + (8 if kind == b"D" else size))
            if kind == b"D":
                blocks, checks = _done_record(
                    os.pread(self._journal, length, at + RECORD.size), count
                )
                last.update(zip(blocks.tolist(), checks.tolist(), strict=True))
            at += RECORD.size + length + CRC.size
        there = len(self.done)  # a record may be of other content that was here before
        return ((b, check) for b, check in last.items() if b < there and self.done[b])

    def _keep_announcement(self, announcement: bytes) -> None:
        """Keep the manifest beside its parts; a different one there means other content."""
        try:
            held = read_file(self.folder, "announcement")
        except FileNotFoundError:
            held = b""
        if held == announcement:
            return
        if held:
            self.begin_anew()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open("announcement", flags, MODE, dir_fd=self.folder)
        try:
            write_all(descriptor, announcement, 0)
        finally:
            os.close(descriptor)


def _done_record(content: bytes, count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Block numbers and CRC-64s of a 'D' record's content."""
    return np.frombuffer(content, "<u4", count), np.frombuffer(content, "<u8", count, 4 * count)
