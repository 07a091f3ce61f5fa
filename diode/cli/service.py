"""diode service: the files with which systemd runs a sender or a receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from diode.cli import complete, options
from diode.cli.report import Report
from diode.errors import Partial, UsageError
from diode.objects import escape
from diode.service import install
from diode.service.install import ROLES, Service, Step

if TYPE_CHECKING:
    from collections.abc import Callable

_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/")  # noqa: S108  they are what a unit does not see
"""Where a hardened unit finds no program."""

role = click.option("--role", type=click.Choice(ROLES), required=True, help="Which end this is.")
instance = click.option(
    "--instance", metavar="NAME", help="Name of its configuration.  [default: the role]"
)
root = click.option(
    "--root",
    type=click.Path(file_okay=False),
    default="/",
    show_default=True,
    help="Write below this folder: for images and packages.",
)
dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
force = click.option("--force", is_flag=True, help="Take changed files too.")


@click.group("service", short_help="run as a service of systemd")
def command() -> None:
    """Install or remove the files with which systemd runs a sender or a receiver.

    \b
      diode service install --role receiver --dry-run                  what it would write
      sudo diode service install --role receiver --port /dev/ttyUSB0
      sudo systemctl enable --now diode-receiver@receiver
      sudo diode service remove --role receiver
    """


@command.command("install", short_help="write units, users, folders and a rule for the port")
@role
@instance
@click.option(
    "--port",
    metavar="DEVICE",
    shell_complete=complete.ports,
    help="Serial port that gets a name which stays.",
)
@click.option(
    "--udp", "address", metavar="ADDRESS", default="", help="The link is udp, with that other end."
)
@root
@dry_run
@force
@options.manners
def install_command(
    role: str,
    instance: str | None,
    port: str | None,
    address: str,
    root: str,
    dry_run: bool,
    force: bool,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write a hardened unit, its user, its folders, a udev rule, and a first configuration.

    \b
      diode service install --role sender --dry-run
      sudo diode service install --role sender --port /dev/ttyUSB0
      sudo diode service install --role receiver --instance plant7 --udp 10.9.0.1

    What somebody has changed is left as it is, and told (exit code 3); --force replaces it. A
    configuration that is there is never replaced. Nothing is started: the commands that do are
    printed.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    known = _known(port) if port else ""
    service = Service(role, instance or role, _program(report), known, address)
    steps = install.installing(service, root, force=force)
    code = _done(report, steps, dry_run)
    for line in _next(service, port):
        report.say(line)
    return code


@command.command("remove", short_help="remove what install wrote")
@role
@instance
@root
@dry_run
@force
@options.manners
def remove_command(
    role: str,
    instance: str | None,
    root: str,
    dry_run: bool,
    force: bool,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Remove what install wrote; configuration, keys, state and files stay.

    \b
      sudo systemctl disable --now diode-sender@sender
      sudo diode service remove --role sender

    What somebody has changed stays and is told (exit code 3); --force removes it.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    service = Service(role, instance or role, "/usr/local/bin/diode")
    steps = install.removing(service, root, force=force)
    code = _done(report, steps, dry_run)
    report.say("kept: /etc/diode, /var/lib/diode, /var/spool/diode, and the user")
    report.say("next: sudo systemctl daemon-reload && sudo udevadm control --reload")
    return code


def _done(report: Report, steps: list[Step], dry_run: bool) -> int:
    """Do it, or show it; the exit code."""
    if not dry_run:
        install.carry_out(steps)
    for step in steps:
        report.event("file", path=step.path, action=step.action, done=not dry_run)
        if step.held_back:
            report.warn(f"{escape(step.path)} was changed and is left as it is; --force takes it")
        else:
            report.result(f"{step.action:8} {step.path}")
        if dry_run and step.action in ("write", "replace"):
            report.result("".join(f"    {line}\n" for line in step.content.splitlines()))
    return Partial.exit_code if any(step.held_back for step in steps) else 0


def _next(service: Service, port: str | None) -> list[str]:
    """The commands that follow."""
    name = f"diode-{service.role}@{service.instance}"
    rules = f"/etc/udev/rules.d/70-diode-{service.role}.rules"
    unnamed = f"  sudo editor {rules}   # the serial number of the port: ls /dev/serial/by-id/"
    named = "  sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty"
    ports = [named] if port else [unnamed, named]
    return [
        "next:",
        "  sudo systemd-sysusers && sudo systemd-tmpfiles --create",
        f"  sudo editor /etc/diode/{service.instance}.toml",
        *([] if service.address else ports),
        "  sudo systemctl daemon-reload",
        f"  sudo systemctl enable --now {name}",
        f"  journalctl -u {name} -f",
    ]


def _program(report: Report) -> str:
    """The program that the unit starts: this one."""
    beside = os.path.join(os.path.dirname(sys.executable), "diode")
    called = os.path.abspath(sys.argv[0])
    program = called if os.path.basename(called) == "diode" else beside
    for needed in (program, os.path.realpath(sys.executable)):
        if needed.startswith(_HIDDEN):
            report.warn(
                f"{escape(needed)} cannot be seen by a hardened service: install diode for all, "
                "such as in /opt/diode, with the system's Python, and run this again from there"
            )
            break
    return program


def _known(port: str, ask: Callable[[str], str] | None = None) -> str:
    """How a udev rule knows this port again. UsageError where udev does not know it."""
    try:
        said = (ask or _udev)(port)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"udev does not know the port {port}", hint="ls -l /dev/serial/by-id/"
        ) from error
    properties = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    known = install.rule(properties)
    if not known:
        raise UsageError(f"udev does not say by what {port} could be known again")
    return known


def _udev(port: str) -> str:
    return subprocess.run(
        ["udevadm", "info", "--query=property", f"--name={os.path.realpath(port)}"],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=10,
        check=True,
    ).stdout
