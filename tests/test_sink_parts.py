"""Part files and their journal: what survives a restart, a torn write and a flipped bit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inboxes import BLOCK, SYMBOL, Thing, descriptors, some, unprivileged
from pair import examples

from diode.events import Key
from diode.sink import files, parts
from diode.sink.files import OpenFiles, folder_key, folder_name
from diode.sink.parts import Part

THING = Thing(some(5 * BLOCK + 17))
Open = Callable[..., Part]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def part_of(store: int, thing: Thing = THING, files: OpenFiles | None = None) -> Part:
    name = folder_name(thing.key)
    return Part(store, name, thing.manifest.geometry, thing.announcement, files)


def write(part: Part, *numbers: int, thing: Thing = THING) -> None:
    for number in numbers:
        part.write(number, number * BLOCK, thing.block(number))


def symbols(*numbers: int) -> tuple[np.ndarray, np.ndarray]:
    made = np.stack([np.full(SYMBOL, number + 1, np.uint8) for number in numbers])
    return np.array(numbers, np.int64), made


def path_of(folder: Path, name: str, thing: Thing = THING) -> Path:
    return folder / folder_name(thing.key) / name


def test_resumed_part_equals_the_one_that_was_closed(store: int) -> None:
    part = part_of(store)
    write(part, 4, 0, 2)
    part.park(1, *symbols(0, 3))
    part.park(3, *symbols(5))
    part.park(1, *symbols(4))
    part.checkpoint()
    done, blocks, size = part.done.copy(), part.parked_blocks, part.size
    kept = {block: part.parked(block) for block in blocks}
    part.close()
    again = part_of(store)
    assert again.done.tolist() == done.tolist() == [True, False, True, False, True, False]
    assert again.parked_blocks == blocks == [1, 3]
    assert again.size == size == 3 * BLOCK + path_size(store, again, "journal")
    for block in blocks:
        numbers, found = again.parked(block)
        assert numbers.tolist() == kept[block][0].tolist()
        assert np.array_equal(found, kept[block][1])
    write(again, 1, 3, 5)
    assert again.digest() == THING.manifest.digest
    again.close()


def path_size(store: int, part: Part, name: str) -> int:
    return os.stat(f"{part.name}/{name}", dir_fd=store).st_size


def test_blocks_are_not_in_the_journal_before_a_checkpoint(store: int) -> None:
    part = part_of(store)
    write(part, 0)
    part.close()
    assert not part_of(store).done.any()
    write(part, 0)
    part.checkpoint()
    part.checkpoint()  # nothing new: nothing written
    end = path_size(store, part, "journal")
    part.close()
    again = part_of(store)
    assert again.done.tolist()[:2] == [True, False]
    assert path_size(store, again, "journal") == end
    again.close()


def test_many_recovered_blocks_are_written_down_without_being_asked(
    store: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "UNWRITTEN", 2)
    part = part_of(store)
    write(part, 0, 1, 2)
    part.close()
    assert part_of(store).done.tolist()[:4] == [True, True, False, False]


def test_symbols_of_several_parkings_come_back_together(store: int) -> None:
    part = part_of(store)
    for numbers in ((0, 2), (5,), (1, 4)):
        part.park(2, *symbols(*numbers))
    part.park(4, *symbols(3))
    numbers, found = part.parked(2)
    assert numbers.tolist() == [0, 2, 5, 1, 4]
    assert found.shape == (5, SYMBOL)
    assert found[:, 0].tolist() == [1, 3, 6, 2, 5]
    nothing, none = part.parked(0)
    assert nothing.shape == (0,)
    assert none.shape == (0, SYMBOL)
    part.close()


def test_recovered_block_drops_its_parked_symbols(store: int) -> None:
    part = part_of(store)
    part.park(0, *symbols(0))
    part.park(1, *symbols(1))
    write(part, 0)
    assert part.parked_blocks == [1]
    assert not len(part.parked(0)[0])
    part.checkpoint()
    part.close()
    assert part_of(store).parked_blocks == [1]


def journal(folder: Path, store: int) -> tuple[bytes, list[int]]:
    """A journal with four records, and where each begins and ends."""
    part = part_of(store)
    ends = [0]
    for step in (
        lambda: (write(part, 0, 3), part.checkpoint()),
        lambda: part.park(1, *symbols(0, 5)),
        lambda: (write(part, 4), part.checkpoint()),
        lambda: part.park(2, *symbols(2)),
    ):
        step()
        ends.append(path_of(folder, "journal").stat().st_size)
    part.close()
    return path_of(folder, "journal").read_bytes(), ends


def state(part: Part) -> tuple[list[bool], list[int]]:
    return part.done.tolist(), part.parked_blocks


AFTER = [
    ([False] * 6, []),
    ([True, False, False, True, False, False], []),
    ([True, False, False, True, False, False], [1]),
    ([True, False, False, True, True, False], [1]),
    ([True, False, False, True, True, False], [1, 2]),
]


def test_every_truncation_keeps_the_records_before_it(tmp_path: Path, store: int) -> None:
    whole, ends = journal(tmp_path, store)
    path = path_of(tmp_path, "journal")
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        part = part_of(store)
        records = sum(end <= length for end in ends) - 1
        assert state(part) == AFTER[records], length
        assert path.stat().st_size == ends[records], "the torn record is cut off"
        part.park(5, *symbols(1))
        part.close()
        again = part_of(store)
        assert again.parked_blocks == [*AFTER[records][1], 5], "what follows is readable"
        again.close()


def test_bit_flips_lose_records_and_never_make_wrong_ones(tmp_path: Path, store: int) -> None:
    whole, ends = journal(tmp_path, store)
    path = path_of(tmp_path, "journal")
    data = path_of(tmp_path, "data").read_bytes()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        path.write_bytes(broken)
        part = part_of(store)
        hit = sum(end <= at for end in ends) - 1
        assert state(part) == AFTER[hit], at
        part.close()
    path_of(tmp_path, "data").write_bytes(data)


@examples(200)
@given(st.binary(max_size=200))
def test_any_journal_loads(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = os.open(folder, os.O_RDONLY)
    part_of(store).close()
    path_of(folder, "journal").write_bytes(content)
    part = part_of(store)
    assert state(part) == AFTER[0]
    assert path_of(folder, "journal").stat().st_size == 0
    part.close()
    os.close(store)


def test_records_with_right_checks_and_senseless_numbers_are_passed_over(
    tmp_path: Path, store: int
) -> None:
    part = part_of(store)
    part.park(6, *symbols(0))  # the object ends at block 5
    part.park(0, np.array([0]), np.zeros((1, SYMBOL + 1), np.uint8))
    part._unwritten = [(6, 1), (2, 1)]
    part.checkpoint()
    part.close()
    again = part_of(store)
    assert state(again) == ([False, False, True, False, False, False], [])
    again.close()
    with path_of(tmp_path, "journal").open("ab") as file:
        file.write(parts.RECORD.pack(b"S", 0, 1 << 31, 1 << 31) + bytes(100))
    again = part_of(store)
    assert state(again)[0][2]
    again.close()


def test_wrong_blocks_are_named_and_come_again(tmp_path: Path, store: int) -> None:
    part = part_of(store)
    write(part, *range(6))
    assert part.digest() == THING.manifest.digest
    part.checkpoint()
    part.close()
    held = path_size(store, part, "journal") + len(THING.content)
    data = bytearray(path_of(tmp_path, "data").read_bytes())
    data[3 * BLOCK + 100] ^= 1
    path_of(tmp_path, "data").write_bytes(data)
    part = part_of(store)
    assert part.size == held
    assert part.digest() != THING.manifest.digest
    assert part.wrong_blocks() == [3]
    assert not part.done[3]
    assert part.done.sum() == 5
    assert part.size == held - BLOCK
    part.checkpoint()
    part.close()
    part = part_of(store)
    assert not part.done[3], "a restart does not forget it"
    write(part, 3)
    part.checkpoint()
    assert part.digest() == THING.manifest.digest
    assert part.wrong_blocks() == []
    part.close()
    assert part_of(store).done.all()


def test_lost_data_is_wrong_in_every_block(tmp_path: Path, store: int) -> None:
    part = part_of(store)
    write(part, *range(6))
    part.checkpoint()
    part.close()
    os.truncate(path_of(tmp_path, "data"), BLOCK + 1)
    part = part_of(store)
    assert part.digest() != THING.manifest.digest
    assert part.wrong_blocks() == [1, 2, 3, 4, 5]
    part.close()


def test_wrong_digest_with_right_blocks_begins_anew(tmp_path: Path, store: int) -> None:
    part = part_of(store)
    write(part, *range(6))
    part.park(0, *symbols(1))
    assert part.wrong_blocks() == []
    part.begin_anew()
    assert state(part) == AFTER[0]
    assert part.size == 0
    assert part.digest() == hashlib.sha256(bytes(len(THING.content))).digest()
    assert path_of(tmp_path, "data").read_bytes() == b""
    part.close()
    assert state(part_of(store)) == AFTER[0]


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1), (1, 0, 5, 3, 2, 4)])
def test_digest_does_not_depend_on_the_order_of_blocks(store: int, order: range) -> None:
    part = part_of(store)
    write(part, *order)
    assert part.digest() == THING.manifest.digest
    part.close()


def test_other_announcement_means_other_content(tmp_path: Path, store: int) -> None:
    part = part_of(store)
    write(part, 0, 1)
    part.park(2, *symbols(0))
    part.checkpoint()
    part.close()
    other = Thing(some(2 * BLOCK, 2))
    part = part_of(store, other)
    assert part.done.tolist() == [False, False]
    assert part.parked_blocks == []
    assert path_of(tmp_path, "announcement").read_bytes() == other.announcement
    write(part, 0, 1, thing=other)
    assert part.digest() == other.manifest.digest
    part.close()


def test_removed_part_leaves_nothing(tmp_path: Path, store: int) -> None:
    before = descriptors()
    part = part_of(store)
    write(part, 0)
    part.checkpoint()
    part.remove()
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_few_of_many_parts_have_their_files_open(store: int) -> None:
    before, files = descriptors(), OpenFiles(3)
    things = [Thing(some(2 * BLOCK, n), key=Key(7, n)) for n in range(1, 41)]
    made = [part_of(store, thing, files) for thing in things]
    assert descriptors() == before + 9
    for number in (1, 0):
        for part, thing in zip(made, things, strict=True):
            write(part, number, thing=thing)
    assert [p.digest() for p in made] == [t.manifest.digest for t in things]
    assert descriptors() == before + 9
    for part in made:
        part.close()
    assert descriptors() == before


def test_failed_opening_leaves_no_descriptor_behind(tmp_path: Path, store: int) -> None:
    (tmp_path / folder_name(THING.key)).mkdir()
    path_of(tmp_path, "journal").mkdir()
    before = descriptors()
    with pytest.raises(IsADirectoryError):
        part_of(store)
    assert descriptors() == before


def test_links_in_place_of_the_files_are_not_followed(tmp_path: Path, store: int) -> None:
    (tmp_path / folder_name(THING.key)).mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path_of(tmp_path, "data").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        part_of(store)
    assert victim.read_text() == "mine"


def test_data_with_its_final_mode_is_taken_up_again(tmp_path: Path, store: int) -> None:
    """A crash after the mode was set and before the rename must not cost what was received."""
    tmp_path.chmod(0o777)
    with unprivileged():
        part = part_of(store)
        write(part, 0, 1)
        part.checkpoint()
        os.fchmod(part.data, 0o440)
        part.close()
        again = part_of(store)
        assert again.done.tolist() == [True, True, False, False, False, False]
        write(again, 2)
        again.close()


@pytest.mark.parametrize("key", [Key(0, 0), Key(7, 1), Key((1 << 32) - 1, (1 << 32) - 1)])
def test_folder_names_round_trip(key: Key) -> None:
    assert folder_key(folder_name(key)) == key


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "lost+found",
        "00000007",
        "00000007-",
        "-1",
        "7-1",
        "00000007-01",
        "00000007-1 ",
        "0000000A-1",
        "0x000007-1",
        "0000_007-1",
        "00000007--1",
        "-0000007-1",
        "00000007-4294967296",
        "100000000-1",
        "00000007-\u0661",
        "00000007-" + "9" * 200,
    ],
)
def test_foreign_folder_names_have_no_key(name: str) -> None:
    assert folder_key(name) is None


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:3], at))
    with (tmp_path / "x").open("wb") as file:
        files.write_all(file.fileno(), b"0123456789", 2)
    assert (tmp_path / "x").read_bytes() == b"\0\0" + b"0123456789"
