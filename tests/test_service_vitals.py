"""The vital signs of a session: what happens on a line, second by second, and what is told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pair import BytesSource, content, dropping, everything
from sessions import SMALL, Carrier, Clock, Observer, capture, cut, on_line

from diode import frame, line
from diode.health import Alarm, Health, LinkState, Numbers
from diode.keyring import Keyring
from diode.limits import Limits
from diode.plan import Link, Settings
from diode.seal import SecretKey
from diode.service import reading_health, snapshots
from diode.service.disk import Beside
from diode.service.examining import About
from diode.service.receiver import Session, Stop
from diode.service.vitals import Vitals
from diode.sink import records
from diode.sink.folder import Inbox
from diode.transmitter import Transmitter

PIECE = 2000


class Watch:
    """A session with vital signs; time is what its carrier lets pass."""

    def __init__(self, folder: Path, *, silence: float | None = None, wall: float = 1e9) -> None:
        self.folder = folder
        self.inbox = Inbox(str(folder / "in"), quota=10**9)
        self.clock = Clock()
        self.healths: list[Health] = []
        self.told: list[tuple[str, bool]] = []
        self.observer = Observer()
        self.figures = {"kernel_dropped": 3, "dropped_bytes": 5}
        about = About(self.inbox.state, ("file:x",), "in", 10**9, silence, "boot")
        self.vitals = Vitals(
            self.observer,
            self.state,
            str(folder / "in"),
            about,
            held=lambda: self.inbox.held,
            figures=lambda _: self.figures,
            told=(self._tell,),
            sinks=(self.healths.append,),
            wall=lambda: wall + self.clock.now,
        )

    @property
    def state(self) -> str:
        return str(self.folder / "in/.diode")

    def _tell(self, alarm: Alarm, raised: bool) -> None:
        assert alarm.text and alarm.hint
        self.told.append((alarm.name, raised))

    def run(self, *pieces: bytes | float | None, **parts: object) -> Session:
        carrier = Carrier(pieces, self.clock)
        decoder = line.decoder("cobs")
        session = Session(
            carrier, decoder, self.inbox, self.vitals.observer, clock=self.clock, **parts
        )
        session.disk.tell(session.deliveries.evicted)
        with self.vitals.watching(session):
            session.run(Stop())
        return session

    def close(self) -> None:
        self.vitals.close()
        self.inbox.close()

    def states(self) -> list[LinkState]:
        """Those of the line, each change once."""
        found: list[LinkState] = []
        for health in self.healths:
            if found[-1:] != [health.line.state]:
                found.append(health.line.state)
        return found


@pytest.fixture
def watch(tmp_path: Path) -> Iterable[Watch]:
    watch = Watch(tmp_path)
    yield watch
    watch.close()


def seconds(count: int) -> list[float | None]:
    """Time in which nothing comes, looked at every half second."""
    return [None] * (2 * count)


def numbers(*wanted: int) -> bytes:
    """A sender's line with objects 1 to the highest of these, of which only these come."""
    transmitter = Transmitter(7, SMALL, Link())
    for number in range(1, max(wanted) + 1):
        transmitter.add(number, BytesSource(b"%d" % number * 50, b"%d" % number))
    rows = everything(transmitter)
    heads = [frame.parse_full(row[None]) for row in rows]
    kept = [
        row
        for row, head in zip(rows, heads, strict=True)
        if row[0] & 15 == frame.Kind.HEARTBEAT or int(head.number[0]) in wanted
    ]
    return on_line(kept)


# The line -----------------------------------------------------------------------------------


def test_a_line_that_is_heard_and_ends_well(watch: Watch) -> None:
    watch.run(*seconds(3), *cut(capture(content(20_000)), PIECE), *seconds(600))
    assert watch.states() == [LinkState.UNHEARD, LinkState.ENDED, LinkState.STOPPED]
    assert watch.told == []
    health = watch.vitals.health
    assert health is not None
    assert health.outcomes.delivered == 1
    assert health.well


def test_a_sender_that_vanishes_is_an_alarm_and_its_return_ends_it(watch: Watch) -> None:
    pieces = cut(capture(content(20_000)), PIECE)
    watch.run(*pieces[:3], *seconds(90), *pieces[3:], *seconds(2))
    up, silent, again = LinkState.UP, LinkState.SILENT, LinkState.ENDED
    assert watch.states() == [up, silent, again, LinkState.STOPPED]
    assert watch.told == [("silent", True), ("silent", False)]
    first = next(h for h in watch.healths if h.line.state is silent)
    assert 60 < first.line.silent_seconds < 62
    assert first.line.silent_since == pytest.approx(1e9 + 100, abs=1.5)


def test_a_sender_that_was_replaced_is_no_silence_of_the_line(watch: Watch) -> None:
    first = cut(capture(content(20_000)), PIECE)[:3]
    other = Transmitter(8, SMALL, Link())
    other.add(1, BytesSource(content(5_000), b"other"))
    watch.run(*first, *seconds(90), on_line(everything(other)), *seconds(90))
    up, silent, ended = LinkState.UP, LinkState.SILENT, LinkState.ENDED
    assert watch.states() == [up, silent, ended, LinkState.STOPPED]
    old, new = watch.healths[-1].senders
    assert (old.ended, new.ended) == (False, True)
    assert old.silent_seconds > 170


