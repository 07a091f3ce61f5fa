"""Blocks from symbols in any order, any number of times, some of them wrong."""

import random as randomness

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import content, examples

from diode import block as block_layer
from diode.code import CODES
from diode.collector import Collector
from diode.geometry import Geometry
from diode.suspect import MAX_TRIALS, MOST_BLOCKS, Spent, Suspect

S = 16


class Blocks:
    """An object cut into coded blocks, and a collector for them."""

    def __init__(self, blocks=3, k=5, code="zfec", short=0, seed=1, symbol=S):
        self.code = CODES[code]
        data = k * symbol - block_layer.CHECK
        size = blocks * data - short
        self.geometry = Geometry(size, self.code.id, k, 2 * k, symbol)
        self.content = content(size, seed)
        self.numbers = self.code.walk(k)
        self.symbols = []
        for b in range(blocks):
            flat = np.zeros(k * symbol, np.uint8)
            part = self.content[b * data : (b + 1) * data]
            flat[: len(part)] = np.frombuffer(part, np.uint8)
            block_layer.CRC.close(flat, len(part), b)
            self.symbols.append(self.code.encode(flat.reshape(k, symbol), np.arange(self.numbers)))
        self.collector = Collector(self.geometry, self.code)
        self.recovered = {}

    def give(self, *places, wrong=()):
        """Add these (block, symbol) in one call; those in `wrong` with another content."""
        payload = [self.symbols[b][n] ^ np.uint8(0x5A if (b, n) in wrong else 0) for b, n in places]
        return self.take(
            self.collector.add(
                np.array([b for b, _ in places], np.int64),
                np.array([n for _, n in places], np.int64),
                np.stack(payload),
            )
        )

    def take(self, found):
        for one in found:
            assert one.block not in self.recovered
            self.recovered[one.block] = one.data.tobytes()
        self.collector.release()
        return [one.block for one in found]

    @property
    def right(self):
        data = self.geometry.block_data
        return all(v == self.content[b * data : (b + 1) * data] for b, v in self.recovered.items())


def test_source_symbols_alone_need_no_decoding():
    blocks = Blocks()
    found = blocks.collector.add(np.zeros(5, np.int64), np.arange(5), blocks.symbols[0][:5])
    assert [(f.block, f.decoded) for f in found] == [(0, False)]
    found = blocks.collector.add(np.ones(5, np.int64), np.arange(4, 9), blocks.symbols[1][4:9])
    assert [(f.block, f.decoded) for f in found] == [(1, True)]
    assert not blocks.collector.complete and blocks.collector.done.tolist() == [True, True, False]


@examples(80)
@given(
    st.sampled_from(["zfec", "repeat"]),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(0, 60),
    st.integers(0, 2**32),
)
def test_neither_order_nor_duplicates_nor_batches_matter(code, count, k, short, seed):
    random = randomness.Random(seed)
    blocks = Blocks(count, k, code, short=min(short, k * S - block_layer.CHECK - 1))
    places = []
    for b in range(count):
        needed = blocks.geometry.source_symbols(b)
        there = [n for n in range(blocks.numbers) if n < needed or n >= k]
        places += [(b, n) for n in random.sample(there, needed)]
    sufficient = list(places)
    places += random.choices(sufficient, k=random.randrange(20))
    random.shuffle(places)
    at = 0
    while at < len(places):
        step = random.randrange(1, 12)
        blocks.give(*places[at : at + step])
        at += step
    assert blocks.collector.complete and blocks.right
    assert len(blocks.recovered) == count
    assert blocks.collector.memory == 0 and blocks.collector.open_blocks == []


def test_one_symbol_less_is_not_enough():
    blocks = Blocks(1, 6)
    blocks.give(*[(0, n) for n in (0, 7, 100, 3, 200)])
    assert not blocks.recovered and blocks.collector.held(0) == 5
    blocks.give((0, 7), (0, 3), (0, 200))
    assert not blocks.recovered and blocks.collector.duplicates == 3
    assert blocks.give((0, 8)) == [0]
    assert blocks.collector.held(0) == 0
    blocks.give((0, 1), (0, 9))
    assert blocks.collector.duplicates == 5


