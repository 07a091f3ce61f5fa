"""The circuits of hardware/: each is one-way by its netlist; what pages show is what comes out."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import OneWay

ROOT = Path(__file__).resolve().parents[1]
HARDWARE = ROOT / "hardware"
MADE = HARDWARE / "generated"
sys.path.append(str(HARDWARE))

import oneway  # noqa: E402
import uart  # noqa: E402
from oneway import Netlist, problems, read  # noqa: E402
from parts import KINDS  # noqa: E402

CIRCUITS = sorted(MADE.glob("*.net"))
CABLES = sorted((HARDWARE / "cables").glob("*.yml"))
PAGES = sorted(HARDWARE.glob("*.md"))
TOOLS = {"graphviz": "dot", "ngspice": "ngspice"}


def circuit(name: str) -> Netlist:
    return read(MADE / f"{name}.net")


def cable(name: str) -> Netlist:
    pytest.importorskip(
        "yaml", reason="WireViz is not installed (pip install 'diode-fec[hardware]')"
    )
    return read(HARDWARE / "cables" / f"{name}.yml")


# One-way ------------------------------------------------------------------------------------------


def test_there_is_something_to_prove() -> None:
    assert len(CIRCUITS) == 7
    assert len(CABLES) == 3


@pytest.mark.parametrize("path", CIRCUITS, ids=lambda p: p.stem)
def test_circuit_is_one_way(path: Path) -> None:
    assert problems(read(path)) == []


@pytest.mark.parametrize("path", CABLES, ids=lambda p: p.stem)
def test_cable_joins_txd_to_rxd_and_ground_to_ground_and_nothing_else(path: Path) -> None:
    netlist = cable(path.stem)
    assert problems(netlist) == []
    joining = {
        tuple(sorted(f"{ref}.{netlist.kind(ref).name_of(pin)}" for ref, pin in nodes))
        for nodes in netlist.nets.values()
        if {ref for ref, _ in nodes} == {"X1", "X2"}
    }
    assert joining == {("X1.TXD", "X2.RXD"), ("X1.GND", "X2.GND")}


def join(netlist: Netlist, *pins: str, net: str = "") -> None:
    """Join pins, `ref.NAME`, with everything that they are joined to, under one name."""
    nodes = set()
    for ref, name in (pin.split(".") for pin in pins):
        nodes.add((ref, netlist.kind(ref).number(name)))
    found = [n for n, there in netlist.nets.items() if there & nodes]
    for name in found:
        nodes |= netlist.nets.pop(name)
    netlist.nets[net or (found[0] if found else pins[0])] = nodes


def cut(netlist: Netlist, *pins: str) -> None:
    for ref, name in (pin.split(".") for pin in pins):
        node = (ref, netlist.kind(ref).number(name))
        for nodes in netlist.nets.values():
            nodes.discard(node)


def add(netlist: Netlist, ref: str, kind: str, **pins: str) -> None:
    """Another part; its pins, by name, on nets by name."""
    netlist.parts[ref] = (kind, "")
    for name, net in pins.items():
        netlist.nets.setdefault(net, set()).add((ref, KINDS[kind].number(name)))


def a_full_null_modem(n: Netlist) -> None:
    join(n, "X1.RXD", "X2.TXD", net="LINE_RXD")


def handshake_lines(n: Netlist) -> None:
    join(n, "X1.CTS", "X2.RTS")


def handshake_called_a_line(n: Netlist) -> None:
    cut(n, "X1.CTS")
    join(n, "X1.CTS", "X2.RTS", net="LINE_RTS")


def the_sender_listens_to_its_line(n: Netlist) -> None:
    join(n, "X1.RXD", "X1.TXD", net="LINE_TXD")


def the_receiver_speaks_on_the_line(n: Netlist) -> None:
    join(n, "X2.DTR", "X2.RXD", net="LINE_TXD")


def shields_joined(n: Netlist) -> None:
    join(n, "X1.SHIELD", "X2.SHIELD")


def the_coupler_turned_round(n: Netlist) -> None:
    """The LED on the receiver's side, TXD of the receiver at it."""
    cut(n, "U2.A", "U2.K", "U2.VO", "U2.VE", "U2.VCC", "U2.GND")
    for pin, net in (
        ("A", "VCC_R"),
        ("VO", "RXD_S"),
        ("VE", "VCC_S"),
        ("VCC", "VCC_S"),
        ("GND", "GND_S"),
    ):
        n.nets.setdefault(net, set()).add(("U2", KINDS["6N137"].number(pin)))
    n.nets["BACK"] = {("U2", KINDS["6N137"].number("K"))}
    join(n, "J2.TXD", "U2.K")
    join(n, "J1.RXD", "U2.VO")


