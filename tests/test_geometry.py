"""What follows from a geometry, and which ones are impossible."""

import pytest

from diode.code import CODES
from diode.geometry import MAX_BLOCKS, Geometry

GOOD = Geometry(1000, CODES["zfec"].id, 5, 7, 64)


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Geometry(1000, 9, 5, 7, 64), "code 9"),
        (Geometry(1000, 1, 5, 7, 64, cipher=7), "cipher 7"),
        (Geometry(1000, 1, 5, 7, 0), "symbol size 0"),
        (Geometry(1000, 1, 5, 7, 16_361), "symbol size 16361"),
        (Geometry(1000, 1, 0, 7, 64), "k = 0"),
        (Geometry(1000, 1, 256, 300, 64), "1 … 255"),
        (Geometry(1000, 1, 1, 7, 8), "no data"),
        (Geometry(-1, 1, 5, 7, 64), "size -1"),
        (Geometry(1 << 63, 0, 65_535, 65_535, 16_360), "size"),
        (Geometry(MAX_BLOCKS * 8 + 1, 1, 1, 7, 16), "block numbers end"),
        (Geometry(1000, 3, 5, 7, 65), "multiples of 64"),
        (Geometry(1000, 2, 5, 7, 12), "multiples of 8"),
        (Geometry(1 << 40, 3, 32_769, 40_000, 64), "1 … 32768"),
        (Geometry(1 << 40, 2, 4469, 7000, 1408), "1 … 4468"),
    ],
)
def test_impossible(cut: Geometry, words: str) -> None:
    assert words in cut.problem()


def test_blocks_and_their_lengths() -> None:
    assert GOOD.problem() == ""
    assert (GOOD.block_data, GOOD.blocks) == (312, 4)
    assert [GOOD.length(b) for b in range(4)] == [312, 312, 312, 64]
    assert [GOOD.source_symbols(b) for b in range(4)] == [5, 5, 5, 2]
    assert [GOOD.frames(b) for b in range(4)] == [7, 7, 7, 4]
    assert GOOD.data_frames == 25
    nothing = Geometry(0, 0, 1, 3, 64)
    assert (nothing.blocks, nothing.data_frames, nothing.problem()) == (0, 0, "")


def test_the_code_is_made_for_what_is_sent() -> None:
    once = Geometry(10**6, CODES["leopard"].id, 1000, 1100, 64, passes=1)
    for_ever = Geometry(10**6, CODES["leopard"].id, 1000, 1100, 64, passes=0)
    assert once.coding.numbers(1000) == 1128
    assert for_ever.coding.numbers(1000) == 2024
