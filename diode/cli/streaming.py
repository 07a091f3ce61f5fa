"""Standard input as an object: what the command line says about it, and names made for it.

A stream has no name and no time of its own, so `--name` may have places in it:

    {time}   20260201T143000Z, UTC      {date}   2026-02-01, UTC
    {host}   the name of this machine

Only an end that is meant as one makes an object. A pipe looks the same whether its writer was done
or failed, so whoever writes can leave a word beside it: where the --abort-file is there, nothing is
sent, and what is being sent is made void.
"""

from __future__ import annotations

import functools
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode.cli import options
from diode.cli.progress import progress
from diode.errors import UsageError
from diode.objects import wire_name
from diode.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.cli.report import Report
    from diode.source.stream import StreamSource


STDIN = "-"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says about standard input."""

    abort_file: str | None = None
    most: int | None = None
    in_pieces: bool = False

    def check(self, paths: tuple[str, ...], passes: int, *, cbr: bool) -> None:
        """UsageError where it says something that cannot be done."""
        used = STDIN in paths
        if self.in_pieces:
            if len(paths) != 1 or not used:
                raise UsageError("--no-spool goes with standard input alone")
            if cbr or not passes or self.most is not None:
                other = "--cbr" if cbr else "--max-spool" if passes else "--passes 0"
                raise UsageError(f"--no-spool and {other} contradict each other")
        for option, value in (("--abort-file", self.abort_file), ("--max-spool", self.most)):
            if value is not None and not used:
                raise UsageError(
                    f"{option} goes with standard input",
                    hint=f"tar c DIR | diode send - {option} …",
                )

    def source(self, report: Report, name: str) -> StreamSource:
        """Standard input, read to its end. Raises as `StreamSource`."""
        from diode.source.stream import StreamSource

        wanted = [part for part in name.split("/") if part]
        done = 0
        with progress(report, "reading") as bar:

            def read(count: int) -> None:
                nonlocal done
                done += count
                bar.update(done, None, size(done))

            return StreamSource(
                0,
                wire_name(wanted or ["stdin"]),
                read=read,
                most=self.most,
                abort_file=self.abort_file,
            )


def stream_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `send` about standard input, as one argument: `stream`."""

    @functools.wraps(command)
    def gathered(abort_file: str | None, max_spool: int | None, no_spool: bool, **rest: Any) -> Any:
        return command(stream=Asked(abort_file, max_spool, no_spool), **rest)

    abort = click.option(
        "--abort-file",
        type=click.Path(),
        help="Standard input is no object when this file is there at its end.",
    )
    most = click.option(
        "--max-spool", type=options.Size(), help="Refuse a standard input of more bytes."
    )
    pieces = click.option(
        "--no-spool", is_flag=True, help="Send standard input as it comes, in pieces in a folder."
    )
    return abort(most(pieces(gathered)))


def named(template: str | None) -> str | None:
    """The name that --name means at this moment."""
    if template is None or "{" not in template:
        return template
    now = time.gmtime()
    places = {
        "{time}": time.strftime("%Y%m%dT%H%M%SZ", now),
        "{date}": time.strftime("%Y-%m-%d", now),
        "{host}": platform.node() or "localhost",
    }
    for place, value in places.items():
        template = template.replace(place, value.replace("/", "_"))
    return template
