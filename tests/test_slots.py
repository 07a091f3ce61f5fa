"""What makes all frames one length, and when that cannot be."""

from __future__ import annotations

import pytest

from diode import plan, slots
from diode.errors import UsageError
from diode.plan import Link, Settings

SIZES = [0, 1, 200, 5_000, 1_000_000, 50_000_000]


@pytest.mark.parametrize("code", [None, "zfec", "repeat", "raptorq", "leopard"])
@pytest.mark.parametrize("rate", [120, 11_520, 500_000, 12_500_000, 112_500_000])
@pytest.mark.parametrize("longest", [222, 1472, 8972])
def test_data_frames_are_as_long_as_the_link_says(
    code: str | None, rate: float, longest: int
) -> None:
    if code in plan.WIDE_CODES and Link(rate).compact:
        with pytest.raises(UsageError, match="frames of two lengths"):
            slots.filled(Settings(code=code), Link(rate, longest))
        return
    settings, link = slots.filled(Settings(code=code), Link(rate, longest))
    assert link.max_frame <= longest
    for size in SIZES:
        cut = plan.geometry(size, settings, link)
        assert plan.frame_bytes(link, cut) == link.max_frame
        assert cut.problem() == ""
        assert cut.blocks * cut.block_data >= size


def test_an_object_of_too_many_blocks_for_compact_headers_has_frames_as_long() -> None:
    settings, link = slots.filled(Settings(), Link(11_520))
    cut = plan.geometry(1 << 41, settings, link)
    assert not plan.uses_compact(link, cut)
    assert plan.frame_bytes(link, cut) == link.max_frame


def test_symbol_size_is_the_user_s() -> None:
    settings, link = slots.filled(Settings(symbol_size=100), Link(11_520))
    assert settings.symbol_size == 100
    assert link.max_frame == 112


def test_a_carrier_without_a_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a carrier with a rate") as refused:
        slots.filled(Settings(), Link())
    assert "rate=" in refused.value.hint


def test_a_heartbeat_must_fit() -> None:
    with pytest.raises(UsageError, match="no room for a heartbeat") as refused:
        slots.filled(Settings(symbol_size=39), Link(11_520))
    assert "--symbol-size 40" in refused.value.hint
    _, link = slots.filled(Settings(symbol_size=40), Link(11_520))
    assert link.max_frame == slots.SHORTEST


@pytest.mark.parametrize(("rate", "batch", "count"), [(120, 0, 1), (11_520, 0, 2), (120, 518, 2)])
def test_slots_of_a_turn(rate: float, batch: int, count: int) -> None:
    _, link = slots.filled(Settings(), Link(rate))
    assert slots.in_turn(link, batch) == count


def test_turns_of_a_fast_link_are_bounded() -> None:
    _, link = slots.filled(Settings(), Link(112_500_000, 1472))
    assert slots.in_turn(link) * link.max_frame <= slots.TURN_BYTES
