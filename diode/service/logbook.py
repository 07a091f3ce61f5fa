"""What a sender was sending when it was killed, and how far it had come.

A run that was not finished is kept in the state folder as `unfinished-KEY`, where the key stands
for the command: the same paths, options and carrier find it again. It is text of three lines,
each behind its CRC-32:

    0            how far the run has come, and how many frames may have been sent
    SLOT         the same, of the other time
    2 * SLOT     the objects: number and manifest, in the order on air

The objects are on disk, fsynced, before the first of them is on air, in a file that replaces
another whole. How far the run has come is written over in place about once a second, one line after
the other, so that a line cut short leaves the other. It is not fsynced: after a kill it is
there, after a power cut the kernel has written it half a minute ago, and an old place only
means that frames are sent again.

Never are frames left out that may not have left. A place counts HELD seconds after the carrier
took its bytes, which is longer than any carrier holds them (50 ms of line time, pace.py; a
second for a sound card). A number of frames counts before they are sent, and with those that may
follow until the next time: the count leaps a little after a kill, and never repeats.

An object is the same when its manifest is: name, content, time, geometry. One that is not is
withdrawn under its old number and sent under a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec
from msgspec import Meta

from diode.errors import DestinationError
from diode.group import Place  # noqa: TC001  msgspec reads the annotation
from diode.objects import Manifest, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOT = 512
"""Bytes of a line that is written over: a sector, which a disk writes whole."""
HELD = 2.0
"""Seconds after which what a carrier took has left."""
EVERY = 1.0
"""Seconds between two notes of how far the run has come."""
FEWEST = 16
"""Frames that are counted ahead at least."""
MOST_RUNS = 16
"""Unfinished runs that are kept; beyond, the oldest is forgotten."""
PREFIX = "unfinished-"


class Entry(msgspec.Struct):
    """An object of a run."""

    number: int
    manifest: bytes
    """As on the wire (wire 5.2)."""
    since: int = 1
    """The first pass in which it is sent."""
    void: bool = False
    """Its source has failed."""

    @property
    def readable(self) -> bool:
        try:
            return not msgspec.msgpack.decode(self.manifest, type=Manifest).problem()
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False


class Run(msgspec.Struct):
    """What one command sends."""

    sender: int
    about: str
    """The command in words."""
    entries: list[Entry]
    resumable: bool = True

    @property
    def sound(self) -> bool:
        """Whether each number is there once and each manifest can be read."""
        numbers = {entry.number for entry in self.entries}
        return len(numbers) == len(self.entries) and all(e.readable for e in self.entries)

    def fits(self, sender: int, number: int) -> bool:
        """Whether it is of that sender, whose highest number used is this."""
        return self.sender == sender and all(0 < e.number <= number for e in self.entries)


class Reached(msgspec.Struct):
    """How far a run has come."""

    turn: int = 0
    """Times that this was written; the higher one is the newer one."""
    frames: Annotated[int, Meta(ge=0)] = 0
    """Frames that the sender may have sent, ever."""
    place: Place | None = None


class Unfinished(msgspec.Struct):
    """A run as it was found."""

    name: str
    run: Run
    reached: Reached


class Log(Protocol):
    """Is told what the sending loop does."""

    def going(self, frames: int) -> None:
        """So many frames will have been sent, ever, when the next write is done."""

    def handed(self, frames: int, place: Place | None) -> None:
        """The place that will be reached when so many frames of this run have been written."""

    def wrote(self, frames: int) -> None:
        """The carriers took so many frames of this run in all."""


class Unlogged:
    """Keeps nothing."""

    def going(self, frames: int) -> None:
        """Nothing is counted."""

    def handed(self, frames: int, place: Place | None) -> None:
        """Nothing is kept."""

    def wrote(self, frames: int) -> None:
        """Nothing is kept."""

    def void(self, number: int) -> None:
        """Nothing is kept."""

    def close(self, frames: int, *, finished: bool) -> None:
        """Nothing is open."""


def key_of(*parts: object) -> str:
    """The key of a command, from all that decides what it sends and on what."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