def test_silence_that_was_configured_counts_whatever_was_said(tmp_path: Path) -> None:
    watch = Watch(tmp_path, silence=5.0)
    watch.run(*seconds(8), *cut(capture(content(5_000)), PIECE), *seconds(8))
    unheard, silent = LinkState.UNHEARD, LinkState.SILENT
    assert watch.states() == [unheard, silent, LinkState.ENDED, silent, LinkState.STOPPED]
    assert watch.told == [("silent", True), ("silent", False), ("silent", True)]
    watch.close()


def test_loss_is_told_over_time(watch: Watch) -> None:
    watch.run(on_line(lossy()), *seconds(1), *seconds(120))
    first, last = watch.healths[1], watch.healths[-1]
    assert first.line.loss.minute == pytest.approx(0.2, abs=0.05)
    assert first.line.loss.minute == first.line.lost / (first.line.lost + first.line.frames)
    assert last.line.loss.minute is None
    assert last.line.loss.hour == last.line.loss.day == first.line.loss.minute
    assert ("losing", True) in watch.told
    assert first.senders[0].loss == first.line.loss
    assert sum(sample.frames for sample in last.line.history) == last.line.frames


def lossy() -> list[np.ndarray]:
    return dropping(0.2, seed=3)(everything_of(content(60_000)))


def everything_of(data: bytes) -> list[np.ndarray]:
    transmitter = Transmitter(7, Settings(symbol_size=64, redundancy=0.6), Link())
    transmitter.add(1, BytesSource(data, b"big"))
    return everything(transmitter)


def test_what_the_medium_counts(watch: Watch) -> None:
    watch.run(b"nothing of that kind\0" * 9, *seconds(1))
    health = watch.healths[-1]
    assert (health.line.kernel_dropped, health.line.dropped_bytes) == (3, 5)
    assert health.line.noise > 0
    assert health.line.bytes == 21 * 9


# Objects ------------------------------------------------------------------------------------


def test_need_of_repair(watch: Watch) -> None:
    watch.run(on_line(lossy()), *seconds(1))
    repair = watch.healths[-1].repair
    assert repair.last is not None
    assert 0.3 < repair.last < 1
    assert repair.last == repair.hour == repair.worst
    (one,) = reading_health.load(watch.state).recent
    assert one.repair == repair.last
    assert one.blocks_decoded == one.blocks > 0
    assert one.parity_used > 0
    assert one.loss == pytest.approx(0.2, abs=0.05)


def test_nothing_lost_needs_no_repair(watch: Watch) -> None:
    watch.run(on_line(everything_of(content(60_000))), *seconds(1))
    assert watch.healths[-1].repair.last == 0.0
    (one,) = reading_health.load(watch.state).recent
    assert (one.loss, one.passes, one.parity_used, one.blocks_decoded) == (0.0, 1, 0, 0)


