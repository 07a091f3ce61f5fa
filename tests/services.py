"""Two `diode run` on the two ends of a one-way line of two ptys, for tests of the service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cli import Shell, wait_until

from diode.carrier.coupling import Coupling
from diode.carrier.impairment import Impairment

SENDER = """\
[sender]
to = "serial:{tx}?baud={baud}"
state = "tx"
heartbeat = "500ms"
{more}
"""
RECEIVER = """\
[receiver]
from = "serial:{rx}?baud={baud}"
inbox = "in"
{more}
"""
FOLDER = """
[[sender.drop]]
folder = "{name}"
priority = {priority}
settle = "{settle}"
after = "{after}"
"""


@dataclass
class Service:
    """One end: its configuration, its process, what it has told."""

    shell: Shell
    path: Path
    process: subprocess.Popen | None = None
    told: list[str] = field(default_factory=list)

    def start(self) -> Service:
        """Start it; `events` has what it tells from then on."""
        log = self.path.with_suffix(f".{len(self.told)}.json")
        self.told.append(str(log))
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "diode", "run", self.path.name, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.shell.folder,
                env=self.shell.environment,
            )
        self.shell.processes.append(self.process)
        begun = self.told[-1:]
        wait_until(lambda: self.events("sending", begun) or self.events("listening", begun))
        return self

    def events(self, name: str, logs: list[str] | None = None) -> list[dict]:
        """All it has told under that name, over all starts. logs: those of some only."""
        lines = [
            line
            for log in (self.told if logs is None else logs)
            for line in Path(log).read_text().splitlines(keepends=True)
        ]
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in told if event["event"] == name]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """End it and wait; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(seconds)
        said = Path(self.told[-1]).with_suffix(".err").read_text()
        assert "Traceback" not in said, said
        return self.process.returncode

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    @property
    def descriptors(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def drop(path: Path, content: bytes) -> None:
    """Put a file into a drop folder as one ought to: written elsewhere, renamed in."""
    aside = path.parent / f".{path.name}.writing"
    aside.write_bytes(content)
    os.utime(aside, (time.time(), time.time()))
    aside.rename(path)


class Line(Coupling):
    """A line that can be unplugged."""

    unplugged = False

    def _give(self, data: bytes) -> None:
        super()._give(b"" if self.unplugged else data)


class Ends:
    """A sender, a line, a receiver."""

    def __init__(self, shell: Shell, baud: int = 1_000_000, damage: str = "") -> None:
        self.shell, self.baud = shell, baud
        self.line = Line(baud, Impairment.parse(damage) if damage else None)
        self.line.start()
        self.sender = Service(shell, shell.folder / "sender.toml")
        self.receiver = Service(shell, shell.folder / "receiver.toml")

    def sends(self, *folders: tuple[str, int], more: str = "", after: str = "keep") -> Service:
        """Configure the sender; a folder for each name and priority."""
        text = SENDER.format(tx=self.line.tx_path, baud=self.baud, more=more)
        for name, priority in folders:
            (self.shell.folder / name).mkdir(exist_ok=True)
            text += FOLDER.format(name=name, priority=priority, settle="200ms", after=after)
        self.sender.path.write_text(text)
        return self.sender

    def receives(self, more: str = "") -> Service:
        text = RECEIVER.format(rx=self.line.rx_path, baud=self.baud, more=more)
        self.receiver.path.write_text(text)
        return self.receiver

    def inbox(self, name: str) -> Path:
        return self.shell.folder / "in" / name

    def close(self) -> None:
        self.line.stop()
