"""What both ways of staying on air have in common; each has a test file of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pair import BytesSource, Listener, content

from diode import slots
from diode.constant_rate import ConstantRate
from diode.on_air import OnAir
from diode.plan import Link, Settings
from diode.standing import Standing
from diode.supply import Supplied
from diode.transmitter import Transmitter


class Open:
    """A supply from which more may come until it is stopped."""

    stopped = 0

    def poll(self) -> Supplied:
        return Supplied.CLOSED if self.stopped else Supplied.OPEN

    def stop(self) -> None:
        self.stopped += 1


WAYS = pytest.mark.parametrize(
    "way", [Standing, lambda inside, supply: ConstantRate(inside, 5, supply=supply, linger=None)]
)


@WAYS
def test_it_looks_like_the_transmitter_inside_and_ends_with_what_is_on_air(
    way: Callable[[Transmitter, Open], OnAir],
) -> None:
    settings, link = slots.filled(Settings(), Link(rate=11_520))
    inside, supply = Transmitter(7, settings, link), Open()
    inside.add(1, BytesSource(content(500)))
    turns: OnAir = way(inside, supply)
    assert (turns.settings, turns.link) == (settings, link)
    rows = []
    while not inside.empty or not rows:
        rows += [piece.copy() for piece in turns.step(0.0).pieces()]
        assert turns.frames_sent == inside.frames_sent > 0
        assert turns.progress is inside.progress
        assert turns.place == inside.place
        assert len(turns.lanes)
    inside.add(2, BytesSource(content(500)))
    turns.stop()
    assert supply.stopped == 1
    while (frames := turns.step(0.0)) is not None:
        rows += [piece.copy() for piece in frames.pieces()]
    heard = Listener().hear(rows)
    assert list(heard.delivered.values()) == [content(500)]  # not the second
    assert turns.step(0.0) is None
