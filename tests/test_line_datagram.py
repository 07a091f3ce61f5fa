"""Datagrams as frames: nothing added, nothing found again, and each judged alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import content, examples, transmit
from test_line_rs import data_frames

from diode import frame, line
from diode.frame import Frames, Reject, flat, portions
from diode.line.datagram import Decoder, Encoder
from diode.plan import Link, Settings

LINK = Link(rate=12.5e6, max_frame=1472, unit=1472, frame_room=Encoder().frame_room)


def sent(size=200_000, **settings):
    return Frames.of_pieces(transmit(content(size), link=LINK, settings=Settings(**settings)))


def heard(decoder, data):
    return [bytes(row) for rows in decoder.feed(data) for row in rows]


def test_frames_pass_as_they_are():
    frames = sent()
    pieces = Encoder().encode(frames)
    assert pieces.data.tobytes() == frames.data.tobytes()
    assert (pieces.ends == frames.ends).all()
    decoder = Decoder()
    found = heard(decoder, pieces)
    assert sorted(found) == sorted(bytes(piece) for piece in frames.pieces())
    assert decoder.rejected.total() == decoder.noise == 0
    assert decoder.flush() == []


def test_a_datagram_is_filled():
    frames = sent()
    assert Encoder().line_bytes(1472) == 1472
    assert Encoder().frame_room(1472) == 1472
    assert Encoder().frame_room(60_000) == frame.MAX_FRAME
    assert int(frames.lengths.max()) <= 1472
    assert int(np.median(frames.lengths)) > 1400


def test_what_is_no_frame_is_counted_by_its_reason_and_costs_no_other():
    good = [bytes(piece) for piece in sent(20_000).pieces()]
    damaged = bytearray(good[1])
    damaged[30] ^= 1
    strange = {
        bytes(damaged): Reject.CHECK,
        good[2][:-1]: Reject.CHECK,
        good[2] + b"\0": Reject.CHECK,
        good[3] + good[4]: Reject.CHECK,
        b"x" * frame.MIN_FRAME: Reject.CHECK,
        b"x" * (frame.MIN_FRAME - 1): Reject.LENGTH,
        b"": Reject.LENGTH,
        bytes(frame.MAX_FRAME + 1): Reject.LENGTH,
    }
    for datagram, reason in strange.items():
        decoder = Decoder()
        found = heard(decoder, Frames.of_pieces([good[0], datagram, good[5]]))
        assert sorted(found) == sorted([good[0], good[5]])
        assert dict(decoder.rejected) == {reason: 1}
        assert decoder.noise == len(datagram)


@given(st.lists(st.binary(max_size=60), max_size=30), st.integers(0, 3))
@examples(60)
def test_any_datagrams(datagrams, step):
    """Whatever comes, each is accepted or refused once, and good ones are all found."""
    good = [bytes(row) for row in data_frames(4, 40).pieces()]
    mixed = datagrams + good
    mixed = mixed[step:] + mixed[:step]
    decoder = Decoder()
    found = heard(decoder, Frames.of_pieces(mixed))
    assert sorted(found) == sorted(good + [d for d in datagrams if d in good])
    assert len(found) + decoder.rejected.total() == len(mixed)


def test_bytes_without_ends_are_one_datagram():
    (one,) = (bytes(row) for row in data_frames(1, 40).pieces())
    decoder = Decoder()
    assert heard(decoder, one) == [one]
    assert heard(decoder, np.frombuffer(one + one, np.uint8)) == []
    assert decoder.rejected == {Reject.CHECK: 1}


def test_it_is_no_line_of_bytes():
    assert line.DATAGRAM not in line.LINES
    assert isinstance(line.encoder("datagram"), Encoder)
    assert isinstance(line.decoder("datagram"), Decoder)
    frames = data_frames(3, 40)
    auto = line.decoder(line.AUTO)
    assert auto.feed(frames.data) == auto.feed(frames) == []  # nobody stands between them


@pytest.mark.parametrize("size", [1, 39, 40, 41, 100, 10_000])
def test_portions_are_cut_between_pieces(size):
    frames = Frames.of_pieces([bytes([i]) * n for i, n in enumerate([40, 1, 39, 0, 80, 3])])
    parts = list(portions(frames, size))
    assert b"".join(p.data.tobytes() for p in parts) == frames.data.tobytes()
    assert [bytes(x) for p in parts for x in p.pieces()] == [bytes(x) for x in frames.pieces()]
    assert all(len(p.data) <= size or len(p) == 1 for p in parts)
    whole = frames.data.tobytes()
    for data in (whole, flat(whole)):
        parts = list(portions(data, size))
        assert b"".join(p.tobytes() for p in parts) == whole
        assert all(len(p) <= size for p in parts)
    assert list(portions(b"", size)) == list(portions(frame.EMPTY, size)) == []
