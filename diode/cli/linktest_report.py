"""The result of a link test: as figures for programs, as tables and advice for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from diode import line, modem
from diode.advice import Advice, Channel, advise, level_advice
from diode.carrier import CarrierFacts, ethernet
from diode.cli import options
from diode.errors import UsageError
from diode.forecast import Planned
from diode.linktest import UNPACED_RATE
from diode.plan import Link
from diode.service.linktest import SYNCHRONOUS
from diode.wording import plural, seconds, size

if TYPE_CHECKING:
    from diode.cli.report import Report
    from diode.linktest import Segment, Way
    from diode.service.linktest import Result

BAR = 32
"""Columns of the longest bar of a histogram."""
ROWS = 10
"""Rows of a histogram: longer bursts are put together by powers of two."""


@dataclass(slots=True)
class Figures:
    """What was measured in one run, and what follows for objects of a size."""

    run: int
    results: list[Result]
    size: int
    target: float
    wrong: int = 0
    advice: list[Advice | None] = field(init=False)
    """For each result."""

    def __post_init__(self) -> None:
        self.advice = [self._advise(result) for result in self.results]

    def _advise(self, result: Result) -> Advice | None:
        losses = result.losses
        try:
            there = link(result.heard.segment)
        except UsageError:  # a modem and a line that do not go together: no sender of ours
            return None
        channel = Channel(there, losses.bound, losses.burst_bound, losses.longest)
        return advise(channel, [Planned(self.size)], self.target)

    def best(self) -> int | None:
        """Which result's settings take the least time on the line; None where none will do."""

        def cost(index: int) -> float:
            advice = self.advice[index]
            assert advice is not None
            return advice.seconds or advice.line_bytes / UNPACED_RATE

        possible = [i for i, advice in enumerate(self.advice) if advice is not None]
        return min(possible, key=cost) if possible else None

    def unheard(self) -> list[str]:
        """Names of the segments of which nothing came."""
        heard = {result.heard.segment.number for result in self.results}
        ways = self.results[0].heard.segment.ways
        return [way.name for number, way in enumerate(ways) if number not in heard]

    def levels(self) -> list[str]:
        """What to do about the level of the sound."""
        said = [text for r in self.results if r.level is not None for text in level_advice(r.level)]
        return list(dict.fromkeys(said))

    def fields(self) -> dict[str, Any]:
        """Everything, for programs."""
        best = self.best()
        return {
            "run": self.run,
            "size": self.size,
            "loss_target": self.target,
            "frames_wrong": self.wrong,
            "segments": [_fields(r, a) for r, a in zip(self.results, self.advice, strict=True)],
            "unheard": self.unheard(),
            "advice": None if best is None else self.command(best),
            "modem": None if best is None else self.results[best].heard.segment.way.modem or None,
            "level_advice": self.levels(),
        }

    def command(self, index: int) -> str:
        """The command line with the settings for that result."""
        way, advice = self.results[index].heard.segment.way, self.advice[index]
        assert advice is not None
        url = f"'URL?modem={way.modem}'" if way.modem else "URL"
        return f"diode send FILE --to {url} {advice.options(_choice(way))}"


def _choice(way: Way) -> str | None:
    """What --line has to say of it; None where there is no choice."""
    return None if way.line == line.DATAGRAM else way.line


def link(segment: Segment) -> Link:
    """What planning has to know of the link that a segment was heard on."""
    encoder = line.encoder(segment.way.line)
    if segment.way.modem in SYNCHRONOUS:
        spoken = modem.modem(segment.way.modem)
        facts = CarrierFacts(
            spoken.rate,
            max_piece=spoken.max_piece,
            batch=spoken.batch,
            air_bytes=spoken.air_bytes,
        )
        return options.link(facts, encoder)
    if segment.way.line == line.DATAGRAM:
        return options.link(ethernet.facts(segment.rate or None, segment.length), encoder)
    return Link(float(segment.rate) or None, encoder.max_frame, encoder.line_bytes)


def _fields(result: Result, advice: Advice | None) -> dict[str, Any]:
    segment, losses, damage = result.heard.segment, result.losses, result.damage
    fields: dict[str, Any] = {
        "line": segment.way.line,
        "modem": segment.way.modem or None,
        "rate": segment.rate or None,
        "frame_bytes": segment.length,
        "frames": losses.sent,
        "lost": losses.lost,
        "loss": losses.loss,
        "loss_bound": losses.bound,
        "missed_at_start": losses.missed,
        "duplicates": losses.duplicates,
        "reordered": losses.reordered,
        "reordered_places": losses.latest,
        "bursts": {str(length): count for length, count in losses.bursts.items()},
        "gilbert": {"p": losses.p, "r": losses.r},
        "mean_burst_bound": losses.burst_bound,
        "bursty": losses.bursty,
        "clock_ppm": None if result.clock is None else round(result.clock.ppm),
        "clock_give_ppm": None if result.clock is None else round(result.clock.give),
    }
    if damage is not None:
        fields |= {
            "bytes_compared": damage.compared,
            "bits_flipped": damage.flipped,
            "bit_error_rate": damage.bit_error_rate,
            "bytes_lost": damage.lost,
            "bytes_inserted": damage.inserted,
            "slip_rate": damage.slip_rate,
            "outages": damage.outages[:1000],
        }
    if (level := result.level) is not None:
        fields |= {
            "level_db": round(level.level_db, 1),
            "peak_db": round(level.peak_db, 1),
            "clipped": round(level.clipped, 4),
            "snr_db": None if level.snr_db is None else round(level.snr_db, 1),
        }
    if advice is not None:
        fields |= {
            "options": advice.options(_choice(segment.way)),
            "failure": advice.failure,
            "seconds": advice.seconds,
            "line_bytes": round(advice.line_bytes),
        }
    return fields


