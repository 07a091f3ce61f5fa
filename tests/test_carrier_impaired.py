import itertools

import numpy as np
import pytest
from ptys import FakeTime, batch, noise

from diode.carrier.channel import PIECE, Channel, StreamChannel, Tally, join, select
from diode.carrier.impaired import ImpairedReceiver, ImpairedSender
from diode.carrier.impairment import EXAMPLE, Extent, Impairment
from diode.errors import UsageError
from diode.frame import EMPTY, Frames


def numbered(count, first=0):
    """`count` pieces of four bytes, each the number of its place."""
    return Frames.of_rows(
        np.arange(first, first + count, dtype=">u4").view(np.uint8).reshape(-1, 4)
    )


def numbers(frames):
    return frames.data.copy().view(">u4").tolist()


def stream(data, cuts=()):
    edges = [0, *cuts, len(data)]
    return [batch(data[a:b]) for a, b in itertools.pairwise(edges)]


def run(spec, batches, rate=None):
    """What a channel makes of the batches, as one batch, and its tally."""
    channel = Channel(Impairment.parse(spec), rate)
    out = EMPTY
    for frames in batches:
        out = join(out, channel.apply(frames))
    return join(out, channel.flush()), channel.tally


def test_parse():
    assert Impairment.parse("") == Impairment()
    assert Impairment.parse(EXAMPLE) == Impairment(
        drop=0.05,
        burst=(Extent(0.2, True), Extent(10, True)),
        flip=1e-5,
        slip=1e-6,
        dup=0.01,
        reorder=3,
        seed=1,
    )
    assert Impairment.parse("ge=1%/0.2, burst=64KiB/2MB").ge == (0.01, 0.2)
    assert Impairment.parse("burst=64KiB/2MB").burst == (Extent(65536, False), Extent(2e6, False))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dropp=5%", "dropp"),
        ("drop", "drop"),
        ("drop=", "drop"),
        ("drop=101%", "drop"),
        ("drop=-1", "drop"),
        ("drop=nan", "drop"),
        ("drop=5 %", "drop"),
        ("flip=2", "flip"),
        ("slip=x", "slip"),
        ("dup=1.5", "dup"),
        ("reorder=1.5", "reorder"),
        ("reorder=-1", "reorder"),
        ("reorder=9999999", "reorder"),
        ("seed=-1", "seed"),
        ("seed=x", "seed"),
        ("seed=1,seed=2", "twice"),
        ("drop=1%,,dup=1%", "''"),
        ("burst=200ms", "burst"),
        ("burst=200/10", "burst"),
        ("burst=200ms/10", "burst"),
        ("burst=10s/10s", "burst"),
        ("burst=11s/10s", "burst"),
        ("burst=0s/10s", "burst"),
        ("burst=1h/2h", "burst"),
        ("ge=1%", "ge"),
        ("ge=1%/0", "ge"),
        ("ge=2/1", "ge"),
        ("drop=1%;dup=1%", "drop"),
    ],
)
def test_strict(spec, message):
    with pytest.raises(UsageError) as caught:
        Impairment.parse(spec)
    assert message in str(caught.value)
    assert EXAMPLE in caught.value.hint


def test_near_misses_are_guessed():
    with pytest.raises(UsageError) as caught:
        Impairment.parse("fliip=1e-5")
    assert "did you mean flip=?" in caught.value.hint


def test_nothing_wanted_nothing_done():
    frames = batch(noise(10_000))
    out, tally = run("", [frames])
    assert out.data is frames.data
    assert tally == Tally(pieces=1, bytes=10_000)
    assert not len(run(EXAMPLE, [EMPTY])[0])


def test_input_is_not_changed():
    frames = numbered(20_000)
    before = frames.data.copy()
    run("drop=5%,dup=5%,reorder=9,flip=1e-3,slip=1e-3,burst=100B/3kB", [frames])
    assert (frames.data == before).all()


EVERYTHING = "drop=5%,ge=2%/30%,dup=3%,reorder=4,burst=700B/9kB,flip=1e-4,slip=1e-3,seed=7"


def test_same_seed_same_damage():
    frames = [numbered(500, first) for first in range(0, 5000, 500)]
    one, other, third = (run(f"{EVERYTHING[:-1]}{seed}", frames) for seed in (7, 7, 8))
    assert (one[0].data == other[0].data).all() and one[1] == other[1]
    assert len(one[0].data) != len(third[0].data) or (one[0].data != third[0].data).any()


@pytest.mark.parametrize("step", [1, 7, 256, 4999])
def test_damage_does_not_depend_on_the_calls(step):
    whole, tally = run(EVERYTHING, [numbered(5000)])
    cut, cut_tally = run(
        EVERYTHING, [numbered(min(step, 5000 - first), first) for first in range(0, 5000, step)]
    )
    assert (whole.data == cut.data).all()
    assert tally == cut_tally


