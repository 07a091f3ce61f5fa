"""Does anything come back on a sender's serial port? A trial, run on purpose.

Everything else of a sender opens its port for writing alone. This opens it both ways, sends a
random pattern on TX and listens on RX. A plug that joins the two, an adapter that echoes, a
receiver that answers or a ground wire that carries more than ground brings back some of it.
Whatever else is heard there means that something drives RX, which on a one-way link has no wire.

Modem lines are ways back, too. DTR and RTS are raised and lowered, and what follows them among
CTS, DSR, DCD and RI is joined to them. In between and at the end they stand as they did before.

That nothing came back shows nothing of an attacker who waits; that something did settles it. No
code that sends may import this module (tests/test_layers.py).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import sys
import termios
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode import carrier
from diode.carrier.descriptor import read_some, write_all
from diode.carrier.serial import BITS
from diode.carrier.terminal import check_kind, refusal, set_up
from diode.doctor import Check, Status
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 256
"""Bytes of the pattern."""
RUN = 4
"""Bytes in a row that are no accident: one in 2^24 for each byte of noise heard."""
PATIENCE = 2.0
"""Seconds to listen before the pattern, and after it was sent."""
SETTLED = 0.1
"""Seconds in which a modem line follows another; USB adapters report theirs every 16 ms or so."""
_OUTPUTS = {"DTR": termios.TIOCM_DTR, "RTS": termios.TIOCM_RTS}
_INPUTS = {
    "CTS": termios.TIOCM_CTS,
    "DSR": termios.TIOCM_DSR,
    "DCD": termios.TIOCM_CAR,
    "RI": termios.TIOCM_RNG,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What came while the pattern was sent and after it, and before."""

    sent: bytes
    before: bytes
    after: bytes

    @property
    def returned(self) -> int:
        """Bytes that stand in a row of RUN or more as they were sent."""
        runs = {self.sent[at : at + RUN] for at in range(len(self.sent) - RUN + 1)}
        there = {
            at + offset
            for at in range(len(self.after) - RUN + 1)
            if self.after[at : at + RUN] in runs
            for offset in range(RUN)
        }
        return len(there)


def examine(url: str) -> list[Check]:
    """Try a sender's port. UsageError for a carrier that is none, CarrierError as it is opened."""
    parsed = carrier.parse(url)
    if parsed.scheme != "serial":
        raise UsageError(
            f"nothing can be tried on {parsed.scheme}: for what comes back",
            hint="diode doctor --one-way --to serial:/dev/ttyUSB0",
        )
    rate = carrier.facts(url).rate
    assert rate is not None
    port = _open(parsed.path, round(rate * BITS))
    try:
        return [_return_path(_try_pattern(port, rate)), _modem_lines(port), _flow_control(port)]
    except OSError as error:
        raise refusal(parsed.path, error) from error
    finally:
        os.close(port)


def _open(path: str, baud: int) -> int:
    """A descriptor to read and to write, raw."""
    try:
        check_kind(path)
        port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise refusal(path, error) from error
    try:
        set_up(port, baud, receiving=True)
        termios.tcflush(port, termios.TCIOFLUSH)
    except (OSError, termios.error) as error:
        os.close(port)
        raise refusal(path, OSError(*error.args)) from error
    except BaseException:
        os.close(port)
        raise
    return port


def _try_pattern(port: int, rate: float) -> Heard:
    before = _listen(port, PATIENCE / 4)
    pattern = secrets.token_bytes(LENGTH)
    write_all(port, memoryview(pattern))
    return Heard(pattern, before, _listen(port, LENGTH / rate + PATIENCE))


def _listen(port: int, seconds: float) -> bytes:
    """Everything that comes in that time."""
    end, heard = time.monotonic() + seconds, bytearray()
    while (left := end - time.monotonic()) > 0:
        data = read_some(port, left)
        if data == b"":  # the other end of a pseudo-terminal has gone
            break
        heard += data or b""
    return bytes(heard)


def _return_path(heard: Heard) -> Check:
    name = "return path"
    if heard.returned:
        return Check(
            name,
            Status.BAD,
            f"RETURN PATH PRESENT: {heard.returned} of {len(heard.sent)} bytes sent came back",
            "take the wire off RX; TX and ground are all that a sender needs",
        )
    strange = len(heard.before) + len(heard.after)
    if strange:
        return Check(
            name,
            Status.BAD,
            f"something drives RX: {strange} bytes came that were not sent here",
            "take the wire off RX; TX and ground are all that a sender needs",
        )
    return Check(name, Status.OK, f"nothing came back in {PATIENCE:g} s")


def _flow_control(port: int) -> Check:
    """Whether the driver did as `set_up` asked: nothing that comes back may hold up a sender."""
    name = "flow control"
    try:
        iflag, _, cflag, *_ = termios.tcgetattr(port)
    except termios.error:
        return Check(name, Status.UNKNOWN, "this port does not tell")
    on = [
        word
        for word, is_on in (
            ("RTS/CTS", cflag & termios.CRTSCTS),
            ("XON/XOFF", iflag & (termios.IXON | termios.IXOFF | termios.IXANY)),
        )
        if is_on
    ]
    if on:
        what = f"{', '.join(on)} cannot be switched off: who drives it can hold up this sender"
        return Check(name, Status.BAD, what, "ls -l /dev/serial/by-id  # use another adapter")
    return Check(name, Status.OK, "off")


# Modem lines ------------------------------------------------------------------------------------


def _modem_lines(port: int) -> Check:
    name = "modem lines"
    try:
        before = _lines(port)
    except OSError:
        return Check(name, Status.UNKNOWN, "this port has none, or its driver does not tell")
    try:
        joined = list(_followers(port, before))
    finally:
        fcntl.ioctl(port, termios.TIOCMSET, _number(before))
    if joined:
        return Check(
            name, Status.BAD, f"RETURN PATH PRESENT: {', '.join(joined)}", "take these wires off"
        )
    return Check(name, Status.OK, "none follows DTR or RTS")


def _followers(port: int, before: int) -> Iterator[str]:
    """`CTS follows RTS` of each pair that does."""
    for output, bit in _OUTPUTS.items():
        seen = []
        for level in (before ^ bit, before, before ^ bit):  # twice: a line may change by itself
            fcntl.ioctl(port, termios.TIOCMSET, _number(level))
            time.sleep(SETTLED)
            seen.append(_lines(port))
        fcntl.ioctl(port, termios.TIOCMSET, _number(before))
        time.sleep(SETTLED)
        for line, mask in _INPUTS.items():
            first, second, third = (lines & mask for lines in seen)
            if first == third != second:
                yield f"{line} follows {output}"


def _lines(port: int) -> int:
    (lines,) = struct.unpack("=i", fcntl.ioctl(port, termios.TIOCMGET, bytes(4)))
    return int(lines)


def _number(lines: int) -> bytes:
    return lines.to_bytes(4, sys.byteorder)
