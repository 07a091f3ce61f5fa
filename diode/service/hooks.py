"""Hooks: commands of the operator that are run after something has happened.

    hooks = Hooks.start({"alarm": [...]})     before anything is confined and any thread begins
    hooks.begin()                             after: a thread for each kind
    hooks.run("alarm", {"DIODE_ALARM": …})    never waits
    for told in hooks.told(): …               what became of it
    hooks.close()

Each kind has a process (hook_process.py) and a thread of its own, and runs one command at a time,
in the order of the calls: an alarm does not wait behind a slow delivery. Calls come from a queue.
The one of `run` is in memory and bounded; when it is full the oldest call is forgotten and counted.
The calls for deliveries are on disk (hook_journal.py), and are owed until they are made.

A command that fails, by a status other than 0, a signal or the time it takes, is run again, after
PAUSES; other calls go on meanwhile. After the last attempt it is given up, aloud. Status LATER is
no failure: it is asked again for as long as it says so. Where order matters (Queue.ordered) nothing
is given up either, for what is behind must not overtake it. Whoever is at the end of a run
(`hurry`) waits at most a second for each attempt; what still waits after the last one is postponed
to the next start.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from diode.errors import DestinationError
from diode.service.hook_journal import Owed
from diode.service.hook_process import TIMEOUT, Ended, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from diode.service.hook_journal import Facts, Journal

PAUSES = (1.0, 5.0, 25.0, 125.0)
"""Seconds before the second, third, … attempt; one attempt more than there are pauses."""
LATER = 75
"""Status of a command that wants to be asked again later: EX_TEMPFAIL of sysexits.h."""
HURRIED = 1.0
MOST_WAITING = 1000
"""Calls in memory."""
MOST_TOLD = 10_000
"""Things to tell that nobody has asked for; of more, the oldest are forgotten."""
TROUBLED = 5.0
"""Seconds until a disk that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Called:
    """A command has ended."""

    kind: str
    name: str
    status: int
    """Exit code, or minus the signal."""
    seconds: float
    attempt: int
    timed_out: bool = False
    given_up: bool = False
    left_out: int = 0
    """Lines of its output that were left out."""
    postponed: bool = False
    """Whether it is left to the next start."""

    @property
    def well(self) -> bool:
        return self.status == 0 and not self.timed_out

    @property
    def later(self) -> bool:
        """Whether the command itself asked for another attempt."""
        return self.status == LATER and not self.timed_out


@dataclass(frozen=True, slots=True)
class Wrote:
    """A command wrote a line; escaped."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something keeps hooks from being run."""

    kind: str
    text: str
    hint: str = ""


Told = Called | Wrote | Trouble


class Queue(Protocol):
    """Where calls come from. Used by one thread, but for what adds to it."""

    ordered: bool
    """Whether a call holds back those behind it, so that none may be given up."""

    def next(self, after: int, unless: Iterable[int] = ()) -> Owed | None:
        """The first call that is due behind that number, and none of these."""

    def get(self, id_: int) -> Owed | None:
        """That call, if it is still due."""

    def made(self, owed: Owed) -> None:
        """It was made."""

    def tried(self, owed: Owed, *, given_up: bool, counted: bool = True) -> None:
        """It failed. counted: towards the attempts that it has."""


class InMemory:
    """Calls that are not worth a disk."""

    ordered = False

    def __init__(self) -> None:
        self._calls: dict[int, Owed] = {}
        self._lock = threading.Lock()
        self._last = 0
        self.forgotten = 0

    def add(self, facts: Facts) -> None:
        with self._lock:
            self._last += 1
            self._calls[self._last] = Owed(self._last, 0, facts)
            if len(self._calls) > MOST_WAITING:
                del self._calls[next(iter(self._calls))]
                self.forgotten += 1

    def next(self, after: int, unless: Iterable[int] = ()) -> Owed | None:
        skipped = set(unless)
        with self._lock:
            fit = (c for c in self._calls.values() if c.id > after and c.id not in skipped)
            return next(fit, None)

    def get(self, id_: int) -> Owed | None:
        with self._lock:
            return self._calls.get(id_)

    def made(self, owed: Owed) -> None:
        with self._lock:
            self._calls.pop(owed.id, None)

    def tried(self, owed: Owed, *, given_up: bool, counted: bool = True) -> None:
        with self._lock:
            if given_up:
                self._calls.pop(owed.id, None)
            elif counted and owed.id in self._calls:
                self._calls[owed.id] = owed._replace(attempts=owed.attempts + 1)


