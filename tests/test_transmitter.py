"""The sending core: what it emits, in which order, and what it does when a source fails."""

import itertools
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from pair import BytesSource, Listener, content, crosses, everything, transmit

from diode import frame, plan, stamp
from diode.errors import SourceError, UsageError
from diode.events import Key, ObjectVoided
from diode.frame import Beat, Kind
from diode.objects import Announcement, Type
from diode.plan import HEARTBEAT_FRAMES, Link, Settings
from diode.sent import ObjectSent, SourceFailed
from diode.transmitter import SLICE_BYTES, Transmitter

SLOW = Link(rate=11_520)


class Generated:
    """A large object whose bytes are made when they are read."""

    type = Type.FILE
    name = b"generated"
    mtime = None
    digest = bytes(32)

    def __init__(self, size):
        self.size = size
        self.read_bytes = 0

    def read(self, offset, into):
        into[:] = offset & 0xFF
        self.read_bytes += len(into)

    def check(self):
        pass

    def close(self):
        pass


class Directory(BytesSource):
    type = Type.DIRECTORY


def new(*sources, settings=None, link=None, **state):
    transmitter = Transmitter(7, settings or Settings(), link or Link(), **state)
    for number, source in enumerate(sources, 1):
        transmitter.add(number, source)
    return transmitter


def outcomes(transmitter):
    """What has become of objects, but for single passes and that they are gone."""
    return [e for e in transmitter.events() if isinstance(e, ObjectSent | SourceFailed)]


def kind(f):
    return f[0] & 0x0F


def kinds(sent):
    return [Kind(kind(f)) for f in sent]


def beats(sent):
    """(code, highest number, payload) of each heartbeat."""
    found = []
    for f in sent:
        if kind(f) == Kind.HEARTBEAT:
            parsed = frame.parse_full(f[None])
            body = f[frame.HEADER : -frame.CHECK].copy().view(frame.HEARTBEAT)[0]
            found.append((Beat(int(parsed.code[0])), int(parsed.number[0]), body))
    return found


def of_number(sent, number, wanted=Kind.DATA):
    return [
        i
        for i, f in enumerate(sent)
        if kind(f) == wanted and frame.parse_full(f[None]).number[0] == number
    ]


# The same bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("link", [Link(), SLOW])
def test_the_same_objects_and_state_give_the_same_bytes(link):
    settings = Settings(passes=2, burst=0.2)
    things = content(50_000), b"", content(99)
    one, two = (
        [f.tobytes() for f in transmit(*things, settings=settings, link=link)] for _ in range(2)
    )
    assert one == two
    other = transmit(*things, settings=settings, link=link, sender=8)
    assert [f.tobytes() for f in other] != one


def test_every_frame_passes_its_check_and_counts_on():
    transmitter = new(BytesSource(content(30_000)), link=SLOW, frames_before=65_530)
    sent = everything(transmitter)
    assert all(stamp.check_rows(f[None]).all() for f in sent)
    parse = {Kind.COMPACT: frame.parse_compact}
    numbers = [int(parse.get(kind(f), frame.parse_full)(f[None]).sequence[0]) for f in sent]
    expected = [
        (65_530 + i) % (256 if kind(f) == Kind.COMPACT else 65_536) for i, f in enumerate(sent)
    ]
    assert numbers == expected
    assert transmitter.frames_sent == 65_530 + len(sent)
    assert transmitter.progress.line_frames == len(sent)


def test_compact_only_where_it_may_be():
    assert Kind.COMPACT not in kinds(transmit(content(5000)))
    assert Kind.COMPACT not in kinds(transmit(content(5000), link=Link(rate=3e6)))
    for settings in (Settings(), Settings(code="repeat")):
        sent = kinds(transmit(content(100_000), settings=settings, link=SLOW))
        assert Kind.COMPACT in sent and Kind.DATA not in sent


def test_blocks_beyond_24_bits_travel_in_full_frames(monkeypatch):
    monkeypatch.setattr(frame, "COMPACT_MAX_BLOCK", 3)
    thing = content(200_000)
    assert Kind.COMPACT not in kinds(transmit(thing, link=SLOW))
    crosses(thing, link=SLOW)