def a_second_coupler(n: Netlist) -> None:
    add(n, "U9", "6N137", A="VCC_R", K="B", VO="RXD_S", VE="VCC_S", VCC="VCC_S", GND="GND_S")
    join(n, "J2.TXD", "U9.K")
    join(n, "J1.RXD", "U9.VO")


def a_second_coupler_for_a_handshake_line(n: Netlist) -> None:
    add(
        n,
        "U9",
        "HCPL-7723",
        VI="B",
        VO="CTS",
        VDD1="VCC_R",
        GND1="GND_R",
        VDD2="VCC_S",
        GND2="GND_S",
    )
    join(n, "J2.RTS", "U9.VI")
    join(n, "J1.CTS", "U9.VO")


def a_coupler_that_only_waits_to_be_used(n: Netlist) -> None:
    """Nothing drives it yet: rule 3 has nothing against it, rule 1 has."""
    add(n, "U9", "6N137", A="VCC_R", K="GND_R", VO="RXD_S", VE="VCC_S", VCC="VCC_S", GND="GND_S")


def grounds_joined(n: Netlist) -> None:
    join(n, "J1.GND", "J2.GND")


def one_supply_for_both(n: Netlist) -> None:
    join(n, "J1.VCC", "J2.VCC")


def a_resistor_across(n: Netlist) -> None:
    add(n, "R9", "R", **{"1": "RXD", "2": "BACK"})
    join(n, "J1.RXD", "R9.2")


def a_capacitor_across(n: Netlist) -> None:
    add(n, "C9", "C", **{"1": "TXD_R", "2": "BACK"})
    join(n, "J2.TXD", "C9.1")
    join(n, "J1.RXD", "C9.2")


def a_transceiver_at_the_receiver(n: Netlist) -> None:
    """A driver beside the receiver, on the same pair, and a receiver beside the driver."""
    add(
        n,
        "U8",
        "AM26LS31",
        **{"1A": "BACK_R", "1Y": "LINE_A", "1Z": "LINE_B", "VCC": "VCC_R", "GND": "GND_R"},
    )
    join(n, "J2.TXD", "U8.1A")
    add(
        n,
        "U9",
        "AM26LS32",
        **{"1A": "LINE_A", "1B": "LINE_B", "1Y": "BACK_S", "VCC": "VCC_S", "GND": "GND_S"},
    )
    join(n, "J1.RXD", "U9.1Y")


def a_receiver_beside_the_driver(n: Netlist) -> None:
    add(
        n,
        "U9",
        "AM26LS32",
        **{"1A": "LINE_A", "1B": "LINE_B", "1Y": "BACK_S", "VCC": "VCC_S", "GND": "GND_S"},
    )
    join(n, "J1.RXD", "U9.1Y")


def a_second_fibre(n: Netlist) -> None:
    n.nets["LINE_BACK"] = set()
    cut(n, "U1.RX", "U3.TX")
    n.nets["LINE_BACK"] |= {
        ("U2", KINDS["CONVERTER"].number("TX")),
        ("U1", KINDS["CONVERTER"].number("RX")),
    }


def the_third_converter_at_the_receiver(n: Netlist) -> None:
    """Its copper plugged into the receiver's network."""
    join(n, "U3.COPPER", "J2.LINK")


def a_supply_that_is_driven(n: Netlist) -> None:
    """The receiver's TXD feeds something, and a little of it gets on the line and off again."""
    add(n, "U9", "7407", VCC="FED")
    join(n, "J2.TXD", "U9.VCC")
    add(n, "R8", "R", **{"1": "FED", "2": "LINE_A"})
    add(n, "R9", "R", **{"1": "LINE_A", "2": "BACK"})
    join(n, "J1.RXD", "R9.2")


def no_buffer(n: Netlist) -> None:
    """A transformer parts grounds, and carries both ways."""
    join(n, "U1.1IN+", "U1.1OUT")


def a_toslink_pair_the_other_way(n: Netlist) -> None:
    add(n, "U8", "TOSLINK-TRANSMITTER", IN="BACK_R", GND="GND_R", VCC="VCC_R", LIGHT="LINE_BACK")
    add(n, "U9", "TOSLINK-RECEIVER", OUT="BACK_S", GND="GND_S", VCC="VCC_S", LIGHT="LINE_BACK")
    join(n, "J2.TXD", "U8.IN")
    join(n, "J1.RXD", "U9.OUT")


