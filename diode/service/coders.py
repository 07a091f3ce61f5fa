"""Processes that compute parity beside the sending: `--jobs`.

    reading, hashing, sending ── block ──> shared memory ──> a process that computes parity
                              <── parity ──

The wide codes come from libraries that hold the interpreter lock while they compute, so a thread
would not do. Each process has memory that it shares with this one and a socket pair to be told that
a block lies there. The block is copied into that memory, its parity out of it: both together cost a
tenth of what computing the parity does.

The processes are forked at the start, before there are threads and before the confinement, and
then keep nothing but their socket and their memory: no file, no link. They end when the other end
of their socket is closed, by whoever held it or by the kernel after whoever was killed.

One that fails (killed for want of memory) costs nothing but speed: what it was computing, and what
comes after, is computed here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import struct
from collections import deque
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from diode import child, confine
from diode.coder import Made, Making
from diode.errors import UsageError
from diode.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.frame import I64, U8

ROOM = 64 << 20
"""Bytes of a process's memory: the largest block that receivers take by default (16 MiB) and three
times as much parity. Only what is used of it is there; larger blocks are computed here."""
WORTH = 1 << 18
"""Bytes of a block from which on telling another process of it is worth the while."""
NAME = "diode-coder"
"""What `ps` and `top` show."""

_TASK = struct.Struct("<8q")
"""The fields of a Geometry, and how many symbols are wanted."""
_DONE = b"\0"


class Coders:
    """Processes that compute parity, each of one block at a time (`diode.coder.Coder`)."""

    def __init__(self, jobs: int, notice: Callable[[str], None]) -> None:
        """Start that many; with none, parity is computed here. notice: is told when one fails."""
        if jobs and not hasattr(os, "fork"):
            raise UsageError("this system has no processes to compute parity in", hint="--jobs 0")
        self.width = max(1, jobs)
        self._notice = notice
        self._workers: list[Worker] = []
        for _ in range(jobs):
            self._workers.append(_start([worker.socket for worker in self._workers]))
        self._free = deque(self._workers)

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return [worker.process for worker in self._workers]

    def begin(self, geometry: Geometry, source: U8, numbers: I64) -> Making:
        need = source.nbytes + numbers.nbytes + len(numbers) * geometry.symbol_size
        if not self._free or source.nbytes < WORTH or need > ROOM:
            return Made(geometry, source, numbers)
        worker = self._free.popleft()
        worker.begin(geometry, source, numbers)
        return Elsewhere(Made(geometry, source, numbers), worker, self)

    def over(self, worker: Worker, *, well: bool) -> None:
        """That process has nothing to do any more, or is not there any more."""
        if well:
            self._free.append(worker)
            return
        worker.close()
        self._workers.remove(worker)
        self.width = max(1, len(self._workers))
        self._notice(
            "a process that computes parity has ended, the others go on without it; "
            "if it was for want of memory, see: sudo dmesg | tail"
        )

    def close(self) -> None:
        """End them all. Those that are computing end when they are done."""
        self._free.clear()
        while self._workers:
            self._workers.pop().close()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Parity that another process computes."""

    here: Made
    worker: Worker
    coders: Coders

    def put(self, into: U8) -> None:
        found = self.worker.result(into.shape)
        if found is None:
            self.here.put(into)
        else:
            into[:] = found
        self.coders.over(self.worker, well=found is not None)


@dataclass(slots=True)
class Worker:
    """One of the processes, seen from this one."""

    process: int
    socket: socket.socket
    memory: mmap.mmap
    _view: U8 = field(init=False)
    _start: int = 0
    """Where the parity lies that it was asked for last."""

    def __post_init__(self) -> None:
        self._view = np.frombuffer(self.memory, np.uint8)

    def begin(self, geometry: Geometry, source: U8, numbers: I64) -> None:
        """Have it compute these symbols."""
        self._start = _laid(self._view, source, numbers)
        with contextlib.suppress(OSError):  # found out when the result is asked for
            self.socket.send(_TASK.pack(*astuple(geometry), len(numbers)))

    def result(self, shape: tuple[int, ...]) -> U8 | None:
        """What it computed, to be copied before the next `begin`; None when it has failed."""
        try:
            if self.socket.recv(1) != _DONE:
                return None
        except OSError:
            return None
        count, size = shape
        return self._view[self._start : self._start + count * size].reshape(shape)

    def close(self) -> None:
        """End it, as soon as it is done."""
        self.socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process, 0)


def _laid(view: U8, source: U8, numbers: I64) -> int:
    """Numbers, block and then parity lie one behind the other; where the parity begins."""
    block = numbers.nbytes
    parity = block + source.nbytes
    view[:block].view(np.int64)[:] = numbers
    view[block:parity].reshape(source.shape)[:] = source
    return parity


def _start(others: Sequence[socket.socket]) -> Worker:
    """Fork one. others: sockets that are not its own."""
    memory = mmap.mmap(-1, ROOM)
    ours, its = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process = os.fork()
        if process == 0:
            for one in (*others, ours):
                one.close()
            _work(its, memory)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    its.close()
    return Worker(process, ours, memory)


def _work(its: socket.socket, memory: mmap.mmap) -> NoReturn:
    """All that such a process ever does."""
    status = 1
    try:
        child.ignore_signals()
        child.begin(NAME, {its.fileno()})
        confine.no_core()
        os.umask(confine.STRICT_UMASK)
        confine.confine(confine.Bounds(sends=True))
        _serve(its, np.frombuffer(memory, np.uint8))
        status = 0
    finally:
        os._exit(status)  # nothing of the other process's is flushed, closed or removed twice


def _serve(its: socket.socket, view: U8) -> None:
    """Compute what is asked for until nobody can ask any more."""
    while len(task := its.recv(_TASK.size)) == _TASK.size:
        *fields, count = _TASK.unpack(task)
        geometry = Geometry(*fields)
        block, parity = 8 * count, 8 * count + geometry.k * geometry.symbol_size
        numbers = view[:block].view(np.int64)
        source = view[block:parity].reshape(geometry.k, geometry.symbol_size)
        made = geometry.coding.encode(source, numbers)
        view[parity : parity + made.size].reshape(made.shape)[:] = made
        its.send(_DONE)
