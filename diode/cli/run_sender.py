"""The sender that a configuration describes, on air until it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import structs

from diode import allocator, slots
from diode.cli import alarming, confinement, lanes, options, recording, signals, signing
from diode.cli.alarming import AlarmHook
from diode.cli.progress import Interval
from diode.cli.run_told import Scraped, Told
from diode.constant_rate import ConstantRate
from diode.errors import ConfigurationError, DiodeError, Partial
from diode.health import Sending
from diode.objects import escape
from diode.service import config, notify
from diode.service.building import Workbench
from diode.service.coders import Coders
from diode.service.feeding import Feed
from diode.service.queues import Queues
from diode.service.sender import transmit
from diode.service.spool import Spool
from diode.service.state import SenderState, default_folder
from diode.source.bundle import StandingSpool
from diode.source.watch import watch
from diode.standing import Standing
from diode.transmitter import Transmitter
from diode.wake import Wake
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from diode.cli.report import Report
    from diode.outflow import NoRecords, Outflow
    from diode.plan import Link, Settings
    from diode.service.config import Drop, Sender
    from diode.service.lanes import Outlet
    from diode.service.notify import Notifier
    from diode.service.turns import Turns
    from diode.supply import Supply
    from diode.tag import Tagger

    class Closes(Protocol):
        """What has to be closed."""

        def close(self) -> None: ...

    Closing = TypeVar("Closing", bound=Closes)

STATUS = 5.0
"""Seconds between two states that a service manager is told."""
WITHIN = 1.5
"""Seconds after a signal in which what is on the way to the line is finished, whole frames and a
heartbeat. A line that is away takes nothing, and a service manager waits for two seconds.
"""
LEAP = 1 << 32
"""Frames that count as sent while it runs: one that was killed goes on behind them (wire 3.4)."""


def run(report: Report, path: str, sender: Sender) -> int:
    """Send until a signal says that it is enough; the exit code."""
    allocator.restrain()
    folder = sender.state or default_folder()
    with contextlib.ExitStack() as stack:

        def opened(thing: Closing) -> Closing:
            stack.callback(thing.close)
            return thing

        # Processes first, before there are keys and threads: those of records and metrics have a
        # network, that of the hook is not confined, and none has anything of what is opened later.
        hook = opened(AlarmHook(report, "sender", sender.commands.get(alarming.KIND)))
        away = float(sender.records_away)
        asked = recording.Asked(sender.sources, tuple(sender.every), away)
        records = asked.started(report, sender.sandbox, stack)
        state = stack.enter_context(SenderState(folder))
        scraped = opened(Scraped(report, sender.metrics, folder, Sending))
        scraped.start()
        coder = opened(Coders(sender.jobs, report.warn))
        tagger = options.tagging(sender.link_key)
        keys = signing.keys(report, sender.sign, sender.recipients)
        named = lanes.named(sender.urls, sender.line)
        named, settings, link = lanes.planned(named, sender.settings, tagger.extra, cbr=sender.cbr)
        outlet = lanes.opened(named, sender.impair, report, stack)
        notifier = opened(notify.opened())
        alarms = partial(alarming.tell, report), hook.run
        told = opened(Told(report, folder, sender.urls, scraped, records.health, alarms))
        spool = opened(Spool(folder, state.sender, state.number, report.warn))
        small, watching = opened(StandingSpool()), opened(watch())
        wake = opened(records.wake or Wake())
        _confine(report, path, sender, folder, scraped.folders)
        # A thread shares the confinement only if it starts after it.
        hook.begin()
        pool = stack.enter_context(ThreadPoolExecutor(max(1, sender.jobs), "ahead"))
        queues = Queues(sender.drop, _skipped(report), watching, spool.taken)
        outflow = opened(records).outflow(state, settings, link)
        settings = replace(settings, cipher=keys.cipher)
        beside = _Beside(pool, coder, outflow)
        transmitter = _transmitter(sender, state, settings, link, keys, tagger, beside, queues)
        state.count_frames(transmitter.frames_sent + LEAP)
        kept = not sender.carousel_kept.empty
        feed = Feed(
            transmitter,
            state,
            spool,
            queues,
            Workbench(transmitter.settings, link, small, kept=kept),
            watching,
            ring=wake.ring,
            each_second=lambda feed: told.tell(feed, transmitter),
            reread=Reread(report, path, sender, notifier),
        )
        turns = _on_air(sender, transmitter, records.along(feed), named[0].facts.batch)
        Service(report, sender, transmitter, turns, feed, notifier, records).send(outlet, wake)
        state.count_frames(transmitter.frames_sent)
        return Partial.exit_code if lanes.missed(report, outlet) else 0


class _Beside(NamedTuple):
    """What works beside the sending."""

    pool: ThreadPoolExecutor
    coder: Coders
    records: Outflow | NoRecords


def _transmitter(
    sender: Sender,
    state: SenderState,
    settings: Settings,
    link: Link,
    keys: signing.Keys,
    tagger: Tagger,
    beside: _Beside,
    queues: Queues,
) -> Transmitter:
    return Transmitter(
        state.sender,
        settings,
        link,
        frames_before=state.frames,
        highest_number=state.number,
        signer=keys.signer,
        encloser=keys.enclosing(state.secret),
        tagger=tagger,
        ahead=beside.pool.submit,
        coder=beside.coder,
        depth=max(1, sender.jobs),
        flows=queues.flows,
        carousel=sender.carousel_kept,
        records=beside.records,
    )


def _on_air(sender: Sender, transmitter: Transmitter, feed: Supply, batch: int) -> Turns:
    """What gives frames, fed from drop folders and sources. batch: of the carrier."""
    if sender.cbr:
        count = slots.in_turn(transmitter.link, batch)
        return ConstantRate(transmitter, count, supply=feed, linger=None)
    return Standing(transmitter, feed, sender.heartbeat)


def _confine(
    report: Report, path: str, sender: Sender, state: str, others: tuple[str, ...]
) -> None:
    """others: folders, too, in which it writes."""
    changed = tuple(drop.folder for drop in sender.drop if drop.after != "keep")
    read = tuple(drop.folder for drop in sender.drop)
    here = os.path.dirname(os.path.abspath(path))
    confinement.service_sender(
        report, sender.urls, (state, *changed, *others), (*read, here), sender.sandbox
    )


def _skipped(report: Report) -> Callable[[str, str], None]:
    def skipped(path: str, why: str) -> None:
        report.event("skipped", path=escape(path), reason=why)
        report.say(f"skipped {escape(path)}: {why}")

    return skipped


class Service:
    """A sender on air, and the signals that end it."""

    def __init__(
        self,
        report: Report,
        sender: Sender,
        transmitter: Transmitter,
        turns: Turns,
        feed: Feed,
        notifier: Notifier,
        records: recording.Sources | recording.NoSources,
    ) -> None:
        """turns: the transmitter's, fed by the feed and by records."""
        self._report = report
        self._sender = sender
        self._transmitter = transmitter
        self._turns = turns
        self._feed = feed
        self._notifier = notifier
        self._records = records
        self._asked = self._stopped = False
        self._status = Interval(STATUS)

    def send(self, outlet: Outlet, wake: Wake) -> None:
        """Until a signal says that it is enough. wake: rung when there is more to send."""

        def stop() -> None:
            self._asked = True
            wake.ring()

        patience = signals.Patience(WITHIN)
        try:
            with self._reloading(), signals.asking(stop, patience):
                self._begin()
                transmit(
                    self._turns,
                    outlet,
                    log=self._feed.leaving,
                    rest=wake,
                    shown=self._shown,
                    clock=time.monotonic,
                )
                self._feed.leaving.drained()
        except KeyboardInterrupt:
            if not patience.over:
                raise
            self._report.warn("stopped in the middle of a write that the line did not take")
        finally:
            self._notifier.stop()
            self._feed.see(self._transmitter.events())
            self._feed.close()
            self._tell()
        self._report.say("stopped; what was not sent in every pass goes on at the next start")

    def _begin(self) -> None:
        folders = [drop.folder for drop in self._sender.drop]
        self._report.event("sending", url=" ".join(self._sender.urls), folders=folders)
        what = [f"what comes into {plural(len(folders), 'drop folder')}"] if folders else []
        what += [f"records of {plural(len(self._sender.sources), 'source')}"] * bool(self._records)
        self._report.say(f"on air; sending {' and '.join(what)}")
        self._feed.start()
        self._records.begin()
        self._notifier.begin("on air")

    @contextlib.contextmanager
    def _reloading(self) -> Iterator[None]:
        """SIGHUP has the configuration read again."""
        before = signal.signal(signal.SIGHUP, lambda *_: self._feed.reload())
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def _shown(self) -> None:
        """After every write, and now and then in silence."""
        self._feed.see(self._transmitter.events())
        self._tell()
        self._records.tell()
        self._notifier.progressed()
        if self._status.due():
            waiting = sum(one.objects for one in list(self._feed.queues.waiting.values()))
            self._notifier.status(f"{plural(waiting, 'object')} to send")
        if self._asked and not self._stopped:
            self._stopped = True
            self._turns.stop()

    def _tell(self) -> None:
        """What the feed has to say."""
        for news in self._feed.news():
            self._report.event(news.event, **news.fields)
            if news.warning:
                self._report.warn(news.text)
            else:
                self._report.detail(news.text)


