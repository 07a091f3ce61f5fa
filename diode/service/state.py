"""Who a sender is, kept over its restarts: its id, its object numbers, its frame count, its secret.

A number is on disk, fsynced, before it is used on air, so that no object number ever means two
things, whatever instant the power goes. The file is replaced whole: written beside, fsynced,
renamed, directory fsynced. A state that cannot be read is moved aside and a new identity drawn,
because an old number used again would be worse than a new name.

The secret is what the keys of encrypted objects are derived from (envelope.py). Whoever reads it
can decrypt all that this sender ever encrypted, so the file is its owner's alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from typing import TYPE_CHECKING, Self

import msgspec

from diode.confine.folders import check_folder
from diode.errors import DestinationError, Locked
from diode.keytext import KEY
from diode.objects import escape

if TYPE_CHECKING:
    from types import TracebackType

LAST_NUMBER = (1 << 32) - 1


class Identity(msgspec.Struct):
    """The content of `sender.json`."""

    sender: int
    number: int = 0
    """Highest object number used."""
    frames: int = 0
    """Frames sent, as of the last orderly end of a run."""
    streams: int = 0
    """Highest stream of records used (wire 11.2)."""
    secret: bytes = msgspec.field(default_factory=lambda: secrets.token_bytes(KEY))
    """In JSON it is base64."""


def default_folder() -> str:
    """Where a sender's state is kept unless --state says otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "diode")


def _draw() -> Identity:
    return Identity(sender=secrets.randbelow(LAST_NUMBER) + 1)


def _read(content: bytes) -> Identity | None:
    """The identity in these bytes, or None where they are not to be trusted."""
    try:
        identity = msgspec.json.decode(content, type=Identity)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    good = (
        0 < identity.sender <= LAST_NUMBER
        and 0 <= identity.number <= LAST_NUMBER
        and 0 <= identity.frames < 1 << 63
        and 0 <= identity.streams <= LAST_NUMBER
        and len(identity.secret) == KEY
    )
    return identity if good else None


class SenderState:
    """The identity, locked for this process. Use as a context manager."""

    def __init__(self, folder: str) -> None:
        """Raises Locked where another sender uses the folder, DestinationError where it cannot be
        written.
        """
        self._folder = folder
        with contextlib.ExitStack() as opened:
            try:
                os.makedirs(folder, mode=0o700, exist_ok=True)
                check_folder(folder)
                self._directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.callback(os.close, self._directory)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                lock = os.open("sender.lock", flags, 0o600, dir_fd=self._directory)
                opened.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._identity = self._load()
            except BlockingIOError as error:
                raise Locked(
                    f"another sender is using the identity in {escape(folder)}",
                    hint="wait for it, or give this one an identity of its own with --state DIR",
                ) from error
            except OSError as error:
                raise DestinationError(
                    f"state folder {escape(folder)}: {os.strerror(error.errno or 0)}",
                    hint="--state DIR keeps the sender's identity elsewhere",
                ) from error
            self._opened = opened.pop_all()

    @property
    def folder(self) -> str:
        """Its path."""
        return self._folder

    @property
    def directory(self) -> int:
        """A descriptor of the folder."""
        return self._directory

    @property
    def sender(self) -> int:
        return self._identity.sender

    @property
    def number(self) -> int:
        """Highest object number used."""
        return self._identity.number

    @property
    def frames(self) -> int:
        return self._identity.frames

    @property
    def secret(self) -> bytes:
        """32 bytes to derive keys of objects from; on disk once `reserve` has returned."""
        return self._identity.secret

    def reserve(self, count: int) -> int:
        """Make `count` object numbers this run's; the first of them. On disk when it returns."""
        self.make_room(count)
        first = self._identity.number + 1
        self._identity.number += count
        try:
            self._save()
        except DestinationError:
            self._identity.number -= count  # nobody gets them
            raise
        return first

    def begin_stream(self) -> int:
        """The number of a new stream of records, above all before. On disk when it returns."""
        if self._identity.streams >= LAST_NUMBER:
            self._identity = _draw()
        self._identity.streams += 1
        self._save()
        return self._identity.streams

    def make_room(self, count: int) -> None:
        """Draw a new identity if this one has fewer numbers left than that."""
        if not self.room(count):
            self._identity = _draw()

    def room(self, count: int) -> bool:
        """Whether this identity has so many numbers left."""
        return self._identity.number + count <= LAST_NUMBER

    def count_frames(self, frames: int) -> None:
        """Note how many frames this identity has sent."""
        self._identity.frames = frames
        self._save()

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _load(self) -> Identity:
        here = self._directory
        try:
            descriptor = os.open("sender.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=here)
        except FileNotFoundError:
            return _draw()
        try:
            identity = _read(os.read(descriptor, 1 << 16))
        finally:
            os.close(descriptor)
        if identity is None:
            aside = f"sender.corrupt-{secrets.token_hex(4)}"
            os.rename("sender.json", aside, src_dir_fd=here, dst_dir_fd=here)
            return _draw()
        return identity

    def _save(self) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open("sender.new", flags, 0o600, dir_fd=self._directory)
            try:
                content = memoryview(msgspec.json.encode(self._identity) + b"\n")
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(
                "sender.new", "sender.json", src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
            os.fsync(self._directory)
        except OSError as error:
            raise DestinationError(
                f"state folder {escape(self._folder)}: {os.strerror(error.errno or 0)}",
                hint="an object number must be on disk before it goes on air",
            ) from error
