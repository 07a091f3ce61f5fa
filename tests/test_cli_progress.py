"""The progress display: on a terminal only, seldom, and never tripped up by a name."""

from __future__ import annotations

import pytest

from diode.cli import progress as module
from diode.cli.progress import Interval, NullProgress, progress
from diode.cli.report import Report


class Clock:
    """Time as the display sees it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def test_no_display_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(Report(), "sending") as bar:
        assert isinstance(bar, NullProgress)
        bar.update(1, 2, "text")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [0.5, 10.0])
def test_interval_is_due_once_in_its_length(clock: Clock, length: float) -> None:
    interval = Interval(length)
    due = []
    for _ in range(100):
        due.append(interval.due())
        clock.now += length / 4
    assert due[:9] == [True, False, False, False, True, False, False, False, True]
    assert sum(due) == 25


def test_interval_by_default(clock: Clock) -> None:
    interval = Interval()
    assert interval.due()
    clock.now += module.EVENT_INTERVAL * 0.99
    assert not interval.due()
    clock.now += module.EVENT_INTERVAL * 0.02
    assert interval.due()


def test_a_ration_runs_out_and_grows_again(clock: Clock) -> None:
    ration = module.Ration(burst=3, per_second=0.5)
    assert [ration.take() for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now += 2
    assert [ration.take() for _ in range(2)] == [True, False]
    clock.now += 1e6
    assert sum(ration.take() for _ in range(10)) == 3
