"""Topics: the names of readings, what they may be made of, and patterns of them.

A topic is levels with `/` between, as in MQTT, and so are patterns: `+` stands for one level, `#`,
at the end, for the rest. Topics without wildcards and control characters can be published anywhere
and shown anywhere (wire 11.1); whatever else somebody calls a reading is refused by name.
"""

from __future__ import annotations

import functools
import re

from diode.errors import UsageError
from diode.objects import escape

LONGEST = 255
"""Bytes of a topic: its length has one byte on the line."""
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f]")


def refusal(topic: bytes) -> str:
    """Why that cannot be a topic; empty where it can."""
    if not 1 <= len(topic) <= LONGEST:
        return f"a topic has 1 to {LONGEST} bytes, not {len(topic):,}"
    try:
        text = topic.decode()
    except UnicodeDecodeError:
        return "the topic is not UTF-8"
    if _CONTROL.search(text):
        return "there are control characters in the topic"
    if "+" in text or "#" in text:
        return "there is a wildcard in the topic"
    return ""


@functools.lru_cache(maxsize=65536)
def good(topic: bytes) -> bool:
    """Whether that can be a topic; quick for those asked of again and again."""
    return not refusal(topic)


class Patterns:
    """Patterns, any of which may match."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        """UsageError for what is none."""
        self._levels = [_checked(pattern).encode().split(b"/") for pattern in patterns]
        self.match = functools.lru_cache(maxsize=65536)(self._match)
        """Whether one of them matches a topic (bytes)."""

    def _match(self, topic: bytes) -> bool:
        levels = topic.split(b"/")
        return any(_matches(pattern, levels) for pattern in self._levels)


def _matches(pattern: list[bytes], levels: list[bytes]) -> bool:
    if levels[0].startswith(b"$") and pattern[0] in (b"+", b"#"):
        return False  # MQTT 5, 4.7.2: those of the broker itself have to be named
    for number, level in enumerate(pattern):
        if level == b"#":
            return True
        if number >= len(levels) or level not in (b"+", levels[number]):
            return False
    return len(pattern) == len(levels)


def _checked(pattern: str) -> str:
    levels = pattern.split("/")
    wild = any(len(level) > 1 and ("+" in level or "#" in level) for level in levels)
    if not pattern or wild or "#" in levels[:-1] or _CONTROL.search(pattern):
        raise UsageError(
            f"{escape(pattern)!r} is no pattern of topics",
            hint="+ stands for one level, # at the end for all that follow: plant/+/alarm, plant/#",
        )
    return pattern
