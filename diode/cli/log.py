"""How messages look on standard error.

    text      words for people, in colour on a terminal
    journal   a priority before each line, as sd-daemon(3) has it: <4>the line falls silent
    json      one object a line: time, level, message, hint, and what else is known

Which one is said by `--log-format`, or by DIODE_LOG_FORMAT, which is set once for all verbs.
Otherwise it is the journal's where standard error is the journal, and text everywhere else. systemd
tells which descriptor it has connected in JOURNAL_STREAM, by device and inode, since the variable
is inherited by programs whose standard error went elsewhere.

The option is put into the environment, so that processes that are started later speak alike.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import click
    from rich.console import Console

VARIABLE = "DIODE_LOG_FORMAT"
JOURNAL_STREAM = "JOURNAL_STREAM"


@dataclass(frozen=True, slots=True)
class Level:
    """How grave a message is."""

    name: str
    priority: int
    """Of syslog."""
    style: str = ""
    prefix: str = ""
    """In text: which program it is that complains, among others in a pipeline."""


DETAIL = Level("debug", 7, "dim")
INFO = Level("info", 6)
WARNING = Level("warning", 4, "yellow", "diode: ")
ERROR = Level("error", 3, "bold red", "diode: ")
HINT = 5
"""Priority of the line with the next step."""


class Log(Protocol):
    """Where messages go."""

    live: bool
    """Whether a progress display may stand between messages, on a terminal."""

    def message(
        self, level: Level, text: str, *, hint: str = "", style: str = "", **fields: Any
    ) -> None:
        """One message. style: other than that of its level; fields: for programs."""

    def refused(self, error: click.ClickException) -> None:
        """The command line is wrong."""


class Mute:
    """Nobody reads messages: events say it all."""

    live = False

    def message(
        self, level: Level, text: str, *, hint: str = "", style: str = "", **fields: Any
    ) -> None:
        """Nothing."""

    def refused(self, error: click.ClickException) -> None:
        """Nothing."""


class Text:
    """Words for people."""

    live = True

    def __init__(self, console: Console | None) -> None:
        """console: that of a terminal; None: each message is a line without colours."""
        self._console = console

    def message(
        self,
        level: Level,
        text: str,
        *,
        hint: str = "",
        style: str = "",
        **_fields: Any,
    ) -> None:
        said = f"{level.prefix}{text}"
        then = f"{level.prefix}hint: {hint}" if hint else ""
        if self._console is None:
            _write(f"{said}\n{then}\n" if then else f"{said}\n")
            return
        self._console.print(said, style=style or level.style, markup=False)
        if then:
            self._console.print(then, markup=False)

    def refused(self, error: click.ClickException) -> None:
        error.show()


def _write(lines: str) -> None:
    """Onto standard error. When nobody reads it any more, or it is closed, the work goes on."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except BrokenPipeError:
        # What is left in the buffer must not fail again when Python flushes it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Lines:
    """Lines for programs."""

    live = False

    def __init__(self, form: Callable[[Level, str, str, dict[str, Any]], str]) -> None:
        """form: makes the lines of level, text, hint and what else is known."""
        self._form = form

    def message(
        self,
        level: Level,
        text: str,
        *,
        hint: str = "",
        style: str = "",  # noqa: ARG002  programs see no colours, and the journal has its own
        **fields: Any,
    ) -> None:
        _write(self._form(level, text, hint, fields))

    def refused(self, error: click.ClickException) -> None:
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help" if context else ""
        self.message(ERROR, error.format_message(), hint=hint, code=error.exit_code)


def _journal(level: Level, text: str, hint: str, _fields: dict[str, Any]) -> str:
    """For the journal, which takes the priority of each line from its beginning."""
    lines = [f"<{level.priority}>{line}\n" for line in text.splitlines()]
    lines += [f"<{HINT}>hint: {line}\n" for line in hint.splitlines()]
    return "".join(lines)


def _now() -> str:
    """The time of day by RFC 3339: written down, and nothing is decided by it."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 10**6:03d}Z"


def _json(level: Level, text: str, hint: str, fields: dict[str, Any]) -> str:
    """One object a line."""
    said = {"time": _now(), "level": level.name, "message": text, "hint": hint, **fields}
    return json.dumps(said) + "\n"


FORMATS = ("text", "json", "journal")


def asked(environment: Mapping[str, str] = os.environ) -> str | None:
    """The format that was asked for; None: none was, or one that is not known."""
    name = environment.get(VARIABLE)
    return name if name in FORMATS else None


def is_journal(environment: Mapping[str, str] = os.environ, descriptor: int = 2) -> bool:
    """Whether that descriptor is what systemd has connected to the journal."""
    stream = environment.get(JOURNAL_STREAM, "")
    try:
        found = os.fstat(descriptor)
    except OSError:  # closed
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def opened(console: Console | None, *, events: bool) -> Log:
    """Where messages go. events: standard output has them as events, so they go nowhere else
    unless a format was asked for.
    """
    name = asked()
    if name is None:
        if events:
            return Mute()
        name = "journal" if is_journal() else "text"
    logs: dict[str, Log] = {"text": Text(console), "json": Lines(_json), "journal": Lines(_journal)}
    return logs[name]
