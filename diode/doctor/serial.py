"""Checks for `serial:`: what stands between a port that is there and a link that works.

Other programs are the usual trouble. A console or a login prompt on the port writes to the line and
reads from it; ModemManager sends AT commands to every USB adapter it meets; brltty takes
adapters for braille displays and keeps them. Then there is who may open the port. What the
hardware can do is in `uart`.

The port is not opened: that alone would move DTR. What the driver shows of it stands in /sys. Flow
control is not to be seen there; diode switches it off whenever it opens a port (`terminal.py`), and
`loopback`, which opens it on purpose, asks the driver whether it is.

`Port` is all that is known, `CHECKS` judge it: pure functions, one a check.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diode.carrier.serial import BITS, facts
from diode.doctor import Check, bad, hint, ok, uart
from diode.doctor.ports import names_of
from diode.doctor.uart import Uart

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import CarrierUrl
    from diode.doctor.machine import Machine, Process

SYS = "/sys/class/tty"
USB = ("ttyUSB", "ttyACM")
TELLERS = ("ModemManager",)


@dataclass(frozen=True, slots=True)
class Port:
    """A port, as far as this machine tells. None and empty: it does not tell."""

    path: str
    """As it was given."""
    sends: bool
    baud: int
    name: str = ""
    """Of the device behind all links: ttyUSB0, pts/3."""
    kind: str = "missing"
    """missing, port, terminal (one in software), other."""
    mode: int = 0
    group: str = ""
    user: str = ""
    permitted: bool = False
    member: bool = False
    """Whether the user is in the group as it is written down."""
    there: tuple[str, ...] = ()
    """Ports there are."""
    names: tuple[str, ...] = ()
    """Names of it that stay when it is plugged in again."""
    holders: tuple[Process, ...] = ()
    console: str = ""
    """Which words of the kernel's command line, or what else, make it a console."""
    live: bool = False
    """Whether the kernel writes to it now."""
    boot: str = "/etc/default/grub"
    """The file that the words stand in."""
    login: str = ""
    """What asks for a login there: a program that runs, a unit that starts."""
    prober: str = ""
    """A program that talks to every new port."""
    ignored: bool = False
    """Whether that one was told to leave this one alone."""
    braille: str = ""
    hardware: Uart = field(default_factory=Uart)

    @property
    def usb(self) -> bool:
        return self.name.startswith(USB)

    @property
    def quoted(self) -> str:
        return shlex.quote(self.path)

    def again(self, path: str) -> str:
        """The command that looks at another port."""
        return uart.again(path, self.baud, sends=self.sends)


def checks(url: CarrierUrl, machine: Machine, *, sends: bool) -> list[Check]:
    """What there is to say of this end of a line."""
    rate = facts(url).rate or 0
    return judge(look(url.path, round(rate * BITS), machine, sends=sends))


def judge(port: Port) -> list[Check]:
    """All checks that concern this port, in the order in which to mend things."""
    if port.kind in ("missing", "other"):
        return [_there(port)]
    table = (*_ANY, *_PROGRAMS) if port.kind == "port" else _ANY
    found = [check for one in table if (check := one(port)) is not None]
    if port.kind == "port":
        found += uart.judge(port.hardware, port.path, port.baud, sends=port.sends)
    return found


# Looking ------------------------------------------------------------------------------------