def test_pieces_and_bytes_add_up():
    for spec in (EVERYTHING, "slip=0.3", "burst=3B/10B", "burst=10B/13B,slip=0.5,flip=0.1"):
        out, tally = run(spec, [numbered(5000)])
        assert len(out.data) == out.ends[-1]
        assert (np.diff(out.ends, prepend=0) > 0).all()
        assert len(out.data) == (
            tally.bytes - tally.bytes_burst - tally.bytes_lost + tally.bytes_inserted
        )
        assert tally.bytes == 4 * (5000 - tally.pieces_dropped + tally.pieces_duplicated)


def test_drop():
    out, tally = run("drop=5%", [numbered(20_000)])
    assert tally.pieces_dropped == 20_000 - len(out) == pytest.approx(1000, rel=0.1)
    assert numbers(out) == sorted(set(numbers(out)))
    assert not len(run("drop=100%", [numbered(100)])[0])


def test_dup():
    out, tally = run("dup=5%", [numbered(20_000)])
    assert tally.pieces_duplicated == len(out) - 20_000 == pytest.approx(1000, rel=0.1)
    assert sorted(set(numbers(out))) == list(range(20_000))
    assert numbers(run("dup=100%", [numbered(3)])[0]) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("places", [1, 3, 50])
def test_reorder(places):
    out, tally = run(f"reorder={places}", [numbered(1000), numbered(3000, 1000)])
    heard = np.array(numbers(out))
    assert sorted(heard) == list(range(4000))
    late = np.argsort(heard) - np.arange(4000)  # place minus number
    assert places / 2 < late.max() <= places and -places <= late.min() < 0
    assert tally.pieces_late == pytest.approx(4000 * places / (places + 1), rel=0.1)


def test_gilbert_elliott():
    out, tally = run("ge=1%/20%", [numbered(100_000)])
    assert tally.pieces_dropped == pytest.approx(100_000 * 0.01 / 0.21, rel=0.15)
    gaps = np.diff(numbers(out)) - 1
    assert gaps[gaps > 0].mean() == pytest.approx(5, rel=0.1)
    assert not run("ge=0/0", [numbered(100)])[1].pieces_dropped


def test_pieces_of_many_lengths():
    pieces = [bytes([i]) * (1 + i % 5) for i in range(200)]
    out, _ = run("drop=20%,dup=20%,reorder=5", [Frames.of_pieces(pieces)])
    for piece in out.pieces():
        assert piece.tobytes() == pieces[piece[0]]
    assert select(Frames.of_pieces([b"ab", b"c"]), np.array([1, 0, 1])).data.tobytes() == b"cabc"


def test_flip():
    data = noise(400_000)
    out, tally = run("flip=1e-3", stream(data))
    changed = np.unpackbits(out.data ^ np.frombuffer(data, np.uint8)).sum()
    assert changed == tally.bits_flipped == pytest.approx(3200, rel=0.1)
    inverted, _ = run("flip=1", stream(data[:1000]))
    assert (inverted.data == ~np.frombuffer(data[:1000], np.uint8)).all()


def test_slip():
    data = noise(500_000)
    out, tally = run("slip=1e-3", stream(data))
    assert tally.bytes_slipped == pytest.approx(500, rel=0.2)
    assert tally.bytes_lost == pytest.approx(250, rel=0.3)
    assert len(out.data) == 500_000 - tally.bytes_lost + tally.bytes_inserted


def test_one_slip_moves_the_rest_by_one():
    data = bytes(range(256)) * 40
    for seed in range(50):
        out, tally = run(f"slip=1e-4,seed={seed}", stream(data))
        if tally.bytes_slipped != 1:
            continue
        heard = out.data.tobytes()
        at = next(i for i in range(len(data)) if heard[: i + 1] != data[: i + 1])
        assert heard[at:] == data[at + 1 :] if tally.bytes_lost else heard[at + 1 :] == data[at:]


