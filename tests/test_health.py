"""Health is one value: it survives its way through a file, and its sums are right."""

from __future__ import annotations

import msgspec
import pytest
from healths import NOW, a_health, a_line, a_sender
from msgspec.structs import replace

from diode.health import Health, LinkState, Loss, Numbers, Sending


@pytest.mark.parametrize("state", LinkState)
def test_through_json(state: LinkState) -> None:
    health = a_health(a_line(state))
    assert msgspec.json.decode(msgspec.json.encode(health), type=Health) == health


def test_what_a_later_version_adds_is_left_alone() -> None:
    known = msgspec.json.decode(msgspec.json.encode(a_health()))
    known["colour"] = {"of": ["the sky"]}
    assert msgspec.json.decode(msgspec.json.encode(known), type=Health) == a_health()


def test_missing_objects_are_those_of_all_senders() -> None:
    other = a_sender(sender="00000002", missing=[Numbers(1, 3)], missing_objects=3)
    assert a_health(senders=[a_sender(), other]).missing_objects == 8


def test_well() -> None:
    well = a_health(
        senders=[a_sender(missing=[], missing_objects=0)],
        unfinished=[],
        unfinished_objects=0,
        alarms=[],
    )
    assert well.well
    assert replace(well, unfinished_objects=1).well, "it is under way"
    for state in set(LinkState) - {LinkState.UP}:
        assert not replace(well, unfinished_objects=1, line=a_line(state)).well
    assert not replace(well, alarms=a_health().alarms).well
    assert not replace(well, senders=[a_sender()]).well


def test_nothing_sent_is_no_loss() -> None:
    assert Loss() == Loss(None, None, None)


def test_a_sender_through_json() -> None:
    sending = Sending(NOW, NOW - 9, "0badcafe", ["-"], True, 9, 99, 0, 3, 2, 0, [], [], [])
    assert msgspec.json.decode(msgspec.json.encode(sending), type=Sending) == sending
