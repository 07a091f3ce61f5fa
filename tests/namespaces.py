"""A one-way Ethernet on one machine: two network namespaces, a veth pair, a firewall.

    low   tx, 10.9.0.1  ---- frames ---->  rx, 10.9.0.2   high
                        X--- dropped and counted ---

hardware/host/diode-link sets both ends up. Address resolution is off, and the sender has a
permanent neighbour entry instead. The order matters: switching ARP off flushes the entry, after
which frames go to the sender's own address and the receiver drops them without a word.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from cli import Ran, Shell

ROOT_ONLY = "network namespaces are root's"
SCRIPT = Path(__file__).parents[1] / "hardware/host/diode-link"
_names = (f"diode{os.getpid()}-{n}" for n in itertools.count())


def run(*words: str, check: bool = True, text: str | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, input=text)
    assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class OneWay:
    """Both namespaces. Start `diode` in one of them with `start`."""

    def __init__(self, *, mtu: int = 1500, ipv6: bool = False) -> None:
        for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed (apt install {package})")
        if os.geteuid():
            pytest.skip(ROOT_ONLY)
        self.low, self.high = next(_names), next(_names)
        self.mtu = mtu
        made = subprocess.run(["ip", "netns", "add", self.low], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"no network namespaces here: {made.stderr.decode().strip()}")
        run("ip", "netns", "add", self.high)
        try:
            self._wire(ipv6)
        except BaseException:
            self.close()
            raise

    def _wire(self, ipv6: bool) -> None:
        """Both ends as an administrator sets them up, by the script that is there for it."""
        pair = ["type", "veth", "peer", "name", "rx", "netns", self.high]
        run("ip", "-n", self.low, "link", "add", "name", "tx", *pair)
        for space in (self.low, self.high):
            if not ipv6:
                self.inside(space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            run("ip", "-n", space, "link", "set", "lo", "up")
        common = {"MTU": str(self.mtu), "SPEED": "", "RMEM": ""}
        for space, name, host, role in (
            (self.high, "rx", "2", "receiver"),
            (self.low, "tx", "1", "sender"),
        ):
            settings = {"ROLE": role, "ADDRESS": f"10.9.0.{host}/24", **common}
            if role == "sender":
                settings |= {"PEER": "10.9.0.2", "PEER_MAC": self.address()}
            if ipv6:
                settings |= {"ADDRESS6": f"fd09::{host}/64", "PEER6": "fd09::2"}
            self.script(space, "up", name, **settings)
        self.wait_for_carrier(there=True)

    def script(self, space: str, verb: str, name: str, check: bool = True, **settings: str) -> str:
        """Run hardware/host/diode-link there; what it has to say."""
        words = [f"{key}={value}" for key, value in settings.items()]
        command = ["ip", "netns", "exec", space, "env", *words, SCRIPT, verb, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stderr

    def address(self) -> str:
        """The address of the receiver's card."""
        (there,) = json.loads(run("ip", "-n", self.high, "-j", "link", "show", "dev", "rx"))
        return there["address"]

    def neighbour(self) -> None:
        """The receiver's address, as an administrator enters it."""
        for to in ("10.9.0.2", "fd09::2"):
            entry = [to, "lladdr", self.address(), "dev", "tx", "nud", "permanent"]
            run("ip", "-n", self.low, "neigh", "replace", *entry, check=to != "fd09::2")

    @staticmethod
    def inside(space: str, *words: str, text: str | None = None, check: bool = True) -> str:
        """What a command in that namespace says."""
        return run("ip", "netns", "exec", space, *words, text=text, check=check)

    def start(self, shell: Shell, space: str, *arguments: object) -> subprocess.Popen:
        """Start `diode` there."""
        return shell.start(*arguments, prefix=("ip", "netns", "exec", space))

    def diode(self, shell: Shell, space: str, *arguments: object) -> Ran:
        """Run `diode` there to its end."""
        return shell.finish(self.start(shell, space, *arguments))

    def link(self, end: str, *words: str) -> None:
        """`ip link set` for `tx` or `rx`."""
        run("ip", "-n", self.low if end == "tx" else self.high, "link", "set", "dev", end, *words)

    def packets(self, end: str, which: str) -> int:
        """rx or tx packets of an end, as the kernel counts them."""
        space = self.low if end == "tx" else self.high
        path = f"/sys/class/net/{end}/statistics/{which}_packets"
        return int(self.inside(space, "cat", path))

    def held_back(self) -> int:
        """Packets that the receiver's machine wanted to send, all of them dropped."""
        said = self.inside(self.high, "nft", "list", "table", "netdev", "diode")
        return int(re.search(r"counter packets (\d+)", said)[1])

    def fragments(self) -> int:
        """Fragments that the sender's machine has made."""
        lines = self.inside(self.low, "cat", "/proc/net/snmp").splitlines()
        names, values = [line.split() for line in lines if line.startswith("Ip:")]
        return int(values[names.index("FragCreates")]) + int(values[names.index("FragOKs")])

    def wait_for_packets(self, more: int) -> None:
        """Return when so many more packets have reached the receiving end."""
        wanted = self.packets("rx", "rx") + more
        until = time.monotonic() + 30
        while self.packets("rx", "rx") < wanted:
            assert time.monotonic() < until, "nothing comes"
            time.sleep(0.02)

    def wait_for_carrier(self, *, there: bool) -> None:
        """Return when the sending end knows of it; Linux takes its time with that."""
        until = time.monotonic() + 10
        path = "/sys/class/net/tx/operstate"
        while (self.inside(self.low, "cat", path).strip() == "up") != there:
            assert time.monotonic() < until
            time.sleep(0.02)

    def close(self) -> None:
        for space in (self.low, self.high):
            run("ip", "netns", "delete", space, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
