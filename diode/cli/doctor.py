"""diode doctor: is this machine set up for the link?"""

from __future__ import annotations

import click

from diode import doctor
from diode.cli import complete, options
from diode.cli.report import Report
from diode.doctor import Check, Status
from diode.errors import Partial, UsageError


@click.command(short_help="check how this machine is set up for a link")
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
@click.option("--one-way", is_flag=True, help="With --to serial: send, and see if it comes back.")
@options.manners
def command(
    to: str | None, from_: str | None, one_way: bool, json_: bool, quiet: bool, verbose: bool
) -> int:
    """Check what is easily forgotten, and say which command mends it.

    \b
      diode doctor --to udp://10.9.0.2:5000
      diode doctor --from 'udp://10.9.0.2:5000?interface=eth1'
      diode doctor --one-way --to serial:/dev/ttyUSB0

    It looks and changes nothing, and never sends anything on the link. Only with --one-way it
    does: it sends a pattern, raises and lowers DTR and RTS, and listens on RX and the modem lines
    for a way back. Exit code 3 where something is bad; what this machine does not tell is no fault.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if (to is None) == (from_ is None):
        raise UsageError(
            "doctor looks at one end", hint="diode doctor --to URL, or diode doctor --from URL"
        )
    found = _tried(to) if one_way else doctor.examine(to or from_ or "", sends=to is not None)
    for check in found:
        report.event(
            "check", name=check.name, status=check.status, found=check.found, mend=check.mend
        )
        if not quiet or check.status == Status.BAD:
            report.result(f"{check.status:7}  {check.name}: {check.found}")
            if check.mend:
                report.result(f"         mend: {check.mend}")
    bad = sum(check.status == Status.BAD for check in found)
    return Partial.exit_code if bad else 0


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
