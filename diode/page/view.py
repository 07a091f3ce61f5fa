"""The page: first whether the line lives, then what is wrong and what to do next, then the rest.

Everything is of one `Health` and what was delivered, as `diode status` has it. Each number stands
in a `data` element with its exact value and where in the health it comes from, for programs and
tests. Names in a health are escaped already; they are once more where they become HTML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.health import LinkState
from diode.page.html import Html, element, joined
from diode.page.plot import loss as plotted
from diode.wording import (
    ago,
    clock,
    link,
    next_step,
    numbers,
    percent,
    plural,
    ranged,
    seconds,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diode.health import Alarm, Delivery, Health, Unfinished
    from diode.record_health import RecordsIn
    from diode.service.reading_health import Reading

DAY, HOUR = 24 * 60, 60
NARROW = 20
"""Rows of a table; more are counted."""
TIGHT = 0.8
"""Share of the repair from which on it is near to failing."""

TITLE = "diode"
MARKS = {
    LinkState.UP: "●",
    LinkState.ENDED: "●",
    LinkState.UNHEARD: "○",
    LinkState.SILENT: "▲",
    LinkState.STOPPED: "■",
}
"""So that the state is not told by colour alone."""


def page(reading: Reading) -> str:
    """The whole document."""
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html('<link rel="stylesheet" href="/style.css">'),
        Html('<noscript><meta http-equiv="refresh" content="5"></noscript>'),
        Html('<script src="/page.js" defer></script>'),
        element("title", title(reading)),
    )
    stale = element(
        "p",
        "This page hears nothing of the receiver any more; what it shows is old.",
        id="stale",
        role="alert",
        hidden=True,
    )
    body = element("body", stale, element("main", content(reading), id="main"))
    return "<!doctype html>\n" + element("html", head, body, lang="en").text + "\n"


def title(reading: Reading) -> str:
    """What a tab of the browser shows."""
    health = reading.health
    name = health.inbox.rstrip("/").rpartition("/")[2]
    return f"{health.line.state.value} · {name or TITLE}"


def content(reading: Reading) -> Html:
    """What changes each second."""
    health, recent, _ = reading
    return joined(
        _header(reading),
        *map(_alarm, health.alarms, [health] * len(health.alarms)),
        element("section", *_tiles(reading), class_="tiles", aria_label="Figures"),
        element(
            "section",
            element("h2", "Loss"),
            plotted(health.line.history, minutes=HOUR, each=1, title="last hour"),
            plotted(health.line.history, minutes=DAY, each=10, title="last day"),
        ),
        _missing(health),
        _progress(health),
        *_records(health),
        _senders(health),
        _delivered(recent, health),
        _refused(health),
    )


def _datum(of: str, value: float | None, text: str) -> Html:
    """A number: its place in the health, its exact value, and how people read it."""
    return element("data", text, value="" if value is None else value, data_of=of)


def _count(of: str, value: int) -> Html:
    return _datum(of, value, f"{value:,}")


def _share(of: str, value: float | None) -> Html:
    return _datum(of, value, percent(value))


# At the top -------------------------------------------------------------------------------------


def _header(reading: Reading) -> Html:
    health, _, age = reading
    state = health.line.state
    where = health.inbox or "no inbox"
    return element(
        "header",
        element(
            "h1",
            element("span", MARKS[state], aria_hidden="true"),
            " ",
            element("span", state.value, id="state", data_state=state.value),
        ),
        element("p", link(health, age), class_="says"),
        element("p", where, class_="where"),
        element("p", " ".join(health.listening), class_="where"),
        class_=state.value,
    )


def _alarm(alarm: Alarm, health: Health) -> Html:
    return element(
        "aside",
        element("strong", f"{alarm.name}: {alarm.text}"),
        element("p", f"Next: {alarm.hint}") if alarm.hint else "",
        element("small", f"since {clock(alarm.since, health.time)}"),
        class_="alarm",
        role="alert",
        data_alarm=alarm.name,
    )


def _tiles(reading: Reading) -> Iterator[Html]:
    health, _, age = reading
    line, disk, counts = health.line, health.disk, health.outcomes
    yield _tile(
        "Loss",
        [
            (_share("line.loss.minute", line.loss.minute), "last minute"),
            (_share("line.loss.hour", line.loss.hour), "hour"),
            (_share("line.loss.day", line.loss.day), "day"),
        ],
    )
    yield _repair(health)
    rejected = sum(line.rejected.values())
    yield _tile(
        "Frames",
        [
            (_count("line.frames", line.frames), "heard"),
            (_count("line.lost", line.lost), "lost"),
            (_datum("line.rejected", rejected, f"{rejected:,}"), "rejected"),
            *_nonzero("line.idle", line.idle, "idle"),
            *_nonzero("line.kernel_dropped", line.kernel_dropped, "dropped by the kernel"),
            *_nonzero("line.noise", line.noise, "bytes of noise"),
            *_nonzero("line.dropped_bytes", line.dropped_bytes, "bytes dropped for want of room"),
        ],
    )
    yield _tile(
        "Objects",
        [
            (_count("outcomes.delivered", counts.delivered), "delivered"),
            (_count("missing_objects", health.missing_objects), "missing"),
            (_count("unfinished_objects", health.unfinished_objects), "in progress"),
            *_nonzero("outcomes.refused", counts.refused, "refused"),
            *_nonzero("outcomes.quarantined", counts.quarantined, "in quarantine"),
            *_nonzero("outcomes.known", counts.known, "heard again"),
            *_nonzero("outcomes.held", counts.held, "held back"),
            *_nonzero("outcomes.waiting", counts.waiting, "waiting for the disk"),
        ],
    )
    if health.records is not None:
        yield _records_tile(health.records, health.time + age)
    yield _tile(
        "Disk",
        [
            (_datum("disk.free", disk.free, size(disk.free)), f"free of {size(disk.size)}"),
            (_datum("disk.unfinished", disk.unfinished, size(disk.unfinished)), "unfinished"),
            *_nonzero("disk.unwritten", disk.unwritten, "times not written"),
        ],
    )


def _records_tile(records: RecordsIn, now: float) -> Html:
    newest = "none heard yet" if records.newest is None else f"newest {ago(records.newest, now)}"
    return _tile(
        "Records",
        [
            (_count("records.latest", records.latest), f"of latest, {newest}"),
            (_count("records.every", records.every), "of every"),
            (_count("records.missing", records.missing), "missing"),
            *_nonzero("records.dropped", records.dropped, "dropped"),
            *_nonzero("records.unstored", records.unstored, "waiting for the disk"),
            *_nonzero("records.known", records.known, "heard again"),
            *_nonzero("records.topics", records.topics, "topics"),
        ],
    )


def _nonzero(of: str, value: int, word: str) -> Sequence[tuple[Html, str]]:
    return [(_count(of, value), word)] if value else []


def _tile(title: str, figures: Sequence[tuple[Html, str]], *more: Html) -> Html:
    (first, what), *rest = figures
    return element(
        "article",
        element("h2", title),
        element("p", first, " ", element("span", what), class_="figure"),
        *(element("p", figure, " ", element("span", word)) for figure, word in rest),
        *more,
    )


def _repair(health: Health) -> Html:
    """How near to failing: what of the repair there was had been needed."""
    repair = health.repair
    worst = repair.worst
    meter: Html | str = ""
    if worst is not None:
        meter = element(
            "meter",
            percent(worst),
            value=min(1.0, worst),
            min=0,
            max=1,
            high=TIGHT,
            optimum=0,
            aria_label="Share of the repair that was needed at worst",
        )
    word = "needed at worst" + (" — near to failing" if worst and worst > TIGHT else "")
    return _tile(
        "Repair",
        [
            (_share("repair.worst", worst), word),
            (_share("repair.hour", repair.hour), "in the last hour"),
            (_share("repair.last", repair.last), "last"),
        ],
        joined(meter),
    )


# Tables -----------------------------------------------------------------------------------------

Row = tuple[Html | str, ...]


def _section(title: str, heads: Sequence[str], rows: Sequence[Row], more: int = 0) -> Html:
    """A table that says its column's name in each cell, for screens too narrow for columns."""
    if not rows:
        return Html("")
    body = [
        element(
            "tr",
            *(element("td", cell, data_head=head) for head, cell in zip(heads, row, strict=True)),
        )
        for row in rows
    ]
    table = element(
        "table",
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        element("tbody", *body),
    )
    rest = element("p", f"and {more:,} more") if more > 0 else ""
    return element("section", element("h2", title), table, rest, id=title.lower().replace(" ", "-"))


