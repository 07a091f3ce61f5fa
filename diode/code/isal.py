"""The zfec code computed by Intel's ISA-L, where the shared library is installed.

Debian and Ubuntu call it libisal2. `ec_encode_data` multiplies a matrix over GF(256) (the same
field, x^8+x^4+x^3+x^2+1) by rows of data with the widest vector instructions the
machine has, so all this module brings is the matrix (gf256.zfec_matrix), pointers and tables.

Decoding inverts only what is lost: with the lost source rows L and as many parity rows P,
    parity = G[P, present]·present + G[P, L]·lost, so
    lost = G[P, L]⁻¹ (parity + G[P, present]·present),
which as one matrix over (present, parity) costs len(L) products a byte and an inversion of
len(L) x len(L), kept for the loss patterns seen last.

Signatures: isa-l/erasure_code.h. ctypes frees the interpreter lock during a call.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from typing import TYPE_CHECKING

import numpy as np

from diode import gf256

if TYPE_CHECKING:
    from diode.frame import U8

_TABLE = 32  # bytes of multiplication table per coefficient, ec_init_tables


def find() -> IsalEngine | None:
    """The engine, or None where the library is not installed."""
    for name in ("libisal.so.2", ctypes.util.find_library("isal")):
        if name:
            try:
                return IsalEngine(ctypes.CDLL(name))
            except (OSError, AttributeError):  # not there, or without the erasure code
                continue
    return None


class IsalEngine:
    """zfec's matrix multiplied by ISA-L."""

    name = "isal"

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._init_tables = library.ec_init_tables
        self._init_tables.argtypes = [number, number, pointer, pointer]
        self._init_tables.restype = None
        self._multiply = library.ec_encode_data
        self._multiply.argtypes = [number, number, number, pointer, pointer, pointer]
        self._multiply.restype = None
        self._encode_tables = functools.lru_cache(maxsize=64)(self._make_encode_tables)
        self._fill_tables = functools.lru_cache(maxsize=256)(self._make_fill_tables)

    def encode(self, block: U8, numbers: list[int]) -> U8:
        out = np.empty((len(numbers), block.shape[1]), np.uint8)
        self._product(self._encode_tables(len(block), tuple(numbers)), _rows(block), out)
        return out

    def fill(self, block: U8, missing: list[int], numbers: list[int], symbols: U8) -> None:
        tables = self._fill_tables(len(block), tuple(missing), tuple(numbers))
        present = np.delete(_rows(block), missing)
        out = np.empty((len(missing), block.shape[1]), np.uint8)
        self._product(tables, np.concatenate([present, _rows(symbols)]), out)
        block[missing] = out

    def _product(
        self, tables: U8, sources: np.ndarray[tuple[int], np.dtype[np.uint64]], out: U8
    ) -> None:
        targets = _rows(out)
        self._multiply(
            out.shape[1],
            len(sources),
            len(out),
            tables.ctypes.data,
            sources.ctypes.data,
            targets.ctypes.data,
        )

    def _tables(self, matrix: U8) -> U8:
        rows, columns = matrix.shape
        tables = np.empty(_TABLE * rows * columns, np.uint8)
        matrix = np.ascontiguousarray(matrix)
        self._init_tables(columns, rows, matrix.ctypes.data, tables.ctypes.data)
        return tables

    def _make_encode_tables(self, k: int, numbers: tuple[int, ...]) -> U8:
        return self._tables(gf256.zfec_matrix(k)[list(numbers)])

    def _make_fill_tables(self, k: int, missing: tuple[int, ...], numbers: tuple[int, ...]) -> U8:
        rows = gf256.zfec_matrix(k)[list(numbers)]
        inverse = gf256.inverse(rows[:, list(missing)])
        from_present = gf256.matmul(inverse, np.delete(rows, missing, axis=1))
        return self._tables(np.concatenate([from_present, inverse], axis=1))


def _rows(block: U8) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Addresses of the rows of a C-contiguous array."""
    count, size = block.shape
    return np.uint64(block.ctypes.data) + np.arange(count, dtype=np.uint64) * np.uint64(size)
