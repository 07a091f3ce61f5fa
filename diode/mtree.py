"""What a folder has in it, as text: mtree(5), which BSDs and bsdtar read, and that of sha256sum.

    #mtree v2.0
    . type=dir
    ./a\\040b type=file size=12 sha256digest=98ea6e4f…

A line for each path, in the full form of version 2, which needs no `/set` and no `..`. Bytes that
are not plain letters, digits and marks are octal: blanks and line ends would end the name, `#`
would begin a comment, and `*?[` would make it a pattern. `sha256digest` is the one spelling
that NetBSD's and FreeBSD's mtree and libarchive all know. Modes, owners and times are left out:
the far side has its own. Nothing in it says when it was made, so the same tree gives the same text.

What is read may have come from anywhere and from any of these programs: the older form with
`/set`, `..` and names in their folder is understood too, and keywords that say nothing here are
passed over. A name that leads out of the tree is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD = b"#mtree v2.0\n"
MOST = 5_000_000
"""Lines of a specification: what some ten million bytes of names come to is bounded with it."""
LONGEST = 64 << 10
"""Bytes of a line: a path of 4,096, all octal, and every keyword there is."""
_PLAIN = re.compile(rb"[^A-Za-z0-9_./+,:@%~^-]")
_VIS = {b"s": b" ", b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"a": b"\a", b"v": b"\v"}
_VIS |= {b"f": b"\f", b"0": b"\0", b"\\": b"\\", b"#": b"#"}
_C_STYLE = re.compile(rb"\\([0-7]{3}|[sntrbavf0\\#]|M-.|M\^.|\^.)", re.DOTALL)
_SUM = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)")
_DIGESTS = (b"sha256digest", b"sha256")


class Entry(NamedTuple):
    """Something in a tree. path: relative, without `./`; empty for the tree itself."""

    path: bytes
    directory: bool
    size: int | None = None
    sha256: str | None = None
    """Hexadecimal."""


class Difference(NamedTuple):
    """What differs at a path. kind: changed, missing (in the second), extra (there only)."""

    path: bytes
    kind: str
    what: str = ""


# Writing ------------------------------------------------------------------------------------------


def mtree(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The lines for these entries, each folder before what is in it, whether listed or not."""
    yield HEAD
    told = set()
    for entry in entries:
        parts = entry.path.split(b"/") if entry.path else []
        above = [b"/".join(parts[:depth]) for depth in range(len(parts))]
        for folder in [*above, *([entry.path] if entry.directory else [])]:
            if folder not in told:
                told.add(folder)
                yield _dotted(folder) + b" type=dir\n"
        if not entry.directory:
            facts = f" type=file size={entry.size} sha256digest={entry.sha256}\n"
            yield _dotted(entry.path) + facts.encode()