def _missing(health: Health) -> Html:
    rows: list[Row] = [
        (
            one.sender,
            element("strong", numbers(one.missing)),
            _count(f"senders.{one.sender}.missing_objects", one.missing_objects),
            next_step(one, health),
        )
        for one in health.senders
        if one.missing_objects
    ]
    return _section("Missing", ("sender", "numbers", "objects", "next step"), rows)


def _progress(health: Health) -> Html:
    shown = sorted(health.unfinished, key=lambda one: one.symbols_short)[:NARROW]
    rows: list[Row] = [
        (
            f"{one.sender}:{one.number}",
            one.name,
            size(one.size),
            _bar(one),
            _count(f"unfinished.{one.sender}:{one.number}.symbols_short", one.symbols_short),
        )
        for one in shown
    ]
    heads = ("object", "name", "size", "blocks", "symbols short")
    return _section("In progress", heads, rows, health.unfinished_objects - len(rows))


def _records(health: Health) -> Iterator[Html]:
    """Sinks, and what never got to them; nothing where nobody wants records."""
    if health.records is None:
        return
    records, now = health.records, health.time
    sinks: list[Row] = []
    for place, sink in enumerate(records.sinks):
        state: Html | str = "there" if sink.there else "not known yet"
        if sink.away_since is not None:
            words = f"away for {seconds(sink.away_seconds)}{f': {sink.why}' if sink.why else ''}"
            state = element("strong", words)
        waiting = _count(f"records.sinks.{place}.waiting", sink.waiting)
        taken = _count(f"records.sinks.{place}.taken", sink.taken)
        sinks.append((sink.name, state, waiting, taken))
    yield _section("Records go to", ("sink", "state", "waiting", "taken"), sinks)
    gaps: list[Row] = [
        (ago(one.time, now), one.sender, one.topic, element("strong", ranged(one.first, one.last)))
        for one in reversed(records.gaps[-NARROW:])
    ]
    heads = ("when", "sender", "topic", "records")
    yield _section("Records that never came", heads, gaps, len(records.gaps) - len(gaps))
    dropped: list[Row] = [(one.topic, f"{one.count:,}") for one in records.dropped_of]
    yield _section("Records dropped", ("topic", "records"), dropped)


