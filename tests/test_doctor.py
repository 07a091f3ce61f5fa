"""The doctor: each check by itself, and on a one-way Ethernet of two network namespaces."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket

import pytest
from cli import Shell
from namespaces import OneWay

from diode import doctor
from diode.carrier.interface import Interface, Route
from diode.carrier.udp import Address
from diode.doctor import Check, Status, network
from diode.doctor.machine import Machine
from diode.doctor.udp import Host, judge
from diode.errors import UsageError

LINK = Interface("eth1", True, True, False, False, 1500, "10.9.0.1")
TO = Address(socket.AF_INET, "10.9.0.2", ("10.9.0.2", 5000))
SENDER = Host(
    True,
    TO,
    route=Route("eth1", b""),
    link=LINK,
    ipv6_off=True,
    neighbours=[{"dst": "10.9.0.2", "lladdr": "02:00:00:00:00:02", "state": ["PERMANENT"]}],
    most_memory=212_992,
    ring={"TX": "256", "TX max": "4096"},
    pause={"RX": "off", "TX": "off"},
    negotiation={"Auto-negotiation": "off"},
    features={"tx-udp-segmentation": "on"},
)
RECEIVER = dataclasses.replace(
    SENDER,
    sends=False,
    most_memory=64 << 20,
    ring={"RX": "4096", "RX max": "4096"},
    features={"generic-receive-offload": "on"},
    silent=True,
)


def found(host: Host) -> dict[str, Check]:
    return {check.name: check for check in judge(host)}


@pytest.mark.parametrize("host", [SENDER, RECEIVER], ids=["sender", "receiver"])
def test_a_machine_that_is_set_up(host: Host) -> None:
    checks = judge(host)
    assert len(checks) >= 13
    assert len({check.name for check in checks}) == len(checks)
    assert {check.status for check in checks} == {Status.OK}
    assert not any(check.mend for check in checks)


BAD = [
    (SENDER, {"link": dataclasses.replace(LINK, up=False)}, "up", "ip link set dev eth1 up"),
    (SENDER, {"link": dataclasses.replace(LINK, running=False)}, "carrier", "autoneg off"),
    (SENDER, {"link": dataclasses.replace(LINK, arp=True)}, "arp", "neighbour entry after it"),
    (RECEIVER, {"link": dataclasses.replace(LINK, arp=True)}, "arp", "eth1 arp off"),
    (SENDER, {"link": dataclasses.replace(LINK, address="")}, "address", "10.9.0.1/24 dev eth1"),
    (SENDER, {"mtu": 9000}, "mtu", "ip link set dev eth1 mtu 9000"),
    (SENDER, {"ipv6_off": False}, "ipv6", "net.ipv6.conf.eth1.disable_ipv6=1"),
    (SENDER, {"route": Route("eth1", b"\x0a\x09\0\1")}, "direct", "ip address add"),
    (SENDER, {"pause": {"RX": "on", "TX": "off"}}, "pause", "ethtool -A eth1 autoneg off rx off"),
    (SENDER, {"negotiation": {"Auto-negotiation": "on"}}, "autonegotiation", "ethtool -s eth1"),
    (SENDER, {"neighbours": []}, "neighbour", "ip neigh replace 10.9.0.2 lladdr MAC dev eth1"),
    (
        SENDER,
        {"neighbours": [{"lladdr": "02:00:00:00:00:01", "state": ["NOARP"]}]},
        "neighbour",
        "nud permanent",
    ),
    (RECEIVER, {"most_memory": 212_992}, "receive buffer", "net.core.rmem_max=67108864"),
    (RECEIVER, {"ring": {"RX": "256", "RX max": "4096"}}, "ring", "ethtool -G eth1 rx 4096"),
    (RECEIVER, {"features": {"generic-receive-offload": "off"}}, "coalescing", "eth1 gro on"),
    (RECEIVER, {"silent": False}, "silence", 'egress device "eth1" priority 0; policy drop'),
]


@pytest.mark.parametrize(("host", "change", "name", "mend"), BAD, ids=[str(b[2]) for b in BAD])
def test_what_is_wrong_is_found_alone_with_its_remedy(
    host: Host, change: dict, name: str, mend: str
) -> None:
    checks = found(dataclasses.replace(host, **change))
    assert {n for n, check in checks.items() if check.status != Status.OK} == {name}
    assert checks[name].status == Status.BAD
    assert mend in checks[name].mend


def test_what_is_not_told_is_no_fault() -> None:
    for host in (SENDER, RECEIVER):
        silent = {"ring": {}, "pause": {}, "negotiation": {}, "features": {}, "most_memory": None}
        checks = found(dataclasses.replace(host, **silent, neighbours=None, silent=None))
        unknown = {n for n, check in checks.items() if check.status == Status.UNKNOWN}
        assert unknown >= {"ring", "pause", "autonegotiation"}
        assert not [n for n, check in checks.items() if check.status == Status.BAD]
    assert {"receive buffer", "coalescing", "silence"} <= unknown


def test_groups_loopback_and_no_interface() -> None:
    group = Address(socket.AF_INET, "239.1.1.1", ("239.1.1.1", 5000))
    for change in ({"to": group}, {"broadcast": True}):
        host = dataclasses.replace(SENDER, neighbours=[], **change)
        assert found(host)["neighbour"].status == Status.OK
    lo = dataclasses.replace(LINK, name="lo", loopback=True, arp=True)
    assert set(found(dataclasses.replace(SENDER, link=lo))) == {"interface", "segmentation"}
    nowhere = found(dataclasses.replace(SENDER, link=None, route=None))
    assert nowhere["interface"].status == Status.BAD
    anywhere = found(dataclasses.replace(RECEIVER, link=None, route=None))
    assert anywhere["interface"].status == Status.UNKNOWN
    assert "receive buffer" in anywhere


def test_only_what_it_knows() -> None:
    assert doctor.examine("file:x", Machine(), sends=True) == []
    for wrong in ("nothing:x", "serial:x?bod=9600", "x"):
        with pytest.raises(UsageError):
            doctor.examine(wrong, Machine(), sends=True)
    with pytest.raises(UsageError, match="where to"):
        doctor.examine("udp://:5000", Machine(), sends=True)


def test_tools_that_are_not_there(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert network.said("ethtool", "lo") is None
    assert network.fields("lo", "-g") == {}
    assert network.neighbours("lo", "127.0.0.1") is None
    assert network.stops_all("lo") is None
    assert network.setting("net/no/such") is None


def test_the_command(shell: Shell) -> None:
    assert shell.run("doctor", "--to", "udp://127.0.0.1:1", "--from", "udp://:1").code == 2
    ran = shell.run("doctor", "--to", "udp://127.0.0.1:5000")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == "ok       interface: lo"
    ran = shell.run("doctor", "--json", "--to", "udp://127.0.0.1:5000?interface=eth77")
    assert ran.code == 3
    first = ran.events("check")[0]
    assert (first["name"], first["status"]) == ("interface", "bad")
    assert "eth77" in first["found"] and first["mend"]
    assert "interface" in shell.run(
        "doctor", "--quiet", "--to", "udp://127.0.0.1:5000?interface=eth77"
    ).out  # fmt: skip


def examined(link: OneWay, shell: Shell, space: str, *arguments: str) -> dict[str, dict]:
    ran = link.diode(shell, space, "doctor", "--json", *arguments)
    checks = [json.loads(line) for line in ran.out.splitlines()]
    assert {check["event"] for check in checks} == {"check"}
    bad = any(check["status"] == "bad" for check in checks)
    assert ran.code == (3 if bad else 0)
    return {check["name"]: check for check in checks}


def bad(checks: dict[str, dict]) -> set[str]:
    return {name for name, check in checks.items() if check["status"] == "bad"}


def test_a_link_that_is_set_up_and_then_spoiled(shell: Shell) -> None:
    """Every remedy is tried: what it says is done, and the fault is gone."""
    to = ("--to", "udp://10.9.0.2:5000")
    with OneWay() as link:
        before = link.packets("tx", "tx"), link.packets("rx", "tx"), link.held_back()
        checks = examined(link, shell, link.low, *to)
        assert bad(checks) <= {"autonegotiation", "pause"}  # which a veth may or may not have
        assert checks["neighbour"]["status"] == checks["arp"]["status"] == "ok"
        link.link("tx", "arp", "on")
        link.neighbour()
        assert "arp" in bad(examined(link, shell, link.low, *to))
        link.link("tx", "arp", "off")  # in the wrong order: the entry is gone
        spoiled = examined(link, shell, link.low, *to)
        assert "neighbour" in bad(spoiled) and "arp" not in bad(spoiled)
        mac = link.inside(link.high, "cat", "/sys/class/net/rx/address").strip()
        mend = spoiled["neighbour"]["mend"].replace("MAC", mac)
        link.inside(link.low, "sh", "-c", mend)
        assert "neighbour" not in bad(examined(link, shell, link.low, *to))
        link.inside(link.low, "sysctl", "-qw", "net.ipv6.conf.tx.disable_ipv6=0")
        link.inside(link.low, "sh", "-c", examined(link, shell, link.low, *to)["ipv6"]["mend"])
        assert "ipv6" not in bad(examined(link, shell, link.low, *to))
        larger = ("--to", "udp://10.9.0.2:5000?mtu=9000")
        for space, end in ((link.low, "tx"), (link.high, "rx")):
            mend = f"ip link set dev {end} mtu 9000"
            if end == "tx":
                assert examined(link, shell, space, *larger)["mtu"]["mend"] == mend
            link.inside(space, "sh", "-c", mend)
        assert "mtu" not in bad(examined(link, shell, link.low, *larger))
        after = link.packets("tx", "tx"), link.packets("rx", "tx"), link.held_back()
        assert after[1:] == before[1:]


def test_a_receiver_that_may_talk_is_told_to_be_silent(shell: Shell) -> None:
    at = ("--from", "udp://10.9.0.2:5000")
    with OneWay() as link:
        checks = examined(link, shell, link.high, *at)
        assert checks["interface"]["found"] == "rx"
        assert checks["silence"]["status"] == "ok"  # `counter drop` in a chain that accepts
        link.inside(link.high, "nft", "delete", "table", "netdev", "diode")
        spoiled = examined(link, shell, link.high, *at)
        assert "silence" in bad(spoiled)
        link.inside(link.high, "sh", "-c", spoiled["silence"]["mend"])
        assert examined(link, shell, link.high, *at)["silence"]["status"] == "ok"
        named = examined(link, shell, link.high, "--from", "udp://:5000?source=10.9.0.1")
        assert named["interface"]["found"] == "rx"
        unnamed = examined(link, shell, link.high, "--from", "udp://:5000")
        assert unnamed["interface"]["status"] == "unknown"
        assert link.packets("rx", "tx") == 0


def test_a_way_through_a_gateway(shell: Shell) -> None:
    with OneWay() as link:
        link.inside(link.low, "ip", "route", "add", "10.7.0.0/16", "via", "10.9.0.2")
        assert "direct" in bad(examined(link, shell, link.low, "--to", "udp://10.7.0.1:5000"))


def test_what_ethtool_says() -> None:
    if shutil.which("ethtool") is None:
        pytest.skip("ethtool is not installed (apt install ethtool)")
    features = network.fields("lo", "-k")
    assert features.get("generic-receive-offload", "").startswith(("on", "off"))


def test_what_a_configuration_uses_is_looked_at(shell: Shell) -> None:
    assert shell.run("keygen", "plant").code == 0
    (shell.folder / "tx").mkdir(mode=0o700)
    (shell.folder / "out").mkdir()
    (shell.folder / "s.toml").write_text(
        '[sender]\nto = ["serial:/dev/nosuch1", "serial:/dev/nosuch2"]\nstate = "tx"\n'
        'sign = "plant"\n[[sender.drop]]\nfolder = "out"\n'
    )
    (shell.folder / "r.toml").write_text(
        '[receiver]\nfrom = "serial:/dev/nosuch1"\ninbox = "in"\nverify = "plant.pub"\n'
    )
    ran = shell.run("doctor", "s.toml", "--json")
    assert ran.code == 3
    found = {(check["name"], check["status"]) for check in ran.events("check")}
    assert sum("/dev/nosuch" in check["found"] for check in ran.events("check")) == 2
    assert {("port", "bad"), ("state", "ok"), ("python", "ok")} <= found
    assert any(check["name"].startswith("key ") for check in ran.events("check"))
    said = shell.run("doctor", "r.toml").out
    assert f"{shell.folder}/in/.diode" in said
    assert "plant.pub" in said


def test_a_configuration_is_looked_at_by_itself(shell: Shell) -> None:
    assert shell.run("doctor", "nosuch.toml").code == 14
    (shell.folder / "r.toml").write_text('[receiver]\nfrom = "udp://:5000"\ninbox = "in"\n')
    ran = shell.run("doctor", "r.toml", "--state", "elsewhere")
    assert ran.code == 2
    assert "doctor r.toml" in ran.err
