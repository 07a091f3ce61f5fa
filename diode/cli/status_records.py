"""How `diode status` shows records, of both ends: a line of figures, and tables where there is
something to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from diode.cli.status_words import Look, and_more, chosen, columns
from diode.wording import clock, ranged, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from diode.record_health import Peer, RecordsIn, RecordsOut

GAPS = 10
Titled = tuple[str, "Table"]


def figures(records: RecordsIn, now: float, look: Look) -> str:
    """Of a receiver, in one line."""
    newest = "none heard yet"
    if records.newest is not None:
        newest = f"the newest {seconds(max(0.0, now - records.newest))} ago"
    words = [f"{records.latest:,} of latest", f"{records.every:,} of every", newest]
    for count, word in (
        (records.topics, "topics"),
        (records.known, "heard again"),
        (records.missing, "missing"),
        (records.dropped, "dropped"),
        (records.unstored, "waiting for the disk"),
    ):
        if count:
            words.append(f"{count:,} {word}")
    return look.between.join(words)


def tables(records: RecordsIn, now: float) -> Iterator[Titled]:
    """Of a receiver: sinks, what never came, what was dropped."""
    sinks = columns("sink", "state", ">waiting", ">taken")
    for sink in records.sinks:
        waiting = Text(f"{sink.waiting:,}")
        sinks.add_row(chosen(sink.name), _state(sink, now), waiting, f"{sink.taken:,}")
    yield "records go to", sinks
    if records.gaps:
        gaps = columns("when", "sender", "topic", "records")
        for gap in reversed(records.gaps[-GAPS:]):
            numbers = Text(ranged(gap.first, gap.last), style="red")
            gaps.add_row(clock(gap.time, now), gap.sender, chosen(gap.topic), numbers)
        and_more(gaps, len(records.gaps) - GAPS)
        yield "records that never came", gaps
    if records.dropped_of:
        dropped = columns("topic", ">dropped")
        for one in records.dropped_of:
            dropped.add_row(chosen(one.topic), f"{one.count:,}")
        yield "records dropped for want of room", dropped


def offered(records: RecordsOut, look: Look) -> str:
    """Of a sender, in one line."""
    words = [f"{records.latest:,} of latest", f"{records.every:,} of every"]
    for count, word in (
        (records.topics, "topics"),
        (records.waiting, "waiting"),
        (records.replaced, "replaced before they were sent"),
        (records.repeated, "repeated"),
        (records.refused, "refused"),
        (records.dropped, "dropped"),
    ):
        if count:
            words.append(f"{count:,} {word}")
    words.append(
        f"{records.kept:,} kept to be repeated ({size(records.kept_bytes)} of at most "
        f"{size(records.quota)})"
    )
    return look.between.join(words)


def sources(records: RecordsOut, now: float) -> Titled:
    """Of a sender: where they come from."""
    table = columns("source", "state", ">given")
    for source in records.sources:
        state = Text("at its end") if source.ended else _state(source, now)
        table.add_row(chosen(source.name), state, f"{source.taken:,}")
    return "records come from", table


def _state(peer: Peer, now: float) -> Text:
    if peer.away_since is not None:
        why = f": {peer.why}" if peer.why else ""
        since = f"away for {seconds(peer.away_seconds)}, since {clock(peer.away_since, now)}"
        return Text(since + why, style="red", overflow="fold")
    return Text("there", style="green") if peer.there else Text("not known yet", style="dim")
