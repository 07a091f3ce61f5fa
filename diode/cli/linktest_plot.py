"""The picture of a link test: loss over the frames of each segment, and its bursts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diode.errors import CarrierError, DestinationError

if TYPE_CHECKING:
    from diode.service.linktest import Result

STEPS = 100
"""Points of the loss over time."""


def draw(path: str, results: list[Result]) -> None:
    """Write the picture. Raises CarrierError without matplotlib, DestinationError without room."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CarrierError(
            "pictures are drawn by matplotlib, which is not installed",
            hint="pip install 'diode-fec[plot]'",
        ) from error
    figure = Figure(figsize=(10, 2.8 * len(results)), layout="constrained")
    axes: Any = figure.subplots(len(results), 2, squeeze=False)
    for (over, bursts), result in zip(axes, results, strict=True):
        _loss(over, result)
        _bursts(bursts, result)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise DestinationError(f"{path}: cannot be drawn: {error}", hint="name a .png") from error


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