@dataclass(slots=True)
class _Kind:
    """One kind of hook: its process, its queue, its thread."""

    name: str
    process: Process
    queue: Queue
    variables: Callable[[Facts], Mapping[str, str]]
    tell: Callable[[Told], None]
    clock: Callable[[], float] = time.monotonic
    idle: bool = False
    """Whether nothing is due, and nothing waits for another attempt."""
    dead: bool = False
    hurried: bool = False
    _again: dict[int, float] = field(default_factory=dict)
    """When calls that failed may be tried again."""
    _tries: dict[int, int] = field(default_factory=dict)
    """How often those were made in this run."""
    _postponed: set[int] = field(default_factory=set)
    _work: threading.Condition = field(default_factory=threading.Condition)
    _asked: int = 0
    _stopped: bool = False
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"hook {self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be more to do."""
        with self._work:
            self.idle = False
            self._asked += 1
            self._work.notify()

    def close(self) -> None:
        """End it, and the command that runs; its call is owed still."""
        with self._work:
            self._stopped = True
            self._work.notify()
        self.process.hang_up()
        if self._thread is not None:
            self._thread.join()
        self.process.close()

    def _run(self) -> None:
        while not self._stopped and not self.dead:
            asked = self._asked
            try:
                owed = self._next()
                if owed is not None:
                    self._make(owed)
                    continue
            except DestinationError as error:
                self.tell(Trouble(self.name, str(error), error.hint))
                self._wait(asked, TROUBLED, idle=False)
                continue
            now = self.clock()
            pause = min(self._again.values(), default=now + 3600) - now
            self._wait(asked, min(pause, HURRIED if self.hurried else pause), idle=not self._again)

    def _wait(self, asked: int, seconds: float, *, idle: bool) -> None:
        with self._work:
            if asked == self._asked and not self._stopped:
                self.idle = idle
                self._work.wait(max(0.0, seconds))

    def _next(self) -> Owed | None:
        """What failed and may be tried again, or else the first one that has never been tried."""
        now = self.clock()
        for id_, again in list(self._again.items()):
            if now >= again or (self.hurried and again - now > HURRIED):
                del self._again[id_]
                owed = self.queue.get(id_)
                if owed is not None:
                    return owed
        return self.queue.next(0, self._again.keys() | self._postponed)

    def _make(self, owed: Owed) -> None:
        try:
            asked = self.process.ask(self.variables(owed.facts))
        except ValueError as error:
            self.tell(Trouble(self.name, f"a hook cannot be called: {error}"))
            self.queue.tried(owed, given_up=True)
            return
        while asked and (answer := self.process.answer()) is not None:
            if isinstance(answer, Ended):
                self._ended(owed, answer)
                return
            self.tell(Wrote(self.name, answer.text))
        if not self._stopped:
            self.dead = True
            self.tell(
                Trouble(
                    self.name,
                    "the process that runs hooks has ended",
                    "start again: what was not run is run then",
                )
            )

    def _ended(self, owed: Owed, ended: Ended) -> None:
        called = Called(
            self.name,
            str(owed.facts.get("name", owed.facts.get("DIODE_ALARM", ""))),
            ended.status,
            ended.seconds,
            owed.attempts + 1,
            ended.timed_out,
            left_out=ended.left_out,
        )
        if called.well:
            self._tries.pop(owed.id, None)
            self.queue.made(owed)
        else:
            called = self._failed(owed, called)
        self.tell(called)

    def _failed(self, owed: Owed, called: Called) -> Called:
        """See to the next attempt, if there is to be one."""
        tries = self._tries[owed.id] = self._tries.get(owed.id, 0) + 1
        for_good = called.attempt > len(PAUSES) and not (called.later or self.queue.ordered)
        self.queue.tried(owed, given_up=for_good, counted=not called.later)
        if for_good:
            del self._tries[owed.id]
            return replace(called, given_up=True)
        if self.hurried and tries > len(PAUSES):
            self._postponed.add(owed.id)
            return replace(called, postponed=True)
        pause = PAUSES[min(tries, len(PAUSES)) - 1]
        self._again[owed.id] = self.clock() + min(pause, HURRIED if self.hurried else pause)
        return called


class Hooks:
    """The hooks of one process."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._told: deque[Told] = deque(maxlen=MOST_TOLD)

    @classmethod
    def start(
        cls,
        commands: Mapping[str, list[str]],
        timeout: float = TIMEOUT,
        folder: str | None = None,
    ) -> Hooks:
        """Start a process for each kind; `resolved` made the commands. Before any thread.

        folder: where commands start, if not where this process did.
        """
        hooks = cls()
        try:
            for kind, command in commands.items():
                process = Process(command, timeout, folder)
                hooks._kinds[kind] = _Kind(kind, process, InMemory(), _as_they_are, hooks._tell)
        except BaseException:
            hooks.close()
            raise
        return hooks

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those there is a command for."""
        return tuple(self._kinds)

    def keep(
        self, kind: str, journal: Journal, variables: Callable[[Facts], Mapping[str, str]]
    ) -> None:
        """Take the calls of this kind from a journal, and make variables of their facts so."""
        if kind in self._kinds:
            self._kinds[kind].queue = journal
            self._kinds[kind].variables = variables

    def begin(self) -> None:
        """Start running: once this process is confined, for its threads are so only then."""
        for kind in self._kinds.values():
            kind.begin()

    def run(self, kind: str, facts: Mapping[str, str]) -> None:
        """Have the command of this kind run with these variables; nothing where there is none."""
        hook = self._kinds.get(kind)
        if hook is not None and isinstance(hook.queue, InMemory):
            hook.queue.add(dict(facts) | {"DIODE_EVENT": kind})
            hook.wake()

    def wake(self, kind: str) -> None:
        """There is something new in the journal."""
        if kind in self._kinds:
            self._kinds[kind].wake()

    def told(self) -> list[Told]:
        """What happened since it was asked last."""
        found = []
        while self._told:
            found.append(self._told.popleft())
        return found

    def hurry(self) -> None:
        """The end is near: nobody waits long for another attempt."""
        for kind in self._kinds.values():
            kind.hurried = True
            kind.wake()

    @property
    def idle(self) -> bool:
        """Whether every call was made or given up, or never will be."""
        return all(kind.idle or kind.dead for kind in self._kinds.values())

    @property
    def dead(self) -> bool:
        """Whether one of the processes is not there any more."""
        return any(kind.dead for kind in self._kinds.values())

    def close(self) -> None:
        """End the processes and what they run."""
        for kind in self._kinds.values():
            kind.close()

    def _tell(self, told: Told) -> None:
        self._told.append(told)


def _as_they_are(facts: Facts) -> Mapping[str, str]:
    return facts
