"""The configuration of `diode run`: what it says, and every mistake in it by its place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diode.cli import hooking, run_receiver
from diode.cli.report import Report
from diode.errors import ConfigurationError
from diode.service import config

SENDER = """
[sender]
to = "serial:/dev/ttyUSB0?baud=115200"
state = "/var/lib/diode/sender"
line = "rs"
redundancy = "50%"
heartbeat = "10s"
carousel = { last = 100, for = "24h" }
[[sender.drop]]
folder = "/srv/out"
priority = 5
weight = 2
settle = "500ms"
after = "move"
[[sender.drop]]
folder = "/srv/slow"
subfolders = "priorities"
"""
RECEIVER = """
[receiver]
from = ["udp://127.0.0.1:7000?rate=10M", "udp://127.0.0.1:7001?rate=10M"]
inbox = "/srv/in"
quota = "5GB"
mode = "0640"
silence = "60s"
on-delivery = "/usr/bin/ingest --name 'a b'"
"""


def mistakes(text):
    with pytest.raises(ConfigurationError) as caught:
        config.parse(text.encode(), "diode.toml")
    assert caught.value.exit_code == 14
    return str(caught.value)


def test_a_sender():
    sender = config.parse(SENDER.encode(), "x").sender
    assert sender.urls == ("serial:/dev/ttyUSB0?baud=115200",)
    assert (sender.heartbeat, sender.carousel.last, sender.carousel.seconds) == (10, 100, 86400)
    assert sender.settings.redundancy == 0.5
    first, second = sender.drop
    assert (first.priority, first.weight, first.settle, first.after) == (5, 2.0, 0.5, "move")
    assert (second.subfolders, second.settle, second.after) == ("priorities", 2.0, "keep")


def test_what_may_leave_a_drop_folder():
    lists = """
