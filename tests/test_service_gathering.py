"""What waits in a source's process, and the processes themselves."""

import contextlib
import functools
import os
import signal
import socket
import threading
import time

import msgspec
import pytest
from cli import children, wait_until

from diode import confine, events
from diode.errors import DestinationError
from diode.outflow import Outflow
from diode.plan import Link, Settings
from diode.publish import Aging, serve
from diode.record import EVERY, LATEST, Record
from diode.record_health import RecordsOut
from diode.service import gathering, record_delivery, record_intake, record_presence
from diode.service.gathering import Gathering
from diode.service.record_delivery import Delivery
from diode.service.record_intake import Along, Intake
from diode.service.record_process import (
    Batch,
    Channel,
    End,
    Process,
    Reading,
    Ready,
    Said,
    Taken,
    shown,
)
from diode.service.record_spool import RecordSpool
from diode.service.record_store import RecordStore
from diode.supply import Given, Supplied

FREE = confine.Bounds(sends=False)


@pytest.fixture
def ends():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield [Channel(end) for end in pair]
    for end in pair:
        end.close()


def running(one):
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    return thread


def test_the_newest_of_latest_and_all_of_every(ends):
    ours, theirs = ends
    one = Gathering(theirs, ("log/#",))
    taken = []
    for number in range(3):
        one.put(b"t", b"%d" % number, taken=functools.partial(taken.append, ("t", number)))
        one.put(b"log/a", b"%d" % number, taken=functools.partial(taken.append, ("log", number)))
    assert taken == [("t", 0), ("t", 1)]  # nobody will miss them
    thread = running(one)
    batch = ours.receive()
    assert [(r.class_, r.payload) for r in batch.readings] == [
        (LATEST, b"2"),
        *((EVERY, b"%d" % n) for n in range(3)),
    ]
    ours.send(Taken(batch.number + 1, 3))  # an answer to somebody else
    ours.send(Taken(batch.number, 2))
    again = ours.receive()
    assert [r.payload for r in again.readings] == [b"2"]
    assert taken[2:] == [("t", 2), ("log", 0), ("log", 1)]
    one.end()
    ours.send(Taken(again.number, 1))
    thread.join(10)
    assert not thread.is_alive()


def test_what_has_no_room_is_dropped_and_named(ends, monkeypatch):
    monkeypatch.setattr(gathering, "ROOM", 1000)
    ours, theirs = ends
    one = Gathering(theirs, ("log/#",))
    for _ in range(100):
        one.put(b"log/a", bytes(100))
    assert len(one._every) == 7
    said = ours.receive()
    assert "dropped log/a" in said.text
    assert (said.refused, said.dropped) == (0, 1)


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        (b"a/+", b"", "wildcard"),
        (b"a\x1b[0m", b"", "control"),
        (b"\xff", b"", "UTF-8"),
        (b"a", bytes(8193), "8,192"),
    ],
)
def test_what_cannot_be_a_record_is_refused_by_name(ends, topic, payload, why):
    ours, theirs = ends
    one = Gathering(theirs, ())
    told = []
    one.put(topic, payload, taken=lambda: told.append(1))
    said = ours.receive()
    assert said.text.startswith("refused")
    assert why in said.text
    assert (said.refused, said.dropped) == (1, 0)
    assert shown("here", said.text).isprintable()
    assert told == [1]  # or a broker would send it again for ever
    assert not one._latest


def test_messages_that_make_no_sense(ends):
    ours, theirs = ends
    theirs.link.sendall(b"\xc1nonsense")
    assert ours.receive() is None
    assert ours.receive(0.0) is None
    theirs.link.close()
    with pytest.raises(EOFError):
        ours.receive()


# Processes ----------------------------------------------------------------------------------


def dying(channel):
    """Dies once it is told to, and says who it is."""
    channel.send(Said(str(os.getpid())))
    while True:
        message = channel.receive()
        if isinstance(message, Batch):
            channel.send(Taken(message.number, len(message.readings)))


