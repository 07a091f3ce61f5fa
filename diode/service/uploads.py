"""What a receiver does about its outbox: has it uploaded, beside the listening.

    waiting -> under way -> stored: taken out of the outbox, and told
       ^           |
       '-- failed --'

All of it happens in `step`, which the listening loop calls now and then and which never waits. So a
store that is slow, or away for weeks, holds up nothing: what it has yet to get lies in
the outbox, and more than the quota allows is not begun.

After a failure one upload at a time is tried, and the next one later each time; a success ends
that. What fails goes to the end of the queue, and what is refused waits by itself, so that a file
which the store will never take does not stand in the way of the others. The first failure, and
one a minute, are told.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from diode.errors import ConfinementError, DestinationError, UsageError
from diode.objects import escape
from diode.sink import uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.service.disk import Disk
    from diode.sink.outbox import Outbox, Waiting

AHEAD = 4
"""Requests handed over for each upload at a time, so that none waits for the next step."""
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two attempts while nothing succeeds."""
TOLD = 60.0
"""Seconds between two reports of trouble."""
PATIENCE = 60.0
"""Seconds to wait at the end for a store that is away."""
ALL_ALIKE = 3
"""Refusals one after the other that are taken for the store's answer to everything."""
PAUSE = 0.05
START = 60.0
"""Seconds in which the process must have begun: on a slow machine its libraries take a while."""

Facts = dict[str, Any]
"""What is told of an object when it is in the store."""


class Told(Protocol):
    """Who is told what becomes of uploads."""

    @property
    def leaving(self) -> Callable[[str, str], object]:
        """Is told, where work on the disk is done, which path leaves the outbox for where."""

    def stored(self, facts: Facts, answer: uploader.Stored) -> None:
        """An object is in the store."""

    def trouble(self, error: DestinationError, waiting: int) -> None:
        """The store did not take something; so many wait."""

    def notice(self, text: str) -> None:
        """Something that the operator should know."""


@dataclass(slots=True)
class File:
    """A file or an empty folder of the outbox."""

    path: str
    size: int
    sha256: str
    folder: bool
    facts: list[Facts]
    """One for each object that has this content and this place."""
    refused: int = 0
    """Times that the store refused it."""
    again: float = 0.0
    """When it may be tried again."""


@dataclass(slots=True)
class Uploads:
    """The files of an outbox on their way into a store."""

    process: Process
    told: Told
    disk: Disk
    outbox: Outbox
    clock: Callable[[], float] = time.monotonic
    stored: int = 0
    gone: int = 0
    """Files that will not get there: the outbox does not have them as they came."""
    failures: int = 0
    """One after the other, without a success."""
    _files: dict[str, File] = field(default_factory=dict)
    _queue: deque[File] = field(default_factory=deque)
    _under_way: dict[int, File] = field(default_factory=dict)
    _number: int = 0
    _again: float = 0.0
    _since: float = 0.0
    """When the failures began."""
    _told: float | None = None
    _trouble: DestinationError | None = None
    _ended: bool = False

    @property
    def waiting(self) -> int:
        """Files that are not in the store yet."""
        return len(self._files)

    def files(self) -> list[File]:
        """These."""
        return list(self._files.values())

    def left(self, waiting: Iterable[Waiting], facts: dict[str, list[Facts]]) -> None:
        """What an earlier run left. facts: what was noted of it, by path."""
        for one in waiting:
            known = _known(one, facts.get(one.path, []))
            sha256 = "" if one.folder else known[0].get("sha256", "")
            self._take(File(one.path, one.size, sha256, one.folder, known))

    def add(self, facts: Facts, *, folder: bool = False) -> None:
        """An object lies in the outbox: name, path, size, sha256 and what else is told of it."""
        file = self._files.get(facts["path"])
        if file is None:
            sha256 = "" if folder else facts["sha256"]
            self._take(File(facts["path"], facts["size"], sha256, folder, [facts]))
        else:
            file.facts.append(facts)  # the same content once more

    def _take(self, file: File) -> None:
        self._files[file.path] = file
        self._queue.append(file)

    def step(self) -> None:
        """Hear what the uploader has to say and give it more to do."""
        for answer in self.process.answers():
            self._heed(answer)
        if self.process.ended and not self._ended:
            self._ended = True
            self._failed_with(uploader.Failed(0, "the process that uploads has ended", ENDED))
        self._ask()

    def _ask(self) -> None:
        now = self.clock()
        most = 1 if self.failures else AHEAD * self.process.at_once
        for _ in range(len(self._queue)):
            if len(self._under_way) >= most or now < self._again:
                return
            file = self._queue.popleft()
            if now < file.again:
                self._queue.append(file)
                continue
            self._number += 1
            self._under_way[self._number] = file
            self.process.ask(
                uploader.Upload(self._number, file.path, file.size, file.sha256, file.folder)
            )

    def _heed(self, answer: uploader.Answer) -> None:
        match answer:
            case uploader.Ready():  # a worker died, and this one knows of nothing
                self._queue.extendleft(reversed(self._under_way.values()))
                self._under_way.clear()
                self.told.notice("the process that uploads died and was begun anew")
            case uploader.Stored(number) if file := self._under_way.pop(number, None):
                self.failures, self._trouble = 0, None
                self._again = 0.0
                self._take_away(file, answer)
            case uploader.Failed(number) if file := self._under_way.pop(number, None):
                self._failed(file, answer)
            case _:
                pass  # of a request that was made again meanwhile

    def _take_away(self, file: File, answer: uploader.Stored) -> None:
        def removed(outcome: object) -> None:
            del self._files[file.path]
            self.stored += len(file.facts)
            for facts in file.facts:
                self.told.stored(facts, answer)
            if isinstance(outcome, DestinationError):
                self.told.notice(f"{outcome}; it is in the store and stays in the outbox too")

        def leave() -> None:
            self.told.leaving(file.path, answer.at)
            self.outbox.take_away(file.path, file.size)

        self.disk.do(leave, removed)

    def _failed(self, file: File, answer: uploader.Failed) -> None:
        if answer.gone:
            self._files.pop(file.path)
            self.gone += 1
            self.outbox.elsewhere -= file.size
            self.told.notice(f"{file.path} is not uploaded: {answer.message}")
            return
        if answer.refused:
            file.again = self.clock() + _pause(file.refused)
            file.refused += 1
        self._queue.append(file)
        self._failed_with(answer)

    def _failed_with(self, answer: uploader.Failed) -> None:
        now = self.clock()
        if not self.failures:
            self._since = now
        self.failures += 1
        self._again = now + _pause(self.failures - 1)
        self._trouble = DestinationError(answer.message, hint=answer.hint)
        if self._told is None or now - self._told >= TOLD:
            self._told = now
            self.told.trouble(self._trouble, self.waiting)

    @property
    def hopeless(self) -> bool:
        """Whether waiting longer makes no sense: refused, or away for too long."""
        if not self.failures:
            return False
        files = self._files.values()
        refused = [file for file in files if file.refused]
        alike = len(refused) == len(files) or (self.failures >= ALL_ALIKE and bool(refused))
        return alike or self._ended or self.clock() - self._since >= PATIENCE

    def finish(self, stopped: Callable[[], bool]) -> None:
        """Wait until all is in the store. Raises DestinationError when that makes no sense.

        stopped: whether somebody does not want to wait any more.
        """
        while self._files and not stopped():
            self.step()
            self.disk.settle(wait=True)
            if self._files and self.hopeless:
                assert self._trouble is not None
                raise DestinationError(
                    f"not all is stored ({len(self._files):,} in the outbox): {self._trouble}",
                    hint=f"the next start uploads the rest; {self._trouble.hint}",
                )
            self.process.wait(PAUSE)
        if self.gone:
            raise DestinationError(
                f"not all is stored: the outbox does not have {self.gone:,} as it came",
                hint="see the warnings; check the disk of --state, and have it sent again",
            )


