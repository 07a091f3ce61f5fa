"""Erasure codes: any k symbols give the block back, engines agree, wrong calls are refused."""

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import gf256
from diode.code import CODES, by_id, by_name, isal
from diode.code import zfec as zfec_module
from diode.errors import UsageError

ZFEC, REPEAT = CODES["zfec"], CODES["repeat"]


class MatrixEngine:
    """The definition of wire 4.2 and nothing else: rows of the matrix, inverted and multiplied."""

    name = "matrix"

    def encode(self, block, numbers):
        return gf256.matmul(gf256.zfec_matrix(len(block))[numbers], block)

    def fill(self, block, missing, numbers, symbols):
        k = len(block)
        held = [n for n in range(k) if n not in missing]
        rows = gf256.zfec_matrix(k)[held + numbers]
        block[:] = gf256.matmul(gf256.inverse(rows), np.concatenate([block[held], symbols]))


ISAL = isal.find()
ENGINES = [
    zfec_module.LibraryEngine(),
    MatrixEngine(),
    pytest.param(ISAL, marks=pytest.mark.skipif(ISAL is None, reason="libisal is not installed")),
]


def named(engine):
    return getattr(engine, "name", "isal")


@pytest.fixture(params=ENGINES, ids=named)
def engine(request, monkeypatch):
    monkeypatch.setattr(zfec_module, "engine", lambda: request.param)
    return request.param


def a_block(k, size, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (k, size), np.uint8)


def rebuilt(code, block, chosen):
    """The block from only these symbol numbers, by way of encode and fill."""
    k = len(block)
    chosen = np.array(chosen)
    symbols = code.encode(block, chosen)
    out = np.full_like(block, 0xEE)
    of_source = chosen < k
    out[chosen[of_source]] = symbols[of_source]
    missing = np.setdiff1d(np.arange(k), chosen)
    code.fill(out, missing, chosen[~of_source], symbols[~of_source])
    return out


# Any k of 256 -----------------------------------------------------------------------------


@examples(60)
@given(st.integers(1, 40), st.integers(1, 70), st.randoms(use_true_random=False))
def test_any_k_symbols_give_the_block_back(k, size, random):
    block = a_block(k, size)
    assert (rebuilt(ZFEC, block, random.sample(range(256), k)) == block).all()


@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.25, 1.0, 2.5, 100.0, 400.0])
def test_the_widest_block_of_which_no_number_is_sent_twice(share):
    def sent(k):
        return k + math.ceil(share * k)

    k = ZFEC.fitting(255, sent, 1)
    assert k == max([1, *(k for k in range(1, 256) if sent(k) <= 256)])
    assert ZFEC.fitting(10, sent, 3) == min(k, 10)


@pytest.mark.parametrize("k", [1, 2, 128, 255])
def test_narrowest_and_widest(engine, k):
    block = a_block(k, 33)
    rng = np.random.default_rng(k)
    for _ in range(3):
        assert (rebuilt(ZFEC, block, rng.permutation(256)[:k]) == block).all()
    assert (rebuilt(ZFEC, block, np.arange(256 - k, 256)) == block).all()


@examples(30)
@given(st.integers(1, 60), st.integers(1, 100), st.randoms(use_true_random=False))
def test_engines_give_the_same_bytes(k, size, random):
    block = a_block(k, size)
    numbers = [random.randrange(k, 256) for _ in range(random.randrange(1, 20))]
    lost = random.sample(range(k), random.randrange(1, k + 1))
    parity = random.sample(range(k, 256), min(len(lost), 256 - k))
    lost = lost[: len(parity)]
    encoded, filled = [], []
    for one in [zfec_module.LibraryEngine(), MatrixEngine()] + ([ISAL] if ISAL else []):
        encoded.append(one.encode(block, list(numbers)).tobytes())
        damaged = block.copy()
        damaged[lost] = 0xEE
        one.fill(damaged, list(lost), list(parity), MatrixEngine().encode(block, parity))
        filled.append(damaged.tobytes())
    assert len(set(encoded)) == 1
    assert set(filled) == {block.tobytes()}