class Logbook:
    """The unfinished runs in a sender's state folder."""

    def __init__(
        self, directory: int, sender: int, number: int, notice: Callable[[str], None]
    ) -> None:
        """directory: a descriptor of the folder, which the caller has locked. number: the highest
        that the sender used.

        Raises DestinationError where the folder cannot be read or written.
        """
        self._directory = directory
        self._notice = notice
        self._runs: dict[str, Unfinished] = {}
        with _explained("cannot be read"):
            for name in sorted(os.listdir(directory)):
                if name.startswith(PREFIX):
                    self._load(name, sender, number)
        while len(self._runs) > MOST_RUNS:
            oldest = min(self._runs.values(), key=_age)
            notice(f"too many runs were not finished, forgetting one: {oldest.run.about}")
            self.forget(oldest.name)

    @property
    def frames(self) -> int:
        """Frames that unfinished runs may have sent."""
        return max((u.reached.frames for u in self._runs.values()), default=0)

    @property
    def runs(self) -> list[Unfinished]:
        """Those that can be gone on with, the oldest first."""
        return sorted(self._runs.values(), key=_age)

    def find(self, key: str) -> Unfinished | None:
        """The unfinished run of that command."""
        return self._runs.get(PREFIX + key)

    def forget(self, name: str) -> None:
        """Do not go on with that run. Raises DestinationError."""
        with _explained("cannot be written"):
            del self._runs[name]
            os.unlink(name, dir_fd=self._directory)
            os.fsync(self._directory)

    def begin(
        self, key: str, run: Run, reached: Reached, clock: Callable[[], float] = time.monotonic
    ) -> RunLog:
        """Keep a run from now on; it is on disk when this returns. Raises DestinationError."""
        return RunLog(self._directory, PREFIX + key, run, reached, self._notice, clock)

    def _load(self, name: str, sender: int, number: int) -> None:
        if name.endswith(".new"):
            os.unlink(name, dir_fd=self._directory)
            return
        found = _read(name, self._directory)
        if found is None:
            aside = f"corrupt-{secrets.token_hex(4)}-{name}"
            os.rename(name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._notice(
                f"what an earlier run had sent cannot be read and is set aside as {aside}; "
                f"if it was not finished, it begins anew"
            )
        elif not found.run.fits(sender, number):
            self._notice(f"not finished, by an earlier identity of this sender: {found.run.about}")
            os.unlink(name, dir_fd=self._directory)
        else:
            self._runs[name] = found


class RunLog:
    """The run that is on air."""

    def __init__(
        self,
        directory: int,
        name: str,
        run: Run,
        reached: Reached,
        notice: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._name = name
        self._run = run
        self._reached = reached
        self._notice = notice
        self._clock = clock
        self._descriptor = -1
        self._lost = False
        self._noted_at = clock()
        self._noted_frames = reached.frames
        self._frames = reached.frames
        self._handed: deque[tuple[int, Place | None]] = deque()
        self._written: Place | None = reached.place
        self._leaving: deque[tuple[float, Place | None]] = deque()
        self._replace()

    def going(self, frames: int) -> None:
        """Count frames before they are sent."""
        self._frames = frames
        if frames > self._reached.frames:
            self._note(frames + max(FEWEST, 2 * (frames - self._noted_frames)))

    def handed(self, frames: int, place: Place | None) -> None:
        """Remember the place until its frames are written."""
        self._handed.append((frames, place))

    def wrote(self, frames: int) -> None:
        """See which places the carriers have got to."""
        while self._handed and self._handed[0][0] <= frames:
            self._written = self._handed.popleft()[1]
        if self._clock() - self._noted_at >= EVERY:
            self._note(self._frames + max(FEWEST, 2 * (self._frames - self._noted_frames)))

    def void(self, number: int) -> None:
        """The source of that object has failed."""
        for entry in self._run.entries:
            if entry.number == number and not entry.void:
                entry.void = True
                try:
                    self._replace()
                except DestinationError as error:  # found out again after a kill
                    self._notice(str(error))

    def close(self, frames: int, *, finished: bool) -> None:
        """frames: sent by this sender, ever. finished: forget the run, for it has left whole."""
        if not finished:
            self._note(frames)
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        if finished:
            with _explained("cannot be written"):
                os.unlink(self._name, dir_fd=self._directory)
                os.fsync(self._directory)

    def _note(self, frames: int) -> None:
        """Write down how far the run has come. A disk that does not take it stops no sending."""
        now = self._clock()
        while self._leaving and self._leaving[0][0] <= now - HELD:
            self._reached.place = self._leaving.popleft()[1]
        self._leaving.append((now, self._written))
        self._noted_at, self._noted_frames = now, self._frames
        self._reached.frames = frames
        self._reached.turn += 1
        at = self._reached.turn % 2 * SLOT
        try:
            os.pwrite(self._descriptor, _line(self._reached, SLOT), at)
        except OSError as error:
            if not self._lost:
                self._notice(
                    f"how far the sending has come cannot be written down: "
                    f"{os.strerror(error.errno or 0)}; killed now, it would begin this pass anew"
                )
            self._lost = True

    def _replace(self) -> None:
        """Put the whole file in its place."""
        new = f"{self._name}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with _explained("an object must be on disk before it goes on air"):
            descriptor = os.open(new, flags, 0o600, dir_fd=self._directory)
            try:
                slots = [_line(self._reached, SLOT)] * 2
                content = memoryview(b"".join([*slots, _line(self._run)]))
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
                os.rename(new, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                os.fsync(self._directory)
            except BaseException:
                os.close(descriptor)
                raise
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = descriptor


def _age(unfinished: Unfinished) -> int:
    return max((e.number for e in unfinished.run.entries), default=0)


def _line(content: msgspec.Struct, length: int = 0) -> bytes:
    """A line with its check; filled up with spaces to that length."""
    text = msgspec.json.encode(content)
    return (b"%08x " % zlib.crc32(text) + text).ljust(length - 1) + b"\n"


def _parse(line: bytes, kind: type[Run | Reached]) -> Run | Reached | None:
    """What a line says, or None where it is not to be trusted."""
    text = line[9:].rstrip()
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _read(name: str, directory: int) -> Unfinished | None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        content = file.read()
    run = _parse(content[2 * SLOT :], Run)
    if not isinstance(run, Run) or not run.sound:
        return None
    slots = (_parse(content[at : at + SLOT], Reached) for at in (0, SLOT))
    noted = [slot for slot in slots if isinstance(slot, Reached)]
    return Unfinished(name, run, max(noted, key=lambda n: n.turn, default=Reached()))


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DestinationError(
            f"state folder: {escape(what)}: {os.strerror(error.errno or 0)}",
            hint="--state DIR keeps the sender's state elsewhere",
        ) from error
