"""A fibre strand in miniature: two network namespaces, where every packet the wrong way counts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
from cli import Ran, Shell, make
from namespaces import OneWay

PORT = 5000
TO = f"udp://10.9.0.2:{PORT}"


def received(shell: Shell, content: bytes) -> None:
    assert (shell.folder / "inbox/file").read_bytes() == content


def receiving(link: OneWay, shell: Shell, url: str = f"udp://:{PORT}"):
    """A receiver that goes on listening: nobody at a port is what a kernel answers to."""
    receiver = link.start(shell, link.high, "recv", "inbox", "--json", "--from", url)
    shell.listening(receiver)
    return receiver


def ended(shell: Shell, receiver) -> Ran:
    """Stop a receiver once it has delivered."""
    said = []
    while line := receiver.stdout.readline():
        said.append(line.decode())
        if json.loads(line)["event"] == "object_delivered":
            break
    receiver.send_signal(signal.SIGINT)
    ran = shell.finish(receiver)
    assert ran.code == 130, ran.err
    return Ran(ran.code, "".join(said) + ran.out, ran.err)


@pytest.mark.parametrize(
    ("mtu", "to"), [(1500, TO), (9000, f"{TO}?mtu=9000&rate=1G"), (1500, f"{TO}?gso=0")]
)
def test_nothing_comes_back_and_nothing_is_cut(shell: Shell, mtu: int, to: str) -> None:
    """T93: a transfer, with not one packet the other way, wanted or come, and no fragment."""
    content = make(shell.folder / "file", 2_000_000)
    with OneWay(mtu=mtu) as link:
        before = link.packets("tx", "rx")
        url = f"udp://10.9.0.2:{PORT}?source=10.9.0.1&interface=rx"
        receiver = receiving(link, shell, url)
        sent = link.diode(shell, link.low, "send", "file", "--to", to)
        assert sent.code == 0, sent.err
        assert link.held_back() == 0
        ended(shell, receiver)
        received(shell, content)
        assert link.packets("tx", "rx") == before == 0
        assert link.packets("rx", "tx") == 0
        assert link.fragments() == 0
        # The counters do count: nobody listens any more, so the kernel answers, and is stopped.
        again = link.diode(shell, link.low, "send", "file", "--to", to)
        assert again.code == 0, again.err
        assert link.held_back() > 0
        assert link.packets("tx", "rx") == 0


def test_switching_arp_off_last_loses_everything(shell: Shell) -> None:
    """The trap that `diode doctor` looks for: the entry is flushed, and nobody says a word."""
    make(shell.folder / "file", 50_000)
    with OneWay() as link:
        link.link("tx", "arp", "on")
        link.neighbour()
        link.link("tx", "arp", "off")
        receiver = link.start(
            shell, link.high, "recv", "inbox", "--idle", "2", "--from", f"udp://:{PORT}"
        )
        before = link.packets("rx", "rx")
        sent = link.diode(shell, link.low, "send", "file", "--to", TO)
        assert sent.code == 0  # it cannot know
        assert shell.finish(receiver).code == 4
        assert link.packets("rx", "rx") > before  # they did come, for somebody else


def test_one_in_twenty_lost_on_the_wire(shell: Shell) -> None:
    """Where the firewall drops at random what comes in, the code makes it good."""
    content = make(shell.folder / "file", 2_000_000)
    with OneWay() as link:
        rule = ["numgen", "random", "mod", "1000", "<", "50", "counter", "drop"]
        chain = '{ type filter hook ingress device "rx" priority 0; policy accept; }'
        link.inside(link.high, "nft", "add", "chain", "netdev", "diode", "in", chain)
        try:
            link.inside(link.high, "nft", "add", "rule", "netdev", "diode", "in", *rule)
        except AssertionError as error:
            pytest.skip(f"nft has no random numbers here: {error}")
        receiver = receiving(link, shell)
        # The firewall drops whole batches where it meets them, so there are none.
        sent = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?gso=0")
        assert sent.code == 0, sent.err
        ran = ended(shell, receiver)
        received(shell, content)
        seen = ran.events("link")[-1]
        assert 0.02 < seen["lost"] / (seen["lost"] + seen["frames"]) < 0.09
        assert seen["kernel_dropped"] == 0


def test_an_interface_that_goes_down_is_waited_for(shell: Shell) -> None:
    """T87: down and up again in mid-transfer; told once each way, and the file arrives."""
    content = make(shell.folder / "file", 2_000_000)
    with OneWay() as link:
        receiver = receiving(link, shell)
        sender = link.start(
            shell, link.low, "send", "file", "--passes", "2", "--json", "--to", f"{TO}?rate=10M"
        )
        link.wait_for_packets(200)
        link.link("tx", "down")
        told = until(sender, "waiting")
        assert "tx: " in told and "diode doctor --to udp://10.9.0.2:5000" in told
        link.link("tx", "up")
        link.neighbour()  # which does not survive it
        assert "tx is back" in until(sender, "back")
        sent = shell.finish(sender)
        assert sent.code == 0, sent.err
        assert not [e for e in sent.events("warning") if "waiting" in e["message"]]
        assert link.held_back() == link.packets("tx", "rx") == 0
        ended(shell, receiver)
        received(shell, content)


def until(process, word: str) -> str:
    """The first warning of a `--json` process with that word."""
    while line := process.stdout.readline():
        event = json.loads(line)
        if event["event"] == "warning" and word in event["message"]:
            return event["message"]
    raise AssertionError(f"it never said {word!r}")


def test_no_carrier_at_the_start_is_waited_for(shell: Shell) -> None:
    """T87: Linux would drop everything without a word."""
    content = make(shell.folder / "file", 300_000)
    with OneWay() as link:
        receiver = receiving(link, shell)
        link.link("rx", "down")
        link.wait_for_carrier(there=False)
        sender = link.start(shell, link.low, "send", "file", "--json", "--to", TO)
        told = until(sender, "waiting")
        assert "tx: no carrier" in told and "autonegotiation" in told
        link.link("rx", "up")
        sent = shell.finish(sender)
        assert sent.code == 0, sent.err
        ended(shell, receiver)
        received(shell, content)


def test_patience_ends(shell: Shell) -> None:
    """T87: neither address nor route, and an interface that stays down."""
    make(shell.folder / "file", 100_000)
    with OneWay() as link:
        link.link("tx", "down")
        ran = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?reopen=0.3")
        assert ran.code == 10
        said = " ".join(ran.err.split())
        assert "waiting" in said and "for more than 0.3 s" in said and "diode doctor" in said
        link.link("tx", "up")
        link.inside(link.low, "ip", "address", "flush", "dev", "tx")
        link.wait_for_carrier(there=True)
        ways = ((f"{TO}?reopen=0.3", "no route"), (f"{TO}?reopen=0.3&interface=tx", "no address"))
        for to, said in ways:
            ran = link.diode(shell, link.low, "send", "file", "--to", to)
            assert ran.code == 10, ran.err
            assert said in " ".join(ran.err.split())


def test_a_firewall_that_refuses_is_waited_for(shell: Shell) -> None:
    make(shell.folder / "file", 100_000)
    with OneWay() as link:
        table = "table ip f { chain out { type filter hook output priority 0; policy drop; }\n}\n"
        link.inside(link.low, "nft", "-f", "-", text=table)
        ran = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?reopen=0.3")
        assert ran.code == 10
        assert "closed by the firewall" in " ".join(ran.err.split())


def test_interrupted_while_it_waits(shell: Shell) -> None:
    make(shell.folder / "file", 100_000)
    with OneWay() as link:
        link.link("tx", "down")
        sender = link.start(shell, link.low, "send", "file", "--json", "--to", TO)
        until(sender, "waiting")
        sender.send_signal(signal.SIGINT)
        ran = shell.finish(sender, timeout=20)
        assert ran.code == 130


def test_nothing_leaves_by_another_interface(shell: Shell) -> None:
    """With the link down, a default route would lead elsewhere."""
    make(shell.folder / "file", 100_000)
    with OneWay() as link:
        link.inside(link.low, "ip", "link", "add", "other", "type", "veth", "peer", "name", "end")
        for name in ("other", "end"):
            link.inside(link.low, "ip", "link", "set", name, "up")
        link.inside(link.low, "ip", "address", "add", "10.8.0.1/24", "dev", "other")
        link.inside(link.low, "ip", "route", "add", "default", "via", "10.8.0.2")
        hop = ["10.8.0.2", "lladdr", "02:00:00:00:00:02", "dev", "other", "nud", "permanent"]
        link.inside(link.low, "ip", "neigh", "replace", *hop)
        sender = link.start(
            shell, link.low, "send", "file", "--json", "--passes", "0", "--to",
            f"{TO}?rate=5M&reopen=1",
        )  # fmt: skip
        link.wait_for_packets(50)
        before = sent_by(link, "other")
        link.link("tx", "down")
        until(sender, "waiting")
        assert shell.finish(sender).code == 10
        assert sent_by(link, "other") == before
        # Down from the start, it is the default route that counts; and that is said.
        ran = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?rate=unlimited")
        assert "through a gateway, by other" in " ".join(ran.err.split())
        ran = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?interface=tx&reopen=0.2")
        assert ran.code == 10 and "gateway" not in ran.err


def sent_by(link: OneWay, name: str) -> int:
    return int(link.inside(link.low, "cat", f"/sys/class/net/{name}/statistics/tx_packets"))


def test_datagrams_that_do_not_fit_are_refused_and_never_cut(shell: Shell) -> None:
    """T86: at the start, and when the interface is changed in mid-transfer."""
    make(shell.folder / "file", 1_000_000)
    with OneWay() as link:
        ran = link.diode(shell, link.low, "send", "file", "--to", f"{TO}?mtu=9000")
        assert ran.code == 10
        said = " ".join(ran.err.split())
        assert "do not fit its MTU of 1500" in said
        assert "say mtu=1500: frames of up to 1472 bytes" in said
        for cut in ("gso=1", "gso=0"):
            sender = link.start(
                shell, link.low, "send", "file", "--passes", "0", "--to", f"{TO}?rate=5M&{cut}"
            )
            link.wait_for_packets(50)
            link.link("tx", "mtu", "1400")
            ran = shell.finish(sender)
            assert ran.code == 10
            assert "do not fit its MTU of 1400" in " ".join(ran.err.split())
            link.link("tx", "mtu", "1500")
        assert link.fragments() == 0


def test_ipv6_and_multicast(shell: Shell) -> None:
    """A group needs no neighbour entry: its hardware address follows from its name."""
    content = make(shell.folder / "file", 300_000)
    with OneWay(ipv6=True) as link:
        for host in ("[fd09::2]", "239.77.1.1", "[ff02::77]"):
            at = "[::]" if host == "[fd09::2]" else host
            receiver = receiving(link, shell, f"udp://{at}:{PORT}?interface=rx")
            sent = link.diode(
                shell, link.low, "send", "file", "--to", f"udp://{host}:{PORT}?interface=tx"
            )
            assert sent.code == 0, sent.err
            ended(shell, receiver)
            received(shell, content)
            os.remove(shell.folder / "inbox/file")
        assert link.packets("tx", "rx") == 0  # the receiver's kernel had things to say by then


def test_a_peer_that_talks_back_changes_nothing(shell: Shell) -> None:
    """T91 for a network: with the way back open, a flood towards the sender reaches nobody."""
    content = make(shell.folder / "file", 1_000_000)
    with OneWay() as link:
        for space in (link.low, link.high):
            link.inside(space, "nft", "delete", "table", "netdev", "diode")
        (there,) = json.loads(link.inside(link.low, "ip", "-j", "link", "show", "dev", "tx"))
        entry = ["10.9.0.1", "lladdr", there["address"], "dev", "rx", "nud", "permanent"]
        link.inside(link.high, "ip", "neigh", "replace", *entry)
        receiver = receiving(link, shell)
        sender = link.start(shell, link.low, "send", "file", "--to", f"{TO}?rate=10M")
        link.wait_for_packets(20)
        port = sender_port(link)
        flood = (
            "import socket, sys, time\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for n in range(20000):\n"
            "    s.sendto(bytes(1000), ('10.9.0.1', int(sys.argv[1])))\n"
        )
        with contextlib.suppress(AssertionError):
            link.inside(link.high, "python3", "-c", flood, str(port))
        assert link.packets("tx", "rx") > 10_000
        sent = shell.finish(sender)
        assert sent.code == 0, sent.err
        assert sent.err.count("waiting") == 0
        ended(shell, receiver)
        received(shell, content)


def sender_port(link: OneWay) -> int:
    """The port that the sender's kernel has given it."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for row in link.inside(link.low, "cat", "/proc/net/udp").splitlines()[1:]:
            return int(row.split()[1].partition(":")[2], 16)
        time.sleep(0.02)
    raise AssertionError("the sender has no socket")
