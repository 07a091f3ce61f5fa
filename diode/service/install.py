"""Files with which systemd runs a sender or a receiver, written to where it looks for them.

What is written, by role, is the table `FILES`: each a text of this package (units/) and its
place. Words between at signs in it are filled in: the program, the other end, the port.

The first line of a written file has a checksum of the rest. So a file that is still as some version
of this program wrote it is known without a list kept elsewhere: it may be replaced or removed. One
that somebody has changed, or that was there before, is left alone unless that is asked for. The
configuration is the operator's from the start: it is written once, where there is none,
and never again.

A file appears under its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.resources
import ipaddress
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.errors import DestinationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROLES = ("sender", "receiver")
_MARK = re.compile(r"# diode-fec \S+, as written: ([0-9a-f]{64})\n")
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What is a file name and needs no escape in the name of a unit."""


@dataclass(frozen=True, slots=True)
class File:
    """A text of this package, and where it belongs."""

    text: str
    path: str
    mode: int = 0o644
    configuration: bool = False
    """Whether it is the operator's, once it is there."""


FILES = (
    File("diode-@ROLE@@.service", "/etc/systemd/system/diode-@ROLE@@.service"),
    File("diode-@ROLE@.sysusers.conf", "/etc/sysusers.d/diode-@ROLE@.conf"),
    File("diode-@ROLE@.tmpfiles.conf", "/etc/tmpfiles.d/diode-@ROLE@.conf"),
    File("@ROLE@.toml", "/etc/diode/@INSTANCE@.toml", 0o640, configuration=True),
)
RULE = File("diode-@ROLE@.rules", "/etc/udev/rules.d/70-diode-@ROLE@.rules")
"""Beside these, for a port."""
DROP_IN = File(
    "diode-@ROLE@.udp.conf", "/etc/systemd/system/diode-@ROLE@@@INSTANCE@.service.d/udp.conf"
)
"""Beside these, for an instance that has a network instead of a port."""
_PORTS = {
    "sender": "serial:/dev/diode-tx?baud=115200",
    "receiver": "serial:/dev/diode-rx?baud=115200",
}


@dataclass(frozen=True, slots=True)
class Service:
    """What is to be installed."""

    role: str
    instance: str
    program: str
    port: str = ""
    """What a udev rule knows the port by; empty: no port is named."""
    address: str = ""
    """The other end of a link over udp; empty: it is no such link."""

    def __post_init__(self) -> None:
        """UsageError for what would not stay what it is in a file of systemd's."""
        if not _INSTANCE.fullmatch(self.instance):
            raise UsageError(
                f"{self.instance!r} cannot be the name of an instance",
                hint="letters, digits, dots, _ and -, such as plant7",
            )
        if not re.fullmatch(r"/[\w.+/-]+", self.program, re.ASCII):
            raise UsageError(f"{self.program!r} cannot stand in a unit file as it is")
        if self.address:
            try:
                ipaddress.ip_address(self.address)
            except ValueError as error:
                raise UsageError(
                    f"{self.address!r} is no address of the Internet protocol",
                    hint="--udp 10.9.0.1, the address of the other end",
                ) from error

    @property
    def files(self) -> list[File]:
        return [*FILES, DROP_IN if self.address else RULE]

    @property
    def _carrier(self) -> str:
        """The URL that the first configuration has."""
        if not self.address:
            return _PORTS[self.role]
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"udp://{host}:5000" if self.role == "sender" else f"udp://:5000?source={host}"

    def fill(self, text: str) -> str:
        """The text with everything in it that is known."""
        nowhere = 'SUBSYSTEM=="tty", ENV{ID_SERIAL_SHORT}=="THE-SERIAL-NUMBER"'
        known = {
            "ROLE": self.role,
            "INSTANCE": self.instance,
            "ADDRESS": self.address,
            "CARRIER": self._carrier,
            "MATCH": self.port or nowhere,
        }
        for name, value in known.items():
            text = text.replace(f"@{name}@", value)
        return text.replace("/usr/local/bin/diode", self.program)

    def content(self, file: File) -> str:
        """What the file says."""
        folder = importlib.resources.files("diode") / "service" / "units"
        text = self.fill((folder / self.fill(file.text)).read_text())
        return text if file.configuration else marked(text)


