"""Loss over time as a picture: bars in SVG, one for each minute or few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.page.html import Html, element, joined
from diode.wording import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.health import Sample

WIDTH, HEIGHT = 720, 120
LEAST = 0.01
"""Share of loss at the top of the picture, at least: a quiet link looks quiet."""


def loss(samples: Sequence[Sample], *, minutes: int, each: int, title: str) -> Html:
    """Loss in the last `minutes`, a bar for each `each` of them.

    Where nothing was sent there is no bar; where nothing was lost a mark on the line at the bottom.
    """
    bars = _bars(samples, minutes // each, each * 60)
    worst = max((share for share in bars.values()), default=0.0)
    top = max(LEAST, worst)
    step = WIDTH / (minutes // each)
    drawn = [
        element(
            "rect",
            element("title", f"{_when(minutes - at * each)}: {percent(share)} lost"),
            x=round(at * step, 2),
            y=round(HEIGHT - max(1.5, share / top * HEIGHT), 2),
            width=round(max(1.0, step - 1), 2),
            height=round(max(1.5, share / top * HEIGHT), 2),
            class_="clean" if share == 0 else "bad" if share > 0.05 else "lossy",
        )
        for at, share in sorted(bars.items())
    ]
    said = f"{title}: at worst {percent(worst)} lost" if bars else f"{title}: nothing was sent"
    caption = joined(
        element("b", title),
        f" at worst {percent(worst)}" if bars else " nothing was sent",
    )
    picture = element(
        "svg",
        element("title", said),
        *drawn,
        element("line", x1=0, x2=WIDTH, y1=HEIGHT, y2=HEIGHT, class_="axis"),
        viewBox=f"0 0 {WIDTH} {HEIGHT + 1}",
        role="img",
        preserveAspectRatio="none",
    )
    return element("figure", element("figcaption", caption), picture)


def _bars(samples: Sequence[Sample], count: int, seconds: int) -> dict[int, float]:
    """The share lost in each of `count` stretches up to the last sample, where frames were sent."""
    if not samples:
        return {}
    end = samples[-1].time
    sent: dict[int, list[int]] = {}
    for sample in samples:
        at = count - 1 - int((end - sample.time) // seconds)
        if 0 <= at < count and sample.frames + sample.lost:
            total = sent.setdefault(at, [0, 0])
            total[0] += sample.frames
            total[1] += sample.lost
    return {at: lost / (frames + lost) for at, (frames, lost) in sent.items()}


def _when(minutes: int) -> str:
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
