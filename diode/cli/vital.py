"""The vital signs of a `recv`: who is told of them, and where there is nobody to ask."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

import click

from diode.cli import options
from diode.objects import escape
from diode.service import snapshots
from diode.service.examining import About
from diode.service.vitals import Vitals
from diode.sink.folder import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.cli.watching import Watcher
    from diode.health import Alarm, Health
    from diode.service.observer import Observer
    from diode.service.receiver import Session
    from diode.sink import Sink

_BOOT = snapshots.boot()
"""Asked when this module is loaded: a confined process cannot read it any more."""

silence_option = click.option(
    "--silence",
    type=options.Duration(),
    metavar="TIME",
    help="Raise the alarm when nothing came for so long.  [default: as the sender promises]",
)


class Watched(Protocol):
    """A session while somebody may ask how it is."""

    @property
    def observer(self) -> Observer:
        """What the session is to have as its observer."""

    def watching(self, session: Session) -> contextlib.AbstractContextManager[None]:
        """While it runs."""

    def close(self) -> None: ...


class Unwatched:
    """Without a state folder nobody can ask."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @property
    def observer(self) -> Observer:
        return self._observer

    def watching(self, session: Session) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        return contextlib.nullcontext()

    def close(self) -> None:
        """Nothing is open."""


def watched(
    watcher: Watcher,
    sink: Sink,
    urls: Sequence[str],
    silence: float | None,
    *,
    told: Sequence[Callable[[Alarm, bool], object]] = (),
    sinks: Sequence[Callable[[Health], object]] = (),
    files: Sequence[Callable[[Health], object]] = (),
) -> Watched:
    """What stands between the session and its watcher. told, sinks, files: as of `Vitals`."""
    if not isinstance(sink, Inbox):
        return Unwatched(watcher)
    inbox, state = sink.folders
    where, quota = escape(os.path.abspath(inbox)), sink.quota or 0
    about = About(sink.state, tuple(map(escape, urls)), where, quota, silence, _BOOT)
    return Vitals(
        watcher,
        state,
        inbox,
        about,
        held=lambda: sink.held,
        figures=watcher.figures,
        told=(watcher.alarm, *told),
        sinks=sinks,
        files=files,
    )
