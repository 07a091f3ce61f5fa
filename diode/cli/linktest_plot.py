"""The picture of a link test: loss over the frames of each segment, and its bursts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from diode.cli.output import Plot
    from diode.service.linktest import Result

STEPS = 100
"""Points of the loss over time."""


def draw(plot: Plot, results: list[Result]) -> None:
    """Draw and write the picture. Raises DestinationError."""
    figure = plot.figure(10, 2.8 * len(results))
    axes: Any = figure.subplots(len(results), 2, squeeze=False)
    for (over, bursts), result in zip(axes, results, strict=True):
        _loss(over, result)
        _bursts(bursts, result)
    plot.draw(figure)


def _loss(axes: Any, result: Result) -> None:
    heard = np.zeros(max(result.heard.ended, result.heard.highest + 1), np.bool_)
    heard[result.heard.arrivals()] = True
    lost = ~heard[result.losses.missed :]
    parts = np.array_split(lost, min(STEPS, len(lost)))
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])]) + result.losses.missed
    axes.step(starts, [100 * part.mean() for part in parts], where="post")
    axes.set(title=result.heard.segment.way.name, xlabel="frame", ylabel="lost (%)")
    axes.set_ylim(bottom=0)


def _bursts(axes: Any, result: Result) -> None:
    bursts = result.losses.bursts
    axes.bar(list(bursts), list(bursts.values()))
    axes.set(xlabel="frames lost in a row", ylabel="bursts")
    if bursts:
        axes.set_yscale("log")