def _known(waiting: Waiting, noted: list[Facts]) -> list[Facts]:
    """What is told of a file. Notes may be missing, or of another one that lay there before."""
    if waiting.known is None:
        return noted or [{"name": waiting.path, "path": waiting.path, "size": waiting.size}]
    key, name, size, digest = waiting.known
    sha256 = digest.hex()
    bare = {"name": escape(name), "path": waiting.path, "size": size, "sha256": sha256}
    bare |= {"sender": key.sender, "number": key.number}
    return [facts for facts in noted if facts.get("sha256") == sha256] or [bare]


def _pause(failures: int) -> float:
    """Seconds until the next attempt after one more than so many."""
    return min(LONGEST, SHORTEST * float(1 << min(failures, 16)))


ENDED = "start the receiver again: what came stays in the outbox"


class Process:
    """The uploading process, as its receiver has it. To be started before a confinement."""

    def __init__(self, url: str, outbox: str, sandbox: uploader.Sandbox) -> None:
        """Start it, and wait until it is ready. Raises UsageError where it cannot be.

        outbox: the folder it may read.
        """
        self.at_once = 1
        self.done: list[str] = []
        self.missing: list[str] = []
        """What of it is confined, and what is not."""
        self.ended = False
        self._heard = b""
        self._unsent = bytearray()
        self._process = subprocess.Popen(
            uploader.command("supervise"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries may say there what must not be shown
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._into, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._into, False)
        os.set_blocking(self._out, False)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        try:
            settings = uploader.Settings(url, os.path.abspath(outbox), sandbox)
            self._unsent += msgspec.json.encode(settings) + b"\n"
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end and not self.ended:
            for answer in self.answers():
                match answer:
                    case uploader.Ready(at_once, done, missing):
                        self.at_once = at_once
                        self.done, self.missing = done, missing
                        return
                    case uploader.Unusable(message, hint, unconfined):
                        kind = ConfinementError if unconfined else UsageError
                        raise kind(message, hint=hint)
                    case _:
                        pass
            self.wait(PAUSE)
        raise UsageError("the process that uploads does not start", hint="see: diode recv -v")

    @property
    def number(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    def ask(self, request: uploader.Upload) -> None:
        """Hand over a request; never waits."""
        self._unsent += uploader.encode(request)
        self._flush()

    def answers(self) -> list[uploader.Answer]:
        """What it has said since; never waits."""
        self._flush()
        while True:
            try:
                piece = os.read(self._out, 1 << 16)
            except BlockingIOError:
                break
            if not piece:
                self.ended = True
                break
            self._heard += piece
        *lines, self._heard = self._heard.split(b"\n")
        found = []
        for line in filter(None, lines):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                found.append(msgspec.json.decode(line, type=uploader.Answer))
        return found

    def wait(self, seconds: float) -> None:
        """Until it says something, or so long."""
        if self.ended:
            time.sleep(seconds)
        else:
            self._poll.poll(seconds * 1000)

    def close(self) -> None:
        """It ends by itself when nobody asks it for anything any more."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._unsent:
                del self._unsent[: os.write(self._into, self._unsent)]
