"""Bytes as letters that a person copies without mistakes, or at least not unnoticed (wire 10.3).

    1. 2HH8P QWV3D 0C1ZG …     28 letters of content and 2 that check them
    2. T40GF QG9.              the last line ends with a full stop

The alphabet is Crockford's base32: no I, L, O or U, and who types I or L for 1, or O for 0, is
understood. Letters are numbers of GF(32); a line with its number before it is a word of a
Reed-Solomon code of two check letters. So each line that has one or two wrong letters is found,
also two that changed places, a line in another's place, and one that is missing; and it is that
line that is named. More than two wrong letters pass in one line of a thousand, and so does a
letter too many or too few in the last one; then what the letters mean has a check of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diode.errors import ReceiptError

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CONTENT = 28
"""Letters of content in a line; 31 is as long as a word of such a code can be."""
GROUP = 5
CHECKS = 2
END = "."
MOST_LINES = 4096
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_VALUES |= {"O": 0, "I": 1, "L": 1}
_LINE = re.compile(r"(?:(\d{1,4})\.)?([0-9A-Z]*)")

_POWERS = [1]
for _ in range(30):  # GF(2)[x]/(x^5 + x^2 + 1); x generates it
    _doubled = _POWERS[-1] << 1
    _POWERS.append(_doubled ^ 0b100101 if _doubled & 32 else _doubled)
_LOGARITHMS = {value: power for power, value in enumerate(_POWERS[:31])}


def lines(data: bytes) -> list[str]:
    """The lines of these bytes, numbered from 1, in groups of five letters."""
    letters = _letters(data)
    pieces = [letters[at : at + CONTENT] for at in range(0, len(letters), CONTENT)]
    written = [
        f"{number}. {_grouped(piece + _checks(number, piece))}"
        for number, piece in enumerate(pieces, 1)
    ]
    return [*written[:-1], written[-1] + END]


def compact(data: bytes) -> str:
    """The same in as few characters as possible, all of which a QR code has room for."""
    return "/".join(line.replace(" ", "") for line in lines(data))


def parse(text: str) -> bytes:
    """The bytes that such lines stand for. Raises ReceiptError, which names the wrong line.

    Spaces, hyphens, empty lines and lines that begin with # do not count, nor does case. The
    number of a line may be left out.
    """
    bare = [re.sub(r"[\s-]", "", line) for line in re.split(r"[\n/]", text.upper())]
    bare = [line for line in bare if line and not line.startswith("#")]
    if len(bare) > MOST_LINES:
        raise ReceiptError(f"more than {MOST_LINES:,} lines")
    if not bare or not bare[-1].endswith(END):
        raise ReceiptError(
            "the text is not complete: its last line ends with a full stop",
            hint=f"{len(bare)} lines are here" if len(bare) != 1 else "1 line is here",
        )
    bare[-1] = bare[-1].removesuffix(END)
    contents = [_content(number, line) for number, line in enumerate(bare, 1)]
    short = [c is None or len(c) < CONTENT for c in contents[:-1]]
    wrong = [n for n, bad in enumerate([*short, contents[-1] is None], 1) if bad]
    if wrong:
        which = ", ".join(map(str, wrong))
        raise ReceiptError(
            f"line {which} is not as it was written"
            if len(wrong) == 1
            else f"lines {which} are not as they were written",
            hint="compare it letter by letter; when all behind one line are wrong, one is missing",
        )
    return _bytes([letter for content in contents if content for letter in content])


def _content(number: int, bare: str) -> Sequence[int] | None:
    """The letters of a line, if they are right."""
    match = _LINE.fullmatch(bare)
    if match is None or (match[1] and int(match[1]) != number):
        return None
    values = [_VALUES.get(letter, -1) for letter in match[2]]
    if min(values, default=-1) < 0 or not CHECKS < len(values) <= CONTENT + CHECKS:
        return None
    return None if any(_syndromes(number, values)) else values[:-CHECKS]


def _letters(data: bytes) -> list[int]:
    """Five bits each, the highest first; zeros fill the last one."""
    bits = int.from_bytes(data, "big") << (-8 * len(data) % 5)
    count = -(-8 * len(data) // 5)
    return [bits >> (5 * place) & 31 for place in reversed(range(count))]


def _bytes(letters: list[int]) -> bytes:
    spare = 5 * len(letters) % 8
    bits = 0
    for letter in letters:
        bits = bits << 5 | letter
    if spare >= 5 or bits & ((1 << spare) - 1):
        raise ReceiptError("the last line is not as it was written")
    return (bits >> spare).to_bytes(5 * len(letters) // 8, "big")


def _grouped(values: list[int]) -> str:
    text = "".join(ALPHABET[value] for value in values)
    return " ".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def _syndromes(number: int, values: Sequence[int]) -> tuple[int, int]:
    """Both are 0 for a right line: Σ v[i] and Σ v[i]·x^i, the line's number being v[0]."""
    plain = weighted = 0
    for place, value in enumerate((number % 32, *values)):
        plain ^= value
        weighted ^= _times(value, _POWERS[place])
    return plain, weighted


def _checks(number: int, values: list[int]) -> list[int]:
    """The two letters that make both syndromes 0."""
    plain, weighted = _syndromes(number, values)
    first, second = _POWERS[len(values) + 1], _POWERS[len(values) + 2]
    # a + b = plain and a·first + b·second = weighted
    b = _divided(weighted ^ _times(plain, first), first ^ second)
    return [plain ^ b, b]


def _times(a: int, b: int) -> int:
    return 0 if not a or not b else _POWERS[(_LOGARITHMS[a] + _LOGARITHMS[b]) % 31]


def _divided(a: int, b: int) -> int:
    return 0 if not a else _POWERS[(_LOGARITHMS[a] - _LOGARITHMS[b]) % 31]
