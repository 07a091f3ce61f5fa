"""The command line as a user has it: real processes, their output, their exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import warm


@dataclass
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    def events(self, name: str) -> list[dict]:
        """The JSON events of that name on stdout."""
        events = [json.loads(line) for line in self.out.splitlines()]
        return [event for event in events if event["event"] == name]


@dataclass
class Shell:
    """A folder to work in, with a sender's state of its own."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.folder / "state"), "NO_COLOR": "1"}

    def run(self, *arguments: object, stdin: bytes | None = None, timeout: float = 120) -> Ran:
        """Run `diode` to its end."""
        code, out, err = warm.run(
            [str(each) for each in arguments], stdin or b"", self.folder, self.environment, timeout
        )
        ran = Ran(code, out.decode("utf-8", "surrogateescape"), err.decode())  # paths: every byte
        assert "Traceback" not in ran.err, ran.err
        return ran

    def start(self, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen:
        """Start `diode` and come back at once; `close` ends what still runs."""
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "diode", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen, timeout: float = 60) -> Ran:
        """Wait for a started command."""
        out, err = process.communicate(timeout=timeout)
        ran = Ran(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ran.err, ran.err
        return ran

    def listening(self, process: subprocess.Popen) -> None:
        """Wait until a `recv --json` says that it listens."""
        line = process.stdout.readline()
        assert json.loads(line)["event"] == "listening", line

    def reader(self, process: subprocess.Popen) -> int:
        """The process that reads the carrier of a `recv`, which says that it listens."""
        (child,) = children(process.pid)
        return child

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def children(parent: int) -> list[int]:
    """The processes that this one has started and that are there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_parent) == parent and state != "Z":
            found.append(int(folder.name))
    return found


def proportional(process: int) -> int:
    """Bytes of memory of a process; what it shares counts by the share (PSS)."""
    with contextlib.suppress(OSError):
        for text in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if text.startswith("Pss:"):
                return int(text.split()[1]) * 1024
    return 0


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return once it is true; AssertionError when it does not become so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


def make(path: Path, size: int, seed: int = 1) -> bytes:
    """A file of random bytes; its content."""
    import numpy as np

    content = np.random.default_rng(seed).bytes(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content
