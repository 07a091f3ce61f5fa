"""What becomes of whole objects: one place at a time, each counted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from inboxes import tree
from pair import BytesSource, content
from sessions import BIG, Carrier, capture, cut, run, session_of

from diode.errors import DestinationError
from diode.events import Key
from diode.incoming import Course
from diode.limits import Limits
from diode.objects import Manifest
from diode.ordering import Strict
from diode.plan import Settings
from diode.service.deliveries import REUSED
from diode.service.disk import Beside
from diode.service.receiver import Stop
from diode.sink import Delivered
from diode.sink.folder import Inbox


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(str(tmp_path / "inbox"))
    yield inbox
    inbox.close()


def test_delivered_object_is_known_when_it_comes_again(inbox: Inbox) -> None:
    data = capture(BIG)
    run(session_of(inbox, data))
    session = session_of(inbox, data)
    assert run(session) == [("known", 1)]
    assert (session.deliveries.known, session.deliveries.delivered) == (1, 0)
    assert run(session_of(inbox, data), count=1) == [("known", 1)]


def voided() -> bytes:
    source = BytesSource(BIG, b"1")
    source.fails_at = 150_000
    return capture(source, settings=Settings(symbol_size=64, burst=0))


def test_void_object_is_not_delivered(tmp_path: Path, inbox: Inbox) -> None:
    session = session_of(inbox, voided())
    assert run(session) == [("refused", 1, "void: its source failed")]
    assert (session.deliveries.refused, session.deliveries.delivered) == (1, 0)
    assert tree(tmp_path / "inbox", ".diode") == {}
    assert list(inbox.unfinished()) == []


@pytest.mark.parametrize("wrong", [[], [3]])
def test_wrong_digest_waits_for_the_next_pass(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, wrong: list[int]
) -> None:
    real, answers = inbox.deliver, iter([wrong])
    part_of = inbox._parts

    def deliver(key: Key, manifest: Manifest, course: Course) -> Delivered | list[int]:
        answer = next(answers, None)
        if answer is None:
            return real(key, manifest)
        part = part_of[key]
        part.begin_anew() if not answer else part.done.__setitem__(answer, False)
        return answer

    monkeypatch.setattr(inbox, "deliver", deliver)
    data = capture(BIG)
    session = session_of(inbox, data, data)
    assert run(session) == [("refused", 1, "digest"), ("delivered", 1, "1")]
    assert (session.deliveries.refused, session.deliveries.delivered) == (0, 1)
    assert (tmp_path / "inbox/1").read_bytes() == BIG


def test_wrong_digest_and_no_other_pass_is_short(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "deliver", lambda *_: [2])
    session = session_of(inbox, capture(BIG))
    assert run(session) == [("refused", 1, "digest")]
    assert [s.blocks_short for s in session.short()] == [1]


def test_evicted_object_is_told_and_forgotten(tmp_path: Path) -> None:
    inbox = Inbox(str(tmp_path / "inbox"), quota=100_000)
    session = session_of(inbox, *cut(capture(BIG, b"small")))
    said = run(session)
    assert ("delivered", 2, "2") in said
    refusals = [s for s in said if s[0] == "refused"]
    assert refusals
    assert {(number, "quota" in why) for _, number, why in refusals} == {(1, True)}
    assert session.deliveries.refused == len(refusals)
    session.deliveries.evicted(Key(9, 9), "never heard of")
    assert session.deliveries.refused == len(refusals)
    inbox.close()


def test_an_object_that_is_being_delivered_may_be_forgotten(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests push it out of memory while the disk is slow: it is whole all the same."""
    real, heard_more = inbox.deliver, threading.Event()

    def slow(key: Key, manifest: Manifest, course: Course) -> Delivered | list[int] | None:
        assert heard_more.wait(20)
        return real(key, manifest, course)

    def pieces() -> Iterator[bytes | None]:
        yield capture(BytesSource(b"one", b"one"))
        while not session.deliveries.delivering:
            yield None
        yield capture(BytesSource(b"two", b"two"), first=2)
        heard_more.set()

    monkeypatch.setattr(inbox, "deliver", slow)
    session = session_of(inbox, limits=Limits(objects=1))
    session.carrier = Carrier(pieces(), session.clock)
    session.disk = Beside()
    try:
        assert run(session) == [("delivered", 1, "one"), ("delivered", 2, "two")]
    finally:
        session.disk.close()
    assert (session.deliveries.delivered, session.deliveries.refused) == (2, 0)


