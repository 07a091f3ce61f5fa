"""The parts that circuits and cables here are made of, as far as signals are concerned.

For each kind: its pins with their types, which pins a signal can go from and to inside the part
(`flows`), and which of them belong together electrically (`groups`; one, unless it is a barrier).
The circuits are built of these (circuits.py), and the proof that they are one-way follows their
flows (oneway.py), so a wrong direction here would be believed: pins and flows are those of the data
sheets, and what a part can do in the wrong hands counts, not what it is meant for. Hence a jack of
a sound card hears and speaks, whatever is printed beside it.

Types: `in`, `out`, `both`; `power` for grounds and supplies; `open` collector; `passive`; `nc`.
"""

from __future__ import annotations

from dataclasses import dataclass

DRIVES = {"out", "both", "open"}
HEARS = {"in", "both"}


@dataclass(frozen=True)
class Kind:
    """A kind of part. pins: number, name, type. flows and groups name pins by their names."""

    name: str
    prefix: str
    pins: tuple[tuple[str, str, str], ...]
    flows: tuple[tuple[str, str], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    footprint: str = ""

    def number(self, name: str) -> str:
        (found,) = [number for number, its, _ in self.pins if its == name]
        return found

    def type_of(self, number: str) -> str:
        return {n: type_ for n, _, type_ in self.pins}[number]

    def name_of(self, number: str) -> str:
        return {n: name for n, name, _ in self.pins}[number]

    @property
    def moves(self) -> list[tuple[str, str]]:
        """The flows, by numbers of pins."""
        return [(self.number(a), self.number(b)) for a, b in self.flows]

    @property
    def islands(self) -> list[frozenset[str]]:
        """The groups, by numbers of pins."""
        if not self.groups:
            return [frozenset(number for number, _, _ in self.pins)]
        return [frozenset(self.number(name) for name in group) for group in self.groups]


def _pins(text: str) -> tuple[tuple[str, str, str], ...]:
    """`1 GND power, 2 A in` as a tuple of pins."""
    pins = tuple(tuple(pin.split()) for pin in text.split(","))
    assert all(len(pin) == 3 for pin in pins), text
    return pins  # type: ignore[return-value]


def _two_ended(name: str, prefix: str, footprint: str) -> Kind:
    both_ways = (("1", "2"), ("2", "1"))
    return Kind(name, prefix, _pins("1 1 passive, 2 2 passive"), both_ways, (), footprint)


_DE9 = (
    "1 DCD in, 2 RXD in, 3 TXD out, 4 DTR out, 5 GND power, 6 DSR in, 7 RTS out, 8 CTS in, 9 RI in"
)
_DB25 = (
    "1 SHIELD power, 2 TXD out, 3 RXD in, 4 RTS out, 5 CTS in, 6 DSR in, 7 GND power, 8 DCD in, "
    "20 DTR out, 22 RI in"
)
_RJ45 = "1 DSR in, 2 DCD in, 3 DTR out, 4 GND power, 5 RXD in, 6 TXD out, 7 CTS in, 8 RTS out"
_TTL = "1 GND power, 2 CTS in, 3 VCC power, 4 TXD out, 5 RXD in, 6 RTS out"

# Ports: the machines at both ends. None of them has a flow: what comes in at one pin may go out at
# any other, so the proof begins at every pin that drives and ends at every pin that hears.
PORTS = (
    Kind("DE-9", "X", _pins(_DE9)),
    Kind("DB-25", "X", _pins(_DB25)),
    Kind("RJ45-EIA-561", "X", _pins(_RJ45)),
    Kind("TTL-232R", "J", _pins(_TTL), footprint="Connector_PinHeader:PinHeader_1x06_P2.54mm"),
    Kind("JACK", "J", _pins("1 TIP both, 2 SLEEVE power"), footprint="Audio:Jack_3.5mm"),
    Kind("NIC", "J", _pins("1 LINK both"), footprint="Ethernet:port"),
)

OTHERS = (
    _two_ended("R", "R", "Resistor_THT:R_Axial_DIN0207_L6.3mm_D2.5mm_P10.16mm_Horizontal"),
    _two_ended("C", "C", "Capacitor_THT:C_Disc_D5.0mm_W2.5mm_P5.00mm"),
    Kind(
        "6N137",
        "U",
        _pins("1 NC1 nc, 2 A in, 3 K in, 4 NC4 nc, 5 GND power, 6 VO open, 7 VE in, 8 VCC power"),
        (("A", "VO"), ("K", "VO"), ("VE", "VO")),
        (("A", "K", "NC1", "NC4"), ("GND", "VO", "VE", "VCC")),
        "Package_DIP:DIP-8_W7.62mm",
    ),
    Kind(
        "HCPL-7723",
        "U",
        _pins(
            "1 VDD1 power, 2 VI in, 3 OPEN nc, 4 GND1 power, "
            "5 GND2 power, 6 VO out, 7 NC nc, 8 VDD2 power"
        ),
        (("VI", "VO"),),
        (("VDD1", "VI", "OPEN", "GND1"), ("GND2", "VO", "NC", "VDD2")),
        "Package_DIP:DIP-8_W7.62mm",
    ),
    Kind(
        "7407",
        "U",
        _pins(
            "1 1A in, 2 1Y open, 3 2A in, 4 2Y open, 5 3A in, 6 3Y open, 7 GND power, "
            "8 4Y open, 9 4A in, 10 5Y open, 11 5A in, 12 6Y open, 13 6A in, 14 VCC power"
        ),
        tuple((f"{n}A", f"{n}Y") for n in "123456"),
        footprint="Package_DIP:DIP-14_W7.62mm",
    ),
    Kind(
        "AM26LS31",
        "U",
        _pins(
            "1 1A in, 2 1Y out, 3 1Z out, 4 G in, 5 2Z out, 6 2Y out, 7 2A in, 8 GND power, "
            "9 3A in, 10 3Y out, 11 3Z out, 12 /G in, 13 4Z out, 14 4Y out, 15 4A in, 16 VCC power"
        ),
        tuple((f"{n}A", f"{n}{end}") for n in "1234" for end in "YZ"),
        footprint="Package_DIP:DIP-16_W7.62mm",
    ),
    Kind(
        "AM26LS32",
        "U",
        _pins(
            "1 1B in, 2 1A in, 3 1Y out, 4 G in, 5 2Y out, 6 2A in, 7 2B in, 8 GND power, "
            "9 3B in, 10 3A in, 11 3Y out, 12 /G in, 13 4Y out, 14 4A in, 15 4B in, 16 VCC power"
        ),
        tuple((f"{n}{end}", f"{n}Y") for n in "1234" for end in "AB"),
        footprint="Package_DIP:DIP-16_W7.62mm",
    ),
    Kind(
        "TOSLINK-TRANSMITTER",
        "U",
        _pins("1 GND power, 2 VCC power, 3 IN in, L LIGHT out"),
        (("IN", "LIGHT"),),
        footprint="OptoDevice:Toslink_transmitter",
    ),
    Kind(
        "TOSLINK-RECEIVER",
        "U",
        _pins("1 OUT out, 2 GND power, 3 VCC power, L LIGHT in"),
        (("LIGHT", "OUT"),),
        footprint="OptoDevice:Toslink_receiver",
    ),
    Kind(
        "LED",
        "D",
        _pins("1 K in, 2 A in, L LIGHT out"),
        (("A", "LIGHT"), ("K", "LIGHT")),
        footprint="LED_THT:LED_D5.0mm",
    ),
    Kind(
        "PHOTOTRANSISTOR",
        "Q",
        _pins("1 E passive, 2 C open, L LIGHT in"),
        (("LIGHT", "C"), ("LIGHT", "E"), ("C", "E"), ("E", "C")),
        footprint="LED_THT:LED_D5.0mm",
    ),
    Kind(
        "TLC272",
        "U",
        _pins(
            "1 1OUT out, 2 1IN- in, 3 1IN+ in, 4 V- power, "
            "5 2IN+ in, 6 2IN- in, 7 2OUT out, 8 V+ power"
        ),
        (("1IN-", "1OUT"), ("1IN+", "1OUT"), ("2IN-", "2OUT"), ("2IN+", "2OUT")),
        footprint="Package_DIP:DIP-8_W7.62mm",
    ),
    Kind(
        "TRANSFORMER",
        "T",
        _pins("1 P1 passive, 2 P2 passive, 3 S1 passive, 4 S2 passive"),
        (("P1", "S1"), ("S1", "P1"), ("P2", "S2"), ("S2", "P2"), ("P1", "P2"), ("S1", "S2")),
        footprint="Transformer_THT:600_600",
    ),
    Kind("BATTERY", "BT", _pins("1 + power, 2 - power"), footprint="Battery:9V"),
    # A converter that loses its light tells so in the other direction, hence the flows from RX.
    Kind(
        "CONVERTER",
        "U",
        _pins("1 COPPER both, 2 TX out, 3 RX in"),
        (("COPPER", "TX"), ("RX", "COPPER"), ("RX", "TX")),
        footprint="Ethernet:converter",
    ),
)

KINDS = {kind.name: kind for kind in (*PORTS, *OTHERS)}
PORT_NAMES = {kind.name for kind in PORTS}
