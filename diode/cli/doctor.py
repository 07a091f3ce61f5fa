"""diode doctor: is this machine set up for the link?"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from diode import doctor
from diode.cli import complete, options
from diode.cli.report import Report
from diode.doctor import Check, Status, keys, storage
from diode.doctor.machine import Machine
from diode.errors import Partial, UsageError
from diode.objects import escape
from diode.service import config
from diode.service import state as states
from diode.sink.place import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be looked at, besides the machine itself."""

    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    """URLs of carriers."""
    inbox: str | None = None
    state: str | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str) -> Asked:
        """What a configuration of `diode run` uses. Raises ConfigurationError."""
        found = config.read(path)
        if (sender := found.sender) is not None:
            named = (sender.sign, sender.link_key, *sender.recipients)
            return cls(to=sender.urls, state=sender.state, keys=_given(*named))
        receiver = found.receiver
        assert receiver is not None
        named = (receiver.link_key, *receiver.verifiers, *receiver.identities)
        inbox = None if "://" in receiver.inbox else receiver.inbox
        state = receiver.state or os.path.join(receiver.inbox, STATE)
        return cls((), receiver.urls, inbox, state, _given(*named))


def _given(*values: str | None) -> tuple[str, ...]:
    return tuple(value for value in values if value is not None)


@click.command(short_help="check how this machine is set up")
@click.argument("path", required=False, metavar="[CONFIG.toml]", shell_complete=complete.files)
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
    path: str | None,
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
      diode doctor /etc/diode/sender.toml            what this configuration of diode run uses
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
    asked = Asked(_given(to), _given(from_), inbox, state, key_files)
    if path is not None:
        if asked != Asked():
            raise UsageError(
                "a configuration says all that there is to be looked at",
                hint=f"diode doctor {shlex.quote(path)}",
            )
        asked = Asked.of(path)
    found = _tried(to) if one_way else list(_looked(asked, Machine()))
    return _tell(report, found)


def _looked(asked: Asked, machine: Machine) -> Iterator[Check]:
    """All checks. A sender's own state folder is looked at where there is one."""
    for url in (*asked.to, *asked.from_):
        yield from doctor.examine(url, machine, sends=url in asked.to)
    state = asked.state
    if state is None and os.path.isdir(own := states.default_folder()):
        state = own
    for path, purpose in ((asked.inbox, "inbox"), (state, "state")):
        if path is not None:
            yield from storage.checks(path, purpose, machine)
    for path in asked.keys:
        yield from keys.checks(path, machine)
    yield from doctor.examine_machine(machine)


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
