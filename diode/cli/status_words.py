"""The words and characters of `diode status`, for both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from diode.health import Sample

STEPS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Shares of loss, from which on a bar of the history is one step higher."""
HUES = (*["green"] * 3, *["yellow"] * 2, *["red"] * 3)
MINUTES = 60


class Look(NamedTuple):
    """The characters that there are."""

    dot: str = "*"
    between: str = " | "
    ramp: str = "_.-~=+*#"
    nothing: str = " "
    full: str = "#"
    empty: str = "."
    box: bool = False

    @classmethod
    def of(cls, console: Console) -> Look:
        """What this console can show."""
        if console.options.ascii_only:
            return cls()
        return cls("●", " · ", "▁▂▃▄▅▆▇█", "·", "━", "─", box=True)


def history(samples: Sequence[Sample], look: Look) -> Text | None:
    """Loss by minute, the last hour, as a line of characters; None where nothing was sent."""
    if not samples:
        return None
    end = samples[-1].time
    bars = [(look.nothing, "dim")] * MINUTES
    for sample in samples:
        at = MINUTES - 1 - round((end - sample.time) / 60)
        sent = sample.frames + sample.lost
        if 0 <= at < MINUTES and sent:
            step = sum(sample.lost / sent > step for step in STEPS)
            bars[at] = look.ramp[step], HUES[step]
    if all(bar == look.nothing for bar, _ in bars):
        return None
    return Text.assemble(*bars, no_wrap=True, overflow="crop")


def columns(*titles: str) -> Table:
    """Without lines; a column whose title begins with > is one of numbers, with ! stays whole."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for title in titles:
        right = title.startswith(">")
        table.add_column(
            title.lstrip(">!"),
            justify="right" if right else "left",
            no_wrap=title[:1] in ("!", ">"),
        )
    return table


def and_more(table: Table, count: int) -> None:
    if count > 0:
        table.add_row(f"and {count:,} more")


def chosen(text: str) -> Text:
    """What a sender chose: in no markup, folded where it is long."""
    return Text(text, overflow="fold")
