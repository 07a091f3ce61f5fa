"""Is this machine set up for the link? Checks by carrier, each with the command that mends it.

A member of the family is a module with `checks` (`Member`) and a line in `SCHEMES`. Checks look and
never touch: nothing is changed, and nothing is sent on the link, for which a look must not be
the exception. `loopback` is one, and runs on its own. What a system does not tell is `unknown`,
and no fault.
"""

from __future__ import annotations

import enum
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from diode import carrier
from diode.errors import UsageError

if TYPE_CHECKING:
    from diode.carrier import CarrierUrl

SCHEMES = {"udp": "diode.doctor.udp"}
"""Scheme of the carrier to module."""


class Status(enum.StrEnum):
    """What a check came to. Values are stable names."""

    OK = "ok"
    BAD = "bad"
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


class Member(Protocol):
    """What a module in `SCHEMES` offers."""

    def checks(self, url: CarrierUrl, *, sends: bool) -> list[Check]:
        """What there is to say of this end of that carrier."""


def examine(url: str, *, sends: bool) -> list[Check]:
    """All checks for that carrier. UsageError for a URL that is wrong or that none are for."""
    parsed = carrier.parse(url)
    if parsed.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise UsageError(
            f"there is nothing to check for {parsed.scheme}:", hint=f"doctor knows {known}"
        )
    member = cast("Member", importlib.import_module(SCHEMES[parsed.scheme]))
    return member.checks(parsed, sends=sends)
