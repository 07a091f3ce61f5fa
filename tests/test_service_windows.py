"""Loss over a minute, an hour and a day: as a list of all that happened would give it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.health import Loss, Sample
from diode.service.windows import DAY, HOUR, MINUTE, MINUTES, History, Losses, Window

STEPS = st.lists(
    st.tuples(st.floats(0, 400), st.integers(0, 1000), st.integers(0, 1000)), max_size=60
)


@examples(100)
@given(STEPS)
def test_a_window_is_the_sum_of_its_buckets(steps: list[tuple[float, int, int]]) -> None:
    window, now, told = Window(5.0, 12), 1e6, []
    for wait, frames, lost in steps:
        now += wait
        window.add(now, frames, lost)
        told.append((now // 5.0, frames, lost))
    covered = [(f, x) for at, f, x in told if now // 5.0 - at < 12]
    assert window.counts == (sum(f for f, _ in covered), sum(x for _, x in covered))


def test_loss_over_a_minute_an_hour_a_day() -> None:
    losses, frames, lost = Losses(), 0, 0
    assert losses.loss == Loss(None, None, None)
    for second in range(int(2 * DAY)):
        frames += 9
        lost += 1 if second < 2 * DAY - HOUR + 60 else 0
        if second % 10 == 0:
            losses.count(float(second), frames, lost)
    assert losses.loss.minute == 0
    assert losses.loss.hour == pytest.approx(0, abs=0.003)
    assert losses.loss.day == pytest.approx(0.1 * 23 / 24, abs=0.003)
    losses.count(2 * DAY, frames, lost)
    losses.count(2 * DAY + 61, frames, lost)
    assert losses.loss.minute is None, "nothing was sent"
    assert losses.loss.hour == 0
    losses.count(2 * DAY + HOUR + 61, frames, lost)
    assert losses.loss.hour is None
    losses.count(4 * DAY, frames, lost)
    assert losses.loss == Loss(None, None, None)


def test_what_turns_up_late_is_lost_no_more() -> None:
    losses = Losses()
    losses.count(1.0, 90, 10)
    losses.count(2.0, 100, 0)
    assert losses.loss.minute == 0
    losses.count(70.0, 100, 0)
    losses.count(71.0, 105, -5)
    assert losses.loss.minute == 0, "they were counted in a minute that is over"


def test_a_receiver_that_forgets_a_sender_counts_on() -> None:
    losses = Losses()
    losses.count(1.0, 1000, 100)
    assert losses.count(2.0, 10, 0) == (0, -100)


def test_minutes_are_kept_for_a_day_and_no_longer() -> None:
    history = History()
    for minute in range(2000):
        over = history.count(minute * 60.0 + 1, 1e9 + minute * 60 + 1, minute, 1)
        assert over == (minute > 0)
    assert len(history.samples) == MINUTES
    assert history.samples[-1] == Sample(1e9 + 1998 * 60, 1998, 1)
    assert history.current == Sample(1e9 + 1999 * 60, 1999, 1)
    assert sys.getsizeof(history.samples) < 50_000


def test_a_clock_that_was_set_names_minutes_otherwise_and_counts_all_the_same() -> None:
    history = History()
    history.count(0.0, 1e9, 1, 0)
    history.count(60.0, 5.0, 2, 0)
    history.count(120.0, 2e9, 3, 0)
    assert [sample.frames for sample in history.samples] == [1, 2]


def test_the_day_before_a_restart_is_recalled() -> None:
    wall = 1e9
    ages = [2 * DAY, DAY - 1, HOUR + 120, HOUR - 120, MINUTE, -HOUR]
    samples = [Sample(wall - age, 90, 10) for age in ages]
    history, losses = History(), Losses()
    for age, sample in history.recall(samples, wall):
        losses.recall(1e5 - age, sample.frames, sample.lost)
    assert list(history.samples) == samples[1:5]
    losses.count(1e5, 0, 0)
    assert losses.hour.counts == (180, 20)
    assert losses.day.counts in {(270, 30), (360, 40)}
    assert losses.loss.minute is None
