"""What the UART itself saw go wrong on the receiving side, as far as its driver tells.

Linux counts for each serial port since its driver was loaded (TIOCGICOUNT, ioctl_tty(2); struct
serial_icounter_struct of linux/serial.h): bytes that came while the UART's FIFO was full
(overrun) or the kernel's buffer was (buf_overrun), stop bits that were not there (frame), and lines
held at zero for longer than a byte (brk). The first two are losses of this machine and not of the
line; the others say that the line is noisy, or that the two ends differ in speed or format.
Pseudo-terminals and some USB drivers do not count.

Only a receiver may ask: the same structure tells of CTS, DSR, RI and DCD, which would be a way into
a sender. These four are not even looked at here.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock

_COUNTER = struct.Struct("=11i36x")
"""cts dsr rng dcd rx tx frame overrun parity brk buf_overrun, nine reserved."""
_ASK = getattr(termios, "TIOCGICOUNT", None)
EVERY = 1.0
"""Seconds between two questions."""
MANY = 8
"""Framing errors and breaks before they are told: who joins in mid-byte sees one or two."""


@dataclass(slots=True)
class LineErrors:
    """Of the driver's counts those that tell of errors, by names of the `link` event."""

    overruns: int = 0
    """By the UART or by the kernel's buffer; each is a byte or more that was lost here."""
    framing_errors: int = 0
    parity_errors: int = 0
    breaks: int = 0

    @classmethod
    def of(cls, fd: int) -> LineErrors | None:
        """The counts of the port that is open there; None where its driver has none."""
        if _ASK is None:
            return None
        try:
            raw = fcntl.ioctl(fd, _ASK, bytes(_COUNTER.size))
        except OSError:
            return None
        *_, frame, overrun, parity, breaks, buffer = _COUNTER.unpack(raw)
        return cls(overrun + buffer, frame, parity, breaks)

    def since(self, before: LineErrors) -> LineErrors:
        """What came on top; the driver's counts have 32 bits and wrap."""
        pairs = zip(asdict(self).values(), asdict(before).values(), strict=True)
        return LineErrors(*((now - then) % (1 << 32) for now, then in pairs))

    def plus(self, other: LineErrors) -> LineErrors:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return LineErrors(*(one + two for one, two in pairs))


class Watch:
    """Counts on over the times that a port is opened, and warns once of each kind of trouble."""

    def __init__(self, path: str, notice: Callable[[str], None], clock: Clock) -> None:
        self._path = path
        self._notice = notice
        self._clock = clock
        self._next = 0.0
        self._total = LineErrors()
        self._seen: LineErrors | None = None
        self._told: set[str] = set()

    def opened(self, seen: LineErrors | None) -> None:
        """A port was opened; what its driver had counted before does not count."""
        self._seen = seen
        self._next = self._clock() + EVERY

    @property
    def due(self) -> bool:
        """Whether it is time to ask again, and any use."""
        return self._seen is not None and self._clock() >= self._next

    def look(self, seen: LineErrors | None) -> None:
        """Take what the driver says now."""
        self._next = self._clock() + EVERY
        if seen is None or self._seen is None:
            return
        self._total = self._total.plus(seen.since(self._seen))
        self._seen = seen
        total = self._total
        wrong = total.framing_errors + total.parity_errors + total.breaks
        if total.overruns:
            self._tell(
                "overrun",
                f"bytes came faster than this machine took them from the port ({total.overruns} "
                "overruns): a lower baud rate or a UART with a larger FIFO helps",
            )
        if wrong >= MANY:
            self._tell(
                "line",
                f"the port counts {total.framing_errors} framing errors and {total.breaks} breaks: "
                "is the baud rate that of the sender, 8N1, and is ground connected?",
            )

    @property
    def counts(self) -> dict[str, int]:
        """By names of the `link` event; empty where the driver has never counted."""
        return {} if self._seen is None else asdict(self._total)

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._notice(f"{self._path}: {text}")
