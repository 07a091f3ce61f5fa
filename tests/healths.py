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
from diode.record_health import Dropped, RecordGap, RecordsIn, RecordsOut, Sink, Source

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
        "records": RecordsIn(
            latest=1200,
            every=45,
            known=678,
            missing=3,
            gaps=[RecordGap(NOW - 30, "0badcafe", "alarms/pump", 7, 9)],
            dropped=11,
            dropped_of=[Dropped("alarms/door", 11)],
            unstored=1,
            topics=90,
            newest=NOW - 2,
            sinks=[
                Sink("file:/srv/records.jsonl", True, None, 0.0, "", 1244, 0),
                Sink("mqtt://broker", False, NOW - 50, 50.0, "there is no broker", 900, 344),
            ],
        ),
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


def records_out(**changes: object) -> RecordsOut:
    """The records of a sender, with a bit of everything."""
    known = {
        "latest": 1300,
        "every": 48,
        "replaced": 20,
        "repeated": 700,
        "waiting": 5,
        "kept": 12,
        "kept_bytes": 6000,
        "quota": 64 << 20,
        "refused": 2,
        "dropped": 4,
        "topics": 90,
        "sources": [
            Source("tail:/var/log/plant", True, None, 0.0, "", 1340, False),
            Source("mqtt://plc", False, NOW - 70, 70.0, "there is no broker", 8, False),
        ],
    }
    return RecordsOut(**(known | changes))
