"""Encrypted objects: whatever stands in an announcement, opening it gives a manifest that is
inside every range, or a refusal, and raises nothing, also when the concealed part was made by
somebody who has the object key; what was enclosed comes back as it was, and with any byte
changed it comes back as it was or not at all; for others it stays closed; a block under the
cipher opens as it was or, with any byte changed, not at all; and what is futile is tried for a
bounded number of times.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import msgspec
    import numpy as np
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from diode import envelope
    from diode.admission import Refusal, Verdict
    from diode.cipher import TAG
    from diode.envelope import CONCEALED, ENVELOPE, Identity, Opened, Recipients, Unwrapper
    from diode.events import Key
    from diode.identities import BURST, Identities
    from diode.objects import MAX_ANNOUNCEMENT, Announcement, Malformed, Manifest

OURS, THEIRS = Identity(bytes(range(32))), Identity(bytes(range(32, 64)))
SECRET, NOBODY = bytes(range(64, 96)), Verdict()
KEY = Key(7, 1)
PLAIN = Manifest(0, 0, b"report.pdf", 300, bytes(32), 1, 5, 7, 64, 1, 1_700_000_000, 1)
UNWRAPPER = Unwrapper(OURS)


def parsed(data: bytes) -> Announcement | None:
    try:
        return Announcement.parse(data)
    except Malformed:
        return None


def opened(data: bytes, identity: Identity = OURS) -> Opened | Refusal | None:
    """What becomes of an announcement; None where it is none."""
    if parsed(data) is None:
        return None
    identities = Identities([identity])
    result = identities.open(KEY, data, NOBODY, 0.0)
    assert identities.attempts <= envelope.ENVELOPES
    if isinstance(result, Opened):
        assert not result.manifest.problem()
        assert not result.manifest.concealed
        assert all(len(signer) == envelope.KEY_ID for signer in result.signers)
    else:
        assert isinstance(result, Refusal)
    return result


def check_round(choices: harness.Choices) -> None:
    """Enclosed for us, for somebody else, and damaged on the way."""
    fields = {"name": choices.take(1 + choices.byte()).replace(b"\0", b"n"), "type": 0}
    fields |= {"digest": choices.take(32), "mtime": choices.of(None, 0, -1, choices.word())}
    manifest = msgspec.structs.replace(PLAIN, **fields)
    signer = choices.of(b"", choices.take(8))
    others = [THEIRS.public] * choices.of(0, 1)
    made = Recipients([OURS.public, *others], SECRET).enclose(*KEY, manifest, signer)
    data = made.announcement.serialize()
    result = opened(data)
    assert isinstance(result, Opened)
    assert result.manifest == manifest
    assert b"".join(result.signers) == signer
    assert others or opened(data, THEIRS) is Refusal.SEALED
    changed = bytearray(data)
    for _ in range(1 + choices.byte() % 4):
        at = choices.word() % len(changed)
        changed[at] ^= choices.byte()
    result = opened(bytes(changed))
    assert not isinstance(result, Opened) or result.manifest == manifest
    longer = Announcement(made.announcement.manifest, (*made.announcement.sections, (9, b"x")))
    result = opened(longer.serialize())
    assert isinstance(result, Opened) and result.manifest == manifest


def check_sections(choices: harness.Choices) -> None:
    """Envelopes and concealed parts of any bytes."""
    sections = []
    while choices and len(sections) < 40:
        kind = choices.of(ENVELOPE, ENVELOPE, CONCEALED, 1, 9)
        length = choices.of(envelope.SECTION, 32, 0, choices.byte())
        sections.append((kind, choices.take(length)))
    told = Announcement(PLAIN.outer, tuple(sections))
    if sum(3 + len(content) for _, content in sections) < MAX_ANNOUNCEMENT - 100:
        assert not isinstance(opened(told.serialize()), Opened)
    for kind, content in sections:
        assert kind != ENVELOPE or UNWRAPPER.unwrap(KEY, content) is None


def check_insider(content: bytes) -> None:
    """Whoever has the object key may conceal anything."""
    object_key, outer = bytes(32), PLAIN.outer
    binding = envelope._binding(*KEY, outer.serialize())
    aead = AESGCM(envelope._derived(object_key, envelope._MANIFEST))
    for plain in (content, len(content).to_bytes(2, "little") + content + bytes(5)):
        sealed = aead.encrypt(bytes(12), plain, binding)
        data = Announcement(outer, ((CONCEALED, sealed),)).serialize()
        try:
            result = envelope.open_concealed(KEY, data, object_key)
        except Malformed:
            continue
        assert not result.manifest.problem()
        assert not result.manifest.concealed
        assert result.manifest.geometry == outer.geometry


def check_block(choices: harness.Choices) -> None:
    cipher = envelope._cipher(choices.take(32))
    length, block = choices.byte(), choices.word()
    flat = np.zeros(length + TAG + choices.byte() % 50, np.uint8)
    content = np.frombuffer(choices.take(length), np.uint8)
    flat[:length] = content
    cipher.close(flat, length, block)
    closed = flat.copy()
    assert cipher.open(flat, length, block)
    assert (flat[:length] == content).all()
    at, mask = choices.word() % len(closed), choices.byte()
    closed[at] ^= mask
    assert cipher.open(closed.copy(), length, block) == (mask == 0)
    assert not cipher.open(closed, length, block ^ 1)


def check_futile(data: bytes) -> None:
    """The same again costs nothing; ever new ones cost no more than the burst at one time."""
    identities = Identities([OURS])
    section = (ENVELOPE, data[: envelope.SECTION].ljust(envelope.SECTION, b"\1"))
    told = Announcement(PLAIN.outer, (section,)).serialize()
    assert {identities.open(KEY, told, NOBODY, 0.0) for _ in range(5)} == {Refusal.SEALED}
    assert identities.attempts == 1 <= BURST


def target(data: bytes) -> None:
    opened(data)
    array = b"\x9c" + data  # an array of twelve, whose elements these bytes are
    opened(len(array).to_bytes(2, "little") + array)
    check_round(harness.Choices(data))
    check_sections(harness.Choices(data))
    if len(data) < 2000:
        check_insider(data)
        check_insider(b"\x95" + data)
    check_block(harness.Choices(data))
    check_futile(data)


if __name__ == "__main__":
    harness.run(target)
