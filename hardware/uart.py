"""How far from its rate each UART is: what its divisor makes of its clock.

A receiver finds the start bit's edge to a sixteenth of a bit and samples the last data bit 8.5 bits
later, the stop bit 9.5 bits later; it must still be inside. Half a bit less that sixteenth, over
9.5 bits, is 4.6 %: what both ends may be apart, divisors and crystals and distorted edges together.
Half of it, 2.3 %, is the most that one end should take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = (0.5 - 1 / 16) / 9.5
"""By how much the two ends may differ in all, as a fraction."""

RATES = (9600, 38400, 57600, 115200, 230400, 250000, 460800, 500000, 921600, 1000000, 2000000)


def whole(clock: float, step: int) -> Callable[[float], float]:
    """A divisor in whole numbers: rate = clock / (step * n)."""
    return lambda rate: clock / (step * max(1, round(clock / step / rate)))


def sixty_fourths(clock: float) -> Callable[[float], float]:
    """ARM's PL011: clock / 16 by a number in steps of 1/64, at least 1."""
    return lambda rate: clock / 16 / max(1, round(clock / 16 / rate * 64) / 64)


def eighths(clock: float) -> Callable[[float], float]:
    """FTDI: `clock` by n and eighths; of the divisors below 2 only 1 and 1.5 exist (0 and 1 in the
    register), which are the full rate and two thirds of it (AN232B-05).
    """

    def made(rate: float) -> float:
        divisor = round(clock / rate * 8) / 8
        if divisor < 2:
            divisor = min((1.0, 1.5), key=lambda d: abs(clock / d - rate))
        return clock / divisor

    return made


def fastest_first(*ways: Callable[[float], float]) -> Callable[[float], float]:
    """Of several settings the one that is nearest."""
    return lambda rate: min((way(rate) for way in ways), key=lambda made: abs(made - rate))


UARTS: dict[str, Callable[[float], float]] = {
    "AVR, 16 MHz": fastest_first(whole(16e6, 16), whole(16e6, 8)),
    "AVR, 8 MHz": fastest_first(whole(8e6, 16), whole(8e6, 8)),
    "AVR, 14.7456 MHz": fastest_first(whole(14.7456e6, 16), whole(14.7456e6, 8)),
    "RP2040, 125 MHz": sixty_fourths(125e6),
    "STM32, 48 MHz": whole(48e6, 1),
    "STM32, 8 MHz": whole(8e6, 1),
    "FT232R, FT230X": eighths(3e6),
    "FT232H": eighths(12e6),
}
SLOWEST_STEP = {"STM32, 48 MHz": 8, "STM32, 8 MHz": 8}
"""Oversampling: a divisor below this is no rate."""


def error(uart: str, rate: int) -> float:
    """By which fraction its rate is off."""
    return UARTS[uart](rate) / rate - 1


def cell(uart: str, rate: int) -> str:
    off = error(uart, rate)
    steps = SLOWEST_STEP.get(uart)
    if abs(off) > 0.2 or (steps and UARTS[uart](rate) * steps > float(uart.split()[-2]) * 1e6):
        return "-"
    text = f"{100 * off:+.1f}" if abs(off) >= 0.0005 else "0"
    return f"**{text}**" if abs(off) > LIMIT / 2 else text


def table() -> str:
    """All of them, in percent; bold where one end alone takes more than its half."""
    lines = ["| clock | " + " | ".join(f"{rate:,}" for rate in RATES) + " |"]
    lines.append("|---|" + "---|" * len(RATES))
    lines += [f"| {u} | " + " | ".join(cell(u, rate) for rate in RATES) + " |" for u in UARTS]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
