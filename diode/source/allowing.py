"""What of a drop folder may cross the link at all: names, sizes and how many in a time.

A signing station should give out signatures and nothing else, a plant its measurements. Whoever
gets into the machine behind the drop folder can put there what he likes; an allow-list that the
sender holds against every file leaves him little: names of some patterns, small files, few an hour.
It does not look into files.

The number in a time is a leaky bucket (bucket.py): so many at once, and then each as the time for
it has passed. It begins empty when the sender starts.
"""

from __future__ import annotations

import fnmatch

from diode.bucket import Bucket
from diode.wording import seconds, size

ROUNDING = 1e-6


class AllowList:
    """Held against each file; by default everything may cross."""

    def __init__(
        self,
        patterns: tuple[str, ...] = (),
        largest: int | None = None,
        most: tuple[int, float] | None = None,
    ) -> None:
        """patterns: of names, as a shell has them; none: any. largest: bytes. most: files, and
        seconds for so many.
        """
        self._patterns = patterns
        self._largest = largest
        self._most = most
        files, per = most or (1, 1.0)
        self._bucket = Bucket(files / per, files - 1 + ROUNDING)  # room for a whole one, or full

    @property
    def rationed(self) -> bool:
        """Whether there may be too many in a time."""
        return self._most is not None

    def refusal(self, name: str, length: int) -> str:
        """Why a file may not cross; empty where it may."""
        if self._patterns and not any(fnmatch.fnmatchcase(name, p) for p in self._patterns):
            return f"not allowed: its name is none of {' '.join(self._patterns)}"
        if self._largest is not None and length > self._largest:
            return f"not allowed: {size(length)} are more than {size(self._largest)}"
        return ""

    def wait(self, now: float | None) -> str:
        """Why a file has to wait; empty where it may go now. now: needed where it is rationed."""
        if self._most is None or now is None or not self._bucket.full(now):
            return ""
        return f"it waits: no more than {self._most[0]:,} files in {seconds(self._most[1])}"

    def took(self) -> None:
        """A file goes."""
        self._bucket.pour()
