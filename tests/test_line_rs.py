"""Reed-Solomon words against reedsolo, and what damage to the line costs."""

import numpy as np
import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from diode import frame, stamp
from diode.frame import Frames, Reject
from diode.line import codeword
from diode.line.rs import PIECE, SCRAMBLER, SYNC, Decoder, Encoder, sync_positions

REFERENCE = reedsolo.RSCodec(32)


def random_words(count, seed=0):
    data = np.random.default_rng(seed).integers(0, 256, (count, codeword.DATA), np.uint8)
    return np.concatenate([data, codeword.parity(data)], axis=1)


def damaged(words, errors, seed=0):
    """Words with that many wrong bytes each (an array or a number)."""
    rng = np.random.default_rng(seed)
    out = words.copy()
    for row, count in zip(out, np.broadcast_to(errors, len(words)), strict=True):
        places = rng.permutation(codeword.WORD)[:count]
        row[places] ^= rng.integers(1, 256, count).astype(np.uint8)
    return out


def data_frames(count, size=222, seed=0, *, zeros=0.0):
    """`count` checked compact data frames of `size` bytes, a share of the payload zero."""
    rng = np.random.default_rng(seed)
    rows = frame.blank_rows(count, size - frame.MIN_FRAME, compact=True)
    frame.fill_compact(rows, sender=7, number=1, block=np.arange(count), symbol=3)
    body = frame.payload(rows, compact=True)
    body[:] = rng.integers(0, 256, body.shape, np.uint8)
    body[rng.random(body.shape) < zeros] = 0
    frames = Frames.of_rows(rows)
    stamp.stamp(frames, seed)
    return frames


def listen(decoder, stream, split=None):
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


def lost(expected, heard):
    """How many of the expected frames are missing; every frame heard must be one of them."""
    assert set(heard) <= set(expected)
    assert len(set(heard)) == len(heard)
    return len(expected) - len(heard)


# code words


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 300])
def test_parity_is_that_of_reedsolo(count):
    words = random_words(count)
    for word in words[:5]:
        assert REFERENCE.encode(word[: codeword.DATA].tobytes()) == word.tobytes()
    assert codeword.valid(words).all()
    assert not codeword.valid(damaged(words, 1)).any()


def test_no_words():
    none = np.empty((0, codeword.WORD), np.uint8)
    assert codeword.parity(none[:, : codeword.DATA]).shape == (0, codeword.PARITY)
    fixed, good = codeword.correct(none)
    assert fixed.shape == none.shape
    assert good.shape == (0,)


@pytest.mark.parametrize("errors", range(17))
def test_up_to_16_errors_are_corrected(errors):
    words = random_words(40, errors)
    before = damaged(words, errors, errors)
    kept = before.copy()
    fixed, good = codeword.correct(before)
    assert good.all()
    assert (fixed == words).all()
    assert (before == kept).all()


def test_a_batch_of_all_kinds():
    words = random_words(3000)
    errors = np.random.default_rng(2).integers(0, 30, len(words))
    broken = damaged(words, errors)
    fixed, good = codeword.correct(broken)
    assert (fixed[errors <= 16] == words[errors <= 16]).all()
    assert (good == (errors <= 16)).all()  # beyond: a wrong word by chance in 16! (2e13)
    assert (fixed[~good] == broken[~good]).all()


def test_errors_in_the_parity_and_at_the_edges():
    words = random_words(3)
    broken = words.copy()
    broken[0, 239:] ^= 1
    broken[1, :16] ^= 0xFF
    broken[2, [0, 254]] ^= 7
    fixed, good = codeword.correct(broken)
    assert good.all()
    assert (fixed == words).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_corrects_what_reedsolo_corrects(errors, seed):
    broken = damaged(random_words(1, seed), errors, seed)
    fixed, good = codeword.correct(broken)
    try:
        theirs = bytes(REFERENCE.decode(broken[0].tobytes())[1])
    except reedsolo.ReedSolomonError:
        assert not good[0]
    else:
        assert good[0]
        assert fixed[0].tobytes() == theirs


def test_erasures():
    words = random_words(5)
    broken = words.copy()
    erasures = [list(range(10, 42)), [3, 5], [], list(range(20)), list(range(33))]
    for word, places in zip(broken, erasures, strict=True):
        word[places] = 0
    broken[2, 7] ^= 9
    broken[3, 100:106] ^= 1  # 20 erasures and 6 errors: 20 + 2·6 = 32
    fixed, good = codeword.correct(broken, erasures)
    assert good.tolist() == [True, True, True, True, False]
    assert (fixed[:4] == words[:4]).all()
    assert (fixed[4] == broken[4]).all()


def test_erasures_of_noise_are_refused_quietly():
    noise = np.random.default_rng(4).integers(0, 256, (20, codeword.WORD), np.uint8)
    fixed, good = codeword.correct(noise, [[1, 2]] * 20)
    assert not good.any()
    assert (fixed == noise).all()