def look(path: str, baud: int, machine: Machine, *, sends: bool) -> Port:
    """Gather what is known of a port, without opening it."""
    found = machine.status(path)
    there = tuple(names_of(machine))
    if found is None:
        return Port(path, sends, baud, there=there)
    real = machine.real(path)
    name = real.removeprefix("/dev/")
    if not _is_device(found, name, machine):
        return Port(path, sends, baud, name, "other", there=there)
    user, group = machine.user(machine.uid), machine.group(found.st_gid)
    console, live = _console(name, machine)
    holders = tuple(p for p in machine.holders(path) if p.number != os.getpid())
    return Port(
        path,
        sends,
        baud,
        name,
        "terminal" if name.startswith("pts/") else "port",
        stat.S_IMODE(found.st_mode),
        group,
        user,
        machine.permits(path, write=sends),
        user in machine.members(found.st_gid),
        there,
        tuple(_stable(real, machine)),
        holders,
        console,
        live,
        _boot(machine),
        _login(name, machine),
        machine.runs(*TELLERS),
        _ignored(name, machine),
        machine.runs("brltty"),
        uart.look(name, machine),
    )


def _is_device(found: os.stat_result, name: str, machine: Machine) -> bool:
    """Whether that is a port. In a made-up tree it may be a plain file with an entry in /sys."""
    if stat.S_ISCHR(found.st_mode):
        return name not in ("null", "zero", "full", "random", "urandom")
    return machine.status(f"{SYS}/{name}") is not None and stat.S_ISREG(found.st_mode)


def _stable(real: str, machine: Machine) -> list[str]:
    """Names under /dev/serial and of rules for udev."""
    found = []
    for folder in ("/dev/serial/by-id", "/dev/serial/by-path"):
        found += [f"{folder}/{name}" for name in machine.names(folder)]
    return [name for name in found if machine.real(name) == real]


def _console(name: str, machine: Machine) -> tuple[str, bool]:
    """What makes a port a console, and whether it is one now."""
    words = [
        word
        for word in machine.line("/proc/cmdline").split()
        if word.partition("=")[0] in ("console", "kgdboc", "earlycon", "earlyprintk")
        and name in word.partition("=")[2].split(",")
    ]
    live = {line.split()[0] for line in machine.line("/proc/consoles").splitlines() if line.split()}
    active = machine.line("/sys/class/tty/console/active").split()
    return " ".join(words), name in live or name in active


def _boot(machine: Machine) -> str:
    """The file that the kernel's command line is made from."""
    for path in ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt"):
        if machine.status(path) is not None:
            return path
    return "/etc/default/grub"


def _login(name: str, machine: Machine) -> str:
    for process in machine.processes():
        named = any(word.removeprefix("/dev/") == name for word in process.command[1:])
        if named and process.name in ("agetty", "getty", "mgetty", "login"):
            return f"{process.name} (process {process.number})"
    unit = f"serial-getty@{name}.service"
    for folder in ("/etc/systemd/system", "/run/systemd/generator"):
        for wants in ("getty.target.wants", "multi-user.target.wants"):
            if unit in machine.names(f"{folder}/{wants}"):
                return unit
    return ""


def _ignored(name: str, machine: Machine) -> bool:
    """Whether udev has a word for ModemManager to leave the port alone."""
    number = machine.line(f"{SYS}/{name}/dev")
    known = machine.read(f"/run/udev/data/c{number}") or ""
    return any(
        line in ("E:ID_MM_DEVICE_IGNORE=1", "E:ID_MM_PORT_IGNORE=1") for line in known.splitlines()
    )


# Judging ------------------------------------------------------------------------------------


def _there(port: Port) -> Check:
    name = "port"
    if port.kind == "missing":
        if port.there:
            others = ", ".join(port.there)
            mend = port.again(port.there[0])
            return bad(name, f"there is no {port.path}; found: {others}", mend)
        mend = "dmesg | tail; ls -l /dev/serial/by-id  # is the adapter plugged in?"
        return bad(name, f"there is no {port.path}, nor any other port", mend)
    if port.kind == "other":
        return bad(name, f"{port.path} is no serial port", "ls -l /dev/serial/by-id /dev/ttyS*")
    what = " of another program" if port.kind == "terminal" else ""
    behind = "" if port.path == f"/dev/{port.name}" else f", which is /dev/{port.name}"
    return ok(name, f"{port.path}{what}{behind}")


