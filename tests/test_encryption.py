"""Encrypted objects through transmitter and receiver: what crosses, what shows, what is refused."""

import hashlib

import msgspec
import numpy as np
import pytest
from pair import BytesSource, Listener, content, dropping, transmit
from test_signing import made, quarantined, split

from diode import frame, identities, stamp
from diode.admission import NoIdentity
from diode.block import CRC
from diode.envelope import Identity, Recipients
from diode.events import (
    BlockParked,
    BlockRecovered,
    BlockSpoiled,
    Key,
    ObjectAnnounced,
    ObjectVoided,
)
from diode.forecast import forecast
from diode.frame import Frames, Kind
from diode.identities import Identities
from diode.inspection import Inspection
from diode.keyring import Keyring
from diode.limits import Limits
from diode.objects import Announcement, Status, Type
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.seal import SecretKey

SLOW = Link(rate=11_520)
NARROW = Link(rate=11_520, max_frame=64)
LINKS = pytest.mark.parametrize("link", [Link(), SLOW, NARROW], ids=["full", "compact", "narrow"])
OURS, THEIRS = Identity(bytes(range(32))), Identity(bytes(range(32, 64)))
SIGNER, OTHER_SIGNER = SecretKey(bytes(range(64, 96))), SecretKey(bytes(range(96, 128)))
SECRET = bytes(range(100, 132))
KEY = Key(7, 1)
THING = content(30_000)


def encloser(*readers, secret=SECRET):
    return Recipients([reader.public for reader in readers or (OURS,)], secret)


def sent(*objects, **options):
    return transmit(*objects, **{"encloser": encloser()} | options)


def listening(*ours, limits=None, signers=()):
    gate = Keyring([s.public for s in signers]) if signers else None
    return Listener(limits, gate, Identities(ours or (OURS,)))


def announcement_of(frames):
    """The first announcement among these frames, which is whole in one."""
    manifests, _ = split(frames)
    parsed = frame.parse_full(manifests[0][None])
    assert parsed.code[0] == 1
    return Announcement.parse(parsed.payload[0].tobytes())


# What crosses -----------------------------------------------------------------------------------


@LINKS
@pytest.mark.parametrize("size", [0, 1, 100, 30_000, 400_000])
def test_encrypted_objects_cross(link, size):
    if size > 30_000 and link is NARROW:
        size = 60_000
    thing = content(size)
    frames = dropping(0.1)(sent(thing, b"second", link=link))
    listener = listening().hear(frames)
    assert listener.delivered == {KEY: thing, Key(7, 2): b"second"}
    assert not listener.receiver.rejected


def test_name_type_and_time_cross():
    source = BytesSource(THING, b"a/b.txt", mtime=1_700_000_000_000_000_000)
    folder = BytesSource(b"", b"a folder")
    folder.type = Type.DIRECTORY
    told = [e.manifest for e in listening().hear(sent(source, folder)).of(ObjectAnnounced)]
    told.sort(key=lambda manifest: manifest.type)
    assert [(m.name, m.type, m.mtime) for m in told] == [
        (b"a/b.txt", 0, source.mtime),
        (b"a folder", 1, None),
    ]
    assert told[0].digest == hashlib.sha256(THING).digest()
    assert all(m.encrypted and not m.concealed for m in told)


@LINKS
def test_every_recipient_reads_it(link):
    frames = sent(THING, link=link, encloser=encloser(THEIRS, OURS))
    for identity in (OURS, THEIRS):
        assert listening(identity).hear(frames).delivered == {KEY: THING}


def test_an_identity_reads_what_is_in_the_open_too():
    assert listening().hear(transmit(THING)).delivered == {KEY: THING}


@LINKS
def test_the_same_state_gives_the_same_bytes(link):
    once, again = (sent(THING, link=link) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))


def symbols_of(frames):
    return {f[frame.HEADER : -4].tobytes() for f in frames if f[0] & 0x0F == Kind.DATA}


@pytest.mark.parametrize(
    "change",
    [{"settings": Settings(symbol_size=500)}, {"settings": Settings(passes=2)}, {"sender": 8}],
    ids=["geometry", "passes", "sender"],
)
def test_a_restored_state_encrypts_nothing_else_under_the_same_key(change):
    """Number and content again, otherwise cut or announced: no block is under the old key."""
    zeros = bytes(30_000)
    first = sent(zeros, settings=Settings(code="repeat", symbol_size=1000))
    again = sent(zeros, **{"settings": Settings(code="repeat")} | change)
    assert not symbols_of(first) & symbols_of(again)
    assert len(symbols_of(first)) == 31, "equal blocks differ under the cipher"