def _bar(one: Unfinished) -> Html:
    text = f"{one.blocks_done:,}/{one.blocks:,}"
    share = 1 - one.symbols_short / one.symbols if one.symbols else 0.0
    return joined(element("progress", value=round(share, 4), max=1, aria_label=text), " ", text)


def _senders(health: Health) -> Html:
    rows: list[Row] = [
        (
            one.sender,
            f"{seconds(one.silent_seconds)} ago" + (", ended" if one.ended else ""),
            _count(f"senders.{one.sender}.frames", one.frames),
            _count(f"senders.{one.sender}.lost", one.lost),
            _share(f"senders.{one.sender}.loss.hour", one.loss.hour),
            _count(f"senders.{one.sender}.queued", one.queued),
            _count(f"senders.{one.sender}.highest", one.highest),
            seconds(one.uptime) if one.uptime else "-",
        )
        for one in reversed(health.senders[-NARROW:])
    ]
    heads = ("sender", "heard", "frames", "lost", "hour", "queue", "number", "up for")
    return _section("Senders", heads, rows, len(health.senders) - len(rows))


def _delivered(recent: Sequence[Delivery], health: Health) -> Html:
    now = health.time
    rows: list[Row] = [
        (
            clock(one.time, now or one.time),
            (one.path or f"{one.name} ({plural(one.files, 'file')})")
            + (" (was there)" if one.duplicate else ""),
            size(one.size),
            percent(one.loss),
            percent(one.repair),
            one.signed_by or "-",
        )
        for one in recent
    ]
    return _section("Delivered", ("when", "file", "size", "lost", "repair", "signed by"), rows)


def _refused(health: Health) -> Html:
    rows: list[Row] = [
        (
            ago(one.time, health.time),
            f"{one.sender}:{one.number}",
            one.name or "(not told)",
            one.reason,
        )
        for one in reversed(health.refused[-NARROW:])
    ]
    heads = ("when", "object", "name", "why")
    return _section("Refused", heads, rows, len(health.refused) - len(rows))