def test_a_worker_that_died_is_begun_anew_and_ends_with_its_user(monkeypatch):
    monkeypatch.setattr("diode.service.record_process.AGAIN", 0.01)
    process = Process("diode-test", dying, FREE, "off")
    assert isinstance(process.channel.receive(20), Ready)
    first = int(process.channel.receive(20).text)
    os.kill(first, signal.SIGKILL)
    assert "died" in process.channel.receive(20).text
    assert isinstance(process.channel.receive(20), Ready)
    second = int(process.channel.receive(20).text)
    assert second != first
    assert children(process.number) == [second]
    process.close()
    wait_until(lambda: not os.path.exists(f"/proc/{second}"))


def failing(_channel):
    raise DestinationError("there is no such place")


def test_what_a_worker_fails_with_is_said(monkeypatch):
    monkeypatch.setattr("diode.service.record_process.AGAIN", 0.01)
    process = Process("diode-test", failing, FREE, "off")
    process.channel.receive(20)
    assert "no such place" in process.channel.receive(20).text
    process.close()


def holding(channel, number):
    held = []
    for one in range(100):
        with contextlib.suppress(OSError):
            os.fstat(one)
            held.append(one)
    channel.send(Said(str(held)))
    os.write(number, b"x")
    channel.receive()


def test_a_worker_has_nothing_of_what_is_open_but_what_it_needs(tmp_path):
    secret = os.open(tmp_path / "link", os.O_RDWR | os.O_CREAT)
    read, write = os.pipe()
    work = functools.partial(holding, number=write)
    process = Process("diode-test", work, FREE, "auto", (write,))
    process.channel.receive(20)
    held = process.channel.receive(20).text
    assert str(write) in held
    assert f" {secret}," not in held
    assert os.read(read, 1) == b"x"
    process.close()
    for number in (secret, read, write):
        os.close(number)


# A sender's intake --------------------------------------------------------------------------


