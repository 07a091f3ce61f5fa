"""Objects ready for a sink, and what the sinks' tests ask about folders."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diode.code import CODES
from diode.events import Key
from diode.objects import Announcement, Manifest, Status, Type
from diode.sink import Delivered, Sink

K, SYMBOL = 4, 64
BLOCK = K * SYMBOL - 8
NOBODY = 65534


@dataclass(frozen=True)
class Thing:
    """An object as the receiver hands it to a sink."""

    content: bytes
    name: bytes = b"report.pdf"
    key: Key = field(default=Key(7, 1))
    mtime: int | None = 1_600_000_000_123_456_789
    type: Type = Type.FILE
    digest: bytes | None = None

    @property
    def manifest(self) -> Manifest:
        digest = self.digest or hashlib.sha256(self.content).digest()
        size = len(self.content)
        cut = (CODES["zfec"].id, K, 6, SYMBOL)
        return Manifest(Status.COMPLETE, self.type, self.name, size, digest, *cut, 1, self.mtime)

    @property
    def announcement(self) -> bytes:
        return Announcement(self.manifest).serialize()

    @property
    def blocks(self) -> int:
        return self.manifest.geometry.blocks

    def block(self, number: int) -> np.ndarray:
        piece = self.content[number * BLOCK : (number + 1) * BLOCK]
        return np.frombuffer(piece, np.uint8)

    def announce(self, sink: Sink) -> bool:
        return sink.announce(self.key, self.manifest, self.announcement)

    def write(self, sink: Sink, *numbers: int) -> None:
        for number in numbers or range(self.blocks):
            sink.write(self.key, number, number * BLOCK, self.block(number))

    def deliver(self, sink: Sink) -> Delivered | list[int]:
        return sink.deliver(self.key, self.manifest)

    def give(self, sink: Sink) -> Delivered:
        """All of it, from the announcement to the delivery."""
        assert self.announce(sink)
        if self.blocks:
            self.write(sink)
        delivered = self.deliver(sink)
        assert isinstance(delivered, Delivered)
        return delivered


def some(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def tree(folder: Path, *without: str) -> dict[bytes, object]:
    """Everything below a folder: kind and mode, and what is in it."""
    found: dict[bytes, object] = {}
    top = os.fsencode(folder)
    for here, folders, files in os.walk(top):
        for name in list(folders):
            if os.fsdecode(name) in without:
                folders.remove(name)
        for name in folders + files:
            path = here + b"/" + name
            mode = os.lstat(path).st_mode
            content: object = None
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(mode):
                content = os.readlink(path)
            found[path[len(top) + 1 :]] = (mode, content)
    return found


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may do everything; tests of permissions need to be somebody else."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def reachable(folder: Path) -> Path:
    """The folder, with those above it open to somebody else as far as they are ours."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and not path.is_mount():
            path.chmod(path.stat().st_mode | 0o011)
    return folder


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))