# For people ---------------------------------------------------------------------------------


def show(report: Report, figures: Figures) -> None:
    """Tables, histograms, advice."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table(figures))
    for result in figures.results:
        for row in histogram(result.losses.bursts):
            console.print(row, markup=False)
    for name in figures.unheard():
        report.warn(f"of {name} nothing was heard")
    for text in figures.levels():
        console.print(text, markup=False, soft_wrap=True)
    _show_advice(report, figures)


def _table(figures: Figures) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    for result in figures.results:
        table.add_column(result.heard.segment.way.name, justify="right")
    rows = [_rows(result) for result in figures.results]
    for name in dict.fromkeys(name for row in rows for name in row):
        table.add_row(name, *(row.get(name, "-") for row in rows))
    return table


def _rows(result: Result) -> dict[str, str]:
    """The figures of one segment, by name."""
    losses, damage, level = result.losses, result.damage, result.level
    rows = {
        "frames sent": f"{losses.sent:,} of {size(result.heard.segment.length)}",
        "lost": f"{losses.lost:,} ({losses.loss:.2%})",
        "at most (95 % sure)": f"{losses.bound:.2%}",
        "twice, late": f"{losses.duplicates:,}, {losses.reordered:,}",
    }
    if losses.missed:
        rows["before the first heard"] = f"{losses.missed:,}"
    if losses.p is not None and losses.r is not None:
        rows["Gilbert p, r"] = f"{losses.p:.3g}, {losses.r:.3g}"
        rows["losses"] = "in bursts" if losses.bursty else "one by one"
    if damage is not None and damage.bit_error_rate is not None and damage.slip_rate is not None:
        rows["bit errors"] = _rate(damage.flipped, damage.bit_error_rate)
        rows["byte slips"] = _rate(damage.lost + damage.inserted, damage.slip_rate)
        if damage.outages:
            mean = sum(damage.outages) / len(damage.outages)
            rows["outages"] = f"{len(damage.outages):,} of {size(mean)}"
    if level is not None:
        rows["level, peak"] = f"{level.level_db:.0f}, {level.peak_db:.0f} dBFS"
        if level.snr_db is not None:
            rows["SNR (Es/N0)"] = f"{level.snr_db:.0f} dB"
    if result.clock is not None:
        rows["clock"] = f"{result.clock.ppm:+,.0f} ppm (+-{result.clock.give:,.0f})"
    return rows


def _rate(count: int, rate: float) -> str:
    return f"{rate:.1e} ({count:,})" if count else "none"


def histogram(bursts: dict[int, int]) -> list[str]:
    """Lengths of bursts as bars of characters; nothing where no frame was lost."""
    if not bursts:
        return []
    bins: dict[str, int] = {}
    for length, count in sorted(bursts.items()):
        name = str(length)
        if max(bursts) > ROWS and length > 4:
            low = 1 << (length - 1).bit_length() - 1
            name = f"{low + 1}-{2 * low}"
        bins[name] = bins.get(name, 0) + count
    most = max(bins.values())
    width = max(len(name) for name in bins)
    head = f"lost in a row ({plural(sum(bursts.values()), 'burst')})"
    return [
        head,
        *(
            f"  {name:>{width}} {'#' * max(1, round(BAR * count / most))} {count:,}"
            for name, count in bins.items()
        ),
    ]


def _show_advice(report: Report, figures: Figures) -> None:
    best = figures.best()
    what = f"objects of {size(figures.size)}, of which at most {figures.target:.0e} may be lost"
    if best is None:
        report.warn(f"for {what}, no setting would do on this link as measured")
        report.say("a longer test, smaller objects or a larger --want may show a way")
        return
    advice, result = figures.advice[best], figures.results[best]
    assert advice is not None
    report.result(figures.command(best))
    took = f"{seconds(advice.seconds)} on the line" if advice.seconds else "no rate is known"
    way = f" {result.heard.segment.way.modem} is the fastest modem of these;" * bool(
        result.heard.segment.way.modem
    )
    report.say(
        f"for {what}:{way} {advice.line_bytes / max(1, figures.size):.3g} x their size, {took}; "
        f"reckoned with {result.losses.bound:.2%} of frames lost, "
        f"{result.losses.burst_bound:.1f} in a row on average"
    )
    if len(figures.results) > 1:
        for index, other in enumerate(figures.results):
            text = (
                "no setting would do" if figures.advice[index] is None else figures.command(index)
            )
            if index != best:
                report.detail(f"{other.heard.segment.way.name}: {text}")
