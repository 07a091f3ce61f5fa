import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import record, topics
from diode.record import BAD, Packer, Record, pack, unpacked

TOPICS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1
)
RECORDS = st.builds(
    Record,
    TOPICS.map(lambda text: text.encode()).filter(topics.good),
    st.binary(max_size=300),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, record.SEQUENCES - 1),
    st.integers(0, record.MOST_TOLD),
)


@examples(200)
@given(st.lists(RECORDS, max_size=20), st.integers(0, 40))
def test_what_was_packed_comes_back(records, zeros):
    payloads = pack(records, 200)
    found = [unpacked(payload + bytes(zeros)) for payload in payloads]
    assert [one for each in found for one in each.records] == records
    assert not any(each.refused for each in found)
    assert all(len(p) <= 200 for p in payloads if len(unpacked(p).records) > 1)


@examples(300)
@given(st.binary(max_size=400))
def test_nothing_is_raised_whatever_comes(payload):
    found = unpacked(payload)
    assert all(topics.good(one.topic) for one in found.records)


@examples(100)
@given(st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_cut_anywhere_what_is_before_stays(records, data):
    (payload,) = pack(records, 1 << 16)
    cut = data.draw(st.integers(0, len(payload) - 1))
    found = unpacked(payload[:cut])
    assert found.records == records[: len(found.records)]
    assert found.refused <= 1


def test_the_smallest_frame_of_the_document():
    assert pack([Record(b"t/1", b"21.5", sequence=1)]) == [
        bytes.fromhex("80 00 03 04 00 01 00 00 00 74 2f 31 32 31 2e 35")
    ]


def test_topics_of_one_level_share_it():
    one, two = Record(b"plant/line 3/speed", b"1"), Record(b"plant/line 3/load", b"2")
    apart = len(pack([one])[0]) + len(pack([two])[0])
    assert len(pack([one, two])[0]) == apart - len(b"plant/line 3/")
    other = Record(b"plant/line 4/load", b"2")
    assert len(pack([one, other])[0]) == len(pack([one])[0]) + len(pack([other])[0])


def test_one_bad_record_is_refused_alone():
    good, bad = Record(b"a", b"1"), Record(b"a/+", b"2")
    (payload,) = pack([good, bad, good])
    found = unpacked(payload)
    assert (found.records, found.refused) == ([good, good], 1)


def test_a_shared_part_that_is_not_there_ends_the_frame():
    (payload,) = pack([Record(b"a", b"1")])
    assert unpacked(payload[:1] + b"\x01" + payload[2:]) == record.Unpacked([], 1)


def test_what_follows_the_end_must_be_zeros():
    (payload,) = pack([Record(b"a", b"1")])
    assert unpacked(payload + b"\0\0\1").refused == 1


def test_the_fourth_quality_is_bad():
    (payload,) = pack([Record(b"a", b"1")])
    assert unpacked(bytes([payload[0] | 6]) + payload[1:]).records[0].quality == BAD


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Record(b"a\x07", b""), "control"),
        (Record(b"a", bytes(8193)), "8,192"),
        (Record(b"a", bytes(200)), "210 bytes, and a frame here has room for 200"),
    ],
)
def test_what_cannot_be_sent(one, why):
    assert why in record.refusal(one, 200)


def test_a_packer_takes_the_first_whatever_its_size():
    packer = Packer(20)
    assert packer.add(Record(b"a", bytes(100)), 1, 0)
    assert not packer.add(Record(b"a", b""), 1, 0)
    assert len(packer.taken()) == packer._room + 90
    assert packer.size == 0
    assert packer.add(Record(b"a", b""), 1, 0)
