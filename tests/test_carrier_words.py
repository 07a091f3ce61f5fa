"""Words between the two processes: what is said is understood, and nothing is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.carrier import words
from diode.errors import CarrierError, ConfinementError, DestinationError, UsageError
from diode.modem.hearing import Hearing

HEARING = Hearing("cable", True, -9, -6, 0, 0, -80, 20.5, -3, None, 0.01, 5, 2, 0, 22e3, [-60.0])
SAID = [
    words.Opened(11_520.0, ["landlock ABI 7"], ["no seccomp"], None),
    words.Opened(None, [], [], HEARING),
    words.Notice("the driver made 57142 baud of 57600"),
    words.Heard(HEARING),
    words.Opened(1e8, [], [], None, {"datagrams": 0}),
    words.Counted({"datagrams": 7, "kernel_dropped": 1 << 40}),
    words.Dropped(123_456, 78, 2),
    words.Failed("CarrierError", "gone", "plug it in"),
    words.Ended(),
]


@pytest.mark.parametrize("word", SAID)
def test_what_is_said_is_understood(word: words.Word) -> None:
    assert words.decode(words.encode(word)) == word


@pytest.mark.parametrize("error", [CarrierError, UsageError, ConfinementError, DestinationError])
def test_errors_keep_their_class_and_code(error: type) -> None:
    again = words.as_error(words.failed(error("what happened", hint="what to do")))
    assert type(again) is error
    assert (str(again), again.hint) == ("what happened", "what to do")


def test_other_errors_are_the_carriers() -> None:
    again = words.as_error(words.failed(ZeroDivisionError("by 0\nin line 3")))
    assert type(again) is CarrierError
    assert "ZeroDivisionError: by 0\\nin line 3" in str(again)
    forged = words.as_error(words.Failed("SystemExit", "x", ""))
    assert type(forged) is CarrierError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/dev/ttyUSB0: gone", "/dev/ttyUSB0: gone"),
        ("données/capture", "données/capture"),
        ("\x1b[2Jboo\r\n", "\\x1b[2Jboo\\r\\n"),
        ("a\u202eb\x9bc\x7f", "a\\u202eb\\x9bc\\x7f"),
        ("bytes \udcff", "bytes \\udcff"),
    ],
)
def test_texts_are_printable(text: str, shown: str) -> None:
    assert words.printable(text) == shown
    assert words.printable(shown) == shown
    assert words.as_error(words.Failed("CarrierError", text, text)).hint == shown


def test_long_texts_are_cut() -> None:
    word = words.failed(CarrierError("\x1b" * 10**6, hint="h" * 10**6))
    assert len(word.message) == len(word.hint) == words.TEXT
    assert words.decode(words.encode(word)) == word
    assert len(words.encode(word)) <= words.LONGEST


def test_the_longest_words_are_short_enough() -> None:
    hearing = Hearing("a" * 32, True, *[-123456.789012345] * 9, 2**62, 2**62, 0, 1, [-1e8 / 3] * 64)
    assert len(words.encode(words.Opened(1e9, [], [], hearing))) <= words.LONGEST


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[" * 10_000,
        b'{"word":"run","command":"ls"}',
        b'{"word":"notice"}',
        b'{"more":' + b"[" * 10_000,
        b'{"word":"notice","text":5}',
        b'{"word":"notice","text":"x","more":1}',
        b'{"word":"dropped","bytes":-1,"reads":0,"outages":0}',
        b'{"word":"dropped","bytes":1e300,"reads":0,"outages":0}',
        b'{"word":"notice","text":"' + b"x" * (words.TEXT + 1) + b'"}',
        b'{"word":"opened","rate":1e99,"done":[],"missing":[],"hearing":null}',
        b'{"word":"notice","text":"' + b" " * words.LONGEST + b'"}',
    ],
)
def test_what_makes_no_sense(content: bytes) -> None:
    with pytest.raises(ValueError):
        words.decode(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level_db", 1e300),
        ("level_db", None),
        ("modem", "\x1b[2J"),
        ("modem", "a" * 33),
        ("spectrum", [0.0] * 65),
        ("spectrum", ["x"]),
        ("found", -1),
    ],
)
def test_figures_out_of_range(field: str, value: object) -> None:
    told = json.loads(words.encode(words.Heard(HEARING)))
    told["hearing"][field] = value
    with pytest.raises(ValueError):
        words.decode(json.dumps(told).encode())


@given(content=st.binary(max_size=200))
@examples(300)
def test_any_bytes(content: bytes) -> None:
    with pytest.raises(ValueError):
        words.decode(content)