def test_a_shortened_block():
    blocks = Blocks(2, 6, short=60)
    needed = blocks.geometry.source_symbols(1)
    assert needed < 6
    blocks.give((1, 0))
    assert blocks.collector.held(1) == 1 + 6 - needed
    assert blocks.give(*[(1, 50 + i) for i in range(needed - 1)]) == [1]
    assert blocks.right


def test_valid():
    blocks = Blocks(3, 5)
    valid = blocks.collector.valid(np.array([0, 2, 3, 0]), np.array([255, 0, 0, 256]))
    assert valid.tolist() == [True, True, False, False]


def test_an_empty_object_is_complete():
    assert Collector(Geometry(0, 0, 1, 6, S), CODES["repeat"]).complete


def test_memory_is_that_of_the_open_blocks():
    blocks = Blocks(50, 5)
    assert blocks.collector.memory == 0
    for b in range(50):
        blocks.give((b, 0))
        blocks.give((b, 9))
        assert blocks.collector.memory == (b + 1) * (5 * S + S)
    assert blocks.collector.open_blocks == list(range(50))
    for b in range(50):
        blocks.give((b, 1), (b, 2), (b, 3))
    assert blocks.collector.memory == 0 and blocks.right and len(blocks.recovered) == 50
    assert len(blocks.collector._source) <= 50


def test_slots_are_used_again_only_after_release():
    blocks = Blocks(3, 2)
    first = blocks.collector.add(np.zeros(2, np.int64), np.arange(2), blocks.symbols[0][:2])[0]
    kept = first.data.tobytes()
    blocks.collector.add(np.ones(2, np.int64), np.arange(2), blocks.symbols[1][:2])
    assert first.data.tobytes() == kept
    blocks.collector.release()
    before = len(blocks.collector._source)
    blocks.give((2, 0), (2, 1))
    assert len(blocks.collector._source) == before


# Wrong symbols ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 3, 7, 200])
@pytest.mark.parametrize("place", range(5))
def test_one_wrong_symbol_costs_one_more(at, place):
    blocks = Blocks(1, 5)
    numbers = [n for n in (1, 4, 9, 55, 77) if n != at]
    numbers.insert(place, at)
    for n in numbers[:5]:
        blocks.give((0, n), wrong={(0, at)})
    if at not in numbers[:5]:
        assert blocks.recovered
        return
    assert not blocks.recovered and blocks.collector.spoiled == [0]
    assert blocks.collector.memory >= 5 * S
    blocks.give((0, numbers[0]), wrong={(0, at)})  # heard before: no news
    assert not blocks.recovered
    assert blocks.give((0, 123)) == [0]
    assert blocks.right


@pytest.mark.parametrize("wrong", [2, 9])
def test_the_right_content_of_the_wrong_number_is_enough(wrong):
    blocks = Blocks(1, 5)
    blocks.give(*[(0, n) for n in (0, 1, 2, 3, 9)], wrong={(0, wrong)})
    assert blocks.collector.spoiled == [0]
    assert blocks.give((0, wrong)) == [0]
    assert blocks.right


def test_two_contents_of_one_number_before_the_block_is_full():
    for order in ((True, False), (False, True)):
        blocks = Blocks(1, 4)
        for bad in order:
            blocks.give((0, 1), wrong={(0, 1)} if bad else ())
        blocks.give((0, 0), (0, 2), (0, 3))
        if not blocks.recovered:
            assert blocks.give((0, 200)) == [0]
        assert blocks.right


def test_two_contents_of_one_parity_number():
    for order in ((True, False), (False, True)):
        blocks = Blocks(1, 4)
        for bad in order:
            blocks.give((0, 77), wrong={(0, 77)} if bad else ())
        blocks.give((0, 0), (0, 2), (0, 3))
        if not blocks.recovered:
            assert blocks.give((0, 77)) == [0]
        assert blocks.right


