"""Standard error as a terminal: the progress display, and what is loaded for it."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from cli import Shell
from rich.console import Console

from diode.cli import terminal as module
from diode.cli.progress import NullProgress, progress
from diode.cli.report import Report
from diode.cli.terminal import BarProgress, Terminal


def on_terminal() -> tuple[Report, io.StringIO]:
    report, shown = Report(), io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200, color_system=None)
    report.terminal = Terminal(console)
    return report, shown


@pytest.mark.parametrize("options", [{"quiet": True}, {"json_": True}])
def test_no_display_where_it_would_be_in_the_way(options: dict[str, bool]) -> None:
    report = Report(**options)
    report.terminal = on_terminal()[0].terminal
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


def test_display_changes_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    report, _ = on_terminal()
    assert report.live
    bar = report.live.bar("sending")
    seen = []
    for step in range(1, 31):
        bar.update(step, 30, str(step))
        seen.append(bar._bar.tasks[0].completed)
        now += 0.0625
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


def test_what_nobody_needs_is_not_loaded(shell: Shell) -> None:
    """Without a terminal or a key a transfer loads nothing for them: both take a while."""
    (shell.folder / "file").write_bytes(b"content")
    program = (
        "import sys; from diode.cli import main\n"
        "assert main() == 0\n"
        "print([name for name in ('rich', 'cryptography') if name in sys.modules])"
    )
    for arguments in ("send file --to file:cap", "recv inbox --from file:cap"):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments.split()],
            cwd=shell.folder,
            env=shell.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]"
    assert (shell.folder / "inbox" / "file").read_bytes() == b"content"
