"""The receiving core: joined late, in disorder, by several senders, under limits, by strangers."""

import hashlib
import random as randomness

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, crosses, dropping, everything, examples, transmit

from diode import frame, stamp
from diode.announcements import OVERHEAD, AnnouncementSymbols
from diode.events import (
    BlockParked,
    BlockRecovered,
    BlockSpoiled,
    BlockWanted,
    FrameRejected,
    GapSeen,
    Key,
    ObjectAnnounced,
    ObjectCompleted,
    ObjectEvicted,
    ObjectVoided,
    SenderFellSilent,
    SenderHeard,
)
from diode.frame import Frames, Kind, Reject
from diode.limits import Limits
from diode.objects import Announcement, Manifest
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.transmitter import Transmitter

SLOW = Link(rate=11_520)
NARROW = Link(rate=11_520, max_frame=64)
LINKS = pytest.mark.parametrize("link", [Link(), SLOW, NARROW], ids=["full", "compact", "narrow"])


def kind(f):
    return f[0] & 0x0F


def is_data(f):
    return kind(f) in (Kind.DATA, Kind.COMPACT)


def manifest(**fields):
    thing = content(5000)
    values = {
        "status": 0,
        "type": 0,
        "name": b"made",
        "size": len(thing),
        "digest": hashlib.sha256(thing).digest(),
        "code": 1,
        "k": 10,
        "n": 12,
        "symbol_size": 512,
        "passes": 1,
        "mtime": None,
    }
    return Manifest(**values | fields)


def made(kind_, payload, *, code=0, sender=7, number=1, block=0, symbol=0, sequence=0):
    """One full frame."""
    payload = np.frombuffer(bytes(payload), np.uint8)
    rows = frame.blank_rows(1, len(payload))
    frame.fill_full(
        rows, kind_, code=code, sender=sender, number=number, block=block, symbol=symbol
    )
    frame.payload(rows)[0] = payload
    stamp.stamp(Frames.of_rows(rows), sequence)
    return rows[0]


def announced(thing, **fields):
    """A manifest frame of one symbol."""
    data = thing if isinstance(thing, bytes) else Announcement(thing).serialize()
    return made(Kind.MANIFEST, data, **{"code": 1, "block": frame.crc32c(data)} | fields)


def hear(*frames, limits=None):
    return Listener(limits).hear(list(frames))


def shuffled(frames, seed=1):
    frames = list(frames)
    randomness.Random(seed).shuffle(frames)
    return frames


# Across a channel ---------------------------------------------------------------------------


@LINKS
def test_nothing_damaged(link):
    things = [content(20_000), b"", content(1), content(200), content(3000)]
    heard = crosses(*things, link=link)
    assert not heard.receiver.rejected
    assert heard.receiver.lost == 0 and heard.receiver.objects == {}
    assert heard.of(SenderHeard) == [SenderHeard(7)] and len(heard.of(SenderFellSilent)) == 1
    assert {e.key.number for e in heard.of(ObjectAnnounced)} == {1, 2, 3, 4, 5}
    assert len(heard.of(ObjectAnnounced)) == 5


@LINKS
def test_late_join(link):
    def late(frames):
        return frames[int(len(frames) * 0.15) :]  # 30 % of the first of two passes

    crosses(content(60_000), channel=late, settings=Settings(passes=2), link=link)


@LINKS
@pytest.mark.parametrize("seed", range(3))
def test_thirty_objects_with_loss(link, seed):
    things = [content(n * 331, n) for n in range(30)]
    crosses(*things, channel=dropping(0.1, seed), settings=Settings(passes=2), link=link)


@LINKS
def test_two_senders_interleaved(link):
    things = {7: content(30_000), 8: content(29_999, 2)}
    one, two = (transmit(t, sender=s, link=link) for s, t in things.items())
    mixed = shuffled([(i, f) for sent in (one, two) for i, f in enumerate(sent)])
    mixed.sort(key=lambda pair: pair[0])
    heard = Listener().hear([f for _, f in mixed])
    assert heard.delivered == {Key(s, 1): t for s, t in things.items()}
    assert {e.sender for e in heard.of(SenderHeard)} == {7, 8}


