"""Records from one end to the other, in the time of the line."""

import numpy as np
import pytest
from pair import BytesSource, content
from records import SENDER, SLOW, Pair, dropping, reading

from diode import frame, slots
from diode.inflow import JOINING, PATIENCE
from diode.outflow import NoRecords, Outflow, Pace
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.record import UNCERTAIN
from diode.transmitter import Transmitter


def test_a_value_arrives_within_the_latency_and_as_it_was():
    pair = Pair()
    pair.run(1.0)
    pair.latest("boiler/temp", b"21.5", time=-5, quality=UNCERTAIN, retain=True)
    pair.run(1.2)
    ((at, one),) = pair.heard
    assert 1.0 < at < 1.07
    assert one == reading(
        "boiler/temp", b"21.5", time=-5, quality=UNCERTAIN, retain=True, sequence=1
    )


def test_records_of_a_moment_share_a_frame():
    pair = Pair()
    pair.run(1.0)
    before = pair.frames
    for number in range(5):
        pair.latest(f"boiler/{number}")
    pair.run(1.1)
    assert pair.frames == before + 1
    assert len(pair.heard) == 5


def test_newer_values_replace_those_that_wait():
    pair = Pair()
    pair.run(1.0)
    for number in range(1000):
        pair.latest("speed", b"%d" % number)
    pair.run(1.1)
    assert [one.payload for _, one in pair.heard] == [b"999"]
    assert pair.outflow.replaced == 999


def test_a_line_that_is_too_slow_carries_the_newest_of_each_topic_in_turn():
    pair = Pair()
    for second in range(20):  # 4 times what the line takes
        for topic in range(1000):
            pair.latest(f"plant/line/{topic}", b"%020d" % second)
        pair.run(pair.now + 1.0)
    counts = [
        sum(one.topic == b"plant/line/%d" % n for _, one in pair.heard) for n in (0, 500, 999)
    ]
    assert max(counts) - min(counts) <= 2
    assert min(counts) >= 3
    behind = [20 - int(pair.values[f"plant/line/{n}"]) for n in range(1000)]
    assert max(behind) <= 6


def test_a_lost_value_comes_again_and_what_was_replaced_does_not():
    pair = Pair(lossy=lambda now: 1.0 < now < 2.0)
    pair.run(1.1)
    pair.latest("a", b"old")
    pair.run(1.5)
    pair.latest("a", b"new")
    pair.latest("b", b"only")
    pair.run(6.0)
    assert pair.values == {"a": b"new", "b": b"only"}
    assert [one.payload for _, one in pair.heard if one.topic == b"a"] == [b"new"]
    assert all(one.repeats == 1 for _, one in pair.heard)


def test_the_last_values_are_known_to_who_begins_to_listen_an_hour_later():
    pair = Pair(lossy=dropping(0.1))
    for number in range(300):
        pair.latest(f"plant/{number % 7}/{number}", b"%d" % number)
    pair.run(3600.0)
    pair.receiver, pair.values = Receiver(records=True), {}
    pair.run(3660.0)
    assert pair.values == {f"plant/{n % 7}/{n}": b"%d" % n for n in range(300)}


@pytest.mark.parametrize("seed", range(3))
def test_every_record_in_order_over_loss_and_outages(seed):
    pair = Pair(lossy=dropping(0.1, outage=2.0, seed=seed))
    for second in range(180):
        for topic in range(5):
            pair.every(f"log/{topic}", b"%d" % second)
        pair.latest("state", b"%d" % second)
        pair.run(second + 1.0)
    pair.run(180 + PATIENCE)
    assert pair.log == {f"log/{n}": [b"%d" % s for s in range(180)] for n in range(5)}
    assert pair.gaps == []
    assert pair.values == {"state": b"179"}
    assert pair.outflow.empty
    assert max(pair.outflow.finished) == 180
    assert len(pair.outflow.finished) == 900


def test_what_never_comes_is_a_gap_by_topic_and_range():
    pair = Pair(lossy=lambda now: 2.0 < now < 60.0)
    for number in range(3):
        pair.every("log", b"%d" % number)
    pair.run(2.0)
    for number in range(3, 7):
        pair.every("log", b"%d" % number)
    pair.run(60.0)
    for number in range(7, 9):
        pair.every("log", b"%d" % number)
        pair.run(pair.now + 1)
    assert pair.log["log"] == [b"0", b"1", b"2"]
    pair.run(61 + PATIENCE)
    assert pair.log["log"] == [b"0", b"1", b"2", b"7", b"8"]
    ((gap),) = pair.gaps
    assert (gap.topic, gap.first, gap.last, gap.sender) == (b"log", 4, 7, SENDER)
    assert pair.receiver.records.gaps == 4