@pytest.mark.parametrize("code", ["zfec", "repeat"])
def test_every_single_wrong_symbol_is_overcome_by_a_second_pass(code):
    for wrong in range(6):
        blocks = Blocks(2, 6, code)
        blocks.give(*[(b, n) for n in range(6) for b in range(2)], wrong={(1, wrong)})
        assert list(blocks.recovered) == [0] and blocks.collector.spoiled == [1]
        second = range(6) if code == "repeat" else range(6, 12)
        blocks.give(*[(1, n) for n in second])
        assert blocks.collector.complete and blocks.right


def test_a_wrong_symbol_of_a_shortened_block():
    blocks = Blocks(1, 6, short=50)
    needed = blocks.geometry.source_symbols(0)
    blocks.give(*[(0, n) for n in range(needed)], wrong={(0, 0)})
    assert blocks.collector.spoiled == [0]
    assert blocks.give((0, 99)) == [0] and blocks.right


def test_a_symbol_that_is_zero_by_definition_and_is_not():
    blocks = Blocks(1, 6, short=50)
    needed = blocks.geometry.source_symbols(0)
    blocks.give((0, 5), wrong={(0, 5)})
    blocks.give(*[(0, n) for n in range(needed)])
    if not blocks.recovered:
        blocks.give((0, 99))
    assert list(blocks.recovered) == [0] and blocks.right


def test_a_block_that_became_suspect_in_one_batch_with_others():
    blocks = Blocks(3, 4)
    everything = [(b, n) for b in range(3) for n in range(4)]
    blocks.give(*everything, wrong={(0, 2), (2, 3)})
    assert blocks.collector.spoiled == [0, 2]
    blocks.give((0, 40), (2, 41), (1, 42), (0, 43))
    assert blocks.collector.complete and blocks.right


def test_a_wrong_symbol_and_what_makes_up_for_it_in_one_batch():
    blocks = Blocks(2, 4)
    first = [(b, n) for n in (0, 1, 2, 3, 99) for b in range(2)]
    assert sorted(blocks.give(*first, wrong={(0, 2)})) == [0, 1]
    assert blocks.collector.spoiled == [0] and blocks.right
    blocks = Blocks(2, 4)
    second = [(0, n) for n in (3, 99, 0, 50, 100, 150)]
    assert blocks.give(*second, wrong={(0, 99)}) == [0] and blocks.right


def test_other_blocks_go_on_beside_a_suspect_one():
    blocks = Blocks(2, 4)
    blocks.give(*[(0, n) for n in range(4)], wrong={(0, 2)})
    assert blocks.give(*[(1, n) for n in range(4)]) == [1]
    assert blocks.give((0, 7)) == [0] and blocks.right


@pytest.mark.parametrize("code", ["zfec", "repeat"])
def test_many_wrong_symbols_end_in_a_new_beginning(code):
    blocks = Blocks(1, 6, code)
    wrong = {(0, 0), (0, 1), (0, 2)}
    blocks.give(*[(0, n) for n in range(6)], wrong=wrong)
    rng = np.random.default_rng(1)
    collector = blocks.collector
    for _ in range(400):
        noise = rng.integers(0, 256, (1, S), np.uint8)
        blocks.take(collector.add(np.array([0]), np.array([int(rng.integers(0, 6))]), noise))
        assert collector.memory <= (6 + 6 + MAX_TRIALS) * S
        if not collector._suspects:
            break
    else:
        pytest.fail("wrong symbols are kept for ever")
    assert not blocks.recovered
    last = blocks.numbers - 1
    blocks.give(*[(0, n) for n in range(6)])
    if not blocks.recovered:  # the last wrong symbol came after the new beginning
        blocks.give((0, last), *[(0, n) for n in range(6)])
    assert list(blocks.recovered) == [0] and blocks.right


def test_a_block_found_at_the_last_trial_is_kept():
    blocks = Blocks(1, 5)
    blocks.give(*[(0, n) for n in range(5)], wrong={(0, 3)})
    blocks.collector._suspects[0].trials = MAX_TRIALS - 5  # with all of them, then without each
    assert blocks.give((0, 99)) == [0]
    assert blocks.right


