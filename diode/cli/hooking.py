"""`recv --on-delivery`: what is called when a file is delivered, and what is said of it.

`Hooked` stands between a receiver and the place where its objects go (watching.Place): before each
delivery the call for it is written down (service/hook_journal.py), afterwards it is due, and
at the end the last one is waited for. Into a store, a call is due when its file is there.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode.cli import hook_facts, options
from diode.cli.progress import Ration
from diode.cli.storing import Storing
from diode.errors import DestinationError, Partial, UsageError
from diode.objects import Type, escape
from diode.service.deliveries import plainly
from diode.service.hook_journal import Journal
from diode.service.hook_process import TIMEOUT, resolved
from diode.service.hooks import Called, Hooks, Trouble, Wrote
from diode.sink import Delivered, Unpacked, tally
from diode.sink.store import shown
from diode.wording import plural, seconds

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping, Sequence

    from diode.cli.hook_facts import Facts
    from diode.cli.report import Report
    from diode.cli.watching import Place
    from diode.events import Key
    from diode.incoming import Incoming
    from diode.service.disk import Disk
    from diode.service.receiver import Session
    from diode.sink import Delivery, Sink

DELIVERY = hook_facts.DELIVERY
PAUSE = 0.02
TOLD = 20
"""Failed calls that an earlier run has left, told one by one."""
Deliver = Callable[[Callable[[], "Delivery"]], "Delivery"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says about hooks."""

    command: str | None
    timeout: float
    retry: bool
    folder: str | None = None
    """Where the command starts."""

    def started(self, inbox: str, stack: contextlib.ExitStack, *, ordered: bool) -> Started:
        """The process that runs hooks, to be closed with the stack. To be started first of all:
        before there is a key in this process, a thread or a carrier. UsageError where it cannot be.

        ordered: calls keep the order of the objects.
        """
        if self.command is None:
            if self.retry:
                raise UsageError("--retry-hooks goes with --on-delivery")
            return Started(Hooks.start({}), inbox, self.retry, ordered)
        if inbox == "-":
            raise UsageError(
                "--on-delivery goes with an inbox or a store; - is read by a program itself",
                hint="diode recv - --from URL | PROGRAM",
            )
        command = resolved(self.command, "--on-delivery")
        if self.folder is not None and not os.path.isdir(self.folder):
            raise UsageError(f"--hook-folder: {escape(self.folder)} is no folder")
        hooks = Hooks.start({DELIVERY: command}, self.timeout, self.folder)
        stack.callback(hooks.close)
        return Started(hooks, inbox, self.retry, ordered)


@dataclass(frozen=True, slots=True)
class Started:
    """The processes that run hooks, before there is anything to run them for."""

    hooks: Hooks
    inbox: str
    retry: bool
    ordered: bool

    def attached(
        self, report: Report, place: Place, sink: Sink, stack: contextlib.ExitStack
    ) -> Hooked | Unhooked:
        """The place with its hooks, to be closed with the stack; before a confinement."""
        if DELIVERY not in self.hooks.kinds:
            stack.callback(place.close)
            return Unhooked(place)
        journal = Journal(sink.folders[-1], ordered=self.ordered)
        hooked = Hooked(report, self.hooks, place, sink, self.inbox, journal)
        hooked.left_over(self.retry)
        stack.callback(hooked.close)
        return hooked


