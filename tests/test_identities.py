"""The opener: which identity opens what, and how much work others may cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import identities
from diode.admission import Refusal, Verdict
from diode.envelope import CONCEALED, ENVELOPE, ENVELOPES, Identity, Opened, Recipients
from diode.events import Key
from diode.identities import Identities
from diode.objects import Announcement, Manifest

KEY = Key(7, 1)
OURS, THEIRS = Identity(bytes(range(32))), Identity(bytes(range(32, 64)))
MANIFEST = Manifest(0, 0, b"report.pdf", 300, bytes(32), 1, 5, 7, 64, 1, None, 1)
SIGNER = b"8 bytes!"


def enclosed(*readers, key=KEY, signer=b""):
    sender = Recipients([r.public for r in readers or (OURS,)], bytes(32))
    return sender.enclose(*key, MANIFEST, signer).announcement


UNSIGNED = Verdict()


def opened(announcement, *ours, verdict=UNSIGNED, key=KEY):
    return Identities(ours or (OURS,)).open(key, announcement.serialize(), verdict, 0.0)


def stuffed(number, count=1):
    """An announcement with envelopes of nobody, different for every number."""
    sections = [(ENVELOPE, (number * 100 + i).to_bytes(4, "little") * 20) for i in range(count)]
    return Announcement(MANIFEST.outer, (*sections, (CONCEALED, bytes(64))))


def test_any_identity_opens_any_envelope():
    assert opened(enclosed()).manifest == MANIFEST
    assert opened(enclosed(THEIRS, OURS)).manifest == MANIFEST
    assert opened(enclosed(OURS), THEIRS, OURS).manifest == MANIFEST
    assert opened(enclosed(THEIRS)) is Refusal.SEALED
    assert opened(enclosed(), key=Key(7, 2)) is Refusal.SEALED


def test_sixteen_envelopes_are_tried():
    own = enclosed().sections
    for before, expected in ((ENVELOPES - 1, Opened), (ENVELOPES, Refusal)):
        sections = (*stuffed(1, before).sections[:-1], *own)
        result = opened(Announcement(MANIFEST.outer, sections))
        assert isinstance(result, expected), before


@pytest.mark.parametrize(
    ("inside", "verdict", "good"),
    [
        (b"", Verdict(), True),
        (SIGNER, Verdict(), True),
        (SIGNER, Verdict(None, "x", SIGNER), True),
        (SIGNER * 2, Verdict(None, "x", SIGNER), True),
        (b"another!" + SIGNER, Verdict(None, "x", SIGNER), True),
        (b"", Verdict(None, "x", SIGNER), False),
        (b"another!", Verdict(None, "x", SIGNER), False),
    ],
)
def test_whoever_signed_must_be_whom_the_inside_names(inside, verdict, good):
    """Or else somebody could sign what another has encrypted, as his own."""
    result = opened(enclosed(signer=inside), verdict=verdict)
    assert result is Refusal.BAD_SEAL if not good else result.manifest == MANIFEST


def test_changed_announcement_is_a_bad_seal():
    sections = enclosed().sections
    assert opened(Announcement(MANIFEST.outer, sections[:1])) is Refusal.BAD_SEAL


def test_what_stays_closed_is_tried_once():
    opener = Identities([OURS, Identity(bytes(32))])
    for _ in range(5):
        data = enclosed(THEIRS).serialize()
        assert opener.open(KEY, data, Verdict(), 0.0) is Refusal.SEALED
    assert opener.attempts == 2
    assert opener.open(Key(7, 2), data, Verdict(), 0.0) is Refusal.SEALED
    assert opener.attempts == 4


def test_an_answer_for_one_signer_is_none_for_another():
    opener, data = Identities([OURS]), enclosed(signer=SIGNER).serialize()
    assert opener.open(KEY, data, Verdict(None, "x", b"another!"), 0.0) is Refusal.BAD_SEAL
    assert isinstance(opener.open(KEY, data, Verdict(None, "y", SIGNER), 0.0), Opened)


def test_futile_attempts_take_a_share_of_the_time(monkeypatch):
    monkeypatch.setattr(identities, "BURST", 32)
    monkeypatch.setattr(identities, "RATE", 16)
    monkeypatch.setattr(identities, "REMEMBERED", 8)
    opener = Identities([OURS])

    def ask(announcement, now):
        return opener.open(KEY, announcement.serialize(), Verdict(), now)

    found = [ask(stuffed(n, 16), 100.0) for n in range(5)]
    assert found == [Refusal.SEALED] * 2 + [Refusal.UNCHECKED] * 3
    assert opener.attempts == 32
    assert ask(enclosed(), 100.0) is Refusal.UNCHECKED
    assert ask(enclosed(), 101.0).manifest == MANIFEST  # it is repeated, and has its turn
    for number in range(10, 40):
        ask(stuffed(number), float(number))
    assert len(opener._closed) == 8


def test_what_opens_is_not_rationed(monkeypatch):
    monkeypatch.setattr(identities, "BURST", 2)
    opener = Identities([THEIRS, OURS])
    for number in range(1, 30):
        key = Key(7, number)
        data = enclosed(key=key).serialize()
        assert isinstance(opener.open(key, data, Verdict(), 0.0), Opened)


@examples(200)
@given(st.lists(st.tuples(st.integers(1, 4), st.binary(max_size=90)), max_size=5))
def test_any_sections_are_judged_without_an_exception(sections):
    announcement = Announcement(MANIFEST.outer, tuple(sections))
    assert opened(announcement) in (Refusal.SEALED, Refusal.BAD_SEAL)