class Reread:
    """The configuration, read again at SIGHUP. Called by the feed's thread."""

    def __init__(self, report: Report, path: str, sender: Sender, notifier: Notifier) -> None:
        """sender: as it is in use."""
        self._report = report
        self._path = path
        self._sender = sender
        self._notifier = notifier

    def __call__(self) -> Sequence[Drop] | None:
        """The drop folders as it has them now; None where it is not to be used."""
        self._notifier.reloading()
        try:
            new = config.read(self._path).sender
            if new is None:
                raise ConfigurationError("it describes no sender any more")
        except DiodeError as error:
            self._report.warn(f"the configuration stays as it was: {error}")
            return None
        finally:
            self._notifier.begin("on air")
        before = self._sender
        changed = [
            key.replace("_", "-")
            for key in before.__struct_fields__
            if key != "drop" and getattr(new, key) != getattr(before, key)
        ]
        known = {drop.folder for drop in before.drop}
        added = [escape(drop.folder) for drop in new.drop if drop.folder not in known]
        if changed or added:  # what was opened is open, and a confined process sees no more
            self._report.warn(f"this takes a restart: {', '.join([*changed, *added])}")
        drops = [drop for drop in new.drop if drop.folder in known]
        self._sender = structs.replace(before, drop=drops)
        self._report.event("reloaded", folders=[d.folder for d in drops], restart=changed + added)
        self._report.say(f"read the configuration again: {plural(len(drops), 'drop folder')}")
        return drops
