"""Announcements: bytes either parse or raise Malformed, and nothing else; what parsed is inside
every range, survives being written and read again, and its name is safe in every mode; any
sufficient symbols of an announcement give its bytes back; no bytes are taken for signed.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import unicodedata

    import msgspec
    import numpy as np

    from diode.announcements import AnnouncementParts
    from diode.code import CODES
    from diode.events import Key
    from diode.keyring import Keyring
    from diode.objects import (
        MAX_ANNOUNCEMENT,
        MAX_PART,
        Announcement,
        Malformed,
        escape,
        safe_parts,
    )
    from diode.seal import SecretKey

RING = Keyring([SecretKey(bytes(32)).public])


def parsed(data: bytes) -> Announcement | None:
    try:
        return Announcement.parse(data)
    except Malformed:
        return None


def check_name(name: bytes) -> None:
    for exact in (False, True):
        parts = safe_parts(name, exact=exact)
        assert parts
        for part in parts:
            assert part not in ("", ".", "..")
            assert "/" not in part
            assert "\0" not in part
            assert len(part.encode("utf-8", "surrogateescape")) <= MAX_PART
            assert exact or not any(unicodedata.category(c) in ("Cc", "Cs") for c in part)
        assert exact or parts[0][0] not in ".-"
    shown = escape(name)
    assert shown.isascii()
    assert shown.isprintable()


def check_parsed(announcement: Announcement) -> None:
    manifest = announcement.manifest
    assert not manifest.problem()
    cut = manifest.geometry
    if cut.blocks:
        last = cut.blocks - 1
        assert 1 <= cut.length(last) <= cut.block_data
        assert 1 <= cut.source_symbols(last) <= cut.k
        assert last * cut.block_data + cut.length(last) == manifest.size
    check_name(manifest.name)


def check_symbols(data: bytes) -> None:
    """Cut and coded, and put together from the last symbols rather than the first."""
    count = 1 + data[0] % 12
    size = -(-len(data) // count)
    padded = data.ljust(count * size, b"\0")
    block = np.frombuffer(padded, np.uint8).reshape(count, size)
    numbers = (np.arange(count) * 37 + data[-1]) % 256
    symbols = CODES["zfec"].encode(block, numbers)
    parts = AnnouncementParts(count, size)
    found = [parts.add(n, s) for n, s in zip(numbers.tolist(), symbols, strict=True)]
    assert found[-1] == padded
    assert not any(found[:-1])


def target(data: bytes) -> None:
    array = b"\x9b" + data  # an array of eleven, whose elements these bytes are
    for raw in (data, len(array).to_bytes(2, "little") + array):
        announcement = parsed(raw)
        if announcement is None:
            continue
        check_parsed(announcement)
        if len(raw) <= MAX_ANNOUNCEMENT:
            assert parsed(announcement.serialize()) == announcement
        assert parsed(raw + bytes(9)) == announcement
        assert RING.judge(Key(1, 2), raw, 0.0).refusal is not None
        renamed = msgspec.structs.replace(announcement.manifest, name=data)
        if not renamed.problem():
            assert parsed(Announcement(renamed).serialize()) == Announcement(renamed)
    check_name(data)
    if data:
        check_symbols(data)


if __name__ == "__main__":
    harness.run(target)
