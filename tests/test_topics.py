import pytest

from diode import topics
from diode.errors import UsageError


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (b"", "1 to 255 bytes"),
        (b"a" * 256, "1 to 255 bytes"),
        (b"a/\xff", "not UTF-8"),
        (b"a/\xed\xa0\x80", "not UTF-8"),
        (b"a\x00b", "control"),
        (b"a\x1b[31m", "control"),
        ("a\x85b".encode(), "control"),
        (b"plant/+/x", "wildcard"),
        (b"plant/#", "wildcard"),
    ],
)
def test_what_is_no_topic_is_refused_with_the_reason(topic, why):
    assert why in topics.refusal(topic)
    assert not topics.good(topic)


@pytest.mark.parametrize("topic", ["t", "/", "a//b", "Kessel 3/Öl/°C", "$SYS/uptime", "a" * 255])
def test_topics(topic):
    assert topics.refusal(topic.encode()) == ""


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("+/+", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
    ],
)
def test_patterns(pattern, topic, fits):
    assert topics.Patterns((pattern,)).match(topic.encode()) is fits


def test_any_of_several_patterns():
    patterns = topics.Patterns(("alarm/#", "+/log"))
    assert patterns.match(b"alarm/1")
    assert patterns.match(b"pump/log")
    assert not patterns.match(b"pump/speed")
    assert not topics.Patterns(()).match(b"pump/speed")


@pytest.mark.parametrize("pattern", ["", "a#", "#/a", "a/b+", "a/\x07"])
def test_what_is_no_pattern(pattern):
    with pytest.raises(UsageError, match="no pattern"):
        topics.Patterns((pattern,))
