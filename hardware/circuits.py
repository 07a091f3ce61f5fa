"""The circuits, in SKiDL: electrical rules checked, and netlists written that KiCad reads.

    python hardware/circuits.py FOLDER      writes FOLDER/*.net

Parts are defined here from parts.py, so that no library of KiCad is needed. Every net that carries
a supply is told to be driven; every pin that stays open is told to; whatever the rules check still
finds is an error. Netlists hold no dates, paths or random marks: the same circuit, the same file.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from parts import KINDS

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # it looks for KiCad's libraries, which nobody needs here
    import skidl

    builtins.default_circuit.no_files = True  # no logs beside whatever script runs this

    logging.disable(logging.NOTSET)

TYPES = {
    "in": skidl.Pin.types.INPUT,
    "out": skidl.Pin.types.OUTPUT,
    "both": skidl.Pin.types.BIDIR,
    "power": skidl.Pin.types.PWRIN,
    "open": skidl.Pin.types.OPENCOLL,
    "passive": skidl.Pin.types.PASSIVE,
    "nc": skidl.Pin.types.NOCONNECT,
}


class Bench:
    """A circuit under construction: parts by reference, nets by name."""

    def __init__(self, name: str) -> None:
        self.circuit = skidl.Circuit(name=name)
        self.circuit.no_files = True
        self.parts: dict[str, Any] = {}

    def part(self, ref: str, kind: str, value: str = "", **pins: str) -> None:
        """Add a part and join its pins to nets, `pin=net`; a pin without a net stays open.

        Pins whose names are no words are given as `pin_NUMBER`.
        """
        of = KINDS[kind]
        with self.circuit:
            made = skidl.Part(
                name=kind,
                tool=skidl.SKIDL,
                dest=skidl.TEMPLATE,
                pins=[skidl.Pin(num=n, name=m, func=TYPES[t]) for n, m, t in of.pins],
                ref_prefix=of.prefix,
                footprint=of.footprint,
            )(ref=ref, value=value or kind, tag=ref)
        self.parts[ref] = made
        wanted = {
            name[4:] if name.startswith("pin_") else of.number(name): net
            for name, net in pins.items()
        }
        for number, _, _ in of.pins:
            if number in wanted:
                self.net(wanted[number]).connect(made[number])
            else:
                made[number] += self.circuit.NC

    def net(self, name: str) -> Any:
        for net in self.circuit.nets:
            if net.name == name:
                return net
        net = skidl.Net(name, circuit=self.circuit)
        if re.match(r"(VCC|GND|VREF|LINE_GND)", name):
            net.drive = skidl.POWER
        return net

    def decoupled(self, ref: str, supply: str, ground: str) -> None:
        self.part(ref, "C", "100 nF", pin_1=supply, pin_2=ground)


def optocoupler() -> Bench:
    """A driver lights the coupler while TXD is low: an idle line is dark, and nothing inverts."""
    b = Bench("optocoupler")
    b.part("J1", "TTL-232R", "SENDER 5 V", GND="GND_S", VCC="VCC_S", TXD="TXD")
    idle = dict.fromkeys(("pin_3", "pin_5", "pin_9", "pin_11", "pin_13"), "GND_S")
    b.part("U1", "7407", pin_1="TXD", pin_2="CATHODE", GND="GND_S", VCC="VCC_S", **idle)
    b.part("R1", "R", "330", pin_1="VCC_S", pin_2="ANODE")
    b.part("U2", "6N137", A="ANODE", K="CATHODE", GND="GND_R", VO="RXD", VE="VCC_R", VCC="VCC_R")
    b.part("R2", "R", "470", pin_1="VCC_R", pin_2="RXD")
    b.decoupled("C1", "VCC_S", "GND_S")
    b.decoupled("C2", "VCC_R", "GND_R")
    b.part("J2", "TTL-232R", "RECEIVER 5 V", GND="GND_R", VCC="VCC_R", RXD="RXD")
    return b


def cmos_coupler() -> Bench:
    """A coupler with logic at both ends needs nothing but its capacitors."""
    b = Bench("cmos-coupler")
    b.part("J1", "TTL-232R", "SENDER 5 V", GND="GND_S", VCC="VCC_S", TXD="TXD")
    side = {"VDD1": "VCC_S", "GND1": "GND_S", "VDD2": "VCC_R", "GND2": "GND_R"}
    b.part("U1", "HCPL-7723", VI="TXD", VO="RXD", **side)
    b.decoupled("C1", "VCC_S", "GND_S")
    b.decoupled("C2", "VCC_R", "GND_R")
    b.part("J2", "TTL-232R", "RECEIVER 5 V", GND="GND_R", VCC="VCC_R", RXD="RXD")
    return b


def rs422() -> Bench:
    """A driver that cannot hear, two wires and a reference, a receiver that cannot speak."""
    b = Bench("rs422")
    b.part("J1", "TTL-232R", "SENDER 5 V", GND="GND_S", VCC="VCC_S", TXD="TXD")
    idle = dict.fromkeys(("pin_7", "pin_9", "pin_15", "pin_12"), "GND_S")
    on = {"pin_4": "VCC_S", "VCC": "VCC_S", "GND": "GND_S"}
    b.part("U1", "AM26LS31", pin_1="TXD", pin_2="LINE_A", pin_3="LINE_B", **on, **idle)
    b.decoupled("C1", "VCC_S", "GND_S")
    b.part("R1", "R", "100", pin_1="GND_S", pin_2="LINE_GND")
    b.part("R2", "R", "100", pin_1="LINE_GND", pin_2="GND_R")
    b.part("R3", "R", "120", pin_1="LINE_A", pin_2="LINE_B")
    b.part("R4", "R", "1 k", pin_1="VCC_R", pin_2="LINE_A")
    b.part("R5", "R", "1 k", pin_1="LINE_B", pin_2="GND_R")
    on = {"pin_4": "VCC_R", "VCC": "VCC_R", "GND": "GND_R", "pin_12": "GND_R"}
    b.part("U2", "AM26LS32", pin_2="LINE_A", pin_1="LINE_B", pin_3="RXD", **on)
    b.decoupled("C2", "VCC_R", "GND_R")
    b.part("J2", "TTL-232R", "RECEIVER 5 V", GND="GND_R", VCC="VCC_R", RXD="RXD")
    return b


def toslink() -> Bench:
    """Two modules and a plastic fibre; the receiver must be one that hears a signal stand still."""
    b = Bench("toslink")
    b.part("J1", "TTL-232R", "SENDER 5 V", GND="GND_S", VCC="VCC_S", TXD="TXD")
    b.part("U1", "TOSLINK-TRANSMITTER", IN="TXD", GND="GND_S", VCC="VCC_S", LIGHT="LINE_LIGHT")
    b.decoupled("C1", "VCC_S", "GND_S")
    b.part("U2", "TOSLINK-RECEIVER", OUT="RXD", GND="GND_R", VCC="VCC_R", LIGHT="LINE_LIGHT")
    b.decoupled("C2", "VCC_R", "GND_R")
    b.part("J2", "TTL-232R", "RECEIVER 5 V", GND="GND_R", VCC="VCC_R", RXD="RXD")
    return b


def audio_buffer() -> Bench:
    """A follower, which has no way back, and behind it a transformer, which parts the grounds."""
    b = Bench("audio-buffer")
    b.part("J1", "JACK", "SENDER", TIP="OUTPUT", SLEEVE="GND_S")
    b.part("BT1", "BATTERY", "9 V", **{"+": "VCC_S", "-": "GND_S"})
    b.part("R1", "R", "10 k", pin_1="VCC_S", pin_2="VREF")
    b.part("R2", "R", "10 k", pin_1="VREF", pin_2="GND_S")
    b.part("C1", "C", "10 uF", pin_1="VREF", pin_2="GND_S")
    b.part("C2", "C", "1 uF", pin_1="OUTPUT", pin_2="INPUT")
    b.part("R3", "R", "100 k", pin_1="INPUT", pin_2="VREF")
    spare = {"pin_5": "VREF", "pin_6": "SPARE", "pin_7": "SPARE"}
    b.part(
        "U1", "TLC272", pin_3="INPUT", pin_2="BUFFERED", pin_1="BUFFERED",
        pin_8="VCC_S", pin_4="GND_S", **spare,
    )  # fmt: skip
    b.decoupled("C3", "VCC_S", "GND_S")
    b.part("C4", "C", "10 uF", pin_1="BUFFERED", pin_2="COUPLED")
    b.part("R4", "R", "560", pin_1="COUPLED", pin_2="LINE_AUDIO")
    b.part("R5", "R", "1", pin_1="GND_S", pin_2="LINE_GND")
    b.part("T1", "TRANSFORMER", "600:600", P1="LINE_AUDIO", P2="LINE_GND", S1="HEARD", S2="GND_R")
    b.part("J2", "JACK", "RECEIVER", TIP="HEARD", SLEEVE="GND_R")
    return b


def led() -> Bench:
    """The optocoupler in two pieces, with air between them."""
    b = Bench("led")
    b.part("J1", "TTL-232R", "SENDER 5 V", GND="GND_S", VCC="VCC_S", TXD="TXD")
    idle = dict.fromkeys(("pin_3", "pin_5", "pin_9", "pin_11", "pin_13"), "GND_S")
    b.part("U1", "7407", pin_1="TXD", pin_2="CATHODE", GND="GND_S", VCC="VCC_S", **idle)
    b.decoupled("C1", "VCC_S", "GND_S")
    b.part("R1", "R", "220", pin_1="VCC_S", pin_2="ANODE")
    b.part("D1", "LED", "red", A="ANODE", K="CATHODE", LIGHT="LINE_LIGHT")
    b.part("Q1", "PHOTOTRANSISTOR", "BPW40", C="RXD", E="GND_R", LIGHT="LINE_LIGHT")
    b.part("R2", "R", "10 k", pin_1="VCC_R", pin_2="RXD")
    b.part("J2", "TTL-232R", "RECEIVER 5 V", GND="GND_R", VCC="VCC_R", RXD="RXD")
    return b


def fibre() -> Bench:
    """Three converters: the third one only shines, so that the sender's believes in its link."""
    b = Bench("fibre")
    b.part("J1", "NIC", "SENDER", LINK="COPPER_S")
    b.part("U1", "CONVERTER", "A", COPPER="COPPER_S", TX="LINE_FIBRE", RX="SHINE")
    b.part("U2", "CONVERTER", "B", RX="LINE_FIBRE", COPPER="COPPER_R")
    b.part("U3", "CONVERTER", "C", TX="SHINE")
    b.part("J2", "NIC", "RECEIVER", LINK="COPPER_R")
    return b


