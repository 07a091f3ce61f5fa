"""Work that is done beside the sending: the next group is assembled while one is on air.

How is the business of whoever owns the threads; `ThreadPoolExecutor.submit` is an `Ahead`. Without
one the work is done when its result is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from diode.assembly import Assembled


class Pending(Protocol):
    """Work that is being done, such as a concurrent.futures.Future."""

    def done(self) -> bool: ...

    def result(self) -> Assembled:
        """What it came to, waiting for it."""


Ahead = Callable[[Callable[[], Assembled]], Pending]
"""Takes work that may be done beside."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Work that is done when its result is asked for, and so always is."""

    result: Callable[[], Assembled]

    def done(self) -> bool:
        return True