def test_hostile_work_is_bounded(monkeypatch):
    decodings = 0
    blocks = Blocks(1, 6)
    code = blocks.collector.code
    real = type(code).fill

    def counting(self, *arguments):
        nonlocal decodings
        decodings += 1
        return real(self, *arguments)

    monkeypatch.setattr(type(code), "fill", counting)
    rng = np.random.default_rng(2)
    count = 250
    for _ in range(count):
        payload = rng.integers(0, 256, (1, S), np.uint8)
        blocks.collector.add(np.array([0]), rng.integers(0, 256, 1), payload)
    # A symbol may cause a decoding for each of those before it; they end with the trials.
    assert decodings <= count * 60
    assert not blocks.recovered


def parked_again_and_again(blocks, rounds, monkeypatch):
    """Decodings in each round in which one frame has a parked, spoiled block restored."""
    decodings = []
    decode = Suspect._decode
    monkeypatch.setattr(Suspect, "_decode", lambda *args: decodings.append(1) or decode(*args))
    k, collector = blocks.geometry.k, blocks.collector
    store = {}
    rng = np.random.default_rng(1)
    wrong = {(0, n) for n in (3, 4, 5, 6)}  # three too many
    blocks.give(*[(0, n) for n in range(k + 12)], wrong=wrong)
    costs = []
    for turn in range(rounds):
        numbers, symbols = collector.park(0)
        store |= {(int(n), s.tobytes()): s for n, s in zip(numbers, symbols, strict=True)}
        decodings.clear()
        noise = rng.integers(0, 256, (1, S), np.uint8)
        blocks.take(collector.add(np.array([0]), np.array([k + 20 + turn]), noise))
        numbers = np.array([n for n, _ in store])
        blocks.take(collector.restore(0, numbers, np.stack(list(store.values()))))
        costs.append(len(decodings))
    return costs


def test_parking_does_not_give_a_suspect_block_its_trials_back(monkeypatch):
    """Forged symbols and a receiver with little memory: a frame must not buy a budget."""
    k, rounds = 60, 60
    costs = parked_again_and_again(Blocks(1, k), rounds, monkeypatch)
    earned = MAX_TRIALS / k  # of one symbol
    assert sum(costs) <= MAX_TRIALS + rounds * (earned + 2)
    assert max(costs[-20:]) <= earned * 2 + 2


def test_a_spoiled_and_parked_block_is_recovered_from_as_many_new_symbols(monkeypatch):
    blocks = Blocks(1, 60)
    parked_again_and_again(blocks, 40, monkeypatch)
    assert not blocks.recovered
    for first in (60, 121):  # the first of these ends the search, and some are lost with it
        if not blocks.recovered:
            blocks.give(*[(0, n) for n in range(first, first + 61)])
    assert list(blocks.recovered) == [0] and blocks.right


def costly(blocks, trials):
    return Suspect(blocks.geometry, blocks.code, block_layer.CRC, 0, [], trials)


def test_spent_trials_are_earned_back_by_what_is_heard():
    blocks = Blocks(2, 10)
    spent = Spent(blocks.geometry)
    spent.keep(0, costly(blocks, 1000))
    spent.keep(1, None)
    spent.keep(1, costly(blocks, 0))
    spent.heard(np.array([1, 1, 1]))
    assert (spent.of(0), spent.of(1)) == (1000, 0)
    spent.heard(np.array([0, 0, 1, 0]))
    assert spent.of(0) == int(1000 - 3 * MAX_TRIALS / 10)
    spent.heard(np.zeros(10, np.int64))
    assert spent.of(0) == 0
    spent.keep(1, costly(blocks, 5))
    spent.forget(1)
    assert spent.of(1) == 0


def test_spent_trials_of_few_blocks_are_remembered():
    blocks = Blocks(2, 10)
    spent = Spent(blocks.geometry)
    spent.keep(7, costly(blocks, 900))
    for block in range(100, 100 + 2 * MOST_BLOCKS):
        spent.keep(block, costly(blocks, 1 + block % 50))
    assert len(spent._trials) == MOST_BLOCKS
    assert spent.of(7) == 900, "the dearest is kept"


# Wide codes ---------------------------------------------------------------------------------

leopard, raptorq = (
    pytest.mark.skipif(bool(CODES[n].lacks), reason=f"{CODES[n].lacks} is not installed")
    for n in ("leopard", "raptorq")
)