def marked(text: str) -> str:
    """The text behind a line by which it is known again."""
    version = importlib.metadata.version("diode-fec")
    return f"# diode-fec {version}, as written: {_checksum(text)}\n{text}"


def untouched(text: str) -> bool:
    """Whether that is a text as `marked` made it, of whatever version."""
    found = _MARK.match(text)
    return found is not None and _checksum(text[found.end() :]) == found[1]


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """What is done about one file."""

    path: str
    action: str
    """write, replace, remove; or why not: there, changed."""
    content: str = ""
    mode: int = 0o644

    @property
    def held_back(self) -> bool:
        """Whether something that was asked for is not done."""
        return self.action == "changed"


def installing(service: Service, root: str, *, force: bool) -> list[Step]:
    """What installing does below `root`. Raises DestinationError."""
    steps = []
    for file in service.files:
        path, content = _below(root, service.fill(file.path)), service.content(file)
        found = _read(path)
        if found is None:
            action = "write"
        elif found == content or file.configuration:
            action = "there"
        else:
            action = "replace" if force or untouched(found) else "changed"
        steps.append(Step(path, action, content, file.mode))
    return steps


def removing(service: Service, root: str, *, force: bool) -> list[Step]:
    """What removing does below `root`: the configuration stays. Raises DestinationError."""
    steps = []
    for file in (*FILES, RULE, DROP_IN):
        if file.configuration:
            continue
        path = _below(root, service.fill(file.path))
        found = _read(path)
        if found is not None:
            action = "remove" if force or untouched(found) else "changed"
            steps.append(Step(path, action))
    return steps


def carry_out(steps: list[Step]) -> None:
    """Do it. Raises DestinationError."""
    for step in steps:
        try:
            if step.action in _ACTIONS:
                _ACTIONS[step.action](step)
        except OSError as error:
            raise _refused(step.path, error) from error


def _write(step: Step) -> None:
    folder = os.path.dirname(step.path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    beside = f"{step.path}.{os.getpid()}.new"
    try:
        with open(beside, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(step.content)
            file.flush()
            os.fchmod(file.fileno(), step.mode)
            os.fsync(file.fileno())
        os.replace(beside, step.path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def _remove(step: Step) -> None:
    os.unlink(step.path)
    with contextlib.suppress(OSError):  # others have files in it
        if step.path.endswith(".service.d/udp.conf"):
            os.rmdir(os.path.dirname(step.path))


_ACTIONS: Mapping[str, Callable[[Step], None]] = {
    "write": _write,
    "replace": _write,
    "remove": _remove,
}


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _read(path: str) -> str | None:
    """The text of a file; None where there is none. Raises DestinationError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> DestinationError:
    root = isinstance(error, PermissionError) and os.geteuid() != 0
    return DestinationError(
        f"{path}: {error.strerror}", hint="run it with sudo, or try --dry-run" if root else ""
    )


def rule(properties: Mapping[str, str]) -> str:
    """How a udev rule knows the port with these udev properties again: by the adapter's serial
    number, or by where it is plugged in, or by name. Empty where they do not say.
    """
    keys = ["ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACE_NUM"]
    if not properties.get("ID_SERIAL_SHORT"):
        keys = ["ID_PATH"]
    known = [(key, properties[key]) for key in keys if properties.get(key)]
    match = [f'ENV{{{key}}}=="{value}"' for key, value in known]
    name = os.path.basename(properties.get("DEVNAME", ""))
    if not match and name:
        match = [f'KERNEL=="{name}"']
    values = [value for _, value in known] or [name]
    if not match or any(re.search(r'["\\*?\[\]|\n]', value) for value in values):
        return ""
    return ", ".join(['SUBSYSTEM=="tty"', *match])
