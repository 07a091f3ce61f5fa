"""What the hardware behind a serial port can do, as its driver shows it in /sys.

A UART without a FIFO loses bytes at high rates, and so does one that calls the processor late. An
FTDI adapter waits for more before it hands over what has come. /sys/class/tty/NAME shows it, and
/proc/tty/driver/serial counts what was lost already, for root.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.doctor import Check, bad, hint, ok, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.doctor.machine import Machine

SYS = "/sys/class/tty"
LOW_LATENCY = 1 << 13
"""Bit of the flags of a port (ASYNC_LOW_LATENCY)."""
TYPES = ("none", "8250", "16450", "16550", "16550A")
"""Names of the first numbers in `type`."""
NO_FIFO = {"8250", "16450", "16550"}
"""UARTs that keep one byte; the FIFO of the 16550 without A does not work."""
FAST = 57_600
"""Bits per second from which on one byte of room is too little."""
LOW_TRIGGER = 8
"""Bytes of a FIFO of 16 that may wait before the processor is called, at high rates."""


@dataclass(frozen=True, slots=True)
class Uart:
    """A UART, as far as its driver tells. None and empty: it does not tell."""

    name: str = ""
    """Of its port: ttyS0."""
    kind: str = ""
    clock: int | None = None
    """Hertz; the highest rate is a 16th of it."""
    fifo: int | None = None
    """Bytes."""
    trigger: int | None = None
    """Bytes that have come when the processor is called."""
    flags: int | None = None
    latency: int | None = None
    """Milliseconds that an FTDI adapter waits for more."""
    overruns: int | None = None
    """Bytes lost since the machine was started."""


@dataclass(frozen=True, slots=True)
class Use:
    """A UART, and what it is to do."""

    uart: Uart
    path: str
    baud: int
    sends: bool


def look(name: str, machine: Machine) -> Uart:
    """What is known of the hardware behind a port."""
    folder = f"{SYS}/{name}"
    kind = machine.number(f"{folder}/type")
    return Uart(
        name,
        TYPES[kind] if kind is not None and 0 <= kind < len(TYPES) else "",
        machine.number(f"{folder}/uartclk"),
        machine.number(f"{folder}/xmit_fifo_size"),
        machine.number(f"{folder}/rx_trig_bytes"),
        machine.number(f"{folder}/flags", 16),
        machine.number(f"{folder}/device/latency_timer"),
        _overruns(name, machine),
    )


def _overruns(name: str, machine: Machine) -> int | None:
    """Bytes that came before the one before was fetched, since the machine was started."""
    if not name.startswith("ttyS"):
        return None
    for line in (machine.read("/proc/tty/driver/serial") or "").splitlines():
        number, colon, rest = line.partition(":")
        if colon and number == name.removeprefix("ttyS"):
            count = dict(w.partition(":")[::2] for w in rest.split()).get("oe", "0")
            return int(count) if count.isdecimal() else None
    return None


def judge(uart: Uart, path: str, baud: int, *, sends: bool) -> list[Check]:
    """All checks that concern this hardware."""
    use = Use(uart, path, baud, sends)
    return [check for one in _CHECKS if (check := one(use)) is not None]


def again(path: str, baud: int, *, sends: bool) -> str:
    """The command that looks at that port at that rate."""
    url = shlex.quote(f"serial:{path}?baud={baud}")
    return f"diode doctor --{'to' if sends else 'from'} {url}"


def _uart(use: Use) -> Check | None:
    name = "uart"
    if use.uart.kind == "none":
        return bad(name, f"there is no hardware behind {use.path}", "ls -l /dev/serial/by-id")
    if not use.uart.kind:
        return None
    found = f"{use.uart.kind}" + (f", {use.uart.fifo} bytes of FIFO" if use.uart.fifo else "")
    if use.uart.clock and use.baud > use.uart.clock / 16 * 1.02:
        most = use.uart.clock // 16
        what = f"{found}: at most {most:,} baud, not {use.baud:,}"
        return bad(name, what, again(use.path, most, sends=use.sends))
    if not use.sends and use.uart.kind in NO_FIFO and use.baud > FAST:
        return bad(
            name,
            f"{found}: it keeps one byte, and bytes will be lost at {use.baud:,} baud",
            again(use.path, FAST, sends=use.sends),
        )
    return ok(name, found)


def _trigger(use: Use) -> Check | None:
    if use.sends or use.uart.trigger is None or use.baud <= FAST:
        return None
    found = f"the processor is called for every {use.uart.trigger} bytes"
    if use.uart.fifo and use.uart.fifo <= 16 and use.uart.trigger > LOW_TRIGGER:
        mend = f"echo {LOW_TRIGGER} > {SYS}/{use.uart.name}/rx_trig_bytes"
        return hint("fifo", f"{found} of {use.uart.fifo}: little time is left to fetch them", mend)
    return ok("fifo", found)


def _waiting(use: Use) -> Check | None:
    name = "latency"
    if use.uart.latency is not None:
        mend = f"echo 1 > /sys/bus/usb-serial/devices/{use.uart.name}/latency_timer"
        found = f"the adapter waits {use.uart.latency} ms for more"
        return ok(name, found) if use.uart.latency <= 1 else hint(name, found, mend)
    if use.uart.flags is None or use.sends:
        return None
    if use.uart.flags & LOW_LATENCY:
        return ok(name, "low_latency is set")
    return hint(name, "low_latency is not set", f"setserial {shlex.quote(use.path)} low_latency")


def _overrun(use: Use) -> Check | None:
    if use.sends or not use.uart.name.startswith("ttyS"):
        return None
    name = "overruns"
    if use.uart.overruns is None:
        return unknown(name, "root's to see", "sudo cat /proc/tty/driver/serial")
    if use.uart.overruns:
        mend = f"echo 4 > {SYS}/{use.uart.name}/rx_trig_bytes  # or a lower baud"
        return bad(name, f"{use.uart.overruns:,} since the start: bytes came too fast", mend)
    return ok(name, "none since the start")


_CHECKS: tuple[Callable[[Use], Check | None], ...] = (_uart, _trigger, _waiting, _overrun)
