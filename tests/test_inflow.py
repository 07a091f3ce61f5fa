"""What a receiver makes of record frames, whatever they are."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import frame, inflow, record, stamp
from diode.events import FrameRejected, RecordGap, RecordsHeard
from diode.frame import Kind
from diode.inflow import JOINING, PATIENCE, Inflow, Position
from diode.receiver import Receiver
from diode.record import EVERY, LATEST, Record


def rows(records, *, class_=LATEST, stream=1, sender=7, group=0, number=0, code=0, payload=None):
    payload = record.pack(records)[0] if payload is None else payload
    made = frame.blank_rows(1, len(payload))
    frame.fill_full(
        made,
        Kind.RECORD,
        code=code,
        sender=sender,
        number=stream,
        block=group,
        symbol=class_ << 8 | number,
    )
    frame.payload(made)[0] = np.frombuffer(payload, np.uint8)
    return made


class Heard:
    """An inflow, and what came out of it."""

    def __init__(self):
        self.rejected = Counter()
        self.inflow = Inflow(lambda why, count, _: self.rejected.update({why.value: count}))
        self.group = 0

    def take(self, *sequences, now=0.0, topic=b"t", **header):
        self.group += 1
        records = [Record(topic, b"%d" % n, sequence=n) for n in sequences]
        return self.told(self.inflow.take(rows(records, group=self.group, **header), now))

    def told(self, events):
        out = []
        for event in events:
            match event:
                case RecordsHeard():
                    out += [one.sequence for one in event.records]
                case RecordGap():
                    out.append((event.first, event.last))
        return out


@examples(100)
@given(st.lists(st.integers(0, 29), min_size=1, max_size=90), st.booleans())
def test_any_order_and_duplication_gives_what_is_there_once(order, wrapping):
    heard, offset = Heard(), record.SEQUENCES - 10 if wrapping else 1
    heard.inflow.resume([Position(7, b"t", 1, offset)])
    numbers = [(offset + n) % record.SEQUENCES for n in order]
    told = [n for number in numbers for n in heard.take(number, class_=EVERY)]
    there = 0
    while there in order:
        there += 1
    assert told == [(offset + n) % record.SEQUENCES for n in range(there)]
    assert heard.inflow.heard == there


def test_latest_goes_forward_only():
    heard = Heard()
    assert heard.take(5) == [5]
    assert heard.take(3) == []
    assert heard.take(5) == []
    assert heard.take(9, 7) == [9]
    assert heard.inflow.known == 3


def test_latest_over_the_end_of_numbers():
    heard = Heard()
    assert heard.take(record.SEQUENCES - 1) == [record.SEQUENCES - 1]
    assert heard.take(0) == [0]
    assert heard.take(record.SEQUENCES - 1) == []


def test_a_higher_stream_begins_anew_and_a_lower_one_is_old():
    heard = Heard()
    assert heard.take(100, stream=2) == [100]
    assert heard.take(1, stream=3) == [1]
    assert heard.take(101, stream=2) == []
    assert heard.take(2, stream=3) == [2]


def test_classes_have_streams_of_their_own():
    heard = Heard()
    heard.take(1, stream=9)
    assert heard.take(1, class_=EVERY, stream=2) == [1]


def test_a_higher_stream_of_every_tells_what_is_missing_of_the_one_before():
    heard = Heard()
    assert heard.take(1, class_=EVERY) == [1]
    assert heard.take(4, class_=EVERY) == []
    assert heard.take(1, class_=EVERY, stream=2) == [(2, 3), 4, 1]


def test_gap_after_patience():
    heard = Heard()
    heard.take(1, class_=EVERY)
    heard.take(3, class_=EVERY, now=1.0)
    heard.take(6, class_=EVERY, now=2.0)
    assert heard.told(heard.inflow.tick(PATIENCE + 0.9)) == []
    assert heard.told(heard.inflow.tick(PATIENCE + 1.1)) == [(2, 2), 3]
    assert heard.told(heard.inflow.tick(2 * PATIENCE + 1.0)) == []
    assert heard.told(heard.inflow.tick(2 * PATIENCE + 1.2)) == [(4, 5), 6]
    assert heard.take(2, class_=EVERY, now=99.0) == []
    assert heard.inflow.gaps == 3


def test_a_topic_not_heard_of_waits_for_its_first_numbers_a_shorter_time():
    heard = Heard()
    assert heard.take(2, class_=EVERY) == []
    assert heard.take(1, class_=EVERY, now=1.0) == [1, 2]
    assert heard.take(50, class_=EVERY, topic=b"u", now=2.0) == []
    assert heard.told(heard.inflow.tick(2.1 + JOINING)) == [(1, 49), 50]


def test_positions_are_gone_on_from():
    heard = Heard()
    heard.inflow.resume([Position(7, b"t", 4, 10)])
    assert heard.take(8, 9, 10, 11, class_=EVERY, stream=4) == [10, 11]
    assert heard.take(12, class_=EVERY, stream=3) == []


def test_an_old_stream_of_latest_stays_old_over_a_restart():
    heard = Heard()
    heard.inflow.resume([Position(7, b"", 4, 0)])
    assert heard.take(99, stream=3) == []
    assert heard.take(1, stream=4) == [1]
    assert heard.take(1, class_=EVERY, stream=1) == [1]


def test_a_sender_that_keeps_nothing():
    heard = Heard()
    assert heard.take(100, stream=0) == [100]
    assert heard.take(99, stream=0) == []
    assert heard.take(1, stream=0) == [1]
    assert heard.take(500, class_=EVERY, stream=0) == [500]
    assert heard.take(501, class_=EVERY, stream=0) == [501]
    assert heard.take(1, class_=EVERY, stream=0) == [1]
    assert heard.take(2, class_=EVERY, stream=0) == [2]


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr(inflow, "HELD", 10_000)
    heard, told = Heard(), []
    heard.take(1, class_=EVERY)
    for number in range(3, 1000, 2):
        told += heard.take(number, class_=EVERY)
        assert heard.inflow._held <= 10_000
    assert (2, 2) in told
    assert 3 in told


def test_topics_are_bounded(monkeypatch):
    monkeypatch.setattr(inflow, "TOPICS", 50)
    heard = Heard()
    for number in range(200):
        heard.take(5, topic=b"t%d" % number)
        heard.take(5, topic=b"t%d" % number, class_=EVERY)
    assert len(heard.inflow._latest) == 50
    assert len(heard.inflow._every) == 50
    assert len(heard.inflow._holding) <= 50
    assert heard.inflow.gaps == 4 * 150


def test_senders_and_streams_are_bounded(monkeypatch):
    monkeypatch.setattr(inflow, "TOPICS", 50)
    heard = Heard()
    for number in range(500):
        heard.take(1, sender=number + 1, stream=number)
    assert len(heard.inflow._streams) <= 100
    assert len(heard.inflow._groups) <= 16


def test_an_unknown_class_is_refused():
    heard = Heard()
    assert heard.take(1, class_=2) == []
    assert heard.rejected == {"index": 1}


def test_records_nobody_asked_for_are_a_kind_that_is_not_known():
    receiver = Receiver()
    made = rows([Record(b"t", b"1", sequence=1)])
    stamp.close(frame.Frames.of_rows(made))
    (event,) = receiver.receive([made], 0.0)
    assert isinstance(event, FrameRejected)
    assert event.reason == "kind"


@pytest.mark.parametrize("seed", range(20))
def test_hostile_frames(seed):
    """Nothing is raised, and what is held stays small, whatever the frames say."""
    chance = random.Random(seed)
    receiver, held = Receiver(records=True), 0
    for _ in range(300):
        sender, stream = chance.randrange(3), chance.choice([0, 1, 2, 0xFFFFFFFF])
        payload = chance.randbytes(chance.randrange(80))
        if chance.random() < 0.6:
            records = [
                Record(chance.choice([b"a", b"b/c", b"+", b"\xff"]), b"", None, 0, False, n)
                for n in (chance.randrange(6), chance.getrandbits(32))
            ]
            payload = record.pack(records)[0]
        made = rows(
            [],
            payload=payload,
            sender=sender,
            stream=stream,
            class_=chance.choice([0, 1, 255]),
            code=chance.choice([0, 0, 1, 2, 64, 255]),
            group=chance.randrange(4),
            number=chance.randrange(256),
        )
        for event in receiver.receive([made], held):
            assert not isinstance(event, RecordsHeard) or event.records
        held += chance.random() * 20
        receiver.tick(held)
