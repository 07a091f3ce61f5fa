"""Timing: where the channel symbols of a frame stand (wire 7.4).

The chirp says where a frame begins. Two things move the symbols behind it:

- The clocks differ. Sender and receiver each have a crystal, tape machines have none: up
  to 3,000 ppm are looked for. A fast clock makes symbols shorter and tones higher by the same
  factor, so one number describes it. It is the one under which energy gathers best in few tones
  (`search`), tried near the last one known first.
- Sound goes missing. A computer that is late drops a buffer, or plays one twice, and from there
  on everything stands elsewhere. `track` finds the most likely path through all places and symbols
  (Viterbi's algorithm): staying is free, drifting by an eighth of a symbol costs a little, jumping
  anywhere within 200 ms costs more. A jump costs the symbols it hits, not the frame.

No symbol is known beforehand. What is summed up along a path is the evidence that any words
sound there at all, which falls off as soon as windows lie across two symbols, and for a window on
the wrong symbol, because its tones stand half a spacing higher or lower in half of the cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diode.modem.soft import Level, evidence
from diode.modem.tones import energies, raised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diode.modem import F32
    from diode.modem.profile import Profile

    Index = NDArray[np.int64]

WIDEST = 3_500.0
"""Clock offset looked for, in ppm."""
HOPS = 8
"""Places looked at in a symbol's length."""
REACH = 0.2
"""Seconds that sound may be moved by within a frame."""
DRIFT_COST, JUMP_COST = 1.5, 20.0
"""In nats."""
MOST = 10.0
"""Nats that a symbol may bring on average. Seven groups at the least usable level bring as much;
with more, at a good level, jumping would cost nothing."""


def places(profile: Profile, start: float, symbols: int, ppm: float) -> Index:
    """First samples of the windows of so many symbols, the first symbol beginning at `start`."""
    step = profile.symbol / (1 + ppm * 1e-6)
    first = start + profile.guard / 2
    return np.asarray(np.rint(first + np.arange(symbols) * step), np.int64)


def gathered(profile: Profile, energy: F32) -> float:
    """Share of the energy that is in the loudest tones of each group and window: 0 … 1."""
    grouped = energy.reshape(-1, profile.groups, profile.tones)
    quiet = profile.tones - profile.sounding
    loud = np.partition(grouped, quiet, axis=2)[:, :, quiet:].sum(axis=2)
    total = grouped.sum(axis=2)
    return float(np.mean(loud / np.maximum(total, 1e-30)))


def step(symbols: int) -> float:
    """Clock offset in ppm that moves the last of so many symbols by a sixteenth."""
    return 1e6 / 16 / max(symbols, 16)


def search(profile: Profile, samples: F32, start: float, symbols: int, near: float) -> float:
    """The clock offset in ppm under which a frame is clearest.

    near: the offset to begin with, which wins a draw. Costs one demodulation for every `step` in
    the range that is looked at.
    """
    width = step(symbols)
    reach = int(WIDEST / width) + 1
    grid = near + width * np.arange(-reach, reach + 1)
    grid = grid[np.abs(grid) <= WIDEST + width]
    found = np.array([_clearness(profile, samples, start, symbols, ppm) for ppm in grid])
    return refine(profile, samples, start, symbols, float(grid[int(found.argmax())]))


def refine(profile: Profile, samples: F32, start: float, symbols: int, near: float) -> float:
    """The offset at the top of the parabola through three measurements around `near`."""
    width = step(symbols)
    low, middle, high = (
        _clearness(profile, samples, start, symbols, near + side * width) for side in (-1, 0, 1)
    )
    bend = low - 2 * middle + high
    if bend >= 0:
        return near
    return near + width * float(np.clip((low - high) / (2 * bend), -1, 1))


def _clearness(profile: Profile, samples: F32, start: float, symbols: int, ppm: float) -> float:
    starts = places(profile, start, symbols, ppm)
    return gathered(profile, energies(profile, samples, starts, ppm, raised(symbols)))


def track(
    profile: Profile, samples: F32, start: float, symbols: int, ppm: float
) -> tuple[Index, F32]:
    """The most likely windows of a frame whose sound was moved: starts and energies.

    Samples must reach REACH seconds beyond the frame on either side. Returns int64, (symbols,),
    and float32, (symbols, tones).
    """
    hop = profile.symbol / HOPS / (1 + ppm * 1e-6)
    reach = int(REACH * profile.rate / hop)
    count = (symbols - 1) * HOPS + 2 * reach + 1
    starts = np.rint(start + profile.guard / 2 + (np.arange(count) - reach) * hop)
    starts = np.clip(starts, 0, len(samples) - profile.window).astype(np.int64)
    weight = np.empty((2, count))
    for higher in (0, 1):
        energy = energies(profile, samples, starts, ppm, np.full(count, higher, np.bool_))
        level = Level.of(profile, energy)
        weight[higher] = evidence(level.logarithms(energy))
    weight *= min(1.0, MOST / max(float(np.quantile(weight, 1 - 1 / HOPS / 2)), 1e-9))
    np.minimum(weight, MOST, out=weight)  # or a few perfect windows elsewhere would draw it away
    path = _best_path(weight, symbols, reach)
    index = np.arange(symbols) * HOPS + path
    return _settle(profile, samples, starts[index], path, ppm)


def _best_path(weight: NDArray[np.float64], symbols: int, reach: int) -> Index:
    """For each symbol the number of its place, 0 … 2·reach, along the best path."""
    width = 2 * reach + 1
    higher = raised(symbols).astype(np.int64)
    number = np.arange(width)
    score = np.where(number == reach, 0.0, -JUMP_COST)
    back = np.empty((symbols, width), np.int64)
    for symbol in range(symbols):
        best = int(score.argmax())
        choice = np.stack(
            [
                score,
                np.concatenate([[-np.inf], score[:-1]]) - DRIFT_COST,
                np.concatenate([score[1:], [-np.inf]]) - DRIFT_COST,
                np.full(width, score[best] - JUMP_COST),
            ]
        )
        kind = choice.argmax(axis=0)
        back[symbol] = np.choose(kind, [number, number - 1, number + 1, np.full(width, best)])
        score = choice[kind, number] + weight[higher[symbol], symbol * HOPS :][:width]
    path = np.empty(symbols, np.int64)
    place = int(score.argmax())
    for symbol in range(symbols - 1, -1, -1):
        path[symbol] = place
        place = int(back[symbol, place])
    return path


def _settle(
    profile: Profile, samples: F32, starts: Index, path: Index, ppm: float
) -> tuple[Index, F32]:
    """Move each stretch without a jump by less than a hop, to where it is clearest."""
    hop = profile.symbol / HOPS
    stretch = np.concatenate([[0], np.cumsum(np.abs(np.diff(path)) > 1)])
    shifts = np.rint(np.array([0, -0.5, -0.25, 0.25, 0.5]) * hop).astype(np.int64)
    tried = []
    for shift in shifts:
        moved = np.clip(starts + shift, 0, len(samples) - profile.window)
        tried.append(energies(profile, samples, moved, ppm, raised(len(starts))))
    final = tried[0].copy()
    places = starts.copy()
    for number in range(int(stretch[-1]) + 1):
        mine = stretch == number
        best = int(np.argmax([gathered(profile, energy[mine]) for energy in tried]))
        final[mine] = tried[best][mine]
        places[mine] += shifts[best]
    return places, final
