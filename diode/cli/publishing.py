"""`--records-to SINK` at a receiver: the sinks' processes, and the records that they get."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click

from diode.cli import options
from diode.errors import UsageError
from diode.record_health import PATIENCE
from diode.service.record_delivery import NoRecipient
from diode.wording import plural

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    from diode import events
    from diode.cli.report import Report
    from diode.inflow import Position
    from diode.record_health import RecordsIn
    from diode.service.record_process import Channel, Process


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line or a configuration says about records."""

    sinks: tuple[str, ...] = ()
    away: float = PATIENCE
    """Seconds after which a sink that takes nothing is an alarm."""

    def check(self, verify: tuple[str, ...], link_key: str | None, *, json_: bool) -> None:
        """UsageError for what contradicts itself."""
        if not self.sinks:
            return
        if json_ and "-" in self.sinks:
            raise UsageError(
                "--json and the records both want standard output",
                hint="--records-to file:records.jsonl",
            )
        if verify and link_key is None:
            raise UsageError(
                "records carry no signature, and --verify asks for one of everything",
                hint="--link-key FILE on both ends vouches for records",
            )

    def started(
        self, report: Report, inbox: str, sandbox: str, stack: contextlib.ExitStack
    ) -> Published | Unpublished:
        """The sinks' processes, to be ended with the stack. To be started before there are keys,
        carriers and threads. UsageError.
        """
        if not self.sinks:
            return Unpublished()
        if inbox == "-":
            raise UsageError(
                "--records-to goes with an inbox, where records wait for their sinks",
                hint="diode recv inbox --records-to - --from URL",
            )
        from diode.publish import publisher

        if len(set(self.sinks)) < len(self.sinks):
            raise UsageError("one sink is given twice")
        made = [publisher(text) for text in self.sinks]
        processes = []
        for place, sink in made:
            limit = place.seconds("stale", "0")
            process = _process(functools.partial(_work, sink, limit or None), sink, sandbox)
            stack.callback(process.close)
            processes.append((place.shown, place.shown, process))
        return Published(report, processes, self.away)


def _process(work: Callable[[Channel], None], sink: Any, sandbox: str) -> Process:
    from diode.service.record_process import Process

    return Process("diode-records", work, sink.bounds, sandbox, sink.kept)


def _work(sink: Any, limit: float | None, channel: Channel) -> None:
    """All that a sink's process does."""
    from diode.publish import serve

    serve(channel, sink, limit)


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `recv` about records, as one argument: `records`."""

    @functools.wraps(command)
    def gathered(sinks: tuple[str, ...], records_away: float, **rest: Any) -> Any:
        return command(records=Asked(sinks, records_away), **rest)

    sink = click.option(
        "--records-to",
        "sinks",
        multiple=True,
        metavar="SINK",
        help="Where readings go: - (JSON lines), file:, mqtt://, syslog:, sqlite:, opcua://, "
        "prometheus://, nats://.",
    )
    away = click.option(
        "--records-away",
        type=options.Duration(),
        metavar="TIME",
        default="60s",
        show_default=True,
        help="Raise the alarm when a sink took no readings for so long.",
    )
    return sink(away(gathered))


class Unpublished(NoRecipient):
    """Nobody asked for records."""

    def attach(self, folders: Sequence[str]) -> None:
        """There is nothing to open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""


class Published:
    """Sinks of one receiver; a context while it listens."""

    wanted = True

    def __init__(
        self, report: Report, processes: list[tuple[str, str, Process]], away: float
    ) -> None:
        """away: seconds for which a sink may take nothing."""
        self._report = report
        self._processes = processes
        self._away = away

    def attach(self, folders: Sequence[str]) -> None:
        """Open the store in the last of these, the receiver's state; before the confinement."""
        from diode.service.record_delivery import Delivery
        from diode.service.record_store import RecordStore

        names = [name for name, _, _ in self._processes]
        store = RecordStore(folders[-1], names, self._report.warn)
        self._delivery = Delivery(store, self._processes, patience=self._away)

    def positions(self) -> Sequence[Position]:
        return self._delivery.positions()

    def take(self, event: events.RecordsHeard | events.RecordGap) -> None:
        self._delivery.take(event)

    def tick(self, *, live: bool) -> None:
        self._delivery.tick(live=live)
        self._tell()

    def health(self) -> RecordsIn:
        return self._delivery.health()

    def __enter__(self) -> Self:
        self._delivery.start()
        return self

    def __exit__(self, *_: object) -> None:
        delivery = self._delivery
        delivery.close()
        self._tell()
        dropped = sum(delivery.dropped.values())
        self._report.event("records_heard", records=delivery.taken, dropped=dropped)
        if delivery.taken:
            self._report.say(f"{plural(delivery.taken, 'record')} heard")
        if dropped:
            of = ", ".join(f"{n:,} of {t}" for t, n in delivery.dropped.most_common(10))
            self._report.warn(f"{plural(dropped, 'record')} dropped for want of room: {of}")

    def _tell(self) -> None:
        for said in self._delivery.news():
            if said.warning:
                self._report.warn(said.text)
            else:
                self._report.detail(said.text)