# the line


def test_scrambler_is_that_of_ccsds():
    assert SCRAMBLER[:8].tobytes().hex() == "ff480ec09a0d70bc"
    assert len(SCRAMBLER) == 255


def test_the_layout_of_a_piece():
    frames = Frames.of_pieces([data_frames(1, 40).data, data_frames(1, 222).data])
    encoded = Encoder().encode(frames)
    assert encoded.lengths.tolist() == [PIECE, PIECE]
    for body, piece in zip(frames.pieces(), encoded.pieces(), strict=True):
        word = piece[4:] ^ SCRAMBLER
        data = bytes([len(body)]) + body.tobytes() + bytes(222 - len(body))
        assert piece[:4].tobytes() == SYNC.tobytes() == b"\x1a\xcf\xfc\x1d"
        assert word.tobytes() == bytes(REFERENCE.encode(data))


@pytest.mark.parametrize("size", [0, 11, 223])
def test_frames_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match="12 to 222"):
        Encoder().encode(Frames.of_pieces([bytes(12), bytes(size)]))


def test_nothing_to_send():
    assert len(Encoder().encode(frame.EMPTY)) == 0
    assert Encoder().line_bytes(12) == PIECE
    assert Encoder().frame_room(PIECE) == 222
    assert Encoder().frame_room(PIECE - 1) == 0


