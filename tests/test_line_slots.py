"""Equal frames in pieces of one size, on every line."""

from __future__ import annotations

import numpy as np
import pytest

from diode import frame, line, stamp
from diode.frame import Frames, Kind
from diode.line.slots import Slots


def rows(length: int, count: int, *, zeros: bool) -> Frames:
    made = frame.blank_rows(count, length - frame.HEADER - frame.CHECK)
    frame.fill_full(made, Kind.IDLE, code=0, sender=7, number=0, block=0, symbol=0)
    noise = np.random.default_rng(length).integers(1, 256, made.shape, np.uint8)
    frame.payload(made)[:] = 0 if zeros else frame.payload(noise)
    made = Frames.of_rows(made)
    stamp.stamp(made, 1)
    return made


LENGTHS = [52, 222, 253, 254, 255, 508, 509, 1432, 9000]


@pytest.mark.parametrize(
    ("name", "length"),
    [(name, n) for name in ("cobs", "rs", "datagram") for n in LENGTHS if name != "rs" or n <= 222],
)
def test_pieces_have_one_size_and_give_the_frames_back(name: str, length: int) -> None:
    slots = Slots(line.encoder(name), length)
    decoder = line.decoder(name)
    for zeros in (False, True, False):
        frames = rows(length, 20, zeros=zeros)
        pieces = slots.encode(frames)
        assert pieces.lengths.tolist() == [slots.size] * 20
        got = np.concatenate(decoder.feed(pieces if name == "datagram" else pieces.data))
        assert (got == frames.equal_rows()).all()
    assert decoder.rejected.total() == 0
    assert slots.line_bytes(length) == slots.size
    assert slots.size - length <= {"cobs": 2 + length // 254, "rs": 259, "datagram": 0}[name]


def test_frames_of_another_length_are_refused() -> None:
    slots = Slots(line.encoder("cobs"), 222)
    with pytest.raises(ValueError, match="222 bytes"):
        slots.encode(rows(223, 1, zeros=True))


def test_nothing_is_nothing() -> None:
    assert len(Slots(line.encoder("cobs"), 222).encode(frame.EMPTY)) == 0


@pytest.mark.parametrize("name", ["cobs", "rs", "datagram"])
def test_room_of_a_slot(name: str) -> None:
    slots = Slots(line.encoder(name), 200)
    assert slots.frame_room(slots.size) == 200
    assert slots.frame_room(slots.size - 1) == 0
