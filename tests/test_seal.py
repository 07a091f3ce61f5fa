"""Keys as text, signatures over announcements, and what does not pass for one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import seal
from diode.admission import Refusal
from diode.events import Key
from diode.keyring import Keyring
from diode.objects import Announcement, Malformed, Manifest
from diode.seal import PublicKey, SecretKey, take_apart

KEY = Key(7, 1)
SECRET = SecretKey(bytes(range(32)), "plant 7")
OTHER = SecretKey(bytes(range(32, 64)))
MANIFEST = Manifest(0, 0, b"report.pdf", 300, bytes(32), 1, 5, 7, 64, 1, None)


def signed(secret=SECRET, key=KEY, manifest=MANIFEST):
    return secret.sign(*key, Announcement(manifest)).serialize()


def verdict(data, key=KEY, *keys):
    return Keyring(keys or [SECRET.public]).judge(key, data, 0.0)


def test_signed_announcement_is_accepted_and_names_its_signer():
    found = verdict(signed())
    assert found == (None, "plant 7", SECRET.public.id)
    assert verdict(signed(OTHER), KEY, OTHER.public).signed_by == OTHER.public.fingerprint


def test_one_of_several_keys_is_enough():
    keys = [SECRET.public, OTHER.public]
    assert verdict(signed(), KEY, *keys).signed_by == "plant 7"
    assert verdict(signed(OTHER), KEY, *keys).signed_by == OTHER.public.fingerprint


def test_signing_is_deterministic():
    assert signed() == signed()


def test_signature_costs_75_bytes():
    assert len(signed()) == len(Announcement(MANIFEST).serialize()) + 3 + seal.SECTION == 135


def test_receiver_without_keys_reads_a_signed_announcement():
    assert Announcement.parse(signed()).manifest == MANIFEST


def test_every_flipped_bit_is_refused():
    data = signed() + bytes(5)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = verdict(bytes(damaged))
        except Malformed:
            continue
        assert found.refusal is not None, f"bit {bit % 8} of byte {bit // 8}"


@pytest.mark.parametrize("key", [Key(7, 2), Key(8, 1), Key(1, 7), Key(7 << 8, 1)])
def test_signature_fits_one_number_of_one_sender(key):
    assert verdict(signed(), key).refusal is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"status": 2},
        {"name": b"report.pdf2"},
        {"size": 301},
        {"digest": bytes(31) + b"\1"},
        {"k": 6},
        {"n": 8},
        {"symbol_size": 65},
        {"passes": 2},
        {"mtime": 0},
        {"type": 1, "size": 0},
    ],
    ids=str,
)
def test_every_element_of_the_manifest_is_bound(change):
    borrowed = Announcement.parse(signed()).sections
    other = Announcement(msgspec.structs.replace(MANIFEST, **change), borrowed).serialize()
    assert verdict(other).refusal is Refusal.BAD_SIGNATURE


def test_refusals():
    assert verdict(Announcement(MANIFEST).serialize()).refusal is Refusal.UNSIGNED
    assert verdict(signed(OTHER)).refusal is Refusal.UNKNOWN_KEY
    named = SECRET.public.id + Announcement.parse(signed(OTHER)).sections[0][1][8:]
    assert verdict(with_sections((1, named))).refusal is Refusal.BAD_SIGNATURE
    assert verdict(with_sections((1, b""))).refusal is Refusal.BAD_SIGNATURE
    right = Announcement.parse(signed()).sections[0]
    assert verdict(with_sections(right, (9, b""))).refusal is Refusal.BAD_SIGNATURE
    assert verdict(with_sections((9, b""), right)).refusal is Refusal.BAD_SIGNATURE
    unknown = Announcement.parse(signed(OTHER)).sections[0]
    assert verdict(with_sections(*[unknown] * 3, right)).refusal is None
    assert verdict(with_sections(*[unknown] * 4, right)).refusal is Refusal.BAD_SIGNATURE


def with_sections(*sections):
    return Announcement(MANIFEST, sections).serialize()


def test_the_last_zeros_are_not_signed():
    assert take_apart(KEY, signed()) == take_apart(KEY, signed() + bytes(100))


@examples(200)
@given(st.binary(max_size=200))
def test_any_section_is_judged_without_an_exception(content):
    assert verdict(with_sections((1, content))).refusal is not None


def test_a_public_key_that_is_no_point_signs_nothing():
    wrong = PublicKey(b"\2" + b"\xff" * 31)
    assert not wrong.signed(b"message", bytes(64))


def test_generated_keys_differ_and_sign():
    one, two = SecretKey.generate("x"), SecretKey.generate()
    assert one.raw != two.raw
    assert verdict(signed(one), KEY, one.public).signed_by == "x"


# Keyring ----------------------------------------------------------------------------------------


def bad(number):
    """Announcements that name the key and are not signed by it, all different."""
    content = SECRET.public.id + number.to_bytes(8, "little") * 8
    return with_sections((1, content))


def test_what_was_checked_is_not_checked_again():
    ring = Keyring([SECRET.public])
    for _ in range(5):
        assert ring.judge(KEY, signed(), 0.0).refusal is None
        assert ring.judge(KEY, bad(1), 0.0).refusal is Refusal.BAD_SIGNATURE
        assert ring.judge(KEY, signed() + bytes(9), 0.0).refusal is None
    assert ring.checks == 2


def test_unknown_keys_and_unsigned_objects_cost_no_check():
    ring = Keyring([SECRET.public])
    ring.judge(KEY, signed(OTHER), 0.0)
    ring.judge(KEY, with_sections(), 0.0)
    assert ring.checks == 0


def test_wrong_signatures_take_a_share_of_the_time(monkeypatch):
    monkeypatch.setattr("diode.keyring.BURST", 10)
    monkeypatch.setattr("diode.keyring.RATE", 5)
    monkeypatch.setattr("diode.keyring.CHECKED", 8)
    ring = Keyring([SECRET.public])
    found = [ring.judge(KEY, bad(n), 100.0).refusal for n in range(30)]
    assert found == [Refusal.BAD_SIGNATURE] * 10 + [Refusal.UNCHECKED] * 20
    assert ring.judge(KEY, signed(), 100.0).refusal is Refusal.UNCHECKED
    assert ring.judge(KEY, signed(), 101.0).refusal is None  # it is repeated, and has its turn
    found = [ring.judge(KEY, bad(n), 101.0).refusal for n in range(30, 40)]
    assert found.count(Refusal.BAD_SIGNATURE) == 5
    assert ring.judge(KEY, signed(), 101.0).refusal is None, "what is known to be right stays so"
    assert len(ring._checked) <= 8
    assert ring.judge(KEY, bad(99), 50.0).refusal is Refusal.UNCHECKED  # a clock that goes back


def test_right_signatures_are_not_rationed(monkeypatch):
    monkeypatch.setattr("diode.keyring.BURST", 2)
    ring = Keyring([SECRET.public])
    for number in range(1, 50):
        key = Key(7, number)
        assert ring.judge(key, signed(key=key), 0.0).refusal is None