class NotYet:
    """A code as zfec, of which k symbols do not suffice, nor any number below `enough`."""

    spare = 4

    def __init__(self, enough):
        self.enough = enough
        self.fills = 0
        self.real = CODES["zfec"]

    def meant_for(self, most):
        return self

    def numbers(self, k):
        return self.real.numbers(k)

    def fill(self, block, missing, numbers, symbols):
        self.fills += 1
        if len(block) - len(missing) + len(numbers) < self.enough:
            return False
        count = len(missing)
        return self.real.fill(block, missing, numbers[:count], symbols[:count])


def not_yet(enough):
    blocks = Blocks(1, 5)
    blocks.collector = Collector(blocks.geometry, NotYet(enough))
    return blocks


def test_a_code_that_wants_more_than_k():
    blocks = not_yet(7)
    blocks.give(*[(0, n) for n in (0, 1, 9, 10, 11)])
    assert not blocks.recovered and blocks.collector.spoiled == []
    tried = blocks.collector.code.fills
    blocks.give((0, 9), (0, 1))  # nothing new: nothing is tried
    assert blocks.collector.code.fills == tried == 1
    blocks.give((0, 2))
    assert not blocks.recovered
    assert blocks.give((0, 12)) == [0] and blocks.right
    assert blocks.collector.code.fills == 3


def test_a_block_that_all_spare_symbols_do_not_solve_begins_anew():
    blocks = not_yet(100)
    blocks.give(*[(0, n) for n in range(50, 59)])
    assert blocks.collector.held(0) == 0
    assert blocks.give(*[(0, n) for n in range(5)]) == [0] and blocks.right


@raptorq
def test_raptorq_blocks_from_any_symbols():
    for seed in range(60):
        blocks = Blocks(1, 6, "raptorq", seed=seed)
        order = randomness.Random(seed).sample(range(blocks.numbers), 6 + 4)
        heard = 0
        while not blocks.recovered:
            blocks.give((0, order[heard]))
            heard += 1
        assert blocks.right and 6 <= heard <= 10


@raptorq
def test_a_wrong_symbol_in_a_raptorq_block():
    for wrong in (0, 4, 20):
        blocks = Blocks(1, 6, "raptorq")
        blocks.give(*[(0, n) for n in (0, 1, 4, 20, 30, 40)], wrong={(0, wrong)})
        assert blocks.collector.spoiled == [0]
        for more in range(7, 7 + 2 + 4):
            blocks.give((0, more))
        assert blocks.right and blocks.recovered


@leopard
@pytest.mark.parametrize("wrong", [(3,), (1999,), (2001,), (1999, 1997), (1999, 7)])
def test_wrong_symbols_of_a_wide_block_are_left_out_several_at_a_time(wrong, monkeypatch):
    k = 2000
    blocks = Blocks(1, k, "leopard", symbol=1024)
    decodings = 0
    real = type(blocks.code).fill

    def counting(self, *arguments):
        nonlocal decodings
        decodings += 1
        return real(self, *arguments)

    monkeypatch.setattr(type(blocks.code), "fill", counting)
    heard = [n for n in range(k + 2) if n not in (5, 6)]
    blocks.give(*[(0, n) for n in heard], wrong={(0, n) for n in wrong})
    assert blocks.collector.spoiled == [0]
    bounds = Suspect(blocks.geometry, blocks.code, block_layer.CRC, 0, ())
    apart = bounds._at_a_time
    assert 1 < apart < k // 20
    for first in range(k + 2, k + 2 + 4 * apart, 3):
        blocks.give(*[(0, n) for n in range(first, first + 3)])
        if blocks.recovered or not blocks.collector._suspects:
            break
    assert blocks.right and bool(blocks.recovered) == (wrong != (1999, 7))  # too far apart
    assert not blocks.collector._suspects
    assert decodings <= bounds._most + 1


# Parking ------------------------------------------------------------------------------------


