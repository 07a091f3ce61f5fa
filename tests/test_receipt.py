"""Receipts and the letters they are carried in: small, strict, and wrong letters do not pass."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import lettering
from diode.errors import ReceiptError
from diode.receipt import MOST_RANGES, Receipt, bounded, opened
from diode.seal import SecretKey

KEY, OTHER = SecretKey(bytes(range(32))), SecretKey(bytes(32))
GAPS = ((1, 99), (105, 3000), (3002, 5000), (5010, 7777), (7779, 9000), (9002, 10000))
MANY = Receipt(0x0D10DE07, 1, 10_000, GAPS)


@st.composite
def receipts(draw) -> Receipt:
    edges = draw(st.lists(st.integers(1, 2**32 - 1), max_size=40, unique=True).map(sorted))
    ranges: tuple[list, list] = [], []
    for first, last in zip(edges[::2], edges[1::2], strict=False):
        ranges[draw(st.integers(0, 1))].append((first, last - 1))
    highest = draw(st.integers(edges[-1] if edges else 0, 2**32 - 1))
    return Receipt(
        draw(st.integers(1, 2**32 - 1)),
        draw(st.integers(0, 2**32 - 1)),
        highest,
        tuple(ranges[0]),
        tuple(ranges[1]),
    )


@examples(100)
@given(receipt=receipts())
def test_what_goes_in_comes_out(receipt: Receipt) -> None:
    assert opened(receipt.unsigned(), None) == receipt
    assert opened(receipt.signed(KEY), None) == receipt
    assert opened(receipt.signed(KEY), [OTHER.public, KEY.public]) == receipt
    assert lettering.parse("\n".join(lettering.lines(receipt.signed(KEY)))) == receipt.signed(KEY)


@examples(60)
@given(receipt=receipts(), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_is_accepted(receipt: Receipt, at: int, bit: int) -> None:
    for data, keys in ((receipt.signed(KEY), [KEY.public]), (receipt.unsigned(), None)):
        wrong = bytearray(data)
        wrong[at % len(data)] ^= 1 << bit
        with pytest.raises(ReceiptError):
            opened(bytes(wrong), keys)


def test_every_truncation_is_refused() -> None:
    data = MANY.signed(KEY)
    for end in range(len(data)):
        with pytest.raises(ReceiptError):
            opened(data[:end], [KEY.public])
    with pytest.raises(ReceiptError):
        opened(data + b"\0", [KEY.public])


def test_ten_thousand_objects_are_a_few_lines() -> None:
    assert len(lettering.lines(MANY.signed(KEY))) <= 6
    assert len(lettering.lines(MANY.unsigned())) == 3
    assert MANY.missing == ((100, 104), (3001, 3001), (5001, 5009), (7778, 7778), (9001, 9001))
    assert MANY.count == 10_000 - 17


def test_only_a_signature_of_a_key_given_counts() -> None:
    for data in (MANY.unsigned(), MANY.signed(OTHER)):
        with pytest.raises(ReceiptError) as caught:
            opened(data, [KEY.public])
        assert caught.value.exit_code == 12
    moved = MANY.signed(KEY)[-64:]
    other = Receipt(MANY.sender, 1, 10_000, ((1, 10_000),))
    with pytest.raises(ReceiptError):
        opened(other.signed(KEY)[:-64] + moved, [KEY.public])


def test_what_is_signed_is_not_read_before_its_signature_is_right() -> None:
    """Another error, from further inside, would say that it was."""
    broken = Receipt(1, 1, 5, ((1, 9),)).signed(OTHER)
    with pytest.raises(ReceiptError, match="not signed by a key"):
        opened(broken, [KEY.public])
    with pytest.raises(ReceiptError, match="more than it says it knows"):
        opened(Receipt(1, 1, 5, ((1, 9),)).signed(KEY), [KEY.public])


def test_more_ranges_than_fit_say_less() -> None:
    every_other = [(n, n) for n in range(1, 40_000, 2)]
    cut = bounded(every_other)
    assert len(cut) == MOST_RANGES // 2
    receipt = Receipt(1, 1, cut[-1][1], cut)
    assert opened(receipt.unsigned(), None) == receipt


# Letters ------------------------------------------------------------------------------------------

LINES = lettering.lines(MANY.signed(KEY))
TEXT = "\n".join(LINES)


def named(text: str) -> str:
    with pytest.raises(ReceiptError) as caught:
        lettering.parse(text)
    return str(caught.value)


def test_every_wrong_letter_is_found_in_its_line() -> None:
    rng = random.Random(1)
    for number, line in enumerate(LINES, 1):
        for at in range(3, len(line)):
            if line[at] not in lettering.ALPHABET:
                continue
            wrong = rng.choice([c for c in lettering.ALPHABET if c != line[at]])
            changed = [*LINES]
            changed[number - 1] = line[:at] + wrong + line[at + 1 :]
            assert f"line {number} is" in named("\n".join(changed))


def test_neighbours_that_changed_places_are_found() -> None:
    for number, line in enumerate(LINES, 1):
        letters = [at for at, c in enumerate(line) if c in lettering.ALPHABET and at > 2]
        for a, b in itertools.pairwise(letters):
            if line[a] == line[b]:
                continue
            typed = [*line]
            typed[a], typed[b] = line[b], line[a]
            changed = [*LINES]
            changed[number - 1] = "".join(typed)
            assert f"line {number} is" in named("\n".join(changed))


def test_two_wrong_letters_in_a_line_are_found() -> None:
    """The distance of the code is three: any two, whatever they are."""
    rng = random.Random(2)
    bare = LINES[1].replace(" ", "")[2:]
    for _ in range(3000):
        typed = [*bare]
        for at in rng.sample(range(len(bare)), 2):
            typed[at] = rng.choice([c for c in lettering.ALPHABET if c != bare[at]])
        assert "line 2 is" in named("\n".join([LINES[0], "".join(typed), *LINES[2:]]))


def test_a_letter_too_many_anywhere_makes_no_receipt() -> None:
    """Some pass the check of the last line; none passes that of the receipt."""
    passed = 0
    for size in range(1, 40):
        receipt = Receipt(7, 1, 10_000, GAPS[: size % 6], ((10_000, 10_000),)).unsigned()
        for data in (receipt, bytes(range(size, 2 * size))):
            last = lettering.lines(data)[-1]
            for at, letter in itertools.product(range(2, len(last)), lettering.ALPHABET):
                typed = "\n".join([*lettering.lines(data)[:-1], last[:at] + letter + last[at:]])
                try:
                    taken = lettering.parse(typed)
                except ReceiptError:
                    continue
                passed += 1
                with pytest.raises(ReceiptError):
                    opened(taken, None)
    assert passed  # or this test asks nothing


def test_lines_that_are_missing_doubled_or_in_another_order() -> None:
    assert "lines 2, 3" in named("\n".join([LINES[0], *LINES[2:]]))
    assert "lines 2, 3" in named("\n".join([LINES[0], LINES[2], LINES[1], *LINES[3:]]))
    assert "not complete" in named("\n".join(LINES[:-1]))
    assert "not complete" in named("")
    bare = [line.partition(". ")[2] for line in LINES]
    assert "line" in named("\n".join([bare[0], *bare[2:]])), "their order is in the check letters"
    assert "line 3" in named("\n".join([*LINES[:2], LINES[2][:-1], *LINES[3:]]))
    assert "line 3" in named("\n".join([*LINES[:2], LINES[2] + "0", *LINES[3:]]))


def test_what_people_type_is_understood() -> None:
    data = MANY.signed(KEY)
    assert lettering.parse(TEXT.lower()) == data
    assert lettering.parse(TEXT.replace(" ", "-").replace("\n", "\r\n\n")) == data
    assert lettering.parse("# a remark\n" + TEXT.replace(" ", "")) == data
    assert lettering.parse("\n".join(line.partition(". ")[2] for line in LINES)) == data
    content = "\n".join(line[3:].replace("0", "O").replace("1", "l") for line in LINES)
    assert lettering.parse(content) == data
    assert lettering.parse(lettering.compact(data)) == data
    assert lettering.compact(data).replace("/", "").replace(".", "").isalnum()


@examples(100)
@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert lettering.parse("\n".join(lettering.lines(data))) == data


@examples(100)
@given(text=st.text(max_size=300))
def test_any_text(text: str) -> None:
    try:
        lettering.parse(text)
    except ReceiptError as error:
        assert str(error).isprintable()  # noqa: PT017


def test_endless_text_is_refused() -> None:
    assert "more than" in named("0\n" * 5000 + ".")
