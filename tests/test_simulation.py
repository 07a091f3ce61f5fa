"""Random scenarios, many of them; each is the same for ever by its seed."""

from __future__ import annotations

import os

import pytest
import simulation

from diode.collector import Collector
from diode.sink import Delivered

SCENARIOS = 300
NIGHTLY = 10_000
SHARES = 6


@pytest.mark.parametrize("share", range(SHARES))
def test_scenarios(share: int) -> None:
    each = SCENARIOS // SHARES
    total = simulation.play_all(range(share * each, (share + 1) * each))
    assert total["scenarios"] == each
    for what in ("delivered", "blocks", "decoded", "known"):
        assert total[what] > 0, what  # they do show something


@pytest.mark.slow
def test_scenarios_of_a_night() -> None:
    """SCENARIOS=N plays so many, FIRST=N begins with that seed."""
    first = int(os.environ.get("FIRST", SCENARIOS))
    count = int(os.environ.get("SCENARIOS", NIGHTLY))
    total = simulation.play_all(range(first, first + count))
    print(dict(total))
    assert total["scenarios"] == count


def test_a_scenario_is_the_same_every_time() -> None:
    assert simulation.draw(5) == simulation.draw(5)
    assert simulation.play(simulation.draw(5)) == simulation.play(simulation.draw(5))


def forget_what_was_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Collector, "restore", lambda *_: [])


def forget_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(sink, key, manifest, course):
        del sink.kept.parts[key]
        return Delivered(str(key), manifest.digest.hex(), duplicate=False)

    monkeypatch.setattr(simulation.MemorySink, "deliver", deliver)


def take_blocks_for_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diode.block.Crc.open", lambda *_: True)


@pytest.mark.parametrize(
    "fault", [forget_what_was_parked, forget_deliveries, take_blocks_for_whole]
)
def test_faults_are_found_and_told_with_their_seed(monkeypatch, fault) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=r"seed \d+ \(python tests/simulation.py \d+\)"):
        simulation.play_all(range(SCENARIOS))