def an_unknown_part(n: Netlist) -> None:
    n.parts["U9"] = ("ADUM1201", "")


def a_pin_nobody_has(n: Netlist) -> None:
    n.nets["TXD"].add(("U1", "99"))


def cut_through(n: Netlist) -> None:
    cut(n, "J1.TXD")


PLANTED = [
    ("rs232-de9", a_full_null_modem, "could listen"),
    ("rs232-de9", handshake_lines, "hang together"),
    ("rs232-de9", handshake_called_a_line, "could speak"),
    ("rs232-de9", the_sender_listens_to_its_line, "could listen"),
    ("rs232-de9", the_receiver_speaks_on_the_line, "could speak"),
    ("rs232-db25", shields_joined, "hang together"),
    ("optocoupler", the_coupler_turned_round, "U2 carries from"),
    ("optocoupler", a_second_coupler, "U9 carries from"),
    ("cmos-coupler", a_second_coupler_for_a_handshake_line, "a way back: J2.RTS"),
    ("optocoupler", a_coupler_that_only_waits_to_be_used, "U9 carries from"),
    ("optocoupler", grounds_joined, "hang together"),
    ("optocoupler", one_supply_for_both, "hang together"),
    ("optocoupler", a_resistor_across, "hang together"),
    ("cmos-coupler", a_capacitor_across, "a way back: J2.TXD"),
    ("rs422", a_transceiver_at_the_receiver, "a way back: J2.TXD"),
    ("rs422", a_receiver_beside_the_driver, "could listen"),
    ("rs422", a_supply_that_is_driven, "a way back: J2.TXD"),
    ("fibre", a_second_fibre, "a way back: J2.LINK"),
    ("fibre", the_third_converter_at_the_receiver, "a way back: J2.LINK"),
    ("audio-buffer", no_buffer, "a way back: J2.TIP"),
    ("toslink", a_toslink_pair_the_other_way, "a way back: J2.TXD"),
    ("optocoupler", an_unknown_part, "ADUM1201"),
    ("optocoupler", a_pin_nobody_has, "U1.99"),
    ("optocoupler", cut_through, "nothing leads"),
]


@pytest.mark.parametrize(
    ("name", "plant", "told"), PLANTED, ids=lambda x: getattr(x, "__name__", None)
)
def test_planted_way_back_is_found(name: str, plant, told: str) -> None:
    netlist = copy.deepcopy(cable(name) if name.startswith("rs232") else circuit(name))
    plant(netlist)
    found = problems(netlist)
    assert any(told in problem for problem in found), found


def test_every_fault_at_once_in_ports(tmp_path: Path) -> None:
    netlist = circuit("optocoupler")
    netlist.parts["J2"] = ("TTL-232R", "SENDER too")
    assert problems(netlist) == [
        "one port with the value SENDER… is needed, there are ['J1', 'J2']"
    ]
    text = (MADE / "optocoupler.net").read_text().replace('"RECEIVER 5 V"', '"other"')
    path = tmp_path / "board.net"
    path.write_text(text)
    command = [sys.executable, HARDWARE / "oneway.py", path]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout.startswith(
        "board.net: NOT PROVED ONE-WAY\n    one port with the value RECEIVER"
    )


def test_names_in_a_circuit_stay_text() -> None:
    """A netlist is a file of somebody else's: brackets in strings, brackets that do not match."""
    text = '(export (components (comp (ref "A") (value "(x)") (libsource (part "R")))) (nets))'
    assert oneway.read_kicad(text).parts == {"A": ("R", "(x)")}
    with pytest.raises(ValueError, match="brackets"):
        oneway.read_kicad("(export (components")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.net", "hello"),
        ("a.net", ")("),
        ("a.net", "(export (nets))"),
        ("a.net", "(export (components (comp (ref))) (nets))"),
        ("a.net", ""),
        ("a.yml", "- 1"),
        ("a.yml", "{"),
        ("a.yml", "connectors: {X1: {type: DE-9}}"),
    ],
)
def test_what_is_no_netlist_is_told(tmp_path: Path, name: str, text: str, capsys) -> None:
    (tmp_path / name).write_text(text)
    assert oneway.main([str(tmp_path / name), str(MADE / "led.net")]) == 2
    told = capsys.readouterr()
    assert told.out == "led.net: one-way\n"
    assert told.err.startswith(f"{name}: ")
    assert "Traceback" not in told.err
    assert oneway.main([str(tmp_path / "nothing.net")]) == 2