def sums(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The lines that `sha256sum -c` reads; of files only, it knows nothing else."""
    for entry in entries:
        if entry.directory or entry.sha256 is None:
            continue
        path = entry.path
        odd = any(byte in path for byte in (b"\\", b"\n", b"\r"))
        for byte, name in ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r")) if odd else ():
            path = path.replace(byte, name)
        yield (b"\\" if odd else b"") + entry.sha256.encode() + b"  ./" + path + b"\n"


def _dotted(path: bytes) -> bytes:
    escaped = _PLAIN.sub(lambda m: b"\\%03o" % m[0][0], path)
    return b"./" + escaped if path else b"."


# Reading ------------------------------------------------------------------------------------------


def parse(lines: Iterable[bytes]) -> dict[bytes, Entry]:
    """The entries by path, from either form. ValueError, with the number of the line."""
    found: dict[bytes, Entry] = {}
    defaults: dict[bytes, bytes] = {}
    here: list[bytes] = []
    for number, line in enumerate(_whole(lines), 1):
        try:
            entry = _sum(line) or _line(_bounded(line, number), defaults, here)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if entry is not None:
            found[entry.path] = entry
    return found


def _bounded(line: bytes, number: int) -> bytes:
    if number > MOST or len(line) > LONGEST:
        raise ValueError("it is longer than any tree")
    return line


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends; one that ends with a backslash goes on with the next."""
    begun = b""
    for line in lines:
        text = line.rstrip(b"\n").removesuffix(b"\r")
        if text.endswith(b"\\") and not text.endswith(b"\\\\") and len(begun) <= LONGEST:
            begun += text[:-1] + b" "
            continue
        yield begun + text
        begun = b""
    if begun:
        yield begun


def _sum(line: bytes) -> Entry | None:
    match = _SUM.fullmatch(line)
    if match is None:
        return None
    path = match[3]
    if match[1]:
        names = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
        path = re.sub(rb"\\[\\nr]", lambda m: names[m[0]], path)
    return Entry(_relative(path), False, None, match[2].decode())


def _line(line: bytes, defaults: dict[bytes, bytes], here: list[bytes]) -> Entry | None:
    """One line of mtree. defaults, here: by `/set`, and the folder that names are in."""
    words = line.split()
    if not words or words[0].startswith(b"#"):
        return None
    first, facts = words[0], dict(_fact(word) for word in words[1:])
    if first in (b"/set", b"/unset", b".."):
        _command(first, facts, defaults, here)
        return None
    facts = defaults | facts
    name, kind = _unescaped(first), facts.get(b"type", b"file")
    full, directory = b"/" in first, kind == b"dir"
    path = _relative(name if full else b"/".join([*here, name]))
    if directory and not full:
        here.append(name)
    if directory:
        return Entry(path, True)
    return _file(path, facts) if kind == b"file" else None  # links and devices are not sent


def _command(
    first: bytes, facts: dict[bytes, bytes], defaults: dict[bytes, bytes], here: list[bytes]
) -> None:
    """What is no entry."""
    if first == b"/set":
        defaults.update(facts)
    elif first == b"/unset":
        for name in facts:
            defaults.pop(name, None)
    elif here:
        here.pop()


def _file(path: bytes, facts: dict[bytes, bytes]) -> Entry:
    digest = next((facts[name] for name in _DIGESTS if name in facts), None)
    size = facts.get(b"size")
    if size is not None and not re.fullmatch(rb"[0-9]{1,19}", size):
        raise ValueError("its size is no number")
    if digest is not None and not re.fullmatch(rb"[0-9a-fA-F]{64}", digest):
        raise ValueError("its sha256 is none")
    known = None if digest is None else digest.decode().lower()
    return Entry(path, False, None if size is None else int(size), known)


def _fact(word: bytes) -> tuple[bytes, bytes]:
    name, _, value = word.partition(b"=")
    return name, value


def _unescaped(text: bytes) -> bytes:
    return _C_STYLE.sub(lambda m: _byte(m[1]), text)


def _byte(code: bytes) -> bytes:
    """What vis(3) has written so."""
    if len(code) == 3 and code.isdigit():
        return bytes([int(code, 8) & 0xFF])
    if code in _VIS:
        return _VIS[code]
    high, control = code.startswith(b"M"), b"^" in code[:-1]
    value = code[-1] ^ 0x40 if control else code[-1]
    return bytes([value | 0x80 if high else value])


def _relative(path: bytes) -> bytes:
    """Below the tree; ValueError where it is not."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts or b"\0" in path:
        raise ValueError("a path that leads out of the tree")
    return b"/".join(parts)


# Comparing ----------------------------------------------------------------------------------------


def compare(one: dict[bytes, Entry], other: dict[bytes, Entry]) -> Iterator[Difference]:
    """What differs, by path. Folders that only one of them lists are told if nothing is in them:
    sha256sum lists none.
    """
    above_one, above_other = _folders(one), _folders(other)
    for path in sorted(one.keys() | other.keys()):
        a, b = one.get(path), other.get(path)
        if a is not None and b is not None:
            if what := _changed(a, b):
                yield Difference(path, "changed", what)
        elif a is not None and not (a.directory and path in above_other):
            yield Difference(path, "missing")
        elif b is not None and not (b.directory and path in above_one):
            yield Difference(path, "extra")


def _folders(entries: Iterable[bytes]) -> set[bytes]:
    """All folders that something is listed in. The tree itself needs no line."""
    found = {b""}
    for path in entries:
        while path and (path := path.rpartition(b"/")[0]) not in found:
            found.add(path)
    return found


def _changed(a: Entry, b: Entry) -> str:
    if a.directory != b.directory:
        return "a folder and a file"
    if a.size is not None and b.size is not None and a.size != b.size:
        return f"{plural(a.size, 'byte')} and {plural(b.size, 'byte')}"
    if a.sha256 is not None and b.sha256 is not None and a.sha256 != b.sha256:
        return f"sha256 {a.sha256} and {b.sha256}"
    return ""
