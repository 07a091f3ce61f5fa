"""Envelopes: keys that are derived, wrapped for each recipient, and what does not open."""

import hashlib
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.envelope import (
    CONCEALED,
    ENVELOPE,
    ENVELOPES,
    SECTION,
    Identity,
    Recipient,
    Recipients,
    Unwrapper,
    open_concealed,
)
from diode.errors import KeyFileError, UsageError
from diode.events import Key
from diode.objects import Announcement, Malformed, Manifest
from diode.seal import SecretKey

KEY = Key(7, 1)
OURS, THEIRS = Identity(bytes(range(32)), "archive"), Identity(bytes(range(32, 64)))
SECRET = bytes(range(64, 96))
MANIFEST = Manifest(0, 0, b"report.pdf", 300, bytes(32), 1, 5, 7, 64, 1, 1_700_000_000, 1)
SMALL_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
    2**255 - 19,
    2**255 - 18,
)
"""Points with which everything agrees on zero (RFC 7748, 6.1; curve25519 of D. J. Bernstein)."""


def enclosed(*identities, secret=SECRET, key=KEY, manifest=MANIFEST, signer=b""):
    readers = [identity.public for identity in identities or (OURS,)]
    return Recipients(readers, secret).enclose(*key, manifest, signer)


def envelopes(announcement):
    return [content for kind, content in announcement.sections if kind == ENVELOPE]


def object_key(made, identity=OURS, key=KEY):
    """The object key that this identity finds."""
    found = [Unwrapper(identity).unwrap(key, e) for e in envelopes(made.announcement)]
    return next((f for f in found if f is not None), None)


def test_what_is_enclosed_is_opened():
    made = enclosed(signer=b"8 bytes!")
    opened = open_concealed(KEY, made.announcement.serialize() + bytes(9), object_key(made))
    assert opened.manifest == MANIFEST
    assert opened.signers == (b"8 bytes!",)