def test_a_board_of_somebody_else() -> None:
    """Symbols of KiCad's own libraries, named by a field; without it they are not known."""
    text = (MADE / "optocoupler.net").read_text()
    text = text.replace('(part "TTL-232R")', '(part "Conn_01x06")')
    assert problems(oneway.read_kicad(text)) == ["parts that are not known: Conn_01x06"]
    field = '(fields\n        (field\n          (name "Oneway") "TTL-232R")'
    before, found, after = text.partition('(ref "J1")')
    named = before + found + after.replace("(fields", field, 1)
    before, found, after = named.partition('(ref "J2")')
    named = before + found + after.replace("(fields", field, 1)
    assert problems(oneway.read_kicad(named)) == []


# What is made of them -----------------------------------------------------------------------------


def generated(folder: Path) -> None:
    for package in ("skidl", "schemdraw", "wireviz", "matplotlib"):
        if subprocess.run(
            [
                sys.executable,
                "-c",
                f"import importlib.util as u, sys; sys.exit(not u.find_spec('{package}'))",
            ],
            check=False,
        ).returncode:
            pytest.skip(f"{package} is not installed (pip install 'diode-fec[hardware]')")
    for package, tool in TOOLS.items():
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install {package})")
    command = [sys.executable, HARDWARE / "make.py", folder]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr


MAKERS = {
    r".*\.net": {"skidl"},
    r"rs232-.*": {"arial", "dot", "wireviz"},
    r"spice\.json": {"ngspice"},
    r"eye-.*\.png": {"matplotlib", "ngspice"},
    r".*\.svg": {"schemdraw"},
}
"""Which programs a file comes from; the first that matches."""


def versions(folder: Path) -> dict[str, str]:
    """What a folder was made with."""
    lines = (folder / "made-with.txt").read_text().splitlines()
    return dict(line.split() for line in lines)


