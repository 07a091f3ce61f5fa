"""Python, the libraries, and which of them bring speed.

What is needed stands in the metadata of the installed distribution, and is read from there. Codes
work without their fast engines; ten times slower (code/zfec.py).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shlex
import sys
from typing import TYPE_CHECKING

from diode.code import isal
from diode.doctor import Check, bad, hint, ok, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diode.doctor.machine import Machine

DISTRIBUTION = "diode-fec"
OLDEST = (3, 11)
NEWEST = (3, 14)
"""Versions of Python that diode is tried with."""
EXTRAS = {
    "leopard": ("reed_solomon_leopard", "--code leopard, for blocks of up to 65,536 symbols"),
    "raptorq": ("raptorq", "--code raptorq, which never runs out of symbols"),
}
"""Code to the library that is imported for it, and what it is for."""
CRC_FEATURES = {
    "x86_64": ("pclmulqdq", "sse4_2"),
    "aarch64": ("pmull", "crc32"),
}
"""What a processor must have for checks at the speed of its memory (fastcrc)."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?[^;]*(?:;(.*))?$")
_PRELOADED = ("libeatmydata",)


def checks(machine: Machine) -> list[Check]:
    """Python, what it needs, what makes it fast."""
    return [
        python(sys.version_info[:3]),
        libraries(_required(), _version),
        engine(isal.find() is not None),
        codes({name for name, (module, _) in EXTRAS.items() if _there(module)}),
        crc(platform.machine(), _features(machine)),
        preload(os.environ.get("LD_PRELOAD", ""), machine.line("/etc/ld.so.preload")),
    ]


def python(version: tuple[int, ...]) -> Check:
    """The interpreter."""
    text = ".".join(map(str, version))
    if version[:2] < OLDEST:
        return bad("python", f"{text} is too old", "apt install python3.11")
    if version[:2] > NEWEST:
        newest = ".".join(map(str, NEWEST))
        return unknown("python", f"{text}: diode is tried with up to {newest}")
    return ok("python", f"{text}, {sys.executable}")


def libraries(required: dict[str, str], version: Callable[[str], str]) -> Check:
    """required: name to the oldest version. version: gives that of a name, empty if not there."""
    wrong, found = [], []
    for name, oldest in required.items():
        there = version(name)
        if not there:
            wrong.append(f"{name} is not there")
        elif _numbers(there) < _numbers(oldest):
            wrong.append(f"{name} {there} is older than {oldest}")
        found.append(f"{name} {there}")
    if not required:
        return unknown("libraries", f"{DISTRIBUTION} is not installed, but run from its folder")
    if wrong:
        mend = f"{shlex.quote(sys.executable)} -m pip install --upgrade {DISTRIBUTION}"
        return bad("libraries", "; ".join(wrong), mend)
    return ok("libraries", ", ".join(found))


def engine(there: bool) -> Check:
    """The engine of the default code."""
    if there:
        return ok("zfec engine", "ISA-L")
    what = "zfec; ISA-L gives the same bytes, ten times as fast"
    return hint("zfec engine", what, "apt install libisal2")


def codes(there: set[str]) -> Check:
    """The codes that are extras."""
    listed = ", ".join(["zfec", "repeat", *(name for name in EXTRAS if name in there)])
    missing = [use for name, (_, use) in EXTRAS.items() if name not in there]
    if missing:
        what = "; ".join(missing)
        mend = f"pip install '{DISTRIBUTION}[fast]'  # where there are wheels"
        return hint("codes", f"{listed}; missing: {what}", mend)
    return ok("codes", listed)


def crc(kind: str, features: frozenset[str]) -> Check:
    """Checksums by the processor's own instructions."""
    name = "crc"
    wanted = CRC_FEATURES.get(kind)
    if wanted is None or not features:
        return unknown(name, f"how fast {kind} is at checks is not known")
    missing = [feature for feature in wanted if feature not in features]
    if missing:
        return ok(name, f"in software: this processor has no {', '.join(missing)}")
    return ok(name, f"in hardware ({', '.join(wanted)})")


def preload(environment: str, file: str) -> Check:
    """What is loaded before everything: some libraries make fsync do nothing."""
    name = "preload"
    found = [one for one in _PRELOADED if one in environment or one in file]
    if found:
        what = f"{found[0]} makes fsync do nothing: a power cut loses what was delivered"
        return bad(name, what, "unset LD_PRELOAD && apt remove eatmydata")
    return ok(name, "nothing that touches fsync")


def _required() -> dict[str, str]:
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return dict(_needed(lines))


def _needed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and oldest versions of what is no extra and meant for this system."""
    for line in lines:
        match = _REQUIREMENT.match(line)
        marker = (match[3] or "") if match else "extra"
        if match and "extra" not in marker and (not marker or platform.system() in marker):
            yield match[1], match[2] or "0"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _there(module: str) -> bool:
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001  a library that is broken in whatever way is not there
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _features(machine: Machine) -> frozenset[str]:
    for line in (machine.read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
