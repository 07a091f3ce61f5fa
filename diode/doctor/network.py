"""What this machine says of a network interface: files of /proc, and `ip`, `ethtool`, `nft`.

All of it is asked of the kernel and answered by it. A tool that is not installed, or that may not
look, gives None.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
from typing import Any

from diode.carrier import sockets

_PATIENCE = 10.0
_NET_ADMIN = 12
"""Bit of the capability to exceed what sysctl allows."""
_DROPS_ALL = re.compile(r"(counter( packets \d+ bytes \d+)? )?drop\b")
"""A rule that asks for nothing."""


def setting(path: str) -> int | None:
    """A number in a file of /proc/sys."""
    try:
        with open(f"/proc/sys/{path}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def may_exceed() -> bool:
    """Whether this process may have larger buffers than the limit."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        found = re.search(r"^CapEff:\s*([0-9a-f]+)", file.read(), re.MULTILINE)
        return bool(found and int(found[1], 16) >> _NET_ADMIN & 1)
    return False


def said(*command: str) -> str | None:
    """What a command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def neighbours(interface: str, address: str) -> list[dict[str, Any]] | None:
    """The entries for an address: `lladdr`, and `state`, a list of words."""
    found = _json(said("ip", "-j", "neigh", "show", "to", address, "dev", interface, "nud", "all"))
    return found if isinstance(found, list) else None


def fields(interface: str, *option: str) -> dict[str, str]:
    """What `ethtool` says, as key and value; empty where it says nothing.

    `-g` tells the most there can be before what there is: those keys come back with ` max`.
    """
    found: dict[str, str] = {}
    most = False
    for line in (said("ethtool", *option, interface) or "").splitlines():
        most = (most or "maximums" in line) and "Current" not in line
        key, colon, value = line.partition(":")
        if colon and value.strip():
            found[key.strip() + (" max" if most else "")] = value.strip()
    return found


def stops_all(interface: str) -> bool | None:
    """Whether a firewall drops whatever leaves by it; None where that is not to be seen.

    From what people read: in JSON, nft 1.0 leaves out the device of a chain.
    """
    ruleset = said("nft", "list", "ruleset")
    if ruleset is None:
        return None
    lines = [line.strip() for line in ruleset.splitlines()]
    for at, line in enumerate(lines):
        if "hook egress" not in line or interface not in re.findall(r"[^\s\",{}]+", line):
            continue
        rules = lines[at + 1 : lines.index("}", at)]
        if _DROPS_ALL.match(rules[0]) if rules else "policy drop" in line:
            return True
    return False


def knows(option: int) -> bool:
    """Whether this kernel has that option of UDP sockets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return sockets.tried(one, sockets.SOL_UDP, option, 0)


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None
