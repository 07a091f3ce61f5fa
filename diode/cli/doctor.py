"""diode doctor: is this machine set up for the link?"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import click

from diode import doctor
from diode.cli import complete, options
from diode.cli.report import Report
from diode.doctor import Check, Status, keys, storage
from diode.doctor.machine import Machine
from diode.errors import Partial, UsageError
from diode.objects import escape
from diode.service import state as states

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(short_help="check how this machine is set up")
@click.option(
    "--to",
    "to",
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier that this machine sends on.",
)
@click.option(
    "--from",
    "from_",
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier that this machine listens on.",
)
@click.option(
    "--inbox",
    type=click.Path(),
    metavar="INBOX",
    shell_complete=complete.folders,
    help="Folder that is received into.",
)
@click.option(
    "--state",
    type=click.Path(),
    metavar="DIR",
    shell_complete=complete.folders,
    help="State folder.",
)
@click.option(
    "--key",
    "key_files",
    type=click.Path(),
    multiple=True,
    metavar="KEYFILE",
    shell_complete=complete.files,
    help="A key; repeatable.",
)
@click.option("--one-way", is_flag=True, help="With --to serial: send, and see if it comes back.")
@options.manners
def command(
    to: str | None,
    from_: str | None,
    inbox: str | None,
    state: str | None,
    key_files: tuple[str, ...],
    one_way: bool,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Check what is easily forgotten, and say which command mends it.

    \b
      diode doctor
      diode doctor --to serial:/dev/ttyUSB0 --key plant7
      diode doctor --from 'udp://10.9.0.2:5000?interface=eth1' --inbox in --state /var/lib/diode
      diode doctor --one-way --to serial:/dev/ttyUSB0

    It looks and changes nothing, and never sends anything on the link; it times the disk with a
    small file in the folders named and in a sender's state folder. Only with --one-way it sends: a
    pattern; it raises and lowers DTR and RTS, and listens on RX and the modem lines for a way
    back. Exit code 3 where something is bad; hints, and what is not to be known, are no faults.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if to is not None and from_ is not None:
        raise UsageError(
            "doctor looks at one end", hint="diode doctor --to URL, or diode doctor --from URL"
        )
    machine = Machine()
    if one_way:
        found = _tried(to)
    else:
        found = [
            *_link(to, from_, machine),
            *_named(inbox, state, key_files, machine),
            *doctor.examine_machine(machine),
        ]
    return _tell(report, found)


def _link(to: str | None, from_: str | None, machine: Machine) -> list[Check]:
    url = to or from_
    return [] if url is None else doctor.examine(url, machine, sends=to is not None)


def _named(
    inbox: str | None, state: str | None, key_files: tuple[str, ...], machine: Machine
) -> Iterator[Check]:
    """Checks of folders and keys. A sender's own state folder is looked at where there is one."""
    if state is None and os.path.isdir(own := states.default_folder()):
        state = own
    for path, purpose in ((inbox, "inbox"), (state, "state")):
        if path is not None:
            yield from storage.checks(path, purpose, machine)
    for path in key_files:
        yield from keys.checks(path, machine)


def _tell(report: Report, found: list[Check]) -> int:
    for check in found:
        report.event(
            "check", name=check.name, status=check.status, found=check.found, mend=check.mend
        )
        if not report.quiet or check.status == Status.BAD:
            report.result(f"{check.status:7}  {escape(check.name)}: {escape(check.found)}")
            if check.mend:
                report.result(f"         mend: {_command(check.mend)}")
    counts = Counter(check.status for check in found)
    words = [f"{counts[status]} {status}" for status in Status if counts[status]]
    report.detail(", ".join(words))
    return Partial.exit_code if counts[Status.BAD] else 0


def _command(text: str) -> str:
    """A command to paste: as `escape` has it, but backslashes mean what they do."""
    return "\\".join(escape(part) for part in text.split("\\"))


def _tried(to: str | None) -> list[Check]:
    if to is None:
        raise UsageError(
            "--one-way tries a sender's port", hint="diode doctor --one-way --to serial:PORT"
        )
    try:
        from diode.doctor import loopback
    except ImportError as error:
        raise UsageError("serial ports cannot be tried on this system") from error
    return loopback.examine(to)
