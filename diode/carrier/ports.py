"""Which serial ports there are, and ports on platforms without termios.

pyserial knows how to list ports everywhere. On Linux the names under /dev/serial/by-id are
better than its /dev/ttyUSB0: they name the adapter, and stay when it is plugged in again.

On a platform without termios (Windows) pyserial also opens the ports. It opens them for
reading and writing alike: there the one direction rests on this code, which never reads, and
on the wiring, and no longer on the operating system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diode.errors import CarrierError

BY_ID = Path("/dev/serial/by-id")


def stable_name(path: str) -> str:
    """The by-id name of a port, which finds it again after replugging; else `path` itself."""
    try:
        device = Path(path).resolve(strict=True)
        for name in sorted(BY_ID.iterdir()):
            if name.resolve() == device:
                return str(name)
    except (OSError, RuntimeError):
        pass  # no such folder, or a name that vanished while we looked
    return path


def list_ports() -> list[str]:
    """The ports of this machine, by their best names."""
    from serial.tools import list_ports as finder  # noqa: PLC0415 - slow, and only for hints

    return [stable_name(str(port.device)) for port in sorted(finder.comports())]


def ports_hint() -> str:
    """A hint that names the ports there are."""
    found = list_ports()
    if not found:
        return "no serial port was found; is the adapter plugged in? (see: sudo dmesg | tail)"
    return "ports found: " + ", ".join(f"serial:{name}" for name in found)


class SendingPort:
    """A port to transmit on, through pyserial."""

    def __init__(self, path: str, baud: int) -> None:
        self._port = _open(path, baud)
        self.baud = baud

    def write(self, data: memoryview) -> None:
        """Write every byte. OSError when the port is gone."""
        self._port.write(data)

    def queued(self) -> int:
        """Bytes that have not been played."""
        return int(self._port.out_waiting)

    def drain(self) -> None:
        """Wait until everything has been played."""
        self._port.flush()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


class ReceivingPort:
    """A port to listen to, through pyserial."""

    def __init__(self, path: str, baud: int) -> None:
        self._port = _open(path, baud)
        self.baud = baud

    def read(self, timeout: float | None) -> bytes | None:
        """What has arrived, None after the timeout. OSError when the port is gone."""
        self._port.timeout = timeout
        first = bytes(self._port.read(1))
        return first + bytes(self._port.read(self._port.in_waiting)) if first else None

    def errors(self) -> None:
        """Pyserial does not say what went wrong."""

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _open(path: str, baud: int) -> Any:
    import serial  # noqa: PLC0415 - only where termios is missing

    try:
        return serial.Serial(path, baud, xonxoff=False, rtscts=False, dsrdtr=False)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise CarrierError(f"{path}: cannot be opened: {error}", hint=ports_hint()) from error
