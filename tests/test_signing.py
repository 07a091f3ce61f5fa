"""Signed objects through transmitter and receiver: who gets in, who does not, in which order."""

import msgspec
import numpy as np
import pytest
from pair import BytesSource, Listener, content, dropping, transmit

from diode import frame, stamp
from diode.admission import Anyone, Quarantine, Refusal
from diode.announcements import AnnouncementSymbols
from diode.errors import UsageError
from diode.events import (
    FrameRejected,
    Key,
    ObjectAnnounced,
    ObjectCompleted,
    ObjectQuarantined,
    ObjectVoided,
)
from diode.frame import Frames, Kind
from diode.keyring import Keyring
from diode.limits import Limits
from diode.objects import Announcement, Status
from diode.plan import Link, Settings
from diode.seal import SecretKey
from diode.transmitter import Transmitter

SLOW = Link(rate=11_520)
NARROW = Link(rate=11_520, max_frame=64)
LINKS = pytest.mark.parametrize("link", [Link(), SLOW, NARROW], ids=["full", "compact", "narrow"])
OURS = SecretKey(bytes(range(32)), "plant 7")
THEIRS = SecretKey(bytes(range(32, 64)))
KEY = Key(7, 1)
THING = content(30_000)


def guarded(*keys, limits=None):
    return Listener(limits, Keyring([key.public for key in keys or (OURS,)]))


def quarantined(listener):
    return [(e.key, e.reason) for e in listener.of(ObjectQuarantined)]


def split(frames):
    """Manifests, and all other frames."""
    manifests = [f for f in frames if f[0] & 0x0F == Kind.MANIFEST]
    return manifests, [f for f in frames if f[0] & 0x0F != Kind.MANIFEST]


def made(announcement, key=KEY, room=1000, numbers=None):
    """The frames of an announcement."""
    symbols = AnnouncementSymbols.of(announcement, room)
    numbers = symbols.numbers(0, numbers or symbols.count)
    payloads = symbols.symbols(numbers)
    rows = frame.blank_rows(len(numbers), payloads.shape[1])
    frame.fill_full(
        rows,
        Kind.MANIFEST,
        code=symbols.count,
        sender=key.sender,
        number=key.number,
        block=symbols.tag,
        symbol=numbers,
    )
    frame.payload(rows)[:] = payloads
    stamp.stamp(Frames.of_rows(rows), 0)
    return list(rows)


def manifest_of(frames):
    """The manifest that these frames announce."""
    (event,) = Listener().hear(frames).of(ObjectAnnounced)
    return event.manifest


# The sender -------------------------------------------------------------------------------------


@LINKS
def test_signed_object_crosses(link):
    listener = guarded().hear(dropping(0.1)(transmit(THING, b"", link=link, signer=OURS)))
    assert listener.delivered == {KEY: THING, Key(7, 2): b""}
    assert not quarantined(listener)
    assert not listener.receiver.rejected


def test_the_receiver_knows_the_signer():
    listener = guarded(THEIRS, OURS).hear(transmit(content(300_000), signer=OURS)[:50])
    verdict = listener.receiver.objects[KEY].verdict
    assert verdict == (None, "plant 7", OURS.public.id)


def test_signed_objects_are_for_receivers_without_keys_too():
    assert Listener().hear(transmit(THING, signer=OURS)).delivered == {KEY: THING}


@LINKS
def test_the_same_state_gives_the_same_signed_bytes(link):
    once, again = (transmit(THING, link=link, signer=OURS) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))


def test_an_object_made_void_is_signed_anew():
    source = BytesSource(THING)
    source.changed = True
    listener = guarded().hear(transmit(source, signer=OURS, settings=Settings(passes=2)))
    assert [e.key for e in listener.of(ObjectVoided)] == [KEY]
    assert not quarantined(listener)
    assert not listener.delivered or listener.delivered == {KEY: THING}


def test_a_source_that_breaks_is_void_and_signed():
    source = BytesSource(THING)
    source.fails_at = 1
    listener = guarded().hear(transmit(source, signer=OURS))
    assert [e.key for e in listener.of(ObjectVoided)] == [KEY]


# Refusals ---------------------------------------------------------------------------------------

REASONS = [
    pytest.param(None, (OURS,), "unsigned", id="unsigned"),
    pytest.param(THEIRS, (OURS,), "unknown-key", id="unknown key"),
    pytest.param(OURS, (THEIRS,), "unknown-key", id="revoked key"),
]


@LINKS
@pytest.mark.parametrize(("signer", "keys", "reason"), REASONS)
def test_refused_objects_get_nothing(link, signer, keys, reason):
    listener = guarded(*keys).hear(transmit(THING, b"second", link=link, signer=signer))
    assert sorted(quarantined(listener)) == [(KEY, reason), (Key(7, 2), reason)]
    assert not listener.of(ObjectAnnounced)
    assert not listener.of(ObjectCompleted)
    receiver = listener.receiver
    assert not receiver.objects
    assert receiver._parking.memory == receiver._orphans.bytes == 0
    assert receiver.rejected["signature"] >= 2
    assert receiver.rejected["quarantine"] >= 30
    assert receiver.quarantine.total == 2
    assert not receiver.gaps(), "what was refused was heard of"
    assert any(e.reason == "signature" and str(KEY) in e.detail for e in listener.of(FrameRejected))