def test_joining_late_tells_what_was_before_as_a_gap():
    pair = Pair()
    for number in range(10):
        pair.every("log", b"%d" % number)
    pair.run(100.0)
    pair.receiver, pair.log = Receiver(records=True), {}
    pair.every("log", b"10")
    pair.run(101.0)
    assert pair.log == {}
    pair.run(102 + JOINING)
    assert pair.log == {"log": [b"10"]}
    assert [(gap.first, gap.last) for gap in pair.gaps] == [(1, 10)]


def test_a_record_goes_before_a_file():
    pair = Pair()
    pair.transmitter.add(1, BytesSource(content(200_000)))
    pair.run(5.0)
    waits = []
    for number in range(100):
        at = pair.now
        pair.latest("t", b"%d" % number)
        pair.run(at + 0.1)
        waits.append(pair.heard[-1][0] - at)
    assert len(pair.heard) >= 100
    assert sorted(waits)[50] < 0.1
    assert max(waits) < 0.2


def test_overload_of_every_does_not_keep_latest_from_the_line():
    pair = Pair()
    for number in range(5000):
        pair.every("log", b"%040d" % number)
    for number in range(10):
        pair.latest("t", b"%d" % number)
        pair.run(pair.now + 1)
    assert pair.values["t"] == b"9"
    assert pair.outflow.waiting[1] > 0


def test_parity_gives_lost_frames_back_long_before_the_repeat():
    pair = Pair(lossy=dropping(0.1), pace=Pace(every=(1000.0,)))
    for number in range(2000):
        pair.every("log", b"%040d" % number)
    pair.run(30.0)
    assert pair.receiver.records.repaired > 20
    assert pair.receiver.records.heard > 1000


def test_frames_of_one_size_at_a_constant_rate():
    settings, link = slots.filled(Settings(), SLOW)
    pair = Pair(settings=settings, link=link, lossy=dropping(0.2))
    sizes = set()
    hear = pair.hear
    pair.hear = lambda piece: (sizes.add(len(piece)), hear(piece))
    for number in range(40):
        pair.every("log", b"%d" % number)
        pair.run(pair.now + 0.3)
    pair.run(pair.now + 30)
    assert pair.log["log"] == [b"%d" % n for n in range(40)]
    assert sizes == {link.max_frame}


def test_frames_are_those_of_the_document():
    outflow = Outflow(0x0D10DE07, Settings(), SLOW, streams=(3, 4))
    transmitter = Transmitter(0x0D10DE07, Settings(), SLOW, records=outflow)
    transmitter.first(0.0)
    outflow.latest(reading("t/1", b"21.5"), 0.0)
    assert transmitter.next(0.01) is None
    assert transmitter.wake_at() == 0.05
    (piece,) = transmitter.next(0.05).pieces()
    header = bytes.fromhex("15 00 01 00 07 de 10 0d 03 00 00 00 00 00 00 00 00 00 00 00")
    assert piece.tobytes()[:20] == header
    assert piece.tobytes()[20:-4].hex() == "800003040001000000742f3132312e35"
    (added,) = transmitter.next(0.3).pieces()
    parsed = frame.parse_full(np.ascontiguousarray(added[None, :]))
    assert (parsed.code[0], parsed.symbol[0], parsed.kind[0]) == (1, 1, frame.Kind.RECORD)


def test_longest_record_is_what_the_line_bears():
    assert Outflow(1, Settings(), SLOW, streams=(1, 1)).longest == 996
    slow = Link(120.0, 16_384)
    assert Outflow(1, Settings(), slow, streams=(1, 1)).longest == 256
    fast = Outflow(1, Settings(), Link(), streams=(1, 1))
    assert fast.longest > 8192


def test_stop_leaves_nothing():
    pair = Pair()
    pair.latest("a")
    pair.every("b")
    pair.run(1.0)
    pair.turns.stop()
    assert pair.outflow.empty
    assert pair.outflow.wake_at() == float("inf")
    assert pair.outflow.take(100.0, 1000) is None


def test_no_records():
    nothing = NoRecords()
    assert nothing.take(0.0, 100) is None
    assert nothing.wake_at() == float("inf")
    assert nothing.empty
    nothing.stop()
