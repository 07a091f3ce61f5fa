"""Blocks under a cipher: AES-256-GCM, its tag in the place of the CRC-64 (wire 4.5).

    | ciphertext, `length` bytes | tag, 16 bytes | zeros to k x S bytes |

Every object has a key of its own (envelope.py), so the block number is all that a nonce needs. A
symbol is a share of the ciphertext: it is coded, lost, parked and decoded like any other, and only
a block that is whole is decrypted, in its place in memory. A tag finds accidents as the CRC-64
does, 2^64 times as surely, and a forged block too.

The same key and nonce must never serve two contents: see envelope.py for how the key is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from diode.block import AES_GCM, CHECKS

if TYPE_CHECKING:
    from diode.frame import U8

TAG = CHECKS[AES_GCM]
"""Bytes of tag behind a block's ciphertext."""
NONCE = 12


class BlockCipher:
    """Encrypts and decrypts the blocks of one object, in place."""

    def __init__(self, key: bytes) -> None:
        """key: 32 bytes, used for nothing else."""
        self._aead = AESGCM(key)

    def close(self, flat: U8, length: int, block: int) -> None:
        """Encrypt the first `length` bytes of a block, write tag and zeros behind them."""
        closed = self._aead.encrypt(_nonce(block), flat[:length].data, None)
        flat[: len(closed)] = np.frombuffer(closed, np.uint8)
        flat[len(closed) :] = 0

    def open(self, flat: U8, length: int, block: int) -> bool:
        """Decrypt the first `length` bytes of a block if its tag and zeros are right."""
        end = length + TAG
        if flat[end:].any():
            return False
        try:
            data = self._aead.decrypt(_nonce(block), flat[:end].data, None)
        except InvalidTag:
            return False
        flat[:length] = np.frombuffer(data, np.uint8)
        return True


def _nonce(block: int) -> bytes:
    """The block number, little-endian, and zeros."""
    return block.to_bytes(NONCE, "little")
