"""The drawings of the circuits, in schemdraw: the same references and values as circuits.py.

    python hardware/schematics.py FOLDER      writes FOLDER/*.svg

The sender is on the left, the receiver on the right, and a dashed line between them is the
barrier: where it is crossed there is a part that carries one way, or a line on which only one side
can speak.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import schemdraw.elements as e
from schemdraw import logic
from schemdraw.elements import Ic, IcPin

from sheet import (
    SMALL,
    THREE,
    barrier,
    capacitor,
    chip,
    drawing,
    ground,
    note,
    port,
    powered,
    supply,
    wire,
)


def driver(d: Any, j1: Any, at: tuple[float, float]) -> Any:
    """One gate of the 7407, from TXD."""
    gate = d.add(
        logic.Buf()
        .at(at)
        .right()
        .label("U1  7407: 1 in, 2 out", "bottom", fontsize=SMALL, ofst=(0, -0.3))
    )
    wire(d, j1.TXD, (gate.in1[0], j1.TXD[1]), gate.in1)
    return gate


def optocoupler() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "VCC TXD GND")
    j2 = port(d, (13, 0), "receiver", "VCC RXD GND")
    powered(d, j1, "sender")
    powered(d, j2, "receiver")
    u1 = driver(d, j1, (1.6, j1.TXD[1]))
    coupler = chip("K:3 A:2", "GND:5 VO:6 VE:7 VCC:8", (2.6, 3.6))
    u2 = d.add(
        coupler.theta(0)
        .at((5.6, j1.TXD[1]))
        .anchor("K")
        .label("U2  6N137", "bottom", fontsize=SMALL, ofst=(-1.0, -0.55))
    )
    wire(d, u1.out, u2.K)
    d.add(e.Resistor().at(u2.A).up().length(2).label("R1  330", fontsize=SMALL, loc="top"))
    supply(d, (u2.A[0], u2.A[1] + 2))
    middle = (u2.A[0] + u2.VCC[0]) / 2
    barrier(d, middle, u2.A[1] + 2.6, u2.GND[1] - 1.6)
    out = (u2.VO[0] + 1.6, u2.VO[1])
    wire(d, u2.VO, out, (out[0], j2.RXD[1]), j2.RXD)
    d.add(e.Dot().at(out))
    top = u2.VCC[1] + 0.9
    wire(d, u2.VCC, (u2.VCC[0] + 0.4, u2.VCC[1]), (u2.VCC[0] + 0.4, top))
    wire(d, u2.VE, (u2.VE[0] + 0.4, u2.VE[1]), (u2.VE[0] + 0.4, u2.VCC[1]))
    supply(d, (u2.VCC[0] + 0.4, top))
    d.add(e.Resistor().at(out).up().toy(top).label("R2  470", "bottom", fontsize=SMALL))
    supply(d, (out[0], top))
    ground(d, u2.GND, side="receiver")
    capacitor(d, -1.0, -5.0, "C1", "sender")
    capacitor(d, 13.6, -5.0, "C2", "receiver")
    note(
        d,
        (0.9, -5.2),
        "C1 at U1: pins 14 and 7.\nUnused inputs of U1\n(3, 5, 9, 11, 13) to ground.",
    )
    note(d, (8.2, -5.2), "C2 within 5 mm of U2:\npins 8 and 5.")
    return d


def cmos_coupler() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "VCC TXD GND")
    j2 = port(d, (9.2, 0), "receiver", "VCC RXD GND")
    coupler = chip("GND1:4 VI:2 VDD1:1", "GND2:5 VO:6 VDD2:8", (3.4, 3.1), **THREE)
    u1 = d.add(
        coupler.theta(0)
        .at((2.9, j1.TXD[1]))
        .anchor("VI")
        .label("U1  HCPL-7723", "bottom", fontsize=SMALL, ofst=(-1.3, -0.55))
    )
    for a, b in ((j1.VCC, u1.VDD1), (j1.TXD, u1.VI), (j1.GND, u1.GND1)):
        wire(d, a, b)
    for a, b in ((u1.VDD2, j2.VCC), (u1.VO, j2.RXD), (u1.GND2, j2.GND)):
        wire(d, a, b)
    middle = (u1.VI[0] + u1.VO[0]) / 2
    barrier(d, middle, 0.9, -3.0)
    capacitor(d, -1.4, -3.6, "C1", "sender")
    capacitor(d, 10.4, -3.6, "C2", "receiver")
    note(
        d,
        (1.0, -4.2),
        "C1 within 5 mm of U1: pins 1 and 4.\nC2 likewise: pins 8 and 5.\nPins 3 and 7 stay open.",
    )
    return d


def rs422() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "VCC TXD GND")
    j2 = port(d, (15, 0), "receiver", "VCC RXD GND")
    powered(d, j1, "sender")
    powered(d, j2, "receiver")
    send = chip("1A:1", "1Z:3 1Y:2", (2.2, 2.4), pinspacing=1.2)
    u1 = d.add(send.at((1.6, j1.TXD[1])).anchor("A").label("U1  AM26LS31", "top", fontsize=SMALL))
    wire(d, j1.TXD, u1.A)
    hear = chip("1B:1 1A:2", "1Y:3", (2.2, 2.4), pinspacing=1.2)
    u2 = d.add(
        hear.at((10.2, u1.Y[1]))
        .anchor("A")
        .label("U2  AM26LS32", "top", fontsize=SMALL, ofst=(0.7, 0.1))
    )
    wire(d, u1.Y, u2.A)
    wire(d, u1.Z, u2.B)
    wire(d, u2.Y, (j2.RXD[0] - 0.6, u2.Y[1]), (j2.RXD[0] - 0.6, j2.RXD[1]), j2.RXD)
    x = 8.4
    d.add(e.Resistor().at((x, u2.A[1])).to((x, u2.B[1])).label("R3\n120", "bottom", fontsize=SMALL))
    for y in (u2.A[1], u2.B[1]):
        d.add(e.Dot().at((x, y)))
    x = 9.4
    d.add(e.Dot().at((x, u2.A[1])))
    d.add(e.Resistor().at((x, u2.A[1])).up().length(1.8).label("R4  1 k", "bottom", fontsize=SMALL))
    supply(d, (x, u2.A[1] + 1.8))
    d.add(e.Dot().at((x, u2.B[1])))
    d.add(e.Resistor().at((x, u2.B[1])).down().length(1.8).label("R5\n1 k", "top", fontsize=SMALL))
    ground(d, (x, u2.B[1] - 1.8), side="receiver")
    low = u2.B[1] - 2.9
    ground(d, (3.2, low), side="sender")
    wire(d, (3.2, low), (4.0, low))
    d.add(e.Resistor().at((4.0, low)).right().length(1.8).label("R1  100", fontsize=SMALL))
    wire(d, (5.8, low), (7.4, low))
    d.add(e.Resistor().at((7.4, low)).right().length(1.8).label("R2  100", fontsize=SMALL))
    wire(d, (9.2, low), (10.4, low))
    ground(d, (10.4, low), side="receiver")
    barrier(d, 6.6, u1.Y[1] + 1.6, low - 1.1, "cable, up to 1.2 km")
    d.add(e.Label().at((6.1, u1.Y[1] + 0.25)).label("A", fontsize=SMALL))
    d.add(e.Label().at((6.1, u1.Z[1] + 0.25)).label("B", fontsize=SMALL))
    capacitor(d, -1.6, -5.2, "C1", "sender")
    capacitor(d, 15.6, -5.2, "C2", "receiver")
    note(
        d,
        (-1.2, -8.0),
        "U1: 4 to 5 V, 12 to ground, inputs 7, 9, 15 to ground,\n"
        "16 to 5 V, 8 to ground. Outputs 5, 6, 10, 11, 13, 14 open.",
    )
    note(d, (9.4, -8.0), "U2: 4 to 5 V, 12 to ground,\n16 to 5 V, 8 to ground. The rest open.")
    return d


def toslink() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "VCC TXD GND")
    j2 = port(d, (15.6, 0), "receiver", "VCC RXD GND")
    send = chip("GND IN VCC", "light", (2.6, 3.1), **THREE)
    u1 = d.add(
        send.at((2.6, j1.TXD[1])).anchor("IN").label("U1  transmitter", "top", fontsize=SMALL)
    )
    hear = chip("light", "GND OUT VCC", (2.6, 3.1), **THREE)
    u2 = d.add(
        hear.at((13.2, j2.RXD[1])).anchor("OUT").label("U2  receiver", "top", fontsize=SMALL)
    )
    for a, b in ((j1.VCC, u1.VCC), (j1.TXD, u1.IN), (j1.GND, u1.GND)):
        wire(d, a, b)
    for a, b in ((u2.VCC, j2.VCC), (u2.OUT, j2.RXD), (u2.GND, j2.GND)):
        wire(d, a, b)
    d.add(e.Line().at(u1.light).to(u2.light).color("orangered").linewidth(4))
    barrier(d, (u1.light[0] + u2.light[0]) / 2, 0.6, -3.8, "plastic fibre, up to 5 m")
    note(
        d,
        (-2.4, -4.8),
        "C1 (100 nF) at U1 and C2 (100 nF) at U2, between VCC and GND.\n"
        "The order of the three pins differs by maker.",
    )
    return d


def audio_buffer() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "TIP SLEEVE")
    j2 = port(d, (17.2, 0), "receiver", "TIP SLEEVE")
    ground(d, j1.SLEEVE, side="sender")
    amp = d.add(
        e.Opamp(leads=True)
        .theta(0)
        .at((4.6, j1.TIP[1] - 0.6))
        .anchor("in2")
        .flip()
        .label("U1\nTLC272", "center", fontsize=SMALL - 2, ofst=(-0.15, 0))
    )
    y = amp.in2[1]
    for pin, at in (("3", amp.in2), ("2", amp.in1), ("1", amp.out)):
        d.add(
            e.Label()
            .at((at[0] - 0.25 if pin != "1" else at[0] - 0.1, at[1] + 0.3))
            .label(pin, fontsize=SMALL)
        )
    wire(d, j1.TIP, (0.7, j1.TIP[1]), (0.7, y))
    d.add(e.Capacitor().at((0.7, y)).right().length(1.8).label("C2  1 uF", fontsize=SMALL))
    wire(d, (2.5, y), amp.in2)
    d.add(e.Dot().at((3.4, y)))
    d.add(e.Resistor().at((3.4, y)).down().length(2.2).label("R3\n100 k", "top", fontsize=SMALL))
    ref = (3.4, y - 2.2)
    below = (amp.in1[0] - 0.3, amp.in1[1] - 0.9)
    wire(
        d,
        amp.in1,
        (below[0], amp.in1[1]),
        below,
        (amp.out[0] + 0.2, below[1]),
        (amp.out[0] + 0.2, amp.out[1]),
    )
    d.add(e.Dot().at((amp.out[0] + 0.2, amp.out[1])))
    start = (amp.out[0] + 0.2, amp.out[1])
    wire(d, amp.out, start)
    d.add(e.Capacitor().at(start).right().length(1.8).label("C4  10 uF", fontsize=SMALL))
    at = (start[0] + 1.8, start[1])
    d.add(e.Resistor().at(at).right().length(1.8).label("R4  560", fontsize=SMALL))
    end = (at[0] + 1.8, at[1])
    t = d.add(
        e.Transformer(t1=4, t2=4)
        .theta(0)
        .at((end[0] + 0.9, end[1]))
        .anchor("p1")
        .label("T1  600:600", "top", fontsize=SMALL, ofst=(1.5, 0.45))
    )
    wire(d, end, t.p1)
    low = (t.p2[0], t.p2[1] - 0.4)
    wire(d, t.p2, low, (at[0] + 1.8, low[1]))
    d.add(
        e.Resistor()
        .at((at[0] + 1.8, low[1]))
        .left()
        .length(1.8)
        .label("R5  1", "top", fontsize=SMALL)
    )
    ground(d, (at[0], low[1]), side="sender")
    x = (t.s1[0] + j2.TIP[0]) / 2
    wire(d, t.s1, (x, t.s1[1]), (x, j2.TIP[1]), j2.TIP)
    wire(d, t.s2, (x + 0.4, t.s2[1]), (x + 0.4, j2.SLEEVE[1]), j2.SLEEVE)
    d.add(e.Dot().at((x + 0.4, t.s2[1])))
    ground(d, (x + 0.4, t.s2[1]), side="receiver")
    barrier(
        d,
        (t.p1[0] + t.s1[0]) / 2,
        1.2,
        low[1] - 1.2,
        "grounds part here; the direction is made by U1",
    )
    # the battery and half of its voltage
    base = -5.4
    wire(d, ref, (3.4, base))
    d.add(e.Dot().at((3.4, base)))
    note(d, (3.6, base + 0.2), "VREF, half of 9 V")
    wire(d, (3.4, base), (1.6, base))
    d.add(e.Dot().at((1.6, base)))
    d.add(
        e.Resistor().at((1.6, base + 1.8)).to((1.6, base)).label("R1  10 k", "top", fontsize=SMALL)
    )
    supply(d, (1.6, base + 1.8), "9 V")
    d.add(
        e.Resistor().at((1.6, base)).down().length(1.8).label("R2\n10 k", "bottom", fontsize=SMALL)
    )
    ground(d, (1.6, base - 1.8), side="sender")
    d.add(
        e.Capacitor()
        .at((3.4, base))
        .down()
        .length(1.8)
        .label("C1\n10 uF", "bottom", fontsize=SMALL)
    )
    ground(d, (3.4, base - 1.8), side="sender")
    note(
        d,
        (7.6, -5.9),
        "BT1 (9 V) between 9 V and the sender's ground.\n"
        "U1: 8 to 9 V, 4 to ground, C3 (100 nF) between them;\n"
        "the other half: 5 to VREF, 6 and 7 joined.",
    )
    return d


def led() -> Any:
    d = drawing()
    j1 = port(d, (0, 0), "sender", "VCC TXD GND")
    j2 = port(d, (12.6, 0), "receiver", "VCC RXD GND")
    powered(d, j1, "sender")
    powered(d, j2, "receiver")
    u1 = driver(d, j1, (1.6, j1.TXD[1]))
    x = 5.2
    wire(d, u1.out, (x, u1.out[1]))
    d.add(e.LED().at((x, u1.out[1] + 2)).to((x, u1.out[1])).label("D1", "bottom", fontsize=SMALL))
    d.add(
        e.Resistor().at((x, u1.out[1] + 2)).up().length(1.8).label("R1  220", "top", fontsize=SMALL)
    )
    supply(d, (x, u1.out[1] + 3.8))
    q = d.add(
        e.NpnPhoto()
        .theta(0)
        .at((9.0, u1.out[1]))
        .anchor("collector")
        .label("Q1", "right", fontsize=SMALL)
    )
    ground(d, q.emitter, side="receiver")
    wire(d, q.collector, (10.4, q.collector[1]), (10.4, j2.RXD[1]), j2.RXD)
    d.add(e.Dot().at(q.collector))
    d.add(e.Resistor().at(q.collector).up().length(1.8).label("R2  10 k", "bottom", fontsize=SMALL))
    supply(d, (q.collector[0], q.collector[1] + 1.8))
    barrier(d, 7.0, u1.out[1] + 3.8, u1.out[1] - 2.4, "air, 2 to 5 cm, in a black tube")
    note(
        d,
        (-2.4, -4.8),
        "C1 (100 nF) at U1: pins 14 and 7.\nUnused inputs of U1 (3, 5, 9, 11, 13) to ground.",
    )
    return d


def fibre() -> Any:
    d = drawing()

    def box(at: tuple[float, float], pins: list[Any], text: str, size: tuple[float, float]) -> Any:
        made = Ic(pins=pins, size=size, leadlen=0.4, edgepadH=0.4)
        return d.add(made.theta(0).at(at).label(text, "top", fontsize=SMALL))

    tx = IcPin(name="TX", side="right", anchorname="TX")
    rx = IcPin(name="RX", side="right", anchorname="RX")
    copper = IcPin(name="copper", side="left", anchorname="C")
    a = box((3.6, 0), [copper, rx, tx], "U1  converter A", (3, 2.4))
    c = box((3.6, -4.2), [rx, tx], "U3  converter C, copper empty", (3, 2.4))
    left = [
        IcPin(name="TX", side="left", anchorname="TX"),
        IcPin(name="RX", side="left", anchorname="RX"),
    ]
    b = box(
        (11.6, 0),
        [*left, IcPin(name="copper", side="right", anchorname="C")],
        "U2  converter B",
        (3, 2.4),
    )
    j1 = box((-1, 0), [IcPin(name="port", side="right", anchorname="P")], "J1  sender", (2.2, 2.4))
    j2 = box((18, 0), [IcPin(name="port", side="left", anchorname="P")], "J2  receiver", (2.2, 2.4))
    wire(d, j1.P, a.C)
    wire(d, b.C, j2.P)
    glow = {"color": "orangered", "lw": 3}
    d.add(e.Line(arrow="->", **glow).at(a.TX).to((b.RX[0], a.TX[1])))
    bend = a.RX[0] + 1.2
    d.add(e.Line(**glow).at(c.TX).to((bend, c.TX[1])))
    d.add(e.Line(**glow).at((bend, c.TX[1])).to((bend, a.RX[1])))
    d.add(e.Line(arrow="->", **glow).at((bend, a.RX[1])).to(a.RX))
    barrier(d, 9.0, 2.6, -4.2, "one strand, and no other")
    d.add(e.Label().at((b.TX[0] - 1.0, b.TX[1] - 0.3)).label("blind plug", fontsize=SMALL))
    return d


ALL = {
    "optocoupler": optocoupler,
    "cmos-coupler": cmos_coupler,
    "rs422": rs422,
    "toslink": toslink,
    "audio-buffer": audio_buffer,
    "led": led,
    "fibre": fibre,
}


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, make in ALL.items():
        (target / f"{name}.svg").write_bytes(make().get_imagedata("svg").rstrip() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
