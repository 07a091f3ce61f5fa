"""The services of diode, as systemd has them: do they run, and do they keep running?"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from diode.doctor import Check, bad, hint, ok, unknown

if TYPE_CHECKING:
    from diode.doctor.machine import Machine

FOLDERS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
RESTARTS = 3
"""More than that are no accident."""
PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,NeedDaemonReload"
MOST = 100
_NAME = re.compile(r"diode[A-Za-z0-9@:_.\\-]{0,200}\.service")


def checks(machine: Machine) -> list[Check]:
    """One check a service, or one that says why there is none."""
    installed = sorted(
        {
            name
            for folder in FOLDERS
            for place in (folder, f"{folder}/multi-user.target.wants")
            for name in machine.names(place)
            if _NAME.fullmatch(name)
        }
    )
    if machine.status("/run/systemd/system") is None:
        if installed:
            listed = ", ".join(installed)
            return [unknown("services", f"{listed}; systemd does not run here")]
        return [ok("services", "none installed, and systemd does not run here")]
    said = machine.ask("systemctl", "show", "--all", f"--property={PROPERTIES}", "diode*.service")
    found = [unit for unit in _units(said or "") if _NAME.fullmatch(unit.get("Id", ""))]
    if found:
        return [judge(unit) for unit in found[:MOST]]
    if installed:
        listed = ", ".join(installed)
        mend = f"systemctl enable --now {shlex.quote(installed[0])}"
        return [hint("services", f"{listed}: installed, and none was started", mend)]
    return [ok("services", "none installed")]


def _units(text: str) -> list[dict[str, str]]:
    """What `systemctl show` says: properties of each unit, apart by an empty line."""
    return [
        dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        for block in text.split("\n\n")
        if block.strip()
    ]


def judge(unit: dict[str, str]) -> Check:
    """A service by its properties."""
    name = unit.get("Id", "")
    quoted = shlex.quote(name)
    state, sub = unit.get("ActiveState", ""), unit.get("SubState", "")
    restarts = unit.get("NRestarts", "0")
    count = int(restarts) if restarts.isdecimal() and len(restarts) < 10 else 0
    log = f"journalctl -u {quoted} -n 50"
    if unit.get("LoadState") not in (None, "loaded"):
        return bad(name, f"cannot be loaded: {unit['LoadState']}", f"systemctl status {quoted}")
    if state == "failed":
        why = unit.get("Result", "failed")
        return bad(name, f"failed ({why})", f"{log}; systemctl restart {quoted}")
    if state == "activating" and sub == "auto-restart":
        return bad(name, f"keeps ending, {count:,} times so far", log)
    if unit.get("NeedDaemonReload") == "yes":
        return hint(
            name, "its file was changed", f"systemctl daemon-reload && systemctl restart {quoted}"
        )
    if state != "active":
        what = f"does not run ({state or 'unknown'})"
        return hint(name, what, f"systemctl enable --now {quoted}")
    if count > RESTARTS:
        return hint(name, f"runs, and was started again {count:,} times", log)
    if unit.get("UnitFileState") == "disabled":
        what = "runs, and will not after the next start of the machine"
        return hint(name, what, f"systemctl enable {quoted}")
    return ok(name, f"runs ({sub})")
