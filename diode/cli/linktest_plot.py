"""The picture of a link test: loss over the time of each segment, and its bursts.

What was seen is drawn as it was; lines say what follows: the loss that the advice reckons with, and
the bursts that Gilbert's model (linkstats.py) would have, and that chance alone would. Where the
bars stand above chance, losses come together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diode import line
from diode.wording import plural

if TYPE_CHECKING:
    from diode.cli.output import Plot
    from diode.frame import I64
    from diode.linkstats import Losses
    from diode.service.linktest import Result

STEPS = 100
"""Points of the loss over time."""
LEAST = 0.5
"""Bottom of the scale of bursts: a single one is to be seen."""
BLUE, ORANGE, GREY = "#3b75af", "#d1622b", "#777777"


def draw(plot: Plot, results: list[Result], advice: str | None) -> None:
    """Draw and write the picture. Raises DestinationError."""
    figure = plot.figure(11, 0.6 + 3 * len(results))
    axes: Any = figure.subplots(len(results), 2, squeeze=False, width_ratios=[3, 2])
    for (over, bursts), result in zip(axes, results, strict=True):
        _loss(over, result)
        _bursts(bursts, result.losses)
    figure.suptitle(advice or "no setting would do on this link as measured", family="monospace")
    plot.draw(figure)


def _loss(axes: Any, result: Result) -> None:
    heard = np.zeros(max(result.heard.ended, result.heard.highest + 1), np.bool_)
    heard[result.heard.arrivals()] = True
    losses = result.losses
    lost = ~heard[losses.missed :]
    parts = np.array_split(lost, min(STEPS, len(lost)))
    edges = np.cumsum([0, *(len(part) for part in parts)]) + losses.missed
    times, unit = _times(result, edges)
    shares = [100 * float(part.mean()) for part in parts]
    axes.stairs(shares, times, fill=True, color=BLUE, label="lost")
    axes.axhline(100 * losses.loss, color=GREY, lw=1, label=f"on the whole {losses.loss:.2%}")
    bound = f"reckoned with {losses.bound:.2%}"
    axes.axhline(100 * losses.bound, color=ORANGE, lw=1, ls="--", label=bound)
    title = f"{result.heard.segment.way.name}: {losses.lost:,} of {plural(losses.sent, 'frame')}"
    axes.set(title=f"{title} lost", xlabel=unit, ylabel="frames lost (%)")
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(0, max(1.0, 1.25 * max(shares), 110 * losses.bound))
    axes.legend(loc="upper right", ncols=3, frameon=False)


def _times(result: Result, frames: I64) -> tuple[list[float], str]:
    """When these frames were sent, where the link has a rate; else their numbers."""
    segment = result.heard.segment
    if not segment.rate:
        return frames.astype(float).tolist(), "frame"
    each = line.encoder(segment.way.line).line_bytes(segment.length) / segment.rate
    return (frames * each).tolist(), "seconds of line time"


def _bursts(axes: Any, losses: Losses) -> None:
    if not losses.bursts:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no frame was lost", ha="center", va="center")
        return
    count, mean = sum(losses.bursts.values()), losses.lost / sum(losses.bursts.values())
    axes.bar(list(losses.bursts), list(losses.bursts.values()), width=0.9, color=BLUE)
    lengths = np.arange(1, losses.longest + 1)
    if losses.r is not None:
        model = count * losses.r * (1 - losses.r) ** (lengths - 1)
        axes.plot(lengths, model, ".-", ms=3, lw=1, color=ORANGE, label="Gilbert's model")
    chance = losses.sent * (1 - losses.loss) ** 2 * losses.loss**lengths
    axes.plot(lengths, chance, ".-", ms=3, lw=1, color=GREY, label="by chance alone")
    title = f"{plural(count, 'burst')}, {mean:.1f} frames on average, longest {losses.longest:,}"
    axes.set(title=title, xlabel="frames lost in a row", ylabel="bursts")
    axes.set_yscale("log")
    axes.set_ylim(LEAST, 2 * max(losses.bursts.values()))
    axes.set_xlim(0.4, losses.longest + 0.6)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else "")
    axes.legend(loc="upper right", frameon=False)
