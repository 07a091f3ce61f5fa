"""Two of the ways in which `diode send` uses the line; the third is piecewise.py.

`AsItComes`: what is to be sent is read first, then sent, and the line is silent before, behind and
wherever a disk is slow. `Steady`: the line carries turns of a constant rate (constant_rate.py)
from before anything is read until somebody stops it or it has lingered. A signal then is the usual
end: it lets the turn on air go out whole, and is a failure only where something was left to send.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from diode.cli import signals
from diode.constant_rate import ConstantRate

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from diode.cli.preparing import Preparation
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


class Steady:
    """A constant rate, the preparation beside it. A context in which signals end it in order."""

    def __init__(
        self,
        report: Report,
        preparation: Preparation,
        pool: Executor,
        count: int,
        linger: float | None,
    ) -> None:
        """count, linger: as `ConstantRate` takes them."""
        self._report = report
        self._supply = preparation.beside(pool)
        self.turns = ConstantRate(
            preparation.transmitter, count, supply=self._supply, linger=linger
        )
        self.rest: Rest | None = None
        self.clock: Callable[[], float] | None = None
        self._signals = contextlib.ExitStack()
        self._asked = False
        self._stopped = False
        self._interrupted = False
        self._told = False

    def __enter__(self) -> Self:
        self._signals.enter_context(signals.asking(self._ask))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raises KeyboardInterrupt if it was stopped too early, or what the preparation raised."""
        self._signals.close()
        self._supply.stop()
        if kind is not None:
            return
        if self._interrupted:
            raise KeyboardInterrupt
        self._supply.conclude()

    def look(self) -> None:
        """After every write: whether it is to end, and whether that can be told."""
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
