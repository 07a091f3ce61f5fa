"""Bundles: what goes in comes out, and nothing that arrives is believed."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import bundle
from diode.bundle import MAX_MEMBERS, Member
from diode.objects import MAX_BUNDLE, Malformed, Type

FILES = st.tuples(st.just(Type.FILE), st.binary(max_size=40))
FOLDERS = st.just((Type.DIRECTORY, b""))
NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)
TIMES = st.none() | st.integers(-(1 << 63), (1 << 63) - 1)


def made(*files: tuple[bytes, bytes]) -> bytes:
    """A bundle of files by name and content."""
    listed = [Member(Type.FILE, name, len(content), 1) for name, content in files]
    return bundle.head(listed) + b"".join(content for _, content in files)


@examples(200)
@given(st.dictionaries(NAMES, st.tuples(FILES | FOLDERS, TIMES), min_size=1, max_size=20))
def test_what_goes_in_comes_out(things) -> None:
    listed = [
        Member(type_, name, len(content), mtime)
        for name, ((type_, content), mtime) in things.items()
    ]
    contents = [content for (_, content), _ in things.values()]
    data = bundle.head(listed) + b"".join(contents)
    assert bundle.EMPTY + sum(map(bundle.entry_size, things)) == len(bundle.head(listed))
    found = bundle.members(data)
    assert [m._replace(offset=0) for m in found] == listed
    assert [data[m.offset :][: m.size] for m in found] == contents


@examples(400)
@given(st.binary(max_size=200), st.integers(0, 300), st.binary(max_size=30))
def test_nothing_that_arrives_raises_anything_else(noise: bytes, at: int, change: bytes) -> None:
    good = made((b"a", b"content of a"), (b"b", b""))
    for data in (noise, good[:at] + change + good[at + len(change) :], good[:at]):
        try:
            found = bundle.members(data)
        except Malformed as error:
            assert str(error)  # noqa: PT017  it may be sound, too
        else:
            assert sum(m.size for m in found) + found[0].offset == len(data)


def test_as_many_as_there_may_be() -> None:
    most = [(b"%d" % n, b"") for n in range(MAX_MEMBERS)]
    assert len(bundle.members(made(*most))) == MAX_MEMBERS
    with pytest.raises(Malformed, match="entries, possible are"):
        bundle.members(made(*most, (b"one more", b"")))


def test_as_large_as_it_may_be() -> None:
    room = MAX_BUNDLE - bundle.EMPTY - bundle.entry_size(b"a")
    assert bundle.members(made((b"a", bytes(room))))[0].size == room
    with pytest.raises(Malformed, match="a bundle of"):
        bundle.members(made((b"a", bytes(room + 1))))


def test_a_lie_about_sizes_costs_nothing() -> None:
    """A million entries of nothing, claimed and there: refused before any is made."""
    claimed = (1_000_000).to_bytes(4, "little") + bytes(MAX_BUNDLE - 4)
    tracemalloc.start()
    with pytest.raises(Malformed, match="1000000 entries"):
        bundle.members(claimed)
    large = [Member(Type.FILE, b"%d" % n, 0xFFFF_FFFF, 1) for n in range(MAX_MEMBERS)]
    head = bundle.head(large)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with pytest.raises(Malformed, match="contents of 70368744161280"):
        bundle.members(head)
    assert tracemalloc.get_traced_memory()[1] - before < 4 << 20
    tracemalloc.stop()
