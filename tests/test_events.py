"""Events are frozen values; an object's key prints without surprises."""

import dataclasses
import typing

import pytest

from diode import events


def test_key():
    key = events.Key(0xAB, 12)
    assert str(key) == "000000ab:12"
    assert key == (0xAB, 12)
    assert len({key, events.Key(0xAB, 12), events.Key(12, 0xAB)}) == 2


@pytest.mark.parametrize("kind", typing.get_args(events.Event))
def test_events_are_frozen_and_without_a_dictionary(kind):
    fields = dataclasses.fields(kind)
    event = kind(*range(len(fields)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, fields[0].name, 1)
    assert not hasattr(event, "__dict__")


def test_every_event_is_in_the_union():
    classes = {t for t in vars(events).values() if dataclasses.is_dataclass(t)}
    assert classes == set(typing.get_args(events.Event))
