import pytest

from diode.errors import DestinationError
from diode.record import EVERY
from diode.service import record_spool
from diode.service.record_process import Reading
from diode.service.record_spool import RecordSpool


def opened(folder, *, stream=5, warned=None, quota=1 << 20):
    warned = [] if warned is None else warned
    return RecordSpool(str(folder), lambda: stream, warned.append, quota)


def readings(*payloads, topic=b"log"):
    return [Reading(EVERY, topic, payload, 3, 1, True) for payload in payloads]


def test_numbers_go_on_over_a_restart(tmp_path):
    spool = opened(tmp_path)
    assert [one.sequence for _, one in spool.add(readings(b"a", b"b"))] == [1, 2]
    stored = spool.add(readings(b"c", topic=b"other") + readings(b"d"))
    assert [one.sequence for _, one in stored] == [1, 3]
    spool.sent([stored[0][0]])
    spool.close()
    spool = opened(tmp_path, stream=9)
    assert spool.stream == 5
    assert spool.waiting == 3
    pending = spool.pending()
    assert [(one.sequence, one.payload) for _, one in pending] == [(1, b"a"), (2, b"b"), (3, b"d")]
    assert pending[0][1].time == 3
    assert pending[0][1].quality == 1
    assert pending[0][1].retain is True
    assert spool.topics() == {b"log", b"other"}
    spool.sent([token for token, _ in pending])
    assert spool.waiting == spool.held == 0
    assert [one.sequence for _, one in spool.add(readings(b"e"))] == [4]
    spool.close()


def test_as_many_as_there_is_room_for(tmp_path):
    spool = opened(tmp_path, quota=2000)
    stored = spool.add(readings(*[bytes(200)] * 10))
    assert len(stored) == 4
    assert spool.add(readings(b"x")) == []
    spool.sent([token for token, _ in stored])
    assert [one.sequence for _, one in spool.add(readings(b"x"))] == [5]
    spool.close()


def test_damage_begins_a_stream(tmp_path):
    opened(tmp_path).close()
    (tmp_path / record_spool.NAME).write_bytes(b"no database" * 1000)
    warned = []
    spool = opened(tmp_path, stream=6, warned=warned)
    assert spool.stream == 6
    assert "damaged" in warned[0]
    spool.close()


def test_where_it_cannot_be(tmp_path):
    with pytest.raises(DestinationError, match="spool of records"):
        opened(tmp_path / "nowhere")
