import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import record_group
from diode.record_group import CHECK, Groups, parity


def payloads_of(count, seed=1):
    chance = random.Random(seed)
    return [chance.randbytes(chance.randint(20, 200)) for _ in range(count)]


@examples(60)
@given(st.integers(1, 32), st.floats(0.1, 1.0), st.randoms(use_true_random=False))
def test_any_that_are_enough_give_back_the_others(count, redundancy, chance):
    payloads = payloads_of(count, chance.randint(0, 99))
    added = parity(payloads, redundancy)
    symbols = [(n, p.tobytes()) for n, p in zip(added.numbers, added.payloads, strict=True)]
    lost = set(chance.sample(range(count), min(count, len(symbols))))
    frames = [(n, p) for n, p in enumerate(payloads) if n not in lost] + symbols
    chance.shuffle(frames)
    groups, found = Groups(), []
    for number, payload in frames + frames:
        if number < count:
            found += groups.source(5, number, payload)
        else:
            found += groups.parity(5, added.k, number, payload)
    longest = max(map(len, payloads))
    wanted = [payloads[n].ljust(longest, b"\0") for n in sorted(lost)]
    assert sorted(found) == sorted(wanted)
    assert (groups.repaired, groups.spoiled) == (len(lost), 0)


def test_too_few_give_nothing():
    payloads = payloads_of(8)
    added = parity(payloads, 0.25)
    groups = Groups()
    for number in range(5):
        assert groups.source(1, number, payloads[number]) == []
    for number, payload in zip(added.numbers, added.payloads, strict=True):
        assert groups.parity(1, 8, number, payload.tobytes()) == []
    assert groups.source(1, 5, payloads[5]) != []


def test_a_wrong_frame_spoils_its_group_and_gives_nothing():
    payloads = payloads_of(4)
    added = parity(payloads, 0.25)
    groups = Groups()
    groups.source(1, 0, b"wrong")
    groups.source(1, 1, payloads[1])
    groups.source(1, 2, payloads[2])
    assert groups.parity(1, 4, 4, added.payloads[0].tobytes()) == []
    assert (groups.repaired, groups.spoiled) == (0, 1)


def test_a_frame_with_more_than_the_parity_covers():
    payloads = payloads_of(3)
    added = parity(payloads, 0.3)
    groups = Groups()
    groups.source(1, 0, payloads[0] + bytes(500) + b"x")
    groups.source(1, 1, payloads[1])
    assert groups.parity(1, 3, 3, added.payloads[0].tobytes()) == []
    assert groups.spoiled == 1


def test_zeros_beyond_are_fine():
    payloads = payloads_of(3)
    added = parity(payloads, 0.3)
    groups = Groups()
    groups.source(1, 0, payloads[0] + bytes(500))
    groups.source(1, 1, payloads[1])
    assert groups.parity(1, 3, 3, added.payloads[0].tobytes())[0].rstrip(b"\0") == payloads[2]


@pytest.mark.parametrize(
    ("k", "number", "size"), [(0, 5, 50), (65, 70, 50), (4, 3, 50), (4, 256, 50), (4, 9, CHECK)]
)
def test_parity_that_cannot_be_is_left_alone(k, number, size):
    groups = Groups()
    assert groups.parity(1, k, number, bytes(size)) == []
    assert groups._held == 0


def test_parity_that_contradicts_the_first_is_left_alone():
    groups = Groups()
    groups.parity(1, 4, 4, bytes(50))
    groups.parity(1, 5, 5, bytes(50))
    groups.parity(1, 4, 5, bytes(51))
    assert groups._held == 50


def test_groups_are_bounded():
    groups = Groups()
    for number in range(1000):
        groups.source(number, 0, bytes(8000))
    assert len(groups._open) <= record_group.OPEN
    assert groups._held <= record_group.HELD
    assert groups._held == sum(group.size for group in groups._open.values())


def test_fixed_width():
    added = parity([b"ab", b"c"], 0.5, 30)
    assert added.payloads.shape == (1, 30 + CHECK)
