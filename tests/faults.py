"""Faults at one system call: the N-th of a kind on the files of a folder fails, or is the last.

strace holds the calls, so that the real program, its libraries and its database meet the fault as
they would meet the kernel's. Only calls that touch the folder's own files are counted: the
interpreter's start is spared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cli import Ran, Shell

FAULTS = {
    "killed": "signal=SIGKILL",
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "short": "retval=1",
}
"""What happens at the call. `short` is a write that says it took one byte and took none: worse than
what a kernel does, and found only where there is a check over what was written.
"""
CALLS = {
    "write": ("write", "pwrite64"),
    "sync": ("fsync", "fdatasync", "syncfs"),
    "rename": ("rename", "renameat", "renameat2"),
}
"""The calls by which something becomes durable, by kind."""
NAMES = [name for names in CALLS.values() for name in names]
_LINE = re.compile(r"^\d+ +(\w+)\((.*)")


def need_strace() -> None:
    """Skip where strace is not there, or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    probe = ["strace", "-o", os.devnull, "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")


def _strace(shell: Shell, arguments: tuple, options: list[str]) -> Ran:
    trace = shell.folder / "trace"
    prefix = ("strace", "-f", "-y", "-s", "0", "-o", str(trace), *options)
    return shell.finish(shell.start(*arguments, prefix=prefix))


def calls_of(
    shell: Shell, *arguments: object, on: str, without: tuple[str, ...] = ()
) -> tuple[Counter[str], list[str]]:
    """How often a run makes each call on files below the folder `on`, and their paths."""
    ran = _strace(shell, arguments, ["-e", f"trace={','.join(NAMES)}"])
    assert ran.code == 0, ran.err
    top = str((shell.folder / on).resolve())
    counts: Counter[str] = Counter()
    paths = set()
    for text in (shell.folder / "trace").read_text().splitlines():
        match = _LINE.match(text)
        here = re.findall(rf'[<"]({re.escape(top)}[^>"]*)[>"]', match[2]) if match else []
        # -shm: an index in memory, which the database makes anew at each start.
        if here and not here[0].endswith(("-shm", *(f"/{name}" for name in without))):
            counts[match[1]] += 1
            paths.update(here)
    return counts, sorted(paths)


def run_with(
    shell: Shell, *arguments: object, call: str, number: int, fault: str, paths: list[str]
) -> tuple[Ran, bool]:
    """A run in which that call meets the fault; what it said, and whether it came so far."""
    options = ["-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={number}"]
    ran = _strace(shell, arguments, [*(f"-P{path}" for path in paths), *options])
    trace = (shell.folder / "trace").read_text()
    return ran, "(INJECTED)" in trace or "+++ killed by SIGKILL +++" in trace


def kinds(fault: str) -> list[str]:
    """Kinds of calls that can meet this fault."""
    return ["write"] if fault == "short" else list(CALLS)


def contents(folder: Path, without: str = ".diode") -> dict[str, bytes]:
    """Every file below the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != without
    }
