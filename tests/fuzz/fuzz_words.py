"""What the process that reads a carrier says: bytes are a word or a ValueError, and nothing
else; a word has no text that moves a cursor once it is an error, none that is too long, and no
figure out of its range; it survives being written and read again, in a record that is not too
long.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import msgspec

    from diode.carrier import words
    from diode.errors import CarrierError, DiodeError

FIELDS = (b"rate", b"done", b"missing", b"hearing", b"counts", b"text", b"error", b"message")
NAMES = (b"opened", b"notice", b"heard", b"counted", b"dropped", b"failed", b"ended", b"x")


def decoded(content: bytes) -> words.Word | None:
    try:
        return words.decode(content)
    except ValueError:
        return None


def near(choices: harness.Choices) -> bytes:
    """JSON that is nearly a word."""
    parts = [b'"word":"%s"' % choices.of(*NAMES)]
    while choices and len(parts) < 12:
        key = choices.of(*FIELDS, b"hint", b"bytes", b"reads", b"outages")
        parts.append(b'"%s":%s' % (key, value(choices, 0)))
    return b"{" + b",".join(parts) + b"}"


def value(choices: harness.Choices, depth: int) -> bytes:
    match choices.byte() % 8:
        case 0:
            return b'"' + choices.take(choices.byte() % 40) + b'"'
        case 1:
            return b"%d" % (choices.word() << choices.of(0, 1, 32))
        case 2:
            return choices.of(b"null", b"true", b"1e308", b"1e999", b"-1", b"0.5", b"NaN")
        case 3:
            return b"[" * (choices.byte() * 40)
        case 4 if depth < 4:
            return (
                b"["
                + b",".join([value(choices, depth + 1)] * choices.of(1, 2, 21 if depth == 3 else 3))
                + b"]"
            )
        case 5 if depth < 4:
            return b'{"%s":%s}' % (choices.of(b"datagrams", b"level_db"), value(choices, depth + 1))
        case _:
            return b"[]"


def check(word: words.Word) -> None:
    again = words.encode(word)
    assert decoded(again) == word
    if isinstance(word, words.Failed):
        error = words.as_error(word)
        assert isinstance(error, DiodeError)
        for text in (str(error), error.hint):
            assert text.isprintable() or not text
            assert len(text) <= words.TEXT
    if isinstance(word, words.Opened | words.Counted):
        assert all(name.isascii() and number >= 0 for name, number in word.counts.items())


def target(data: bytes) -> None:
    choices = harness.Choices(data)
    for content in (data, near(choices), b'{"word":' + data, b'{"a":' + data):
        word = decoded(content)
        if word is not None:
            check(word)
    text = data.decode("utf-8", "surrogateescape")
    told = words.failed(CarrierError(text, hint=text))
    assert decoded(words.encode(told)) == told
    assert len(words.encode(told)) <= words.LONGEST
    assert decoded(msgspec.json.encode({"word": "notice", "text": "x" * (words.TEXT + 1)})) is None


if __name__ == "__main__":
    harness.run(target)
