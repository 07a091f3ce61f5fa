"""Bounds and refusals of partly heard announcements; their coding is in test_objects.py."""

from __future__ import annotations

import numpy as np
import pytest

from diode.announcements import MAX_SYMBOLS, OVERHEAD, Announcements, AnnouncementSymbols
from diode.events import Key
from diode.frame import Reject
from diode.objects import Announcement, Manifest

KEY = Key(7, 1)
NAMED = Manifest(0, 0, b"n" * 400, 0, bytes(32), 0, 1, 1, 16, 1, None)


def listening(limit=1 << 20):
    refused = []
    return Announcements(limit, lambda *why: refused.append(why)), refused


def coded(room=100):
    return AnnouncementSymbols.of(Announcement(NAMED), room)


def test_any_sufficient_set_of_symbols_gives_the_announcement() -> None:
    made = coded()
    assert made.count > 3
    heard, refused = listening()
    numbers = made.numbers(2, made.count)  # begins in the middle, ends in parity
    symbols = made.symbols(numbers)
    found = [
        heard.take(KEY, made.tag, made.count, int(n), s)
        for n, s in zip(numbers, symbols, strict=True)
    ]
    assert found[:-1] == [None] * (made.count - 1)
    assert Announcement.parse(found[-1]).manifest == NAMED
    assert (heard.bytes, refused) == (0, [])


@pytest.mark.parametrize(
    ("count", "number", "size", "reason"),
    [
        (0, 0, 50, Reject.MANIFEST),
        (MAX_SYMBOLS + 1, 0, 50, Reject.MANIFEST),
        (1, 0, 0, Reject.MANIFEST),
        (MAX_SYMBOLS, 0, 1000, Reject.LIMIT),
        (1, 1, 50, Reject.INDEX),
        (2, 256, 50, Reject.INDEX),
        (1, 0, 50, Reject.MANIFEST),  # contradicts its tag
    ],
)
def test_refusals(count: int, number: int, size: int, reason: Reject) -> None:
    heard, refused = listening()
    assert heard.take(KEY, 5, count, number, np.zeros(size, np.uint8)) is None
    assert [why for why, _, _ in refused] == [reason]
    assert heard.bytes == 0


def test_the_least_recent_go_first_and_the_rest_is_still_completed() -> None:
    heard, refused = listening(4 * (OVERHEAD + 300))
    made = coded()
    numbers = made.numbers(0, made.count)
    symbols = made.symbols(numbers)
    for n, s in zip(numbers[:-1], symbols[:-1], strict=True):
        heard.take(KEY, made.tag, made.count, int(n), s)
        heard.take(Key(9, int(n)), 1, 2, 0, s)  # a flood of beginnings
    assert heard.bytes <= 4 * (OVERHEAD + 300)
    assert {why for why, _, _ in refused} == {Reject.LIMIT}
    assert heard.take(KEY, made.tag, made.count, int(numbers[-1]), symbols[-1]) is not None