only = ["*.sig", "*.asc"]
max-size = "16k"
at-most = { files = 2, per = "1min" }
"""
    sender = config.parse(
        SENDER.replace('after = "move"\n', 'after = "move"\n' + lists).encode(), "x"
    ).sender
    first, second = (drop.allowed for drop in sender.drop)
    assert first.refusal("a.sig", 16_000) == second.refusal("secret", 10**9) == ""
    assert "16 kB" in first.refusal("a.sig", 16_001)
    assert "*.sig *.asc" in first.refusal("a.sig.exe", 1)
    assert first.rationed and not second.rationed
    for _ in range(2):
        assert first.wait(0.0) == ""
        first.took()
    assert first.wait(0.0) == "it waits: no more than 2 files in 60 s"
    assert first.wait(31.0) == ""


def test_how_commands_of_a_receiver_run():
    text = RECEIVER + 'hook-timeout = "5s"\nhook-folder = "/srv"\nordered = true\n'
    receiver = config.parse(text.encode(), "x").receiver
    asked = run_receiver.asked(Report(), receiver)
    assert asked.hook == hooking.Asked("/usr/bin/ingest --name 'a b'", 5.0, False, "/srv")
    assert asked.ordered


def test_a_receiver():
    receiver = config.parse(RECEIVER.encode(), "x").receiver
    assert len(receiver.urls) == 2
    assert (receiver.quota, receiver.mode, receiver.silence) == (5_000_000_000, 0o640, 60)
    assert receiver.commands == {"delivery": ["/usr/bin/ingest", "--name", "a b"]}


MISTAKES = [
    ("[sender", r"not TOML: .*\(at "),
    ("a = 1", r"a: there is no such key; there are sender, receiver"),
    ("", r"expected one of the tables \[sender\] and \[receiver\], neither is there"),
    (SENDER + RECEIVER, "both are there"),
    (SENDER.replace("settle", "setle"), r'sender.drop\[#1\].setle: .*; did you mean "settle"\?'),
    (SENDER.replace('"500ms"', '"soon"'), r'drop\[#1\].settle: expected a time.*found "soon"'),
    (SENDER.replace('"move"', '"moved"'), r'after: expected one of .*"moved"; did you mean "move"'),
    (SENDER.replace("= 5", "= 12"), "priority: expected a whole number from 0 to 9, found 12"),
    (SENDER.replace("= 5", "= true"), "priority: expected a whole number from 0 to 9, found true"),
    (SENDER.replace("= 5", '= "5"'), 'priority: expected a whole number from 0 to 9, found "5"'),
    (SENDER.replace("weight = 2", "weight = -2"), "weight: expected a number from 0.001"),
    (SENDER.replace("weight = 2", "weight = nan"), "weight: expected a number from 0.001"),
    (SENDER.replace("weight = 2", "passes = 0"), "passes: expected a whole number from 1"),
    (SENDER.replace('"50%"', '"much"'), 'redundancy: expected a share .*found "much"'),
    (SENDER.replace('"50%"', '"-5%"'), 'redundancy: expected a share .*found "-5%"'),
    (SENDER.replace('"50%"', '"50%"\nloss = "5%"'), "loss and redundancy contradict"),
    (SENDER.replace("serial:", "cereal:"), "sender.to: .*cereal"),
    (SENDER.replace("baud", "bauds"), "sender.to: .*baud"),
    (SENDER.replace("115200", "115200000000"), "sender.to: "),
    (SENDER.replace('to = "serial:/dev/ttyUSB0?baud=115200"', "to = []"), "one URL or more"),
    (SENDER.replace("serial:/dev/ttyUSB0?baud=115200", "-"), "no use for standard input"),
    (SENDER.replace("to = ", "two = "), "sender.to: this key is missing; expected text or a list"),
    (SENDER.replace("/srv/slow", "/srv/out"), r"drop\[#2\].folder: .* is that of drop folder #1"),
    (SENDER.replace("/srv/slow", "/srv/out/x"), "that of drop folder #1 are inside each other"),
    (SENDER.replace("/srv/slow", "/var/lib/diode/sender"), "is the state folder already"),
    (SENDER.replace("last = 100", "lest = 100"), r'carousel.lest: .*did you mean "last"'),
    (SENDER.replace('{ last = 100, for = "24h" }', "{}"), "carousel: expected"),
    (SENDER.replace('{ last = 100, for = "24h" }', "7"), "carousel: expected a table, found 7"),
    (SENDER.replace('"10s"', '"0s"'), 'heartbeat: expected a time from 100ms.*"0s"'),
    (SENDER.replace("[[sender.drop]]", "[[sender.dropp]]"), "dropp: there is no such key; did you"),
    (RECEIVER.replace("7001", "7000"), "is given twice"),
    (RECEIVER.replace('"0640"', "640"), "mode: expected a file mode.*found 640"),
    (RECEIVER.replace('"0640"', '"0777"'), 'mode: expected a file mode.*found "0777"'),
    (RECEIVER.replace("'a b'", "'a b"), "on-delivery: not a command"),
    (RECEIVER.replace("/usr/bin/ingest --name 'a b'", ""), "on-delivery: expected a program"),
    (SENDER.replace("heartbeat", 'on-alarm = "page \'me"\nheartbeat'), "sender.on-alarm: not a"),
    (SENDER.replace("heartbeat", "on-alarm = []\nheartbeat"), "sender.on-alarm: expected a prog"),
    (
        SENDER.replace("heartbeat", 'records-away = "0s"\nheartbeat'),
        "records-away: expected a time",
    ),
    (RECEIVER.replace("silence", 'give-up-after = "5s"\nsilence'), "goes with ordered = true"),
    (RECEIVER.replace('"60s"', '"-1s"'), 'silence: expected a time.*found "-1s"'),
    (RECEIVER.replace('"60s"', "[1]"), "silence: expected a time.*found a list"),
    (RECEIVER.replace("/srv/in", "s3://bucket/in"), "receiver.state: "),
    (RECEIVER.replace("/srv/in", "-"), "receiver.inbox: expected a folder"),
    (RECEIVER + '"\\u001b[31m" = 1', r"receiver.\\x1b\[31m|receiver\.\S*: there is no such key"),
    ("a = " + "[" * 5000, "not"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=range(len(MISTAKES)))
def test_each_mistake_is_named_by_its_place(text, said):
    told = mistakes(text)
    assert re.search(said, told), told
    assert told.startswith("diode.toml: ")
    assert "\x1b" not in told


def test_all_mistakes_are_named_at_once():
    text = SENDER.replace("= 5", "= 12").replace('"10s"', '"x"').replace("after", "aftre")
    assert len(mistakes(text).splitlines()) == 3


def test_what_is_no_text_is_told_by_line():
    with pytest.raises(ConfigurationError, match="line 2 is not UTF-8"):
        config.parse(b"\n\xff", "x")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        config.read(str(tmp_path / "none.toml"))


def test_a_file_without_end():
    with pytest.raises(ConfigurationError, match="more than 1,048,576 bytes"):
        config.read("/dev/zero")


@given(st.sampled_from([SENDER, RECEIVER]), st.integers(0, 600), st.integers(0, 20), st.text())
def test_any_damage_is_a_mistake_or_none(text, at, length, put):
    try:
        config.parse((text[:at] + put + text[at + length :]).encode(errors="replace"), "x")
    except ConfigurationError as error:
        said = str(error)
    else:
        return
    assert said.startswith("x: ")