# Heartbeats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [Link(), SLOW])
def test_heartbeats_first_and_last_with_the_right_counts(link):
    sent = everything(new(BytesSource(content(80_000)), link=link, frames_before=100))
    found = beats(sent)
    assert found[0][0] == Beat.FIRST and found[-1][0] == Beat.LAST
    assert {b[0] for b in found[1:-1]} <= {Beat.GOING_ON}
    places = [i for i, f in enumerate(sent) if kind(f) == Kind.HEARTBEAT]
    assert places[0] == 0 and places[-1] == len(sent) - 1
    for place, (_, highest, body) in zip(places, found, strict=True):
        assert body["frames"] == 100 + place
        assert highest == 1
        assert body["rate"] == (link.rate or 0)
        assert body["interval_ms"] == (1000 if link.rate else 0)
    assert [b[2]["queue"] for b in (found[0], found[-1])] == [1, 0]


def test_heartbeats_come_about_once_a_second():
    sent = everything(new(BytesSource(content(200_000)), link=SLOW))
    places = [i for i, f in enumerate(sent) if kind(f) == Kind.HEARTBEAT]
    seconds = [sum(len(f) for f in sent[a:b]) / SLOW.rate for a, b in pairwise(places)]
    assert len(seconds) > 10 and max(seconds) < 1.2 and min(seconds[:-1]) > 0.6
    fast = everything(new(Generated(8 << 20), settings=Settings(code="repeat", redundancy=0.0)))
    places = [i for i, f in enumerate(fast) if kind(f) == Kind.HEARTBEAT]
    assert max(np.diff(places)) <= HEARTBEAT_FRAMES + SLICE_BYTES // 1024


def test_heartbeats_tell_the_time_and_the_highest_number():
    transmitter = new(highest_number=40, link=SLOW)
    first = transmitter.step(100.0).pieces()
    last = transmitter.step(112.9).pieces()
    assert transmitter.step(200.0) is None and transmitter.step(300.0) is None
    found = beats([*first, *last])
    assert [(b, n, int(body["uptime"])) for b, n, body in found] == [
        (Beat.FIRST, 40, 0),
        (Beat.LAST, 40, 12),
    ]


# Order on air -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "settings", "link"),
    [
        (60_000, Settings(), Link()),
        (2_000_000, Settings(), Link()),
        (300_000, Settings(), SLOW),
        (300_000, Settings(burst=1.0), SLOW),
        (3_000, Settings(passes=2), SLOW),
    ],
)
def test_manifests_repeat_through_the_pass(size, settings, link):
    sent = transmit(content(size), settings=settings, link=link)
    places = [i for i, f in enumerate(sent) if kind(f) == Kind.MANIFEST]
    assert len(places) >= plan.MIN_MANIFESTS
    cut = plan.geometry(size, settings, link)
    second = plan.manifest_interval(link, plan.frame_bytes(link, cut))
    group = plan.group_frames(settings, link, cut)
    bound = min(2 * second, max(len(sent) / plan.MIN_MANIFESTS, 2 * group)) * 1.3 + 4
    assert max(np.diff([0, *places, len(sent)])) <= bound
    assert places[0] == 1  # a receiver that is there knows the object before its data come


def test_passes_follow_each_other_with_fresh_symbols():
    settings = Settings(passes=3, redundancy=0.25)
    transmitter = new(BytesSource(content(40_000)), BytesSource(content(20_000)), settings=settings)
    sent = everything(transmitter)
    cut = plan.geometry(40_000, settings, Link())
    data = np.array(
        [
            (p.number[0], p.block[0], p.symbol[0])
            for p in (frame.parse_full(f[None]) for f in sent if kind(f) == Kind.DATA)
        ]
    )
    assert len({tuple(d) for d in data.tolist()}) == len(data)
    mine = data[:, 0] == 1
    assert mine.sum() == 3 * cut.data_frames
    # three runs: the other object stands between two passes
    assert (np.diff(np.flatnonzero(mine)) > 1).sum() == 2
    assert outcomes(transmitter) == [ObjectSent(1, b"object", 3), ObjectSent(2, b"object", 3)]
    assert outcomes(transmitter) == []
    progress = transmitter.progress
    assert (progress.number_of_pass, progress.passes, progress.objects) == (3, 3, 2)
    assert progress.frames == pytest.approx(progress.total_frames, rel=0.05)


