"""Is this machine set up for the link? Checks by subject, each with the command that mends it.

A member of the family is a module with `checks`: of one kind of carrier (`Member`, a line in
`SCHEMES`), or of the machine (`Subject`, a line in `MACHINE`). Folders and keys are looked at when
they are named. Each module gathers what is known into one value and judges it by pure functions,
one a check, so that both halves can be tried alone: the looking on a tree of made-up files
(`Machine`), the judging on made-up facts.

Checks look and never touch: nothing is changed, no port is opened, and nothing is sent on the link,
for which a look must not be the exception. Two are run on purpose only: `loopback` sends, and
`storage` writes a small file into a folder that was named, to time the disk. What a system does
not tell is `unknown`, and no fault; what works and could be better is a `hint`.
"""

from __future__ import annotations

import enum
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from diode import carrier

if TYPE_CHECKING:
    from diode.carrier import CarrierUrl
    from diode.doctor.machine import Machine

SCHEMES = {
    "udp": "diode.doctor.udp",
    "serial": "diode.doctor.serial",
    "audio": "diode.doctor.sound",
}
"""Scheme of the carrier to module. Of the others (files, pipes) there is nothing to set up."""
MACHINE = (
    "diode.doctor.software",
    "diode.doctor.confinement",
    "diode.doctor.clock",
    "diode.doctor.ports",
    "diode.doctor.units",
)
"""What is looked at on every machine, in this order."""


class Status(enum.StrEnum):
    """What a check came to. Values are stable names."""

    OK = "ok"
    BAD = "bad"
    HINT = "hint"
    """It works, and could work better."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    """A stable name."""
    status: Status
    found: str
    """What there is, in words."""
    mend: str = ""
    """The command that changes it, where one can be written."""


def ok(name: str, found: str) -> Check:
    return Check(name, Status.OK, found)


def bad(name: str, found: str, mend: str) -> Check:
    return Check(name, Status.BAD, found, mend)


def hint(name: str, found: str, mend: str) -> Check:
    return Check(name, Status.HINT, found, mend)


def unknown(name: str, found: str, mend: str = "") -> Check:
    return Check(name, Status.UNKNOWN, found, mend)


class Member(Protocol):
    """What a module in `SCHEMES` offers."""

    def checks(self, url: CarrierUrl, machine: Machine, *, sends: bool) -> list[Check]:
        """What there is to say of this end of that carrier."""


class Subject(Protocol):
    """What a module in `MACHINE` offers."""

    def checks(self, machine: Machine) -> list[Check]:
        """What there is to say of the machine."""


def examine(url: str, machine: Machine, *, sends: bool) -> list[Check]:
    """All checks for that carrier; none where there is nothing to set up. UsageError as parsed."""
    parsed = carrier.parse(url)
    carrier.facts(url)  # refuses keys and values that are wrong
    if parsed.scheme not in SCHEMES:
        return []
    member = cast("Member", importlib.import_module(SCHEMES[parsed.scheme]))
    return member.checks(parsed, machine, sends=sends)


def examine_machine(machine: Machine) -> list[Check]:
    """What concerns every use of this machine."""
    subjects = [cast("Subject", importlib.import_module(name)) for name in MACHINE]
    return [check for subject in subjects for check in subject.checks(machine)]
