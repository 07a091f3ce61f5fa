"""What a service tells systemd: that it is ready, what it is at, that it gets on (sd_notify(3)).

The words are datagrams to the socket that NOTIFY_SOCKET names; without it nobody asks, and `opened`
gives a notifier that says nothing. The socket is connected before a process confines
itself and then only sent on: its other direction is shut, and no program that is started later
learns of it.

The watchdog. With WatchdogSec= systemd ends a service that was not heard of for so long. A timer
would pet it for ever, whatever the work is doing, so there is none: the loops that send and
receive call `progressed` each time round, and the word goes out from there, a few times a period.
A loop that hangs in a call, or turns in a circle of its own, says nothing any more. For a
receiver to wait on a silent line is to get on; a sender whose carrier takes nothing does not.

No word is worth the work: one that finds no room is tried again with the next.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
PETS = 4
"""Words in a period of the watchdog: three may go astray."""
PATIENCE = 1.0
"""Seconds to wait for room for a word that is said once."""
STATUS_INTERVAL = 1.0
"""Seconds between two states."""
STATUS_LENGTH = 200


class Notifier(Protocol):
    """Who started this process, as far as it wants to know how it does."""

    def begin(self, status: str = "") -> None:
        """Everything is open and the work begins; also after a reload."""

    def progressed(self) -> None:
        """The work got on. Cheap: to be called each time round a loop."""

    def status(self, text: str) -> None:
        """What it is at, in one line; now and then one that changes is told."""

    def reloading(self) -> None:
        """The configuration is being read again, until `begin`."""

    def stop(self, status: str = "") -> None:
        """The end begins."""

    def close(self) -> None:
        """Say nothing any more. A second call does nothing."""


class Unasked:
    """Nobody wants to know."""

    def begin(self, status: str = "") -> None:
        """Nothing."""

    def progressed(self) -> None:
        """Nothing."""

    def status(self, text: str) -> None:
        """Nothing."""

    def reloading(self) -> None:
        """Nothing."""

    def stop(self, status: str = "") -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Systemd:
    """The service manager, through a connected socket."""

    def __init__(
        self,
        connected: socket.socket,
        watchdog: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """watchdog: seconds of its period."""
        self._socket = connected
        self._interval = None if watchdog is None else watchdog / PETS
        self._clock = clock
        self._pet = self._told = -float("inf")
        self._status = ""
        self._owed = b""
        """What found no room."""

    def begin(self, status: str = "") -> None:
        self._once("READY=1", status)

    def progressed(self) -> None:
        if self._interval is not None and self._clock() - self._pet >= self._interval:
            self._pet = self._clock()
            self._say("WATCHDOG=1")
        elif self._owed:
            self._say()

    def status(self, text: str) -> None:
        now = self._clock()
        if text != self._status and now - self._told >= STATUS_INTERVAL:
            self._status, self._told = text, now
            self._say(_state(text))

    def reloading(self) -> None:
        # systemd waits for the READY=1 that comes after this instant, by its own clock.
        self._once("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", raw=True)

    def stop(self, status: str = "") -> None:
        self._once("STOPPING=1", status)

    def close(self) -> None:
        self._socket.close()

    def _once(self, word: str, more: str = "", *, raw: bool = False) -> None:
        """A word that must get there, so that it is waited for, a little."""
        with contextlib.suppress(OSError, ValueError):
            select.select([], [self._socket], [], PATIENCE)
        self._say(word, *([more if raw else _state(more)] if more else []))

    def _say(self, *lines: str) -> None:
        message = b"".join(line.encode(errors="replace") + b"\n" for line in lines)
        try:
            self._socket.send(self._owed + message)
        except BlockingIOError:
            # The newest word of each kind is enough, and only those said once are owed.
            self._owed += b"" if message.startswith((b"WATCHDOG", b"STATUS")) else message
        except OSError:
            self._owed = b""  # systemd is gone; so will this process be, or it does not matter
        else:
            self._owed = b""


def _state(text: str) -> str:
    """One line, whatever is in it: a line end would begin another assignment."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return f"STATUS={line[:STATUS_LENGTH]}"


def opened(environment: MutableMapping[str, str] = os.environ) -> Notifier:
    """The notifier that the environment names. What is in it for us is taken out of it: programs
    that are started later are not the service.
    """
    name = environment.pop(SOCKET, "")
    period = environment.pop(WATCHDOG, "")
    process = environment.pop(WATCHDOG_PID, "")
    if not name.startswith(("/", "@")) or sys.platform == "win32":
        return Unasked()
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        connected.connect("\0" + name[1:] if name.startswith("@") else name)
        connected.shutdown(socket.SHUT_RD)
        connected.setblocking(False)
    except OSError:
        connected.close()
        return Unasked()
    ours = process in ("", str(os.getpid()))
    return Systemd(connected, int(period) / 1e6 if ours and period.isdecimal() else None)