def test_the_carousel_goes_on():
    source = BytesSource(content(30_000))
    transmitter = new(source, settings=Settings(passes=0, redundancy=0.5))
    per_pass = plan.geometry(30_000, transmitter.settings, Link()).data_frames
    sent = []
    while kinds(sent).count(Kind.DATA) < 3 * per_pass:
        sent += transmitter.step(0.0).pieces()
    assert outcomes(transmitter) == [] and not source.closed
    assert transmitter.progress.number_of_pass >= 3
    assert transmitter.progress.passes == 0
    assert Listener().hear(sent[: len(sent) // 3]).delivered
    assert Listener().hear(sent[2 * len(sent) // 3 :]).delivered
    transmitter.stop()
    assert [b[0] for b in beats(everything(transmitter))] == [Beat.LAST]
    assert source.closed


def test_small_objects_share_a_group():
    objects = [content(1000, seed) for seed in range(6)]
    sent = transmit(*objects, settings=Settings(burst=1.0), link=Link(rate=4e6))
    places = {n: of_number(sent, n) for n in range(1, 7)}
    for number, mine in places.items():
        for other, theirs in places.items():
            assert mine[0] < theirs[-1] and theirs[0] < mine[-1], f"{number} and {other}"
    apart = transmit(*objects, link=Link(rate=4e6))
    assert of_number(apart, 1)[-1] < of_number(apart, 2)[0]


def test_objects_of_different_symbol_sizes_share_a_group():
    objects = [content(700), content(90_000), b"", content(1), content(44_000)]
    heard = crosses(*objects, settings=Settings(burst=2.0), link=SLOW)
    assert len(heard.delivered) == 5


def test_a_short_rest_joins_the_last_group():
    settings, link = Settings(burst=1.0, redundancy=0.25), SLOW
    size = 60 * 210 * 204
    cut = plan.geometry(size, settings, link)
    group = plan.group_frames(settings, link, cut)
    transmitter = new(Generated(size), settings=settings, link=link)
    groups = {}
    while transmitter.step(0.0) is not None:
        if transmitter._traffic[""]._group is not None:
            group_ = transmitter._traffic[""]._group
            groups[id(group_)] = group_
    lengths = [len(g) for g in groups.values()]
    assert len(lengths) > 2
    assert all(n >= group for n in lengths)
    assert max(lengths) < 1.7 * group


@pytest.mark.parametrize("limit", [100_000, 400_000])
def test_groups_are_bounded_in_memory(monkeypatch, limit):
    monkeypatch.setattr(plan, "MAX_GROUP_BYTES", limit)
    thing = content(600_000)
    settings, link = Settings(burst=60.0), Link(rate=1e6)
    transmitter = new(BytesSource(thing), BytesSource(content(100)), settings=settings, link=link)
    sent, largest = [], 0
    while (frames := transmitter.step(0.0)) is not None:
        sent += [p.copy() for p in frames.pieces()]
        if transmitter._traffic[""]._group is not None:
            largest = max(largest, transmitter._traffic[""]._group.bytes)
    one_block = plan.geometry(len(thing), settings, link)
    assert largest <= max(limit, one_block.n * plan.frame_bytes(link, one_block)) * 1.1
    assert Listener().hear(sent).delivered == {Key(7, 1): thing, Key(7, 2): content(100)}


def test_slices_are_short():
    transmitter = new(BytesSource(content(100_000)), link=SLOW)
    while (frames := transmitter.step(0.0)) is not None:
        assert len(frames.data) <= max(SLOW.rate * 0.05, 300)


def test_two_hundred_megabytes_stream_through_little_memory():
    source = Generated(200 << 20)
    transmitter = new(source, settings=Settings(code="repeat", redundancy=0.0, symbol_size=16_000))
    tracemalloc.start()
    try:
        frames = 0
        while (batch := transmitter.step(0.0)) is not None:
            frames += len(batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert source.read_bytes == source.size and frames > 13_000
    assert peak < 16 << 20


# What is sent -------------------------------------------------------------------------------


def test_empty_objects_and_directories():
    transmitter = new(BytesSource(b"", b"empty"), Directory(b"", b"folder"), BytesSource(b"x"))
    sent = everything(transmitter)
    assert [len(of_number(sent, n)) > 0 for n in (1, 2, 3)] == [False, False, True]
    assert [len(of_number(sent, n, Kind.MANIFEST)) >= 3 for n in (1, 2, 3)] == [True] * 3
    heard = Listener().hear(sent)
    assert heard.delivered == {Key(7, 1): b"", Key(7, 2): b"", Key(7, 3): b"x"}
    assert [e.number for e in outcomes(transmitter)] == [1, 2, 3]


def test_the_manifest_says_what_is_sent():
    source = BytesSource(content(70_000), b"name", mtime=5)
    transmitter = Transmitter(7, Settings(passes=4), SLOW)
    manifest = transmitter.add(3, source)
    cut = plan.geometry(70_000, Settings(passes=4), SLOW)
    assert manifest.geometry == cut and manifest.problem() == ""
    assert (manifest.name, manifest.passes, manifest.mtime) == (b"name", 4, 5)
    sent = everything(transmitter)
    payload = sent[of_number(sent, 3, Kind.MANIFEST)[0]][frame.HEADER : -frame.CHECK]
    assert Announcement.parse(payload.tobytes()).manifest == manifest


def test_a_name_too_long_for_the_line():
    transmitter = new(link=Link(rate=11_520, max_frame=64))
    with pytest.raises(UsageError):
        transmitter.add(1, BytesSource(b"x", b"n" * 4000))
    assert transmitter.progress.objects == 0


# Trouble with the source --------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", [0, 1, 300_000, 999_999])
@pytest.mark.parametrize("passes", [1, 2])
def test_a_source_that_fails_is_void_and_never_delivered(fails_at, passes):
    broken, good = BytesSource(content(1_000_000), b"broken"), BytesSource(content(500, 2), b"good")
    transmitter = new(broken, good, settings=Settings(passes=passes))
    if passes == 1 or fails_at == 0:
        broken.fails_at = fails_at
    sent = []
    while (frames := transmitter.step(0.0)) is not None:
        sent += [p.copy() for p in frames.pieces()]
        if transmitter.progress.number_of_pass == 2:
            broken.fails_at = fails_at
    happened = outcomes(transmitter)
    assert SourceFailed(1, b"broken", "the source broke") in happened
    assert ObjectSent(2, b"good", passes) in happened
    assert not any(isinstance(e, ObjectSent) and e.number == 1 for e in happened)
    assert broken.closed and good.closed
    heard = Listener().hear(sent)
    if passes == 1:
        assert heard.delivered == {Key(7, 2): content(500, 2)}
        assert [e.key for e in heard.of(ObjectVoided)] == [Key(7, 1)]
    # whoever joins after the failure learns of it too, and void copies are enough
    voids = [i for i in of_number(sent, 1, Kind.MANIFEST) if i > 0][-3:]
    late = Listener().hear(sent[voids[0] :])
    assert [e.key for e in late.of(ObjectVoided)] == [Key(7, 1)]
    assert Key(7, 1) not in late.delivered


def test_a_source_that_changed_is_void():
    changed, good = BytesSource(content(5000), b"changed"), BytesSource(content(6000))
    transmitter = new(changed, good, settings=Settings(passes=2))
    changed.changed = True
    sent = everything(transmitter)
    assert outcomes(transmitter) == [
        SourceFailed(1, b"changed", "the source changed"),
        ObjectSent(2, b"object", 2),
    ]
    last = of_number(sent, 1, Kind.MANIFEST)[-3:]
    for at in last:
        announcement = Announcement.parse(sent[at][frame.HEADER : -frame.CHECK].tobytes())
        assert announcement.manifest.status == 2
    assert beats(sent)[-1][0] == Beat.LAST


def test_several_sources_of_one_group_fail():
    sources = [BytesSource(content(800, n)) for n in range(5)]
    for source in sources[1:4]:
        source.fails_at = 0
    transmitter = new(*sources, settings=Settings(burst=1.0), link=Link(rate=4e6))
    heard = Listener().hear(everything(transmitter))
    assert set(heard.delivered) == {Key(7, 1), Key(7, 5)}
    assert len(heard.of(ObjectVoided)) == 3
    assert len([e for e in transmitter.events() if isinstance(e, SourceFailed)]) == 3


def test_a_source_that_fails_in_the_middle_of_a_group_of_its_own_blocks():
    source = BytesSource(content(300_000))
    source.fails_at = 100_000
    transmitter = new(source, settings=Settings(burst=5.0), link=SLOW)
    sent = everything(transmitter)
    assert not of_number(sent, 1) and Kind.COMPACT not in kinds(sent)
    assert [e.key for e in Listener().hear(sent).of(ObjectVoided)] == [Key(7, 1)]


def test_errors_other_than_the_sources_come_through():
    class Mistake(BytesSource):
        def read(self, offset, into):
            raise KeyError(offset)

    with pytest.raises(KeyError):
        everything(new(Mistake(b"abc")))
    assert not issubclass(KeyError, SourceError)


# Stopping and adding ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 5, 40])
def test_stop(steps):
    source = BytesSource(content(200_000))
    transmitter = new(source, settings=Settings(passes=0), link=SLOW)
    for _ in range(steps):
        transmitter.step(0.0)
    transmitter.stop()
    rest = everything(transmitter)
    assert set(kinds(rest)) == {Kind.HEARTBEAT}
    assert beats(rest)[-1][0] == Beat.LAST
    assert source.closed and outcomes(transmitter) == []


def test_stop_forgets_voids_that_wait():
    source = BytesSource(content(5000))
    source.fails_at = 0
    transmitter = new(source)
    transmitter.step(0.0)
    transmitter.step(0.0)
    transmitter.stop()
    assert set(kinds(everything(transmitter))) == {Kind.HEARTBEAT}


@pytest.mark.parametrize("passes", [1, 2])
def test_an_object_added_during_a_pass_gets_all_its_passes(passes):
    first, second = content(100_000), content(3000, 2)
    transmitter = new(BytesSource(first), settings=Settings(passes=passes))
    sent = []
    for _ in range(3):
        sent += [p.copy() for p in transmitter.step(0.0).pieces()]
    transmitter.add(2, BytesSource(second))
    sent += everything(transmitter)
    assert Listener().hear(sent).delivered == {Key(7, 1): first, Key(7, 2): second}
    per_pass = plan.geometry(3000, transmitter.settings, Link()).data_frames
    assert len(of_number(sent, 2)) == passes * per_pass
    assert outcomes(transmitter) == [ObjectSent(n, b"object", passes) for n in (1, 2)]


def test_keep_order_sends_one_object_after_the_other():
    settings = Settings(burst=5.0, keep_order=True)
    objects = [content(n * 3000, n) for n in range(1, 6)]
    frames = [
        f for f in transmit(*objects, settings=settings, link=SLOW) if f[0] & 15 == Kind.COMPACT
    ]
    aliases = [int(f[2]) | int(f[3]) << 8 for f in frames]
    changes = sum(a != b for a, b in itertools.pairwise(aliases))
    assert changes == len(objects) - 1
    mixed = [f for f in transmit(*objects, settings=Settings(burst=5.0), link=SLOW)]
    aliases = [int(f[2]) | int(f[3]) << 8 for f in mixed if f[0] & 15 == Kind.COMPACT]
    assert sum(a != b for a, b in itertools.pairwise(aliases)) > 20
