"""What drawings are made of: ports, barriers, supplies, grounds, wires, notes, in schemdraw."""

from __future__ import annotations

import itertools
from typing import Any

import schemdraw
import schemdraw.elements as e
from schemdraw.elements import Ic, IcPin

schemdraw.use("svg")
schemdraw.svgconfig.text = "text"
SMALL = 11
THREE = {"pinspacing": 0.9, "edgepadH": 0.4}
"""How the pins of a chip stand that has the same three as a port beside it."""


def drawing() -> Any:
    d = schemdraw.Drawing(show=False)
    d.config(fontsize=SMALL, unit=2.0, bgcolor="white", margin=0.3)
    return d


def port(d: Any, at: tuple[float, float], side: str, pins: str) -> Any:
    """The header of a machine, its first pin at `at`; `pins` from top to bottom."""
    where = "right" if side == "sender" else "left"
    ref = "J1" if side == "sender" else "J2"
    made = [IcPin(name=name, side=where, anchorname=name) for name in reversed(pins.split())]
    size = (2.4, 0.9 * len(made) + 0.4)
    box = Ic(pins=made, size=size, pinspacing=0.9, leadlen=0.5, edgepadH=0.4)
    return d.add(
        box.theta(0)
        .at(at)
        .anchor(made[-1].anchorname)
        .label(f"{ref}  {side}", "top", fontsize=SMALL)
    )


def barrier(d: Any, x: float, top: float, bottom: float, text: str = "") -> None:
    d.add(e.Line().at((x, top)).to((x, bottom)).linestyle("--").color("crimson"))
    d.add(
        e.Label().at((x, bottom - 0.45)).label(text or "barrier", color="crimson", fontsize=SMALL)
    )


def supply(d: Any, at: Any, text: str = "5 V") -> None:
    d.add(e.Vdd().at(at).label(text, fontsize=SMALL))


def ground(d: Any, at: Any, *, side: str) -> None:
    """Two signs for the two grounds, which are never one."""
    d.add((e.Ground() if side == "sender" else e.GroundSignal()).at(at))


def wire(d: Any, *points: Any) -> None:
    for a, b in itertools.pairwise(points):
        d.add(e.Line().at(a).to(b))


def note(d: Any, at: tuple[float, float], text: str) -> None:
    d.add(e.Label().at(at).label(text, fontsize=SMALL, halign="left", valign="top"))


def powered(d: Any, box: Any, side: str, pins: tuple[str, str] = ("VCC", "GND")) -> None:
    """Supply and ground at two pins of a port."""
    step = 0.5 if side == "sender" else -0.5
    for name, draw in zip(pins, (supply, None), strict=True):
        at = getattr(box, name)
        end = (at[0] + step, at[1])
        wire(d, at, end)
        if draw:
            supply(d, end)
        else:
            ground(d, end, side=side)


def capacitor(d: Any, x: float, y: float, ref: str, side: str) -> None:
    """A decoupling capacitor beside the rest."""
    supply(d, (x, y))
    d.add(
        e.Capacitor()
        .at((x, y))
        .down()
        .length(1.3)
        .label(f"{ref}\n100 nF", "bottom", fontsize=SMALL)
    )
    ground(d, (x, y - 1.3), side=side)


def chip(left: str, right: str, size: tuple[float, float], **how: Any) -> Any:
    """A box with pins from bottom to top, `name` or `name:number`.

    Its anchors are their names without digits in front.
    """
    pins = []
    for side, text in (("left", left), ("right", right)):
        for word in text.split():
            name, _, number = word.partition(":")
            pins.append(
                IcPin(name=name, pin=number or None, side=side, anchorname=name.lstrip("123"))
            )
    return Ic(pins=pins, size=size, leadlen=0.5, **how).theta(0)