def test_symbol_numbers_may_repeat_and_mix_when_encoding(engine):
    block = a_block(5, 20)
    numbers = np.array([4, 200, 0, 200, 5, 4])
    symbols = ZFEC.encode(block, numbers)
    assert (symbols == gf256.matmul(gf256.zfec_matrix(5)[numbers], block)).all()
    assert ZFEC.encode(block, np.array([], np.int64)).shape == (0, 20)


def test_symbols_do_not_depend_on_how_many_are_asked_for(engine):
    block = a_block(9, 16)
    all_of_them = ZFEC.encode(block, np.arange(256))
    for number in (0, 8, 9, 100, 255):
        assert (ZFEC.encode(block, np.array([number]))[0] == all_of_them[number]).all()


def test_callers_arrays_stay_as_they_are(engine):
    block = a_block(6, 24)
    numbers = np.array([250, 3, 99, 6])
    before = block.copy(), numbers.copy()
    ZFEC.encode(block, numbers)
    assert (block == before[0]).all() and (numbers == before[1]).all()
    missing, parity = np.array([4, 0, 2]), np.array([200, 7, 90])
    symbols = ZFEC.encode(block, parity)
    kept = [a.copy() for a in (missing, parity, symbols)]
    for _ in range(2):  # the library reorders what it is given: a second call must agree
        damaged = block.copy()
        damaged[missing] = 1
        ZFEC.fill(damaged, missing, parity, symbols)
        assert (damaged == block).all()
        assert all((a == b).all() for a, b in zip((missing, parity, symbols), kept, strict=True))


def test_encode_takes_rows_that_are_not_contiguous(engine):
    block = a_block(4, 40)[:, ::2]
    assert (ZFEC.encode(block, np.array([9])) == ZFEC.encode(block.copy(), np.array([9]))).all()


# The guard ----------------------------------------------------------------------------------

BLOCK = a_block(4, 8)
PARITY = ZFEC.encode(BLOCK, np.array([4, 5]))


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize(
    ("block", "numbers"),
    [
        (BLOCK, [-1]),
        (BLOCK, [0, 1 << 24]),
        (BLOCK, [2**40]),
        (BLOCK[0], [0]),
        (BLOCK[None], [0]),
        (np.empty((0, 8), np.uint8), []),
        (np.empty((4, 0), np.uint8), [0]),
        (np.empty((65_536, 64), np.uint8), [0]),
        (BLOCK.astype(np.int64), [0]),
    ],
)
def test_wrong_encode_calls(code, block, numbers):
    with pytest.raises(ValueError):
        code.encode(block, np.array(numbers, np.int64))


WRONG_FILLS = {
    "duplicate parity": ([0, 1], [5, 5], PARITY),
    "duplicate missing": ([1, 1], [4, 5], PARITY),
    "parity below k": ([0, 1], [3, 5], PARITY),
    "parity beyond the matrix": ([0, 1], [4, 256], PARITY),
    "negative parity": ([0, 1], [-1, 5], PARITY),
    "missing beyond the block": ([0, 4], [4, 5], PARITY),
    "negative missing": ([-1, 0], [4, 5], PARITY),
    "fewer numbers than missing": ([0, 1], [4], PARITY),
    "fewer missing than numbers": ([0], [4, 5], PARITY),
    "fewer symbols": ([0, 1], [4, 5], PARITY[:1]),
    "short symbols": ([0, 1], [4, 5], PARITY[:, :7]),
    "wide symbols": ([0, 1], [4, 5], PARITY.astype(np.int64)),
}


