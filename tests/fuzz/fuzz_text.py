"""What an operator writes: carrier URLs, impairments, key files. Any text is understood or is a
UsageError; what a URL was understood as is understood as the
same when it is written out; numbers are inside their ranges; a key's line gives the key back,
and no error about a secret quotes it.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import contextlib
    import math
    from collections.abc import Callable
    from typing import TypeVar

    from diode import carrier
    from diode.carrier.impairment import Impairment
    from diode.carrier.url import CarrierUrl
    from diode.envelope import Identity, Recipient
    from diode.errors import KeyFileError, UsageError
    from diode.keytext import KINDS, clean_comment
    from diode.seal import PublicKey, SecretKey
    from diode.tag import LinkKey

T = TypeVar("T")
BEGINS = ("serial:", "udp://", "wav:", "pcm:", "file:", "audio:", "-?")
WORDS = (
    *("rate=", "baud=", "mtu=", "source=", "modem=", "bits=", "level=", "channel=", "buffer="),
    *("append=", "reopen=", "gso=", "format=", "&", "%", "k", "M", "dB", "-", "1", "9e9", "."),
)
SPECS = (
    *("drop=", "burst=", "flip=", "slip=", "dup=", "reorder=", "ge=", "seed=", ",", "/", "%"),
    *("ms", "s", "B", "KiB", "1", "0.5", "1e-5", "99999999999", "e"),
)


def sentence(choices: harness.Choices, words: tuple[str, ...]) -> str:
    """Words, with characters of any kind among them."""
    said = ""
    while choices and len(said) < 200:
        odd = choices.take(choices.byte() % 3).decode("utf-8", "surrogateescape")
        said += choices.of(*words, *words, odd)
    return said


def understood(read: Callable[[], T]) -> T | None:
    """What was read, or None where it is a UsageError."""
    try:
        return read()
    except UsageError as error:
        if not str(error):
            raise AssertionError("an error without a word") from error
        return None


def check_url(text: str) -> None:
    url = understood(lambda: CarrierUrl.parse(text, carrier.CARRIERS))
    if url is None:
        return
    assert url.scheme in carrier.CARRIERS
    assert "\0" not in url.path
    for key in url.query:
        with contextlib.suppress(UsageError):
            assert 1 <= url.number(key, 5, 1, 100) <= 100
        with contextlib.suppress(UsageError):
            assert isinstance(url.whole(key, 5, 1, 100), int)
        with contextlib.suppress(UsageError):
            assert -60 <= url.decibels(key, -3, -60, 0) <= 0
        with contextlib.suppress(UsageError):
            assert url.flag(key) in (True, False)
    with contextlib.suppress(UsageError):
        host, port = url.endpoint()
        assert 0 <= port <= 0xFFFF and isinstance(host, str)
    with contextlib.suppress(UsageError):
        rate = url.line_rate()
        assert rate is None or 0 < rate <= 1e12
    if not any(mark in str(url.path) + "".join(url.query.values()) for mark in "%?&"):
        assert CarrierUrl.parse(str(url), carrier.CARRIERS) == url


def check_impairment(text: str) -> None:
    told = understood(lambda: Impairment.parse(text))
    if told is None:
        return
    for share in (told.drop, told.dup, told.flip, told.slip, *(told.ge or ())):
        assert 0 <= share <= 1
    assert 0 <= told.reorder <= 1_000_000
    for extent in told.burst or ():
        assert extent.size(1e6) >= 1
        assert math.isfinite(extent.value)


def check_keys(text: str) -> None:
    for kind in (PublicKey, Recipient):
        with contextlib.suppress(KeyFileError):
            for public in kind.parse(text):
                assert kind.parse(public.line) == [public]
    for kind in (SecretKey, Identity, LinkKey):
        try:
            secret = kind.parse(text)
        except KeyFileError as error:
            said = str(error) + error.hint
            assert not any(word in said for word in text.split() if len(word) > 30)
        else:
            assert kind.parse(secret.line) == secret
            assert repr(secret) == f"{kind.__name__}(comment={secret.comment!r})"
    with contextlib.suppress(KeyFileError):
        assert clean_comment(text).isprintable()


def target(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    choices = harness.Choices(data)
    check_url(text)
    check_url(choices.of(*BEGINS) + sentence(choices, WORDS))
    check_impairment(text)
    check_impairment(sentence(harness.Choices(data), SPECS))
    check_keys(text)
    choices = harness.Choices(data)
    lines = [f"{choices.of(*KINDS)} {sentence(choices, ('A' * 43, '=', ' ', 'a', '/'))}"]
    key = SecretKey(choices.take(32))
    lines += [choices.of(key.line, key.public.line, Identity(choices.take(32)).line)]
    check_keys(choices.of("\n", "\r", "\n#", " ").join(lines))
    check_keys(lines[-1])


if __name__ == "__main__":
    harness.run(target)