@LINKS
@pytest.mark.parametrize("seed", range(3))
def test_full_shuffle_and_ten_copies(link, seed):
    things = [content(9_000), content(8_000, 2), b""]
    sent = transmit(*things, link=link)
    heard = Listener().hear(shuffled(sent * 10, seed))
    assert heard.delivered == {Key(7, n): t for n, t in enumerate(things, 1)}
    assert heard.receiver.rejected.total() == 0
    assert heard.receiver.late > 0


@LINKS
def test_long_names_in_several_frames_with_loss(link):
    name = b"n" * 900
    source = BytesSource(content(12_000), name)
    sent = transmit(source, link=link, settings=Settings(passes=2))
    for seed in range(4):
        heard = Listener().hear(dropping(0.15, seed)(sent), batch=7)
        assert heard.delivered[Key(7, 1)] == content(12_000)
        assert heard.of(ObjectAnnounced)[0].manifest.name == name
        assert heard.receiver._announcements.bytes == 0 == len(heard.receiver._announcements._parts)


def outcome(heard):
    receiver = heard.receiver
    return (
        heard.delivered,
        dict(receiver.rejected),
        receiver.frames,
        receiver.lost,
        {s: (r.frames, r.sent) for s, r in receiver.senders.items()},
        sorted(receiver.objects),
        receiver._parking.memory,
        receiver._orphans.bytes,
        receiver._announcements.bytes,
    )


@LINKS
@pytest.mark.parametrize("loss", [0.05, 0.4])
def test_the_split_into_batches_does_not_matter(link, loss):
    things = [content(10_000), content(50, 3), content(7_000, 2)]
    sent = transmit(*things, link=link)
    strange = [made(Kind.DATA, bytes(30), number=99), made(9, bytes(4)), announced(b"rubbish")]
    sent[5:5] = strange
    # The first heartbeat and manifest arrive, or the few compact frames before are of nobody.
    kept = sent[:8] + dropping(loss, 3)(sent[8:])
    first, *others = (outcome(Listener().hear(kept, batch)) for batch in (1, 2, 7, 64, 10_000))
    for other in others:
        # What waits for a manifest carries a fixed overhead for each batch it came in.
        assert other[:-2] == first[:-2] and other[-1] == first[-1]


@examples(25)
@given(st.integers(0, 2**32), st.sampled_from([None, 11_520]))
def test_any_order_and_duplication_of_a_sufficient_set(seed, rate):
    random = randomness.Random(seed)
    things = [content(random.randrange(6000), i) for i in range(4)]
    sent = transmit(*things, link=Link(rate), settings=Settings(redundancy=1.0))
    kept = [f for f in sent if random.random() > 0.02]
    kept += random.choices(kept, k=20)
    random.shuffle(kept)
    heard = Listener().hear(kept, random.randrange(1, 40))
    assert heard.delivered == {Key(7, n): t for n, t in enumerate(things, 1)}


# Orphans ------------------------------------------------------------------------------------


@LINKS
def test_data_before_their_manifest_are_kept(link):
    thing = content(20_000)
    sent = transmit(thing, link=link)
    data = [f for f in sent if is_data(f)]
    manifests = [f for f in sent if kind(f) == Kind.MANIFEST]
    heard = Listener().hear(data)
    assert not heard.delivered and heard.receiver._orphans.bytes > len(thing)
    heard.hear(manifests)
    assert heard.delivered == {Key(7, 1): thing}
    assert heard.receiver._orphans.bytes == 0


@LINKS
def test_orphans_are_bounded(link):
    sent = [f for n in range(1, 30) for f in transmit(content(20_000, n), sender=n, link=link)]
    limit = 100_000
    heard = Listener(Limits(orphans=limit))
    for f in sent:
        if is_data(f):
            heard.hear([f])
            assert heard.receiver._orphans.bytes <= limit
    assert heard.receiver.rejected[Reject.ORPHAN] > 0
    assert sum(e.count for e in heard.of(FrameRejected)) == heard.receiver.rejected[Reject.ORPHAN]


def test_finished_objects_need_no_orphans():
    thing = content(5000)
    sent = transmit(thing)
    heard = Listener().hear(sent)
    before = heard.receiver.late
    heard.hear(sent)
    assert heard.receiver.late == before + sum(kind(f) != Kind.HEARTBEAT for f in sent)
    assert heard.receiver._orphans.bytes == 0 and heard.receiver.objects == {}
    assert len(heard.of(ObjectAnnounced)) == 1


