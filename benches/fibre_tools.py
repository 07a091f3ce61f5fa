"""What is measured side by side over UDP: diode and its peers, run as their users run them.

Each gets what it takes to bring a file of that size over that wire but for one time in ten thousand
(`FAILURE`), and no more; nothing at all where nothing is lost.

diode       `--loss P`. Against bursts what `diode linktest` would advise for such a link.
pydiode     sends each chunk of 100 datagrams as often as `--redundancy` says. Its datagrams of
            65,507 bytes are 45 frames each on Ethernet and lost with any of them, so the copies
            grow fast with the loss; beyond `MOST_COPIES` it is not tried.
flute-alc   Reed-Solomon over GF(256), 128 symbols a block (the package has no wide code), 32 blocks
            interleaved where losses come in bursts. It is a library: ends/flute_alc.py is the
            program around it.
udpcast     the same code in slices of 1,024 blocks: 8 stripes of 128, the example of its manual,
            or more and shorter ones where that takes less against bursts. It knows no digest:
            the time to take one is added.
"""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from one_way_wire import which
from side_by_side import diode

from diode import carrier, line
from diode.advice import Channel, advise, lost_of
from diode.cli.options import line_for
from diode.cli.options import link as planned_link

if TYPE_CHECKING:
    from one_way_wire import Loss
    from one_way_wire import Path as Wire

FAILURE = 1e-4
PORT = 5000
UDPCAST_PORT = 9000
MOST_SYMBOLS = 255
MOST_COPIES = 32
SLICES = ((8, 128), (16, 64), (32, 32))
"""Stripes and blocks of each, of udpcast. A slice has 1,024 blocks at most."""
ENDS = Path(__file__).parent / "ends"


@dataclass(frozen=True)
class Job:
    """One file to bring across. rate: bits per second on the wire."""

    wire: Wire
    source: Path
    size: int
    inbox: Path
    rate: float

    @property
    def target(self) -> Path:
        return self.inbox / "file"


@dataclass(frozen=True)
class Command:
    words: list[str]
    stdin: Path | None = None
    stdout: Path | None = None


class Tool(Protocol):
    """One of the programs. verifies: whether its receiver ends well with the right content only.

    settings: what it needs for a path; redundant: settings for a given share of redundancy.
    """

    name: str
    verifies: bool
    port: int

    def missing(self) -> str: ...

    def settings(self, loss: Loss, size: int) -> list[str] | None: ...

    def redundant(self, share: float) -> list[str]: ...

    def send(self, job: Job, settings: list[str]) -> Command: ...

    def receive(self, job: Job) -> Command: ...


# What it takes --------------------------------------------------------------------------------


def parity(k: int, interleaved: int, loss: Loss, blocks: int) -> int | None:
    """Fewest parity symbols for blocks of k; None where GF(256) has not enough.

    interleaved: blocks whose symbols alternate, which puts as many frames between two of one block.
    """
    kept = loss.correlation**interleaved
    for more in range(MOST_SYMBOLS - k + 1):
        if blocks * lost_of(k + more, loss.share, kept)[more + 1 :].sum() <= FAILURE:
            return more
    return None


def copies(datagrams: int, fragments: int, loss: Loss) -> int:
    """How often each datagram has to be sent that is lost with any of its fragments.

    Copies are far enough apart to be lost independently of each other.
    """
    lost = 1 - (1 - loss.share) * (1 - loss.share * (1 - loss.correlation)) ** (fragments - 1)
    return 1 if lost <= 0 else max(1, math.ceil(math.log(FAILURE / datagrams) / math.log(lost)))


# The programs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diode:
    """diode from this tree."""

    name: str = "diode"
    options: list[str] = field(default_factory=list)
    verifies: bool = True
    port: int = PORT

    def missing(self) -> str:
        return ""

    def settings(self, loss: Loss, size: int) -> list[str] | None:
        if loss.burst == 1:
            return ["--loss", f"{100 * loss.share:g}%"]
        facts = carrier.facts(f"udp://any:{PORT}?rate=1G")
        link = planned_link(facts, line.encoder(line_for(facts, None, "cobs")))
        advice = advise(Channel(link, loss.share, loss.burst), size, FAILURE)
        return None if advice is None else advice.options(None).split()

    def redundant(self, share: float) -> list[str]:
        return ["--redundancy", f"{100 * share:g}%"]

    def send(self, job: Job, settings: list[str]) -> Command:
        url = f"udp://{job.wire.receiver}:{self.port}?rate={job.rate:.0f}"
        words = diode("send", job.source, "--name", "file", "--to", url, *settings)
        return Command([*words, *self.options, "-q"])

    def receive(self, job: Job) -> Command:
        words = diode("recv", job.inbox, "--from", f"udp://:{self.port}", "--once", "-q")
        return Command([*words, *self.options])