def test_objects_the_receiver_forgot_leave_the_disk_too(tmp_path: Path, inbox: Inbox) -> None:
    pieces = []
    for number in range(1, 31):
        frames = capture(content(5000, number), first=number).split(b"\0")
        pieces.append(b"\0".join(frames[: len(frames) // 2]) + b"\0")
    session = session_of(inbox, *pieces, limits=Limits(objects=5))
    said = run(session)
    assert {s[0] for s in said} == {"refused"}
    assert sorted(number for _, number, _ in said) == list(range(1, 26))
    assert "unfinished objects" in said[0][2]
    assert session.deliveries.refused == 25
    parts = tmp_path / "inbox/.diode/parts"
    assert len(list(parts.iterdir())) == 5
    assert len(session.short()) == 5
    again = session_of(inbox, limits=Limits(objects=5))
    run(again)
    assert len(again.short()) == 5


def ordered(inbox: Inbox, *pieces: bytes | float | None, patience: float | None = None):
    session = session_of(inbox, *pieces)
    session.order = Strict(inbox.delivered_up_to, patience)
    return session


def test_each_is_in_one_place_at_a_time(inbox: Inbox) -> None:
    """3 and 2 come before 1: both are held, and then all three leave in order."""
    session = ordered(inbox, *(capture(b"%d" % n, first=n) for n in (1, 4, 3, 2)))
    said = run(session)
    deliveries = session.deliveries
    order = [number for what, number, *_ in said if what == "delivered"]
    assert order == [1, 2, 3, 4]
    assert [number for what, number, *_ in said if what == "held"] == [4, 3]
    assert not (deliveries.held or deliveries.waiting or deliveries.delivering)
    assert not (deliveries.unanswered or deliveries.homeless)
    assert (deliveries.done, deliveries.under_way) == (4, 0)


def test_one_that_comes_too_late_for_its_turn_is_refused(tmp_path: Path, inbox: Inbox) -> None:
    begun, rest = cut(capture(BIG, first=2), 100_000)[0], capture(BIG, first=2)
    numbered = (capture(b"%d" % n, first=n) for n in (1, 3))
    session = ordered(inbox, begun, *numbered, 9.0, None, rest, patience=5.0)
    said = run(session)
    assert said[-1] == ("refused", 2, "out of order: later ones came before")
    assert ("gave up", 2, 2) in said
    assert (session.deliveries.delivered, session.deliveries.refused) == (2, 1)
    assert sorted(tree(tmp_path / "inbox", ".diode")) == [b"1", b"3"]


def test_a_ledger_that_cannot_be_asked_is_asked_again(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int | None] = [None, None, 0]

    def up_to(_sender: int) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise DestinationError("the ledger is busy")
        return answer

    monkeypatch.setattr(inbox, "delivered_up_to", up_to)
    session = ordered(inbox, capture(b"1"), *[2.0, None] * 3)
    assert [what for what, *_ in run(session)] == ["trouble", "delivered"]
    assert session.unwritten == 2
    assert (tmp_path / "inbox/1").read_bytes() == b"1"


def test_a_number_with_other_content_is_refused(inbox: Inbox) -> None:
    run(session_of(inbox, capture(b"first content")))
    session = session_of(inbox, capture(b"other content"))
    assert run(session) == [("refused", 1, REUSED)]
    assert (session.deliveries.refused, session.deliveries.known) == (1, 0)


def test_what_has_no_room_when_announced_is_announced_again(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full = inbox.announce, [True]

    def announce(*args: object) -> bool:
        if full[0]:
            raise DestinationError("full")
        return real(*args)

    monkeypatch.setattr(inbox, "announce", announce)
    session = session_of(inbox, capture(BIG))
    assert [what for what, *_ in run(session)] == ["trouble"]
    assert (session.deliveries.homeless, session.no_room) == ({Key(7, 1)}, True)
    full[0] = False
    session.carrier = Carrier([capture(BIG)], session.clock)
    session.run(Stop())
    assert (session.deliveries.homeless, session.no_room) == (set(), False)
    assert (tmp_path / "inbox/1").read_bytes() == BIG


def test_one_that_waits_for_the_disk_counts_as_one_asked_for(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> Delivered:
        raise DestinationError("full")

    monkeypatch.setattr(inbox, "deliver", full)
    session = session_of(inbox, capture(b"1"), capture(b"2", first=2))
    run(session, count=1)
    assert (session.deliveries.done, session.deliveries.under_way) == (0, 1)
    assert list(session.deliveries.waiting) == [Key(7, 1)]
    assert session.line_bytes == len(capture(b"1")), "the second is not listened to"