@pytest.mark.parametrize(
    ("missing", "numbers", "symbols"), WRONG_FILLS.values(), ids=WRONG_FILLS.keys()
)
def test_wrong_fill_calls(engine, missing, numbers, symbols):
    block = BLOCK.copy()
    with pytest.raises(ValueError):
        ZFEC.fill(block, np.array(missing), np.array(numbers), symbols)
    assert (block == BLOCK).all()


@pytest.mark.parametrize("block", [a_block(4, 16)[:, ::2], a_block(4, 8).astype(np.int64)])
def test_fill_in_place_wants_plain_memory(engine, block):
    before = block.copy()
    with pytest.raises(ValueError, match="uint8"):
        ZFEC.fill(block, np.array([0]), np.array([4]), PARITY[:1])
    assert (block == before).all()


@examples(60)
@given(
    st.lists(st.integers(-2, 5), max_size=5),
    st.lists(st.integers(-2, 258), max_size=5),
    st.integers(0, 5),
    st.integers(0, 9),
)
def test_any_fill_call_is_right_or_refused(missing, numbers, count, size):
    symbols = np.zeros((count, size), np.uint8)
    block = BLOCK.copy()
    legal = (
        len(missing) == len(numbers) == count
        and size == 8
        and len(set(missing)) == len(missing)
        and len(set(numbers)) == len(numbers)
        and all(0 <= m < 4 for m in missing)
        and all(4 <= n < 256 for n in numbers)
    )
    arguments = block, np.array(missing, np.int64), np.array(numbers, np.int64), symbols
    if legal:
        ZFEC.fill(*arguments)
    else:
        with pytest.raises(ValueError):
            ZFEC.fill(*arguments)
        assert (block == BLOCK).all()
    there = [m for m in range(4) if m not in missing]
    assert (block[there] == BLOCK[there]).all()


# Repeat -------------------------------------------------------------------------------------


def test_repeat():
    assert REPEAT.numbers(17) == 17
    assert (REPEAT.encode(BLOCK, np.array([3, 0, 3])) == BLOCK[[3, 0, 3]]).all()
    nothing = np.array([], np.int64)
    REPEAT.fill(BLOCK.copy(), nothing, nothing, np.empty((0, 8), np.uint8))
    with pytest.raises(ValueError):
        REPEAT.fill(BLOCK.copy(), np.array([0]), np.array([4]), PARITY[:1])


# Choosing -----------------------------------------------------------------------------------


def test_codes_by_name_and_number():
    for name, code in CODES.items():
        assert by_id(code.id) is code
        if not code.lacks:
            assert by_name(name) is code
    numbers = {name: code.id for name, code in CODES.items()}
    assert numbers == {"repeat": 0, "zfec": 1, "raptorq": 2, "leopard": 3}
    assert ZFEC.numbers(3) == 256
    assert by_id(4) is None and by_id(-1) is None
    with pytest.raises(UsageError) as caught:
        by_name("nonsense")
    assert "zfec" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "package"), [("leopard", "reed-solomon-leopard"), ("raptorq", "raptorq")]
)
def test_a_code_that_is_not_installed(name, package, monkeypatch):
    monkeypatch.setattr(type(CODES[name]), "lacks", package)
    with pytest.raises(UsageError, match=f"{name} is not installed") as caught:
        by_name(name)
    assert caught.value.hint == f"pip install {package}"
    assert by_id(CODES[name].id).name == name


def test_the_environment_forces_an_engine(monkeypatch):
    choose = zfec_module.engine.__wrapped__
    monkeypatch.setenv("DIODE_ENGINE", "zfec")
    assert choose().name == "zfec"
    monkeypatch.delenv("DIODE_ENGINE")
    found = object()
    monkeypatch.setattr(isal, "find", lambda: found)
    assert choose() is found
    monkeypatch.setattr(isal, "find", lambda: None)
    assert choose().name == "zfec"


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_without_the_library(monkeypatch, error):
    def fails(name):
        raise error(name)

    monkeypatch.setattr(ctypes, "CDLL", fails)
    assert isal.find() is None
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    assert isal.find() is None
