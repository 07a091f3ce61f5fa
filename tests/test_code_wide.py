"""Wide codes: what they make of a block is what the format says, and misuse is refused.

The libraries hang, panic or go on without a word when they are misused (see the modules), so each
kind of wrong call is tried with each code, zfec as well.
"""

import random as randomness

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples
from test_code import a_block, rebuilt

from diode.code import CODES, raptorq

SIZE = 64
"""Bytes of a symbol that every code takes."""


def present(name):
    code = CODES[name]
    lacking = pytest.mark.skipif(bool(code.lacks), reason=f"{code.lacks} is not installed")
    return pytest.param(code, marks=lacking, id=name)


LEOPARD, RAPTORQ = CODES["leopard"], CODES["raptorq"]
needs_leopard, needs_raptorq = (
    pytest.mark.skipif(bool(c.lacks), reason=f"{c.lacks} is not installed")
    for c in (LEOPARD, RAPTORQ)
)
ALL = pytest.mark.parametrize("code", [present(n) for n in ("zfec", "leopard", "raptorq")])
WIDE = pytest.mark.parametrize("code", [present(n) for n in ("leopard", "raptorq")])


def numbers_from(code, k, count, seed):
    """Different symbol numbers of those a sender walks through."""
    return np.array(randomness.Random(seed).sample(range(code.walk(k)), count))


# Symbols give the block back ----------------------------------------------------------------


@needs_leopard
@pytest.mark.parametrize("k", [1, 2, 3, 63, 64, 65, 200, 1000])
def test_any_k_symbols_of_leopard(k):
    block = a_block(k, SIZE)
    for seed in range(3):
        assert (rebuilt(LEOPARD, block, numbers_from(LEOPARD, k, k, seed)) == block).all()
    last = np.arange(LEOPARD.numbers(k) - k, LEOPARD.numbers(k))
    assert (rebuilt(LEOPARD, block, last) == block).all()


@needs_leopard
@pytest.mark.parametrize(
    ("k", "most", "parity"),
    [
        (200, 0, 256),  # for ever
        (200, 210, 64),
        (200, 264, 64),
        (200, 265, 128),
        (200, 1000, 256),  # a second round is no use
        (200, 200, 64),
        (5, 7, 64),
        (1000, 1100, 128),
    ],
)
def test_leopard_has_the_parity_that_will_be_sent(k, most, parity):
    code, block = LEOPARD.meant_for(most), a_block(k, SIZE)
    assert code.numbers(k) == k + parity
    few = min(k, parity)
    for seed in range(3):
        lost = np.array(sorted(randomness.Random(seed).sample(range(k), few)))
        numbers = np.array(randomness.Random(seed).sample(range(k, k + parity), few))
        damaged = block.copy()
        damaged[lost] = 0
        assert code.fill(damaged, lost, numbers, code.encode(block, numbers))
        assert (damaged == block).all()
    with pytest.raises(ValueError, match="symbol numbers"):
        code.encode(block, np.array([k + parity]))


def filled(code, block, chosen):
    """What `fill` says of a block of which only these symbols are there."""
    symbols = code.encode(block, chosen)
    out = np.full_like(block, 0xEE)
    source = chosen < len(block)
    out[chosen[source]] = symbols[source]
    missing = np.setdiff1d(np.arange(len(block)), chosen)
    found = code.fill(out, missing, chosen[~source], symbols[~source])
    assert found == (out == block).all()
    return found


@needs_raptorq
@pytest.mark.parametrize("most", [1, 64, 700, 1414, 4095, 4096, 8192])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.07, 0.15, 0.3, 0.9, 1.0, 2.5])
def test_leopard_takes_blocks_that_fill_its_transforms(most, share):
    """Filling in takes as long as for k + R rounded up to a power of two."""

    def sent(k):
        return k + round(share * k)

    def transform(k):
        return 1 << (LEOPARD.meant_for(sent(k)).numbers(k) - 1).bit_length()

    k = LEOPARD.fitting(most, sent, 1)
    assert most / 2 < k <= most
    assert transform(k) / k <= transform(most) / most
    if most == 4096 and share <= 0.3:
        assert transform(k) == 4096
    assert LEOPARD.fitting(most, sent, 0) == most
    assert all(CODES[name].fitting(most, sent, 1) == most for name in ("raptorq", "repeat"))


def test_raptorq_needs_few_symbols_more_than_k_and_rarely():
    tries, failed = 1500, np.zeros(RAPTORQ.spare + 1, int)
    for seed in range(tries):
        k = randomness.Random(seed).choice([1, 2, 7, 10, 26, 50])
        block, chosen = a_block(k, 8, seed), numbers_from(RAPTORQ, k, k + RAPTORQ.spare, seed)
        for more in range(RAPTORQ.spare + 1):
            if filled(RAPTORQ, block, chosen[: k + more]):
                break
            failed[more] += 1
    assert 0 < failed[0] < tries / 100  # 1 in 256 expected
    assert failed[1] <= 2 and not failed[2:].any()


