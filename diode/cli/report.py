"""What the user sees, and in which words.

Rules. Results go to stdout, everything else to stderr. With --json stdout carries one JSON object a
line and nothing else. Messages begin in lower case and have no full stop at the end. An error
says what happened, then, on a line of its own, `hint:` and the next step. Colour and
progress only on a terminal, and never with NO_COLOR. Text that came over the link is
escaped (objects.escape) before it is shown. The sender says "sent", never "delivered".
How messages look, to people, the journal or a program, is in log.py.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from diode.cli import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import click

    from diode.cli.terminal import Terminal
    from diode.errors import DiodeError


TAKEN_FOR_ONE = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""Variables by which something else than a terminal may be taken for one."""


def _terminal() -> Terminal | None:
    """Standard error, if it is one."""
    if sys.stderr is None:
        return None
    if not sys.stderr.isatty() and TAKEN_FOR_ONE.isdisjoint(os.environ):
        return None
    from diode.cli.terminal import Terminal

    return Terminal.there()


class Report:
    """Where a verb's words go."""

    def __init__(self, *, json_: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json_
        self.quiet = quiet
        self.verbose = verbose
        self.terminal = _terminal()
        self.log = log.opened(self.terminal.console if self.terminal else None, events=json_)

    @property
    def live(self) -> Terminal | None:
        """Where a progress display makes sense, if anywhere."""
        return self.terminal if self.log.live and not self.json and not self.quiet else None

    def event(self, name: str, /, **fields: Any) -> None:
        """An event of the JSON contract; nothing without --json."""
        if self.json:
            self._stdout(json.dumps({"event": name, **fields}, ensure_ascii=True) + "\n")

    def events(self, name: str, each: Iterable[dict[str, Any]], shared: Mapping[str, Any]) -> None:
        """An event for each, with the `shared` fields behind its own: there may be thousands, so
        those are written out once, and all of it goes to stdout in one call.
        """
        if self.json:
            before = json.dumps({"event": name}, ensure_ascii=True)[:-1]
            behind = json.dumps(shared, ensure_ascii=True)[1:]
            own = (json.dumps(fields, ensure_ascii=True)[1:-1] for fields in each)
            self._stdout("".join(f"{before}, {fields}, {behind}\n" for fields in own))

    def result(self, *texts: str) -> None:
        """Result lines on stdout; nothing with --json, whose events are the results."""
        if not self.json:
            sys.stdout.flush()
            encoded = [os.fsencode(text) + b"\n" for text in texts]  # a name need not be UTF-8
            sys.stdout.buffer.write(b"".join(encoded))
            sys.stdout.flush()

    def say(self, text: str, style: str = "") -> None:
        """Something worth knowing."""
        if not self.quiet:
            self.log.message(log.INFO, text, style=style)

    def detail(self, text: str) -> None:
        """Something only -v asks for."""
        if self.verbose and not self.quiet:
            self.log.message(log.DETAIL, text)

    def warn(self, text: str) -> None:
        """Something that is not as it should be."""
        self.event("warning", message=text)
        self.log.message(log.WARNING, text)

    def error(self, error: DiodeError) -> None:
        """What ended the command."""
        self.event("error", code=error.exit_code, message=str(error), hint=error.hint)
        self.log.message(log.ERROR, str(error), hint=error.hint, code=error.exit_code)

    def refused(self, error: click.ClickException) -> None:
        """The command line is wrong."""
        self.event("error", code=error.exit_code, message=error.format_message(), hint="")
        self.log.refused(error)

    def _stdout(self, lines: str) -> None:
        sys.stdout.write(lines)
        sys.stdout.flush()
