import fakemodem
import pytest
from ptys import FakeTime

from diode.carrier import CARRIERS, CarrierUrl, facts, open_receiving, open_sending, parse
from diode.carrier.pace import ARREARS, LEAD, Pace, Unpaced, pace_at
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
        ("wav:/a/b.wav?level=-12dB", "wav", "/a/b.wav", {"level": "-12dB"}),
        ("pcm:-?format=u8", "pcm", "-", {"format": "u8"}),
        ("audio:", "audio", "", {}),
        (
            "audio:?device=USB%20Audio&modem=cable",
            "audio",
            "",
            {"device": "USB Audio", "modem": "cable"},
        ),
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
        (
            "gopher:x",
            "no carrier 'gopher'",
            "the carriers are audio:, file:, pcm:, serial:, udp:, wav: and -",
        ),
        ("file:", "names no path", "file:PATH"),
        ("file:a%00b", "NUL", ""),
        ("file:a?append", "not key=value", "%3F"),
        ("file:a?", "not key=value", "%3F"),
        ("file:a?=1", "not key=value", ""),
        ("file:a?append=1&append=0", "twice", ""),
        ("serial:/dev/x?buad=9600", "'buad'", "did you mean baud=?"),
        ("file:a?color=red", "'color'", "file takes append, rate"),
        ("-?append=1", "'append'", "takes rate"),
        ("wav:", "names no path", "wav:PATH"),
        ("pcm:", "names no path", "pcm:PATH"),
        ("wav:a?modm=cable", "'modm'", "did you mean modem=?"),
        ("audio:?bits=8", "'bits'", "audio takes baud, channel, device"),
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


@pytest.mark.parametrize(
    ("url", "waits", "standard"),
    [
        ("serial:/dev/nowhere", False, False),
        ("audio:", False, False),
        ("file:x", True, False),
        ("wav:x.wav", True, False),
        ("pcm:x", True, False),
        ("pcm:-?modem=auto", True, True),
        ("-", True, True),
    ],
)
def test_whether_a_medium_waits_and_is_standard(url, waits, standard):
    assert (facts(url).waits, facts(url).standard) == (waits, standard)


def test_facts_of_a_byte_carrier():
    about = facts("serial:/dev/nowhere?baud=9600")
    assert about.max_piece is None and about.batch == 0
    assert about.air_bytes(123) == 123


@pytest.mark.parametrize("url", ["wav:/no/a.wav", "pcm:-", "audio:"])
def test_facts_of_a_sound_carrier_are_the_modems(monkeypatch, url):
    made = fakemodem.install(monkeypatch)
    about = facts(f"{url}?modem=fsk&baud=1.2k&mark=1200&space=2200&level=-6")
    assert made[0].asked == {"name": "fsk", "baud": 1200, "mark": 1200, "space": 2200}
    assert (about.rate, about.max_piece, about.batch) == (48_000 / 9, 64, 16)
    assert about.air_bytes(10) == 11
    facts(url)
    assert made[1].asked == {"name": "robust", "baud": None, "mark": None, "space": None}


@pytest.mark.parametrize(
    ("text", "level"),
    [("-12", -12), ("-12dB", -12), ("-3.5db", -3.5), ("0", 0), ("-0", 0), ("-60dB", -60)],
)
def test_levels(text, level):
    assert parse(f"wav:x?level={text}").decibels("level", -3, -60, 0) == level


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("udp://10.9.0.2:5000", "10.9.0.2", 5000),
        ("udp:10.9.0.2:5000?mtu=9000", "10.9.0.2", 5000),
        ("udp://:65535", "", 65535),
        ("udp://[fd00::2]:1", "fd00::2", 1),
        ("udp://[fe80::2%25eth1]:1", "fe80::2%eth1", 1),
        ("udp://receiver:5000", "receiver", 5000),
        ("udp://receiver", "receiver", 0),
    ],
)
def test_endpoints(text, host, port):
    assert parse(text).endpoint() == (host, port)


@pytest.mark.parametrize(
    "text",
    ["udp://a:b", "udp://fd00::2:5000", "udp://[::1", "udp://a:0", "udp://a:70000", "udp://a:5:5"],
)
def test_endpoints_that_are_none(text):
    with pytest.raises(UsageError, match="not HOST:PORT") as caught:
        parse(text).endpoint()
    assert "udp://10.9.0.2:5000" in caught.value.hint


def test_facts_of_a_carrier_of_datagrams():
    """Both ends of a name are reckoned with as IPv4; nothing is looked up for it."""
    about = facts("udp://nowhere.invalid:5000?rate=1G")
    assert (about.kind, about.rate, about.max_piece) == ("datagrams", 125e6, 1472)
    assert about.air_bytes(1472) == 1538  # 1500 in 38
    assert about.air_bytes(1) == about.air_bytes(18) == 84  # the shortest frame of Ethernet
    six = facts("udp://[fd00::2]:5000?mtu=9000")
    assert (six.rate, six.max_piece) == (12.5e6, 8952)
    assert six.air_bytes(8952) == 9038
    assert facts("udp://[::1]:5000?rate=unlimited").rate is None


def test_url_reads_as_it_was_written():
    for text in (
        "audio:",
        "audio:?device=x",
        "pcm:-?rate=8k",
        "serial:/dev/ttyUSB0?baud=115200&reopen=5",
        "file:cap",
        "-",
        "-?rate=9600",
        "udp://10.9.0.2:5000?rate=900M",
        "udp://[::]:5000",
    ):
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


def test_pace_of_datagrams_is_smooth_and_keeps_the_average():
    """With a lead of a millisecond, no window of 10 ms holds more than that much too much."""
    time = FakeTime(overshoot=0.00009)
    pace = Pace(12.5e6, clock=time.clock, sleep=time.sleep, lead=0.001, slice_=0.0005)
    assert pace.slice == 6250
    start, moments = time.now, []
    for _ in range(8000):
        pace.admit(4 * 1538)
        moments.append(time.now)
    assert 8000 * 4 * 1538 / (moments[-1] - start) == pytest.approx(12.5e6, rel=1e-3)
    for index in range(0, 7000, 97):
        window = sum(moments[index] <= moment < moments[index] + 0.01 for moment in moments)
        assert window * 4 * 1538 <= 12.5e6 * 0.011 + 4 * 1538


def test_pace_makes_good_slowly_what_was_late():
    time = FakeTime()
    rate, slice_ = 12.5e6, 6152
    pace = Pace(rate, clock=time.clock, sleep=time.sleep, lead=0.001, slice_=0.0005, repaid=0.1)
    time.now += 30  # before the first write nobody was late
    start, moments = time.now, []
    for index in range(8000):
        if index % 500 == 499:
            time.now += 0.010
        pace.admit(slice_)
        moments.append(time.now)
    assert 8000 * slice_ / (moments[-1] - start) == pytest.approx(rate, rel=5e-3)
    for index in range(0, 7800, 97):
        window = sum(moments[index] <= moment < moments[index] + 0.01 for moment in moments)
        assert window * slice_ <= rate * 1.12 * 0.011 + slice_
    begin = time.now
    time.now += 5  # silence is not made good
    for _ in range(1000):
        pace.admit(slice_)
    assert time.now - begin - 5 >= 1000 * slice_ / rate - 0.002 - ARREARS


def test_no_rate_no_waiting():
    time = FakeTime()
    pace = pace_at(None, clock=time.clock, sleep=time.sleep)
    assert isinstance(pace, Unpaced)
    pace.admit(1 << 40)
    pace.settle()
    assert not time.sleeps