@WIDE
@pytest.mark.parametrize(("k", "size"), [(1, 64), (5, 128), (333, 64), (1500, 192), (4468, 1408)])
def test_losses_in_the_sources_of_wide_blocks(code, k, size):
    block = a_block(k, size)
    lost = np.random.default_rng(k).permutation(k)[: k // 20 + 1]
    parity = np.arange(k + 3, k + 3 + len(lost) + code.spare)
    damaged = block.copy()
    damaged[lost] = 0
    assert code.fill(damaged, lost, parity, code.encode(block, parity))
    assert (damaged == block).all()


@needs_leopard
def test_the_widest_blocks():
    assert LEOPARD.widest(64) == 32_768 and LEOPARD.widest(96) == 0
    block = a_block(32_768, 64)
    lost = np.arange(0, 32_768, 50)
    parity = np.arange(len(lost)) + 65_536 - len(lost)
    damaged = block.copy()
    damaged[lost] = 0
    assert LEOPARD.fill(damaged, lost, parity, LEOPARD.encode(block, parity))
    assert (damaged == block).all()


@needs_raptorq
@pytest.mark.parametrize("size", [8, 64, 1024, 1408, 16_360 - 16_360 % 8])
def test_the_widest_block_is_one_sub_block(size):
    k = RAPTORQ.widest(size)
    block = a_block(k, size)
    assert (RAPTORQ.encode(block, np.arange(k, k + 3)) != 0).any()
    packets = raptorq._library.Encoder.with_defaults(block.tobytes(), size).get_encoded_packets(1)
    assert len(packets) == k + 1
    for number in (0, 1, k - 1):
        assert packets[number] == number.to_bytes(4, "big") + block[number].tobytes()


@ALL
def test_symbols_do_not_depend_on_what_else_is_asked_for(code):
    block = a_block(70, SIZE)
    everything = code.encode(block, np.arange(code.walk(70)))
    for numbers in ([70], [69, 70], [0, 190, 71, 133], [code.walk(70) - 1]):
        assert (code.encode(block, np.array(numbers)) == everything[numbers]).all()


# Misuse -------------------------------------------------------------------------------------


def legal(code, k, size, missing, numbers, count, width):
    """Whether `Code.fill` has to take this call."""
    return (
        len(numbers) == count
        and 0 <= count - len(missing) <= code.spare
        and width == size
        and len(set(missing)) == len(missing)
        and len(set(numbers)) == len(numbers)
        and all(0 <= m < k for m in missing)
        and all(k <= n < code.numbers(k) for n in numbers)
    )


@ALL
@examples(300)
@given(
    missing=st.lists(st.integers(-1, 6), max_size=6),
    numbers=st.lists(st.integers(3, 12) | st.integers(-1, 1 << 25), max_size=8),
    as_many=st.booleans(),
    width=st.sampled_from([SIZE, SIZE, SIZE, 0, 1, SIZE - 1, SIZE + 1, 2 * SIZE]),
    content=st.integers(0, 2**32),
)
def test_any_fill_call_is_right_or_refused(code, missing, numbers, as_many, width, content):
    k, block = 5, a_block(5, SIZE)
    before = block.copy()
    numbers = numbers[: len(missing)] if as_many else numbers
    symbols = np.random.default_rng(content).integers(0, 256, (len(numbers), width), np.uint8)
    arguments = block, np.array(missing, np.int64), np.array(numbers, np.int64), symbols
    if legal(code, k, SIZE, missing, numbers, len(numbers), width):
        found = code.fill(*arguments)  # of symbols with any content: no word about it
        assert found or code.spare
        there = [m for m in range(k) if m not in missing]
        assert (block[there] == before[there]).all()
        return
    with pytest.raises(ValueError):
        code.fill(*arguments)
    assert (block == before).all()


@ALL
@examples(60)
@given(k=st.integers(1, 70), seed=st.integers(0, 2**32), damaged=st.booleans())
def test_legal_calls_never_raise(code, k, seed, damaged):
    block = a_block(k, SIZE, seed % 1000)
    random = randomness.Random(seed)
    lost = random.sample(range(k), random.randrange(k + 1))
    more = random.randrange(code.spare + 1)
    parity = np.array(random.sample(range(k, code.walk(k)), len(lost) + more), np.int64)
    symbols = code.encode(block, parity).copy()
    if damaged and len(parity):
        symbols[random.randrange(len(parity))] ^= 0x5A
    rows = block.copy()
    rows[lost] = 0xEE
    found = code.fill(rows, np.array(lost, np.int64), parity, symbols)
    assert found or code.spare
    if found and not damaged:
        assert (rows == block).all()


@WIDE
def test_symbol_sizes_between_the_steps(code):
    for size in (1, code.step - 1, code.step + 1):
        assert code.widest(size) == 0
        with pytest.raises(ValueError):
            code.encode(a_block(4, size), np.array([4]))
        with pytest.raises(ValueError):
            code.fill(a_block(4, size), np.array([0]), np.array([4]), a_block(1, size))


class CutShort:
    """The library, given packets too short for a header."""

    class Decoder:
        @classmethod
        def with_defaults(cls, length, size):
            self = cls()
            self.real = REAL.Decoder.with_defaults(length, size)
            return self

        def decode(self, packet):
            return self.real.decode(packet[:2])


REAL = raptorq._library


@needs_raptorq
def test_a_panic_of_the_library_ends_nothing(monkeypatch, capfd):
    block = a_block(4, 8)
    symbols, before = RAPTORQ.encode(block, np.array([4])), block.copy()
    monkeypatch.setattr(raptorq, "_library", CutShort)
    assert not RAPTORQ.fill(block, np.array([0]), np.array([4]), symbols)
    assert (block == before).all()
    assert "panicked" in capfd.readouterr().err