ALL = (optocoupler, cmos_coupler, rs422, toslink, audio_buffer, led, fibre)


def findings(bench: Bench) -> list[str]:
    """What the electrical rules check has against it."""
    said = io.StringIO()
    listener = logging.StreamHandler(said)
    skidl.erc_logger.addHandler(listener)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            bench.circuit.ERC()
    finally:
        skidl.erc_logger.removeHandler(listener)
    told = [line for line in said.getvalue().splitlines() if line.strip()]
    return [line for line in told if "found while running ERC" not in line]


def netlist(bench: Bench) -> str:
    """Its netlist for KiCad, without what changes from run to run."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        text = bench.circuit.generate_netlist(tool=skidl.KICAD9)
    text = re.sub(r'\n *\(date "[^"]*"\)', "", text)
    text = re.sub(r'\(source "[^"]*"\)', '(source "hardware/circuits.py")', text)
    text = re.sub(r'\n *\(comment\n *\(number "\d"\)\n *\(value ""\)\)', "", text)
    text = re.sub(r'\n *\(field\n *\(name "SKiDL [^)]*\)(?: "[^"]*")?\)', "", text)
    return text.rstrip() + "\n"


def main(target: Path) -> int:
    target.mkdir(parents=True, exist_ok=True)
    worst = 0
    for make in ALL:
        bench = make()
        for finding in findings(bench):
            worst = 1
            print(f"{bench.circuit.name}: {finding}", file=sys.stderr)
        (target / f"{bench.circuit.name}.net").write_text(netlist(bench))
    return worst


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
