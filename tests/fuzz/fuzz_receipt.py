"""What is carried back to a sender: receipts, and the letters that they are typed in.

Whatever the bytes, `opened` gives a receipt or a ReceiptError and costs little; what it gives is
within its bounds, is what its own bytes say, and has exactly one form. With a key nothing is
accepted that the key has not signed, whatever else it says. Letters give bytes back, or a
ReceiptError that names a line; one wrong letter or two that changed places are never taken.
"""

from __future__ import annotations

import harness

with harness.instrumented():
    from collections.abc import Callable
    from typing import TypeVar

    from diode import lettering
    from diode.errors import ReceiptError
    from diode.receipt import LAST_NUMBER, MOST_RANGES, Receipt, opened
    from diode.seal import SecretKey

T = TypeVar("T")
KEY = SecretKey(bytes(range(32)))
OTHER = SecretKey(bytes(32))


def check(receipt: Receipt) -> None:
    """What holds of every receipt that was accepted."""
    assert 0 < receipt.sender <= LAST_NUMBER
    assert 0 <= receipt.highest <= LAST_NUMBER
    both = sorted((*receipt.received, *receipt.closed))
    assert len(both) <= MOST_RANGES
    at = 0
    for first, last in both:
        assert at < first <= last <= receipt.highest
        at = last
    missing = sum(last - first + 1 for first, last in receipt.missing)
    assert missing + sum(b - a + 1 for a, b in both) == receipt.highest
    assert opened(receipt.unsigned(), None) == receipt
    assert opened(receipt.signed(KEY), [OTHER.public, KEY.public]) == receipt


def understood(read: Callable[[], T]) -> T | None:
    """What was read, or None where it is a ReceiptError."""
    try:
        return read()
    except ReceiptError as error:
        if not str(error).isprintable():
            raise AssertionError("an error that must not be shown") from error
        return None


def check_bytes(data: bytes) -> None:
    receipt = understood(lambda: opened(data, None))
    if receipt is not None:
        check(receipt)
        assert data.startswith(receipt.body()), "a receipt has one form"
    signed = understood(lambda: opened(data, [KEY.public]))
    assert signed is None or data == signed.signed(KEY)


def built(choices: harness.Choices) -> bytes:
    """A receipt with the right check, whose fields the fuzzer chooses."""
    ranges: list[list[tuple[int, int]]] = [[], []]
    at = 0
    for _ in range(choices.byte() % 20):
        first = at + choices.byte() % 3 + choices.of(0, 0, choices.word())
        at = first + choices.of(0, 1, choices.byte(), choices.word())
        ranges[choices.byte() % 2].append((first, at))
    highest = choices.of(at, at + 5, choices.word())
    receipt = Receipt(choices.of(1, 7, 0, 2**32 - 1), 1, highest, *map(tuple, ranges))
    try:
        return choices.of(receipt.unsigned(), receipt.signed(KEY), receipt.signed(OTHER))
    except (ValueError, OverflowError):
        return b""  # what no receiver could have meant


def check_letters(data: bytes, choices: harness.Choices) -> None:
    lines = lettering.lines(data)
    text = "\n".join(lines)
    assert lettering.parse(text) == data
    assert lettering.parse(lettering.compact(data).lower()) == data
    at = choices.word() % len(text)
    letter = choices.of(*lettering.ALPHABET)
    swapped = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
    for wrong in (text[:at] + letter + text[at + 1 :], swapped):
        taken = understood(lambda wrong=wrong: lettering.parse(wrong))
        # A letter where none was is one too many; that may be left to the check of the receipt.
        as_long = all(a.isalnum() == b.isalnum() for a, b in zip(text, wrong, strict=True))
        assert not as_long or taken in (None, data), "a wrong letter was not noticed"


def target(data: bytes) -> None:
    check_bytes(data)
    choices = harness.Choices(data)
    check_bytes(built(choices))
    check_letters(data[:200] or b"x", choices)
    for text in (data.decode("latin-1"), "1." + data.decode("ascii", "ignore") + "."):
        understood(lambda text=text: lettering.parse(text))


if __name__ == "__main__":
    harness.run(target)