@pytest.mark.parametrize("moved", [Key(7, 2), Key(8, 1)], ids=["number", "sender"])
def test_a_signature_moved_is_wrong(moved):
    genuine = OURS.sign(*KEY, Announcement(manifest_of(transmit(THING))))
    listener = guarded().hear(made(genuine, moved))
    assert quarantined(listener) == [(moved, "bad-signature")]


def test_an_object_is_told_of_once():
    frames = transmit(THING, settings=Settings(passes=3))
    listener = guarded().hear(frames, batch=1).hear(frames)
    assert len(quarantined(listener)) == 1


def test_data_before_the_manifest_is_dropped_when_the_manifest_is_refused():
    manifests, others = split(transmit(THING))
    listener = guarded().hear(others)
    assert listener.receiver._orphans.bytes > 0
    listener.hear(manifests)
    assert listener.receiver._orphans.bytes == 0
    assert listener.receiver.rejected["quarantine"] >= 30


def test_a_flood_of_refused_objects_is_bounded():
    manifest = manifest_of(transmit(b"x"))
    listener = guarded(limits=Limits(quarantined=50))
    for number in range(1, 500):
        listener.hear(made(Announcement(manifest), Key(number % 7, number)))
    quarantine = listener.receiver.quarantine
    assert (len(quarantine.keys), quarantine.total) == (50, 499)
    assert len(quarantine._aliases) <= 50


def test_a_flood_of_wrong_signatures_does_not_keep_an_honest_object_out(monkeypatch):
    monkeypatch.setattr("diode.keyring.BURST", 20)
    frames = transmit(THING, signer=OURS)
    manifest = manifest_of(frames)
    keyring = Keyring([OURS.public])
    listener = Listener(None, keyring)
    flood = []
    for number in range(300):
        forged = OURS.public.id + number.to_bytes(8, "little") * 8
        flood += made(Announcement(manifest, ((1, forged),)), Key(7, 1 + number % 3))
    listener.hear(flood)
    assert keyring.checks == 20
    assert listener.receiver.rejected["limit"] == 280
    rows = Frames.of_pieces(frames).rows()
    listener.take(listener.receiver.receive(rows, 1.0))
    assert listener.delivered == {KEY: THING}


# Order ------------------------------------------------------------------------------------------


@LINKS
def test_unsigned_first_then_signed(link):
    """A forged manifest of the same number, with another content, comes first."""
    forged = transmit(content(30_000, 2), link=link)
    twice = Settings(passes=2)  # what came before the signed manifest is lost
    genuine = transmit(THING, link=link, signer=OURS, settings=twice)
    listener = guarded().hear(forged).hear(genuine)
    assert quarantined(listener) == [(KEY, "unsigned")]
    assert listener.delivered == {KEY: THING}
    assert listener.receiver.quarantine.total == 0


def test_unsigned_between_every_two_frames():
    forged, _ = split(transmit(content(30_000, 2)))
    frames = [f for frame_ in transmit(THING, signer=OURS) for f in (forged[0], frame_)]
    listener = guarded().hear(frames, batch=7)
    assert listener.delivered == {KEY: THING}


def test_forged_with_the_tag_of_the_genuine_one_does_not_block_it():
    """A CRC can be made to agree; what was judged must not be recognized by it."""
    genuine = OURS.sign(*KEY, Announcement(manifest_of(transmit(THING, signer=OURS))))
    tag = AnnouncementSymbols.of(genuine, 1000).tag
    forged = Announcement(msgspec.structs.replace(genuine.manifest, name=b"evil"))
    rows = np.stack(made(with_tag(forged, tag)))
    listener = guarded().hear(list(rows))
    assert int(rows[0, 12:16].view("<u4")[0]) == tag
    assert quarantined(listener) == [(KEY, "unsigned")]
    listener.hear(transmit(THING, signer=OURS))
    assert listener.delivered == {KEY: THING}


def with_tag(announcement, tag):
    """An announcement with a section whose content makes its CRC-32C what it should be."""

    def crc(tail):
        return frame.crc32c(Announcement(announcement.manifest, ((99, tail),)).serialize())

    base = crc(bytes(4))
    columns = [crc((1 << bit).to_bytes(4, "little")) ^ base for bit in range(32)]
    rows = [(column, 1 << bit) for bit, column in enumerate(columns)]
    solution, wanted = 0, base ^ tag
    pivots = {}
    for value, mask in rows:
        left, used = value, mask
        while left and left.bit_length() in pivots:
            other, other_mask = pivots[left.bit_length()]
            left, used = left ^ other, used ^ other_mask
        if left:
            pivots[left.bit_length()] = left, used
    while wanted:
        value, mask = pivots[wanted.bit_length()]
        wanted, solution = wanted ^ value, solution ^ mask
    tail = solution.to_bytes(4, "little")
    assert crc(tail) == tag
    return Announcement(announcement.manifest, ((99, tail),))


