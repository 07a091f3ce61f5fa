"""Who is told how a service does: its state folder, and Prometheus where that is configured."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diode import confine
from diode.health import MOST, Clock, FlowHealth, Health, Sending, UnderWay
from diode.metrics.listener import Listener
from diode.metrics.textfile import Textfile
from diode.objects import escape
from diode.service import snapshots
from diode.service.alarms import SENDING_RULES, Alarms, Rise, SendingSigns
from diode.web import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.cli.report import Report
    from diode.health import Alarm
    from diode.record_health import RecordsOut
    from diode.service.config import Metrics
    from diode.service.feeding import Feed
    from diode.transmitter import Transmitter

_BOOT = snapshots.boot()
"""Asked when this module is loaded: a confined process cannot read it any more."""


class Scraped:
    """Metrics as a configuration asks for them."""

    def __init__(
        self, report: Report, asked: Metrics | None, state: str, kind: type[Health | Sending]
    ) -> None:
        """state: the folder where the service tells of itself each second, as a value of `kind`."""
        self._file: Textfile | None = None
        self._listener: Listener | None = None
        self.folders: tuple[str, ...] = ()
        """Where it writes."""
        if asked is not None and asked.textfile is not None:
            path = os.path.abspath(asked.textfile)
            self._file = Textfile(path, report.warn)
            self.folders = (os.path.dirname(path),)
        self._report = report
        self._address = None if asked is None or asked.listen is None else asked.listen
        self._state, self._kind = state, kind

    def start(self) -> None:
        """Listen, once the state folder is there; before threads and a confinement."""
        if self._address is None:
            return
        state, kind = self._state, self._kind
        name = snapshots.HEALTH if kind is Health else snapshots.SENDING
        bounds = confine.Bounds(sends=False, read=(state,), network=True)
        self._listener = Listener(
            Address.parse(self._address),
            lambda: snapshots.read(state, name, kind),
            lambda: confine.confine(bounds),
        )
        self._report.event("metrics", url=f"http://{self._listener.address}/metrics")
        self._report.say(f"metrics: http://{self._listener.address}/metrics")

    def write(self, state: Health | Sending) -> None:
        """These are the metrics now."""
        if self._file is not None:
            self._file.write(state)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()


class Told:
    """How a sender does, each second, in its state folder and as metrics."""

    def __init__(
        self,
        report: Report,
        folder: str,
        urls: tuple[str, ...],
        scraped: Scraped,
        records: Callable[[], RecordsOut | None],
        told: Sequence[Callable[[Alarm, bool], object]],
    ) -> None:
        """records: how they are. told: is told of each alarm when it is raised or cleared."""
        before = snapshots.read(folder, snapshots.SENDING, Sending)
        self._alarms = Alarms(SENDING_RULES, before.alarms if before else ())
        self._dropped = Rise()
        self._records, self._told = records, told
        self._report = report
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._to = [escape(url) for url in urls]
        self._scraped = scraped
        self._started = time.time()
        self._trouble = False

    def tell(self, feed: Feed, transmitter: Transmitter) -> None:
        """Leave it there. Called by one thread at a time. What the disk does not take is left."""
        sending = self._watched(self._sending(feed, transmitter), feed.trouble)
        try:
            snapshots.write(self._folder, snapshots.SENDING, sending)
        except OSError as error:
            if not self._trouble:
                why = os.strerror(error.errno or 0)
                self._report.warn(f"the state folder does not take how it goes: {why}")
            self._trouble = True
        else:
            self._trouble = False
        self._scraped.write(sending)

    def close(self) -> None:
        os.close(self._folder)

    def _watched(self, sending: Sending, trouble: str) -> Sending:
        """The same with the alarms that are raised; who is to be told of changes is."""
        dropped = sending.records.dropped if sending.records else 0
        signs = SendingSigns(escape(trouble), self._dropped.ago(dropped, time.monotonic()))
        for alarm, raised in self._alarms.look(sending, signs):
            for told in self._told:
                told(alarm, raised)
        return replace(sending, alarms=self._alarms.raised)

    def _sending(self, feed: Feed, transmitter: Transmitter) -> Sending:
        now = time.time()
        progress, settling = transmitter.progress, feed.settling
        waiting = list(feed.queues.waiting.values())
        return Sending(
            time=now,
            started=self._started,
            sender=f"{transmitter.sender:08x}",
            to=self._to,
            running=feed.running,
            frames=transmitter.frames_sent,
            line_bytes=progress.line_bytes,
            rate=int(transmitter.link.rate or 0),
            highest=feed.highest,
            sent=settling.sent,
            failed=settling.failed,
            queue=[
                FlowHealth(
                    escape(one.flow.name), one.flow.priority, one.objects, one.bytes + one.out_bytes
                )
                for one in waiting
            ],
            under_way=[
                UnderWay(
                    entry.number,
                    escape(entry.manifest.name),
                    entry.manifest.size,
                    min(done + 1, passes) if passes else done + 1,
                    passes,
                    escape(flow),
                )
                for entry, done, passes, flow in feed.under_way(MOST)
            ],
            alarms=[],
            carousel=len(settling.kept),
            clock=Clock(_BOOT, time.monotonic()),
            records=self._records(),
        )
