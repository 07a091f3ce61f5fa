"""The ways in which `diode send` uses the line, but for one, which is piecewise.py.

`AsItComes`: what is to be sent is read first, then sent, and the line is silent before, behind and
wherever a disk is slow. `WithRecords`: it stays on air for as long as there are records. `Steady`:
the line carries turns of a constant rate (constant_rate.py) from before anything is read until
somebody stops it or it has lingered. A signal then is the usual end: it lets the turn on air go out
whole, and is a failure only where something was left to send.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Self

from diode.cli import signals
from diode.constant_rate import ConstantRate
from diode.standing import Standing
from diode.supply import Given

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from diode.cli.preparing import Preparation
    from diode.cli.recording import NoSources, Sources
    from diode.cli.report import Report
    from diode.service.sender import Rest


class AsItComes:
    """One thing after the other."""

    def __init__(self, preparation: Preparation) -> None:
        """Raises what the preparation raises."""
        preparation.now()
        self.turns = preparation.transmitter
        self.rest: Rest | None = None
        self.clock: Callable[[], float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing goes on beside."""

    def look(self) -> None:
        """After every write: there is nothing to look after."""


class WithRecords:
    """What is to be sent is read first, and records go before it, and on until they end."""

    def __init__(self, preparation: Preparation, records: Sources | NoSources) -> None:
        """Raises what the preparation raises."""
        if preparation.asked:
            preparation.now()
        self._records = records
        self.turns = Standing(preparation.transmitter, records.along(Given()))
        self.rest: Rest | None = records.wake
        self.clock: Callable[[], float] | None = time.monotonic  # repeats go by it

    def __enter__(self) -> Self:
        self._records.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()

    def look(self) -> None:
        """After every write: what the sources say."""
        self._records.tell()


class Steady:
    """A constant rate, the preparation beside it. A context in which signals end it in order."""

    def __init__(
        self,
        report: Report,
        preparation: Preparation,
        pool: Executor,
        count: int,
        linger: float | None,
        records: Sources | NoSources,
    ) -> None:
        """count, linger: as `ConstantRate` takes them."""
        self._report = report
        self._records = records
        self._supply = preparation.beside(pool)
        supply = records.along(self._supply)
        self.turns = ConstantRate(preparation.transmitter, count, supply=supply, linger=linger)
        self.rest: Rest | None = records.wake
        self.clock: Callable[[], float] | None = time.monotonic if records else None
        self._signals = contextlib.ExitStack()
        self._asked = False
        self._stopped = False
        self._interrupted = False
        self._told = False

    def __enter__(self) -> Self:
        self._signals.enter_context(signals.asking(self._ask))
        self._records.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raises KeyboardInterrupt if it was stopped too early, or what the preparation raised."""
        self._signals.close()
        self._records.close()
        self._supply.stop()
        if kind is not None:
            return
        if self._interrupted:
            raise KeyboardInterrupt
        self._supply.conclude()

    def look(self) -> None:
        """After every write: whether it is to end, and whether that can be told."""
        self._records.tell()
        if self.turns.resting and not self._told:
            self._told = True
            self._report.say("everything is sent; idle frames go on")
        if self._asked and not self._stopped:
            self._interrupted = not self.turns.resting
        if (self._asked or self._supply.failed) and not self._stopped:
            self._stopped = True
            self.turns.stop()

    def _ask(self) -> None:
        self._asked = True
