"""Which serial ports there are, whether this user may use them, and what meddles with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.doctor import Check, hint, ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.doctor.machine import Machine

SYS = "/sys/class/tty"
BY_ID = "/dev/serial/by-id"


def names_of(machine: Machine) -> Iterator[str]:
    """Paths of the ports with hardware behind them, by names that stay where there are such."""
    better = {machine.real(f"{BY_ID}/{name}"): f"{BY_ID}/{name}" for name in machine.names(BY_ID)}
    for name in machine.names(SYS):
        if machine.status(f"{SYS}/{name}/device") is None:
            continue  # a console of the screen, a pseudo-terminal
        if machine.number(f"{SYS}/{name}/type") == 0:
            continue  # a place for a port that is not there
        path = f"/dev/{name}"
        if machine.status(path) is not None:
            yield better.get(path, path)


def checks(machine: Machine) -> list[Check]:
    """Ports, and the programs that disturb them."""
    found = [_ports(machine)]
    if machine.runs("ModemManager"):
        what = "runs: it sends AT commands to USB adapters"
        found.append(hint("ModemManager", what, "systemctl disable --now ModemManager"))
    if machine.runs("brltty"):
        what = "runs: it takes USB adapters for braille displays"
        found.append(hint("brltty", what, "systemctl mask --now brltty brltty-udev"))
    return found


def _ports(machine: Machine) -> Check:
    name = "serial ports"
    there = list(names_of(machine))
    if not there:
        return ok(name, "none")
    listed = ", ".join(there)
    closed = [
        path
        for path in there
        if not (machine.permits(path, write=True) or machine.permits(path, write=False))
    ]
    if closed:
        return hint(
            name, f"{listed}; this user may not use {', '.join(closed)}",
            f"diode doctor --to serial:{closed[0]}",
        )  # fmt: skip
    return ok(name, listed)
