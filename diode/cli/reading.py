"""Opening what a verb listens to, confined on both sides.

Live verbs (`recv`, `linktest recv`) have their carrier read by a process of its own
(carrier/separate.py); what that one may still do depends on the carrier (confinement.py). Where
the system cannot have one, the same process reads, and says so with -v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode import carrier
from diode.carrier import separate
from diode.cli import confinement

if TYPE_CHECKING:
    from diode.carrier import ReceivingCarrier
    from diode.cli.report import Report


def opened(
    report: Report, url: str, impair: str | None, sandbox: str, size: int = separate.SIZE
) -> tuple[ReceivingCarrier, str]:
    """The carrier, and what was done to confine the process that reads it, in words.

    size: bytes heard and not yet worked on that are kept. Raises as `carrier.open_receiving`.
    """
    if not separate.POSSIBLE:
        report.detail("no process of its own reads the carrier on this system")
        return carrier.open_receiving(url, impair=impair, notice=report.warn), "none"
    medium = separate.open_separate(
        url,
        confine=lambda: confinement.reader(url, sandbox),
        impair=impair,
        notice=report.warn,
        size=size,
    )
    done = "off" if sandbox == "off" else confinement.told(report, "reader", medium.confinement)
    return medium, done


def dropped(medium: ReceivingCarrier) -> dict[str, int]:
    """Fields of events: what found no room."""
    return {
        "dropped_bytes": getattr(medium, "bytes_dropped", 0),
        "dropped_reads": getattr(medium, "reads_dropped", 0),
    }


def figures(medium: ReceivingCarrier) -> dict[str, int]:
    """Fields of the `link` event: what found no room, and what is heard and not yet worked on."""
    return dropped(medium) | {"backlog": getattr(medium, "backlog", 0)}
