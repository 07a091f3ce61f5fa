"""Alarms: each is raised once, and cleared once, and what wavers between does not ring."""

from __future__ import annotations

import pytest
from healths import NOW, a_health, a_line, a_sender
from msgspec.structs import replace

from diode.health import Alarm, Disk, Health, LinkState, Loss, Refused, Repair, Sending
from diode.record_health import RecordGap, RecordsIn, RecordsOut, Sink, Source
from diode.service.alarms import RULES, SENDING_RULES, Alarms, Rise, SendingSigns, Signs

CALM = Signs(1000, 0, None, False)
WELL = a_health(
    a_line(loss=Loss(0.0, 0.0, 0.0)),
    repair=Repair(),
    senders=[a_sender(missing=[], missing_objects=0)],
    alarms=[],
    refused=[],
    records=None,
)
LATE = [a_sender(missing_objects=2)]


def line(state: LinkState = LinkState.UP, loss: float | None = 0.0) -> Health:
    return replace(WELL, line=a_line(state, loss=Loss(loss)))


def disk(free: float) -> Health:
    return replace(WELL, disk=Disk(int(free * 1e9), 10**9, 0, 0, 0, "no space left"))


def sink(away: float) -> Sink:
    since = NOW - away if away else None
    return Sink("mqtt://broker", not away, since, away, "refused" if away else "", 5, 3)


def records(**changes: object) -> Health:
    return replace(WELL, records=RecordsIn(**changes))


JUST_MISSING = CALM._replace(record_gap_ago=0.0)
CASES = {
    "silent": (line(LinkState.SILENT), CALM, line(LinkState.UNHEARD), CALM, WELL, CALM),
    "losing": (line(loss=0.06), CALM, line(loss=0.03), CALM, line(loss=0.01), CALM),
    "repair": (
        *(replace(WELL, repair=Repair(0.9, 0.9, 0.9)), CALM),
        *(replace(WELL, repair=Repair(0.7, 0.7, 0.7)), CALM),
        *(replace(WELL, repair=Repair(0.4, 0.4, 0.4)), CALM),
    ),
    "disk": (disk(0.04), CALM, disk(0.06), CALM, disk(0.5), CALM),
    "gap": (
        *(replace(WELL, senders=LATE), CALM._replace(overdue=2)),
        *(replace(WELL, senders=LATE), CALM),
        *(WELL, CALM),
    ),
    "refused": (
        *(replace(WELL, refused=[Refused(NOW, "07", 1, "x", "void")]), CALM),
        *(WELL, CALM._replace(refused_ago=3599.0)),
        *(WELL, CALM._replace(refused_ago=3600.0)),
    ),
}
CASES |= {
    "record_gap": (
        *(records(missing=2, gaps=[RecordGap(NOW, "07", "log/a", 3, 4)]), JUST_MISSING),
        *(WELL, CALM._replace(record_gap_ago=3599.0)),
        *(WELL, CALM._replace(record_gap_ago=3600.0)),
    ),
    "records_dropped": (
        *(records(dropped=7), CALM._replace(dropped_ago=0.0)),
        *(WELL, CALM._replace(dropped_ago=3599.0)),
        *(WELL, CALM),
    ),
    "sink_away": (
        *(records(sinks=[sink(10.0), sink(60.0)]), CALM),
        *(records(sinks=[sink(10.0), sink(0.0)]), CALM),
        *(records(sinks=[sink(0.0), sink(0.0)]), CALM),
    ),
}
"""Of each alarm: what raises it, what leaves it as it is, what clears it."""
CASES["refused"] = (CASES["refused"][0], CALM._replace(refused_ago=0.0), *CASES["refused"][2:])


LATELY = ("refused", "record_gap", "records_dropped")
"""Those that only an hour in which nothing happens clears."""


def test_every_rule_has_its_case() -> None:
    assert [rule.name for rule in RULES] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_raised_and_cleared_once(name: str) -> None:
    raising, sign, between, sign_between, clearing, sign_clearing = CASES[name]
    alarms = Alarms(RULES)
    assert alarms.look(WELL, CALM) == []
    ((alarm, raised),) = alarms.look(raising, sign)
    assert (alarm.name, raised, alarm.since) == (name, True, NOW)
    assert alarm.text and alarm.hint
    assert alarms.raised == [alarm]
    assert alarms.look(raising, sign) == []
    assert alarms.look(between, sign_between) == []
    assert [one.name for one in alarms.raised] == [name]
    ((alarm, raised),) = alarms.look(clearing, sign_clearing)
    assert (alarm.name, raised) == (name, False)
    assert alarms.raised == []
    if name not in LATELY:
        assert alarms.look(between, sign_between) == [], "it was not raised, so it is not now"


