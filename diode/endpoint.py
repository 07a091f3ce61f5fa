"""Where records come from and go to, as text: `mqtt://user@broker:1883/plant/#?qos=1`.

Like a URL, but for one thing: `#` stands for itself, since patterns of topics end with it. Percent
escapes are undone. Each kind says which options it knows, and any other one is an error that names
the nearest.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import unquote

from diode import quantity
from diode.errors import UsageError
from diode.objects import escape

SLOWEST = 30.0
"""Seconds between two attempts to reach one, at most."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One such text in its parts."""

    text: str
    scheme: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""
    """What is behind the host, without the first `/`; all of it where there is no host."""
    options: dict[str, list[str]] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """As it may be told: without a password."""
        text = self.text
        if self.password:
            head, _, rest = text.partition("://")
            text = f"{head}://{self.user}@{rest.rpartition('@')[2]}"
        return escape(text)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def known(self, *names: str) -> None:
        """UsageError for an option that is none of these."""
        for name in self.options:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                there = f"did you mean {near[0]}=" if near else f"there are {', '.join(names)}"
                raise UsageError(f"{self.shown}: there is no option {escape(name)}=", hint=there)

    def option(self, name: str, otherwise: str = "") -> str:
        """An option that is given once at most."""
        values = self.options.get(name, [otherwise])
        if len(values) > 1:
            raise UsageError(f"{self.shown}: {name}= is given {len(values)} times")
        return values[0]

    def one_of(self, name: str, *words: str) -> str:
        """An option that is one of these words; the first where it is not given."""
        value = self.option(name, words[0])
        if value not in words:
            raise UsageError(
                f"{self.shown}: {name}={escape(value)} is none of the words that there are",
                hint=" or ".join(f"{name}={word}" for word in words),
            )
        return value

    def number(self, name: str, otherwise: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        text = self.option(name, str(otherwise))
        if not text.isascii() or not text.isdigit() or not low <= int(text[:12]) <= high:
            raise UsageError(f"{self.shown}: {name}= is a whole number from {low} to {high}")
        return int(text)

    def seconds(self, name: str, otherwise: str, low: float = 0.0, high: float = 1e9) -> float:
        """A time."""
        try:
            value = quantity.duration(self.option(name, otherwise))
        except ValueError as error:
            raise UsageError(f"{self.shown}: {name}= is {quantity.A_TIME}") from error
        if not low <= value <= high:
            raise UsageError(f"{self.shown}: {name}= goes from {low:g} to {high:g} seconds")
        return value

    def size(self, name: str, otherwise: str) -> int:
        """Bytes."""
        try:
            return quantity.size(self.option(name, otherwise))
        except ValueError as error:
            raise UsageError(f"{self.shown}: {name}= is {quantity.A_SIZE}") from error

    def secret(self) -> str:
        """The password: the first line of `password-file=`, or what stands before the host."""
        path = self.option("password-file")
        if not path:
            return self.password
        try:
            with open(path, encoding="utf-8") as file:
                return file.readline(4096).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.shown}: {escape(path)} cannot be read") from error


def parse(text: str, ports: dict[str, int]) -> Endpoint:
    """The parts of it. ports: those of schemes with a host, where none is given. UsageError."""
    head, _, query = text.partition("?")
    options: dict[str, list[str]] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        options.setdefault(unquote(name), []).append(unquote(value))
    if head == "-":
        return Endpoint(text, "-", options=options)
    scheme, colon, rest = head.partition(":")
    if not colon:
        raise UsageError(
            f"{escape(text)} says no kind of place", hint=f"file:{escape(text)}, or mqtt://HOST"
        )
    if not rest.startswith("//"):
        return Endpoint(text, scheme, path=unquote(rest), options=options)
    authority, _, path = rest[2:].partition("/")
    before, _, place = authority.rpartition("@")
    user, _, password = before.partition(":")
    host, port = _host(text, place)
    if port is None:
        port = ports.get(scheme)
    whole = unquote(user), unquote(password), host, port, unquote(path)
    return Endpoint(text, scheme, *whole, options=options)


def _host(text: str, place: str) -> tuple[str, int | None]:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, ""
    if port and not (port.isascii() and port.isdigit() and int(port[:6]) < 1 << 16):
        raise UsageError(f"{escape(text)}: {escape(port)} is no port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, int(port) if port else None


def needed(package: str, extra: str) -> None:
    """UsageError where a package is not installed."""
    try:
        import_module(package)
    except ImportError as error:
        raise UsageError(
            f"this needs the package {package}, which is not installed",
            hint=f"pip install 'diode-fec[{extra}]'",
        ) from error