def test_nothing_of_it_shows():
    source = BytesSource(b"secret words " * 1000, b"telling name")
    air = b"".join(f.tobytes() for f in sent(source, settings=Settings(code="repeat")))
    assert b"secret" not in air
    assert b"telling" not in air
    assert source.digest not in air
    assert OURS.public.raw not in air and OURS.public.id not in air
    air = b"".join(f.tobytes() for f in transmit(source, settings=Settings(code="repeat")))
    assert b"secret" in air and b"telling" in air and source.digest in air


def test_an_object_made_void_is_enclosed_anew():
    source = BytesSource(THING, b"gone")
    source.changed = True
    frames = sent(source, settings=Settings(passes=2))
    listener = listening().hear(frames)
    assert [(e.key, e.manifest.name) for e in listener.of(ObjectVoided)] == [(KEY, b"gone")]
    assert not Listener().hear(frames).of(ObjectVoided), "nor does a stranger learn the name"


# Refusals ---------------------------------------------------------------------------------------


@LINKS
@pytest.mark.parametrize("opener", [NoIdentity(), Identities([THEIRS])], ids=["none", "another"])
def test_without_the_identity_nothing_is_kept(link, opener):
    listener = Listener(opener=opener).hear(sent(THING, b"second", link=link))
    assert sorted(quarantined(listener)) == [(KEY, "sealed"), (Key(7, 2), "sealed")]
    receiver = listener.receiver
    assert not receiver.objects and not listener.of(ObjectAnnounced)
    assert receiver._parking.memory == receiver._orphans.bytes == 0
    assert receiver.rejected["seal"] >= 2
    assert receiver.rejected["quarantine"] >= 30
    assert not receiver.gaps(), "what was refused was heard of"


@pytest.mark.parametrize("change", [{"size": 29_999}, {"status": 2}, {"n": 99}], ids=str)
def test_a_changed_outside_is_refused_and_the_right_one_still_comes(change):
    frames = sent(THING)
    genuine = announcement_of(frames)
    outside = msgspec.structs.replace(genuine.manifest, **change)
    forged = made(Announcement(outside, genuine.sections))
    listener = listening().hear(forged)
    assert quarantined(listener) == [(KEY, "bad-seal")]
    listener.hear(frames)
    assert listener.delivered == {KEY: THING}
    assert not listener.of(ObjectVoided)
    assert listener.receiver.quarantine.total == 0


@pytest.mark.parametrize("moved", [Key(7, 2), Key(8, 1)], ids=["number", "sender"])
def test_an_envelope_moved_is_closed(moved):
    listener = listening().hear(made(announcement_of(sent(THING)), moved))
    assert quarantined(listener) == [(moved, "sealed")]


def test_limits_come_before_opening():
    opener = Identities([OURS])
    listener = Listener(Limits(max_object=1000), opener=opener).hear(sent(THING))
    assert opener.attempts == 0
    assert listener.receiver.rejected["limit"] > 0


def test_a_signature_comes_before_opening():
    opener = Identities([OURS])
    gate = Keyring([SIGNER.public])
    listener = Listener(None, gate, opener).hear(sent(THING)).hear(sent(THING, signer=OTHER_SIGNER))
    assert opener.attempts == 0
    assert quarantined(listener) == [(KEY, "unsigned")]


@LINKS
def test_signed_and_encrypted(link):
    frames = sent(THING, link=link, signer=SIGNER)
    listener = listening(signers=[SIGNER]).hear(dropping(0.1)(frames))
    assert listener.delivered == {KEY: THING}
    assert listening().hear(frames).delivered == {KEY: THING}
    refused = Listener(None, Keyring([SIGNER.public])).hear(frames)
    assert quarantined(refused) == [(KEY, "sealed")]


@pytest.mark.parametrize("signer", [None, SIGNER], ids=["unsigned", "signed"])
def test_nobody_signs_what_another_has_encrypted(signer):
    """Stripped of its signature, if it had one, and signed by somebody who is trusted too."""
    genuine = announcement_of(sent(THING, signer=signer))
    sections = tuple(s for s in genuine.sections if s[0] != 1)
    stolen = OTHER_SIGNER.sign(*KEY, Announcement(genuine.manifest, sections))
    listener = listening(signers=[SIGNER, OTHER_SIGNER]).hear(made(stolen))
    assert quarantined(listener) == [(KEY, "bad-seal")]


def test_a_flood_for_others_does_not_keep_ours_out(monkeypatch):
    monkeypatch.setattr(identities, "BURST", 20)
    opener = Identities([OURS])
    listener = Listener(opener=opener)
    flood = []
    for number in range(1, 101):
        enclosed = encloser(THEIRS).enclose(7, number, announced(), b"")
        flood += made(enclosed.announcement, Key(7, number))
    listener.hear(flood)
    assert opener.attempts == 20
    assert listener.receiver.rejected["limit"] == 80
    rows = Frames.of_pieces(sent(THING, sender=9)).rows()
    listener.take(listener.receiver.receive(rows, 1.0))
    assert listener.delivered == {Key(9, 1): THING}


