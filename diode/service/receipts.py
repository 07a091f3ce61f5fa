"""Reading receipts, at both ends: from files and from lines that somebody types."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from diode import lettering
from diode.errors import ReceiptError, SourceError, UsageError
from diode.objects import escape
from diode.receipt import MAGIC, MOST
from diode.service.keys import read_public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.receipt import Ranges
    from diode.seal import PublicKey

STDIN = "-"
TOLD = 20
"""Ranges told one by one."""


def keys(sources: Sequence[str]) -> list[PublicKey]:
    """Public keys to verify with. KeyFileError where one is none."""
    if not sources:
        return []
    from diode.seal import PublicKey  # noqa: PLC0415  cryptography takes a while to load

    return [key for source in sources for key in read_public(source, PublicKey)]


def read(source: str) -> bytes:
    """The bytes of a receipt, in a file or as text; - is standard input. ReceiptError."""
    if source == STDIN and sys.stdin.isatty():
        print("type the lines of the receipt; the last one ends with a full stop", file=sys.stderr)
    data = _typed() if source == STDIN else _content(source)
    if data[:1] == MAGIC[:1]:
        return data
    if not data.isascii():
        raise ReceiptError("this is no receipt of diode")
    return lettering.parse(data.decode())


def _typed() -> bytes:
    """Lines up to the last one, so that nobody has to know what ends a terminal's input."""
    lines = []
    for _ in range(lettering.MOST_LINES):
        line = sys.stdin.buffer.readline(MOST)
        lines.append(line)
        if not line or line[:1] == MAGIC[:1] or line.rstrip().endswith(b"."):
            break
    whole = b"".join(lines)
    return whole + sys.stdin.buffer.read(MOST) if whole[:1] == MAGIC[:1] else whole


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(2 * MOST + 1)
    except OSError as error:
        raise SourceError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error
    if len(data) > 2 * MOST:
        raise ReceiptError(f"a receipt has at most {MOST:,} bytes")
    return data


def number_of(text: str, option: str) -> int:
    """Eight hexadecimal digits. UsageError."""
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise UsageError(f"{option} takes eight hexadecimal digits, not {escape(text)}")
    return value


def shown(ranges: Ranges) -> str:
    """`17, 300-302`."""
    told = [f"{a:,}" if a == b else f"{a:,}-{b:,}" for a, b in ranges[:TOLD]]
    more = f" and {len(ranges) - TOLD:,} more ranges" if len(ranges) > TOLD else ""
    return ", ".join(told) + more
