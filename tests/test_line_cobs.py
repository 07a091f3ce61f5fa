"""COBS against the package of that name, and what damage to the line costs."""

import cobs.cobs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diode import frame, stamp
from diode.frame import Frames, Kind, Reject
from diode.line.cobs import LONGEST, Decoder, Encoder

RUNS = [0, 1, 2, 253, 254, 255, 507, 508, 509, 510, 762, 1016, 1017, 1100]


def data_frames(count, payload=40, seed=0, *, zeros=0.0, compact=False):
    """`count` checked data frames with random payloads, a share of which is zero bytes."""
    rng = np.random.default_rng(seed)
    rows = frame.blank_rows(count, payload, compact=compact)
    block = np.arange(count)
    if compact:
        frame.fill_compact(rows, sender=7, number=1, block=block, symbol=3)
    else:
        frame.fill_full(rows, Kind.DATA, code=1, sender=7, number=1, block=block, symbol=3)
    body = frame.payload(rows, compact=compact)
    body[:] = rng.integers(0, 256, body.shape, np.uint8)
    body[rng.random(body.shape) < zeros] = 0
    frames = Frames.of_rows(rows)
    stamp.stamp(frames, seed)
    return frames


def mixed_frames(seed=0):
    """Frames of several lengths, in no order."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([12, 13, 100, 254, 255, 300, 1036], 60)
    pieces = []
    for i, size in enumerate(sizes.tolist()):
        compact = size < 24
        payload = size - (12 if compact else 24)
        pieces.append(data_frames(1, payload, i, zeros=0.02, compact=compact).data)
    return Frames.of_pieces(pieces)


def listen(decoder, stream, split=None):
    """All frames in a stream fed in pieces of `split` bytes, as a list of bytes."""
    split = split or max(1, len(stream))
    groups = []
    for i in range(0, len(stream), split):
        groups += decoder.feed(stream[i : i + split])
    groups += decoder.flush()
    return [row.tobytes() for rows in groups for row in rows]


def as_bytes(frames):
    return [piece.tobytes() for piece in frames.pieces()]


def on_line(frames):
    return Encoder().encode(frames).data.tobytes()


def check_encoding(pieces):
    encoded = Encoder().encode(Frames.of_pieces(pieces))
    expected = [cobs.cobs.encode(piece) + b"\0" for piece in pieces]
    expected[0] = b"\0" + expected[0]
    assert as_bytes(encoded) == expected


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("other", [b"", b"\0", b"\0\0", b"\0a", b"a\0"])
def test_runs_around_254(run, other):
    check_encoding([b"x" * run + other, other + b"y" * run, b"x" * run + other + b"z" * run])


def test_all_zero_and_no_zero():
    check_encoding([bytes(n) for n in range(0, 1101, 11)])
    check_encoding([b"\xff" * n for n in range(0, 1101, 11)])


byte_strings = st.one_of(
    st.binary(max_size=1100),
    st.lists(st.tuples(st.sampled_from(RUNS), st.integers(0, 3)), max_size=5).map(
        lambda parts: b"".join(b"q" * run + bytes(zeros) for run, zeros in parts)
    ),
)


@given(st.lists(byte_strings, min_size=1, max_size=6))
def test_encodes_as_the_package(pieces):
    check_encoding(pieces)


def test_large_batches_are_cut_into_slices():
    rng = np.random.default_rng(5)
    pieces = [rng.integers(0, 256, n, np.uint8).tobytes() for n in rng.integers(12, 16384, 90)]
    check_encoding(pieces)


def test_only_the_first_frame_of_a_stream_has_a_zero_before_it():
    encoder = Encoder()
    frames = data_frames(2)
    assert encoder.encode(frame.EMPTY).data.tobytes() == b""
    first, second = encoder.encode(frames), encoder.encode(frames)
    assert first.data.tobytes() == b"\0" + second.data.tobytes()
    assert first.ends.tolist() == (second.ends + 1).tolist()


def test_too_long_a_frame_is_refused():
    with pytest.raises(ValueError, match="longer"):
        Encoder().encode(Frames.of_pieces([bytes(frame.MAX_FRAME + 1)]))


@pytest.mark.parametrize("piece", [1, 2, 3, 14, 224, 255, 256, 257, 258, 510, 511, 512, 2072])
def test_the_room_for_a_frame_is_exact(piece):
    encoder = Encoder()
    room = encoder.frame_room(piece)
    encoder.encode(Frames.of_pieces([b"x" * 12]))  # the stream has begun
    for length, fits in ((room, True), (room + 1, False)):
        worst = Frames.of_pieces([b"x" * length])
        assert (len(encoder.encode(worst).data) <= piece) is fits or not length


@pytest.mark.parametrize("length", [12, 254, 255, 300, 508, 1036, 4000])
def test_expected_line_bytes(length):
    rows = np.random.default_rng(length).integers(0, 256, (2000, length), np.uint8)
    encoder = Encoder()
    encoder.encode(Frames.of_pieces([b"x"]))
    mean = len(encoder.encode(Frames.of_rows(rows)).data) / len(rows)
    assert encoder.line_bytes(length) == pytest.approx(mean, rel=1e-3)


@given(
    st.integers(1, 5),
    st.integers(0, 1100),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    st.integers(0, 2**16 - 1),
    st.integers(1, 700),
)
def test_round_trip(count, payload, zeros, seed, split):
    frames = data_frames(count, payload, seed, zeros=zeros)
    decoder = Decoder()
    assert listen(decoder, on_line(frames), split) == as_bytes(frames)
    assert not decoder.rejected
    assert decoder.noise == 0


@pytest.mark.parametrize("split", [None, 1, 7, 1000, 5000])
def test_mixed_lengths_keep_their_order_within_a_length(split):
    frames = mixed_frames()
    heard = listen(Decoder(), on_line(frames), split)
    assert sorted(heard) == sorted(as_bytes(frames))
    for size in set(frames.lengths.tolist()):
        expected = [piece for piece in as_bytes(frames) if len(piece) == size]
        assert [piece for piece in heard if len(piece) == size] == expected


@pytest.mark.parametrize("split", [None, 1, 13, 999])
def test_garbage_before_and_after(split):
    rng = np.random.default_rng(9)
    frames = data_frames(20, 200)
    stream = rng.bytes(3000) + on_line(frames) + rng.bytes(3000)
    assert listen(Decoder(), stream, split) == as_bytes(frames)


@pytest.mark.parametrize("zeros", [0.0, 1.0])
def test_longest_frames_in_large_streams(zeros):
    payload = frame.MAX_FRAME - frame.HEADER - frame.CHECK
    frames = data_frames(40, payload, zeros=zeros)
    assert listen(Decoder(), on_line(frames)) == as_bytes(frames)


def test_rows_stay_valid():
    decoder = Decoder()
    frames = data_frames(50, 300)
    rows = decoder.feed(on_line(frames))
    for seed in range(5):
        decoder.feed(on_line(data_frames(50, 300, seed)))
    assert [r.tobytes() for group in rows for r in group] == as_bytes(frames)


def lost(expected, heard):
    """How many of the expected frames are missing; every frame heard must be one of them."""
    assert set(heard) <= set(expected)
    assert len(set(heard)) == len(heard)
    return len(expected) - len(heard)


@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_one_slip_or_wrong_byte_costs_at_most_one_frame(zeros):
    frames = data_frames(4, 30, zeros=zeros)
    expected, line = as_bytes(frames), on_line(frames)
    for at in range(len(line)):
        assert lost(expected, listen(Decoder(), line[:at] + line[at + 1 :])) <= 1
        for value in (0, 1, 2, 35, 0x80, 0xFF, line[at] ^ 1):
            byte = bytes([value])
            assert lost(expected, listen(Decoder(), line[:at] + byte + line[at:])) <= 1
            assert lost(expected, listen(Decoder(), line[:at] + byte + line[at + 1 :])) <= 1


@pytest.mark.parametrize("payload", [30, 300, 500])
def test_a_delimiter_deleted_or_changed_costs_none(payload):
    frames = data_frames(5, payload)
    expected, line = as_bytes(frames), on_line(frames)
    for at in [i for i, byte in enumerate(line) if not byte]:
        assert sorted(listen(Decoder(), line[:at] + line[at + 1 :])) == sorted(expected)
        if 0 < at < len(line) - 1:
            for value in range(1, 256):
                changed = line[:at] + bytes([value]) + line[at + 1 :]
                assert sorted(listen(Decoder(), changed)) == sorted(expected), (at, value)


def test_all_delimiters_deleted():
    frames = data_frames(20, 100, zeros=0.1)
    decoder = Decoder()
    assert listen(decoder, on_line(frames).replace(b"\0", b"")) == as_bytes(frames)
    assert decoder.noise == 0
    assert not decoder.rejected


def test_salvaged_frames_come_in_order():
    frames = data_frames(30, 100)
    line = bytearray(on_line(frames))
    ends = [i for i, byte in enumerate(line) if not byte]
    del line[ends[20]]
    del line[ends[7]]
    assert listen(Decoder(), bytes(line)) == as_bytes(frames)


def test_what_is_counted():
    good = data_frames(1, 30)
    chunk = on_line(good)[1:]
    wrong = bytearray(chunk)
    wrong[-5] ^= 0x55 if wrong[-5] != 0x55 else 0x54
    decoder = Decoder()
    assert listen(decoder, b"\0" + bytes(wrong) + chunk) == as_bytes(good)
    assert decoder.rejected == {Reject.CHECK: 1}
    assert decoder.noise == len(chunk) - 1
    decoder = Decoder()
    assert listen(decoder, b"\0\0\3ab\0" + chunk) == as_bytes(good)
    assert decoder.rejected == {Reject.LENGTH: 1}
    assert decoder.noise == 3


@pytest.mark.parametrize("split", [None, 1000, 77777])
def test_a_chunk_longer_than_two_frames_is_noise(split):
    good = data_frames(3, 30)
    decoder = Decoder()
    stream = b"\0" + b"\x07" * (LONGEST + 1) + on_line(good)
    assert listen(decoder, stream, split) == as_bytes(good)
    assert decoder.rejected == {Reject.LENGTH: 1}
    assert decoder.noise == LONGEST + 1


@pytest.mark.parametrize("value", [0, 1, 2, 254, 255])
def test_constant_bytes_give_nothing_and_hold_nothing(value):
    decoder = Decoder()
    for _ in range(16):
        assert decoder.feed(bytes([value]) * (1 << 16)) == []
        assert len(decoder._pending) <= LONGEST
    assert len(decoder._work) <= 2 * LONGEST + (1 << 18)


def test_random_bytes_give_no_frame():
    decoder = Decoder()
    assert listen(decoder, np.random.default_rng(3).bytes(1 << 20), 100_000) == []
    assert decoder.rejected[Reject.CHECK] > 1000


@settings(max_examples=50)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_and_any_split_count_the_same(noise, split):
    stream = noise + on_line(data_frames(2, 20)) + noise
    whole, split_up = Decoder(), Decoder()
    assert sorted(listen(whole, stream)) == sorted(listen(split_up, stream, split))
    assert whole.rejected == split_up.rejected
    assert whole.noise == split_up.noise


def plainly(stream):
    """The frames between zeros, without any salvage, by the package."""
    heard = []
    for chunk in stream.split(b"\0"):
        try:
            body = cobs.cobs.decode(chunk)
        except cobs.cobs.DecodeError:
            continue
        if len(body) >= frame.MIN_FRAME and stamp.check_rows(np.frombuffer(body, np.uint8)[None]):
            heard.append(body)
    return heard


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_finds_whatever_plain_decoding_finds(seed, errors):
    rng = np.random.default_rng(seed)
    line = bytearray(on_line(mixed_frames(seed % 5)))
    for _ in range(errors):
        at = int(rng.integers(len(line)))
        what = int(rng.integers(3))
        if what == 0:
            del line[at]
        elif what == 1:
            line.insert(at, int(rng.choice([0, 1, 255, 77])))
        else:
            line[at] = int(rng.choice([0, 1, 255, 77]))
    expected = plainly(bytes(line))
    heard = listen(Decoder(), bytes(line), int(rng.integers(50, 5000)))
    assert set(expected) <= set(heard) <= set(as_bytes(mixed_frames(seed % 5)))


def test_salvage_of_crafted_chunks_is_bounded():
    # valid frames with a long false chain behind each: every try would read to the end
    one = on_line(data_frames(1, 0, compact=True))[1:-1]
    chunk = (one + b"\1") * (LONGEST // (len(one) + 1))
    decoder = Decoder()
    heard = listen(decoder, b"\0" + chunk + b"\0")
    assert set(heard) <= set(as_bytes(data_frames(1, 0, compact=True)))
