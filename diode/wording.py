"""Quantities, times and states in words, for whatever people read: the terminal, the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diode.health import LinkState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.health import Health, Numbers, SenderHealth

NUMBERS = 6
"""Ranges of missing numbers that are written out."""


def size(count: float) -> str:
    """Bytes for people: 999 B, 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("the loop ends at TB")


def seconds(value: float) -> str:
    """A duration for people: 0.35 s, 2 min 05 s, 3 h 10 min."""
    if value < 100:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plural(count: int, noun: str) -> str:
    """1 object, 2 objects."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def percent(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def ago(then: float | None, now: float) -> str:
    return "never" if then is None else f"{seconds(max(0.0, now - then))} ago"


def clock(then: float, now: float) -> str:
    """A time of day; with its date where that is another one."""
    try:
        here, there = time.localtime(now), time.localtime(then)
    except (OverflowError, ValueError, OSError):
        return "?"
    same = here[:3] == there[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M", there)


def ranged(first: int, last: int) -> str:
    """A range in words: 9 to 12."""
    return str(first) if first == last else f"{first} to {last}"


def numbers(ranges: Sequence[Numbers]) -> str:
    """Ranges in words: 7, 9 to 12."""
    words = [ranged(r.first, r.last) for r in ranges]
    more = len(words) - NUMBERS
    return ", ".join(words[:NUMBERS]) + (f" and {more:,} more ranges" if more > 0 else "")


def link(health: Health, age: float) -> str:
    """What the state of the link means, in a sentence without its end. age: of the health."""
    line, now = health.line, health.time + age
    last = f"last heard {ago(line.last_heard, now)}" if line.last_heard else "never heard"
    since = f" since {clock(health.time, now)}" if health.time else ""
    quiet = seconds(line.silent_seconds + age)
    return {
        LinkState.UNHEARD: f"listening, nothing has come yet; {last}",
        LinkState.UP: f"heard {quiet} ago",
        LinkState.ENDED: f"the sender said that it was done, {quiet} ago",
        LinkState.SILENT: f"nothing for {quiet}; {last}",
        LinkState.STOPPED: f"no receiver runs{since}; {last}",
    }[line.state]


def next_step(sender: SenderHealth, health: Health) -> str:
    """What to do about the objects of a sender that are missing."""
    waits = sender.queued and not sender.ended and health.line.state is LinkState.UP
    if waits:
        return "may still come: the sender has more to send"
    return "send them again, then --dismiss"
