"""The receiver that a configuration describes, listening until it is stopped."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
from typing import TYPE_CHECKING

from diode.cli import alarming, hooking, publishing, recv
from diode.cli.alarming import AlarmHook
from diode.cli.receiving import Asked, Told, receive
from diode.cli.run_told import Scraped
from diode.errors import ConfigurationError, DiodeError
from diode.health import Health
from diode.service import config
from diode.service.receiver import Stop
from diode.sink.place import STATE
from diode.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.cli.report import Report
    from diode.health import Alarm
    from diode.service.config import Receiver
    from diode.service.receiver import Session

HOUR = 3600.0


def run(report: Report, path: str, receiver: Receiver) -> int:
    """Receive until a signal says that it is enough; the exit code."""
    state = receiver.state or os.path.join(receiver.inbox, STATE)
    with contextlib.ExitStack() as stack:
        # Processes first: they have nothing of what is opened later, and there are no threads yet.
        scraped = Scraped(report, receiver.metrics, state, Health)
        stack.callback(scraped.close)
        service = Service(report, path, receiver, stack)
        here = (os.path.dirname(os.path.abspath(path)),)
        told = Told(
            (service.alarm,),
            (scraped.write,),
            scraped.folders,
            here,
            scraped.start,
            service.listening,
        )
        return receive(report, asked(report, receiver), told)


def asked(report: Report, receiver: Receiver) -> Asked:
    """What `recv` would be asked for."""
    of = receiver
    delivery = of.commands.get(hooking.DELIVERY)
    command = None if delivery is None else shlex.join(delivery)
    # What follows takes plain numbers; those of a configuration are of kinds of their own.
    largest = None if of.max_object is None else int(of.max_object)
    limits = recv.limits(largest, int(of.quota))
    return Asked(
        of.inbox,
        of.urls,
        of.line,
        lambda: recv.judging(report, of.verifiers, of.identities, of.link_key, limits),
        lambda: recv.sink(
            *(of.inbox, of.state, of.require_state, int(of.mode), of.names),
            int(of.quota),
            float(of.expire),
        ),
        Stop(),
        hooking.Asked(command, float(of.hook_timeout), retry=False, folder=of.hook_folder),
        int(of.mode),
        int(of.buffer),
        None if of.silence is None else float(of.silence),
        None if of.give_up_after is None else float(of.give_up_after),
        of.ordered,
        of.impair,
        of.sandbox,
        publishing.Asked(of.sinks, float(of.records_away)),
    )


class Service:
    """What goes on beside the listening: the hook for alarms, a changed configuration."""

    def __init__(
        self, report: Report, path: str, receiver: Receiver, stack: contextlib.ExitStack
    ) -> None:
        """Starts the process that runs the hook for alarms, to be ended with the stack.

        From here on SIGHUP says what of a changed configuration takes a restart.
        """
        self._report = report
        self._path = path
        self._receiver = receiver
        self._hook = AlarmHook(report, "receiver", receiver.commands.get(alarming.KIND))
        stack.callback(self._hook.close)
        self._wake = Wake()
        stack.callback(self._wake.close)
        self._asked = self._over = False
        before = signal.signal(signal.SIGHUP, lambda *_: self._reload())
        stack.callback(signal.signal, signal.SIGHUP, before)

    def alarm(self, alarm: Alarm, raised: bool) -> None:
        """An alarm was raised, or cleared."""
        self._hook.run(alarm, raised)

    @contextlib.contextmanager
    def listening(self, session: Session) -> Iterator[None]:  # noqa: ARG002
        """While it listens."""
        self._hook.begin()
        reloading = threading.Thread(target=self._reloading, name="reloading", daemon=True)
        reloading.start()
        try:
            yield
        finally:
            self._over = True
            self._wake.ring()
            reloading.join()
            self._hook.tell()

    def _reload(self) -> None:
        """Nothing may be said in a signal handler: it may have interrupted somebody's words."""
        self._asked = True
        self._wake.ring()

    def _reloading(self) -> None:
        while not self._over:
            if self._asked:
                self._asked = False
                self._reread()
            self._wake.wait(HOUR)

    def _reread(self) -> None:
        """A receiver has opened what it needs, and can no more: every change takes a restart."""
        try:
            new = config.read(self._path).receiver
            if new is None:
                raise ConfigurationError("it describes no receiver any more")
        except DiodeError as error:
            self._report.warn(f"the configuration stays as it was: {error}")
            return
        changed = [
            key.rstrip("_").replace("_", "-")
            for key in new.__struct_fields__
            if getattr(new, key) != getattr(self._receiver, key)
        ]
        self._report.event("reloaded", restart=changed)
        if changed:
            self._report.warn(f"this takes a restart: {', '.join(changed)}")
        else:
            self._report.say("read the configuration again: nothing of it has changed")
