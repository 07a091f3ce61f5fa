"""How `diode status` shows a sender: what it says of itself, never that anything arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diode.cli import status_records
from diode.cli.status_words import Look, chosen, columns
from diode.service.reading_health import STALE
from diode.wording import clock, seconds, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diode.health import Sending
    from diode.service.reading_health import SenderReading


def sender(reading: SenderReading, look: Look) -> RenderableType:
    """All that is known of a sender."""
    sending, age = reading
    facts = Padding(_sender_facts(sending, look), (0, 0, 0, 2))
    parts: list[RenderableType] = [_sender_head(sending, age, look), facts]
    for alarm in sending.alarms:
        text = Text(f"\n! {alarm.name}: {alarm.text}", style="bold red")
        since = f"{look.between}since {clock(alarm.since, sending.time)}"
        text.append(since, style="not bold default")
        hint = f"\n  next: {alarm.hint}" if alarm.hint else ""
        parts.append(text.append(hint, style="not bold default"))
    if sending.records is not None:
        title, table = status_records.sources(sending.records, sending.time)
        parts += [Text(), Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    if sending.under_way:
        table = columns("number", "name", ">size", "pass", "flow")
        for one in sending.under_way[:20]:
            planned = f"/{one.passes}" if one.passes else ""
            passes = f"{one.number_of_pass}{planned}"
            table.add_row(str(one.number), chosen(one.name), size(one.size), passes, one.flow)
        parts += [Text(), Text("being sent", style="bold"), Padding(table, (0, 0, 0, 2))]
    if sending.queue:
        table = columns("flow", ">priority", ">objects", ">size")
        for flow in sending.queue:
            name = flow.name or "(all)"
            table.add_row(name, str(flow.priority), f"{flow.objects:,}", size(flow.bytes))
        parts += [Text(), Text("queue", style="bold"), Padding(table, (0, 0, 0, 2))]
    return Group(*parts, Text())


def _sender_head(sending: Sending, age: float, look: Look) -> Text:
    if not sending.time:
        word, style = "IDLE", "bold yellow"
        says = "of which no service has told anything here (diode run does)"
    elif not sending.running:
        word, style, says = "STOPPED", "bold yellow", f"ended {seconds(age)} ago"
    elif age > STALE:
        word, style = "GONE", "bold red"
        says = f"it was killed or hangs: nothing from it for {seconds(age)}"
    else:
        word, style = "SENDING", "bold green"
        says = f"running for {seconds(max(0.0, sending.time - sending.started))}"
    text = Text(f"{look.dot} {word}", style=style)
    return text.append(f"  sender {sending.sender}, {says}", style="not bold default")


def _sender_facts(sending: Sending, look: Look) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("to", Text(" ".join(sending.to), overflow="fold"))
    rate = f"{size(sending.rate)}/s" if sending.rate else "unknown rate"
    words = (f"{sending.frames:,} frames", f"{size(sending.line_bytes)} since the start", rate)
    table.add_row("line", look.between.join(words))
    failed = (f"{sending.failed:,} failed",) if sending.failed else ()
    again = (f"{sending.carousel:,} repeated while idle",) if sending.carousel else ()
    words = (f"{sending.sent:,} sent", *failed, *again, f"highest number {sending.highest:,}")
    table.add_row("objects", look.between.join(words))
    if sending.records is not None:
        table.add_row("records", status_records.offered(sending.records, look))
    return table
