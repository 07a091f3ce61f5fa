"""The ring: what is put in comes out, between processes too, and a liar gets nowhere."""

from __future__ import annotations

import hashlib
import os
import select
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.carrier.ring import (
    LEAST,
    MOST_RECORDS,
    SKIP,
    STREAM,
    WORD,
    BrokenRing,
    EventBell,
    PipeBell,
    Reader,
    Ring,
    Writer,
)

forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
"""Python 3.12 warns where there are threads; a child that only writes into a ring does not mind."""

bells = pytest.mark.parametrize(
    "make_bell",
    [
        pytest.param(
            EventBell,
            marks=pytest.mark.skipif(not hasattr(os, "eventfd"), reason="no eventfd here"),
        ),
        PipeBell,
    ],
)


def all_of(reader: Reader, most: int = 1 << 20) -> list[tuple[int, bytes]]:
    """Everything there is, record by record."""
    found: list[tuple[int, bytes]] = []
    while taken := reader.take(most):
        found += taken.records()
    return found


@bells
def test_bells_add_up_and_wake(make_bell) -> None:
    bell = make_bell()
    ready = select.poll()
    ready.register(bell.fileno, select.POLLIN)
    assert bell.take() == 0
    assert ready.poll(0) == []
    for count in (1, 2, 1 << 40):
        bell.add(count)
    assert ready.poll(0) != []
    assert bell.take() == 3 + (1 << 40)
    assert bell.take() == 0
    assert ready.poll(0) == []
    for descriptor in bell.descriptors():
        os.close(descriptor)


def test_a_full_pipe_owes_what_it_could_not_take() -> None:
    bell = PipeBell()
    for _ in range(100_000):
        bell.add(3)
    total = 0
    while taken := bell.take():
        total += taken
    bell.add(0)
    assert total + bell.take() == 300_000


@bells
@given(seed=st.integers(0, 1000))
@examples(60)
def test_what_goes_in_comes_out(make_bell, seed: int) -> None:
    """Against a queue: any sizes and kinds, reader and writer in turn, many times around."""
    random = np.random.default_rng(seed)
    ring = Ring(LEAST, make_bell)
    writer, reader = Writer(ring), Reader(ring)
    expected: deque[tuple[int, bytes]] = deque()
    for _ in range(200):
        size = int(random.integers(0, ring.largest + 1) ** random.choice([0.3, 0.6, 1.0]))
        kind = int(random.choice([STREAM, STREAM, 1, 1400, WORD]))
        content = random.bytes(size)
        if writer.put(content, kind):
            expected.append((kind, content))
        else:
            assert ring.size - writer.free + size + 8 > ring.size // 2  # refused with reason
        if random.random() < 0.3:
            records = list(reader.take(int(random.integers(1, 20_000))).records())
            sorts = {min(kind, 1) if kind != WORD else WORD for kind, _ in records}
            assert len(sorts) <= 1
            assert len(records) <= 1 or WORD not in sorts
            for record in records:
                assert record == expected.popleft()
    assert all_of(reader) == list(expected)
    assert writer.free == ring.size
    assert reader.backlog == 0
    ring.close()
    ring.close()


def test_it_holds_what_it_says() -> None:
    """Reads of a serial line: nine tenths of the memory are content."""
    ring = Ring(1 << 20)
    writer, reader = Writer(ring), Reader(ring)
    count = 0
    while writer.put(bytes(500), STREAM):
        count += 500
    assert count > 0.95 * ring.size
    assert sum(len(content) for _, content in all_of(reader)) == count
    while writer.free >= ring.size // 2:
        assert writer.put(b"x", STREAM)
    assert len(reader.take(1 << 20)) == MOST_RECORDS


@pytest.mark.parametrize("at", range(0, LEAST, LEAST // 16))
def test_the_largest_record_fits_wherever_the_ring_stands(at: int) -> None:
    ring = Ring(LEAST)
    writer, reader = Writer(ring), Reader(ring)
    for _ in range(at // 1024):
        assert writer.put(bytes(1016), STREAM)
        all_of(reader)
    room = writer.room(ring.largest)
    assert room is not None and len(room) == ring.largest
    room[:5] = b"hello"
    writer.commit(5, 7)  # less than was asked for
    assert all_of(reader) == [(7, b"hello")]


def test_what_was_taken_does_not_change_any_more() -> None:
    ring = Ring(LEAST)
    writer, reader = Writer(ring), Reader(ring)
    writer.put(b"as it was", STREAM)
    taken = reader.take(100)
    memoryview(ring.memory)[:64] = b"X" * 64
    assert list(taken.records()) == [(STREAM, b"as it was")]


@bells
@forks
def test_two_processes(make_bell) -> None:
    """A megabyte in records of all sizes through a small ring; both sides wait for each other."""
    ring = Ring(LEAST, make_bell)
    random = np.random.default_rng(3)
    sizes = [int(size) for size in random.integers(1, ring.largest, 200)]
    content = random.bytes(sum(sizes))
    child = os.fork()
    if child == 0:
        writer, start = Writer(ring), 0
        room = select.poll()
        room.register(ring.returned.fileno, select.POLLIN)
        for size in sizes:
            while not writer.put(content[start : start + size], STREAM):
                room.poll()
            start += size
        os._exit(0)
    reader, heard = Reader(ring), hashlib.sha256()
    count = 0
    ready = select.poll()
    ready.register(ring.published.fileno, select.POLLIN)
    while count < len(content):
        for _, part in reader.take(10_000).records():
            heard.update(part)
            count += len(part)
        if count < len(content) and not reader.backlog:
            assert ready.poll(20_000), "nothing more came"
    assert os.waitpid(child, 0)[1] == 0
    assert heard.digest() == hashlib.sha256(content).digest()
    ring.close()


# A writer that lies -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "kind", "published"),
    [
        (100, STREAM, LEAST + 8),  # more than there is
        (100, STREAM, 16),  # a record longer than what was published
        (0xFFFF_FFFF, STREAM, LEAST),
        (0xFFFF_FFF9, 5, LEAST),
        (0, SKIP, 8),  # a gap that was not published
        (0, STREAM, 2**63),
        (20, WORD, 9),
    ],
)
def test_records_that_cannot_be(length: int, kind: int, published: int) -> None:
    ring = Ring(LEAST)
    ring.memory[:8] = length.to_bytes(4, "little") + kind.to_bytes(4, "little")
    ring.published.add(published)
    with pytest.raises(BrokenRing):
        Reader(ring).take(1 << 20)


@given(content=st.binary(min_size=1, max_size=400), counts=st.lists(st.integers(1, LEAST)))
@examples(300)
def test_any_memory_and_any_numbers(content: bytes, counts: list[int]) -> None:
    """Records or BrokenRing, never more than was published, and never for ever."""
    ring = Ring(LEAST)
    ring.memory[:] = (content * (LEAST // len(content) + 1))[:LEAST]
    reader, total, taken = Reader(ring), 0, 0
    try:
        for count in counts:
            ring.published.add(count)
            total += count
            for _ in range(LEAST // 8 + 1):
                before = reader.backlog
                taken += sum(reader.take(5_000).lengths)
                if reader.backlog == before:
                    break
    except BrokenRing:
        pass
    assert taken <= total
    ring.close()


def test_a_bell_that_somebody_filled() -> None:
    bell = EventBell() if hasattr(os, "eventfd") else pytest.skip("no eventfd here")
    bell.add(2**64 - 2)
    with pytest.raises(BrokenRing):
        bell.add(1)
    os.close(bell.fileno)