def test_an_object_under_way(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    pieces = cut(capture(content(20_000), settings=SMALL), PIECE)
    watch.run(*pieces[:5], *seconds(1))
    health = watch.healths[-1]
    (one,) = health.unfinished
    assert (one.sender, one.number, one.name, one.size) == ("00000007", 1, "1", 20_000)
    assert 0 < one.symbols_short < one.symbols
    assert health.stuck and not health.well
    assert health.disk.unfinished > 0
    assert health.disk.free > 0
    watch.close()
    again = Watch(tmp_path)
    again.run(*seconds(1))
    (resumed,) = again.healths[-1].unfinished
    assert resumed.symbols_short == one.symbols_short, "what is on disk counts"
    again.close()


def test_objects_that_never_came(watch: Watch) -> None:
    watch.run(numbers(1, 2, 5, 6, 9), *seconds(2))
    health = watch.healths[-1]
    (sender,) = health.senders
    assert sender.missing == [Numbers(3, 4), Numbers(7, 8)]
    assert (sender.missing_objects, health.missing_objects) == (4, 4)
    assert ("gap", True) in watch.told
    assert not health.well


def test_what_waits_in_the_queue_is_not_missing(watch: Watch) -> None:
    """The second of ten objects is lost; eight more are in the queue."""
    transmitter = Transmitter(7, SMALL, Link())
    for number in range(1, 11):
        transmitter.add(number, BytesSource(b"%d" % number * 5000, b"%d" % number))
    rows = [
        row
        for row in everything(transmitter)
        if row[0] & 15 == frame.Kind.HEARTBEAT or int(frame.parse_full(row[None]).number[0]) != 2
    ]
    half = [on_line(rows[: len(rows) // 2]), on_line(rows[len(rows) // 2 :])]
    watch.run(half[0], *seconds(30), half[1][:2000], *seconds(70), half[1][2000:], *seconds(2))
    early = next(h for h in watch.healths if h.senders)
    (sender,) = early.senders
    assert sender.highest == 10
    assert sender.queued > 3
    assert sender.missing_objects <= 1
    assert watch.healths[-1].senders[0].missing == [Numbers(2, 2)]


def test_what_was_missing_is_known_in_the_next_run_and_comes_at_last(tmp_path: Path) -> None:
    first = Watch(tmp_path)
    first.run(numbers(1, 2, 5), *seconds(2))
    first.close()
    idle = Watch(tmp_path, wall=1e9 + 1000)
    idle.run(*seconds(2))
    (sender,) = idle.healths[-1].senders
    assert sender.missing == [Numbers(3, 4)], "as the run before left it"
    assert sender.frames == 0
    assert idle.told == [], "an alarm that is known does not ring again"
    assert "gap" in [alarm.name for alarm in idle.healths[-1].alarms]
    idle.close()
    other = Watch(tmp_path)
    other.run(numbers(7), *seconds(2))
    (sender,) = other.healths[-1].senders
    assert sender.missing == [Numbers(3, 4), Numbers(6, 6)], "by the ledger"
    other.close()
    last = Watch(tmp_path)
    last.run(numbers(3, 4, 6), *seconds(2))
    assert last.healths[-1].missing_objects == 0
    assert ("gap", False) in last.told
    last.close()


def test_refusals_are_kept_until_the_object_comes(watch: Watch) -> None:
    key = SecretKey.generate("k")
    watch.run(capture(b"x" * 500), *seconds(2), gate=Keyring([key.public]))
    health = watch.healths[-1]
    (one,) = health.refused
    assert (one.sender, one.number, one.name, one.reason) == ("00000007", 1, "1", "unsigned")
    assert health.outcomes.quarantined == 1
    assert watch.told == [("refused", True)]
    with records.opened(watch.state) as ledger:
        assert [r.number for r in ledger.refused(9)] == [1]


# Files --------------------------------------------------------------------------------------


def test_the_file_is_as_small_as_it_is_fresh(watch: Watch) -> None:
    watch.run(*cut(capture(content(20_000)), PIECE), *seconds(60 * 30))
    size = os.path.getsize(os.path.join(watch.state, "health.json"))
    assert size < 4000
    health, recent, _ = reading_health.load(watch.state)
    assert len(health.line.history) >= 30
    last = watch.healths[-1]
    assert health == msgspec.structs.replace(last, clock=health.clock)
    assert [one.number for one in recent] == [1]


def test_history_and_loss_outlive_a_restart(tmp_path: Path) -> None:
    first = Watch(tmp_path)
    first.run(on_line(lossy()), *seconds(200))
    before = first.healths[-1].line
    first.close()
    again = Watch(tmp_path, wall=1e9 + 300)
    again.run(*seconds(2))
    line = again.healths[-1].line
    assert line.loss.hour == pytest.approx(before.loss.hour)
    assert line.loss.minute is None
    assert sum(sample.frames for sample in line.history) == before.frames
    assert line.last_heard == before.last_heard
    again.close()


def test_a_disk_that_takes_nothing_holds_up_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(snapshots, "write", full)
    watch.run(*cut(capture(content(20_000)), PIECE), *seconds(3))
    assert watch.observer.said == [("delivered", 1, "1")]
    assert len(watch.healths) >= 3
    assert watch.healths[-1].outcomes.delivered == 1


def test_beside_a_thread(watch: Watch) -> None:
    disk = Beside()
    watch.run(*cut(capture(content(20_000)), PIECE), *seconds(3), disk=disk)
    disk.close()
    health = reading_health.load(watch.state).health
    assert health.line.state is LinkState.STOPPED
    assert health.outcomes.delivered == 1
    assert health.disk.unfinished == 0


def test_what_ended_a_receiver_is_told(watch: Watch) -> None:
    def breaking() -> Iterable[bytes]:
        yield capture(b"x")
        raise OSError("the port is gone")

    watch.clock.now += 1
    session = Session(
        Carrier(breaking(), watch.clock),
        line.decoder("cobs"),
        watch.inbox,
        watch.vitals.observer,
        clock=watch.clock,
    )
    with pytest.raises(OSError, match="gone"), watch.vitals.watching(session):
        session.run(Stop())
    health = reading_health.load(watch.state).health
    assert health.line.state is LinkState.STOPPED
    assert [(alarm.name, "the port is gone" in alarm.text) for alarm in health.alarms] == [
        ("gone", True)
    ]


def test_all_is_passed_on(watch: Watch) -> None:
    plain = Observer()
    data = [capture(content(5_000)), capture(content(5_000)), None, b""]
    watch.run(*data)
    session = Session(
        Carrier(data, Clock()),
        line.decoder("cobs"),
        Inbox(str(watch.folder / "other")),
        plain,
        Limits(),
        clock=Clock(),
    )
    session.run(Stop())
    assert [type(event) for event in watch.observer.events] == [type(e) for e in plain.events]
    assert watch.observer.said == plain.said
    assert watch.observer.ticks == plain.ticks
