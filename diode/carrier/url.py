"""Carrier URLs: which medium, where, and how it is set.

    scheme:path?key=value&key=value        serial:/dev/ttyUSB0?baud=115200
    scheme://path?...                      the same; two slashes are dropped
    audio:?key=value                       a carrier that has no path
    -?...                                  stdin or stdout, by the direction
    udp://host:port?...                    an address instead of a path; [::1]:port by IPv6

The first `?` starts the query; a `?` that belongs to a file name is written `%3F`. Values
take decimal suffixes (`rate=900M`). Everything is strict: an unknown scheme or key, a key
given twice and a value out of range are errors that name the word at fault, since a
mistyped `buad=9600` that is silently ignored costs an afternoon on a link that cannot answer.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([kMG]?)")
_SUFFIX = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_DECIBELS = re.compile(r"(-?[0-9]+(?:\.[0-9]*)?)(?:dB)?", re.IGNORECASE)
_ENDPOINT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")
_PATHLESS = {"audio"}
"""Schemes whose path may be empty."""
_ADDRESSED = {"udp"}
"""Schemes whose path is an address."""


@dataclass(frozen=True, slots=True)
class CarrierFacts:
    """What is known about a carrier before it is opened."""

    rate: float | None
    """Bytes per second of line time; None: as fast as it goes."""
    kind: Literal["bytes", "datagrams"] = "bytes"
    """What it carries: a stream of bytes in which frames have to be found again, or datagrams
    that come whole or not at all, each of them one frame."""
    max_piece: int | None = None
    """Longest line piece that the medium keeps whole; None: any length is as good."""
    batch: int = 0
    """Line bytes worth handing over in one call; fewer may take as long on the line."""
    live: bool = False
    """What was written has left for good, even if the sender is killed then: another run goes on
    behind it. A recording begins anew instead."""
    air_bytes: Callable[[float], float] = float
    """Line time of a piece of that many bytes, in bytes at `rate`."""
    waits: bool = False
    """Whether what is not read yet waits in the medium, as in files, pipes and the kernel's buffer
    of datagrams, or gets lost at once."""
    standard: bool = False
    """Whether it is standard input or output."""


@dataclass(frozen=True, slots=True)
class CarrierUrl:
    """A carrier URL taken apart. The scheme of stdin and stdout is `-`."""

    scheme: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, schemes: Collection[str]) -> CarrierUrl:
        """The parts of a URL whose scheme is one of `schemes`; UsageError for anything else."""
        body, mark, tail = text.partition("?")
        query = _parse_query(text, tail) if mark else {}
        if body == "-":
            return cls("-", "", query)
        match = _SCHEME.fullmatch(body)
        if match is None:
            raise UsageError(f"{text!r} is not a carrier URL", hint=_meant(text))
        scheme, path = match[1].lower(), unquote(match[2], errors="surrogateescape")
        if scheme not in schemes:
            raise _unknown_scheme(text, scheme, schemes)
        path = path.removeprefix("//")
        if not path and scheme not in _PATHLESS:
            example = "//HOST:PORT" if scheme in _ADDRESSED else "PATH"
            raise UsageError(f"{text!r} names no path", hint=f"write {scheme}:{example}")
        if "\0" in path:
            raise UsageError(f"{text!r} has a NUL in its path")
        return cls(scheme, path, query)

    def __str__(self) -> str:
        tail = "&".join(f"{key}={value}" for key, value in self.query.items())
        slashes = "//" if self.scheme in _ADDRESSED else ""
        body = self.scheme if self.scheme == "-" else f"{self.scheme}:{slashes}{self.path}"
        return f"{body}?{tail}" if tail else body

    def only(self, keys: Collection[str]) -> None:
        """UsageError when the query holds a key that is not among these."""
        for key in self.query:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f"did you mean {near[0]}=? " if near else ""
                known = ", ".join(sorted(keys)) or "no keys"
                raise UsageError(
                    f"{self}: {self.scheme} does not know {key!r}",
                    hint=f"{hint}{self.scheme} takes {known}",
                )

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """The number behind a key, decimal suffixes k, M, G allowed; within low … high."""
        text = self.query.get(key)
        if text is None:
            return default
        match = _NUMBER.fullmatch(text)
        value = float(match[1]) * _SUFFIX[match[2]] if match else math.nan
        if not low <= value <= high:
            raise UsageError(
                f"{self}: {key}={text} is not a number from {low:g} to {high:g}",
                hint=f"for example {key}={default:.10g}",
            )
        return value

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """The whole number behind a key, otherwise as `number`."""
        value = self.number(key, default, low, high)
        if abs(value - round(value)) > 1e-6:
            raise UsageError(
                f"{self}: {key}={self.query[key]} is not a whole number",
                hint=f"for example {key}={default}",
            )
        return round(value)

    def decibels(self, key: str, default: float, low: float, high: float) -> float:
        """The level behind a key, written -12 or -12dB; within low … high."""
        text = self.query.get(key)
        if text is None:
            return default
        match = _DECIBELS.fullmatch(text)
        value = float(match[1]) if match else math.nan
        if not low <= value <= high:
            raise UsageError(
                f"{self}: {key}={text} is not a level from {low:g} to {high:g} dB",
                hint=f"for example {key}={default:g}dB",
            )
        return value

    def choice(self, key: str, default: str, words: Collection[str]) -> str:
        """The word behind a key, one of `words`."""
        text = self.query.get(key, default)
        if text not in words:
            raise UsageError(
                f"{self}: {key}={text} is not known", hint=f"{key} is one of {', '.join(words)}"
            )
        return text

    def flag(self, key: str) -> bool:
        """Whether a key is set to 1; 0 and absence are no."""
        text = self.query.get(key, "0")
        if text not in {"0", "1"}:
            raise UsageError(f"{self}: {key}={text} is neither 0 nor 1", hint=f"write {key}=1")
        return text == "1"

    def endpoint(self) -> tuple[str, int]:
        """The path as host and port; an empty host where none is named, port 0 likewise."""
        match = _ENDPOINT.fullmatch(self.path)
        port = int(match[3] or 0) if match else -1
        if match is None or port > 0xFFFF or (match[3] and not port):
            raise UsageError(
                f"{self}: {self.path!r} is not HOST:PORT",
                hint=f"for example {self.scheme}://10.9.0.2:5000 or {self.scheme}://[fd00::2]:5000",
            )
        return match[1] or match[2], port

    def line_rate(self) -> float | None:
        """`rate=` in bits per second, as bytes per second; None when it is not given.

        Bits, as `udp:` has it: `rate=900M` means 900 Mbit/s, `rate=115200` is 14.4 kB/s.
        """
        if "rate" not in self.query:
            return None
        return self.number("rate", 10e6, 1, 1e12) / 8


def _parse_query(text: str, tail: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for item in tail.split("&"):
        key, mark, value = item.partition("=")
        if not mark or not key:
            raise UsageError(
                f"{text!r}: {item!r} is not key=value",
                hint="a question mark inside a file name is written %3F",
            )
        if key in query:
            raise UsageError(f"{text!r}: {key} is given twice")
        query[key] = unquote(value)
    return query


def _meant(text: str) -> str:
    """The hint for something without a scheme."""
    scheme = "serial" if text.startswith(("/dev/tty", "/dev/serial/", "COM")) else "file"
    return f"did you mean {scheme}:{text}?" if text else "for example file:PATH or - for a pipe"


def _unknown_scheme(text: str, scheme: str, schemes: Collection[str]) -> UsageError:
    words = sorted(name for name in schemes if name != "-")
    near = difflib.get_close_matches(scheme, words, 1)
    known = ", ".join(f"{name}:" for name in words)
    meant = f"did you mean {near[0]}:? " if near else f"did you mean file:{text}? "
    return UsageError(
        f"{text!r}: there is no carrier {scheme!r}",
        hint=f"{meant}the carriers are {known} and - (stdin, stdout)",
    )
