"""What lies between two programs that are measured: a loopback, or a wire that loses frames.

    sender  tx ---- in  (between)  out ---- rx  receiver

Three network namespaces in a row, joined by two veth pairs. The one in the middle hands every
frame on to the other side and nothing back, as a fibre strand does, and on the way its firewall
drops some. A drop there meets single frames, as on a real wire, whatever the programs use:
segmentation offload is off at `tx`, so bursts are cut up before the loss, and `rx` puts together
what follows in time (GRO), as a network card's driver does. Were both done at once, a "lost
frame" would be 64 KiB.

Random loss is the kernel's random number against a threshold. Bursts are Gilbert's channel of two
states (BSTJ 39, 1960): a set of the firewall that holds the interface's name while the link is
bad; a frame enters it with probability loss / (burst · (1 - loss)), leaves it with 1 / burst,
and is dropped while the name is in it. So a burst has `burst` frames on average, at any speed.

What fragments need to be put together again is set generously at the receiver: a program whose
datagrams are longer than a frame is to lose what the wire takes from it and no more.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Self

SCALE = 1_000_000
"""Steps of a probability, in the firewall's random numbers."""
RULES = """
table netdev wire {{
  set bad {{ type ifname; size 65535; flags dynamic; }}
  chain loss {{
    type filter hook ingress device "in" priority 0; policy accept;
    {loss}
    fwd to "out"
  }}
}}
"""
RANDOM = f"numgen random mod {SCALE} < {{enter}} drop"
BURSTS = f"""iifname @bad numgen random mod {SCALE} < {{leave}} delete @bad {{{{ iifname }}}}
    iifname != @bad numgen random mod {SCALE} < {{enter}} add @bad {{{{ iifname }}}}
    iifname @bad drop"""
REASSEMBLY = {"ipfrag_high_thresh": 512 << 20, "ipfrag_low_thresh": 384 << 20, "ipfrag_time": 1}
_names = (f"fibre{os.getpid()}-{n}" for n in itertools.count())


@dataclass(frozen=True)
class Loss:
    """Share of frames lost, and how many in a row on average. 1: each by itself."""

    share: float
    burst: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Loss:
        """`5%`, or `5%x10` for bursts of 10 frames; ValueError."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)%(?:x(\d+(?:\.\d+)?))?", text)
        if found is None:
            raise ValueError(f"{text!r} is no loss: 5%, or 5%x10 for bursts of 10 frames")
        loss = cls(float(found[1]) / 100, float(found[2] or 1))
        if not loss.share < 0.5 or loss.burst < 1:
            raise ValueError(f"{text!r}: less than half is lost, in bursts of one frame or more")
        return loss

    def __str__(self) -> str:
        share = f"{100 * self.share:g} %"
        return share if self.burst == 1 else f"{share} in bursts of {self.burst:g}"

    @property
    def enter(self) -> float:
        """Probability that the frame after one that came through is lost."""
        return self.share if self.burst == 1 else self.share / (1 - self.share) / self.burst

    @property
    def correlation(self) -> float:
        """Of the fates of two neighbouring frames."""
        return 0.0 if self.burst == 1 else 1 - self.enter - 1 / self.burst

    def rules(self) -> str:
        """The whole table for the firewall."""
        lines = ""
        if self.share:
            rule = RANDOM if self.burst == 1 else BURSTS
            lines = rule.format(enter=round(SCALE * self.enter), leave=round(SCALE / self.burst))
        return RULES.format(loss=lines)


def run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, input=text)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def missing() -> list[str]:
    """What is wanting for namespaces, in words; empty where all is there."""
    tools = (("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool"))
    wanting = [f"{tool} (apt install {package})" for tool, package in tools if not which(tool)]
    return wanting + (["root, for network namespaces of its own"] if os.geteuid() else [])


def which(tool: str) -> str | None:
    """Where a program is, also one that only root has on the path."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Carried:
    """What a path has carried so far, as its interfaces count.

    bytes: sent, of whole frames without preamble and check. frames: sent; heard: arrived.
    """

    bytes: int
    frames: int
    heard: int

    def since(self, before: Carried) -> Carried:
        return Carried(
            self.bytes - before.bytes, self.frames - before.frames, self.heard - before.heard
        )

    @property
    def lost(self) -> float:
        """Share of the frames sent, whatever took them."""
        return 1 - self.heard / max(1, self.frames)


