"""The command line: one module a verb, imported when its verb is called."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING

# Before numpy is loaded. The modem's matrices are small: threads that wait for each other at every
# one of them make it many times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click

from diode.cli import signals
from diode.cli.report import Report
from diode.errors import DiodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = (
    "send",
    "recv",
    "run",
    "plan",
    "inspect",
    "linktest",
    "demo",
    "status",
    "verify",
    "manifest",
    "keygen",
    "doctor",
    "receipt",
    "service",
    "completion",
)
INTERRUPTED = 130
COMPLETING = "_DIODE_COMPLETE"
"""The variable in which a shell says what it wants (completion.py)."""


class Verbs(click.Group):
    """The verbs, each `command` of the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        gc.disable()  # what is loaded stays to the end: it is no garbage to be looked for
        command = importlib.import_module(f"diode.cli.{cmd_name}").command
        gc.freeze()
        gc.enable()
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="diode-fec", prog_name="diode")
def diode() -> None:
    """Send files across a link that carries data in one direction only.

    \b
      diode demo                                        both ends on this machine
      diode send report.pdf --to serial:/dev/ttyUSB0    the transmitter
      diode recv inbox --from serial:/dev/ttyUSB1       the receiver
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Nothing a user or a link can cause gives a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    json_ = "--json" in arguments
    if COMPLETING in os.environ:
        importlib.import_module("diode.cli.completion").ready()
    try:
        with signals.handled(signals.interrupt):
            code = diode.main(arguments, prog_name="diode", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        Report(json_=json_).refused(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except DiodeError as error:
        Report(json_=json_).error(error)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our results has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DiodeError.exit_code
    return code if isinstance(code, int) else 0