def test_ends_move_with_slips():
    out, tally = run("slip=2%", [Frames.of_pieces([bytes([n]) * 8 for n in range(200)])])
    assert tally.bytes_slipped > 10
    for piece in out.pieces():
        ids, counts = np.unique(piece, return_counts=True)
        assert counts.max() >= len(piece) - 3, (ids, counts)
    assert len(out) == 200


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4000, 50_000)])
@pytest.mark.parametrize("spec", ["burst=1kB/10kB", "burst=10ms/100ms"])
def test_burst(spec, cuts):
    places = np.arange(100_000, dtype="<u4").view(np.uint8).tobytes()  # 400 kB
    out, tally = run(spec, stream(places, cuts), rate=100_000)
    assert tally.outages == 40 and tally.bytes_burst == 40_000 == len(places) - len(out.data)
    kept = np.ones(400_000, np.bool_)
    start = int(np.argmin(np.frombuffer(places, np.uint8)[: len(out.data)] == out.data))
    assert start < 10_000
    for begin in range(0, 400_000, 10_000):
        kept[begin + start // 4 * 4 : begin + start // 4 * 4 + 1000] = False
    assert kept.sum() == len(out.data)


def test_burst_time_without_a_rate_is_at_1_MB_per_second():
    assert run("burst=1ms/10ms", stream(bytes(100_000)))[1].bytes_burst == 10_000


def test_burst_within_the_first_period_wherever_the_seed_puts_it():
    for seed in range(20):
        _, tally = run(f"burst=100B/1kB,seed={seed}", stream(bytes(1000)))
        assert tally.outages == 1 and tally.bytes_burst == 100


def test_events_far_away():
    out, tally = run("flip=1e-18,slip=1e-18,burst=1B/1000000MB", stream(bytes(1000)))
    assert len(out.data) >= 999 and not tally.bits_flipped and not tally.bytes_slipped


class Wire:
    """A carrier of both kinds, for tests: what is written can be read, in the same pieces."""

    rate = 1000.0

    def __init__(self, *heard):
        self.heard = list(heard)
        self.sent = []
        self.drained = self.closed = False

    def write(self, pieces):
        self.sent.append(pieces)

    def drain(self):
        self.drained = True

    def read(self, timeout):
        return self.heard.pop(0) if self.heard else b""

    def close(self):
        self.closed = True


def test_impaired_sender():
    wire = Wire()
    sender = ImpairedSender(wire, Impairment(drop=0.5, reorder=4))
    assert sender.rate == 1000
    sender.write(numbered(100))
    sender.write(EMPTY)
    assert not wire.drained
    sender.drain()
    sender.close()
    assert wire.drained and wire.closed
    assert sum(map(len, wire.sent)) == 100 - sender.tally.pieces_dropped
    assert all(len(frames.data) for frames in wire.sent)


def test_impaired_receiver_by_bytes():
    data = noise(10_000)
    receiver = ImpairedReceiver(Wire(data[:1], None, data[1:]), Impairment(flip=1e-3))
    assert len(receiver.read(None)) == 1
    assert receiver.read(0) is None
    heard = receiver.read(None)
    assert heard != data[1:] and len(heard) == 9999
    assert receiver.read(None) == b""
    receiver.close()
    assert receiver.tally.bits_flipped == pytest.approx(80, rel=0.5)


def test_impaired_receiver_by_pieces():
    data = noise(PIECE * 1000 + 17)
    wire = Wire(data[:100], data[100:300], None, data[300:70_000], data[70_000:])
    receiver = ImpairedReceiver(wire, Impairment(drop=0.1, seed=3), clock=FakeTime().clock)
    heard = []
    while (part := receiver.read(1)) != b"":
        heard.append(part)
    # 100 bytes are held, 256 come, the silence lets 44 go, and the end the last few.
    assert receiver.tally.pieces == 1001
    dropped = receiver.tally.pieces_dropped
    assert 60 < dropped < 140
    assert abs(len(b"".join(p for p in heard if p)) - (1001 - dropped) * PIECE) < 2 * PIECE
    assert wire.heard == []


def test_impaired_receiver_of_datagrams():
    """Whole datagrams are lost, doubled and late; bits flip inside them."""
    sent = [numbered(300), None, numbered(300)]
    spec = Impairment(drop=0.2, dup=0.1, reorder=5, seed=4)
    receiver = ImpairedReceiver(Wire(*sent), spec, datagrams=True)
    heard = []
    while (part := receiver.read(1)) != b"":
        heard += [bytes(piece) for piece in part.pieces()] if part else []
    tally = receiver.tally
    assert tally.pieces == 600
    assert len(heard) == 600 - tally.pieces_dropped + tally.pieces_duplicated
    assert {bytes(p) for p in numbered(300).pieces()} >= set(heard)
    assert tally.pieces_dropped > 60 and tally.pieces_duplicated > 20 and tally.pieces_late > 60
    flipping = ImpairedReceiver(Wire(numbered(300)), Impairment(flip=1e-2), datagrams=True)
    part = flipping.read(1)
    assert len(part) == 300 and (part.ends == numbered(300).ends).all()
    assert part.data.tobytes() != numbered(300).data.tobytes()


def test_impaired_receiver_that_loses_everything_still_ends():
    receiver = ImpairedReceiver(Wire(bytes(1000), None, bytes(1000)), Impairment(drop=1.0))
    assert receiver.read(5) is None
    assert receiver.read(None) == b""


def test_stream_channel_keeps_bytes_when_nothing_is_lost():
    data = noise(5000)
    channel = StreamChannel(Impairment(reorder=0, drop=0.0, dup=1.0), None)
    heard = b"".join(channel.feed(data[i : i + 300]) for i in range(0, 5000, 300))
    heard += channel.flush()
    assert len(heard) == 10_000
    assert heard[:256] == heard[256:512] == data[:256]


def test_impaired_receiver_lets_nothing_past_it():
    """What a carrier hears is told as it is; its other ways to read would go around the damage."""

    class Sound:
        rate = None
        heard, ear = "what is heard", "an ear"

        def read_into(self, room, timeout):
            raise AssertionError

    receiver = ImpairedReceiver(Sound(), Impairment())
    assert (receiver.heard, receiver.ear) == ("what is heard", "an ear")
    assert not hasattr(receiver, "read_into")
    assert ImpairedReceiver(Carrier(), Impairment()).heard is None


class Carrier:
    rate = None
