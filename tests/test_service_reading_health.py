"""The health of a receiver, from its state folder: whole, of now, and honest about its age."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from healths import NOW, a_health, a_line
from inboxes import Thing, reachable, unprivileged
from msgspec.structs import replace

from diode.errors import NoState
from diode.events import Key
from diode.health import Clock, LinkState, Sample, Sending
from diode.service import reading_health, snapshots
from diode.sink.ledger import Ledger

HERE = Clock(snapshots.boot(), time.monotonic())


def leave(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    for name, value in files.items():
        snapshots.write(descriptor, f"{name}.json", value)
    os.close(descriptor)


def test_of_a_receiver_that_runs(tmp_path: Path) -> None:
    now = Clock(snapshots.boot(), time.monotonic())
    old = [Sample(NOW - 60 * n, n, 0) for n in range(9, 0, -1)]
    line = a_line(history=[Sample(NOW - 60, 1, 0), Sample(NOW, 77, 7)])
    leave(tmp_path, health=a_health(line, clock=now), history=old)
    ledger = Ledger(str(tmp_path / "ledger.db"))
    ledger.record(Key(7, 1), Thing(b"x").manifest, "delivered", "x")
    health, recent, age = reading_health.load(str(tmp_path))
    ledger.close()
    assert age < 3
    assert health.line.history == [*old, Sample(NOW, 77, 7)]
    assert replace(health, line=line) == a_health(line, clock=now)
    assert [one.number for one in recent] == [1]


def test_of_one_that_was_killed(tmp_path: Path) -> None:
    then = replace(HERE, seconds=time.monotonic() - 60)
    leave(tmp_path, health=a_health(clock=then))
    health, _, age = reading_health.load(str(tmp_path))
    assert 60 <= age < 90
    assert health.line.state is LinkState.STOPPED
    assert [alarm.name for alarm in health.alarms] == ["gone", "gap"]


def test_of_one_that_ended_well(tmp_path: Path) -> None:
    line = a_line(LinkState.STOPPED)
    long_ago = replace(HERE, seconds=HERE.seconds - 60)
    leave(tmp_path, health=a_health(line, alarms=[], clock=long_ago))
    health = reading_health.load(str(tmp_path)).health
    assert (health.line.state, health.alarms) == (LinkState.STOPPED, [])


def test_of_one_before_the_machine_was_started_again(tmp_path: Path) -> None:
    leave(tmp_path, health=a_health(time=time.time() - 100, clock=Clock("before", 1e9)))
    assert 100 <= reading_health.load(str(tmp_path)).age < 160


def test_a_ledger_alone_tells_what_was_delivered(tmp_path: Path) -> None:
    state = tmp_path / "inbox/.diode"
    state.mkdir(parents=True)
    ledger = Ledger(str(state / "ledger.db"))
    ledger.record(Key(7, 1), Thing(b"x").manifest, "delivered", "x")
    ledger.close()
    folder = reading_health.find(str(tmp_path / "inbox"))
    health, recent, _ = reading_health.load(folder)
    assert (health.line.state, health.line.last_heard) == (LinkState.STOPPED, None)
    assert (health.state, health.inbox) == (ledger_name(state), str(tmp_path / "inbox"))
    assert len(recent) == 1


def ledger_name(state: Path) -> str:
    ledger = Ledger(str(state / "ledger.db"))
    name = ledger.name
    ledger.close()
    return name


def test_a_damaged_ledger_is_an_alarm_beside_the_rest(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"\x1b[31mnothing of that kind" * 500)
    leave(tmp_path, health=a_health(clock=Clock(snapshots.boot(), time.monotonic())))
    health, recent, _ = reading_health.load(str(tmp_path))
    assert recent == []
    assert [alarm.name for alarm in health.alarms] == ["gap", "ledger"]


def test_found_in_an_inbox_or_named_itself(tmp_path: Path) -> None:
    leave(tmp_path / "inbox/.diode", health=a_health())
    leave(tmp_path / "state", sending={})
    inside = str(tmp_path / "inbox/.diode")
    assert reading_health.find(str(tmp_path / "inbox")) == inside
    assert reading_health.find(inside) == inside
    assert reading_health.find(str(tmp_path / "state")) == str(tmp_path / "state")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NoState, match="no state of diode"):
        reading_health.find(str(tmp_path))
    with pytest.raises(NoState, match="no folder"):
        reading_health.find(str(tmp_path / "absent"))


def test_not_for_this_user(tmp_path: Path) -> None:
    reachable(tmp_path)
    leave(tmp_path / "inbox/.diode", health=a_health())
    (tmp_path / "inbox/.diode").chmod(0o700)
    with unprivileged(), pytest.raises(NoState, match="user's alone"):
        reading_health.find(str(tmp_path / "inbox"))
    (tmp_path / "inbox/.diode").chmod(0o755)
    (tmp_path / "inbox/.diode/health.json").chmod(0o600)
    with unprivileged(), pytest.raises(NoState, match="cannot be read"):
        reading_health.load(str(tmp_path / "inbox/.diode"))


def test_a_sender(tmp_path: Path) -> None:
    sending = Sending(NOW, NOW, "0badcafe", ["-"], True, 9, 99, 0, 3, 2, 0, [], [], [])
    assert reading_health.load_sender(str(tmp_path)) is None
    leave(tmp_path, sending=sending)
    read = reading_health.load_sender(str(tmp_path))
    assert read is not None
    assert read.sending == sending
