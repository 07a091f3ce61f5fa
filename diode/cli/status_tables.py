"""How `diode status` looks: first whether the line lives, then what is wrong and what to do next,
then the rest.

Everything shown is of one `Health` (health.py) and what was delivered. Names in it are escaped
already. On a terminal that knows only ASCII there are no other characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diode.cli import status_records
from diode.cli.status_words import Look, and_more, chosen, columns, history
from diode.health import LinkState
from diode.wording import clock, link, next_step, numbers, percent, plural, seconds, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from diode.health import Alarm, Delivery, Health, Line, Unfinished
    from diode.service.reading_health import Reading

STYLES = {
    LinkState.UP: "bold green",
    LinkState.ENDED: "bold green",
    LinkState.UNHEARD: "bold yellow",
    LinkState.SILENT: "bold red",
    LinkState.STOPPED: "bold yellow",
}


# A receiver -------------------------------------------------------------------------------------


def receiver(reading: Reading, look: Look) -> RenderableType:
    """All that is known of a receiver."""
    health, recent, age = reading
    facts = Padding(_facts(reading, look), (0, 0, 0, 2))
    parts: list[RenderableType] = [_head(health, age, look), facts]
    parts += [_alarm(alarm, health, look) for alarm in health.alarms]
    records = [] if health.records is None else status_records.tables(health.records, health.time)
    for title, table in (
        ("missing", _missing(health)),
        ("in progress", _progress(health, look)),
        *records,
        ("senders", _senders(health)),
        ("refused", _refused(health)),
        ("delivered", _delivered(recent, health)),
    ):
        if table is not None:
            parts += [Text(), Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*parts, Text())


def _head(health: Health, age: float, look: Look) -> Text:
    """Whether it lives, in one line."""
    state = health.line.state
    text = Text(f"{look.dot} ", style=STYLES[state])
    text.append(state.value.upper())
    return text.append(f"  {link(health, age)}", style="not bold default")


def _facts(reading: Reading, look: Look) -> Table:
    health, _, age = reading
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    line, disk = health.line, health.disk
    if health.inbox:
        table.add_row("inbox", Text(health.inbox, overflow="fold"))
    if health.listening:
        table.add_row("line", Text(" ".join(health.listening), overflow="fold"))
    table.add_row("loss", _loss(line, look))
    if plot := history(line.history, look):
        table.add_row("last hour", plot)
    table.add_row("frames", _frames(line, look))
    if health.repair.last is not None:
        shares = health.repair
        color = "red" if (shares.worst or 0) > 0.8 else ""
        words = (
            f"{percent(shares.last)} needed last",
            f"{percent(shares.hour)} in the last hour",
            f"{percent(shares.worst)} at worst",
        )
        table.add_row("repair", Text(look.between.join(words), style=color))
    table.add_row("objects", _outcomes(health, look))
    if health.records is not None:
        now = health.time + age
        table.add_row("records", status_records.figures(health.records, now, look))
    if disk.size:
        words = (
            f"{size(disk.free)} free of {size(disk.size)}",
            f"{size(disk.unfinished)} unfinished"
            + (f" of at most {size(disk.quota)}" if disk.quota else ""),
            *((f"{disk.unwritten:,} times not written",) if disk.unwritten else ()),
        )
        table.add_row("disk", look.between.join(words))
    return table


def _loss(line: Line, look: Look) -> Text:
    loss = line.loss
    named = ((loss.minute, "last minute"), (loss.hour, "hour"), (loss.day, "day"))
    words = [f"{percent(share)} {name}" for share, name in named if share is not None]
    style = "red" if (loss.minute or 0) > 0.05 else ""
    return Text(look.between.join(words) or "nothing was sent in the last day", style=style)


def _frames(line: Line, look: Look) -> str:
    rejected = sum(line.rejected.values())
    reasons = ", ".join(f"{why} {count:,}" for why, count in sorted(line.rejected.items()))
    words = [
        f"{line.frames:,} heard",
        f"{line.lost:,} lost",
        *((f"{rejected:,} rejected ({reasons})",) if rejected else ()),
        *((f"{line.idle:,} idle",) if line.idle else ()),
        *((f"{size(line.noise)} of noise",) if line.noise else ()),
        *((f"{size(line.dropped_bytes)} dropped for want of room",) if line.dropped_bytes else ()),
        *((f"{line.kernel_dropped:,} dropped by the kernel",) if line.kernel_dropped else ()),
    ]
    return look.between.join(words)


def _outcomes(health: Health, look: Look) -> str:
    counts = health.outcomes
    words = [f"{counts.delivered:,} delivered"]
    for count, word in (
        (health.missing_objects, "missing"),
        (health.unfinished_objects, "in progress"),
        (counts.refused, "refused"),
        (counts.quarantined, "in quarantine"),
        (counts.known, "heard again"),
        (counts.held, "held back"),
        (counts.waiting, "waiting for the disk"),
    ):
        if count:
            words.append(f"{count:,} {word}")
    running = f"since {clock(health.started, health.time)}" if health.started else ""
    return look.between.join(words) + (f", {running}" if running else "")


def _alarm(alarm: Alarm, health: Health, look: Look) -> Text:
    text = Text("\n! ", style="bold red")
    text.append(f"{alarm.name}: {alarm.text}", style="bold red")
    text.append(f"{look.between}since {clock(alarm.since, health.time)}", style="not bold default")
    if alarm.hint:
        text.append(f"\n  next: {alarm.hint}", style="not bold default")
    return text


def _missing(health: Health) -> Table | None:
    late = [one for one in health.senders if one.missing_objects]
    if not late and not health.stuck:
        return None
    table = columns("sender", "objects", "next step")
    for one in late:
        what = f"{numbers(one.missing)}, {one.missing_objects:,} in all"
        table.add_row(
            one.sender,
            Text(what, style="red"),
            next_step(one, health),
        )
    if health.stuck:
        stuck = plural(health.unfinished_objects, "object")
        again = "another pass, or send them again"
        table.add_row("", Text(f"{stuck} not whole, see below", style="red"), again)
    return table


def _progress(health: Health, look: Look) -> Table | None:
    if not health.unfinished:
        return None
    table = columns("object", "name", ">size", "!", ">blocks", ">symbols short")
    shown = sorted(health.unfinished, key=lambda one: one.symbols_short)
    for one in shown[:20]:
        table.add_row(
            f"{one.sender}:{one.number}",
            chosen(one.name),
            size(one.size),
            _bar(one, look),
            f"{one.blocks_done:,}/{one.blocks:,}",
            f"{one.symbols_short:,}",
        )
    and_more(table, health.unfinished_objects - 20)
    return table


def _bar(one: Unfinished, look: Look) -> Text:
    share = 1 - one.symbols_short / one.symbols if one.symbols else 0.0
    whole = round(share * 10)
    bar = Text(look.full * whole, style="green")
    bar.append(look.empty * (10 - whole), style="dim")
    return bar.append(f" {int(share * 100):>3}%", style="default")


def _senders(health: Health) -> Table | None:
    if not health.senders:
        return None
    table = columns("sender", "heard", ">frames", ">lost", ">hour", ">queue", ">number", "up for")
    for one in reversed(health.senders[-20:]):
        table.add_row(
            one.sender,
            f"{seconds(one.silent_seconds)} ago" + (", ended" if one.ended else ""),
            f"{one.frames:,}",
            f"{one.lost:,}",
            percent(one.loss.hour),
            f"{one.queued:,}",
            f"{one.highest:,}",
            seconds(one.uptime) if one.uptime else "",
        )
    and_more(table, len(health.senders) - 20)
    return table


def _refused(health: Health) -> Table | None:
    if not health.refused:
        return None
    table = columns("when", "object", "name", "why")
    for one in reversed(health.refused[-10:]):
        table.add_row(
            clock(one.time, health.time),
            f"{one.sender}:{one.number}",
            chosen(one.name or "(not told)"),
            Text(one.reason, style="yellow"),
        )
    and_more(table, len(health.refused) - 10)
    return table


def _delivered(recent: Sequence[Delivery], health: Health) -> Table | None:
    if not recent:
        return None
    table = columns("when", "file", ">size", ">lost", ">repair", ">passes", "signed by")
    for one in recent:
        path = one.path or f"{one.name} ({plural(one.files, 'file')})"
        table.add_row(
            clock(one.time, health.time or one.time),
            chosen(path + (" (was there)" if one.duplicate else "")),
            size(one.size),
            percent(one.loss),
            percent(one.repair),
            str(one.passes or "?"),
            chosen(one.signed_by),
        )
    return table
