"""A leaky bucket: how much futile work others may cause.

What costs much and may come from anybody, to check a signature or to try a key, must not be bought
by a flood of frames at full price each. Every futile piece of work pours a drop into a bucket that
leaks at a fixed rate; while it is full no such work is begun. What was not futile pours nothing, so
honest traffic is not rationed.
"""

from __future__ import annotations


class Bucket:
    """Holds `burst` drops and leaks `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = 0.0
        self._leaked_at: float | None = None

    def full(self, now: float) -> bool:
        """Whether it is, at `now` (monotonic seconds; a clock that goes back lets nothing leak)."""
        since = now if self._leaked_at is None else self._leaked_at
        self._level = max(0.0, self._level - max(0.0, now - since) * self._rate)
        self._leaked_at = now
        return self._level >= self._burst

    def pour(self, drops: float = 1.0) -> None:
        self._level += drops