def test_finishing_drops_the_orphans_of_that_number():
    heard = hear(made(Kind.DATA, bytes(64), number=5))
    assert heard.receiver._orphans.bytes > 0
    heard.receiver.finish(Key(7, 5))
    assert heard.receiver._orphans.bytes == 0


# Strangers ----------------------------------------------------------------------------------


def test_unknown_versions_and_kinds_are_counted():
    good = transmit(thing := content(3000))
    strange = []
    for first in (0x21, 0x01, 0xF3, 0x10, 0x15, 0x16, 0x1F):
        f = made(Kind.DATA, bytes(40))
        f[0] = first
        stamp.stamp(Frames.of_rows(f[None]), 0)
        strange.append(f)
    heard = Listener().hear(strange + good)
    assert heard.delivered == {Key(7, 1): thing}
    assert heard.receiver.rejected == {Reject.VERSION: 3, Reject.KIND: 4}
    details = {e.detail for e in heard.of(FrameRejected)}
    assert details == {"", "kind 0", "kind 5", "kind 6", "kind 15"}


def test_short_frames_of_long_kinds():
    short = np.zeros((3, 20), np.uint8)
    short[:, 0] = 0x11, 0x13, 0x14
    stamp.stamp(Frames.of_rows(short), 0)
    heard = hear(*short, made(Kind.HEARTBEAT, bytes(27)), made(Kind.MANIFEST, b"", code=1))
    assert heard.receiver.rejected == {Reject.LENGTH: 4, Reject.MANIFEST: 1}


@pytest.mark.parametrize("size", [511, 513, 0])
def test_payloads_of_another_length(size):
    frames = [announced(manifest()), made(Kind.DATA, bytes(size))]
    heard = hear(*frames)
    assert heard.receiver.rejected == {Reject.LENGTH: 1}


@pytest.mark.parametrize(("block", "symbol"), [(1, 0), (0, 256), (2**32 - 1, 0), (0, 2**24 - 1)])
def test_indexes_out_of_range(block, symbol):
    good = made(Kind.DATA, bytes(512))
    bad = made(Kind.DATA, bytes(512), block=block, symbol=symbol)
    heard = hear(announced(manifest()), good, bad)
    assert heard.receiver.rejected == {Reject.INDEX: 1}
    assert heard.receiver.objects[Key(7, 1)].frames == 1


@pytest.mark.parametrize("link", [Link(), SLOW])
def test_repeated_numbers_of_code_repeat_have_a_range_too(link):
    sent = transmit(content(3000), settings=Settings(code="repeat"), link=link)
    heard = Listener().hear(sent[:3])
    cut = heard.receiver.objects[Key(7, 1)].collector.geometry
    heard.hear([made(Kind.DATA, bytes(cut.symbol_size), symbol=cut.k)])
    assert heard.receiver.rejected == {Reject.INDEX: 1}


@examples(150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x11, 0x12, 0x13, 0x14, 0x15, 0x21]),
            st.integers(8, 60),
            st.integers(0, 2**32),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_rows_of_rubbish_with_a_right_check_never_raise(wanted):
    receiver = Receiver(Limits(senders=3, objects=3, orphans=2000, announcements=2000))
    receiver.receive([announced(manifest(symbol_size=20, k=251))[None]], 0.0)
    rows = []
    for first, length, seed, tame in wanted:
        random = np.random.default_rng(seed)
        f = random.integers(0, 256, length + 4, np.uint8)
        f[0] = first
        if tame:  # numbers small enough to get past the first checks
            f[1] &= 7
            f[4 : min(20, length)] &= 1
        stamp.stamp(Frames.of_rows(f[None]), seed)
        rows.append(f[None])
    before = receiver.frames
    assert all(stamp.check_rows(r).all() for r in rows)
    for r in rows:
        receiver.receive([r], 1.0)
    receiver.receive(rows, 2.0)
    assert receiver.frames == before + 2 * len(rows)
    assert len(receiver.senders) <= 3 and len(receiver.objects) <= 3
    assert receiver._orphans.bytes <= 2000 and receiver._announcements.bytes <= 2000


