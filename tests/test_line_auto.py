"""The table of lines, and listening without being told which one is spoken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diode import frame, line, stamp
from diode.errors import UsageError
from diode.frame import Frames, Reject
from diode.line.auto import QUIET, Auto


def data_frames(count, size=100, seed=0):
    rng = np.random.default_rng(seed)
    rows = frame.blank_rows(count, size - frame.MIN_FRAME, compact=True)
    frame.fill_compact(rows, sender=7, number=1, block=np.arange(count), symbol=3)
    body = frame.payload(rows, compact=True)
    body[:] = rng.integers(0, 256, body.shape, np.uint8)
    frames = Frames.of_rows(rows)
    stamp.stamp(frames, seed)
    return frames


def as_bytes(frames):
    return [piece.tobytes() for piece in frames.pieces()]


def on_line(name, frames):
    return line.encoder(name).encode(frames).data.tobytes()


def feed(decoder, stream, split=None):
    split = split or max(1, len(stream))
    groups = []
    for i in range(0, len(stream), split):
        groups += decoder.feed(stream[i : i + split])
    return [row.tobytes() for rows in groups for row in rows]


def flush(decoder):
    return [row.tobytes() for rows in decoder.flush() for row in rows]


@pytest.mark.parametrize("name", line.LINES)
@pytest.mark.parametrize("decoder", ["auto", None])
def test_every_line_is_heard_by_its_name_and_by_auto(name, decoder):
    frames = data_frames(30)
    listener = line.decoder(decoder or name)
    assert feed(listener, on_line(name, frames)) + flush(listener) == as_bytes(frames)
    assert line.encoder(name).max_frame >= 222
    assert line.encoder(name).line_bytes(100) > 100


def test_every_call_gives_a_new_one():
    assert line.encoder("cobs") is not line.encoder("cobs")
    assert line.decoder("auto") is not line.decoder("auto")


@pytest.mark.parametrize(("make", "name"), [(line.encoder, "auto"), (line.decoder, "morse")])
def test_unknown_names(make, name):
    with pytest.raises(UsageError, match=name) as caught:
        make(name)
    assert "--line cobs, --line rs" in caught.value.hint
    assert ("auto" in caught.value.hint) == (make is line.decoder)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(line.LINES)),
    st.binary(max_size=300),
    st.integers(1, 1000),
    st.integers(0, 100),
)
def test_any_split_with_garbage(name, noise, split, seed):
    frames = data_frames(5, 100, seed)
    listener = line.decoder("auto")
    stream = noise + b"\0" + on_line(name, frames) + noise
    assert feed(listener, stream, split) + flush(listener) == as_bytes(frames)
    assert listener.locked == name


@pytest.mark.parametrize("split", [None, 1000, 7777])
@pytest.mark.parametrize(("first", "second"), [("cobs", "rs"), ("rs", "cobs")])
def test_a_sender_that_changes_its_line(first, second, split):
    one, two = data_frames(600, seed=1), data_frames(900, seed=2)
    listener = line.decoder("auto")
    assert feed(listener, on_line(first, one), split) == as_bytes(one)
    assert listener.locked == first
    heard = feed(listener, on_line(second, two), split) + flush(listener)
    assert listener.locked == second
    # what the first made nothing of is heard again by the second
    assert heard == as_bytes(two)
    assert listener.rejected.total() <= 1
    assert listener.noise < 1000


def test_a_change_shortly_before_the_end():
    one, two = data_frames(10, seed=1), data_frames(10, seed=2)
    listener = line.decoder("auto")
    feed(listener, on_line("cobs", one))
    assert feed(listener, on_line("rs", two)) == []
    assert flush(listener) == as_bytes(two)


def test_a_damaged_end_is_counted():
    line_bytes = bytearray(on_line("cobs", data_frames(10)))
    line_bytes[-20] ^= 1 if line_bytes[-20] != 1 else 2
    listener = line.decoder("auto")
    assert len(feed(listener, bytes(line_bytes), 50) + flush(listener)) == 9
    assert listener.locked == "cobs"
    assert listener.rejected == {Reject.CHECK: 1}


def test_refusals_are_those_of_the_line_in_use():
    frames = data_frames(1000)
    listener = line.decoder("auto")
    # to COBS this is nothing but damage
    feed(listener, on_line("rs", frames), 5000)
    assert not listener.rejected
    assert listener.noise == 0
    wrong = bytearray(on_line("rs", frames))
    for i in range(0, 40 * 259, 259):
        wrong[i + 50 : i + 100] = bytes(50)
    feed(listener, bytes(wrong), 5000)
    assert listener.rejected == {Reject.CHECK: 40}
    assert listener.noise == 40 * 259


def test_before_a_line_is_known_there_is_only_noise():
    listener = line.decoder("auto")
    noise = np.random.default_rng(1).bytes(200_000)
    assert feed(listener, noise, 5000) == []
    assert listener.locked is None
    assert listener.noise == 200_000
    assert not listener.rejected


def test_silence_unlocks_and_the_same_line_locks_again():
    frames = data_frames(50)
    listener = line.decoder("auto")
    feed(listener, on_line("rs", frames))
    before = listener.noise
    feed(listener, bytes(QUIET - 1))
    assert listener.locked == "rs"
    feed(listener, bytes(3 * QUIET), 10_000)
    assert listener.locked is None
    assert feed(listener, on_line("rs", frames)) == as_bytes(frames)
    assert listener.locked == "rs"
    assert listener.noise == before + 4 * QUIET - 1
    assert not listener.rejected


def test_endless_noise_holds_nothing():
    listener = line.decoder("auto")
    feed(listener, on_line("cobs", data_frames(3)))
    noise = np.random.default_rng(1).bytes(100_000)
    for _ in range(5):
        assert feed(listener, noise, 30_000) == []
        assert len(listener._quiet) <= QUIET
    assert isinstance(listener, Auto)
