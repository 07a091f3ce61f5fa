"""Work on the disk, done beside the listening: in a thread of its own, one piece after the other.

The loop that listens hands over what is to be done and what is to happen with the result, and
goes on; `settle` runs the second half of what is finished, in the loop's own thread, so
nothing there needs a lock. Python's interpreter lock is free while a file is written, synced or
hashed, so the two really run side by side.

How much may wait is bounded, in bytes and so in pieces of work: beyond, `do` waits, and what the
link delivers meanwhile is the reader's to keep. `AtOnce` does everything on the spot, with the same
results in the same order.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from diode.errors import DestinationError

WAITING = 24 << 20
"""Bytes handed over and not yet written, at most."""
LEAST = 16 << 10
"""Bytes that a piece of work counts for at least: thousands of small objects are more work than
they have bytes, and more than are known at a time (limits.py) would push each other out."""

T = TypeVar("T")
Work = Callable[[], Any]
Then = Callable[[Any], object]
"""Takes what the work returned, or the DestinationError that it raised."""


class Disk(Protocol):
    """Does work in the order in which it is given."""

    def do(self, work: Work, then: Then, size: int = 0) -> None:
        """Have `work` done and `then` called with its result.

        size: bytes that it keeps in memory.
        """

    def ask(self, work: Callable[[], T]) -> T:
        """Have `work` done in its turn and wait for its result alone. Raises what it raises."""

    def tell(self, then: Callable[..., object]) -> Callable[..., None]:
        """What may be called from within work: `then` is called with the same arguments, later,
        where results are.
        """

    @property
    def busy(self) -> bool:
        """Whether anything has been handed over whose result was not seen."""

    def settle(self, *, wait: bool = False) -> None:
        """See the results there are; with `wait`, those of everything handed over, however often
        a result gives more to do.
        """

    def close(self) -> None:
        """End; nothing may be handed over any more."""


class AtOnce:
    """Does everything on the spot."""

    busy = False

    def do(self, work: Work, then: Then, size: int = 0) -> None:  # noqa: ARG002
        then(_outcome(work))

    def ask(self, work: Callable[[], T]) -> T:
        return work()

    def tell(self, then: Callable[..., object]) -> Callable[..., None]:
        def told(*arguments: object) -> None:
            then(*arguments)

        return told

    def settle(self, *, wait: bool = False) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class _Job:
    work: Work
    then: Then
    size: int
    outcome: Any = None


class Beside:
    """Does it in a thread of its own. Not to be begun before the process is confined."""

    def __init__(self, waiting: int = WAITING) -> None:
        """waiting: bytes that may be handed over and not yet done."""
        self._most = waiting
        self._held = 0
        self._unseen = 0
        self._stopped = False
        self._room = threading.Condition()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._unseen > 0

    def do(self, work: Work, then: Then, size: int = 0) -> None:
        size = max(size, LEAST)
        with self._room:
            self._room.wait_for(lambda: not self._held or self._held + size <= self._most)
            self._held += size
        self._unseen += 1
        self._jobs.put(_Job(work, then, size))

    def ask(self, work: Callable[[], T]) -> T:
        answer: Future[T] = Future()

        def answered() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001  raised again where it was asked
                answer.set_exception(error)

        self.do(answered, lambda _: None)
        return answer.result()

    def tell(self, then: Callable[..., object]) -> Callable[..., None]:
        def told(*arguments: object) -> None:
            self._results.put(lambda: then(*arguments))

        return told

    def settle(self, *, wait: bool = False) -> None:
        while not self._results.empty() or (wait and self._unseen):
            self._results.get()()

    def close(self) -> None:
        self._stopped = True  # what has not begun is not done any more
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopped:
            try:
                job.outcome = job.work()
            except BaseException as error:  # noqa: BLE001  raised again where results are seen
                job.outcome = error
            with self._room:
                self._held -= job.size
                self._room.notify()
            self._results.put(functools.partial(self._see, job))

    def _see(self, job: _Job) -> None:
        self._unseen -= 1
        if isinstance(job.outcome, BaseException) and not isinstance(job.outcome, DestinationError):
            raise job.outcome
        job.then(job.outcome)


def _outcome(work: Work) -> Any:
    try:
        return work()
    except DestinationError as error:
        return error
