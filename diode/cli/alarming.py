"""What is done about an alarm, at a receiver and at a sender: it is told, and a program is run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from diode.objects import escape
from diode.service.hook_process import resolved
from diode.service.hooks import Called, Hooks, Trouble

if TYPE_CHECKING:
    from diode.cli.report import Report
    from diode.health import Alarm

KIND = "alarm"


def tell(report: Report, alarm: Alarm, raised: bool) -> None:
    """Something that a person should look at has begun, or is over."""
    report.event(
        "alarm",
        name=alarm.name,
        state="raised" if raised else "cleared",
        text=alarm.text,
        hint=alarm.hint,
        since=alarm.since,
    )
    if report.json:
        return
    if raised:
        report.warn(f"alarm: {alarm.text}; {alarm.hint}")
    else:
        report.say(f"alarm is over: {alarm.text}")


class AlarmHook:
    """The program of `on-alarm`, where there is one."""

    def __init__(self, report: Report, role: str, command: list[str] | None) -> None:
        """Starts the process that runs it: before threads and a confinement. UsageError."""
        self._report = report
        commands = {}
        if command is not None:
            commands[KIND] = resolved(shlex.join(command), f"{role}.on-alarm")
        self._hooks = Hooks.start(commands)

    def begin(self) -> None:
        """After the confinement."""
        self._hooks.begin()

    def close(self) -> None:
        """End the process, and what it runs."""
        self._hooks.close()

    def run(self, alarm: Alarm, raised: bool) -> None:
        """An alarm was raised, or cleared. Does not wait."""
        facts = {
            "DIODE_ALARM": alarm.name,
            "DIODE_STATE": "raised" if raised else "cleared",
            "DIODE_TEXT": alarm.text,
            "DIODE_HINT": alarm.hint,
            "name": alarm.name,
        }
        self._hooks.run(KIND, facts)
        self.tell()

    def tell(self) -> None:
        """What became of it."""
        for told in self._hooks.told():
            match told:
                case Called() if not told.well:
                    self._report.warn(f"the hook for the alarm {escape(told.name)} failed")
                case Trouble(_, text, hint):
                    self._report.warn(f"{text}; {hint}" if hint else text)
                case _:
                    pass
