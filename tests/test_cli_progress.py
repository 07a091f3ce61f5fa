"""The progress display: on a terminal only, seldom, and never tripped up by a name."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from diode.cli import progress as module
from diode.cli.progress import BarProgress, Interval, NullProgress, progress
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


def on_terminal() -> tuple[Report, io.StringIO]:
    report, shown = Report(), io.StringIO()
    report.console = Console(file=shown, force_terminal=True, width=200, color_system=None)
    return report, shown


def test_no_display_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(Report(), "sending") as bar:
        assert isinstance(bar, NullProgress)
        bar.update(1, 2, "text")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{"quiet": True}, {"json_": True}])
def test_no_display_where_it_would_be_in_the_way(options: dict[str, bool]) -> None:
    report = Report(**options)
    report.console = on_terminal()[0].console
    assert isinstance(progress(report, "sending"), NullProgress)


@pytest.mark.parametrize(
    "name",
    ["plain.txt", "[bold]a[/bold]", "[/nothing]", "[link=file:///x]y", "[", "]", "[[", ":x", "%s"],
)
def test_names_are_shown_as_they_are(name: str) -> None:
    report, shown = on_terminal()
    with progress(report, "receiving") as bar:
        assert isinstance(bar, BarProgress)
        bar.update(1, 4, f"{name}, 5 frames")
        bar._bar.refresh()
    assert f"{name}, 5 frames" in shown.getvalue()
    assert "receiving" in shown.getvalue()
    assert " 25%" in shown.getvalue()


def test_total_may_be_unknown() -> None:
    report, shown = on_terminal()
    with progress(report, "receiving") as bar:
        bar.update(0, None, "listening")
        bar._bar.refresh()
    assert "listening" in shown.getvalue()


def test_display_changes_ten_times_a_second_at_most(clock: Clock) -> None:
    report, _ = on_terminal()
    bar = BarProgress(report, "sending")
    seen = []
    for step in range(1, 31):
        bar.update(step, 30, str(step))
        seen.append(bar._bar.tasks[0].completed)
        clock.now += 0.0625
    assert seen[:5] == [1, 1, 3, 3, 5]
    assert len(set(seen)) == 15
    assert bar._bar.tasks[0].fields["text"] == "29"


def test_display_ends_with_an_error_too() -> None:
    report, shown = on_terminal()
    bar = progress(report, "sending")
    with pytest.raises(KeyboardInterrupt), bar:
        raise KeyboardInterrupt
    assert not bar._bar.live.is_started
    assert shown.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in shown.getvalue()


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
