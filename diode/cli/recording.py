"""`--records SOURCE` at a sender: the sources' processes, and what goes on air of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode.errors import UsageError
from diode.outflow import NoRecords
from diode.record_health import PATIENCE
from diode.wording import plural, seconds

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from diode.cli.report import Report
    from diode.outflow import Outflow
    from diode.plan import Link, Settings
    from diode.record_health import RecordsOut
    from diode.service.record_process import Channel, Process
    from diode.service.state import SenderState
    from diode.supply import Supply
    from diode.wake import Wake

SHOWN = 10.0
"""Seconds that the repeats of `diode send` have to last for them to be worth a word."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line or a configuration says about records."""

    sources: tuple[str, ...] = ()
    every: tuple[str, ...] = ()
    away: float = PATIENCE
    """Seconds after which a source that is away is an alarm."""

    def check(self, paths: tuple[str, ...], encrypt_to: tuple[str, ...], *, required: bool) -> None:
        """UsageError for what contradicts itself. required: there must be paths or sources."""
        if required and not (paths or self.sources):
            raise UsageError("Missing argument 'PATH...'", hint="diode send PATH --to URL")
        if "-" in paths and any(text.partition("?")[0] == "-" for text in self.sources):
            raise UsageError("the records and the object both want standard input")
        if self.sources and encrypt_to:
            raise UsageError("records are not encrypted, and --encrypt-to asks for that")

    def started(
        self, report: Report, sandbox: str, stack: contextlib.ExitStack
    ) -> Sources | NoSources:
        """Their processes, to be ended with the stack. To be started before there are keys,
        carriers and threads. UsageError.
        """
        from diode.topics import Patterns

        Patterns(self.every)
        if not self.sources:
            if self.every:
                raise UsageError("--every goes with --records")
            return NoSources()
        from diode.acquire import acquirer

        twice = {text for text in self.sources if self.sources.count(text) > 1}
        if twice:
            raise UsageError(f"{min(twice)} is given twice")
        made = [acquirer(text) for text in self.sources]
        processes = []
        for place, source in made:
            work = functools.partial(_work, source.run, self.every)
            process = _process(work, source, sandbox)
            stack.callback(process.close)
            processes.append((place.shown, process))
        return Sources(report, processes, self.away)


def _process(work: Callable[[Channel], None], source: Any, sandbox: str) -> Process:
    from diode.service.record_process import Process

    return Process(
        "diode-records", work, source.bounds, sandbox, source.kept, before=source.prepare
    )


def _work(run: Callable[[Any], None], every: tuple[str, ...], channel: Channel) -> None:
    """All that a source's process does: read in one thread, hand over in another."""
    import threading

    from diode.service.gathering import Gathering
    from diode.service.record_process import Said, said

    gathering, failed = Gathering(channel, every), []

    def read() -> None:
        try:
            run(gathering)
        except BaseException as error:  # noqa: BLE001  it ends this process, which is begun anew
            failed.append(error)
            channel.send(Said(f"{type(error).__name__}: {said(error)}", there=False))
        gathering.end()

    threading.Thread(target=read, name="read", daemon=True).start()
    gathering.run()
    if failed:
        raise failed[0]


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `send` about records, as one argument: `records`."""

    @functools.wraps(command)
    def gathered(sources: tuple[str, ...], every: tuple[str, ...], **rest: Any) -> Any:
        asked = Asked(sources, every)
        if sources and rest["stream"].in_pieces:
            raise UsageError("--no-spool sends a stream alone, without records")
        required = rest["asked"].source is None
        asked.check(rest["paths"], rest["encrypt_to"], required=required)
        return command(records=asked, **rest)

    source = click.option(
        "--records",
        "sources",
        multiple=True,
        metavar="SOURCE",
        help="Send readings before any file, until their source ends: - (lines), tail:FILE, "
        "mqtt://, syslog:, opcua://, modbus://.",
    )
    every = click.option(
        "--every",
        multiple=True,
        metavar="PATTERN",
        help="Topics of which each record matters, such as alarms/#; of others only the newest.",
    )
    return source(every(gathered))


class NoSources:
    """No records."""

    wake: Wake | None = None

    def __bool__(self) -> bool:
        return False

    def outflow(self, state: SenderState, settings: Settings, link: Link) -> NoRecords:  # noqa: ARG002
        return NoRecords()

    def begin(self) -> None:
        """There is nothing to begin."""

    def along(self, objects: Supply) -> Supply:
        return objects

    def health(self) -> None:
        """There is nothing to know."""

    def tell(self) -> None:
        """Nor to tell."""

    def close(self) -> None:
        """Nor to close."""


class Sources:
    """Records of one sender."""

    def __init__(self, report: Report, processes: list[tuple[str, Process]], away: float) -> None:
        """away: seconds for which a source may be."""
        from diode.wake import Wake

        self._away = away
        self._report = report
        self._processes = processes
        self.wake: Wake | None = Wake()
        self._began = self._ended = False

    def outflow(self, state: SenderState, settings: Settings, link: Link) -> Outflow:
        """What a transmitter is to send; before the confinement."""
        from diode.outflow import Outflow
        from diode.service.record_intake import Intake
        from diode.service.record_spool import RecordSpool

        assert self.wake is not None
        self._spool = RecordSpool(state.folder, state.begin_stream, self._report.warn)
        streams = state.begin_stream(), self._spool.stream
        self._outflow = Outflow(state.sender, settings, link, streams=streams)
        ring = self.wake.ring
        self._intake = Intake(
            self._outflow, self._spool, self._processes, ring, patience=self._away
        )
        return self._outflow

    def begin(self) -> None:
        """Ask the sources; after the confinement."""
        self._began = True
        if count := self._intake.resumed:
            self._report.say(f"going on with {plural(count, 'record')} of an earlier run")
        self._intake.start()

    def along(self, objects: Supply) -> Supply:
        """A supply of these objects, and of records."""
        from diode.service.record_intake import Along

        return Along(self._intake, objects)

    def health(self) -> RecordsOut:
        """How they are now. Asked by any thread, once there is an outflow."""
        return self._intake.health

    def tell(self) -> None:
        """What there is to say."""
        for said in self._intake.news():
            if said.warning:
                self._report.warn(said.text)
            else:
                self._report.detail(said.text)
        if self._intake.ended and not self._ended:
            self._ended = True
            if (longest := self._outflow.pace.longest) > SHOWN:
                self._report.say(
                    "all records are sent once; for what may be lost they are repeated for "
                    f"{seconds(longest)} more, Ctrl-C leaves that out"
                )

    def close(self) -> None:
        """At the end of the run."""
        if self._began:
            self._ended = True
            self._intake.close()
            self.tell()
            health = self._intake.health
            self._report.event(
                "records_sent",
                latest=health.latest,
                every=health.every,
                replaced=health.replaced,
                repeated=health.repeated,
                waiting=health.kept,
                refused=health.refused,
                dropped=health.dropped,
            )
            more = f", {plural(health.replaced, 'value')} replaced before"
            self._report.say(
                f"sent {plural(health.latest + health.every, 'record')}"
                + (more if health.replaced else "")
                + (f"; {health.kept:,} of them go on next time" if health.kept else "")
            )
        if hasattr(self, "_spool"):
            self._spool.close()
