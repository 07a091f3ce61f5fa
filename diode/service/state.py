"""Who a sender is, kept over its restarts: its id, its object numbers, its frame count.

A number is on disk, fsynced, before it is used on air, so that no object number ever means two things,
whatever instant the power goes. The file is replaced whole: written beside, fsynced, renamed,
directory fsynced. A state that cannot be read is moved aside and a new identity drawn, because
an old number used again would be worse than a new name.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from typing import TYPE_CHECKING, Self

import msgspec

from diode.errors import DestinationError, Locked
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


def default_folder() -> str:
    """Where a sender's state is kept unless --state says otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "diode")


def _draw() -> Identity:
    return Identity(sender=secrets.randbelow(LAST_NUMBER) + 1)


class SenderState:
    """The identity, locked for this process. Use as a context manager."""

    def __init__(self, folder: str) -> None:
        """Raises Locked where another sender uses the folder, DestinationError where it cannot be
        written."""
        self._folder = folder
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lock = os.open("sender.lock", flags, 0o600, dir_fd=self._directory)
        except OSError as error:
            raise DestinationError(
                f"state folder {escape(folder)}: {os.strerror(error.errno or 0)}",
                hint="--state DIR keeps the sender's identity elsewhere",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            os.close(self._directory)
            raise Locked(
                f"another sender is using the identity in {escape(folder)}",
                hint="wait for it, or give this one an identity of its own with --state DIR",
            ) from error
        self._identity = self._load()

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

    def reserve(self, count: int) -> int:
        """Make `count` object numbers this run's; the first of them. On disk when it returns."""
        if self._identity.number + count > LAST_NUMBER:
            self._identity = _draw()
        first = self._identity.number + 1
        self._identity.number += count
        self._save()
        return first

    def count_frames(self, frames: int) -> None:
        """Note how many frames this identity has sent."""
        self._identity.frames = frames
        self._save()

    def close(self) -> None:
        os.close(self._lock)
        os.close(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> Identity:
        try:
            with open(os.path.join(self._folder, "sender.json"), "rb") as file:
                identity = msgspec.json.decode(file.read(1 << 16), type=Identity)
        except FileNotFoundError:
            return _draw()
        except msgspec.MsgspecError:
            os.replace(
                os.path.join(self._folder, "sender.json"),
                os.path.join(self._folder, f"sender.corrupt-{secrets.token_hex(4)}"),
            )
            return _draw()
        if not 0 < identity.sender <= LAST_NUMBER or not 0 <= identity.number <= LAST_NUMBER:
            return _draw()
        return identity

    def _save(self) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open("sender.new", flags, 0o600, dir_fd=self._directory)
            try:
                os.write(descriptor, msgspec.json.encode(self._identity) + b"\n")
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
