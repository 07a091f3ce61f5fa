"""Alarms: each is raised once, and cleared once, and what wavers between does not ring."""

from __future__ import annotations

import pytest
from healths import NOW, a_health, a_line, a_sender
from msgspec.structs import replace

from diode.health import Alarm, Disk, Health, LinkState, Loss, Refused, Repair
from diode.service.alarms import RULES, Alarms, Signs

CALM = Signs(1000, 0, None, False)
WELL = a_health(
    a_line(loss=Loss(0.0, 0.0, 0.0)),
    repair=Repair(),
    senders=[a_sender(missing=[], missing_objects=0)],
    alarms=[],
    refused=[],
)
LATE = [a_sender(missing_objects=2)]


def line(state: LinkState = LinkState.UP, loss: float | None = 0.0) -> Health:
    return replace(WELL, line=a_line(state, loss=Loss(loss)))


def disk(free: float) -> Health:
    return replace(WELL, disk=Disk(int(free * 1e9), 10**9, 0, 0, 0, "no space left"))


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
"""Of each alarm: what raises it, what leaves it as it is, what clears it."""
CASES["refused"] = (CASES["refused"][0], CALM._replace(refused_ago=0.0), *CASES["refused"][2:])


def test_every_rule_has_its_case() -> None:
    assert [rule.name for rule in RULES] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_raised_and_cleared_once(name: str) -> None:
    raising, sign, between, sign_between, clearing, sign_clearing = CASES[name]
    alarms = Alarms()
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
    if name != "refused":
        assert alarms.look(between, sign_between) == [], "it was not raised, so it is not now"


@pytest.mark.parametrize("name", CASES)
def test_raised_over_a_restart_until_it_is_over(name: str) -> None:
    raising, sign, between, sign_between, clearing, sign_clearing = CASES[name]
    first = Alarms()
    first.look(raising, sign)
    again = Alarms(first.raised)
    assert again.look(between, sign_between) == []
    assert [one.since for one in again.raised] == [NOW]
    assert [raised for _, raised in again.look(clearing, sign_clearing)] == [False]


def test_of_few_frames_no_share_is_told() -> None:
    assert Alarms().look(line(loss=0.5), CALM._replace(sent_lately=10)) == []


def test_a_disk_that_takes_nothing() -> None:
    alarms = Alarms()
    ((alarm, _),) = alarms.look(disk(0.5), CALM._replace(blocked=True))
    assert alarm.text == "not all can be written: no space left"
    assert alarms.look(disk(0.5), CALM)[0][1] is False


def test_a_text_goes_with_the_time_and_rings_no_more() -> None:
    alarms = Alarms()
    alarms.look(replace(WELL, senders=LATE), CALM._replace(overdue=2))
    more = replace(WELL, senders=[a_sender(missing_objects=9)], time=NOW + 60)
    assert alarms.look(more, CALM._replace(overdue=9)) == []
    (alarm,) = alarms.raised
    assert (alarm.text, alarm.since) == ("9 objects never came", NOW)


def test_an_alarm_of_another_version_is_not_kept() -> None:
    assert Alarms([Alarm("gone", NOW, "x"), Alarm("disk", NOW, "y")]).raised == [
        Alarm("disk", NOW, "y")
    ]
