"""Sizes, times, shares and modes as people write them, on the command line and in a configuration.

Each function gives the number, or raises ValueError with a sentence on what it is not.
"""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE |= {f"{unit}i": 1 << (10 * power) for power, unit in enumerate("kmgt", 1)}
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DIGITS = 30
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")

A_SIZE = "a size such as 1500, 10M or 4GiB"
A_TIME = "a time such as 500ms, 2s or 10min"
A_SHARE = "a share such as 25% or 0.25"
A_MODE = "a file mode such as 0440, without execute"


def size(text: str) -> int:
    """Bytes: 1500, 10M, 4GiB."""
    match = _QUANTITY.fullmatch(text.strip())
    unit = match[2].lower().removesuffix("b") if match else None
    if match is None or unit not in _SIZE:
        raise ValueError(f"{text!r} is not {A_SIZE}")
    if len(match[1]) > _MAX_DIGITS:
        raise ValueError(f"{text!r} is more than there can be")
    return int(Decimal(match[1]) * _SIZE[unit])


def duration(text: str) -> float:
    """Seconds: 500ms, 2s, 10min."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in _SECONDS:
        raise ValueError(f"{text!r} is not {A_TIME}")
    if len(match[1]) > _MAX_DIGITS:
        raise ValueError(f"{text!r} is more than there can be")
    return float(match[1]) * _SECONDS[match[2].lower()]


def share(text: str) -> float:
    """A part of one: 25% or 0.25; within which bounds, whoever asks knows. nan is a number here."""
    stripped = text.strip()
    try:
        return float(stripped[:-1]) / 100 if stripped.endswith("%") else float(stripped)
    except ValueError:
        raise ValueError(f"{text!r} is not {A_SHARE}") from None


def mode(text: str) -> int:
    """File permissions in octal."""
    if not re.fullmatch(r"0?[0246]{3}", text):
        raise ValueError(f"{text!r} is not {A_MODE}")
    return int(text, 8)