def test_the_announcement_tells_no_more_than_sizes():
    manifest = made = enclosed().announcement.manifest
    assert manifest == MANIFEST.outer and manifest.concealed
    folder = msgspec.structs.replace(MANIFEST, type=1, size=0)
    empty = msgspec.structs.replace(MANIFEST, size=0)
    assert folder.outer == empty.outer
    data = enclosed().announcement.serialize()
    for word in (b"report", MANIFEST.digest, OURS.public.raw, OURS.public.id):
        assert word not in data
    lengths = set()
    for length in range(1, 200):
        made = enclosed(manifest=msgspec.structs.replace(MANIFEST, name=b"n" * length))
        lengths.add(len(made.announcement.serialize()))
    assert len(lengths) <= 1 + -(-200 // 32)


def test_cost_of_a_recipient():
    one, two = enclosed(OURS).announcement, enclosed(OURS, THEIRS).announcement
    assert len(two.serialize()) - len(one.serialize()) == 3 + SECTION == 83


def test_every_recipient_finds_the_same_key():
    made = enclosed(OURS, THEIRS)
    assert object_key(made, OURS) == object_key(made, THEIRS) is not None
    assert object_key(made, Identity.generate()) is None
    assert len(set(envelopes(made.announcement))) == 2


def test_the_same_state_gives_the_same_bytes():
    assert enclosed(OURS, THEIRS).announcement == enclosed(OURS, THEIRS).announcement


CHANGES = [
    {"status": 2},
    {"type": 1, "size": 0},
    {"name": b"report.pdf2"},
    {"size": 301},
    {"digest": hashlib.sha256(b"x").digest()},
    {"code": 0},
    {"k": 6},
    {"n": 8},
    {"symbol_size": 65},
    {"passes": 2},
    {"mtime": None},
]


def test_nothing_shares_a_key_with_anything_else():
    """Or else a restored state would encrypt two contents under one key and nonce."""
    made = [enclosed()]
    made += [enclosed(manifest=msgspec.structs.replace(MANIFEST, **change)) for change in CHANGES]
    others = [Key(7, 2), Key(8, 1), Key(1, 7)]
    keys = [object_key(m) for m in made] + [object_key(enclosed(key=k), key=k) for k in others]
    keys += [object_key(enclosed(secret=bytes(32))), object_key(enclosed(signer=b"8 bytes!"))]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    pairs = {envelopes(m.announcement)[0][:32] for m in made}
    assert len(pairs) == len(made), "nor do two objects share a pair of keys"


def test_a_change_of_recipients_changes_no_other_envelope():
    alone, both = enclosed(OURS).announcement, enclosed(OURS, THEIRS).announcement
    assert envelopes(alone)[0] == envelopes(both)[0]
    assert alone.sections[-1] == both.sections[-1]


def test_every_flipped_bit_of_an_envelope_closes_it():
    made, key = enclosed(), KEY
    (envelope,) = envelopes(made.announcement)
    unwrapper = Unwrapper(OURS)
    for bit in range(8 * SECTION):
        damaged = bytearray(envelope)
        damaged[bit // 8] ^= 1 << bit % 8
        # The highest bit of a public key is ignored by X25519, but bound as salt.
        assert unwrapper.unwrap(key, bytes(damaged)) is None, bit


@pytest.mark.parametrize("other", [Key(7, 2), Key(8, 1), Key(1, 7)])
def test_an_envelope_fits_one_number_of_one_sender(other):
    assert object_key(enclosed(), key=other) is None


def test_every_flipped_bit_of_the_announcement_is_refused():
    made = enclosed()
    key, data = object_key(made), made.announcement.serialize()
    own = len(data) - len(made.announcement.sections[-1][1]) - 3  # where the concealed part begins
    places = itertools.chain(range(8 * own - 8 * 83), range(8 * own, 8 * len(data)))
    for bit in places:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Malformed):
            open_concealed(KEY, bytes(damaged), key)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_with_which_all_agree_on_zero_is_refused(point):
    raw = point.to_bytes(32, "little")
    with pytest.raises(KeyFileError, match="no key to encrypt to"):
        Recipient(raw)
    assert Unwrapper(OURS).unwrap(KEY, raw + bytes(48)) is None
    line = OURS.public.line.split()
    line[1] = __import__("base64").b64encode(raw).decode()
    with pytest.raises(KeyFileError, match="no key to encrypt to"):
        Recipient.parse(" ".join(line))


@examples(100)
@given(st.binary(max_size=200))
def test_any_bytes_as_an_envelope(data):
    assert Unwrapper(OURS).unwrap(KEY, data) is None


@examples(100)
@given(st.lists(st.tuples(st.integers(1, 4), st.binary(max_size=100)), max_size=4), st.binary())
def test_any_sections_are_malformed_or_opened_without_another_exception(sections, key):
    data = Announcement(MANIFEST.outer, tuple(sections)).serialize()
    with pytest.raises(Malformed):
        open_concealed(KEY, data, key.ljust(32, b"\0")[:32])


def test_one_concealed_part_and_no_more():
    made = enclosed()
    key, (envelope, concealed) = object_key(made), made.announcement.sections
    assert concealed[0] == CONCEALED
    for sections in ([envelope], [envelope, concealed, concealed]):
        data = Announcement(MANIFEST.outer, tuple(sections)).serialize()
        with pytest.raises(Malformed, match="concealed parts"):
            open_concealed(KEY, data, key)


@pytest.mark.parametrize(
    "change",
    [
        {"name": b""},
        {"name": b"a\0b"},
        {"name": b"n" * 4097},
        {"digest": b"short"},
        {"type": 7},
        {"type": 1},
        {"name": b"", "digest": b"", "mtime": None},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_is_concealed_is_checked_like_what_is_open(change):
    made = enclosed(manifest=msgspec.structs.replace(MANIFEST, **change))
    with pytest.raises(Malformed):
        open_concealed(KEY, made.announcement.serialize(), object_key(made))


def test_signers_are_whole_key_ids():
    made = enclosed(signer=bytes(7))
    with pytest.raises(Malformed, match="signers"):
        open_concealed(KEY, made.announcement.serialize(), object_key(made))
    made = enclosed(signer=b"8 bytes!" * 2)
    opened = open_concealed(KEY, made.announcement.serialize(), object_key(made))
    assert opened.signers == (b"8 bytes!",) * 2


def test_too_many_recipients():
    many = [Identity(hashlib.sha256(b"%d" % n).digest()) for n in range(ENVELOPES + 1)]
    assert len(envelopes(enclosed(*many[1:]).announcement)) == ENVELOPES
    assert len(envelopes(enclosed(OURS, OURS).announcement)) == 1
    with pytest.raises(UsageError, match="17 recipients"):
        enclosed(*many)


def test_longest_name_for_the_most_recipients_signed():
    many = [Identity(hashlib.sha256(b"%d" % n).digest()) for n in range(ENVELOPES)]
    long = msgspec.structs.replace(MANIFEST, name=b"n" * 4096)
    signer = SecretKey(bytes(32))
    made = enclosed(*many, manifest=long, signer=signer.id)
    data = signer.sign(*KEY, made.announcement).serialize()
    assert open_concealed(KEY, data, object_key(made, many[-1])).manifest == long


def test_generated_identities_differ():
    one, two = Identity.generate("x"), Identity.generate()
    assert one.raw != two.raw and one.public != two.public
    assert one.public.comment == one.comment == "x"
    made = enclosed(one)
    assert object_key(made, one) is not None and object_key(made, two) is None
