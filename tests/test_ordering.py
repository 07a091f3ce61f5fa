"""Strictly by number: what is held, what is late, what is given up."""

from __future__ import annotations

import random

import pytest
from cli import Shell, make

from diode.events import Key
from diode.ordering import AsTheyCome, GivenUp, Strict, Turn


def order(up_to: int = 0, patience: float | None = None) -> Strict:
    return Strict(lambda _sender: up_to, patience)


def deliver(order: Strict, number: int, lowest: int = 1, now: float = 0.0) -> list[int]:
    """Numbers that are delivered when this object is whole."""
    out = []
    if order.turn(Key(7, number), lambda: lowest, now) is Turn.DUE:
        out.append(number)
        order.settled(Key(7, number))
        while (key := order.due(7)) is not None:
            out.append(key.number)
            order.settled(key)
    return out


def test_as_they_come_everything_is_due() -> None:
    free = AsTheyCome()
    assert free.turn(Key(7, 9), lambda: 1, 0.0) is Turn.DUE
    free.settled(Key(7, 9))
    assert free.due(7) is None
    assert free.overdue(1e9) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_order_in_becomes_the_right_order_out(seed: int) -> None:
    numbers = list(range(1, 30))
    random.Random(seed).shuffle(numbers)
    strict, out = order(), []
    for number in numbers:
        out += deliver(strict, number)
    assert out == sorted(numbers)


def test_it_goes_on_where_the_ledger_ends() -> None:
    strict = order(up_to=5)
    assert deliver(strict, 7) == []
    assert strict.turn(Key(7, 5), lambda: 5, 0.0) is Turn.LATE
    assert deliver(strict, 6) == [6, 7]


def test_without_a_ledger_it_begins_with_the_lowest_known() -> None:
    strict = order()
    assert deliver(strict, 9, lowest=8) == []
    assert deliver(strict, 8, lowest=8) == [8, 9]


def test_what_was_taken_back_is_waited_for_no_longer() -> None:
    strict = order()
    assert deliver(strict, 3) == []
    strict.settled(Key(7, 2))
    assert deliver(strict, 1) == [1, 3]
    strict = order()
    assert deliver(strict, 1) == [1]
    assert deliver(strict, 3) == []
    strict.settled(Key(7, 2))
    assert strict.due(7) == Key(7, 3)


def test_senders_do_not_wait_for_each_other() -> None:
    strict = order()
    assert deliver(strict, 2) == []
    assert strict.turn(Key(8, 1), lambda: 1, 0.0) is Turn.DUE


def test_patience_ends() -> None:
    strict = order(patience=10.0)
    assert deliver(strict, 1) == [1]
    assert deliver(strict, 4, now=5.0) == []
    assert deliver(strict, 5, now=6.0) == []
    assert strict.overdue(14.9) == []
    assert strict.overdue(15.0) == [GivenUp(7, 2, 3)]
    assert strict.due(7) == Key(7, 4)
    assert strict.turn(Key(7, 3), lambda: 3, 16.0) is Turn.LATE
    assert order().overdue(1e12) == []


def test_held_objects_come_out_when_the_missing_one_does(shell: Shell) -> None:
    """Through the command line, over a restart: 1 and 3 first, 2 from another capture."""
    for number in (1, 2, 3):
        make(shell.folder / f"{number}", 3000, seed=number)
        assert shell.run("send", f"{number}", "--to", f"file:cap{number}").code == 0
    first = (shell.folder / "cap1").read_bytes() + (shell.folder / "cap3").read_bytes()
    (shell.folder / "cap13").write_bytes(first)
    ran = shell.run("recv", "inbox", "--from", "file:cap13", "--ordered", "--json")
    assert ran.code == 3
    assert [event["number"] for event in ran.events("object_delivered")] == [1]
    assert [event["number"] for event in ran.events("object_held")] == [3]
    assert ran.events("object_incomplete")[0]["reason"] == "held"
    assert not (shell.folder / "inbox/3").exists()
    ran = shell.run("recv", "inbox", "--from", "file:cap2", "--ordered", "--json")
    assert ran.code == 0
    assert [event["number"] for event in ran.events("object_delivered")] == [2, 3]
    assert (shell.folder / "inbox/3").exists()


def test_what_comes_after_its_turn_is_refused(shell: Shell) -> None:
    for number in (1, 2, 3):
        make(shell.folder / f"{number}", 3000, seed=number)
        assert shell.run("send", f"{number}", "--to", f"file:cap{number}").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap1", "--ordered").code == 0
    ran = shell.run(
        "recv", "inbox", "--from", "file:cap3", "--ordered", "--give-up-after", "0s", "--json"
    )
    assert [event["number"] for event in ran.events("object_delivered")] == [3]
    gap = next(event for event in ran.events("gap") if event.get("given_up"))
    assert (gap["first"], gap["last"]) == (2, 2)
    ran = shell.run("recv", "inbox", "--from", "file:cap2", "--ordered", "--json")
    assert not ran.events("object_delivered")
    assert not (shell.folder / "inbox/2").exists()
    assert shell.run("recv", "x", "--from", "file:cap1", "--give-up-after", "1s").code == 2
