"""Frames: fill, stamp, check and parse, in batches and against independent CRCs."""

import crcmod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import frame, stamp
from diode.frame import Frames, Kind

crc32c_oracle = crcmod.mkCrcFun(0x11EDC6F41, initCrc=0, rev=True, xorOut=0xFFFFFFFF)
crc16_oracle = crcmod.mkCrcFun(0x11021, initCrc=0, rev=False, xorOut=0)

u32 = st.integers(0, 2**32 - 1)
u24 = st.integers(0, 2**24 - 1)
u8 = st.integers(0, 255)


def payloads(count, size, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, size), np.uint8)


def full(count=1, size=40, sequence=0, **fields):
    rows = frame.blank_rows(count, size)
    values = {"code": 1, "sender": 7, "number": 9, "block": 3, "symbol": np.arange(count)} | fields
    frame.fill_full(rows, Kind.DATA, **values)
    frame.payload(rows)[:] = payloads(count, size, 1)
    stamp.stamp(Frames.of_rows(rows), sequence)
    return rows


def compact(count=1, size=40, sequence=0, **fields):
    rows = frame.blank_rows(count, size, compact=True)
    values = {"sender": 7, "number": 9, "block": 3, "symbol": np.arange(count)} | fields
    frame.fill_compact(rows, **values)
    frame.payload(rows, compact=True)[:] = payloads(count, size, 1)
    stamp.stamp(Frames.of_rows(rows), sequence)
    return rows


# Checks -----------------------------------------------------------------------------------


def test_check_constants():
    assert frame.crc32c(b"123456789") == crc32c_oracle(b"123456789") == 0xE3069283
    assert crc16_oracle(b"123456789") == frame._crc16(b"123456789") == 0x31C3


@examples(50)
@given(st.binary(max_size=400), u32, u32)
def test_checks_against_crcmod(data, sender, number):
    assert frame.crc32c(data) == crc32c_oracle(data)
    identity = sender.to_bytes(4, "little") + number.to_bytes(4, "little")
    assert frame.alias(sender, number) == crc16_oracle(identity)


@pytest.mark.parametrize(("sender", "first"), [(1, 0), (0xFFFFFFFF, 0xABCD0000)])
def test_consecutive_numbers_have_different_aliases(sender, first):
    aliases = {frame.alias.__wrapped__(sender, first + i) for i in range(65_536)}
    assert len(aliases) == 65_536


# Round trips --------------------------------------------------------------------------------


@examples(60)
@given(
    st.sampled_from([k for k in Kind if k != Kind.COMPACT]),
    u8,
    u32,
    u32,
    st.lists(st.tuples(u32, u24), min_size=1, max_size=8),
    st.integers(0, 2**20),
    st.integers(0, 60),
)
def test_full_round_trip(kind, code, sender, number, places, sequence, size):
    block, symbol = (np.array(c, np.int64) for c in zip(*places, strict=True))
    rows = frame.blank_rows(len(places), size)
    frame.fill_full(rows, kind, code=code, sender=sender, number=number, block=block, symbol=symbol)
    content = payloads(len(places), size, sequence)
    frame.payload(rows)[:] = content
    stamp.stamp(Frames.of_rows(rows), sequence)
    assert stamp.check_rows(rows).all()
    parsed = frame.parse_full(rows)
    count = len(places)
    assert parsed.kind.tolist() == [kind] * count
    assert parsed.code.tolist() == [code] * count
    assert parsed.sender.tolist() == [sender] * count
    assert parsed.number.tolist() == [number] * count
    assert (parsed.block == block).all() and (parsed.symbol == symbol).all()
    assert parsed.sequence.tolist() == [(sequence + i) % 65_536 for i in range(count)]
    assert (parsed.payload == content).all()