@LINKS
def test_signed_first_then_a_forgery(link):
    frames = transmit(THING, link=link, signer=OURS)
    half = len(frames) // 2
    forged = transmit(content(30_000, 2), link=link)
    listener = guarded().hear(frames[:half]).hear(split(forged)[0]).hear(frames[half:])
    assert listener.delivered == {KEY: THING}
    assert not quarantined(listener), "the object itself is well"
    assert listener.receiver.rejected["signature"] > 0
    assert listener.receiver.quarantine.total == 0


def test_a_forgery_of_what_was_delivered_is_late():
    listener = guarded().hear(transmit(THING, signer=OURS)).hear(transmit(b"other"))
    assert listener.delivered == {KEY: THING}
    assert not quarantined(listener)


@pytest.mark.parametrize("signer", [None, THEIRS], ids=["unsigned", "unknown key"])
def test_a_forged_void_ends_nothing(signer):
    frames = transmit(THING, signer=OURS)
    void = msgspec.structs.replace(manifest_of(frames), status=int(Status.VOID))
    announcement = signer.sign(*KEY, Announcement(void)) if signer else Announcement(void)
    borrowed = Announcement(void, OURS.sign(*KEY, Announcement(manifest_of(frames))).sections)
    forged = made(announcement) + made(borrowed)
    listener = guarded().hear(forged).hear(frames[:20]).hear(forged).hear(frames[20:])
    assert not listener.of(ObjectVoided)
    assert listener.delivered == {KEY: THING}


def test_a_signed_void_ends_a_quarantine_too():
    void = msgspec.structs.replace(manifest_of(transmit(THING)), status=int(Status.VOID))
    listener = guarded().hear(transmit(THING)).hear(made(OURS.sign(*KEY, Announcement(void))))
    assert [e.key for e in listener.of(ObjectVoided)] == [KEY]
    assert listener.receiver.quarantine.total == 0


def test_alias_of_a_refused_object_does_not_take_that_of_an_honest_one():
    """Compact frames go to the last manifest heard; a refused one is not heard in that sense."""
    frames = transmit(THING, link=SLOW, signer=OURS)
    twin = next(
        k for k in (Key(8, n) for n in range(1, 1 << 17)) if frame.alias(*k) == frame.alias(*KEY)
    )
    forged = made(Announcement(manifest_of(frames)), twin)
    mixed = [f for frame_ in frames for f in (frame_, forged[0])]
    listener = guarded().hear(mixed, batch=5)
    assert listener.delivered == {KEY: THING}


# Going on ---------------------------------------------------------------------------------------


def half_way(signer):
    """What a sink kept of an object: announcement, blocks done, and the frames still to come."""
    frames = transmit(content(800_000), signer=signer)
    listener = Listener().hear(frames[: len(frames) // 2])
    (event,) = listener.of(ObjectAnnounced)
    done = listener.receiver.objects[KEY].collector.done.copy()
    return event.announcement, done, frames


@pytest.mark.parametrize(
    ("signer", "reason"),
    [(OURS, None), (None, "unsigned"), (THEIRS, "unknown-key")],
    ids=["ours", "unsigned", "revoked"],
)
def test_resume_asks_today_s_keys(signer, reason):
    announcement, done, frames = half_way(signer)
    listener = guarded()
    listener.take(listener.receiver.resume(KEY, announcement, done, []))
    assert (KEY in listener.receiver.objects) == (reason is None)
    assert quarantined(listener) == ([] if reason is None else [(KEY, reason)])
    if reason is None:
        assert listener.receiver.objects[KEY].verdict.signed_by == "plant 7"
        return
    listener.hear(frames)
    assert not listener.delivered
    listener.hear(transmit(content(800_000), signer=OURS))
    assert listener.delivered == {KEY: content(800_000)}


# Small parts ------------------------------------------------------------------------------------


def test_anyone_comes_in_without_keys():
    assert Anyone().judge(KEY, b"", 0.0).refusal is None


def test_quarantine_remembers_the_most_recent():
    quarantine = Quarantine(2)
    assert quarantine.add(Key(1, 1), Refusal.UNSIGNED)
    assert quarantine.add(Key(1, 2), Refusal.UNSIGNED)
    assert not quarantine.add(Key(1, 1), Refusal.UNSIGNED)
    assert quarantine.add(Key(1, 3), Refusal.UNSIGNED)
    assert quarantine.keys == [Key(1, 1), Key(1, 3)]
    assert Key(1, 2) not in quarantine
    assert frame.alias(1, 2) not in quarantine
    assert frame.alias(1, 3) in quarantine
    quarantine.release(Key(1, 3))
    quarantine.release(Key(9, 9))
    assert (quarantine.keys, quarantine.total) == ([Key(1, 1)], 2)


def test_a_signature_that_makes_the_announcement_too_long_for_the_line_is_said_so():
    tiny = Transmitter(7, Settings(), Link(max_frame=48), signer=OURS)
    with pytest.raises(UsageError, match=r"needs \d+ frames"):
        tiny.add(1, BytesSource(THING, b"x" * 2000))
