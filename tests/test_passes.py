"""Passes can be gone on with: a place says what was sent, whatever the objects and the settings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, everything, examples

from diode import events, frame
from diode.events import Key
from diode.frame import Kind
from diode.group import Place
from diode.plan import Link, Settings
from diode.sent import ObjectSent, SourceFailed
from diode.transmitter import Transmitter

SLOW = Link(rate=11_520)
THINGS = (content(9000), b"", content(70_000, 2), content(1, 3), content(30_000, 4))


def new(things, settings, link=SLOW, passes_done=0) -> Transmitter:
    transmitter = Transmitter(7, settings, link)
    for number, thing in enumerate(things, 1):
        source = thing if isinstance(thing, BytesSource) else BytesSource(thing)
        transmitter.add(number, source, passes_done)
    return transmitter


def unnumbered(frames: list[np.ndarray]) -> list[bytes]:
    """Data and announcements as they are but for their sequence numbers."""
    kept = []
    for f in frames:
        kind = f[0] & 0x0F
        if kind == Kind.HEARTBEAT:
            continue
        plain = f[: -frame.CHECK].copy()
        if kind == Kind.COMPACT:
            plain[1] = 0
        else:
            plain[2:4] = 0
        kept.append(plain.tobytes())
    return kept


def until(transmitter: Transmitter, steps: int) -> list[np.ndarray]:
    sent = []
    for _ in range(steps):
        frames = transmitter.step(0.0)
        if frames is None:
            break
        sent += [p.copy() for p in frames.pieces()]
    return sent


def test_sequence_lies_where_it_is_blanked() -> None:
    for rate in (11_520, None):
        one = new(THINGS, Settings(), Link(rate=rate))
        other = new(THINGS, Settings(), Link(rate=rate))
        other.frames_sent = 12_345
        assert unnumbered(everything(one)) == unnumbered(everything(other))


@given(
    steps=st.integers(1, 400),
    passes=st.integers(1, 3),
    burst=st.sampled_from([0.0, 0.3, 5.0]),
    keep_order=st.booleans(),
)
@examples(30)
def test_what_two_runs_send_is_what_one_sends(
    steps: int, passes: int, burst: float, keep_order: bool
) -> None:
    settings = Settings(passes=passes, burst=burst, keep_order=keep_order, redundancy=0.5)
    whole = new(THINGS, settings)
    expected = unnumbered(everything(whole))
    first = new(THINGS, settings)
    before = until(first, steps)
    place = first.place
    assert (place is None) == (steps == 1)  # the first step is a heartbeat
    if place is None:
        return
    second = new(THINGS, settings, passes_done=place.number_of_pass - 1)
    second.go_on(place)
    after = everything(second)
    assert unnumbered(before) + unnumbered(after) == expected
    assert second.progress.frames == whole.progress.frames == whole.progress.total_frames
    assert len([e for e in second.events() if isinstance(e, ObjectSent)]) == len(THINGS)


def test_fresh_parity_goes_on_in_a_carousel() -> None:
    settings = Settings(passes=0, redundancy=0.1)
    first = new(THINGS, settings)
    before: list[np.ndarray] = []
    while first.progress.number_of_pass < 4:
        before += until(first, 1)
    assert first.place is not None
    second = new(THINGS, settings, passes_done=first.place.number_of_pass - 1)
    second.go_on(first.place)
    after = until(second, 40)
    uninterrupted = unnumbered(before + until(first, 200))
    assert uninterrupted[: len(unnumbered(before + after))] == unnumbered(before + after)


def test_a_group_that_turns_out_otherwise_is_sent_whole() -> None:
    """Nothing is left out that may not have been sent."""
    settings = Settings(burst=5.0)  # all objects in one group
    first = new(THINGS, settings)
    before = until(first, 9)
    assert first.place is not None and first.place.frames > 0
    broken = BytesSource(THINGS[2])
    broken.fails_at = 0
    second = new([*THINGS[:2], broken, *THINGS[3:]], settings)
    second.go_on(first.place)
    listener = Listener().hear(everything(second))
    assert [e.number for e in second.events() if isinstance(e, SourceFailed)] == [3]
    assert {k: listener.delivered[k] for k in listener.delivered} == {
        Key(7, n): THINGS[n - 1] for n in (1, 2, 4, 5)
    }
    assert before


@pytest.mark.parametrize("number", [0, 6, 99])
def test_a_place_in_an_object_that_is_not_there_begins_the_pass(number: int) -> None:
    transmitter = new(THINGS, Settings())
    transmitter.go_on(Place(1, number, 3, check=1, frames=17))
    assert len(Listener().hear(everything(transmitter)).delivered) == len(THINGS)


def test_a_block_beyond_the_last_skips_the_object_alone() -> None:
    transmitter = new(THINGS, Settings())
    transmitter.go_on(Place(1, 3, 1000, check=1))
    assert set(Listener().hear(everything(transmitter)).delivered) == {Key(7, 4), Key(7, 5)}


def test_no_more_objects_share_a_group_than_a_receiver_can_have_begun() -> None:
    """Small objects on a fast line: the planned outage hits thousands, a group has a thousand."""
    fast = Link(rate=50_000_000)
    transmitter = new([b"x" * 1000] * 5000, Settings(burst=0.5), fast)
    listener = Listener()
    listener.hear([f for f in everything(transmitter)])
    assert len(listener.delivered) == 5000
    assert not listener.of(events.ObjectEvicted)
