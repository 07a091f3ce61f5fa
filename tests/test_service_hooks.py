"""Hooks of a running process: kinds, order, bounds, and what is told of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from cli import wait_until

from diode.service import hooks as module
from diode.service.hooks import MOST_WAITING, Called, Hooks, Trouble, Wrote

NOTE = "import os, sys; open(sys.argv[1], 'a').write(os.environ['DIODE_TEXT'] + '\\n')"


def note(path: Path, more: str = "") -> list[str]:
    """A command that writes its text into a file."""
    return [sys.executable, "-c", f"{NOTE}; {more}", str(path)]


def ended(hooks: Hooks, kind: str, count: int) -> list[Called]:
    """So many ends of that kind, as they are told."""
    found: list[Called] = []

    def enough() -> bool:
        told = hooks.told()
        assert not [t for t in told if isinstance(t, Trouble)]
        found.extend(t for t in told if isinstance(t, Called) and t.kind == kind)
        return len(found) >= count

    wait_until(enough)
    return found


def test_calls_are_made_in_order_and_one_at_a_time(tmp_path: Path) -> None:
    hooks = Hooks.start({"alarm": note(tmp_path / "log")})
    hooks.begin()
    try:
        for number in range(5):
            hooks.run("alarm", {"DIODE_ALARM": "silent", "DIODE_TEXT": f"{number}"})
        called = ended(hooks, "alarm", 5)
    finally:
        hooks.close()
    assert (tmp_path / "log").read_text().split() == list("01234")
    assert [(c.name, c.status, c.attempt) for c in called] == [("silent", 0, 1)] * 5
    assert hooks.idle


def test_one_kind_does_not_wait_for_another(tmp_path: Path) -> None:
    stuck = [sys.executable, "-c", "import time; time.sleep(300)"]
    hooks = Hooks.start({"delivery": stuck, "alarm": note(tmp_path / "log")})
    hooks.begin()
    try:
        hooks.run("delivery", {})
        hooks.run("alarm", {"DIODE_TEXT": "now"})
        hooks.run("unheard-of", {"DIODE_TEXT": "nobody runs that"})
        ended(hooks, "alarm", 1)
        assert not hooks.idle
    finally:
        before = time.monotonic()
        hooks.close()
    assert time.monotonic() - before < 60, "what runs is ended, not waited for"
    assert (tmp_path / "log").read_text() == "now\n"


def test_what_waits_in_memory_is_bounded(tmp_path: Path) -> None:
    hooks = Hooks.start({"alarm": note(tmp_path / "log")})
    for number in range(MOST_WAITING + 5):
        hooks.run("alarm", {"DIODE_TEXT": f"{number}"})
    queue = hooks._kinds["alarm"].queue
    hooks.close()
    assert isinstance(queue, module.InMemory)
    assert queue.forgotten == 5
    assert queue.next(0).facts["DIODE_TEXT"] == "5"


def test_a_call_that_is_too_long_is_given_up_aloud(tmp_path: Path) -> None:
    hooks = Hooks.start({"alarm": note(tmp_path / "log")})
    hooks.begin()
    told = []
    try:
        hooks.run("alarm", {"DIODE_TEXT": "x" * (1 << 18)})
        wait_until(lambda: told.extend(hooks.told()) or told)
        hooks.run("alarm", {"DIODE_TEXT": "next"})
        ended(hooks, "alarm", 1)
    finally:
        hooks.close()
    assert [type(t) for t in told] == [Trouble]
    assert (tmp_path / "log").read_text() == "next\n"


def test_output_and_failures_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    program = "print('a\\x1b[31m'); import sys; sys.stderr.write('no end'); sys.exit(4)"
    hooks = Hooks.start({"alarm": [sys.executable, "-c", program]})
    hooks.begin()
    told: list[module.Told] = []
    try:
        hooks.run("alarm", {})
        wait_until(lambda: told.extend(hooks.told()) or any(_given_up(t) for t in told))
        wait_until(lambda: hooks.idle)
    finally:
        hooks.close()
    said = [t.text for t in told if isinstance(t, Wrote)]
    assert sorted(said) == ["a\\x1b[31m"] * 2 + ["no end"] * 2
    called = [(t.status, t.attempt, t.given_up) for t in told if isinstance(t, Called)]
    assert called == [(4, 1, False), (4, 2, True)]


def _given_up(told: module.Told) -> bool:
    return isinstance(told, Called) and told.given_up


def test_a_command_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", ())
    hooks = Hooks.start({"alarm": [str(tmp_path / "gone")]})
    hooks.begin()
    try:
        hooks.run("alarm", {})
        (called,) = ended(hooks, "alarm", 1)
    finally:
        hooks.close()
    assert called.status == 127 and called.given_up