@examples(60)
@given(
    u32,
    u32,
    st.lists(st.tuples(u24, u8), min_size=1, max_size=8),
    st.integers(0, 2**20),
    st.integers(0, 60),
)
def test_compact_round_trip(sender, number, places, sequence, size):
    block, symbol = (np.array(c, np.int64) for c in zip(*places, strict=True))
    rows = frame.blank_rows(len(places), size, compact=True)
    frame.fill_compact(rows, sender=sender, number=number, block=block, symbol=symbol)
    content = payloads(len(places), size, sequence)
    frame.payload(rows, compact=True)[:] = content
    stamp.stamp(Frames.of_rows(rows), sequence)
    assert stamp.check_rows(rows).all()
    assert ((rows[:, 0] & 0x0F) == Kind.COMPACT).all()
    parsed = frame.parse_compact(rows)
    assert set(parsed.alias.tolist()) == {frame.alias(sender, number)}
    assert (parsed.block == block).all() and (parsed.symbol == symbol).all()
    assert parsed.sequence.tolist() == [(sequence + i) % 256 for i in range(len(places))]
    assert (parsed.payload == content).all()


def test_bytes_of_a_full_frame():
    rows = full(
        size=2,
        sequence=0x0201,
        sender=0x06050403,
        number=0x0A090807,
        block=0x0E0D0C0B,
        symbol=0x11100F,
    )
    head = bytes([0x11, 1, *range(1, 18), 0])
    body = head[:2] + bytes(range(1, 0x12)) + b"\0" + rows[0, 20:22].tobytes()
    assert rows[0, :-4].tobytes() == body
    assert rows[0, -4:].tobytes() == crc32c_oracle(body).to_bytes(4, "little")


def test_bytes_of_a_compact_frame():
    rows = compact(size=1, sequence=0x1FE, block=0x030201, symbol=0x77)
    alias = frame.alias(7, 9).to_bytes(2, "little")
    body = b"\x12\xfe" + alias + bytes([0x77, 1, 2, 3]) + rows[0, 8:9].tobytes()
    assert rows[0, :-4].tobytes() == body


def test_reserved_byte_is_ignored():
    rows = full(symbol=5)
    rows[0, 19] = 0xFF
    assert frame.parse_full(rows).symbol.tolist() == [5]


def test_sequences_wrap():
    assert frame.parse_full(full(4, sequence=65_534)).sequence.tolist() == [65_534, 65_535, 0, 1]
    assert frame.parse_full(full(2, sequence=2**40 + 5)).sequence.tolist() == [5, 6]
    assert frame.parse_compact(compact(3, sequence=254)).sequence.tolist() == [254, 255, 0]


# Batches ------------------------------------------------------------------------------------


@examples(50)
@given(st.lists(st.binary(max_size=6), max_size=12))
def test_pieces_and_rows(pieces):
    batch = Frames.of_pieces(pieces)
    assert len(batch) == len(pieces)
    assert [p.tobytes() for p in batch.pieces()] == pieces
    assert batch.lengths.tolist() == [len(p) for p in pieces]
    rows = [r.tobytes() for group in batch.rows() for r in group]
    assert sorted(rows) == sorted(pieces)
    for first in range(len(pieces) + 1):
        for last in range(first, len(pieces) + 1):
            part = [p.tobytes() for p in batch.part(first, last).pieces()]
            assert part == pieces[first:last]


def test_rows_of_runs_of_equal_pieces_are_views():
    """A heartbeat among hundreds of data frames is no reason to copy them."""
    pieces = [bytes([n]) * 40 for n in range(50)] + [b"beat"] + [bytes([n]) * 40 for n in range(50)]
    batch = Frames.of_pieces(pieces)
    groups = batch.rows()
    assert [g.shape for g in groups] == [(50, 40), (1, 4), (50, 40)]
    assert all(np.shares_memory(g, batch.data) for g in groups)
    assert [r.tobytes() for g in groups for r in g] == pieces
    changing = Frames.of_pieces([bytes(4 + n % 2) for n in range(64)])
    assert sorted(g.shape for g in changing.rows()) == [(32, 4), (32, 5)]


def test_rows_of_equal_pieces_are_a_view():
    rows = full(3)
    batch = Frames.of_rows(rows)
    (again,) = batch.rows()
    assert np.shares_memory(again, rows) and again.shape == rows.shape
    assert frame.EMPTY.rows() == [] and len(frame.EMPTY.starts) == 0
    stamp.stamp(frame.EMPTY, 3)  # nothing to number is no error
