import functools
import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode.modem import ldpc
from diode.modem.ldpc import APART, EXP, INVERSE, MUL, code
from diode.modem.profile import CLASSES, PROFILES
from diode.modem.soft import ln_i0

SIZES = [
    (p.information(size), p.code_symbols(size))
    for p in PROFILES.values()
    for size in range(1, CLASSES + 1)
]
every = pytest.mark.parametrize(("k", "n"), SIZES)
ROBUST = SIZES[CLASSES - 1]


def information(k, seed=1):
    return np.random.default_rng(seed).integers(0, 16, k, np.uint8)


def noisy(word, es_n0_db, random):
    """Likelihoods of the 16 values behind noncoherent 16-ary FSK, energies in units of N0."""
    amplitude = np.sqrt(10 ** (es_n0_db / 10))
    parts = random.standard_normal((2, len(word), 16)) * np.sqrt(0.5)
    parts[0, np.arange(len(word)), word] += amplitude
    energy = (parts**2).sum(axis=0)
    logarithm = ln_i0(2 * amplitude * np.sqrt(energy).astype(np.float32))
    return np.exp(logarithm - logarithm.max(axis=1, keepdims=True)).astype(np.float32)


def lost(k, n, ebn0_db, trials, seed=1):
    """Words that are not what was sent; none of them may be wrong without being satisfied."""
    made, random = code(k, n), np.random.default_rng(seed)
    es_n0_db = ebn0_db + 10 * np.log10(4 * k / n)
    out = 0
    for trial in range(trials):
        sent = made.encode(information(k, trial))
        heard = made.decode(noisy(sent, es_n0_db, random))
        assert heard is None or made.satisfied(heard)
        out += heard is None or not np.array_equal(heard, sent)
    return out


# The field ----------------------------------------------------------------------------------------


def test_field():
    values = range(16)
    assert len(set(EXP)) == 15
    for a, b, c in itertools.product(values, repeat=3):
        assert MUL[a, MUL[b, c]] == MUL[MUL[a, b], c]
        assert MUL[a, b ^ c] == MUL[a, b] ^ MUL[a, c]
    assert all(MUL[a, INVERSE[a]] == 1 for a in values[1:])
    assert MUL[8, 2] == 3  # x^4 = x + 1


# The code -----------------------------------------------------------------------------------------


@functools.cache
def matrix(k, n):
    """The parity checks as rows of (symbol, factor). That they are those of the document is shown
    by the vectors."""
    made = code(k, n)
    rows = [[] for _ in range(n - k)]
    for symbol, check, factor in zip(made._symbol, made._check, made._factor, strict=True):
        rows[check].append((int(symbol), int(factor)))
    return rows


def sums(k, n, word):
    """What each check adds up to, symbol by symbol."""
    out = []
    for row in matrix(k, n):
        total = 0
        for symbol, factor in row:
            total ^= int(MUL[factor, word[symbol]])
        out.append(total)
    return out


@every
def test_encoded_words_satisfy_every_check(k, n):
    word = code(k, n).encode(information(k))
    assert np.array_equal(word[:k], information(k))
    assert len(word) == n
    assert code(k, n).satisfied(word)
    assert not any(sums(k, n, word))


@every
def test_one_changed_symbol_is_seen_by_its_checks_alone(k, n):
    word = code(k, n).encode(information(k))
    for place in (0, 1, k - 1, k, n - 1):
        wrong = word.copy()
        wrong[place] ^= 5
        unsatisfied = [check for check, total in enumerate(sums(k, n, wrong)) if total]
        assert not code(k, n).satisfied(wrong)
        met = [check for check, row in enumerate(matrix(k, n)) for s, _ in row if s == place]
        assert sorted(set(met)) == unsatisfied
        assert len(met) == (2 + place % 2 if place < k else 1 if place == n - 1 else 2)


@every
def test_linear(k, n):
    one, two = information(k, 1), information(k, 2)
    encode = code(k, n).encode
    assert np.array_equal(encode(one ^ two), encode(one) ^ encode(two))
    assert np.array_equal(encode(MUL[7, one]), MUL[7, encode(one)])
    assert not encode(one * 0).any()


