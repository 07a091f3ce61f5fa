"""What the process that reads a carrier says to the one that started it, besides the bytes.

JSON objects of at most LONGEST bytes in the ring (ring.py), in order with the bytes, so that a gap
is told where it is and an end comes behind everything. The reading process hears what
somebody hostile may have sent, so nothing is believed: types, lengths and ranges are
checked, and texts are made printable, here as well as there.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from diode.errors import CarrierError, ConfinementError, DestinationError, DiodeError, UsageError
from diode.modem.hearing import Count, Figure, Hearing

LONGEST = 1 << 14
TEXT = 1500
"""Characters of a text."""

Text = Annotated[str, Meta(max_length=TEXT)]
Texts = Annotated[list[Text], Meta(max_length=20)]
Counts = Annotated[
    dict[Annotated[str, Meta(max_length=32, pattern=r"^[a-z_]*$")], Count], Meta(max_length=16)
]
"""What a carrier counts, by the names that the `link` event has for it."""

ERRORS: dict[str, type[DiodeError]] = {
    error.__name__: error
    for error in (CarrierError, ConfinementError, DestinationError, UsageError)
}
"""Errors that keep their class, and with it their exit code; all others are the carrier's."""


class _Word(msgspec.Struct, forbid_unknown_fields=True, tag_field="word", tag=str.lower):
    pass


class Opened(_Word):
    """The carrier is open, and the reading process confined."""

    rate: Figure | None
    """Bytes per second of line time."""
    done: Texts
    missing: Texts
    """As `confine.Confinement` has them."""
    hearing: Hearing | None
    """What is heard, by a carrier of sound."""
    counts: Counts = {}


class Counted(_Word):
    """What was counted by now, by a carrier that counts."""

    counts: Counts


class Notice(_Word):
    """Something the operator should see."""

    text: Text


class Heard(_Word):
    """What is heard by now."""

    hearing: Hearing


class Dropped(_Word):
    """What was read and found no room, since the beginning."""

    bytes: Count
    reads: Count
    outages: Count


class Failed(_Word):
    """An error of the carrier, which ends it."""

    error: Text
    message: Text
    hint: Text


class Ended(_Word):
    """The carrier has ended."""


Word = Opened | Notice | Heard | Counted | Dropped | Failed | Ended
_DECODER: msgspec.json.Decoder[Word] = msgspec.json.Decoder(Word)


def encode(word: Word) -> bytes:
    """The word as it goes into the ring."""
    return msgspec.json.encode(word)


def decode(content: bytes) -> Word:
    """The word in a record; ValueError when it is none."""
    if len(content) > LONGEST:
        raise ValueError("a word is too long")
    try:
        return _DECODER.decode(content)  # its errors are ValueErrors, but for one
    except RecursionError:
        raise ValueError("a word is nested too deeply") from None


def failed(error: BaseException) -> Failed:
    """What there is to say of an error."""
    if isinstance(error, DiodeError):
        return Failed(type(error).__name__, printable(str(error)), printable(error.hint))
    what = f"the process that reads the carrier failed: {type(error).__name__}: {error}"
    return Failed(CarrierError.__name__, printable(what), "please report this")


def as_error(word: Failed) -> DiodeError:
    """The error to raise for it."""
    kind = ERRORS.get(word.error, CarrierError)
    return kind(printable(word.message), hint=printable(word.hint))


def printable(text: str) -> str:
    """The text on one line, with nothing that moves a cursor, and not too long."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= TEXT else shown[: TEXT - 1] + "…"
