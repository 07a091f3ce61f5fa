"""A serial line as a POSIX terminal: opened in one direction, raw 8N1, at any rate.

One direction is a matter of the descriptor. A sender's is opened O_WRONLY, so that `read`
on it is EBADF whatever any library does, and the receiver part of the UART is left off
(no CREAD). No flow control of any sort is enabled and the modem lines are never asked for
(no TIOCMGET, TIOCMIWAIT, TIOCMBIS): CTS, DSR and XOFF would be ways back in. pyserial is not
used here because it opens every port for reading and writing.

Raw means that every byte passes as it is: no input or output processing, no echo, no
signals, no parity marks, breaks ignored. CLOCAL: the carrier detect line is not waited for.
HUPCL is off, so that closing does not toggle DTR and reset whatever is on the other end.

Classic termios knows a list of rates. Linux takes any number through TCSETS2 with BOTHER
(ioctl_tty(2), asm-generic/termbits.h), and drivers round to what their divider can do: so the
rate is read back. Elsewhere the list is all there is.

Two holders of one port would mix their frames: flock keeps other `diode`s out and TIOCEXCL
other programs. TIOCEXCL is left off pseudo-terminals, where it outlives its setter until the
master closes, so that a killed process could never be started again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from diode.carrier.apart import apart
from diode.carrier.descriptor import read_some, write_all
from diode.carrier.ports import ports_hint
from diode.errors import CarrierError

if TYPE_CHECKING:
    from typing import Any

    from diode.carrier.uart import LineErrors

# struct termios2: c_iflag c_oflag c_cflag c_lflag, c_line, c_cc[19], c_ispeed c_ospeed.
_TERMIOS2 = struct.Struct("=4IB19s2I")
_TCGETS2 = 0x802C542A
_TCSETS2 = 0x402C542B
_BOTHER = 0o010000
# These ioctl numbers are asm-generic; the few Linux ports with their own keep the list of rates.
_ANY_RATE = sys.platform == "linux" and os.uname().machine.startswith(
    ("x86", "i386", "i486", "i586", "i686", "arm", "aarch64", "riscv", "loongarch", "s390")
)

_UNIX98_SLAVES = range(136, 144)
"""Device majors of pseudo-terminals on Linux."""


class SendingTerminal:
    """A port opened for writing only."""

    def __init__(self, path: str, baud: int) -> None:
        """Raises CarrierError, with a hint, when it cannot be had."""
        self._fd, self.baud = _open(path, os.O_WRONLY, baud)
        os.set_blocking(self._fd, True)

    def write(self, data: memoryview) -> None:
        """Write every byte, waiting for room. OSError when the port is gone."""
        write_all(self._fd, data)

    def queued(self) -> int:
        """Bytes in the kernel that have not been played; 0 where the driver does not tell."""
        try:
            return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def drain(self) -> None:
        """Wait for the UART to play what it holds; errors mean there is nothing to wait for."""
        try:
            termios.tcdrain(self._fd)
        except termios.error:
            return

    def close(self) -> None:
        """Release and close. A second call does nothing."""
        fd, self._fd = self._fd, -1
        _close(fd)


class ReceivingTerminal:
    """A port opened for reading only."""

    def __init__(self, path: str, baud: int) -> None:
        """Raises CarrierError, with a hint, when it cannot be had."""
        self._fd, self.baud = _open(path, os.O_RDONLY, baud)

    def read(self, timeout: float | None) -> bytes | None:
        """As `descriptor.read_some`; b'' or OSError when the port is gone."""
        return read_some(self._fd, timeout)

    def errors(self) -> LineErrors | None:
        """What the UART saw go wrong since its driver was loaded; None where it does not tell."""
        from diode.carrier.uart import LineErrors  # noqa: PLC0415  for receivers only

        return LineErrors.of(self._fd)

    def close(self) -> None:
        """Release and close. A second call does nothing."""
        fd, self._fd = self._fd, -1
        _close(fd)


def _open(path: str, mode: int, baud: int) -> tuple[int, int]:
    """The descriptor and the rate that the driver set."""
    try:
        check_kind(path)
        # O_NONBLOCK: an open that waits for the carrier detect line would never return.
        fd = apart(os.open(path, mode | os.O_NOCTTY | os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        raise refusal(path, error) from error
    try:
        return fd, set_up(fd, baud, receiving=mode == os.O_RDONLY)
    except OSError as error:
        os.close(fd)
        raise refusal(path, error) from error
    except BaseException:
        os.close(fd)
        raise


def check_kind(path: str) -> None:
    """OSError for what can be opened but is no port: the open alone would tell it badly."""
    kind = Path(path).stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "")
    if not stat.S_ISCHR(kind):
        raise OSError(errno.ENOTTY, "")


def set_up(fd: int, baud: int, *, receiving: bool) -> int:
    """Take the port for ourselves and make it raw; returns the rate. Raises OSError."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        if os.major(os.fstat(fd).st_rdev) not in _UNIX98_SLAVES:
            fcntl.ioctl(fd, termios.TIOCEXCL)
        return (_raw_any_rate if _ANY_RATE else _raw_listed_rate)(fd, baud, receiving)
    except termios.error as error:
        raise OSError(*error.args) from error