def test_sync_is_found_with_up_to_three_wrong_bits():
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, 300_000, np.uint8)
    for at in range(0, 200_000, 1000):
        wrong = rng.permutation(32)[: at // 1000 % 6]
        bits = np.unpackbits(SYNC)
        bits[wrong] ^= 1
        data[at : at + 4] = np.packbits(bits)
    bits = np.unpackbits(data)
    expected = np.unpackbits(SYNC)
    windows = np.lib.stride_tricks.sliding_window_view(bits, 32)[::8]
    distance = (windows != expected).sum(axis=1)
    assert sync_positions(data).tolist() == np.flatnonzero(distance <= 3).tolist()
    assert sync_positions(data[:3]).tolist() == []


@settings(deadline=None)
@given(
    st.lists(st.integers(12, 222), min_size=1, max_size=8),
    st.integers(0, 1000),
    st.integers(1, 700),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_round_trip(sizes, seed, split, zeros):
    frames = Frames.of_pieces(
        [data_frames(1, size, seed + i, zeros=zeros).data for i, size in enumerate(sizes)]
    )
    decoder = Decoder()
    heard = listen(decoder, on_line(frames), split)
    assert sorted(heard) == sorted(as_bytes(frames))
    assert not decoder.rejected
    assert decoder.noise == 0


@pytest.mark.parametrize("split", [None, 1, 7, 258, 259, 260, 5000])
def test_garbage_before_and_after(split):
    rng = np.random.default_rng(9)
    frames = data_frames(5)
    stream = rng.bytes(1000) + on_line(frames) + rng.bytes(700)
    decoder = Decoder()
    assert listen(decoder, stream, split) == as_bytes(frames)
    assert decoder.noise == 1700


def test_large_streams_are_cut_into_slices():
    frames = data_frames(2500, 100)
    assert listen(Decoder(), on_line(frames)) == as_bytes(frames)


@pytest.mark.parametrize("zeros", [0.0, 1.0])
def test_one_slip_costs_at_most_one_frame_and_a_wrong_byte_none(zeros):
    frames = data_frames(3, zeros=zeros)
    expected, line = as_bytes(frames), on_line(frames)
    values = np.random.default_rng(1).integers(0, 256, len(line))
    for at in range(len(line)):
        for byte in (b"\0", bytes([values[at]])):
            assert lost(expected, listen(Decoder(), line[:at] + byte + line[at:])) <= 1
        assert lost(expected, listen(Decoder(), line[:at] + line[at + 1 :])) <= 1
        changed = bytes([line[at] ^ (1 << at % 8)])
        assert lost(expected, listen(Decoder(), line[:at] + changed + line[at + 1 :])) == 0


def test_any_value_of_a_wrong_byte_in_the_word_costs_none():
    frames = data_frames(2, 60)
    expected, line = as_bytes(frames), on_line(frames)
    for at in (4, 70, 258):
        for value in range(256):
            stream = line[:at] + bytes([value]) + line[at + 1 :]
            assert listen(Decoder(), stream) == expected


def test_a_shifted_frame_is_never_another_one():
    # Without scrambler and inner CRC a frame that lost a zero byte is a valid code word.
    rng = np.random.default_rng(7)
    frames = data_frames(300, zeros=0.9)
    expected = as_bytes(frames)
    pieces = Encoder().encode(frames).pieces()
    stream = bytearray()
    for body, piece in zip(expected, pieces, strict=True):
        zero = [i for i, byte in enumerate(body) if not byte]
        at = 5 + int(rng.choice(zero))
        stream += piece[:at].tobytes() + piece[at + 1 :].tobytes()
    assert set(listen(Decoder(), bytes(stream))) <= set(expected)
    # the same at the first byte of the word, where the shift is a plain rotation
    starts = b"".join(piece[:4].tobytes() + piece[5:].tobytes() for piece in pieces)
    assert set(listen(Decoder(), starts)) <= set(expected)


@pytest.mark.parametrize(("rate", "least"), [(1e-3, 1.0), (5e-3, 0.965), (1e-2, 0.1)])
def test_bit_errors(rate, least):
    # At 5e-3 the binomial distribution leaves 97.5 % of the words with at most 16 wrong bytes,
    # with a standard deviation of 0.35 % over 2,000 frames.
    frames = data_frames(2000)
    expected, line = as_bytes(frames), np.frombuffer(on_line(frames), np.uint8)
    flips = np.packbits(np.random.default_rng(2).random(8 * len(line)) < rate)
    heard = listen(Decoder(), (line ^ flips).tobytes(), 50_000)
    flips = flips.reshape(-1, PIECE)
    sync = np.unpackbits(flips[:, :4], axis=1).sum(axis=1) <= 3
    word = np.count_nonzero(flips[:, 4:], axis=1) <= 16
    assert heard == [body for body, found in zip(expected, sync & word, strict=True) if found]
    assert len(heard) >= least * len(expected)


def test_a_damaged_frame_before_a_clean_one_that_overlaps_it():
    # 14 bytes dropped near the end: the first frame is still corrected and the next one
    # begins inside it, so that the order of position decides; any split decides the same
    frames = data_frames(3)
    line = on_line(frames)
    stream = line[: PIECE - 14] + line[PIECE:]
    expected = [as_bytes(frames)[0], as_bytes(frames)[2]]
    for split in (None, 1, 100, 259):
        assert listen(Decoder(), stream, split) == expected


@pytest.mark.parametrize("missing", [1, 16, 32, 33])
def test_a_last_frame_that_lacks_its_end(missing):
    frames = data_frames(2)
    decoder = Decoder()
    heard = listen(decoder, on_line(frames)[:-missing], 100)
    assert heard == as_bytes(frames)[: 2 if missing <= 32 else 1]
    assert decoder.noise == (0 if missing <= 32 else PIECE - missing)


def word_on_line(data):
    """A piece around 223 bytes that need not hold a frame."""
    word = np.frombuffer(REFERENCE.encode(data), np.uint8) ^ SCRAMBLER
    return SYNC.tobytes() + word.tobytes()


def test_refusals_are_counted_by_reason():
    body = data_frames(1, 50).data.tobytes()
    wrong_check = body[:-1] + bytes([body[-1] ^ 1])
    cases = [
        (bytes([50]) + wrong_check + bytes(172), Reject.CHECK),
        (bytes([50]) + body + bytes(171) + b"\1", Reject.CHECK),  # padding
        (bytes([11]) + bytes(222), Reject.LENGTH),
        (bytes([223]) + bytes(222), Reject.LENGTH),
    ]
    for data, reason in cases:
        for broken in (0, 3):
            stream = bytearray(word_on_line(data))
            stream[20 : 20 + broken] = bytes(x ^ 1 for x in stream[20 : 20 + broken])
            decoder = Decoder()
            assert listen(decoder, bytes(stream)) == []
            assert decoder.rejected == {reason: 1}
            assert decoder.noise == PIECE


def test_a_refused_candidate_does_not_hide_the_next_frame():
    frames = data_frames(1)
    decoder = Decoder()
    stream = SYNC.tobytes() + b"xy" + SYNC.tobytes() + on_line(frames)
    assert listen(decoder, stream) == as_bytes(frames)
    assert decoder.rejected == {Reject.CHECK: 2}
    assert decoder.noise == 10


def test_random_bytes_give_no_frame():
    decoder = Decoder()
    assert listen(decoder, np.random.default_rng(3).bytes(1 << 21), 300_000) == []
    assert decoder.noise == 1 << 21


@pytest.mark.parametrize("pattern", [b"\0", b"\xff", b"\x1a", SYNC.tobytes()])
def test_endless_patterns_give_nothing_and_hold_nothing(pattern):
    decoder = Decoder()
    for _ in range(3):
        assert decoder.feed(pattern * (30_000 // len(pattern))) == []
        assert len(decoder._tail) == PIECE - 1


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 300), st.integers(0, 258))
def test_any_split_counts_the_same(noise, split, cut):
    line = on_line(data_frames(2, 100))
    stream = noise + line[:cut] + SYNC.tobytes() + line + noise
    whole, split_up = Decoder(), Decoder()
    assert listen(whole, stream) == listen(split_up, stream, split)
    assert whole.rejected == split_up.rejected
    assert whole.noise == split_up.noise