def announced():
    """A manifest as a sender has it."""
    (event,) = listening().hear(sent(b"x" * 100)).of(ObjectAnnounced)
    return event.manifest


# Blocks -----------------------------------------------------------------------------------------


def spoil(frames, places):
    """These data frames with a wrong byte and the right check."""
    data = [i for i, f in enumerate(frames) if f[0] & 0x0F in (Kind.DATA, Kind.COMPACT)]
    frames = [f.copy() for f in frames]
    for place in places:
        wrong = frames[data[place]]
        wrong[-10] ^= 0x5A
        stamp.stamp(Frames.of_rows(wrong[None]), 0)
    return frames


@pytest.mark.parametrize("places", [[0], [1], [2]])
@pytest.mark.parametrize("size", [THING, content(3_000)], ids=["many", "few"])
def test_a_wrong_symbol_costs_no_more_than_in_the_open(places, size):
    """The tag shows it, and the search works on ciphertext that no trial has touched."""
    frames = spoil(sent(size), places)
    listener = listening().hear(frames, batch=1)
    assert listener.of(BlockSpoiled)
    assert listener.delivered == {KEY: size}


def test_symbols_are_parked_and_saved_as_they_were_heard():
    """What is kept of unfinished blocks is ciphertext, and goes on after a restart."""
    zeros = bytes(60_000)
    frames = sent(zeros, settings=Settings(symbol_size=1000))
    half = len(frames) * 2 // 5
    first = listening().hear(frames[:half])
    (event,) = first.of(ObjectAnnounced)
    announcement = event.announcement
    assert not list(first.receiver.save())  # all of it came just now
    saved = list(first.receiver.save())
    first.take(first.receiver.park_all())
    assert saved and not any((s.symbols == 0).all(axis=1).any() for s in saved)
    assert not any((e.symbols == 0).all(axis=1).any() for e in first.of(BlockParked))
    done = np.zeros(event.manifest.geometry.blocks, np.bool_)
    done[[e.block for e in first.of(BlockRecovered)]] = True
    kept = {}
    for one in saved:
        kept.setdefault((KEY, one.block), {}).update(
            zip(one.numbers.tolist(), one.symbols, strict=True)
        )
    second = listening()
    second.parked, second._parts = kept, first._parts
    second.take(second.receiver.resume(KEY, announcement, done, [b for _, b in kept]))
    second.hear([f for f in frames[half:] if f[0] & 0x0F != Kind.MANIFEST])
    assert second.delivered == {KEY: zeros}


def test_resuming_takes_the_identity():
    frames = sent(THING)
    (event,) = listening().hear(frames[:10]).of(ObjectAnnounced)
    stranger = Receiver()
    happened = stranger.resume(KEY, event.announcement, np.zeros(1, np.bool_), [])
    assert [e.reason for e in happened if hasattr(e, "manifest")] == ["sealed"]
    assert not stranger.objects


def test_begun_anew_it_is_decrypted_again():
    frames = sent(THING)
    listener = listening()
    listener.receiver.receive(Frames.of_pieces(frames[:20]).rows(), 0.0)
    listener.receiver.begin_anew(KEY, [])
    assert listener.receiver.objects[KEY].collector.check is not CRC
    listener._parts[KEY] = bytearray(len(THING))
    listener.hear(frames)
    assert listener.delivered == {KEY: THING}


# What else looks at it --------------------------------------------------------------------------


def test_inspection_tells_what_shows():
    frames = sent(THING)
    inspection = Inspection()
    inspection.take(Frames.of_pieces(frames).rows())
    (seen,) = inspection.resolved().values()
    assert seen.manifest.concealed and seen.manifest.size == len(THING)
    assert seen.recoverable() == (seen.manifest.geometry.blocks, 0)


def test_plan_counts_tags():
    plain, under = (forecast(10**6, Settings(cipher=c), SLOW) for c in (0, 1))
    blocks = under.geometry.blocks
    assert under.geometry.block_data == under.geometry.k * under.geometry.symbol_size - 16
    more = under.line_bytes["padding and block checks"]
    assert 0 <= more - plain.line_bytes["padding and block checks"] <= 8 * blocks + 210
    frames = sent(content(10**5), link=SLOW)
    data = [f for f in frames if f[0] & 0x0F == Kind.COMPACT]
    assert len(data) == forecast(10**5, Settings(cipher=1), SLOW).frames


def test_status_is_for_everybody():
    assert announcement_of(sent(THING)).manifest.status == Status.COMPLETE