@dataclass(frozen=True)
class Pydiode:
    """pydiode (Peter Story): copies of large datagrams, a SHA-256 at the end."""

    folder: Path
    name: str = "pydiode"
    verifies: bool = True
    port: int = PORT
    datagram = 65_500
    """Bytes of the file in a datagram."""
    fragments = 45

    def missing(self) -> str:
        return "" if (self.folder / "bin/pydiode").exists() else _pip(self.folder, "pydiode")

    def settings(self, loss: Loss, size: int) -> list[str] | None:
        needed = copies(math.ceil(size / self.datagram), self.fragments, loss)
        return ["--redundancy", str(needed)] if needed <= MOST_COPIES else None

    def redundant(self, share: float) -> list[str]:
        return ["--redundancy", str(1 + math.ceil(share))]  # whole copies are all it has

    def send(self, job: Job, settings: list[str]) -> Command:
        ends = [job.wire.receiver, job.wire.sender, "--port", str(self.port)]
        rate = ["--max-bitrate", f"{job.rate:.0f}"]
        words = [str(self.folder / "bin/pydiode"), "send", *ends, *rate, *settings]
        return Command(words, stdin=job.source)

    def receive(self, job: Job) -> Command:
        words = [str(self.folder / "bin/pydiode"), "receive", job.wire.receiver]
        return Command([*words, "--port", str(self.port)], stdout=job.target)


@dataclass(frozen=True)
class Flute:
    """flute-alc (Yannick Poirier): FLUTE over ALC, a Rust library with Python bindings."""

    folder: Path
    name: str = "flute-alc"
    verifies: bool = True
    port: int = PORT
    symbol = 1416
    """Fills a datagram of 1,472 bytes."""
    k = 128

    def missing(self) -> str:
        there = list(self.folder.glob("lib/python*/site-packages/flute_alc-*"))
        return "" if there else _pip(self.folder, "flute-alc")

    def settings(self, loss: Loss, size: int) -> list[str] | None:
        interleaved = 4 if loss.burst == 1 else 32  # 4 unless told otherwise
        needed = parity(self.k, interleaved, loss, math.ceil(size / self.k / self.symbol))
        return None if needed is None else [*map(str, (self.symbol, self.k, needed, interleaved))]

    def redundant(self, share: float) -> list[str]:
        return [*map(str, (self.symbol, self.k, math.ceil(self.k * share), 4))]

    def send(self, job: Job, settings: list[str]) -> Command:
        to = [job.wire.receiver, str(self.port), str(job.source), f"{job.rate:.0f}"]
        return Command([*self._program(), "send", *to, *settings])

    def receive(self, job: Job) -> Command:
        at = [job.wire.receiver, str(self.port), str(job.inbox)]
        return Command([*self._program(), "recv", *at])

    def _program(self) -> list[str]:
        return [str(self.folder / "bin/python"), str(ENDS / "flute_alc.py")]


@dataclass(frozen=True)
class Udpcast:
    """udpcast (Alain Knaff), without a return channel."""

    name: str = "udpcast"
    verifies: bool = False
    port: int = UDPCAST_PORT
    block = 1456

    def missing(self) -> str:
        return "" if which("udp-sender") else "apt install udpcast"

    def settings(self, loss: Loss, size: int) -> list[str] | None:
        if not loss.share:
            return []
        tries = []
        for stripes, k in SLICES:
            needed = parity(k, stripes, loss, math.ceil(size / k / self.block))
            if needed is not None:
                tries.append((needed / k, f"{stripes}x{needed}/{k}"))
        return ["--fec", min(tries)[1]] if tries else None

    def redundant(self, share: float) -> list[str]:
        stripes, k = SLICES[0]
        return ["--fec", f"{stripes}x{math.ceil(k * share)}/{k}"]

    def send(self, job: Job, settings: list[str]) -> Command:
        # several hellos: they tell the receiver everything and any may be lost
        begin = ["--async", "--rexmit-hello-interval", "20", "--autostart", "10"]
        rate = ["--max-bitrate", f"{job.rate / 1000:.0f}k"]
        data = ["--mcast-data-address", job.wire.receiver]
        file = ["--file", str(job.source)]
        words = ["udp-sender", *file, *begin, *rate, *settings, *data]
        return Command([*words, *self._common(job, job.wire.sends_on)])

    def receive(self, job: Job) -> Command:
        file = ["--file", str(job.target), "--nosync"]
        wait = ["--exit-wait", "10", "--receive-timeout", "5", "--rcvbuf", str(64 << 20)]
        return Command(["udp-receiver", *file, *wait, *self._common(job, job.wire.hears_on)])

    def _common(self, job: Job, interface: str) -> list[str]:
        meet = ["--mcast-rdv-address", job.wire.receiver, "--portbase", str(self.port)]
        return ["--interface", interface, *meet, "--nokbd", "--no-progress"]


def _pip(folder: Path, package: str) -> str:
    make = f"{Path(sys.executable).name} -m venv {folder}; " if not folder.exists() else ""
    return f"{make}{folder}/bin/pip install {package}"


def tools(folder: Path) -> dict[str, Tool]:
    """All by name. folder: the virtual environment that the peers from PyPI are in."""
    several: list[Tool] = [
        Diode(),
        Diode("diode-unconfined", ["--no-sandbox"]),
        Pydiode(folder),
        Flute(folder),
        Udpcast(),
    ]
    return {tool.name: tool for tool in several}


def versions(folder: Path) -> str:
    """Of what is installed, as the package systems say."""
    python = folder / "bin/python"
    said = ""
    if python.exists():
        listed = [str(python), "-m", "pip", "list", "--format", "freeze"]
        lines = _output(listed).splitlines()
        said = " ".join(line for line in lines if line.startswith(("pydiode", "flute")))
    deb = _output(["dpkg-query", "-W", "-f", "udpcast==${Version}", "udpcast"])
    wide = "with" if importlib.util.find_spec("reed_solomon_leopard") else "without"
    return f"{said} {deb} diode {wide} leopard".strip()


def _output(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout
