"""A carrier that is read by a process of its own.

    medium -> reading process -> ring in shared memory -> this process -> line, receiver, sink

The reading process (reader.py) has the medium and no files, this one has the files and never a
descriptor of the medium. Who takes over the one that hears hostile bytes first cannot touch what
was delivered, and a disk that stands still for seconds does not stop listening: that long, the
ring (ring.py) takes what comes.

The process is forked, which takes a millisecond and needs no program to be started. A process that
forks must not have threads, so it is done before anything else. Where there is no fork
(Windows), or where a forked process may not use the system's sound (macOS), there is none
(`POSSIBLE`): the carrier is then opened by `open_receiving`, in the one process.

This end believes nothing. A reading process that breaks the rules of the ring or says what makes
no sense is a carrier that failed, like one that was killed: what was heard until then is
still handed over, then comes CarrierError.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from diode import carrier
from diode.carrier import words
from diode.carrier.reader import Program, run
from diode.carrier.ring import STREAM, WORD, BrokenRing, Reader, Ring
from diode.confine import Confinement
from diode.errors import CarrierError
from diode.frame import Frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import Notice
    from diode.carrier.ring import Taken
    from diode.modem.hearing import Hearing

SIZE = 32 << 20
"""Bytes of the ring: 46 minutes at 115,200 baud, a quarter of a second at 1 Gbit/s."""
MOST = 2 << 20
"""Bytes handed over at a time, about."""
ENOUGH = 1 << 20
"""Bytes that are worth the work that a batch makes whatever its size."""
GATHER = 0.004
"""Seconds in which more may come where there are fewer, and"""
LONGER = 0.012
"""seconds where many came the last time."""
MANY = 1 << 17
"""Bytes that are many."""
PATIENCE = 5.0
"""Seconds to wait for the end of a process that was killed: a driver may hold it up."""
POSSIBLE = sys.platform not in {"win32", "darwin"}
"""Whether carriers can be read by a process of their own here."""


def open_separate(
    url: str,
    *,
    confine: Callable[[], Confinement],
    impair: str | None = None,
    lane: int = 0,
    notice: Notice,
    size: int = SIZE,
) -> SeparateReceiver:
    """Open a carrier for reception in a process of its own, of which `confine` takes all it can.

    lane: as `open_receiving`. size: of the ring, in bytes. Raises what `open_receiving` raises,
    and what `confine` does.
    """
    facts = carrier.facts(url)
    program = Program(
        open=lambda notice: carrier.open_receiving(url, impair=impair, lane=lane, notice=notice),
        confine=confine,
        waits=facts.waits,
        standard=facts.standard,
    )
    return SeparateReceiver(program, notice, size)


class SeparateReceiver:
    """A receiving carrier whose medium is read by a process of its own."""

    def __init__(self, program: Program, notice: Notice, size: int = SIZE) -> None:
        """Start the process, and return when it has opened the carrier."""
        self.rate: float | None = None
        self.confinement = Confinement()
        """What the reading process gave up."""
        self.heard: Hearing | None = None
        """What a carrier of sound hears, as of the bytes read last."""
        self.counts: dict[str, int] = {}
        """What the carrier counts, as of the bytes read last."""
        self.bytes_dropped = 0
        self.reads_dropped = 0
        """What found no room in the ring, as far as it was told."""
        self._notice = notice
        self._outages = 0
        self._last = 0
        """Bytes that came the last time."""
        self._opened = self._over = self._closed = False
        self._status: int | None = None
        """How the process ended, once that is known."""
        self._ring = Ring(size)
        self._reader = Reader(self._ring)
        self.process, self._life, self._breath = _start(program, self._ring)
        self._waiting = select.poll()
        for descriptor in self.descriptors:
            self._waiting.register(descriptor, select.POLLIN)
        try:
            while not self._opened:
                self._step(None)
        except BaseException:
            self.close()
            raise
        if program.standard:
            nowhere = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nowhere, 0)
            os.close(nowhere)

    @property
    def descriptors(self) -> tuple[int, int]:
        """Readable when there is something to read, and when the reading process has ended."""
        return self._ring.published.fileno, self._breath

    @property
    def backlog(self) -> int:
        """Bytes that were heard and wait in the ring."""
        return 0 if self._closed else self._reader.backlog

    def read(self, timeout: float | None) -> Any:
        """What was heard: bytes, or `Frames` from a carrier of datagrams; b'' at the end, None
        when nothing came within `timeout` seconds.

        Raises CarrierError when the carrier failed, or the process that reads it.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._over:
            if (heard := self._step(end)) is not None:
                return heard
            if end is not None and time.monotonic() >= end:
                return None
        return b""

    def close(self) -> None:
        """End the reading process. What is still in the ring is lost."""
        if self._closed:
            return
        self._closed = self._over = True
        self._end()
        os.close(self._breath)
        self._ring.close()

    def _end(self) -> None:
        """End the reading process, and take note of how it ended. A second call does nothing."""
        if self._life < 0:
            return
        os.close(self._life)
        self._life = -1
        # Landlock forbids us the signal once we are confined; then `life` has done it.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self._status = os.waitstatus_to_exitcode(status)
                return
            time.sleep(0.001)

    def _step(self, end: float | None) -> bytes | Frames | None:
        """What is next: bytes or datagrams, or None for a word, or when nothing came until `end`.

        Raises CarrierError and what the reading process failed with.
        """
        try:
            backlog = self._reader.backlog
            if not backlog:
                left = None if end is None else max(0.0, end - time.monotonic()) * 1000
                ready = {descriptor for descriptor, _ in self._waiting.poll(left)}
                backlog = self._reader.backlog
                if self._breath in ready and not backlog:
                    raise self._died()
            if self._opened and 0 < backlog < ENOUGH:
                time.sleep(LONGER if self._last >= MANY else GATHER)
            taken = self._reader.take(MOST)
            if not len(taken.data):
                return None
            if taken.kinds[0] != WORD:
                self._last = len(taken.data)
            else:
                self._heed(words.decode(taken.data.tobytes()))
                return None
        except (BrokenRing, ValueError) as error:
            self._over = True
            raise CarrierError(
                f"the process that reads the carrier does not make sense: {error}",
                hint="it may have been taken over: stop here and find out",
            ) from error
        return _heard(taken)

    def _heed(self, word: words.Word) -> None:
        """Act on what the reading process says."""
        match word:
            case words.Opened(rate, done, missing, hearing, counts):
                self.rate, self.heard, self.counts = rate, hearing, counts
                self.confinement = Confinement(
                    [words.printable(text) for text in done],
                    [words.printable(text) for text in missing],
                )
                self._opened = True
            case words.Notice(text):
                self._notice(words.printable(text))
            case words.Heard(hearing):
                self.heard = hearing
            case words.Counted(counts):
                self.counts = counts
            case words.Dropped():
                self._dropped(word)
            case words.Failed():
                self._over = True
                raise words.as_error(word)
            case words.Ended():
                self._opened = self._over = True

    def _dropped(self, word: words.Dropped) -> None:
        self.bytes_dropped, self.reads_dropped = word.bytes, word.reads
        if word.outages > self._outages:
            self._outages = word.outages
            self._notice(
                f"the buffer of {self._ring.size / (1 << 20):.3g} MiB is full, and bytes of the "
                "line are being dropped: the disk or this computer is too slow; send again what "
                "stays short, more slowly, or listen with more --buffer"
            )

    def _died(self) -> CarrierError:
        """The error for a process that ended without a word."""
        self._over = True
        self._end()
        how = "ended" if self._status is None else f"ended with status {self._status}"
        if self._status is not None and self._status < 0:
            how = f"was ended by {signal.Signals(-self._status).name}"
        return CarrierError(
            f"the process that reads the carrier {how}",
            hint="what came until then is kept: start again; if it was no person who killed it, "
            "see: sudo dmesg | tail",
        )


