"""A block's check: written behind the data, found wrong after any change."""

import crcmod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import block

# Initial value and final XOR all ones; crcmod states the former after the latter.
crc64_oracle = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=(1 << 64) - 1)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def closed(data: bytes, room: int) -> np.ndarray:
    flat = np.full(room, 0xEE, np.uint8)
    flat[: len(data)] = array(data)
    block.CRC.close(flat, len(data), 0)
    return flat


def test_check_constant():
    assert block.check(array(b"123456789")) == 0x995DC9BBDF1939FA.to_bytes(8, "little")
    assert crc64_oracle(b"123456789") == 0x995DC9BBDF1939FA


@examples(50)
@given(st.binary(max_size=300))
def test_check_against_crcmod(data):
    assert block.check(array(data)) == crc64_oracle(data).to_bytes(8, "little")


@examples(50)
@given(st.binary(max_size=100), st.integers(0, 50))
def test_layout(data, zeros):
    flat = closed(data, len(data) + block.CHECK + zeros)
    assert flat.tobytes() == data + block.check(array(data)) + bytes(zeros)
    assert block.CRC.open(flat, len(data), 0)


@pytest.mark.parametrize("length", [0, 1, 24, 32])
def test_every_flipped_bit_is_seen(length):
    flat = closed(bytes(range(length)), 40)
    for bit in range(flat.size * 8):
        flat[bit // 8] ^= 1 << bit % 8
        assert not block.CRC.open(flat, length, 0)
        flat[bit // 8] ^= 1 << bit % 8
    assert block.CRC.open(flat, length, 0)


def test_another_length_is_wrong():
    flat = closed(bytes(range(1, 25)), 40)
    assert [n for n in range(33) if block.CRC.open(flat, n, 0)] == [24]
