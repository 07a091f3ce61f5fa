"""The inbox: verified objects become files, and nothing else ever does.

An object is collected in a part file inside the inbox's own state directory, on the same file
system. When its SHA-256 is right: fsync of the data, rename without overwriting, fsync of the
directories. A name already taken gets a numbered sibling (`report.2.pdf`) unless the
content there is identical, which makes the object a duplicate. Files are 0440 or what --mode says,
never executable, never of the sender's owner; directories are made one component at a time
through descriptors that follow no symbolic link.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from diode import bundle
from diode.confine.folders import check_folder
from diode.errors import DestinationError
from diode.incoming import NOTHING_KNOWN
from diode.objects import Announcement, Malformed, Manifest, Type, escape
from diode.sink import Delivered, Refused, Unfinished, files
from diode.sink.age import Ages
from diode.sink.files import OpenFiles, folder_key, folder_name
from diode.sink.ledger import Ledger, must_exist
from diode.sink.memory import Remembering
from diode.sink.parts import Part
from diode.sink.place import DIRECTORY, STATE, Places, may_rename, rename_beside, where_lies
from diode.sink.tables import LEDGER
from diode.sink.trouble import Lost, explained, lock, lost, sync
from diode.sink.unpack import INODE, Unsure, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diode.events import Key
    from diode.frame import I64, U8
    from diode.incoming import Course
    from diode.sink import Delivery, Evicted

DEFAULT_MODE = 0o440
SYNC_SHARE = 20
"""Times as long as syncing took, until it is done again: a slow disk must not stop listening."""


class Inbox(Remembering):
    """A folder that objects are delivered into."""

    def __init__(
        self,
        path: str,
        *,
        state: str | None = None,
        mode: int = DEFAULT_MODE,
        exact_names: bool = False,
        quota: int | None = None,
        expire: float | None = None,
        required: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create what is missing and take the lock.

        quota: bytes of unfinished objects. expire: seconds of listening in which nothing of an
        unfinished object came, after which it is given up. required: as of `Ledger`.
        """
        self.path = path
        self.quota = quota
        self.evicted: Evicted = lambda _key, _why: None
        self.lost: Evicted = lambda _key, _why: None
        self.notices: list[str] = []
        self._clock = clock
        self._ages = Ages(expire)
        self._sync_at = 0.0
        self._parts: dict[Key, Part] = {}
        self._files = OpenFiles()
        self._sizes: dict[Key, int] = {}
        self.held = self.elsewhere = 0
        state = state or os.path.join(path, STATE)
        self.folders: tuple[str, ...] = (path, state)
        ledger = os.path.join(state, LEDGER)
        with explained(path), contextlib.ExitStack() as opened:
            must_exist(ledger, required)
            os.makedirs(path, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._root)
            for inner in (state, os.path.join(state, "parts")):
                os.makedirs(inner, mode=0o700, exist_ok=True)
            check_folder(path, shared=True)
            check_folder(state)
            self._state = os.open(state, DIRECTORY)
            opened.callback(os.close, self._state)
            opened.callback(os.close, lock(self._state, path))
            self._store = os.open("parts", DIRECTORY, dir_fd=self._state)
            opened.callback(os.close, self._store)
            if not may_rename(self._store, self._root):
                raise DestinationError(
                    f"{escape(state)} is on another file system or mount than {escape(path)}",
                    hint="files are renamed over: leave out --state, and it is in the inbox",
                )
            self._ledger = Ledger(ledger, required)
            opened.callback(self._ledger.close)
            self._places = Places(self._root, self._state, mode & 0o666, exact=exact_names)
            if self._ledger.aside:
                self._tell_of_ledger(self._ledger.aside)
            self.state = self._ledger.name
            self._opened = opened.pop_all()

    # Parts ----------------------------------------------------------------------------------

    def unfinished(self) -> Iterator[Unfinished]:
        with self._guarded():
            names = sorted(files.names_in(self._store))
        for name in names:
            key = folder_key(name)
            if key is None:
                continue
            try:
                announcement = files.announcement_of(self._store, name)
                manifest = Announcement.parse(announcement).manifest
            except (FileNotFoundError, NotADirectoryError, Malformed):
                # A crash came before the announcement was written, or after the data had left.
                files.remove_folder(self._store, name)
                continue
            except OSError:  # not ours to judge: it may be readable next time
                continue
            with self._guarded():
                part = Part(self._store, name, manifest.geometry, announcement, self._files)
                if self._ledger.finished(key):
                    part.remove()
                    continue
            self._parts[key] = part
            self._account(key, part)
            self._ages.known(key, part)
            if part.damaged:
                self.notices.append(f"the journal of {key} was damaged and is now {part.damaged}")
            counts = tuple(map(part.symbols_of, parked := part.parked_blocks))
            yield Unfinished(key, announcement, part.done, parked, counts)
        with self._guarded():
            self._complete_begun()

    def _complete_begun(self) -> None:
        """Deliveries that a crash cut short: the inbox shows which of them were done."""
        for begun in self._ledger.begun():
            if begun.key in self._parts:
                continue
            if where_lies(self._root, begun.path, begun.size, begun.sha256):
                self._ledger.complete(begun)
            else:
                self._ledger.withdraw(begun.key)

    def first_to_go(self, keys: Iterable[Key]) -> None:
        first = set(keys)
        for key in [key for key in self._parts if key not in first]:
            self._parts[key] = self._parts.pop(key)  # the oldest is the first one in it

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        with self._guarded():
            if self._ledger.finished(key):
                return False
            held = self._parts.pop(key, None)
            if held is not None:  # the receiver forgot it; the manifest may be another one now
                self.held -= self._sizes.pop(key)
                held.checkpoint()
                held.close()
            part = Part(self._store, folder_name(key), manifest.geometry, announcement, self._files)
            self._parts[key] = part
        self._ages.grown(key)
        self._make_room(key, part)
        return True

    def write(self, key: Key, block: int, offset: int, data: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return  # evicted for quota
        with self._guarded():
            part.write(block, offset, data)
        self._ages.grown(key)
        self._make_room(key, part)

    def park(self, key: Key, block: int, numbers: I64, symbols: U8) -> None:
        part = self._parts.get(key)
        if part is None:
            return
        with self._guarded():
            part.park(block, numbers, symbols)
        self._ages.grown(key)
        self._make_room(key, part)

    def parked(self, key: Key, block: int) -> tuple[I64, U8]:
        part = self._parts.get(key)
        if part is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        with self._guarded():
            return part.parked(block)

    def discard(self, key: Key) -> None:
        part = self._let_go(key)
        if part is not None:
            with contextlib.suppress(OSError):  # what is left is looked at by the next start
                part.remove()

    def _let_go(self, key: Key) -> Part | None:
        part = self._parts.pop(key, None)
        if part is not None:
            self.held -= self._sizes.pop(key)
            self._ages.gone(key)
        return part

    def void(self, key: Key, manifest: Manifest) -> None:
        self.discard(key)
        with self._guarded():
            if not self._ledger.finished(key):
                self._ledger.record(key, manifest, "void")

    def checkpoint(self) -> None:
        """Write down what was recovered, and have it survive a power cut as often as the disk
        can do that.
        """
        now = self._clock()
        for key in self._ages.look(self._parts, now):
            self.discard(key)
            self.evicted(key, f"nothing of it came in {self._ages.expire:.0f} s of listening")
        for key, part in list(self._parts.items()):
            with self._guarded():
                part.checkpoint()
                self._account(key, part)
                if now >= self._sync_at:
                    self._sync(key, part)
        took = self._clock() - now
        self._sync_at = max(self._sync_at, now + SYNC_SHARE * took)

    def _sync(self, key: Key, part: Part) -> None:
        try:
            part.sync()
        except OSError as error:
            self.discard(key)
            self.lost(key, str(lost("what came of it", error)))

    def close(self) -> None:
        with self._opened:
            try:
                self.checkpoint()
            finally:
                for part in self._parts.values():
                    part.close()
                self._parts.clear()

    def _account(self, key: Key, part: Part) -> None:
        self.held += part.size - self._sizes.get(key, 0)
        self._sizes[key] = part.size

    def _make_room(self, growing: Key, part: Part) -> None:
        """Keep all parts within the quota: the object announced first goes first."""
        self._account(growing, part)
        while self.quota is not None and self.held + self.elsewhere > self.quota and self._parts:
            oldest = next((k for k in self._parts if k != growing), growing)
            self.discard(oldest)
            self.evicted(
                oldest, f"the quota of {self.quota} bytes for unfinished objects, see --quota"
            )

    # Delivery -------------------------------------------------------------------------------

    def deliver(self, key: Key, manifest: Manifest, course: Course = NOTHING_KNOWN) -> Delivery:
        part = self._parts.get(key)
        if part is None:
            return None
        with self._guarded():
            if manifest.type == Type.BUNDLE:
                return self._unpack(key, part, manifest, course)
            if part.placed is None:
                if part.digest() != manifest.digest:
                    return self._wrong(key, part)
                path = "/".join(self._places.path_of(manifest.name))
                self._ledger.begin(key, manifest, path, course)
                try:
                    if not self._put(part, manifest):
                        # The ledger keeps "begun": the next start looks whether it is still there.
                        self.discard(key)
                        return part.placed or Delivered("", "", duplicate=False)
                except Lost:
                    self.discard(key)
                    self._ledger.withdraw(key)
                    raise
            delivered = part.placed
            assert delivered is not None
            state = "duplicate" if delivered.duplicate else "delivered"
            self._ledger.record(key, manifest, state, delivered.path, course)
        self.discard(key)
        return delivered

    def _wrong(self, key: Key, part: Part) -> list[int]:
        """The blocks that are to come again."""
        wrong = part.wrong_blocks()
        if not wrong:
            part.begin_anew()
        self._account(key, part)
        return wrong

    def _unpack(self, key: Key, part: Part, manifest: Manifest, course: Course) -> Delivery:
        """Deliver a bundle's files (unpack.py)."""
        content = files.read_all(part.data, manifest.size)
        if hashlib.sha256(content).digest() != manifest.digest:
            return self._wrong(key, part)
        try:
            members = bundle.members(content)
        except Malformed as error:
            self._ledger.record(key, manifest, "void")
            self.discard(key)
            return Refused(f"it is not a bundle: {error}")
        part.staged = len(content) + len(members) * INODE
        self._account(key, part)
        part.checkpoint()  # a restart has to find it whole
        try:
            unpacked = unpack(self._places, part.folder, manifest, content, members)
        except Lost:
            self.discard(key)
            raise
        except Unsure as unsure:
            self._notice_unsure(escape(manifest.name))
            self._let_go(key)  # but keep it for the next start, which finds out what became of it
            part.close()
            return unsure.unpacked
        self._ledger.unpacked(key, manifest, unpacked, course)
        self.discard(key)
        return unpacked

    def _put(self, part: Part, manifest: Manifest) -> bool:
        """Give the content its final name; False where a power cut could still take that back."""
        if manifest.type == Type.DIRECTORY:
            part.placed = self._make_directory(manifest)
            return True
        target, folders, name = self._ready(part, manifest)
        try:
            final, duplicate = rename_beside(
                part.folder, target, name, manifest.size, manifest.digest
            )
            path = "/".join([*folders, final])
            part.placed = Delivered(path, manifest.digest.hex(), duplicate)
            os.fsync(target)
        except OSError as error:
            if part.placed is None or error.errno != errno.EIO:
                raise
            self._notice_unsure(escape(part.placed.path))
            return False
        finally:
            os.close(target)
        return True

    def _notice_unsure(self, what: str) -> None:
        self.notices.append(
            f"{what} is delivered, but where it lies could not be made durable "
            "(Input/output error); it is looked at again at the next start"
        )

    def _ready(self, part: Part, manifest: Manifest) -> tuple[int, list[str], str]:
        """Make the content durable; the folder it belongs in, open, with its path, and the name."""
        *wanted, name = self._places.path_of(manifest.name)
        os.ftruncate(part.data, manifest.size)
        self._places.dress(part.data, manifest.mtime)
        sync(part.data, escape(manifest.name))
        target, folders = self._places.enter(wanted)
        return target, folders, name

    def _make_directory(self, manifest: Manifest) -> Delivered:
        target, made = self._places.enter(self._places.path_of(manifest.name))
        os.close(target)
        return Delivered("/".join(made), manifest.digest.hex(), duplicate=False)