def test_what_is_checked_in_is_what_comes_out(tmp_path: Path) -> None:
    """Electrical rules (make.py fails on a finding), netlists, drawings, simulations."""
    folder = tmp_path / "made"
    generated(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["made"]  # SKiDL leaves no logs
    names = sorted(path.name for path in MADE.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    ours, theirs = versions(MADE), versions(folder)
    other = {name for name in ours if ours[name] != theirs[name]}
    for name in set(names) - {"made-with.txt"}:
        makers = next(makers for form, makers in MAKERS.items() if re.fullmatch(form, name))
        if not makers & other:
            assert (MADE / name).read_bytes() == (folder / name).read_bytes(), name
    if other:
        pytest.skip(f"not all compared, other versions here of: {', '.join(sorted(other))}")


def test_electrical_rules_find_faults() -> None:
    """A check that cannot fail would be none: an open pin, two outputs on a net, no supply."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import circuits; b = circuits.Bench('x');"
        "b.part('U1', 'AM26LS31', pin_1='T', pin_2='A', pin_5='A', VCC='V');"
        "print(*circuits.findings(b), sep='\\n')"
    )
    command = [sys.executable, "-c", script, HARDWARE]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named 'skidl'" in ran.stderr:
        pytest.skip("skidl is not installed (pip install 'diode-fec[hardware]')")
    assert "OUTPUT connected to OUTPUT" in ran.stdout, ran.stderr
    assert "No drivers for net V" in ran.stdout


@pytest.mark.parametrize("path", CIRCUITS, ids=lambda p: p.stem)
def test_drawing_names_every_part(path: Path) -> None:
    drawn = (MADE / f"{path.stem}.svg").read_text()
    for ref, (kind, value) in read(path).parts.items():
        assert re.search(rf"\b{ref}\b", drawn), ref
        if kind in {"R", "C"}:
            number = value.split()[0]
            assert re.search(rf"\b{ref}\b[^R]{{0,200}}?\b{number}\b", drawn, re.DOTALL), (
                ref,
                value,
            )


# Simulation ---------------------------------------------------------------------------------------

THRESHOLDS = [
    ("6N137, 470 ohm", 2_000_000, True),
    ("6N137, 470 ohm", 5_000_000, False),
    ("HCPL-7723", 20_000_000, True),
    ("4N35, 1 k", 19_200, True),
    ("4N35, 1 k", 57_600, False),
    ("RS-232, 6 V/us, 2500 pF", 115_200, True),
    ("RS-232, 6 V/us, 2500 pF", 230_400, False),
    ("RS-232, 24 V/us, 1000 pF", 460_800, True),
    ("RS-232, 24 V/us, 1000 pF", 921_600, False),
]


@pytest.mark.parametrize(("name", "rate", "good"), THRESHOLDS)
def test_rates_that_the_pages_promise(name: str, rate: int, good: bool) -> None:
    """Good to this rate, and the next one is beyond: where it ends is what the pages say."""
    if shutil.which("ngspice") is None:
        pytest.skip("ngspice is not installed (apt install ngspice)")
    import spice

    verdict = spice.judge(spice.WAYS[name], spice.simulate(spice.WAYS[name], rate))
    assert (verdict.distortion <= spice.GOOD) == good, verdict
    if good:
        assert verdict.wrong == 0
        assert not verdict.dead


def test_a_line_that_is_cut_is_dead() -> None:
    import numpy as np

    import spice

    _, bits, content = spice.stimulus(9600)
    time = np.linspace(0, len(bits) / 9600, 40 * len(bits))
    sent = 5.0 * bits[np.minimum((time * 9600).astype(int), len(bits) - 1)]
    way = spice.Way("none", 2.0, 0.8)
    dead = spice.judge(way, spice.Run(time, sent, np.full_like(time, 5.0), 1 / 9600))
    assert dead.dead
    assert dead.wrong == len(content)
    perfect = spice.judge(way, spice.Run(time, sent, sent, 1 / 9600))
    assert (perfect.wrong, perfect.dead) == (0, False)
    assert perfect.distortion < 0.03


def test_uart_table() -> None:
    """Numbers of the data sheets (ATmega48, table 84), and what the page says in words."""
    assert uart.error("AVR, 16 MHz", 115_200) == pytest.approx(0.021, abs=5e-4)
    assert uart.whole(16e6, 16)(115_200) / 115_200 - 1 == pytest.approx(-0.035, abs=5e-4)
    assert uart.error("AVR, 16 MHz", 230_400) == pytest.approx(-0.035, abs=5e-4)
    for rate in (250_000, 500_000, 1_000_000):
        assert uart.error("AVR, 16 MHz", rate) == uart.error("RP2040, 125 MHz", rate) == 0
        assert uart.error("FT232R, FT230X", rate) == 0
    assert pytest.approx(0.046, abs=1e-3) == uart.LIMIT


# Hosts --------------------------------------------------------------------------------------------

HOST = HARDWARE / "host"


def test_hosts_are_set_up_again_and_taken_down() -> None:
    """Everything in its order, twice; what a veth has not is told, what must be there ends it."""
    with OneWay() as link:
        sender = {"ROLE": "sender", "ADDRESS": "10.9.0.1/24", "PEER": "10.9.0.2"}
        sender["PEER_MAC"] = link.address()
        for _ in range(2):
            said = link.script(link.low, "up", "tx", SPEED="1000", MTU="1400", **sender)
            # A veth has neither energy saving nor, in some kernels, the other two.
            for line in said.splitlines():
                assert line.startswith("diode-link: tx: could not "), line
        shown = json.loads(link.inside(link.low, "ip", "-j", "address", "show", "dev", "tx"))[0]
        assert "NOARP" in shown["flags"]
        assert shown["mtu"] == 1400
        assert [a["local"] for a in shown["addr_info"]] == ["10.9.0.1"]
        assert link.inside(link.low, "sysctl", "-n", "net.ipv6.conf.tx.disable_ipv6") == "1\n"
        (entry,) = json.loads(link.inside(link.low, "ip", "-j", "neigh", "show", "dev", "tx"))
        assert entry["lladdr"] == link.address()
        assert entry["state"] == ["PERMANENT"]
        for space, hook in ((link.low, "ingress"), (link.high, "egress")):
            rules = link.inside(space, "nft", "list", "table", "netdev", "diode")
            assert rules.count(f"hook {hook}") == rules.count("drop") == 1, rules
        assert link.packets("tx", "tx") == link.packets("rx", "tx") == 0  # nobody has said a word
        link.script(link.low, "down", "tx")
        shown = json.loads(link.inside(link.low, "ip", "-j", "link", "show", "dev", "tx"))[0]
        assert "UP" not in shown["flags"]


def test_faults_of_settings_are_told() -> None:
    with OneWay() as link:
        sender = {"ROLE": "sender", "ADDRESS": "10.9.0.1/24", "PEER": "10.9.0.2"}
        for settings, told in (
            ({}, "ADDRESS"),
            ({"ADDRESS": "10.9.0.1/24"}, "ROLE"),
            ({"ADDRESS": "10.9.0.1/24", "ROLE": "both"}, "ROLE is sender or receiver, not both"),
            (sender, "PEER_MAC"),
            (sender | {"PEER_MAC": "nonsense"}, "nonsense"),
            (sender | {"PEER_MAC": link.address(), "ADDRESS": "10.9.0.999"}, "10.9.0.999"),
        ):
            assert told in link.script(link.low, "up", "tx", check=False, **settings)
        assert "there is no such interface" in link.script(link.low, "up", "eth7", check=False)
        assert "ROLE=sender" in link.script(link.low, "sideways", "tx", check=False)


def test_the_sender_looks_at_nothing_that_arrives() -> None:
    """What comes all the same is dropped before the system sees it, and counted."""
    with OneWay() as link:
        link.inside(link.high, "nft", "delete", "table", "netdev", "diode")
        entry = ["lladdr", "ff:ff:ff:ff:ff:ff", "dev", "rx", "nud", "permanent"]
        link.inside(link.high, "ip", "neigh", "replace", "10.9.0.1", *entry)
        script = "import socket; s = socket.socket(2, 2); s.sendto(b'x' * 100, ('10.9.0.1', 9))"
        link.inside(link.high, sys.executable, "-c", script)
        rules = link.inside(link.low, "nft", "list", "table", "netdev", "diode")
        assert re.search(r"counter packets 1 ", rules), rules
        snmp = link.inside(link.low, "cat", "/proc/net/snmp")
        names, values = [line.split() for line in snmp.splitlines() if line.startswith("Ip:")]
        assert values[names.index("InReceives")] == "0"


def test_units_and_rules_can_be_read() -> None:
    """systemd and udev have nothing against them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    command = ["systemd-analyze", "verify", "--man=no", HOST / "diode-link@.service"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [line for line in ran.stderr.splitlines() if "diode-link" in line]
    assert all("diode-link is not executable" in line for line in told), ran.stderr  # not installed
    settings = (HOST / "link-sender.example").read_text()
    assert set(re.findall(r"^([A-Z0-9_]+)=", settings, re.MULTILINE)) <= set(
        re.findall(r"([A-Z0-9_]+)=", (HOST / "diode-link").read_text().split("set -eu")[0])
    )
    if shutil.which("udevadm") is None:
        pytest.skip("udevadm is not installed (apt install udev)")
    command = ["udevadm", "verify", HOST / "70-diode-serial.rules"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Unknown command verb" in ran.stderr:
        pytest.skip("this udevadm cannot verify rules (systemd 254 can)")
    assert ran.returncode == 0, ran.stdout + ran.stderr


# Pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "firmware-notes/firmware.md"], ids=lambda p: p.stem
)
def test_tables_in_pages_are_as_made(page: Path) -> None:
    sys.path.append(str(HARDWARE))
    import make

    text = page.read_text()
    assert make.filled(text, MADE) == text


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "firmware-notes/firmware.md"], ids=lambda p: p.stem
)
def test_what_pages_point_at_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


SECTIONS = [
    "Drawing",
    "Parts",
    "Building",
    "Commissioning",
    "What an auditor looks for",
    "Signs of failure",
]
WAYS = ["rs232", "optocoupler", "rs422", "fibre", "toslink", "audio", "led"]


@pytest.mark.parametrize("name", WAYS)
def test_page_has_what_every_page_has(name: str) -> None:
    text = (HARDWARE / f"{name}.md").read_text()
    found = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [section for section in found if section in SECTIONS] == SECTIONS
    for word in ("For whom.", "Speed.", "Cost.", "Bench status:"):
        assert f"**{word}**" in text, word
    assert f"({name}.md)" in (HARDWARE / "README.md").read_text()


def test_everything_generated_is_shown_somewhere() -> None:
    """No drawing, netlist or diagram that nobody sees."""
    pages = "".join(page.read_text() for page in PAGES)
    made = {p.name for p in MADE.iterdir() if p.suffix in {".svg", ".png"}}
    assert {name for name in made if f"generated/{name}" not in pages} == set()
