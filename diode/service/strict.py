"""Tables of a TOML file into structs, strictly, with every mistake named at once.

msgspec judges each value; this walk finds where it stands, says what was expected and what is
there, and, for a key or a word that is none, which one it is nearest to. A struct is only made
where nothing is wrong, so nobody ever sees half a configuration.
"""

from __future__ import annotations

import difflib
import math
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from diode import quantity
from diode.objects import escape

MOST_SHOWN = 60
"""Characters of a value in a message."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at one place: `sender.drop[#2].settle`."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.path else self.what


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a number, in words of its kind; as metadata of `Annotated`."""

    low: float
    high: float
    words: str


class Seconds(float):
    """A time: "500ms", "2s", "10min", "7d"."""


class Share(float):
    """A part of one: "25%"."""


class Bytes(int):
    """A size: "1500", "10M", "4GiB"."""


class Mode(int):
    """A file mode: "0440"."""


_TEXTS = {
    Seconds: (quantity.duration, quantity.A_TIME),
    Share: (quantity.share, quantity.A_SHARE),
    Bytes: (quantity.size, quantity.A_SIZE),
    Mode: (quantity.mode, quantity.A_MODE),
}
_PLAIN = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def convert(value: Any, kind: type[Any], path: str, found: list[Mistake]) -> Any:
    """The value as that kind; what is wrong goes to `found`, and the result is None then."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _bounded(value, kind, path, found)
    if origin in (Union, types.UnionType):
        return _one_of(value, kind, path, found)
    if origin is list and isinstance(value, list):
        (inner,) = get_args(kind)
        return [convert(v, inner, f"{path}[#{n}]", found) for n, v in enumerate(value, 1)]
    if _is_table(kind) and isinstance(value, dict):
        return _table(value, kind, path, found)
    try:
        if _is_table(kind):
            raise ValueError  # noqa: TRY301  a table is expected and none is there
        return msgspec.convert(value, kind, dec_hook=_text)
    except (msgspec.ValidationError, ValueError, OverflowError):
        what = f"expected {_words(kind)}, found {shown(value)}"
        found.append(Mistake(path, what + _meant(value, kind)))
        return None


def shown(value: Any) -> str:
    """A value as it stands in the file, about; nothing of it can harm a terminal."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{escape(value)}"' if isinstance(value, str) else str(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def nearest(word: str, words: list[str]) -> str:
    """`; did you mean "settle"?`, or nothing where no word is near."""
    near = difflib.get_close_matches(word, words, 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _table(value: dict[str, Any], kind: type[Any], path: str, found: list[Mistake]) -> Any:
    """A struct. Keys that there are not and keys that must be there are named."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    before, made = len(found), {}
    for key, inner in value.items():
        if key not in fields:
            near = nearest(key, list(fields)) or f"; there are {', '.join(fields)}"
            found.append(Mistake(_join(path, escape(key)), f"there is no such key{near}"))
            continue
        name = fields[key].name
        made[name] = convert(inner, hints[name], _join(path, key), found)
    for key, field in fields.items():
        if field.required and key not in value:
            what = f"this key is missing; expected {_words(hints[field.name])}"
            found.append(Mistake(_join(path, key), what))
    return None if len(found) > before else kind(**made)


def _bounded(value: Any, kind: Any, path: str, found: list[Mistake]) -> Any:
    inner, *metadata = get_args(kind)
    tried: list[Mistake] = []
    made = convert(value, inner, path, tried)
    if tried:
        found.append(Mistake(path, f"expected {_words(kind)}, found {shown(value)}"))
    for bounds in metadata:
        numbers = isinstance(made, int | float) and isinstance(bounds, Within)
        if numbers and not bounds.low <= made <= bounds.high:
            found.append(Mistake(path, f"expected {bounds.words}, found {shown(value)}"))
    return made


def _one_of(value: Any, kind: Any, path: str, found: list[Mistake]) -> Any:
    """The first of several kinds that takes the value; None is none that a file could have."""
    kinds = [k for k in get_args(kind) if k is not types.NoneType]
    for one in kinds:
        # A list, a table and a text are told apart at once, so mistakes inside are named there.
        table = _is_table(one) and isinstance(value, dict)
        if len(kinds) == 1 or table or (get_origin(one) is list and isinstance(value, list)):
            return convert(value, one, path, found)
    for one in kinds:
        tried: list[Mistake] = []
        made = convert(value, one, path, tried)
        if not tried:
            return made
    found.append(Mistake(path, f"expected {_words(kind)}, found {shown(value)}"))
    return None


def _text(kind: type[Any], value: Any) -> Any:
    """The hook of msgspec for our own kinds; ValueError where it is none."""
    read, words = _TEXTS[kind]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(words)  # noqa: TRY004  it is told as a mistake, like all others
    if kind is Mode and not isinstance(value, str):
        raise ValueError(words)  # 440 in TOML is no octal number
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(words)
    return kind(read(str(value)))


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _words(kind: Any) -> str:
    """What is expected."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [m.words for m in inner[1:] if isinstance(m, Within)]
        return bounds[0] if bounds else _words(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(k) for k in inner if k is not types.NoneType)
    if origin is Literal:
        return "one of " + ", ".join(f'"{word}"' for word in inner)
    if origin is list:
        return f"a list of {_words(inner[0])}"
    if _is_table(kind):
        return "a table"
    return _PLAIN[kind] if kind in _PLAIN else _TEXTS[kind][1]


def _meant(value: Any, kind: Any) -> str:
    if get_origin(kind) is Literal and isinstance(value, str):
        return nearest(value, [str(word) for word in get_args(kind)])
    return ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
