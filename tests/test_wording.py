import pytest
from healths import NOW, a_health, a_line, a_sender

from diode import wording
from diode.health import LinkState, Numbers


@pytest.mark.parametrize(
    ("share", "text"), [(None, "-"), (0, "0%"), (1, "100%"), (0.0123, "1.2%"), (0.9996, "100.0%")]
)
def test_percent(share, text):
    assert wording.percent(share) == text


def test_a_time_of_another_day_has_its_date():
    assert len(wording.clock(NOW - 5, NOW)) == len("12:34:56")
    assert wording.clock(NOW - 90 * 86_400, NOW).startswith("2023-0")
    assert wording.clock(1e300, NOW) == "?"


def test_many_ranges_are_counted():
    assert wording.numbers([Numbers(7, 7), Numbers(9, 12)]) == "7, 9 to 12"
    many = [Numbers(n, n) for n in range(1, 40, 2)]
    assert wording.numbers(many) == "1, 3, 5, 7, 9, 11 and 14 more ranges"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (LinkState.UP, "heard 2.4 s ago"),
        (LinkState.ENDED, "done, 2.4 s ago"),
        (LinkState.SILENT, "nothing for 2.4 s; last heard 2.4 s ago"),
        (LinkState.UNHEARD, "nothing has come yet"),
        (LinkState.STOPPED, "no receiver runs since"),
    ],
)
def test_what_the_state_means(state, says):
    assert says in wording.link(a_health(a_line(state)), age=2.0)


def test_what_may_still_come_need_not_be_sent_again():
    health = a_health()
    assert "may still come" in wording.next_step(a_sender(queued=4), health)
    for changes in ({"queued": 0}, {"ended": True}):
        assert wording.next_step(a_sender(**changes), health) == "send them again, then --dismiss"
    silent = a_health(a_line(LinkState.SILENT))
    assert wording.next_step(a_sender(queued=4), silent) == "send them again, then --dismiss"
