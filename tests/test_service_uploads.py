"""What is asked of an uploader, when it is asked again, and when waiting makes no sense."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

import pytest
from buckets import wait_for
from inboxes import Thing, some

from diode.errors import DestinationError, UsageError
from diode.events import Key
from diode.service.disk import AtOnce
from diode.service.uploads import AHEAD, LONGEST, PATIENCE, TOLD, Process, Uploads
from diode.sink.outbox import Outbox
from diode.sink.uploader import Failed, Ready, Stored


@dataclass
class Scripted:
    """An uploader that answers what the test says."""

    at_once: int = 2
    ended: bool = False
    asked: list = field(default_factory=list)
    coming: list = field(default_factory=list)

    def ask(self, request) -> None:
        self.asked.append(request)

    def answers(self) -> list:
        answers, self.coming = self.coming, []
        return answers

    def wait(self, seconds: float) -> None:
        """No time passes but what the test says."""


@dataclass
class Heard:
    """Who is told."""

    delivered: list = field(default_factory=list)
    troubles: list = field(default_factory=list)
    notices: list = field(default_factory=list)
    left: list = field(default_factory=list)

    def leaving(self, path, at) -> None:
        self.left.append((path, at))

    def stored(self, facts, answer) -> None:
        self.delivered.append((facts["name"], answer.at))

    def trouble(self, error, waiting) -> None:
        self.troubles.append((str(error), waiting))

    def notice(self, text) -> None:
        self.notices.append(text)


class Bench:
    """Uploads of an outbox with some files in it, and a clock that the test turns."""

    def __init__(self, folder, count: int = 1, process=None) -> None:
        self.now = 0.0
        self.outbox = Outbox(str(folder / "st"), mode=0o440)
        self.process = process or Scripted()
        self.heard = Heard()
        self.uploads = Uploads(
            self.process, self.heard, AtOnce(), self.outbox, clock=lambda: self.now
        )
        for number in range(1, count + 1):
            self.give(f"file-{number}", number)

    def give(self, name: str, number: int, seed: int | None = None) -> None:
        thing = Thing(some(100, seed or number), name=name.encode(), key=Key(7, number))
        given = thing.give(self.outbox)
        self.uploads.add({"name": name, "path": given.path, "size": 100, "sha256": given.sha256})

    def step(self, *answers, after: float = 0.0) -> list[str]:
        """What is asked for after these answers."""
        self.now += after
        self.process.coming += answers
        before = len(self.process.asked)
        self.uploads.step()
        return [request.path for request in self.process.asked[before:]]

    @property
    def last(self) -> int:
        return self.process.asked[-1].number

    def fail(self, number: int | None = None, *, refused: bool = False, after: float = 0.0) -> None:
        self.step(Failed(number or self.last, "why", "do", refused), after=after)


def stored(number: int, name: str = "x") -> Stored:
    return Stored(number, f"s3://b/{name}", "00", duplicate=False)


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(count: int = 1, process=None) -> Bench:
        made.append(Bench(tmp_path, count, process))
        return made[-1]

    yield make
    for one in made:
        one.outbox.close()


def test_what_is_stored_leaves_the_outbox_and_is_told(bench):
    one = bench()
    assert one.step() == ["file-1"]
    assert os.listdir(one.outbox.path) == ["file-1"]
    assert one.step(stored(1, "in/file-1")) == []
    assert os.listdir(one.outbox.path) == []
    assert one.heard.delivered == [("file-1", "s3://b/in/file-1")]
    assert (one.uploads.waiting, one.outbox.elsewhere) == (0, 0)


def test_so_many_are_asked_for_that_none_waits_for_the_next_step(bench):
    one = bench(20)
    assert len(one.step()) == 2 * AHEAD
    assert one.step(stored(1), stored(2)) == [f"file-{2 * AHEAD + 1}", f"file-{2 * AHEAD + 2}"]


def test_while_nothing_succeeds_one_is_tried_at_a_time_and_later_each_time(bench):
    one = bench(3)
    assert len(one.step()) == 3
    one.fail(1)
    one.fail(2)
    one.fail(3)
    assert one.step() == []
    assert one.step(after=3.9) == []
    assert one.step(after=0.2) == ["file-1"]
    for expected in (8, 16, 32, LONGEST, LONGEST):
        one.fail()
        assert one.step(after=expected - 0.1) == []
        assert len(one.step(after=0.2)) == 1
    assert len(one.step(stored(one.last))) == 2  # it is back: all that is left
    assert one.heard.delivered == [("file-3", "s3://b/x")]


def test_trouble_is_told_once_and_once_a_minute(bench):
    one = bench()
    one.step()
    one.fail()
    assert one.heard.troubles == [("why", 1)]
    while one.now < TOLD:
        one.step(after=1.0)
        if len(one.heard.troubles) > 1:
            break
        one.fail(after=0.1)
    for _ in range(6):
        one.step(after=LONGEST)
        one.fail()
    assert 2 <= len(one.heard.troubles) <= 8


def test_what_the_store_never_takes_does_not_stand_in_the_way(bench):
    one = bench(3)
    one.step()
    one.fail(1, refused=True)
    assert one.step(stored(2), stored(3)) == []
    assert [name for name, _ in one.heard.delivered] == ["file-2", "file-3"]
    assert one.step(after=1.1) == ["file-1"]
    one.fail(refused=True)
    one.give("file-4", 4)
    assert one.step(after=1.1) == ["file-4"]  # before the other one's two seconds are over


def test_a_worker_begun_anew_is_asked_again_and_late_answers_are_nobodys(bench):
    one = bench(2)
    one.step()
    assert one.step(Ready(2, [], []), stored(1, "late")) == ["file-1", "file-2"]
    assert one.heard.delivered == []
    assert "begun anew" in one.heard.notices[0]
    one.step(stored(3), stored(4))
    assert one.uploads.waiting == 0


def test_two_objects_of_one_content_and_name_are_both_told(bench):
    one = bench()
    one.give("file-1", 2, seed=1)  # as the sink has it: a duplicate of what waits
    one.step()
    one.step(stored(1))
    assert one.heard.delivered == 2 * [("file-1", "s3://b/x")]
    assert one.uploads.stored == 2


def test_what_somebody_took_out_is_not_waited_for(bench):
    one = bench()
    one.step()
    one.step(Failed(1, "it is not in the outbox any more", gone=True))
    assert one.uploads.waiting == 0
    assert one.heard.notices == ["file-1 is not uploaded: it is not in the outbox any more"]
    with pytest.raises(DestinationError, match="does not have 1 as it came"):
        one.uploads.finish(lambda: False)


def test_the_end_waits_for_a_store_that_is_away_but_not_for_ever(bench):
    one = bench()
    one.step()
    one.fail()
    one.now += PATIENCE - 1
    assert not one.uploads.hopeless
    one.now += 2
    with pytest.raises(DestinationError, match=r"\(1 in the outbox\): why"):
        one.uploads.finish(lambda: False)


def test_the_end_does_not_wait_for_a_store_that_refuses(bench):
    one = bench(5)
    one.step()
    one.fail(1, refused=True)
    assert not one.uploads.hopeless  # it may be that file
    one.fail(2, refused=True)
    one.fail(3, refused=True)
    with pytest.raises(DestinationError, match=r"\(5 in the outbox\)"):
        one.uploads.finish(lambda: False)
    one.uploads.finish(lambda: True)  # somebody does not want to wait


def test_without_a_process_the_outbox_keeps_it(bench):
    one = bench()
    one.process.ended = True
    one.step()
    assert one.heard.troubles == [("the process that uploads has ended", 1)]
    with pytest.raises(DestinationError, match="has ended"):
        one.uploads.finish(lambda: False)
    assert os.listdir(one.outbox.path) == ["file-1"]


# The process ------------------------------------------------------------------------------------


def worker_of(process: Process) -> int | None:
    with open(f"/proc/{process.number}/task/{process.number}/children", encoding="ascii") as file:
        words = file.read().split()
    return int(words[0]) if words else None


@pytest.mark.parametrize("noted", ["nothing", "another", "it"])
def test_what_an_earlier_run_left_must_be_what_the_ledger_knows(bench, noted):
    uploads = bench(0)
    thing = Thing(some(100, 1), name=b"a", key=Key(7, 1))
    sha256 = thing.give(uploads.outbox).sha256
    fact = {"name": "a", "path": "a", "size": 100, "signed_by": "me"}
    notes = {"nothing": {}, "another": {"a": [fact | {"sha256": "00"}]}}
    facts = notes.get(noted, {"a": [fact | {"sha256": sha256}]})
    uploads.uploads.left(uploads.outbox.waiting(), facts)
    assert uploads.step() == ["a"]
    assert uploads.process.asked[-1].sha256 == sha256
    (told,) = uploads.uploads.files()[0].facts
    assert told["sha256"] == sha256
    assert ("signed_by" in told) is (noted == "it")
    assert (told.get("number") == 1) is (noted != "it")


def test_a_real_process_stores_and_is_begun_anew_when_it_dies(bench, tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    os.makedirs(tmp_path / "st/outbox")
    process = Process(f"file://{tmp_path}/store", str(tmp_path / "st/outbox"), "auto")
    try:
        one = bench(3, process)
        one.uploads.finish(lambda: False)
        assert sorted(os.listdir(tmp_path / "store")) == ["file-1", "file-2", "file-3"]
        first = worker_of(process)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: worker_of(process) not in (None, first))
        one.give("file-4", 4)
        one.uploads.finish(lambda: False)
        assert (tmp_path / "store/file-4").read_bytes() == some(100, 4)
    finally:
        process.close()
    wait_for(lambda: not os.path.exists(f"/proc/{process.number}"))


def test_a_process_that_cannot_be_of_use_says_why(tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    with pytest.raises(UsageError, match="nonsense") as caught:
        Process("nonsense://x", str(tmp_path), "auto")
    assert caught.value.hint
