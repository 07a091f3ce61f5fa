"""What a killed sender was sending is found again; nothing is left out that may not have left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from inboxes import descriptors
from pair import BytesSource, Listener, content
from ptys import FakeTime

from diode import line
from diode.assembly import describe
from diode.errors import DestinationError
from diode.frame import Frames
from diode.group import Place
from diode.plan import Link, Settings
from diode.sent import ObjectSent, SourceFailed
from diode.service import resuming
from diode.service.lanes import Lane
from diode.service.logbook import (
    HELD,
    MOST_RUNS,
    PREFIX,
    SLOT,
    Entry,
    Logbook,
    Reached,
    Run,
    RunLog,
    key_of,
)
from diode.service.resuming import encoded, queue
from diode.service.sender import transmit
from diode.transmitter import Transmitter

SENDER = 7
LINK = Link(rate=11_520)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def opened(folder: int, said: list[str] | None = None, number: int = 99) -> Logbook:
    return Logbook(folder, SENDER, number, (said if said is not None else []).append)


def run(number: int = 1, about: str = "a") -> Run:
    manifest = describe(BytesSource(content(5000), mtime=-5), Settings(), LINK)
    other = encoded(describe(BytesSource(b"", b"\xff"), Settings(), LINK))
    return Run(SENDER, about, [Entry(number, encoded(manifest)), Entry(number + 1, other)])


def place(block: int) -> Place:
    return Place(2, 1, block, 123, 45)


def test_a_run_is_found_again_under_its_key(folder: int) -> None:
    book = opened(folder)
    assert (book.find("k"), book.runs, book.frames) == (None, [], 0)
    log = book.begin("k", run(), Reached(frames=500, place=place(3)))
    log.close(500, finished=False)
    found = opened(folder).find("k")
    assert found is not None
    assert found.run == run()
    assert (found.reached.frames, found.reached.place) == (500, place(3))
    assert opened(folder).frames == 500
    assert opened(folder).find("j") is None
    assert os.listdir(folder) == [f"{PREFIX}k"]
    assert os.stat(f"{PREFIX}k", dir_fd=folder).st_mode & 0o177 == 0


def test_what_is_finished_or_forgotten_is_gone(folder: int) -> None:
    before = descriptors()
    opened(folder).begin("k", run(), Reached()).close(9, finished=True)
    assert os.listdir(folder) == []
    opened(folder).begin("k", run(), Reached()).close(9, finished=False)
    book = opened(folder)
    book.forget(f"{PREFIX}k")
    assert (os.listdir(folder), book.runs) == ([], [])
    assert descriptors() == before


def test_keys_differ_with_every_part() -> None:
    parts = ([b"/a\xff"], "name", "serial:x", "cobs", (Settings(), 11_520.0, None))
    keys = {key_of(*parts)}
    for at in range(len(parts)):
        other = list(parts)
        other[at] = "else"
        keys.add(key_of(*other))
    keys.add(key_of(*parts[:-1], (Settings(passes=2), 11_520.0, None)))
    assert len(keys) == len(parts) + 2
    assert key_of(*parts) in keys


def test_list_is_durable_before_anything_is_sent(
    folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def noted(*args, name: str = name, real=real, **kwargs):
            steps.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, noted)
    log = opened(folder).begin("k", run(), Reached())
    assert steps == ["write", "fsync", "rename", "fsync"]
    log.going(10)
    log.handed(100, place(1))
    log.wrote(100)
    assert steps[4:] == [], "how far it has come is not synced"
    log.close(10, finished=True)
    assert steps[4:] == ["fsync"]


@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
def test_a_list_that_cannot_be_kept_sends_nothing(
    folder: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    book, before = opened(folder), descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(DestinationError, match="No space left"):
            book.begin("k", run(), Reached())
    assert descriptors() == before
    assert opened(folder).runs == []


def test_a_disk_that_does_not_take_the_place_stops_no_sending(
    folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = opened(folder, said).begin("k", run(), Reached())

    def fail(*_args: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", fail)
    log.going(10)
    log.going(1000)
    log.void(1)
    assert len(said) == 1
    assert "cannot be written down" in said[0]
    monkeypatch.setattr(os, "fsync", fail)
    log.void(2)
    assert "state folder" in said[1]
    log.close(1000, finished=False)


# Time -------------------------------------------------------------------------------------------


def found_place(folder: int) -> Place | None:
    found = opened(folder).find("k")
    assert found is not None
    return found.reached.place


def test_a_place_counts_when_its_bytes_have_left(folder: int) -> None:
    time = FakeTime()
    log = opened(folder).begin("k", run(), Reached(), time.clock)
    kept = {}
    for second in range(8):
        log.going(second * 100)
        log.handed(second * 1000, place(second))
        log.wrote(second * 1000)
        reached = found_place(folder)
        kept[second] = reached.block if reached else None
        time.sleep(1.0)
    for second, block in kept.items():
        assert block is None or block <= second - HELD
    assert kept[7] == 5


def test_a_place_waits_until_the_carrier_has_taken_its_bytes(folder: int) -> None:
    time = FakeTime()
    log = opened(folder).begin("k", run(), Reached(), time.clock)
    log.handed(1000, place(1))
    log.handed(2000, place(2))
    for _ in range(9):
        log.wrote(1999)  # a batch that is not full yet
        time.sleep(1.0)
    assert found_place(folder) == place(1)
    for _ in range(9):
        log.wrote(2000)
        time.sleep(1.0)
    assert found_place(folder) == place(2)


def test_frames_are_counted_before_they_are_sent(folder: int) -> None:
    time = FakeTime()
    log = opened(folder).begin("k", run(), Reached(frames=1000), time.clock)
    frames, most = 1000, 0
    for step in range(3000):
        frames += 1 + step % 7
        log.going(frames)
        ahead = opened(folder).frames - frames if step % 50 == 0 else 0
        assert ahead >= 0, "a number that was used could be used again"
        most = max(most, ahead)
        log.wrote(0)
        time.sleep(0.01)
    assert 0 < most < 3 * 400, "no more than what follows in a second or two"
    log.close(frames, finished=False)
    assert opened(folder).frames == frames


def test_an_idle_disk(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """About a write a second, however many frames there are."""
    time, written = FakeTime(), []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *a: written.append(a[2]) or real(*a))
    log = opened(folder).begin("k", run(), Reached(), time.clock)
    for step in range(100_000):
        log.going(step * 1000)
        log.wrote(0)
        time.sleep(0.001)
    assert 100 <= len(written) < 150
    assert set(written) == {0, SLOT}


# Damage -----------------------------------------------------------------------------------------


def held(folder: int, tmp_path: Path) -> bytes:
    log = opened(folder).begin("k", run(), Reached(frames=1, place=place(1)))
    log.going(100)
    log.close(120, finished=False)
    return (tmp_path / f"{PREFIX}k").read_bytes()


def test_cut_short_anywhere(folder: int, tmp_path: Path) -> None:
    whole = held(folder, tmp_path)
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / f"{PREFIX}k").write_bytes(whole[:length])
        said: list[str] = []
        assert opened(folder, said).runs == []
        (aside,) = tmp_path.iterdir()
        assert aside.name.startswith("corrupt-")
        assert aside.read_bytes() == whole[:length]
        assert "cannot be read" in said[0]
        aside.unlink()


def test_flipped_anywhere(folder: int, tmp_path: Path) -> None:
    whole = held(folder, tmp_path)
    places = set()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        (tmp_path / f"{PREFIX}k").write_bytes(flipped)
        found = opened(folder).find("k")
        if found is None:
            assert at >= 2 * SLOT
        else:
            assert found.run == run()
            assert found.reached.place == place(1)
            places.add(found.reached.frames)
        for path in tmp_path.iterdir():
            path.unlink()
    assert places == {298, 120}, "where one line is damaged, the other counts"


@pytest.mark.parametrize(
    "entries",
    [
        [Entry(1, b"\0\xff")],
        [Entry(1, b"\x91" * 60_000)],
        [Entry(n, encoded(describe(BytesSource(b""), Settings(), LINK))) for n in (1, 1)],
    ],
    ids=["no manifest", "deep", "a number twice"],
)
def test_a_run_that_cannot_be_gone_on_with(folder: int, entries: list[Entry]) -> None:
    """Its check is right, so another program wrote it."""
    opened(folder).begin("k", Run(SENDER, "a", entries), Reached()).close(0, finished=False)
    said: list[str] = []
    assert opened(folder, said).runs == []
    assert "cannot be read" in said[0]


def test_both_places_lost_begins_the_first_pass_anew(folder: int, tmp_path: Path) -> None:
    whole = held(folder, tmp_path)
    (tmp_path / f"{PREFIX}k").write_bytes(bytes(2 * SLOT) + whole[2 * SLOT :])
    found = opened(folder).find("k")
    assert found is not None
    assert (found.run, found.reached) == (run(), Reached())


@pytest.mark.parametrize(("sender", "number"), [(SENDER + 1, 99), (SENDER, 1)])
def test_another_identity_does_not_go_on(folder: int, sender: int, number: int) -> None:
    """The numbers are not its own: it was drawn anew, or comes from an older backup."""
    opened(folder).begin("k", run(), Reached()).close(0, finished=False)
    said: list[str] = []
    assert Logbook(folder, sender, number, said.append).runs == []
    assert said == ["not finished, by an earlier identity of this sender: a"]
    assert os.listdir(folder) == []


def test_a_file_that_was_not_put_in_place_is_removed(folder: int, tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}k.new").write_bytes(b"half")
    assert opened(folder).runs == []
    assert os.listdir(folder) == []


def test_unfinished_runs_are_bounded(folder: int) -> None:
    book = opened(folder)
    for n in range(MOST_RUNS + 2):
        book.begin(f"{n:02}", run(2 * n + 1, f"run {n}"), Reached()).close(0, finished=False)
    said: list[str] = []
    left = opened(folder, said).runs
    assert [u.run.about for u in left] == [f"run {n}" for n in range(2, MOST_RUNS + 2)]
    assert said == [f"too many runs were not finished, forgetting one: run {n}" for n in (0, 1)]


# Taking up --------------------------------------------------------------------------------------

SETTINGS = Settings(passes=3, redundancy=0.3)


class Reserve:
    def __init__(self, first: int) -> None:
        self.next = first

    def __call__(self, count: int) -> int:
        self.next += count
        return self.next - count


def described(*things: BytesSource) -> list:
    return [(thing, describe(thing, SETTINGS, LINK)) for thing in things]


class Killed(Exception):
    pass


class Kept:
    """A carrier in memory that is killed after so many writes."""

    rate = 11_520.0

    def __init__(self, writes: int | None = None) -> None:
        self.data = bytearray()
        self._left = writes

    def write(self, pieces: Frames) -> None:
        if self._left == 0:
            raise Killed
        if self._left is not None:
            self._left -= 1
        self.data += bytes(pieces.data)

    def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


def sent(folder: int, things: list[BytesSource], first: int, writes: int | None = None) -> tuple:
    """A run of these, on from where the last one was; what went out, events, the queue."""
    found = opened(folder).find("k")
    made = queue(found, described(*things), SETTINGS.passes, Reserve(first))
    transmitter = Transmitter(SENDER, SETTINGS, LINK, frames_before=opened(folder).frames)
    made.fill(transmitter)
    reached = found.reached if found else Reached(frames=transmitter.frames_sent)
    if reached.place:
        transmitter.go_on(reached.place)
    time = FakeTime()
    log = opened(folder).begin("k", Run(SENDER, "a", made.entries), reached, time.clock)
    carrier = Kept(writes)
    try:
        transmit(
            transmitter,
            Lane(line.encoder("cobs"), carrier),
            log=log,
            clock=time.clock,
            shown=lambda: time.sleep(0.05),
        )
        log.close(transmitter.frames_sent, finished=True)
    except Killed:
        os.close(log._descriptor)  # nothing more is written
    return carrier.data, transmitter.events(), made


def heard(*parts: bytes) -> Listener:
    import numpy as np

    decoder, listener = line.decoder("cobs"), Listener()
    for part in parts:
        rows = decoder.feed(np.frombuffer(bytes(part), np.uint8)) + decoder.flush()
        listener.take(listener.receiver.receive(rows, 0.0))
    return listener


def test_killed_again_and_again_costs_a_few_seconds_each_time(folder: int) -> None:
    things = [BytesSource(content(n, n), b"%d" % n) for n in (9000, 20_000, 0, 6000)]
    whole, _, _ = sent(folder, things, 1)
    parts, killed = [], 0
    while True:
        part, events, made = sent(folder, things, 1, writes=140)
        parts.append(part)
        if not opened(folder).runs:
            break
        killed += 1
        assert [e.number for e in made.entries] == [1, 2, 3, 4]
    listener = heard(*parts)
    assert killed > 2
    assert sorted(k.number for k in listener.delivered) == [1, 2, 3, 4]
    again = sum(map(len, parts)) - len(whole)
    assert 0 < again < killed * LINK.rate * (HELD + 1.5) + 1000
    reception = listener.receiver.senders[SENDER]
    assert reception.lost < 300 * killed, "a leap of the count, and not half of 65,536"
    assert len(events) >= 1


def test_what_changed_is_withdrawn_and_sent_under_a_new_number(folder: int) -> None:
    same, old = BytesSource(content(9000), b"same"), BytesSource(content(9000, 2), b"changed")
    gone, after = BytesSource(content(3000, 3), b"gone"), BytesSource(content(5000, 5), b"after")
    first, _, _ = sent(folder, [old, same, gone, after], 1, writes=60)
    new = BytesSource(content(9000, 4), b"changed")
    second, events, made = sent(folder, [new, same, after], 5)
    assert made.withdrawn == {1, 3}
    assert [(e.number, e.since) for e in made.entries] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]
    assert [e.number for e in events if isinstance(e, SourceFailed)] == [1, 3]
    listener = heard(first, second)
    contents = {k.number: v for k, v in listener.delivered.items()}
    assert {n: contents[n] for n in (2, 4, 5)} == {
        2: same.content,
        4: after.content,
        5: new.content,
    }
    assert opened(folder).runs == []


def test_what_joined_later_gets_as_many_passes(folder: int) -> None:
    old = BytesSource(content(9000))
    found = made_by(old, pass_=3)
    made = queue(found, described(old, BytesSource(b"new")), 3, Reserve(2))
    assert [(e.number, e.since) for e in made.entries] == [(1, 1), (2, 3)]
    transmitter = Transmitter(SENDER, SETTINGS, LINK)
    made.fill(transmitter)
    transmitter.go_on(found.reached.place)
    while transmitter.step(0.0) is not None:
        pass
    sent = [e for e in transmitter.events() if isinstance(e, ObjectSent)]
    assert [(e.number, e.passes) for e in sent] == [(1, 3), (2, 3)]
    assert transmitter.progress.number_of_pass == 5


def made_by(source: BytesSource, pass_: int):
    from diode.service.logbook import Unfinished

    entries = [Entry(1, encoded(describe(source, SETTINGS, LINK)))]
    return Unfinished("x", Run(SENDER, "", entries), Reached(1, 1, Place(pass_, 1, 0, 0)))


def test_what_had_its_passes_is_not_sent_again() -> None:
    old, young = BytesSource(content(9000)), BytesSource(b"young")
    found = made_by(old, pass_=4)
    found.run.entries.append(Entry(2, encoded(describe(young, SETTINGS, LINK)), since=3))
    found.reached.place = Place(4, 2, 0, 0)
    made = queue(found, described(old, young), 3, Reserve(3))
    assert set(made.sources) == {2}
    assert [e.number for e in made.entries] == [1, 2]


def test_a_void_object_stays_void_when_its_content_is_back() -> None:
    old = BytesSource(content(9000))
    found = made_by(old, pass_=1)
    found.run.entries[0].void = True
    made = queue(found, described(old), 3, Reserve(2))
    assert made.withdrawn == {1}
    assert made.sources[2] is old
    assert isinstance(made.sources[1], resuming.Withdrawn)


def test_two_of_one_content_and_name_stay_two() -> None:
    pair = [BytesSource(b"x", b"n"), BytesSource(b"x", b"n")]
    first = queue(None, described(*pair), 3, Reserve(1))
    assert sorted(first.sources) == [1, 2]
    found = made_by(pair[0], 1)
    second = queue(found, described(*pair), 3, Reserve(2))
    assert [e.number for e in second.entries] == [1, 2]
    assert second.withdrawn == set()


def test_void_is_kept_with_the_place(folder: int) -> None:
    log: RunLog = opened(folder).begin("k", run(), Reached(frames=3, place=place(2)))
    log.void(2)
    log.void(77)
    log.going(50)
    log.close(50, finished=False)
    found = opened(folder).find("k")
    assert found is not None
    assert [e.void for e in found.run.entries] == [False, True]
    assert (found.reached.frames, found.reached.place) == (50, place(2))
