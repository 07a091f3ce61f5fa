import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.acquire.lines import LONGEST, Lines, moment
from diode.publish.lines import fields, iso
from diode.service.record_process import Reading


class Taken:
    def __init__(self, format_="auto"):
        self.records, self.refused = [], []
        self.lines = Lines(format_, self.put, self.refused.append)

    def put(self, topic, payload, **more):
        self.records.append((topic, payload, more))

    def feed(self, data):
        self.lines.feed(data)
        return self

    @property
    def pairs(self):
        return [(topic, payload) for topic, payload, _ in self.records]


def test_text():
    taken = Taken().feed(b"a/b 1 2  3\r\n\nc \nd").feed(b" \xff\n")
    assert taken.pairs == [(b"a/b", b"1 2  3"), (b"c", b""), (b"d", b"\xff")]
    assert all(more["time"] > 0 for _, _, more in taken.records)
    assert taken.refused == []


def test_json():
    line = {
        "topic": "Öl",
        "payload": {"x": 1.5},
        "time": "2026-01-31T12:00:00.000001Z",
        "quality": "bad",
        "retain": True,
    }
    taken = Taken().feed(json.dumps(line).encode() + b"\n")
    (one,) = taken.records
    assert one[:2] == ("Öl".encode(), b'{"x":1.5}')
    assert one[2] == {"time": 1_769_860_800_000_001_000, "quality": 2, "retain": True}
    taken = Taken().feed(b'{"topic":"a","payload_base64":"AP8=","time_ns":5}\n')
    assert taken.records == [(b"a", b"\x00\xff", {"time": 5, "quality": 0, "retain": False})]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nothing", "no topic and payload"),
        (b"{", "Expecting"),
        (b"{}", "no topic"),
        (b'{"topic":5,"payload":""}', "no topic"),
        (b'{"topic":"a"}', "no payload"),
        (b'{"topic":"a","payload":"","quality":"fine"}', "a quality is one of"),
        (b'{"topic":"a","payload":"","time":"yesterday"}', "yesterday"),
        (b'{"topic":"a","payload":"","time":1e30}', "beyond"),
        (b'{"topic":"a","payload_base64":"?"}', "base64"),
        (b'{"topic":"a\xff","payload":""}', "utf-8"),
        (b"{" * 2000, ""),
        (b'{"a":' * 5000, ""),
    ],
)
def test_what_is_no_record_is_refused_by_line_and_harms_nothing(line, why):
    taken = Taken().feed(b"a 1\n" + line + b"\nb 2\n")
    assert taken.pairs == [(b"a", b"1"), (b"b", b"2")]
    (told,) = taken.refused
    assert told.startswith("line 2 is refused")
    assert why in told
    assert told.isprintable()
    assert len(told) < 400


def test_json_only():
    taken = Taken("json").feed(b"a 1\n[]\n")
    assert taken.pairs == []
    assert len(taken.refused) == 2


def test_csv_with_a_column_for_each_topic():
    taken = Taken("csv").feed(b'time, a/b,c\n1.5,2,"x, y"\n2.5,,z\n3,1\n')
    assert taken.pairs == [(b"a/b", b"2"), (b"c", b"x, y"), (b"c", b"z")]
    assert [more["time"] for _, _, more in taken.records] == [1_500_000_000] * 2 + [2_500_000_000]
    assert "2 columns" in taken.refused[0]


def test_csv_with_a_record_a_line():
    taken = Taken("csv").feed(b"topic,value,quality,retain\na,1,uncertain,true\n")
    ((topic, payload, more),) = taken.records
    assert (topic, payload, more["quality"], more["retain"]) == (b"a", b"1", 1, True)
    taken.lines.begin_anew()
    taken.feed(b"x\n5\n")
    assert taken.pairs[1:] == [(b"x", b"5")]


def test_a_line_without_end():
    taken = Taken()
    for _ in range(40):
        taken.feed(bytes(10_000))
    assert len(taken.lines._rest) <= LONGEST
    taken.feed(b"\na 1\n")
    assert taken.pairs == [(b"a", b"1")]
    assert len(taken.refused) == 1


def test_the_end_is_a_line_too():
    taken = Taken().feed(b"a 1")
    assert taken.pairs == []
    taken.lines.end()
    assert taken.pairs == [(b"a", b"1")]


@examples(150)
@given(st.binary(max_size=300), st.sampled_from(["auto", "csv", "json"]))
def test_nothing_is_raised_whatever_comes(data, format_):
    Taken(format_).feed(data).lines.end()


@examples(60)
@given(st.binary(max_size=20), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 2))
def test_what_a_receiver_writes_is_read_again(payload, time, quality):
    one = Reading(1, "Kessel/Öl".encode(), payload, time, quality, True, 5, 2, 7, 99)
    line = json.dumps(fields(one))
    assert line.isascii()
    (found,) = Taken().feed(line.encode() + b"\n").records
    more = {"time": time, "quality": quality, "retain": True}
    assert found == (one.topic, payload, more)


def test_moments():
    assert moment("1970-01-01T00:00:01") == 10**9
    assert moment("1970-01-01T01:00:00+01:00") == 0
    assert moment("12.5") == 12_500_000_000
    assert iso(1_500_000_000) == "1970-01-01T00:00:01.500000Z"
    assert iso(None) is None
    assert iso((1 << 63) - 1).startswith("2262")
    assert iso(-(1 << 63)).startswith("1677")
