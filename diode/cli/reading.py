"""Opening what a verb listens to, confined on both sides.

Live verbs (`recv`, `linktest recv`) have their carrier read by a process of its own
(carrier/separate.py); what that one may still do depends on the carrier (confinement.py). Where
the system cannot have one, the same process reads, and says so with -v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode import carrier, line
from diode.carrier import separate
from diode.cli import confinement, options
from diode.errors import UsageError
from diode.service.merged import Ear, Merged

if TYPE_CHECKING:
    import contextlib

    from diode.carrier import ReceivingCarrier
    from diode.cli.report import Report


def merged(
    report: Report,
    urls: tuple[str, ...],
    line_asked: str | None,
    impair: str | None,
    sandbox: str,
    size: int,
    stack: contextlib.ExitStack,
) -> tuple[Merged, str]:
    """The lanes of these URLs as one, to be closed with the stack; otherwise as `opened`.

    line_asked: by name, of all that carry bytes. size: of the buffer of each.
    """
    if len(urls) > 1 and not separate.POSSIBLE:
        raise UsageError("this system cannot listen to several carriers", hint="one --from only")
    ears, done = [], ""
    for number, (url, name) in enumerate(options.lines_for(urls, line_asked, line.AUTO)):
        medium, done = opened(report, url, impair, sandbox, size, lane=number)
        stack.callback(medium.close)
        ears.append(Ear(options.lane(number, url), medium, line.decoder(name)))
    return Merged(ears, report.warn), done


def opened(
    report: Report,
    url: str,
    impair: str | None,
    sandbox: str,
    size: int = separate.SIZE,
    lane: int = 0,
) -> tuple[ReceivingCarrier, str]:
    """The carrier, and what was done to confine the process that reads it, in words.

    size: bytes heard and not yet worked on that are kept. lane: which of several it is. Raises as
    `carrier.open_receiving`.
    """
    if not separate.POSSIBLE:
        report.detail("no process of its own reads the carrier on this system")
        return carrier.open_receiving(url, impair=impair, notice=report.warn), "none"
    medium = separate.open_separate(
        url,
        confine=lambda: confinement.reader(url, sandbox),
        impair=impair,
        lane=lane,
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
