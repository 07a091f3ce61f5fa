"""mtree(5) and the form of sha256sum, written and read."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import mtree
from diode.mtree import Difference, Entry

ONE, TWO = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))


def test_each_folder_has_a_line_before_what_is_in_it() -> None:
    entries = [
        Entry(b"b/c d#*", False, 1, ONE),
        Entry(b"b/e", True),
        Entry(b"f\n\xff", False, 1, TWO),
    ]
    assert b"".join(mtree.mtree(entries)).decode().splitlines() == [
        "#mtree v2.0",
        ". type=dir",
        "./b type=dir",
        f"./b/c\\040d\\043\\052 type=file size=1 sha256digest={ONE}",
        "./b/e type=dir",
        f"./f\\012\\377 type=file size=1 sha256digest={TWO}",
    ]


PARTS = st.binary(min_size=1, max_size=20).filter(
    lambda part: b"/" not in part and b"\0" not in part and part not in (b".", b"..")
)


@examples(200)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map(b"/".join), max_size=5, unique=True))
def test_what_was_written_is_read(paths: list[bytes]) -> None:
    entries = {path: Entry(path, False, len(path), ONE) for path in paths}
    for form in (mtree.mtree, mtree.sums):
        read = mtree.parse(b"".join(form(entries.values())).splitlines(keepends=True))
        assert {path: one for path, one in read.items() if not one.directory} == {
            path: one if form is mtree.mtree else one._replace(size=None)
            for path, one in entries.items()
        }


def test_the_older_form_and_other_programs_spellings() -> None:
    text = rf"""
#          user: somebody
/set type=file uid=0 mode=0644
.               type=dir mode=0755 nlink=2
    a\sb        size=1 \
                sha256={ONE.upper()}
    link        type=link link=a
# ./d
    d           type=dir
        \M-C\M-$\^I  size=2 sha256digest={TWO}
    ..
/unset uid
    e           size=3
..
"""
    assert mtree.parse(line.encode() + b"\n" for line in text.splitlines()) == {
        b"": Entry(b"", True),
        b"a b": Entry(b"a b", False, 1, ONE),
        b"d": Entry(b"d", True),
        b"d/\xc3\xa4\t": Entry(b"d/\xc3\xa4\t", False, 2, TWO),
        b"e": Entry(b"e", False, 3),
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"./../x size=1", "line 2: a path that leads out of the tree"),
        (b"/etc/passwd size=1", "leads out"),
        (rb"./a\057\056\056/\056\056/x", "leads out"),
        (b"./a size=-1", "size is no number"),
        (b"./a size=" + b"9" * 100, "size is no number"),
        (b"./a sha256digest=12", "sha256 is none"),
        (b"./a " + b"x" * 100_000, "longer than any tree"),
    ],
)
def test_what_is_refused(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mtree.parse([mtree.HEAD, line + b"\n"])


@examples(300)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    refused = ""
    try:
        mtree.parse(line + b"\n" for line in lines)
    except ValueError as error:
        refused = str(error)
    assert refused == "" or refused.startswith("line ")


def test_compare() -> None:
    one = {
        b"": Entry(b"", True),
        b"a": Entry(b"a", False, 1, ONE),
        b"b": Entry(b"b", False, 1, ONE),
    }
    one |= {b"c": Entry(b"c", False, 1, ONE), b"d": Entry(b"d", True), b"e": Entry(b"e", True)}
    other = {b"a": Entry(b"a", False, None, ONE), b"b": Entry(b"b", False, 2, ONE)}
    other |= {b"c": Entry(b"c", False, 1, TWO), b"e/f": Entry(b"e/f", False, 0, ONE)}
    assert list(mtree.compare(one, one)) == []
    assert list(mtree.compare(one, other)) == [
        Difference(b"b", "changed", "1 byte and 2 bytes"),
        Difference(b"c", "changed", f"sha256 {ONE} and {TWO}"),
        Difference(b"d", "missing"),
        Difference(b"e/f", "extra"),
    ]
    turned = {b"a": Entry(b"a", True)}
    assert list(mtree.compare(turned, {b"a": one[b"a"]})) == [
        Difference(b"a", "changed", "a folder and a file")
    ]
