import pytest
from ptys import FakeTime

from diode.carrier import CARRIERS, CarrierUrl, facts, open_receiving, open_sending, parse
from diode.carrier.pace import LEAD, Pace, Unpaced, pace_at
from diode.errors import UsageError


@pytest.mark.parametrize(
    ("text", "scheme", "path", "query"),
    [
        ("serial:/dev/ttyUSB0", "serial", "/dev/ttyUSB0", {}),
        ("serial:/dev/ttyUSB0?baud=115200", "serial", "/dev/ttyUSB0", {"baud": "115200"}),
        (
            "serial:///dev/ttyS1?baud=2M&reopen=5",
            "serial",
            "/dev/ttyS1",
            {"baud": "2M", "reopen": "5"},
        ),
        ("SERIAL:COM3", "serial", "COM3", {}),
        ("file:cap", "file", "cap", {}),
        ("file:/a b/c:d", "file", "/a b/c:d", {}),
        ("file:what%3F.bin?append=1", "file", "what?.bin", {"append": "1"}),
        ("file:100%", "file", "100%", {}),
        ("-", "-", "", {}),
        ("-?rate=9600", "-", "", {"rate": "9600"}),
    ],
)
def test_parts(text, scheme, path, query):
    assert parse(text) == CarrierUrl(scheme, path, query)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("cap.bin", "not a carrier URL", "did you mean file:cap.bin?"),
        (
            "/dev/ttyUSB0?baud=9600",
            "not a carrier URL",
            "did you mean serial:/dev/ttyUSB0?baud=9600?",
        ),
        ("", "not a carrier URL", "file:PATH"),
        ("--", "not a carrier URL", "file:--"),
        ("seriall:/dev/ttyUSB0", "no carrier 'seriall'", "did you mean serial:"),
        ("gopher:x", "no carrier 'gopher'", "the carriers are file:, serial: and -"),
        ("file:", "names no path", "file:PATH"),
        ("file:a%00b", "NUL", ""),
        ("file:a?append", "not key=value", "%3F"),
        ("file:a?", "not key=value", "%3F"),
        ("file:a?=1", "not key=value", ""),
        ("file:a?append=1&append=0", "twice", ""),
        ("serial:/dev/x?buad=9600", "'buad'", "did you mean baud=?"),
        ("file:a?color=red", "'color'", "file takes append, rate"),
        ("-?append=1", "'append'", "takes rate"),
    ],
)
def test_refused_at_once(text, message, hint):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "serial:/dev/x?baud=0",
        "serial:/dev/x?baud=13M",
        "serial:/dev/x?baud=fast",
        "serial:/dev/x?baud=-1",
        "serial:/dev/x?baud=",
        "serial:/dev/x?baud=1e5",
        "file:a?rate=0",
        "file:a?rate=1T",
        "-?rate=x",
    ],
)
def test_values_out_of_range_are_named(text):
    with pytest.raises(UsageError) as caught:
        facts(text)
    assert text.partition("?")[2] in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["serial:/dev/x?reopen=-1", "file:/nowhere/x?append=yes"])
def test_values_checked_before_opening(text):
    with pytest.raises(UsageError):
        open_sending(text)


def test_facts_need_no_device():
    assert facts("serial:/dev/nowhere?baud=115200").rate == 11_520
    assert facts("serial:?baud=2M".replace(":?", ":x?")).rate == 200_000
    assert facts("serial:/dev/nowhere").rate == 11_520
    assert facts("file:/nowhere/at/all").rate is None
    assert facts("file:cap?rate=80k").rate == 10_000
    assert facts("-?rate=900M").rate == 112.5e6
    assert facts("-").kind == "bytes"


def test_url_reads_as_it_was_written():
    for text in ("serial:/dev/ttyUSB0?baud=115200&reopen=5", "file:cap", "-", "-?rate=9600"):
        assert str(parse(text)) == text


def test_impairment_is_checked_before_opening(tmp_path):
    target = tmp_path / "cap"
    with pytest.raises(UsageError):
        open_sending(f"file:{target}", impair="drop=200%")
    assert not target.exists()
    with pytest.raises(UsageError):
        open_receiving(f"file:{target}", impair="nonsense")


def test_every_member_offers_the_interface():
    import importlib

    for name in CARRIERS.values():
        member = importlib.import_module(name)
        assert {"KEYS", "facts", "sending", "receiving"} <= set(dir(member))


def test_directions_are_types(tmp_path):
    with_write = open_sending(f"file:{tmp_path / 'cap'}", impair="drop=1%")
    with_read = open_receiving(f"file:{tmp_path / 'cap'}", impair="drop=1%")
    assert not hasattr(with_write, "read") and not hasattr(with_read, "write")
    with_write.close()
    with_read.close()


def test_pace_keeps_the_average_although_sleeps_overshoot():
    time = FakeTime(overshoot=0.0003)
    pace = Pace(1000, clock=time.clock, sleep=time.sleep)
    start = time.now
    assert pace.slice == 10
    for _ in range(500):
        pace.admit(10)
    pace.settle()
    assert time.now - start == pytest.approx(5, abs=0.001)


def test_pace_is_never_far_ahead_even_after_a_stall():
    time = FakeTime()
    pace = Pace(1000, clock=time.clock, sleep=time.sleep)
    for stall in (0, 0.02, 3, 0.049):
        time.now += stall
        begin, out = time.now, 0
        for _ in range(100):
            pace.admit(10)
            out += 10
            assert out <= (time.now - begin + LEAD) * 1000 + 1e-6


def test_pace_of_a_line_slower_than_a_byte_in_50_ms():
    time = FakeTime()
    pace = Pace(5, clock=time.clock, sleep=time.sleep)
    assert pace.slice == 1
    pace.admit(1)
    assert not time.sleeps  # an idle line takes a byte at once
    pace.admit(1)
    assert time.sleeps == [pytest.approx(0.2)]


def test_no_rate_no_waiting():
    time = FakeTime()
    pace = pace_at(None, clock=time.clock, sleep=time.sleep)
    assert isinstance(pace, Unpaced)
    pace.admit(1 << 40)
    pace.settle()
    assert not time.sleeps