class Path:
    """A row of network namespaces from the sender to the receiver, which go away with this."""

    title: str
    loss: Loss
    sender: str
    receiver: str
    sends_on: str
    hears_on: str

    def __init__(self, count: int) -> None:
        self.spaces: list[str] = []
        try:
            for _ in range(count):
                self.spaces.append(next(_names))
                run("ip", "netns", "add", self.spaces[-1])
                self.inside(-1, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
                self.ip(-1, "link", "set", "dev", "lo", "up")
            self.join()
        except BaseException:
            self.close()
            raise

    def join(self) -> None:
        """Lay what connects them."""

    @property
    def low(self) -> str:
        """The namespace to send from."""
        return self.spaces[0]

    @property
    def high(self) -> str:
        """The namespace to receive in."""
        return self.spaces[-1]

    def carried(self) -> Carried:
        names = ((0, self.sends_on, "tx_bytes"), (0, self.sends_on, "tx_packets"))
        return Carried(*(self.count(*name) for name in (*names, (-1, self.hears_on, "rx_packets"))))

    def count(self, at: int, interface: str, what: str) -> int:
        return int(self.inside(at, "cat", f"/sys/class/net/{interface}/statistics/{what}"))

    def inside(self, at: int, *words: str, text: str | None = None) -> str:
        return run("ip", "netns", "exec", self.spaces[at], *words, text=text)

    def ip(self, at: int, *words: str) -> str:
        return run("ip", "-n", self.spaces[at], *words)

    def close(self) -> None:
        for space in self.spaces:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Wire(Path):
    """The picture above."""

    sender, receiver = "10.9.0.1", "10.9.0.2"
    sends_on, hears_on = "tx", "rx"
    mtu = 1500

    def __init__(self, loss: Loss) -> None:
        self.loss, self.title = loss, f"wire, {loss}" if loss.share else "wire, no loss"
        super().__init__(3)

    def join(self) -> None:
        _, between, high = self.spaces
        for at, near, far, beyond in ((0, "tx", "in", between), (1, "out", "rx", high)):
            pair = ["type", "veth", "peer", "name", far, "netns", beyond]
            self.ip(at, "link", "add", "name", near, *pair)
        for at, host, name in ((0, self.sender, "tx"), (2, self.receiver, "rx")):
            self.ip(at, "address", "add", f"{host}/24", "dev", name)
        self.inside(
            0, "ethtool", "-K", "tx", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"
        )
        # a veth puts together only what comes from an end that cannot send super-packets
        self.inside(1, "ethtool", "-K", "out", "tso", "off")
        self.inside(2, "ethtool", "-K", "rx", "gro", "on")
        for at, name in ((0, "tx"), (1, "in"), (1, "out"), (2, "rx")):
            self.ip(at, "link", "set", "dev", name, "mtu", str(self.mtu), "arp", "off", "up")
        (there,) = json.loads(self.ip(2, "-j", "link", "show", "dev", "rx"))
        entry = [self.receiver, "lladdr", there["address"], "dev", "tx", "nud", "permanent"]
        self.ip(0, "neigh", "replace", *entry)
        for name, value in REASSEMBLY.items():
            self.inside(2, "sysctl", "-qw", f"net.ipv4.{name}={value}")
        self.inside(1, "nft", "-f", "-", text=self.loss.rules())


class Loopback(Path):
    """Both programs in one namespace, on a loopback of their own, as the kernel has it."""

    title = "loopback"
    sender = receiver = "127.0.0.1"
    sends_on = hears_on = "lo"
    mtu = 65536
    loss = Loss(0.0)

    def __init__(self) -> None:
        super().__init__(1)


def path(text: str) -> Path:
    """`loopback`, `5%` or `5%x10`; ValueError."""
    return Loopback() if text == "loopback" else Wire(Loss.parse(text))
