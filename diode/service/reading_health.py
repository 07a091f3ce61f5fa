"""The health of a receiver, as other processes learn of it: from the files in its state folder.

`diode status`, its page and its metrics all begin here, so they say the same. The last minutes are
in `health.json`, the day before in `history.json`, what was delivered in the ledger. A receiver
that ended says so in its last `health.json`. One that says nothing any more without having said so
was killed, or hangs: that is an alarm of its own, `gone`.

A folder without `health.json` but with a ledger is one whose receiver has not run since there is
such a file: of it only what was delivered is known.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from diode.errors import NoState
from diode.health import (
    Alarm,
    Clock,
    Delivery,
    Disk,
    Health,
    Line,
    LinkState,
    Loss,
    Outcomes,
    Repair,
    Sample,
    Sending,
)
from diode.objects import escape
from diode.service import gaps, snapshots
from diode.service.windows import merged
from diode.sink import records
from diode.sink.place import STATE
from diode.sink.tables import LEDGER

STALE = 5.0
"""Seconds without a new health.json after which its receiver tells nothing any more."""
RECENT = 20
SENDER = "sender.json"


class Reading(NamedTuple):
    """What is known of a receiver."""

    health: Health
    recent: list[Delivery]
    """What was delivered last, the newest first."""
    age: float
    """Seconds since the receiver wrote its health."""


class SenderReading(NamedTuple):
    """What is known of a sender."""

    sending: Sending
    age: float


def find(path: str) -> str:
    """The state folder that is meant: this folder, or the one in an inbox. NoState."""
    for folder in (os.path.join(path, STATE), path):
        for name in (LEDGER, snapshots.HEALTH, snapshots.SENDING, SENDER):
            if os.path.lexists(os.path.join(folder, name)):
                return folder
    if not os.path.isdir(path):
        raise NoState(f"there is no folder {escape(path)}")
    for folder in (path, os.path.join(path, STATE)):
        try:
            os.lstat(os.path.join(folder, "."))
        except PermissionError:
            raise NoState(
                f"{escape(folder)} is its user's alone", hint="run this as that user or as root"
            ) from None
        except OSError:
            break
    raise NoState(f"nothing is known of {escape(path)}: no state of diode is there")


def receives(folder: str) -> bool:
    """Whether a receiver has this state folder."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in (LEDGER, snapshots.HEALTH))


def load(folder: str, recent: int = RECENT) -> Reading:
    """The receiver whose state folder this is. NoState where nothing can be read there.

    recent: how many deliveries.
    """
    try:
        health = snapshots.read(folder, snapshots.HEALTH, Health)
        history = snapshots.read(folder, snapshots.HISTORY, list[Sample]) or []
        dismissed = gaps.read(folder)
    except PermissionError:
        raise NoState(
            f"{escape(folder)} cannot be read by this user",
            hint="run this as the receiver's user or as root",
        ) from None
    deliveries, name, trouble = _delivered(folder, recent)
    if health is None:
        health = _unknown(folder, name)
    here = Clock(snapshots.boot(), time.monotonic())
    age = snapshots.age(health.clock, health.time, here, time.time())
    line = replace(health.line, history=merged(history, health.line.history))
    senders = [gaps.seen_to(sender, dismissed) for sender in health.senders]
    health = replace(health, line=line, senders=senders)
    if not health.missing_objects:
        health = replace(health, alarms=[one for one in health.alarms if one.name != "gap"])
    if age > STALE and health.line.state is not LinkState.STOPPED:
        health = _gone(health)
    health = replace(health, alarms=[*health.alarms, *trouble])
    return Reading(health, deliveries, age)


def load_sender(folder: str) -> SenderReading | None:
    """The sender whose state folder this is; None where it is no sender's."""
    try:
        sending = snapshots.read(folder, snapshots.SENDING, Sending)
        identity = snapshots.read(folder, SENDER, _Identity)
    except PermissionError:
        raise NoState(
            f"{escape(folder)} cannot be read by this user",
            hint="run this as the sender's user or as root",
        ) from None
    if sending is None:
        if identity is None:
            return None
        return SenderReading(_silent_sender(identity), 0.0)
    here = Clock(snapshots.boot(), time.monotonic())
    return SenderReading(sending, snapshots.age(sending.clock, sending.time, here, time.time()))


class _Identity(msgspec.Struct):
    """What anybody may know of `sender.json` (service/state.py)."""

    sender: int
    number: int
    frames: int


def _silent_sender(identity: _Identity) -> Sending:
    """A sender that no service runs for: only its numbers are known."""
    return Sending(
        time=0.0,
        started=0.0,
        sender=f"{identity.sender:08x}",
        to=[],
        running=False,
        frames=identity.frames,
        line_bytes=0,
        rate=0,
        highest=identity.number,
        sent=0,
        failed=0,
        queue=[],
        under_way=[],
        alarms=[],
    )


def _delivered(folder: str, recent: int) -> tuple[list[Delivery], str, list[Alarm]]:
    """What was delivered last, the ledger's name, and what keeps it from being read."""
    try:
        with records.opened(folder) as ledger:
            return ledger.recent(recent), ledger.name, []
    except sqlite3.Error as error:
        alarm = Alarm(
            "ledger",
            time.time(),
            f"the ledger cannot be read: {escape(str(error))}",
            "a receiver that finds it damaged at its start puts it aside and begins another",
        )
        return [], "", [alarm]


def _gone(health: Health) -> Health:
    """The same of a receiver that tells nothing any more and had not ended."""
    alarm = Alarm(
        "gone",
        health.time,
        "the receiver was killed or hangs: it has told nothing since then",
        "start it again; the system's log may say what ended it",
    )
    line = replace(health.line, state=LinkState.STOPPED)
    return replace(health, line=line, alarms=[alarm, *health.alarms])


def _unknown(folder: str, name: str) -> Health:
    """Nothing is known but what the ledger says."""
    line = Line(
        state=LinkState.STOPPED,
        silent_seconds=0.0,
        silent_since=None,
        last_heard=None,
        frames=0,
        lost=0,
        idle=0,
        rejected={},
        bytes=0,
        noise=0,
        dropped_bytes=0,
        kernel_dropped=0,
        loss=Loss(),
        history=[],
    )
    return Health(
        time=0.0,
        started=0.0,
        state=name,
        listening=[],
        inbox=os.path.dirname(folder) if os.path.basename(folder) == STATE else "",
        line=line,
        repair=Repair(),
        outcomes=Outcomes(),
        senders=[],
        unfinished=[],
        unfinished_objects=0,
        refused=[],
        disk=Disk(free=0, size=0, quota=0, unfinished=0, unwritten=0),
        alarms=[],
    )
