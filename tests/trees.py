"""A made-up machine: a folder of files that stands for /proc, /sys, /etc and /dev."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from diode.doctor import Check
from diode.doctor.machine import Machine

USERS = {
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nann:x:4711:4711::/home/ann:/bin/sh\n",
    "/etc/group": "root:x:0:\ndialout:x:20:\naudio:x:29:ann\nann:x:4711:\n",
}
ANN = 4711


def plant(root: Path, files: Mapping[str, str | bytes | None]) -> None:
    """Make files by their absolute paths. `->x` is a link to x, None a folder."""
    for path, content in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif isinstance(content, bytes):
            place.write_bytes(content)
        elif content.startswith("->"):
            place.symlink_to(content[2:])
        else:
            place.write_text(content)


def machine(
    root: Path,
    files: Mapping[str, str | bytes | None],
    said: Mapping[str, str] = {},
    uid: int | None = None,
    groups: frozenset[int] = frozenset(),
) -> Machine:
    """A machine of those files, whose tools say that. said: what by the command's words."""

    def ask(*command: str) -> str | None:
        return said.get(" ".join(command))

    plant(root, {**USERS, **files})
    return Machine(str(root), ask, os.geteuid() if uid is None else uid, groups)


def process(number: int, name: str, *command: str) -> dict[str, str | bytes | None]:
    """The files of a process."""
    words = b"".join(word.encode() + b"\0" for word in command or (name,))
    return {f"/proc/{number}/comm": f"{name}\n", f"/proc/{number}/cmdline": words}


def by_name(checks: list[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert len(found) == len(checks), "names are told apart"
    return found


def with_status(checks: list[Check], status: str) -> set[str]:
    """Names of the checks that came to that. Whatever is wrong has its mend."""
    assert all(check.mend for check in checks if check.status in ("bad", "hint")), checks
    return {check.name for check in checks if check.status == status}