@pytest.mark.parametrize("name", CASES)
def test_raised_over_a_restart_until_it_is_over(name: str) -> None:
    raising, sign, between, sign_between, clearing, sign_clearing = CASES[name]
    first = Alarms(RULES)
    first.look(raising, sign)
    again = Alarms(RULES, first.raised)
    assert again.look(between, sign_between) == []
    assert [one.since for one in again.raised] == [NOW]
    assert [raised for _, raised in again.look(clearing, sign_clearing)] == [False]


def test_of_few_frames_no_share_is_told() -> None:
    assert Alarms(RULES).look(line(loss=0.5), CALM._replace(sent_lately=10)) == []


def test_a_disk_that_takes_nothing() -> None:
    alarms = Alarms(RULES)
    ((alarm, _),) = alarms.look(disk(0.5), CALM._replace(blocked=True))
    assert alarm.text == "not all can be written: no space left"
    assert alarms.look(disk(0.5), CALM)[0][1] is False


def test_a_text_goes_with_the_time_and_rings_no_more() -> None:
    alarms = Alarms(RULES)
    alarms.look(replace(WELL, senders=LATE), CALM._replace(overdue=2))
    more = replace(WELL, senders=[a_sender(missing_objects=9)], time=NOW + 60)
    assert alarms.look(more, CALM._replace(overdue=9)) == []
    (alarm,) = alarms.raised
    assert (alarm.text, alarm.since) == ("9 objects never came", NOW)


def test_an_alarm_of_another_version_is_not_kept() -> None:
    assert Alarms(RULES, [Alarm("gone", NOW, "x"), Alarm("disk", NOW, "y")]).raised == [
        Alarm("disk", NOW, "y")
    ]


def test_what_is_said_of_records() -> None:
    gap = RecordGap(NOW, "07", "log/a", 3, 4)
    health = records(missing=2, gaps=[gap], dropped=7, sinks=[sink(61.0), sink(70.0)])
    alarms = Alarms(RULES)
    alarms.look(health, CALM._replace(record_gap_ago=1.0, dropped_ago=1.0))
    assert [alarm.text for alarm in alarms.raised] == [
        "2 records never came, the last of log/a",
        "7 records dropped for want of room",
        "mqtt://broker and 1 more take no records: refused",
    ]


def test_a_count_that_rises() -> None:
    rise = Rise()
    assert rise.ago(0, 5.0) is None
    assert rise.ago(2, 6.0) == 0.0
    assert rise.ago(2, 9.0) == 3.0
    assert rise.ago(3, 10.0) == 0.0


# A sender's -------------------------------------------------------------------------------------


def sending(**changes: object) -> Sending:
    none: list = []
    known = RecordsOut(**changes)
    return Sending(
        *(NOW, NOW, "07", ["x"], True, 1, 1, 1, 1, 1, 0, none, none, none), records=known
    )


def source(away: float, *, ended: bool = False) -> Source:
    since = NOW - away if away else None
    return Source("tail:log", not away, since, away, "no such file" if away else "", 1, ended)


def test_alarms_of_a_sender() -> None:
    alarms, calm = Alarms(SENDING_RULES), SendingSigns("", None)
    assert alarms.look(sending(sources=[source(59.9), source(0.0, ended=True)]), calm) == []
    changed = alarms.look(
        sending(dropped=1, sources=[source(60.0)]), SendingSigns("the disk is full", 1.0)
    )
    assert [(alarm.name, alarm.text, raised) for alarm, raised in changed] == [
        ("disk", "the disk is full", True),
        ("records_dropped", "1 record came faster than they were taken, and were dropped", True),
        ("source_away", "tail:log is away: no such file", True),
    ]
    assert all(alarm.hint for alarm in alarms.raised)
    assert alarms.look(sending(sources=[source(5.0)]), SendingSigns("the disk is full", 9.0)) == []
    changed = alarms.look(sending(sources=[source(0.0)]), calm)
    assert [raised for _, raised in changed] == [False] * 3
    assert alarms.look(sending(patience=5.0, sources=[source(6.0)]), calm)


def test_a_sender_without_records_has_no_alarms_of_them() -> None:
    quiet = replace(sending(), records=None)
    assert Alarms(SENDING_RULES).look(quiet, SendingSigns("", None)) == []
