"""The machine that is looked at: its files under a root, and what its tools say.

Everything that the checks read of /proc, /sys, /etc and /dev goes through here, so that a folder
of made-up files can stand for a machine. Nothing read here is trusted: a file may be absent,
enormous, a pipe that nobody fills, no text at all. What cannot be read is None, or empty.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diode.doctor import network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGEST = 1 << 20
"""Bytes of a file that are looked at."""
MOST = 100_000
"""Names of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program that runs. command: its words."""

    number: int
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as one user sees it."""

    root: str = "/"
    ask: Callable[..., str | None] = network.said
    """Runs a command; what it prints, or None where it is not there or fails."""
    uid: int = field(default_factory=os.geteuid)
    groups: frozenset[int] = field(
        default_factory=lambda: frozenset((os.getegid(), *os.getgroups()))
    )

    # Files

    def path(self, path: str) -> str:
        """Where that absolute path is really."""
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str | None:
        """A file's text, cut at LARGEST; None where it cannot be read."""
        try:
            descriptor = os.open(self.path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return None
            content = bytearray()
            while len(content) < LARGEST and (piece := os.read(descriptor, LARGEST)):
                content += piece
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return bytes(content[:LARGEST]).decode(errors="replace")

    def line(self, path: str) -> str:
        """The only line of a small file; empty where there is none."""
        return (self.read(path) or "").strip()

    def number(self, path: str, base: int = 10) -> int | None:
        """The number in a file; None where there is none."""
        try:
            return int(self.line(path)[:64], base)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """What is in a folder; empty where there is none."""
        try:
            with os.scandir(self.path(path)) as entries:
                return sorted(entry.name for entry, _ in zip(entries, range(MOST), strict=False))
        except (OSError, ValueError):
            return []

    def status(self, path: str) -> os.stat_result | None:
        """Of what that path leads to; None where there is nothing."""
        try:
            return os.stat(self.path(path))
        except (OSError, ValueError):
            return None

    def real(self, path: str) -> str:
        """The path behind all links, as it is on that machine."""
        try:
            root, real = os.path.realpath(self.root), os.path.realpath(self.path(path))
        except (OSError, ValueError):
            return path
        within = real.removeprefix(root.rstrip("/"))
        return within if within.startswith("/") else "/" + within

    # Users

    def permits(self, path: str, *, write: bool) -> bool:
        """Whether this user may read, or else write, what that path leads to."""
        found = self.status(path)
        if found is None:
            return False
        if self.uid == os.geteuid():  # the kernel knows of access lists, too
            return os.access(
                self.path(path), os.W_OK if write else os.R_OK, effective_ids=os.access in _BY_ID
            )
        if self.uid == 0:
            return True
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return bool(found.st_mode >> shift & (0o2 if write else 0o4))

    def user(self, number: int) -> str:
        """A user's name, or the number."""
        return self._name("/etc/passwd", number)

    def group(self, number: int) -> str:
        """A group's name, or the number."""
        return self._name("/etc/group", number)

    def members(self, group: int) -> list[str]:
        """Who is in that group, as it is written down."""
        for parts in self._table("/etc/group"):
            if len(parts) > 3 and parts[2] == str(group):
                return [name for name in parts[3].split(",") if name]
        return []

    def _name(self, path: str, number: int) -> str:
        for parts in self._table(path):
            if len(parts) > 2 and parts[2] == str(number):
                return parts[0]
        return str(number)

    def _table(self, path: str) -> Iterator[list[str]]:
        for line in (self.read(path) or "").splitlines():
            yield line.split(":")

    # Processes

    def processes(self) -> Iterator[Process]:
        """Those that run now; what has ended meanwhile is left out."""
        for number in self.names("/proc"):
            if not number.isdecimal():
                continue
            name = self.line(f"/proc/{number}/comm")
            words = (self.read(f"/proc/{number}/cmdline") or "").rstrip("\0").split("\0")
            if name:
                yield Process(int(number), name, tuple(words))

    def runs(self, *names: str) -> str:
        """The first of these programs that runs; empty if none does."""
        wanted = {name[:15]: name for name in names}  # what the kernel keeps of a name
        return next((wanted[p.name] for p in self.processes() if p.name in wanted), "")

    def holders(self, path: str) -> list[Process]:
        """Who has that file open, as far as this user may know."""
        real = self.real(path)
        found = []
        for process in self.processes():
            folder = f"/proc/{process.number}/fd"
            for descriptor in self.names(folder):
                try:
                    target = os.readlink(self.path(f"{folder}/{descriptor}"))
                except (OSError, ValueError):
                    continue
                if target == real or (target.startswith("/dev/") and self.real(target) == real):
                    found.append(process)
                    break
        return found


_BY_ID = os.supports_effective_ids