@every
def test_no_information_symbol_alone_is_near_a_code_word(k, n):
    """Checks APART from each other keep the running sum up for so long."""
    for place in range(0, k, max(1, k // 50)):
        single = np.zeros(k, np.uint8)
        single[place] = 1
        assert np.count_nonzero(code(k, n).encode(single)[k:]) >= APART


@every
def test_checks_of_a_symbol_are_apart_and_share_the_edges(k, n):
    made = code(k, n)
    edges = made._edges
    assert edges == 5 * k // 2
    met = [made._check[:edges][made._symbol[:edges] == i] for i in range(k)]
    assert all(len(m) == 2 + i % 2 for i, m in enumerate(met))
    assert min(np.diff(np.sort(m)).min() for m in met) >= APART
    degree = np.bincount(made._check[:edges], minlength=n - k)
    assert degree.max() - degree.min() <= 1
    assert made._factor.min() >= 1


def test_the_codes_are_these_and_no_others():
    """Both ends of a link make them for themselves."""
    digest = hashlib.sha256()
    for k, n in SIZES:
        made = ldpc.Code(k, n - k)
        for table in (made._symbol, made._check, made._factor):
            digest.update(table.astype("<i8").tobytes())
    assert digest.hexdigest() == PINNED


PINNED = "75f0c02d672f10c49b3a6f09ad5e55c7e60c20d4f6a6690c6cb5d7e22d770dd0"


# Decoding -----------------------------------------------------------------------------------------


@every
def test_clean_word(k, n):
    word = code(k, n).encode(information(k))
    certain = np.eye(16, dtype=np.float32)[word]
    assert np.array_equal(code(k, n).decode(certain), word)


@every
def test_erasures_half_of_what_the_parity_could_fill(k, n):
    made, random = code(k, n), np.random.default_rng(1)
    word = made.encode(information(k))
    likelihood = np.eye(16, dtype=np.float32)[word]
    likelihood[random.permutation(n)[: (n - k) // 2]] = 1
    assert np.array_equal(made.decode(likelihood), word)


def test_at_least_usable_noise_few_are_lost():
    assert lost(*ROBUST, 3.8, 40) <= 1


def test_in_too_much_noise_it_gives_up():
    assert lost(*ROBUST, 1.5, 5) == 5


def test_high_rates():
    assert lost(*SIZES[7], 5.5, 10) <= 1
    assert lost(*SIZES[8], 6.5, 10) <= 1


@pytest.mark.slow
def test_few_are_lost_at_3_1_db():
    """One in thirty (wire 7.4)."""
    assert lost(*ROBUST, 3.1, 600) <= 30


ODD = ["equal", "certain zero", "one nonzero", "tiny", "huge", "denormal", "uniform", "two spikes"]


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(("k", "n"), [SIZES[0], SIZES[8]])
def test_strange_rows(kind, k, n):
    made, random = code(k, n), np.random.default_rng(1)
    rows = {
        "equal": np.ones((n, 16)),
        "certain zero": np.eye(16)[np.zeros(n, int)],
        "one nonzero": np.eye(16)[random.integers(0, 16, n)],
        "tiny": random.random((n, 16)) * 1e-30,
        "huge": random.random((n, 16)) * 1e30,
        "denormal": np.eye(16)[random.integers(0, 16, n)] * 1e-44,
        "uniform": random.random((n, 16)),
        "two spikes": np.eye(16)[random.integers(0, 16, n)] + np.eye(16)[random.integers(0, 16, n)],
    }[kind].astype(np.float32)
    word = made.decode(rows, rounds=5)
    assert word is None or made.satisfied(word)
    if kind in ("equal", "certain zero"):
        assert not word.any()


@examples(30)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1), rounds=st.integers(0, 4))
def test_whatever_comes_out_satisfies_the_checks(seed, share, rounds):
    made, random = code(*SIZES[0]), np.random.default_rng(seed)
    word = made.encode(information(made.k, seed % 100))
    likelihood = np.eye(16, dtype=np.float32)[word]
    spoilt = random.random(len(word)) < share
    likelihood[spoilt] = random.random((int(spoilt.sum()), 16)) ** 4
    heard = made.decode(likelihood, rounds)
    assert heard is None or made.satisfied(heard)
    if not spoilt.any():
        assert np.array_equal(heard, word)


def test_the_likelihoods_are_left_alone():
    word = code(*ROBUST).encode(information(ROBUST[0]))
    heard = noisy(word, 7, np.random.default_rng(1))
    before = heard.copy()
    code(*ROBUST).decode(heard)
    assert np.array_equal(before, heard)