def test_park_and_restore():
    blocks = Blocks(3, 5, short=30)
    blocks.give((2, 0), (2, 90), (0, 1))
    numbers, symbols = blocks.collector.park(2)
    assert numbers.tolist() == [0, 90]
    assert (symbols == blocks.symbols[2][[0, 90]]).all()
    assert blocks.collector.open_blocks == [0] and list(blocks.collector.parked) == [2]
    assert blocks.collector.wanted == []
    blocks.give((2, 1))
    assert blocks.collector.wanted == [2] and not blocks.collector.parked
    blocks.take(blocks.collector.restore(2, numbers, symbols))
    assert blocks.collector.held(2) == 3 + 5 - blocks.geometry.source_symbols(2)
    blocks.give(*[(2, 100 + i) for i in range(2)])
    assert blocks.right and 2 in blocks.recovered


def test_what_was_kept_is_not_handed_out_twice():
    blocks = Blocks(1, 6)
    kept = {}
    for fresh in ((0, 0), (0, 200)), ((0, 3), (0, 201)), ():
        if fresh:
            blocks.give(*fresh)
        if kept:
            numbers = np.array(list(kept))
            blocks.take(blocks.collector.restore(0, numbers, np.stack(list(kept.values()))))
        numbers, symbols = blocks.collector.park(0)
        assert numbers.tolist() == [n for _, n in fresh]
        assert not kept.keys() & set(numbers.tolist())
        kept.update(zip(numbers.tolist(), symbols, strict=True))
    assert sorted(kept) == [0, 3, 200, 201]
    numbers = np.array(list(kept))
    blocks.take(blocks.collector.restore(0, numbers, np.stack(list(kept.values()))))
    assert blocks.give((0, 5), (0, 250)) == [0] and blocks.right


def saved(blocks):
    return [(block, numbers.tolist()) for block, numbers, _ in blocks.collector.unsaved()]


def test_saved_is_what_was_there_the_time_before_and_is_not_whole_yet():
    blocks = Blocks(2, 3)
    blocks.give((0, 0), (1, 1))
    assert saved(blocks) == []
    blocks.give((0, 1), (0, 2), (1, 50))  # the first one is whole, and needs no keeping
    assert saved(blocks) == [(1, [1, 50])]
    assert saved(blocks) == []  # it is kept
    blocks.collector.not_saved([1])
    assert saved(blocks) == [(1, [1, 50])]


def test_saving_that_is_broken_off_goes_on_there():
    blocks = Blocks(3, 3)
    blocks.give((0, 0), (1, 0), (2, 0))
    assert saved(blocks) == []
    (first, *_), blocks_left = next(blocks.collector.unsaved()), {0, 1, 2}
    blocks_left.discard(first)
    assert {block for block, _ in saved(blocks)} == blocks_left


def test_restoring_can_complete_a_block():
    blocks = Blocks(1, 4)
    blocks.give((0, 0), (0, 9), (0, 3))
    numbers, symbols = blocks.collector.park(0)
    blocks.give((0, 77))
    assert blocks.take(blocks.collector.restore(0, numbers, symbols)) == [0]
    assert blocks.right and not blocks.collector.parked


def test_parking_a_suspect_block():
    blocks = Blocks(1, 4)
    blocks.give(*[(0, n) for n in range(4)], wrong={(0, 2)})
    numbers, symbols = blocks.collector.park(0)
    assert numbers.tolist() == [0, 1, 2, 3] and blocks.collector.memory == 0
    blocks.collector.spoiled.clear()
    blocks.take(blocks.collector.restore(0, numbers, symbols))
    assert blocks.collector.spoiled == [0]
    assert blocks.give((0, 99)) == [0] and blocks.right


def test_marking():
    blocks = Blocks(3, 2)
    blocks.collector.mark_done(np.array([True, False, True]))
    assert blocks.collector.done_count == 2
    blocks.give((0, 0), (1, 0), (1, 1), (2, 1))
    assert blocks.collector.complete and list(blocks.recovered) == [1]
    blocks.collector.mark_missing([0, 1])
    assert blocks.collector.done_count == 1
    blocks.recovered.clear()
    blocks.give((0, 0), (1, 0), (1, 1), (0, 5))
    assert blocks.collector.complete and blocks.right and set(blocks.recovered) == {0, 1}