class Fake:
    """A source's process, as a test plays it."""

    def __init__(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel, self.far = Channel(ours), Channel(theirs)

    def close(self):
        self.channel.link.close()
        self.far.link.close()


def intake_of(tmp_path, fake, quota=1 << 20):
    outflow = Outflow(1, Settings(), Link(), streams=(1, 1))
    spool = RecordSpool(str(tmp_path), lambda: 1, print, quota)
    return outflow, spool, Intake(outflow, spool, [("here", fake)], lambda: None)


def test_an_intake_numbers_stores_and_answers(tmp_path):
    fake = Fake()
    outflow, spool, intake = intake_of(tmp_path, fake, quota=1000)
    intake.start()
    log = [Reading(EVERY, b"log", b"%d" % n) for n in range(4)]
    bad = Reading(EVERY, b"a/#", b"")
    values = [Reading(LATEST, b"t", b"1"), Reading(LATEST, b"t", b"2"), Reading(LATEST, b"+", b"")]
    fake.far.send(Batch(1, [*values, log[0], bad, *log[1:]]))
    answer = fake.far.receive(20)
    assert answer == Taken(1, 4)  # three and what is none: there was no room for the fourth
    assert intake.news()[0].text.startswith("here: refused +")
    intake.poll()
    assert outflow.waiting == (1, 3)
    assert Along(intake, Given()).poll() is Supplied.OPEN
    fake.far.send(End())
    wait_until(lambda: not intake._open)
    assert not intake.over
    intake.close()
    spool.close()
    outflow, spool, intake = intake_of(tmp_path, fake)
    assert intake.resumed == 3
    intake.poll()
    assert outflow.waiting == (0, 3)
    spool.close()
    fake.close()


def test_topics_of_a_sender_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(record_intake, "TOPICS", 5)
    fake = Fake()
    outflow, spool, intake = intake_of(tmp_path, fake)
    intake.start()
    readings = [Reading(class_, b"t%d" % n, b"") for n in range(9) for class_ in (LATEST, EVERY)]
    fake.far.send(Batch(1, readings))
    assert fake.far.receive(20) == Taken(1, 9)
    intake.poll()
    assert outflow.waiting == (5, 5)
    assert len(spool.topics()) == 5
    assert "topics already" in intake.news()[0].text
    intake.close()
    spool.close()
    fake.close()


def test_what_a_source_says_of_itself_is_counted_and_bounded(tmp_path):
    fake = Fake()
    _, spool, intake = intake_of(tmp_path, fake)
    intake.start()
    fake.far.send(Said(there=True))
    fake.far.send(Said("two are lost\x1b", refused=1, dropped=1))
    wait_until(lambda: intake.health.dropped == 1)
    health = intake.health
    assert (health.refused, health.sources[0].there) == (1, True)
    assert (health.quota, health.kept, health.topics) == (spool.quota, 0, 0)
    assert [said.text for said in intake.news()] == ["here: two are lost\\x1b"]
    for _ in range(10):
        fake.far.send(Said(refused=(1 << 63) - 1, dropped=-(1 << 63)))
    fake.far.send(Said("no broker", there=False))
    wait_until(lambda: intake.health.sources[0].away_since)
    health = intake.health
    assert health.sources[0].why == "no broker"
    assert health.dropped == 1
    assert msgspec.json.decode(msgspec.json.encode(health), type=RecordsOut) == health
    fake.far.send(End())
    wait_until(lambda: intake.health.sources[0].ended)
    intake.close()
    spool.close()
    fake.close()


def test_a_source_that_is_gone_is_told_and_the_rest_goes_on(tmp_path):
    fake = Fake()
    _, spool, intake = intake_of(tmp_path, fake)
    intake.start()
    fake.far.link.sendall(b"\xc1")
    fake.far.link.close()
    wait_until(lambda: not intake._open)
    told = [said.text for said in intake.news()]
    assert told == ["here: its process sends what makes no sense", "here: its process has ended"]
    assert intake.over
    intake.close()
    spool.close()
    fake.close()


# A receiver's delivery ----------------------------------------------------------------------


def heard(class_, *records):
    return events.RecordsHeard(7, class_, 1, list(records))


def delivery_of(tmp_path, fake, quota=1 << 20):
    store = RecordStore(str(tmp_path), ["a"], print, quota)
    return Delivery(store, [("a", "the sink", fake)], clock=lambda: 99)


def test_a_sink_gets_the_newest_of_latest_and_all_of_every(tmp_path):
    fake = Fake()
    delivery = delivery_of(tmp_path, fake)
    for number in range(3):
        delivery.take(heard(LATEST, Record(b"t", b"%d" % number, sequence=number + 1)))
        delivery.take(heard(EVERY, Record(b"log", b"%d" % number, sequence=number + 1)))
    delivery.start()
    wait_until(lambda: delivery._store.waiting == 3)
    got = []
    while len(got) < 4:
        batch = fake.far.receive(20)
        got += [(one.topic, one.payload, one.heard, one.sender) for one in batch.readings]
        fake.far.send(Taken(batch.number, 0))
    assert got.count((b"t", b"2", 99, 7)) == 1
    assert [one for one in got if one[0] == b"log"] == [
        (b"log", b"%d" % n, 99, 7) for n in range(3)
    ]
    wait_until(lambda: delivery._store.waiting == 0)
    assert delivery.positions() == [(7, b"", 1, 0), (7, b"log", 1, 4)]
    delivery.close()
    fake.close()


def test_a_sink_that_was_begun_anew_gets_its_batch_again(tmp_path):
    fake = Fake()
    delivery = delivery_of(tmp_path, fake)
    delivery.start()
    delivery.take(heard(LATEST, Record(b"t", b"1", sequence=1)))
    first = fake.far.receive(20)
    fake.far.send(Said("it died\x1b", there=False))
    fake.far.send(Ready())
    assert fake.far.receive(20) == first
    fake.far.send(Taken(first.number, 0))
    wait_until(lambda: [said.text for said in delivery.news()] == ["the sink: it died\\x1b"])
    delivery.close()
    fake.close()


def test_a_silent_link_is_told_to_sinks(tmp_path):
    fake = Fake()
    delivery = delivery_of(tmp_path, fake)
    delivery.start()
    delivery.tick(live=True)
    delivery.tick(live=False)
    batch = fake.far.receive(20)
    assert (batch.readings, batch.live) == ([], False)
    fake.far.send(Taken(batch.number, 0))
    delivery.tick(live=True)
    assert fake.far.receive(20).live
    fake.far.send(Taken(batch.number + 1, 0))
    delivery.close()
    fake.close()


def test_a_sink_that_takes_nothing_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(record_delivery, "ROOM", 5000)
    monkeypatch.setattr(record_delivery, "LINGER", 0.1)
    fake = Fake()
    delivery = delivery_of(tmp_path, fake, quota=5000)
    delivery.start()
    for number in range(200):
        delivery.take(heard(LATEST, Record(b"t/%d" % number, bytes(100), sequence=1)))
        delivery.take(heard(EVERY, Record(b"log", bytes(100), sequence=number + 1)))
        time.sleep(0.001)
    wait_until(lambda: delivery.dropped["log"] > 50)
    health = delivery.health()
    (sink,) = health.sinks
    assert health.dropped > 50
    assert {one.topic: one.count for one in health.dropped_of}["log"] > 50
    assert (sink.name, sink.there, sink.taken) == ("the sink", None, 0)
    assert 0 < sink.waiting <= 100
    monkeypatch.setattr(record_presence, "HANGS", 0.0)
    assert delivery.health().sinks[0].why == "it does not answer"
    assert delivery._sinks[0]._held <= 5000
    assert any(name.startswith("t/") for name in delivery.dropped)
    assert "dropped" in delivery.news()[0].text
    delivery.close()
    fake.close()


# Values that become old ---------------------------------------------------------------------


def test_aging():
    aging = Aging(10.0)
    one, other = Reading(LATEST, b"a", b"1"), Reading(LATEST, b"b", b"2", quality=1)
    aging.heard([one, other, Reading(EVERY, b"log", b"")], 0.0)
    assert aging.lowered(9.0, live=True) == []
    assert [(r.topic, r.quality) for r in aging.lowered(11.0, live=True)] == [(b"a", 1)]
    assert aging.lowered(12.0, live=True) == []
    assert {r.topic: r.quality for r in aging.lowered(13.0, live=False)} == {b"a": 2, b"b": 2}
    assert aging.lowered(14.0, live=False) == []
    aging.heard([one], 14.5)
    assert {r.topic: r.quality for r in aging.lowered(15.0, live=True)} == {b"b": 1}
    assert aging.lowered(20.0, live=True) == []


class Stubborn:
    """A sink that fails twice."""

    def __init__(self):
        self.left, self.taken = 2, []

    def open(self, say):
        say(Said("here", warning=False, there=True))

    def publish(self, readings):
        if self.left:
            self.left -= 1
            raise ConnectionError("nobody\x1b there")
        self.taken += readings


def test_a_sink_that_fails_is_tried_again_and_told_once(ends):
    ours, theirs = ends
    sink = Stubborn()

    def work():
        with contextlib.suppress(EOFError):
            serve(theirs, sink, None)

    thread = threading.Thread(target=work)
    thread.start()
    assert ours.receive(20) == Said("here", warning=False, there=True)
    ours.send(Batch(4, [Reading(EVERY, b"t", b"1")]))
    said = ours.receive(20)
    assert "nobody\x1b there" in said.text  # as it is: who shows it escapes it
    assert said.there is False
    said = ours.receive(20)
    assert "again" in said.text
    assert said.there is True
    assert ours.receive(20) == Taken(4, 1)
    assert sink.taken == [Reading(EVERY, b"t", b"1")]
    ours.hang_up()
    thread.join(20)