def _control(receiving: bool) -> int:
    """c_cflag of 8N1 without any handshake."""
    return termios.CS8 | termios.CLOCAL | (termios.CREAD if receiving else 0)


def _characters(cc: bytearray) -> bytes:
    """c_cc with reads that return as soon as one byte is there."""
    cc[termios.VMIN] = 1
    cc[termios.VTIME] = 0
    return bytes(cc)


def _raw_any_rate(fd: int, baud: int, receiving: bool) -> int:
    held = _TERMIOS2.unpack(fcntl.ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))
    cc = _characters(bytearray(held[5]))
    wanted = (termios.IGNBRK, 0, _control(receiving) | _BOTHER, 0, 0, cc, baud, baud)
    fcntl.ioctl(fd, _TCSETS2, _TERMIOS2.pack(*wanted))
    got = _TERMIOS2.unpack(fcntl.ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))
    return int(got[7]) or baud


def _raw_listed_rate(fd: int, baud: int, receiving: bool) -> int:
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        rates = sorted(int(n[1:]) for n in dir(termios) if n[0] == "B" and n[1:].isdecimal())
        near = min(rates, key=lambda rate: abs(rate - baud))
        raise CarrierError(
            f"this system cannot set a serial port to {baud} baud",
            hint=f"the nearest it knows is baud={near}",
        )
    cc: list[Any] = termios.tcgetattr(fd)[6]
    cc[termios.VMIN], cc[termios.VTIME] = 1, 0
    attributes = [termios.IGNBRK, 0, _control(receiving), 0, speed, speed, cc]
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    return baud


def _close(fd: int) -> None:
    if fd < 0:
        return
    try:
        fcntl.ioctl(fd, termios.TIOCNXCL)
    except OSError:
        pass  # the device is gone, and its lock with it
    finally:
        os.close(fd)


def refusal(path: str, error: OSError | ValueError) -> CarrierError:
    """The error for a port that cannot be had, with the next step."""
    code = error.errno if isinstance(error, OSError) else errno.ENOENT
    if code in {errno.ENOENT, errno.ENOTDIR}:
        return CarrierError(f"{path}: there is no such port", hint=ports_hint())
    if code in {errno.EACCES, errno.EPERM}:
        return CarrierError(
            f"{path}: no permission to open this port",
            hint="add yourself to its group, `sudo usermod -aG dialout $USER`, "
            "then log in again (see also: ls -l /dev/ttyS* /dev/ttyUSB*)",
        )
    if code in {errno.EBUSY, errno.EAGAIN}:
        return CarrierError(
            f"{path}: the port is busy, another program holds it",
            hint=f"find it with: sudo fuser -v {path}",
        )
    if code == errno.EISDIR:
        return CarrierError(f"{path} is a directory, not a serial port", hint=ports_hint())
    if code in {errno.ENOTTY, errno.EINVAL}:
        return CarrierError(
            f"{path} is not a serial port", hint=f"for a capture file write file:{path}"
        )
    if code in {errno.EIO, errno.ENXIO, errno.ENODEV}:
        return CarrierError(f"{path}: there is no device behind this port", hint=ports_hint())
    return CarrierError(f"{path}: cannot be opened: {error}")