def _start(program: Program, ring: Ring) -> tuple[int, int, int]:
    """Fork the reading process: its number, the end of `life` to hold, the end of `breath` to
    watch. Raises CarrierError.
    """
    life, life_held = os.pipe()
    breath_watched, breath = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process = os.fork()
        if process == 0:
            run(program, ring, life, breath)
    except OSError as error:
        os.close(life_held)
        os.close(breath_watched)
        raise CarrierError(
            f"no process can be started to read the carrier: {error.strerror}",
            hint="see the limits: ulimit -u, or TasksMax= of the service",
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(life)
        os.close(breath)
    return process, life_held, breath_watched


def _heard(taken: Taken) -> bytes | Frames:
    """Records of one sort as one: bytes of a stream, or datagrams."""
    if taken.kinds[0] == STREAM:
        return taken.data.tobytes()
    lengths, sizes = np.array(taken.lengths), np.array(taken.kinds)
    if (sizes == sizes[0]).all() and not (lengths % sizes).any():
        return Frames.of_rows(taken.data.reshape(-1, sizes[0]))
    counts = -(-lengths // sizes)
    last = np.repeat(np.cumsum(lengths), counts)
    first = np.repeat(np.cumsum(lengths) - lengths, counts)
    place = np.arange(1, len(last) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    return Frames(taken.data, np.minimum(first + place * np.repeat(sizes, counts), last))
