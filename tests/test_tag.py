"""Keyed tags: only those who have the key can make a frame that counts."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from cli import Shell, make
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, everything, examples

from diode import frame, stamp
from diode.events import Key
from diode.frame import Frames, Kind, Reject
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.tag import TAG, LinkKey, Untagged
from diode.transmitter import Transmitter

OURS = LinkKey(bytes(range(32)))
THEIRS = LinkKey(bytes(range(1, 33)))
THING = content(200_000)
FULL = Link()
LINKS = pytest.mark.parametrize("link", [FULL, Link(rate=11_520)], ids=["full", "compact"])


def sent(key: LinkKey | None, link: Link = FULL) -> list[np.ndarray]:
    """The frames of one object, number 1 of sender 7."""
    transmitter = Transmitter(7, Settings(redundancy=0.25), link, tagger=key)
    transmitter.add(1, BytesSource(THING))
    return everything(transmitter)


def listening(key: LinkKey | None) -> Listener:
    listener = Listener()
    listener.receiver = Receiver(tags=key)
    return listener


@LINKS
def test_both_ends_with_the_key(link: Link) -> None:
    frames, plain = sent(OURS, link), sent(None, link)
    assert [len(f) - len(p) for f, p in zip(frames, plain, strict=True)] == [TAG] * len(plain)
    heard = listening(OURS).hear(frames)
    assert heard.delivered == {Key(7, 1): THING}
    assert not heard.receiver.rejected and heard.receiver.lost == 0
    assert all(stamp.check_rows(f[None]).all() for f in frames), "lines find them without a key"


def test_the_tag_is_what_the_format_says() -> None:
    for tagged, plain in zip(sent(OURS), sent(None), strict=True):
        body = bytes([plain[0] | 0x80]) + plain[1 : -frame.CHECK].tobytes()
        assert tagged[: -TAG - frame.CHECK].tobytes() == body
        tag = hashlib.blake2b(body, key=OURS.raw, digest_size=8).digest()
        assert tagged[-TAG - frame.CHECK : -frame.CHECK].tobytes() == tag


@LINKS
@pytest.mark.parametrize(
    ("sends", "hears", "reason"),
    [
        (None, OURS, Reject.UNTAGGED),
        (OURS, None, Reject.KEYED),
        (THEIRS, OURS, Reject.TAG),
    ],
)
def test_without_the_same_key_nothing_counts(
    sends: LinkKey | None, hears: LinkKey | None, reason: Reject, link: Link
) -> None:
    frames = sent(sends, link)
    heard = listening(hears).hear(frames)
    assert heard.receiver.rejected == {reason: len(frames)}
    assert not heard.delivered and not heard.receiver.senders and not heard.receiver.frames


@LINKS
def test_a_tenth_of_forged_symbols_changes_nothing(link: Link) -> None:
    """T16: forged by somebody who knows everything but the key; their checks are right."""
    frames, rng = sent(OURS, link), np.random.default_rng(4)
    mixed, forged = [], 0
    for right in frames:
        if rng.random() < 0.1 and right[0] & 0x0F in (Kind.DATA, Kind.COMPACT):
            wrong = right.copy()
            wrong[-TAG - frame.CHECK - 20 : -TAG - frame.CHECK] ^= 0x55
            stamp.close(Frames.of_rows(wrong[None]))
            mixed.append(wrong)  # before the right one: it would be believed
            forged += 1
        mixed.append(right)
    heard = listening(OURS).hear(mixed)
    assert forged > 10 and heard.receiver.rejected == {Reject.TAG: forged}
    assert heard.delivered == {Key(7, 1): THING}
    assert heard.receiver.lost == 0, "what is forged moves no count"


@examples(60)
@given(st.binary(min_size=12, max_size=80), st.booleans())
def test_anything_is_refused_and_nothing_raised(body: bytes, marked: bool) -> None:
    row = np.frombuffer(body, np.uint8).copy()
    row[0] = 0x91 if marked else row[0]
    counted: Counter[str] = Counter()
    rest = OURS.accepted(row[None], lambda reason, n: counted.update({reason: n}))
    assert not len(rest) and counted.total() == 1
    rest = Untagged().accepted(row[None], lambda reason, n: counted.update({reason: n}))
    assert len(rest) == (row[0] >> 4 != 9)


def test_the_command_line(shell: Shell) -> None:
    thing = make(shell.folder / "file", 30_000)
    made = shell.run("keygen", "link", "--link", "--json")
    (event,) = made.events("key")
    assert (shell.folder / "link").stat().st_mode & 0o777 == 0o600
    assert not (shell.folder / "link.pub").exists()
    secret = (shell.folder / "link").read_text().split()[-1]
    assert secret not in made.out + made.err and len(event["fingerprint"]) == 19
    for line in ("cobs", "rs"):
        capture = f"file:{line}"
        assert (
            shell.run("send", "file", "--line", line, "--link-key", "link", "--to", capture).code
            == 0
        )
        ran = shell.run("recv", f"in-{line}", "--link-key", "link", "--from", capture, "--json")
        assert ran.code == 0, ran.err
        assert (shell.folder / f"in-{line}/file").read_bytes() == thing
        refused = shell.run("recv", "other", "--from", capture, "--json")
        assert refused.code == 4
        assert refused.events("link")[-1]["reasons"]["keyed"] > 10
    (shell.folder / "link").chmod(0o644)
    assert shell.run("recv", "in", "--link-key", "link", "--from", "file:cobs").code == 2
    assert shell.run("keygen", "x", "--link", "--encrypt").code == 2
