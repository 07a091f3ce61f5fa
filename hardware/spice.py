"""What the couplers and the cable do to bits: ngspice runs, a table, eye diagrams.

    python hardware/spice.py FOLDER      writes FOLDER/spice.json and the eye diagrams there

Random bytes are sent as a UART sends them, 8N1. At the receiver's thresholds every edge has come
with a delay, and what counts is how much the delays differ: by so much are bits shorter or longer
than they were. `distortion` is the largest difference, as a fraction of a bit. Data sheets want no
more than 20 to 30 % of the shortest pulse; here 10 % is the most that is called good, since clocks
take their part too (uart.py). A line is `dead` when edges are missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
Float = NDArray[np.float64]

GOOD = 0.10
BYTES = 24
STEPS = 40
"""Time steps a bit, at least."""
LONGEST_STEP = 0.5e-6
"""Seconds: edges must not fall between two of them."""


@dataclass(frozen=True)
class Way:
    """A circuit to be simulated. rising, falling: volts at which its receiver switches."""

    file: str
    rising: float
    falling: float
    inverts: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


def rs232(slew: str, cable: str) -> Way:
    """slew: volts a second. cable: farads."""
    return Way("rs232.cir", 1.7, 1.2, inverts=True, parameters=(("slew", slew), ("cable", cable)))


WAYS = {
    "6N137, 470 ohm": Way("6n137.cir", 2.0, 0.8),
    "HCPL-7723": Way("cmos.cir", 3.5, 1.5),
    "4N35, 1 k": Way("4n35.cir", 2.0, 0.8),
    "RS-232, 6 V/us, 2500 pF": rs232("6e6", "2500p"),
    "RS-232, 6 V/us, 1000 pF": rs232("6e6", "1000p"),
    "RS-232, 24 V/us, 2500 pF": rs232("24e6", "2500p"),
    "RS-232, 24 V/us, 1000 pF": rs232("24e6", "1000p"),
    "RS-232, 24 V/us, 250 pF": rs232("24e6", "250p"),
}
SLOW = (9600, 19200, 57600, 115200, 230400, 460800, 921600, 2000000)
FAST = (115200, 460800, 921600, 2000000, 5000000, 10000000, 20000000)
RATES = {name: FAST if "RS-232" not in name and "4N35" not in name else SLOW for name in WAYS}


@dataclass(frozen=True)
class Run:
    """Time in seconds, volts sent and come, and how long a bit is."""

    time: Float
    sent: Float
    come: Float
    bit: float


@dataclass(frozen=True)
class Verdict:
    distortion: float
    dead: bool
    wrong: int
    """Bytes that a UART reads wrong, of BYTES."""

    def __str__(self) -> str:
        if self.dead or self.wrong:
            return "dead"
        text = f"{round(100 * self.distortion)} %"
        return text if self.distortion <= GOOD else f"**{text}**"


def stimulus(rate: int, seed: int = 1) -> tuple[str, NDArray[np.uint8], list[int]]:
    """The bits as a source for ngspice; the bits; the bytes in them. Two idle bits lead in."""
    random = np.random.default_rng(seed)
    content = [0x55, 0x00, 0xFF, *random.integers(0, 256, BYTES - 3).tolist()]
    bits = [1, 1]
    for byte in content:
        bits += [0, *((byte >> i) & 1 for i in range(8)), 1]
    bits += [1, 1]
    bit, edge = 1 / rate, min(2e-9, 0.02 / rate)
    points = [(0.0, 5.0)]
    for i in range(1, len(bits)):
        if bits[i] != bits[i - 1]:
            points += [(i * bit, 5.0 * bits[i - 1]), (i * bit + edge, 5.0 * bits[i])]
    listed = " ".join(f"{t:.6e} {v:g}" for t, v in points)
    return f"Vtx tx 0 PWL({listed})\n", np.array(bits, np.uint8), content


def simulate(way: Way, rate: int) -> Run:
    """Run ngspice on it. CalledProcessError when that fails."""
    source, bits, _ = stimulus(rate)
    bit = 1 / rate
    circuit = (HERE / "spice" / way.file).read_text()
    for name, value in way.parameters:
        circuit = circuit.replace(f"{{{name}}}", value)
    end, step = len(bits) * bit, min(bit / STEPS, LONGEST_STEP)
    control = (
        f".tran {step:.6e} {end:.6e} 0 {step:.6e}{' uic' if 'IC=' in circuit else ''}\n"
        ".control\nset wr_vecnames\nset wr_singlescale\nrun\n"
        "wrdata out.txt v(tx) v(out)\nquit\n.endc\n.end\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "stimulus.inc").write_text(source)
        Path(folder, "run.cir").write_text(circuit + control)
        subprocess.run(
            ["ngspice", "-b", "run.cir"], cwd=folder, check=True, capture_output=True, timeout=120
        )
        time, sent, come = np.loadtxt(Path(folder, "out.txt"), skiprows=1).T
    return Run(time, sent, come, bit)


def levels(volts: Float, rising: float, falling: float) -> NDArray[np.bool_]:
    """What a receiver with these thresholds makes of them."""
    state = np.zeros(len(volts), np.int8)
    state[volts >= rising] = 1
    state[volts <= falling] = -1
    known = np.maximum.accumulate(np.where(state != 0, np.arange(len(volts)), 0))
    return state[known] > 0


def edges(time: Float, volts: Float, rising: float, falling: float) -> Float:
    """When that receiver switches, between the time steps."""
    high = levels(volts, rising, falling)
    after = np.flatnonzero(high[1:] != high[:-1]) + 1
    threshold = np.where(high[after], rising, falling)
    step = (threshold - volts[after - 1]) / (volts[after] - volts[after - 1])
    return time[after - 1] + step * (time[after] - time[after - 1])


def judge(way: Way, run: Run) -> Verdict:
    high = levels(run.come, way.rising, way.falling) ^ way.inverts
    sent = edges(run.time, run.sent, 2.5, 2.5)
    come = edges(run.time, run.come, way.rising, way.falling)
    come = come[come > run.bit]  # how it starts is no edge
    content = stimulus(round(1 / run.bit))[2]
    read = bytes_of(run.time, high, run.bit)
    wrong = sum(a != b for a, b in zip(content, read, strict=False)) + abs(len(content) - len(read))
    if len(sent) != len(come):
        return Verdict(1.0, dead=True, wrong=wrong)
    delays = come - sent
    return Verdict(float(np.ptp(delays)) / run.bit, dead=False, wrong=wrong)


def bytes_of(time: Float, high: NDArray[np.bool_], bit: float) -> list[int]:
    """What a UART reads: from the edge of each start bit on, in the middle of each bit."""
    falls = time[1:][high[:-1] & ~high[1:]]
    found, free = [], 0.0
    for fall in falls:
        if fall < max(free, bit):
            continue
        at = np.searchsorted(time, fall + bit * (np.arange(9) + 1.5))
        if at[-1] >= len(time):
            break
        found.append(sum(int(high[at[i]]) << i for i in range(8)))
        free = fall + 9.5 * bit
    return found


def table(results: dict[str, dict[str, str]], names: list[str]) -> str:
    """The results of some of the ways, as Markdown."""
    rates = list(results[names[0]])
    lines = ["| | " + " | ".join(f"{int(rate):,}" for rate in rates) + " |"]
    lines.append("|---|" + "---|" * len(rates))
    lines += [f"| {name} | {' | '.join(results[name][rate] for rate in rates)} |" for name in names]
    return "\n".join(lines)


EYES = {
    "eye-6n137.png": [("6N137, 470 ohm", 2000000), ("6N137, 470 ohm", 10000000)],
    "eye-rs232.png": [("RS-232, 6 V/us, 2500 pF", 115200), ("RS-232, 6 V/us, 2500 pF", 460800)],
}


def draw(path: Path, shown: list[tuple[str, int]]) -> None:
    """Eye diagrams side by side: two bits wide, every pair of bits over the others."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(shown), figsize=(9, 3.2), layout="constrained")
    for axis, (name, rate) in zip(axes, shown, strict=True):
        way, run = WAYS[name], simulate(WAYS[name], rate)
        verdict = judge(way, run)
        grid = np.linspace(0, 2, 161)
        for first in range(3, int(run.time[-1] / run.bit) - 3):
            axis.plot(
                grid, np.interp((grid + first) * run.bit, run.time, run.come),
                color="tab:blue", alpha=0.15, linewidth=1,
            )  # fmt: skip
        for volts in (way.rising, way.falling):
            axis.axhline(volts, color="tab:red", linewidth=0.8, linestyle="--")
        axis.set(xlabel="bits", ylabel="V", xlim=(0, 2))
        axis.set_title(f"{name}, {rate:,} baud: {str(verdict).strip('*')}", fontsize=10)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    results = {
        name: {str(rate): str(judge(way, simulate(way, rate))) for rate in RATES[name]}
        for name, way in WAYS.items()
    }
    (target / "spice.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, shown in EYES.items():
        draw(target / name, shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
