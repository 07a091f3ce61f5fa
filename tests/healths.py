"""Values of health, for the tests of all that shows them."""

from __future__ import annotations

from diode.health import (
    Alarm,
    Disk,
    Health,
    Line,
    LinkState,
    Loss,
    Numbers,
    Outcomes,
    Refused,
    Repair,
    Sample,
    SenderHealth,
    Unfinished,
)

NOW = 1_700_000_000.0


def a_line(state: LinkState = LinkState.UP, **changes: object) -> Line:
    known = {
        "state": state,
        "silent_seconds": 0.4,
        "silent_since": None,
        "last_heard": NOW - 0.4,
        "frames": 12_345,
        "lost": 67,
        "idle": 89,
        "rejected": {"check": 3, "tag": 1},
        "bytes": 4_567_890,
        "noise": 321,
        "dropped_bytes": 0,
        "kernel_dropped": 0,
        "loss": Loss(0.01, 0.005, 0.0054),
        "history": [Sample(NOW - 120, 600, 3), Sample(NOW - 60, 590, 13)],
    }
    return Line(**(known | changes))


def a_sender(**changes: object) -> SenderHealth:
    known = {
        "sender": "0badcafe",
        "last_heard": NOW - 0.4,
        "silent_seconds": 0.4,
        "interval": 2.0,
        "ended": False,
        "frames": 12_345,
        "lost": 67,
        "sent": 99_999,
        "rate": 11_520,
        "uptime": 86_400,
        "queued": 4,
        "number_of_pass": 1,
        "passes": 3,
        "highest": 42,
        "loss": Loss(0.01, 0.005, 0.0054),
        "missing": [Numbers(7, 7), Numbers(9, 12)],
        "missing_objects": 5,
    }
    return SenderHealth(**(known | changes))


def a_health(line: Line | None = None, **changes: object) -> Health:
    """A receiver with a bit of everything."""
    known = {
        "time": NOW,
        "started": NOW - 3600,
        "state": "1234abcd",
        "listening": ["serial:/dev/ttyUSB1?baud=115200"],
        "inbox": "/srv/in",
        "line": line or a_line(),
        "repair": Repair(0.25, 0.5, 0.75),
        "outcomes": Outcomes(delivered=36, refused=1, quarantined=2, known=3),
        "senders": [a_sender()],
        "unfinished": [
            Unfinished("0badcafe", 41, "big.iso", 10_000_000, NOW - 60, 20, 12, 640, 255)
        ],
        "unfinished_objects": 1,
        "refused": [Refused(NOW - 100, "0badcafe", 40, "evil.exe", "unsigned")],
        "disk": Disk(free=10**9, size=10**10, quota=2 * 10**9, unfinished=10_000_000, unwritten=0),
        "alarms": [Alarm("gap", NOW - 50, "5 objects never came", "send them again")],
    }
    return Health(**(known | changes))