@examples(100)
@given(st.binary(max_size=150), st.integers(0, 255), st.booleans())
def test_manifests_of_rubbish_are_counted(data, count, tagged):
    tag = frame.crc32c(data) if tagged else 1
    heard = hear(made(Kind.MANIFEST, data, code=count, block=tag))
    assert not heard.of(ObjectAnnounced)
    assert len(heard.receiver._announcements._parts) == heard.receiver.rejected.total() ^ 1


# Announcements ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"code": 0}, Reject.MANIFEST),
        ({"code": 65}, Reject.MANIFEST),
        ({"code": 255}, Reject.MANIFEST),
        ({"block": 12345}, Reject.MANIFEST),
        ({"symbol": 1}, Reject.INDEX),
        ({"code": 2, "symbol": 256}, Reject.INDEX),
    ],
)
def test_announcements_that_contradict_themselves(change, reason):
    heard = hear(announced(manifest(), **change))
    assert heard.receiver.rejected == {reason: 1}
    assert not heard.of(ObjectAnnounced) and not heard.receiver.objects


def test_announcements_that_are_too_large():
    heard = hear(made(Kind.MANIFEST, bytes(-(-12_288 // 63)), code=64))
    assert heard.receiver.rejected == {Reject.LIMIT: 1}


def of_several(thing, room=64, **fields):
    symbols = AnnouncementSymbols.of(Announcement(thing), room)
    numbers = symbols.numbers(0, symbols.count + 3)
    payloads = symbols.symbols(numbers)
    return [
        made(
            Kind.MANIFEST,
            p.tobytes(),
            **{"code": symbols.count, "block": symbols.tag, "symbol": int(n)} | fields,
        )
        for n, p in zip(numbers, payloads, strict=True)
    ]


def test_symbols_of_different_lengths_do_not_mix():
    frames = of_several(manifest(name=b"n" * 200))
    head = frame.parse_full(frames[0][None])
    tag, count = int(head.block[0]), int(head.code[0])
    short = made(Kind.MANIFEST, bytes(9), code=count, block=tag)
    wide = made(Kind.MANIFEST, head.payload[0].tobytes(), code=count + 1, block=tag)
    for order in ([short, wide, *frames], [frames[0], wide, short, *frames[1:]]):
        heard = Listener().hear(order, batch=1)
        assert len(heard.of(ObjectAnnounced)) == 1
        assert len(heard.receiver._announcements._parts) == 2


def test_a_wrong_symbol_of_an_announcement_costs_the_next_round():
    frames = of_several(manifest(name=b"n" * 200))
    bad = frames[0].copy()
    bad[30] ^= 1
    stamp.stamp(Frames.of_rows(bad[None]), 0)
    heard = hear(bad, *frames[1:], *frames)
    assert heard.receiver.rejected[Reject.MANIFEST] == 1
    assert len(heard.of(ObjectAnnounced)) == 1


def test_partly_heard_announcements_are_bounded():
    limits = Limits(announcements=4 * (OVERHEAD + 300))
    heard = Listener(limits)
    for n in range(1, 40):
        heard.hear(of_several(manifest(name=b"n" * 200), number=n)[:1])
        assert heard.receiver._announcements.bytes <= limits.announcements
    assert heard.receiver.rejected[Reject.LIMIT] > 0
    heard.hear(of_several(manifest(name=b"n" * 200), number=99))
    assert [e.key.number for e in heard.of(ObjectAnnounced)] == [99]


def test_a_second_different_manifest_is_a_conflict():
    thing = content(5000)
    sent = transmit(thing)
    other = announced(manifest(name=b"other"))
    heard = Listener().hear([*sent[:3], other, *sent[3:], other], batch=1)
    assert heard.delivered == {Key(7, 1): thing}
    assert heard.receiver.rejected == {Reject.CONFLICT: 1}
    assert len(heard.of(ObjectAnnounced)) == 1


def test_void():
    void = announced(manifest(status=2))
    sent = transmit(content(30_000))
    heard = hear(*sent[:9], void, *sent[9:], void)
    assert [e.key for e in heard.of(ObjectVoided)] == [Key(7, 1)]
    assert not heard.delivered and not heard.receiver.objects
    assert heard.receiver._parking.memory == 0
    assert [e.key for e in hear(void).of(ObjectVoided)] == [Key(7, 1)]
    delivered = Listener().hear(sent).hear([void])
    assert delivered.delivered and not delivered.of(ObjectVoided)


# Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(max_object=4999), "size 5000"),
        (Limits(max_blocks=0), "blocks 1"),
        (Limits(max_block=5119), "block 5120"),
    ],
)
def test_objects_over_a_limit(limits, word):
    heard = hear(announced(manifest()), limits=limits)
    assert heard.receiver.rejected == {Reject.LIMIT: 1}
    assert word in heard.of(FrameRejected)[0].detail
    assert not heard.receiver.objects and not heard.of(ObjectAnnounced)


def test_objects_at_the_limit():
    limits = Limits(max_object=5000, max_blocks=1, max_block=5120)
    assert hear(announced(manifest()), limits=limits).receiver.objects


def test_unfinished_objects_are_bounded():
    heard = Listener(Limits(objects=3))
    for n in (1, 2, 3):
        heard.hear([announced(manifest(), number=n), made(Kind.DATA, bytes(512), number=n)])
    heard.hear([announced(manifest(), number=1)])  # heard of again: not the oldest any more
    before = heard.receiver._parking.memory
    heard.hear([announced(manifest(), number=4)])
    assert [k.number for k in heard.receiver.objects] == [3, 1, 4]
    assert [e.key.number for e in heard.of(ObjectEvicted)] == [2]
    assert heard.receiver._parking.memory < before


def test_finished_objects_are_bounded():
    heard = Listener(Limits(finished=5))
    heard.hear(transmit(*[content(100, n) for n in range(9)]))
    assert len(heard.receiver._finished) == 5 and len(heard.delivered) == 9


def test_senders_are_bounded():
    heard = Listener(Limits(senders=4))
    for sender in range(1, 10):
        heard.hear([made(Kind.HEARTBEAT, bytes(28), sender=sender)])
        heard.hear([made(Kind.HEARTBEAT, bytes(28), sender=1)])
    assert list(heard.receiver.senders) == [7, 8, 9, 1]
    assert heard.receiver.rejected[Reject.LIMIT] == 5


@LINKS
def test_memory_is_bounded_by_parking(link):
    things = [content(40_000, n) for n in range(4)]
    settings = Settings(symbol_size=32)
    sent = [
        f
        for n, t in enumerate(things, 1)
        for f in transmit(t, sender=n, link=link, settings=settings)
    ]
    heard = Listener(Limits(memory=20_000))
    heard.hear(shuffled(sent), batch=200)
    assert heard.delivered == {Key(n, 1): t for n, t in enumerate(things, 1)}
    assert heard.of(BlockParked) and heard.of(BlockWanted)
    assert not heard.receiver.rejected
    heard.receiver.receive([], 0.0)
    assert heard.receiver._parking.memory == 0


def test_memory_stays_within_its_limit_between_calls():
    limit = 30_000
    heard = Listener(Limits(memory=limit))
    sent = transmit(content(200_000), settings=Settings(symbol_size=64))
    step = 50
    mixed = shuffled(sent)
    for first in range(0, len(mixed), step):
        heard.take(heard.receiver.receive([], 0.0))
        assert heard.receiver._parking.memory <= limit
        heard.hear(mixed[first : first + step])
    assert heard.delivered


# Two objects of one alias -------------------------------------------------------------------


def twins():
    """Senders 7 and another whose first objects share an alias."""
    alias = frame.alias(7, 1)
    return 7, next(s for s in range(8, 1 << 20) if frame.alias(s, 1) == alias)


@pytest.mark.parametrize("size", [6_000, 6_500])
def test_an_alias_collision_keeps_contents_apart(size):
    one, two = twins()
    things = {one: content(6_000), two: content(size, 2)}
    settings = Settings(redundancy=2.0, passes=2)
    streams = [transmit(t, sender=s, link=SLOW, settings=settings) for s, t in things.items()]
    assert Kind.COMPACT in {kind(f) for f in streams[0]}
    mixed = [f for pair in zip(*streams, strict=False) for f in pair]
    heard = Listener().hear(mixed, batch=5)
    for key, thing in heard.delivered.items():  # `Listener` has verified the digests
        assert things[key.sender] == thing
    # one after the other is no trouble at all
    heard = Listener().hear(streams[0] + streams[1])
    assert heard.delivered == {Key(s, 1): t for s, t in things.items()}


# A wrong symbol with a right check ------------------------------------------------------------


@pytest.mark.parametrize("code", ["zfec", "repeat"])
def test_one_wrong_symbol_never_costs_the_object(code):
    thing = content(8_000)
    settings = Settings(code=code, redundancy=1.0)
    sent = transmit(thing, settings=settings)
    for at in [i for i, f in enumerate(sent) if is_data(f)][::3]:
        bad = sent[at].copy()
        bad[30] ^= 0x40
        stamp.stamp(Frames.of_rows(bad[None]), 0)
        for stream in ([*sent[:at], bad, *sent[at + 1 :]], [*sent[:at], bad, *sent[at:]]):
            heard = Listener().hear(stream, batch=4)
            assert heard.delivered == {Key(7, 1): thing}
            assert len(heard.of(BlockSpoiled)) <= 1


# The door from outside ------------------------------------------------------------------------


def test_begin_anew():
    thing = content(20_000)
    sent = transmit(thing, settings=Settings(symbol_size=64))
    receiver = Receiver()
    rows = [f[None] for f in sent]
    happened = receiver.receive(rows, 0.0)
    key = Key(7, 1)
    assert isinstance(happened[-2], ObjectCompleted) or any(
        isinstance(e, ObjectCompleted) for e in happened
    )
    blocks = receiver.objects[key].collector.geometry.blocks
    assert blocks > 1
    receiver.begin_anew(key, [1])
    again = receiver.receive(rows, 0.0)
    assert [e.block for e in again if hasattr(e, "offset")] == [1]
    assert sum(isinstance(e, ObjectCompleted) for e in again) == 1
    receiver.begin_anew(key, [])
    again = receiver.receive(rows, 0.0)
    assert {e.block for e in again if hasattr(e, "offset")} == set(range(blocks))
    assert sum(isinstance(e, ObjectCompleted) for e in again) == 1
    receiver.begin_anew(Key(1, 1), [0])  # not known: no matter


def test_forget():
    sent = transmit(content(20_000))
    heard = Listener().hear(sent[:5])
    assert heard.receiver.forget(Key(7, 1)).manifest.size == 20_000
    assert heard.receiver.forget(Key(7, 1)) is None
    assert heard.receiver._parking.memory == 0
    heard.hear(sent)
    assert len(heard.of(ObjectAnnounced)) == 2 and heard.delivered


@LINKS
@pytest.mark.parametrize("cut", [0.2, 0.5, 0.7])
def test_resume(link, cut):
    """A receiver that stops and another that goes on from what was kept."""
    thing = content(60_000)
    sent = transmit(thing, link=link, settings=Settings(symbol_size=32, burst=1.0))
    middle = int(len(sent) * cut)
    first = Listener().hear(sent[:middle])
    first.take(first.receiver.park_all())
    assert first.receiver._parking.memory == 0
    key = Key(7, 1)
    incoming = first.receiver.objects[key]
    announcement = first.of(ObjectAnnounced)[0].announcement
    parked = sorted(b for k, b in first.parked if k == key and not incoming.collector.done[b])

    second = Listener()
    second.parked, second._parts = first.parked, first._parts
    done = incoming.collector.done.copy()
    second.take(second.receiver.resume(key, announcement, done, parked))
    second.hear(sent[middle:])
    assert second.delivered == {key: thing}
    assert not second.of(ObjectAnnounced)
    if parked:
        assert second.of(BlockWanted)


def test_resume_takes_only_what_is_possible():
    announcement = Announcement(manifest()).serialize()
    key = Key(7, 1)
    receiver = Receiver()
    assert receiver.resume(key, announcement, np.zeros(1, np.bool_), [0, 5, -1]) == []
    assert receiver.objects[key].collector.parked == {0: 0}
    assert receiver.resume(key, announcement, np.ones(1, np.bool_), []) == []  # known already
    receiver = Receiver()
    receiver.resume(key, announcement, np.ones(3, np.bool_), [])  # bits of another geometry
    assert not receiver.objects[key].collector.complete
    receiver = Receiver()
    happened = receiver.resume(key, announcement, np.ones(1, np.bool_), [0])
    assert [type(e) for e in happened] == [ObjectCompleted]
    receiver = Receiver(Limits(max_object=10))
    happened = receiver.resume(key, announcement, np.zeros(1, np.bool_), [])
    assert [e.reason for e in happened] == ["size", Reject.LIMIT] and not receiver.objects
    receiver = Receiver()
    happened = receiver.resume(key, b"rubbish", np.zeros(1, np.bool_), [])
    assert [e.reason for e in happened] == [Reject.MANIFEST]


def test_restore_takes_only_what_is_possible():
    receiver = Receiver()
    key = Key(7, 1)
    nothing = np.array([], np.int64), np.empty((0, 512), np.uint8)
    some = np.array([0, 1]), np.zeros((2, 512), np.uint8)
    assert receiver.restore(key, 0, *some) == []
    receiver.receive([announced(manifest())[None]], 0.0)
    held = receiver.objects[key].collector.held
    assert receiver.restore(key, 0, *nothing) == []
    assert receiver.restore(key, 5, *some) == [] and held(0) == 0
    assert receiver.restore(key, 0, some[0] + 255, some[1]) == [] and held(0) == 0
    assert receiver.restore(key, 0, some[0], some[1][:, :9]) == [] and held(0) == 0
    assert receiver.restore(key, 0, *some) == [] and held(0) == 2


def test_gaps():
    heard = Listener()
    for n in (3, 4, 8):
        heard.hear(transmit(content(10)) if n == 99 else [announced(manifest(), number=n)])
    heard.hear([made(Kind.HEARTBEAT, bytes(28), number=11)])
    assert heard.receiver.gaps() == [GapSeen(7, 5, 7), GapSeen(7, 9, 11)]


def test_an_object_of_an_earlier_run_is_no_gap():
    heard = Listener()
    heard.receiver.finish(Key(7, 2))
    announcement = Announcement(manifest()).serialize()
    heard.receiver.resume(Key(7, 3), announcement, np.zeros(1, np.bool_), [])
    heard.hear([announced(manifest(), number=n) for n in (1, 2, 3, 5)])
    assert heard.receiver.gaps() == [GapSeen(7, 4, 4)]


def test_a_heartbeat_of_a_later_version_is_longer():
    heard = hear(made(Kind.HEARTBEAT, bytes(28) + b"more", number=3))
    assert heard.receiver.senders[7].highest_used == 3
    assert heard.receiver.rejected.total() == 0


def test_runs_of_one_sender_count_on():
    listener, before = Listener(), 0
    for number in (1, 2, 3):
        transmitter = Transmitter(7, Settings(), Link(), frames_before=before)
        transmitter.add(number, BytesSource(content(3000, number)))
        sent = everything(transmitter)
        before = transmitter.frames_sent
        listener.hear(sent if number != 2 else sent[:2] + sent[3:])
    assert len(listener.delivered) == 3
    assert listener.receiver.lost == 1 and listener.receiver.gaps() == []


def test_events_say_what_was_decoded():
    sent = transmit(content(3000))
    data = [i for i, f in enumerate(sent) if is_data(f)]
    whole = Listener().hear(sent)
    short = Listener().hear([f for i, f in enumerate(sent) if i != data[0]])
    decoded = [[e.decoded for e in h.events if hasattr(e, "offset")] for h in (whole, short)]
    assert decoded == [[False], [True]]


def test_later_elements_of_a_manifest_are_ignored():
    values = [*msgspec.structs.astuple(manifest()), "later"]
    body = msgspec.msgpack.encode(values)
    heard = hear(announced(len(body).to_bytes(2, "little") + body))
    assert heard.of(ObjectAnnounced)[0].manifest == manifest()


def test_a_block_begun_anew_may_be_restored_while_it_is_still_lent():
    """Its write failed: the symbols parked for it come back before its buffer does."""
    receiver = Receiver()
    sent = transmit(content(100))
    recovered = [
        event
        for event in receiver.receive([f[None] for f in sent], 0.0)
        if isinstance(event, BlockRecovered)
    ]
    key, block = recovered[0].key, recovered[0].block
    receiver.begin_anew(key, [block])
    size = receiver.objects[key].manifest.geometry.symbol_size
    receiver.restore(key, block, np.array([0]), np.zeros((1, size), np.uint8))
    again = receiver.receive([f[None] for f in sent], 0.0)
    assert any(isinstance(event, BlockRecovered) for event in again)
