import pytest

from diode.errors import DestinationError
from diode.inflow import Position
from diode.record import EVERY
from diode.service import record_store
from diode.service.record_process import Reading
from diode.service.record_store import RecordStore


def opened(folder, *sinks, warned=None, quota=1 << 20):
    warned = [] if warned is None else warned
    return RecordStore(str(folder), sinks or ("one",), warned.append, quota)


def readings(*payloads):
    return [Reading(EVERY, b"log", payload, None, 2, True, 4, 1, 7, 99) for payload in payloads]


def test_each_sink_gets_all_once_over_restarts(tmp_path):
    store = opened(tmp_path, "one", "two")
    store.keep(readings(b"a", b"b"), [Position(7, b"log", 3, 5)])
    number, found = store.next("one", 1 << 20)
    assert found == readings(b"a", b"b")
    store.taken("one", number)
    assert store.next("one", 1 << 20)[1] == []
    store.close()
    store = opened(tmp_path, "one", "two")
    assert store.positions() == [Position(7, b"log", 3, 5)]
    assert store.waiting == 2
    store.keep(readings(b"c"), [])
    number, found = store.next("two", 1 << 20)
    assert [one.payload for one in found] == [b"a", b"b", b"c"]
    store.taken("two", number)
    assert [one.payload for one in store.next("one", 1 << 20)[1]] == [b"c"]
    assert store.waiting == 1
    store.close()
    store = opened(tmp_path, "two", "three")
    assert [one.payload for one in store.next("three", 1 << 20)[1]] == [b"c"]
    store.close()


def test_how_much_waits_for_each_sink_is_known_without_counting(tmp_path):
    def waiting(store, *sinks):
        found = [store.waiting_for(name) for name in sinks]
        for name, count in zip(sinks, found, strict=True):
            assert count == len(store.next(name, 1 << 20)[1])
        assert store.waiting == max(found)
        return found

    store = opened(tmp_path, "one", "two")
    assert waiting(store, "one", "two") == [0, 0]
    store.keep(readings(*[b"x"] * 5), [])
    assert waiting(store, "one", "two") == [5, 5]
    store.taken("one", 3)
    assert waiting(store, "one", "two") == [2, 5]
    store.close()
    store = opened(tmp_path, "one", "two", "new")
    assert waiting(store, "one", "two", "new") == [2, 5, 5]
    store.taken("one", 5)
    store.taken("two", 4)
    store.taken("new", 5)
    assert waiting(store, "one", "two", "new") == [0, 1, 0]
    store.taken("two", 5)
    store.close()
    store = opened(tmp_path, "one", "later", quota=600)
    assert waiting(store, "one", "later") == [0, 0]
    gone = store.keep(readings(*[b"x"] * 9), [])  # a hundred bytes and more each
    assert waiting(store, "one", "later") == [9 - gone[b"log"]] * 2
    store.taken("one", store.next("one", 1)[0])
    assert waiting(store, "one", "later") == [8 - gone[b"log"], 9 - gone[b"log"]]
    store.close()


def test_a_batch_has_a_size(tmp_path):
    store = opened(tmp_path)
    store.keep(readings(*[bytes(1000)] * 10), [])
    assert len(store.next("one", 2500)[1]) == 3
    store.close()


def test_beyond_the_quota_the_oldest_go_and_are_named(tmp_path):
    store = opened(tmp_path, quota=10_000)
    assert not store.keep(readings(*[bytes(900)] * 9), [])
    gone = store.keep(readings(bytes(900), b"last"), [])
    assert gone[b"log"] >= 1
    left = store.next("one", 1 << 20)[1]
    assert left[-1].payload == b"last"
    assert len(left) + gone[b"log"] == 11
    assert store._held <= 10_000
    store.close()


def test_places_are_bounded_and_those_heard_of_longest_ago_go(tmp_path, monkeypatch):
    monkeypatch.setattr(record_store, "POSITIONS", 10)
    store = opened(tmp_path)
    for turn in range(201):
        store.keep([], [Position(7, b"%d" % turn, 1, 2), Position(7, b"often", 1, turn)])
    there = {position.topic for position in store.positions()}
    assert b"often" in there
    assert len(there) <= 10 + 100
    store.close()


def test_damage_is_put_aside(tmp_path):
    opened(tmp_path).close()
    (tmp_path / record_store.NAME).write_bytes(b"no database" * 1000)
    warned = []
    opened(tmp_path, warned=warned).close()
    assert "damaged" in warned[0]


def test_where_it_cannot_be(tmp_path):
    with pytest.raises(DestinationError, match="store of records"):
        opened(tmp_path / "nowhere")