def hook_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `recv` about hooks, as one argument: `hook`."""

    @functools.wraps(command)
    def gathered(
        on_delivery: str | None,
        hook_timeout: float,
        hook_folder: str | None,
        retry_hooks: bool,
        **rest: Any,
    ) -> Any:
        asked = Asked(on_delivery, hook_timeout, retry_hooks, hook_folder)
        return command(hook=asked, **rest)

    on_delivery = click.option(
        "--on-delivery",
        metavar="CMD",
        help="Run this without a shell for each file delivered; {path} is its path, DIODE_* "
        "variables tell the rest. Status 75: try again later.",
    )
    timeout = click.option(
        "--hook-timeout",
        type=options.Duration(),
        default=f"{TIMEOUT:g}s",
        metavar="TIME",
        help="End a command of --on-delivery after so long.  [default: 10min]",
    )
    folder = click.option(
        "--hook-folder",
        metavar="DIR",
        help="Where the command of --on-delivery starts.  [default: here]",
    )
    retry = click.option(
        "--retry-hooks", is_flag=True, help="Run again what --on-delivery gave up in earlier runs."
    )
    return on_delivery(timeout(folder(retry(gathered))))


class Unhooked:
    """Nothing is called."""

    around = staticmethod(plainly)

    def __init__(self, place: Place) -> None:
        self.place = place

    def verdict(self, code: int) -> int:
        return code


class Hooked:
    """A place whose deliveries are told to a command."""

    def __init__(
        self,
        report: Report,
        hooks: Hooks,
        inner: Place,
        sink: Sink,
        inbox: str,
        journal: Journal,
    ) -> None:
        """inbox: where its files lie, or the URL of the store."""
        self.place: Place = self
        self.event, self.word = inner.event, inner.word
        self.failed = 0
        """Calls that were given up in this run, or left to the next."""
        self._report, self._hooks, self._inner = report, hooks, inner
        self._state = sink.folders[-1]
        self._journal = journal
        self._waits = isinstance(inner, Storing)
        self._root = shown(inbox) if self._waits else os.path.abspath(inbox)
        if isinstance(inner, Storing):
            inner.leaving = self._stored
        self._reconciled = False
        self._notices: deque[str] = deque(maxlen=TOLD)
        self._words = Ration()
        self._untold = 0
        if self._journal.aside:
            self._notices.append(
                f"the journal of hooks was damaged and is now {escape(self._journal.aside)}; what "
                "it owed is not run any more"
            )
        hooks.keep(DELIVERY, self._journal, self._variables)

    def left_over(self, retry: bool) -> None:
        """What earlier runs gave up. retry: it is to be run again."""
        if retry:
            count = self._journal.retry()
            self._report.say(f"{plural(count, 'hook')} that failed earlier to be run again")
            return
        failed = self._journal.failed()
        for facts in failed[:TOLD]:
            self._report.detail(f"its hook failed earlier: {facts['name']}")
        if failed:
            self._report.warn(
                f"{plural(len(failed), 'hook')} failed in earlier runs; --retry-hooks runs them"
                " again, -v names them"
            )

    # Around deliveries ------------------------------------------------------------------------

    def around(self, key: Key, incoming: Incoming, _session: Session) -> Deliver:
        """What is on disk before an object is delivered, and after."""
        facts = hook_facts.of(key, incoming)
        is_folder = incoming.manifest.type == Type.DIRECTORY

        def deliver(work: Callable[[], Delivery]) -> Delivery:
            self._journal.intend(key, facts)
            answer = work()
            self._settle(key, facts, answer, is_folder=is_folder)
            return answer

        return deliver

    def _settle(self, key: Key, facts: Facts, answer: Delivery, *, is_folder: bool) -> None:
        files: list[tuple[int, Facts]] = []
        match answer:
            case Delivered():
                files = [(0, facts | hook_facts.placed(answer, is_folder=is_folder))]
            case Unpacked(members):
                files = [
                    (
                        number,
                        facts
                        | {"name": escape(member.name), "size": member.size, "bundle": True}
                        | hook_facts.placed(where, is_folder=member.type == Type.DIRECTORY),
                    )
                    for number, (member, where) in enumerate(members, 1)
                ]
            case _:
                pass
        try:
            self._journal.settle(key, files, waits=self._waits)
        except DestinationError as error:  # it is delivered all the same
            self._notices.append(f"{error}; the hook of {facts['name']} is run at the next start")
        self._hooks.wake(DELIVERY)

    def _stored(self, path: str, at: str) -> None:
        """A file is in the store, and leaves the outbox now."""
        self._journal.stored(path, at)
        self._hooks.wake(DELIVERY)

    def _reconcile(self, session: Session) -> None:
        """Settle by the ledger what earlier runs had intended when they ended."""
        self._reconciled = True
        unfinished = set(session.receiver.objects)

        def work() -> None:
            for key, facts in self._journal.intended():
                rows = tally.delivered(self._state, key)
                if rows or key not in unfinished:
                    self._journal.settle(
                        key, [hook_facts.known(row, facts) for row in rows], waits=False
                    )

        def done(answer: object) -> None:
            if isinstance(answer, DestinationError):
                self._notices.append(f"{answer}; hooks of an earlier run wait for the next start")
            self._hooks.wake(DELIVERY)

        session.disk.do(work, done)

    def _variables(self, facts: Facts) -> Mapping[str, str]:
        return hook_facts.variables(facts, self._root, stored=self._waits)

    # As a place -------------------------------------------------------------------------------

    def placed(self, each: Sequence[Facts], shared: Facts) -> None:
        self._inner.placed(each, shared)

    def begin(self, disk: Disk) -> None:
        self._inner.begin(disk)
        self._hooks.begin()

    def tick(self, session: Session) -> None:
        self._inner.tick(session)
        if not self._reconciled:
            self._reconcile(session)
        self._tell()

    def finish(self, session: Session) -> DestinationError | None:
        """Wait for the rest, and for what it gives to call."""
        trouble = self._inner.finish(session)
        if not self._reconciled:
            self._reconcile(session)
        session.disk.settle(wait=True)
        self._hooks.hurry()
        while not (self._hooks.idle or session.stopped):
            self._tell()
            time.sleep(PAUSE)
        self._tell()
        if self._untold:
            self._report.warn(f"{self._untold:,} more failures of hooks were only counted")
        return trouble

    def close(self) -> None:
        self._hooks.close()
        self._inner.close()
        self._journal.close()

    def verdict(self, code: int) -> int:
        """The exit code, which hooks that failed for good make a partial success at best."""
        if code == 0 and (self.failed or self._hooks.dead):
            return Partial.exit_code
        return code

    # What is said -----------------------------------------------------------------------------

    def _tell(self) -> None:
        while self._notices:
            self._report.warn(self._notices.popleft())
        for told in self._hooks.told():
            match told:
                case Called():
                    self._called(told)
                case Wrote(kind, text):
                    self._report.event("hook_output", kind=kind, text=text)
                    self._report.say(f"hook: {text}")
                case Trouble(_, text, hint):
                    self._report.warn(f"{text}; {hint}" if hint else text)

    def _called(self, called: Called) -> None:
        self._report.event(
            "hook",
            kind=called.kind,
            status=called.status,
            seconds=called.seconds,
            name=called.name,
            attempt=called.attempt,
            timed_out=called.timed_out,
            given_up=called.given_up,
            postponed=called.postponed,
        )
        if called.left_out:
            self._report.say(f"hook: {called.left_out:,} more lines")
        if called.well:
            self._report.detail(f"hook for {called.name}: {seconds(called.seconds)}")
            return
        self.failed += called.given_up or called.postponed
        if called.later and not called.postponed:
            self._report.detail(f"the hook for {called.name} is to be run again later")
            return
        if not self._words.take():
            self._untold += 1
            return
        how = _how(called)
        if called.given_up:
            after = (
                f"given up after {plural(called.attempt, 'attempt')}; --retry-hooks runs it again"
            )
        elif called.postponed:
            behind = ", and what is behind it" if self._journal.ordered else ""
            after = f"the next start runs it again{behind}"
        else:
            after = "it is run again"
        self._report.warn(f"the hook for {called.name} {how}: {after}")


def _how(called: Called) -> str:
    """In which way a command failed."""
    if called.timed_out:
        return f"took longer than --hook-timeout ({seconds(called.seconds)})"
    if called.later:
        return "wants to be run later (status 75)"
    if called.status < 0:
        return f"was ended by signal {-called.status}"
    return f"failed with status {called.status}"