def _permission(port: Port) -> Check:
    name, need = "permission", "write to" if port.sends else "read"
    facts = f"mode {port.mode:04o}, group {port.group}"
    bits = 0o060 if port.mode >> 3 & 0o6 == 0o6 else 0
    if port.permitted and port.mode & 0o006 and port.kind == "port":
        return hint(name, f"every user may use it ({facts})", f"chmod o-rw {port.quoted}")
    if port.permitted:
        return ok(name, f"{port.user} may {need} it ({facts})")
    found = f"{port.user} may not {need} it ({facts})"
    if bits and port.member:
        mend = f"newgrp {shlex.quote(port.group)}  # or log out and in again"
    elif bits and port.group not in ("root", "0", "tty"):
        user, group = shlex.quote(port.user), shlex.quote(port.group)
        mend = f"usermod -a -G {group} {user}  # then log out and in again"
    else:
        mend = f"chgrp dialout {port.quoted} && chmod 660 {port.quoted}"
    return bad(name, found, mend)


def _holder(port: Port) -> Check | None:
    name = "in use"
    others = [p for p in port.holders if not any("diode" in word for word in p.command[:3])]
    if port.kind == "terminal":
        return None  # its other end is a program, which has it open
    if others:
        first = others[0]
        return bad(
            name, f"by {', '.join(f'{p.name} (process {p.number})' for p in others)}",
            f"kill {first.number}",
        )  # fmt: skip
    if port.holders:
        return ok(name, f"by diode (process {port.holders[0].number})")
    if port.user not in ("root", "0"):
        return ok(name, "by no process of this user; others' are root's to see")
    return ok(name, "by nobody")


def _stays(port: Port) -> Check | None:
    if not port.usb:
        return None
    name = "name"
    if port.path != f"/dev/{port.name}":
        return ok(name, "stays when the adapter is plugged in again")
    found = f"{port.path} may be another adapter after the next start"
    if port.names:
        return hint(name, found, port.again(port.names[0]))
    return hint(name, found, "diode service install --help  # it writes a rule for udev")


def _no_console(port: Port) -> Check:
    name = "console"
    if not (port.console or port.live):
        return ok(name, "the kernel does not write to it")
    if "grub" in port.boot:
        mend = f"sed -i 's/console={port.name}[^ \"]*//' {port.boot} && update-grub  # and reboot"
    else:  # a Raspberry Pi calls it serial0 there
        mend = rf"sed -i -E 's/console=(serial0|{port.name})[^ ]* ?//' {port.boot}  # and reboot"
    said = f" ({port.console})" if port.console else ""
    return bad(name, f"the kernel's messages go to it{said}", mend)


def _no_login(port: Port) -> Check:
    name = "login"
    if not port.login:
        return ok(name, "nothing asks for a login on it")
    mend = f"systemctl mask --now serial-getty@{port.name}.service"
    return bad(name, f"{port.login} talks on it and listens", mend)


def _no_prober(port: Port) -> Check:
    name = "ModemManager"
    if not port.prober:
        return ok(name, "does not run")
    if not port.usb:
        return ok(name, "runs, and probes USB adapters only")
    if port.ignored:
        return ok(name, "runs, and was told to leave this one alone")
    mend = "systemctl disable --now ModemManager"
    return bad(name, "runs: it opens new adapters, sends AT commands and reads answers", mend)


def _no_braille(port: Port) -> Check | None:
    if not port.usb:
        return None
    if port.braille:
        mend = "systemctl mask --now brltty brltty-udev"
        return bad("brltty", "runs: it takes adapters for braille displays and keeps them", mend)
    return ok("brltty", "does not run")


_ANY: tuple[Callable[[Port], Check | None], ...] = (_there, _permission, _holder)
_PROGRAMS: tuple[Callable[[Port], Check | None], ...] = (
    *(_stays, _no_console, _no_login, _no_prober, _no_braille),
)
