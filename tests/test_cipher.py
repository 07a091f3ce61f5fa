"""Blocks under the cipher: opened in place when right, left alone when not."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from pair import content, examples

from diode.block import CHECKS
from diode.cipher import TAG, BlockCipher

KEY = bytes(range(32))


def closed(data: bytes, room: int, block: int = 3) -> np.ndarray:
    flat = np.full(room, 0xEE, np.uint8)
    flat[: len(data)] = np.frombuffer(data, np.uint8)
    BlockCipher(KEY).close(flat, len(data), block)
    return flat


def test_a_tag_takes_the_room_that_is_planned_for_it():
    assert CHECKS[1] == TAG == 16


@examples(50)
@given(st.binary(max_size=100), st.integers(0, 50), st.integers(0, (1 << 32) - 1))
def test_layout(data, zeros, block):
    flat = closed(data, len(data) + TAG + zeros, block)
    sealed = AESGCM(KEY).encrypt(block.to_bytes(4, "little") + bytes(8), data, None)
    assert flat.tobytes() == sealed + bytes(zeros)
    assert BlockCipher(KEY).open(flat, len(data), block)
    assert flat[: len(data)].tobytes() == data


@pytest.mark.parametrize("length", [0, 1, 17, 24])
def test_every_flipped_bit_is_seen_and_nothing_is_touched(length):
    flat, cipher = closed(content(length), 40), BlockCipher(KEY)
    for bit in range(flat.size * 8):
        flat[bit // 8] ^= 1 << bit % 8
        before = flat.copy()
        assert not cipher.open(flat, length, 3)
        assert (flat == before).all()
        flat[bit // 8] ^= 1 << bit % 8
    assert cipher.open(flat, length, 3)
    assert flat[:length].tobytes() == content(length)


def test_block_length_and_key_are_bound():
    flat = closed(content(24), 40)
    assert not BlockCipher(KEY).open(flat, 24, 4)
    assert not BlockCipher(bytes(32)).open(flat, 24, 3)
    assert [n for n in range(25) if BlockCipher(KEY).open(flat.copy(), n, 3)] == [24]


def test_what_is_open_is_not_opened_again():
    flat = closed(content(24), 40)
    assert BlockCipher(KEY).open(flat, 24, 3)
    assert not BlockCipher(KEY).open(flat, 24, 3)
