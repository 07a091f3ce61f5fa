"""The constant rate: turns of one size whatever is sent, and everything arrives all the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, Listener, content, examples

from diode import frame, slots
from diode.ahead import AtOnce
from diode.assembly import Assembled
from diode.code import CODES
from diode.constant_rate import ConstantRate
from diode.events import Key, ObjectVoided, SenderFellSilent
from diode.frame import Beat, Kind
from diode.objects import Type
from diode.plan import Link, Settings
from diode.sent import ObjectSent
from diode.supply import Given, Supplied
from diode.tag import LinkKey
from diode.transmitter import Transmitter

SERIAL = Link(rate=11_520)
FIBRE = Link(rate=12_500_000, max_frame=1472)
LINKS = pytest.mark.parametrize("link", [SERIAL, FIBRE], ids=["serial", "fibre"])


def transmitter(
    *objects: bytes | BytesSource,
    link: Link = SERIAL,
    settings: Settings | None = None,
    **more: object,
) -> Transmitter:
    settings, link = slots.filled(settings or Settings(), link)
    made = Transmitter(7, settings, link, **more)
    for number, thing in enumerate(objects, 1):
        made.add(number, thing if isinstance(thing, BytesSource) else BytesSource(thing))
    return made


def turns(sending: ConstantRate, most: int = 100_000) -> list[frame.Frames]:
    steps = (sending.step(0.0) for _ in range(most))
    return list(itertools.takewhile(lambda turn: turn is not None, steps))


def heard(sent: list[frame.Frames]) -> Listener:
    listener = Listener()
    return listener.hear([piece for turn in sent for piece in turn.pieces()])


def kinds(sent: list[frame.Frames]) -> list[int]:
    return [int(piece[0]) & 0x0F for turn in sent for piece in turn.pieces()]


class Slow:
    """Work that is done only when it is let."""

    def __init__(self) -> None:
        self.let = False

    def __call__(self, work: Callable[[], Assembled]) -> Slow:
        self.result = work
        return self

    def done(self) -> bool:
        return self.let


class Folder(BytesSource):
    type = Type.DIRECTORY


@LINKS
@examples(25)
@given(
    st.lists(st.binary(max_size=3000) | st.integers(0, 200_000).map(content), max_size=4),
    st.integers(1, 40),
    st.integers(1, 3),
)
def test_every_turn_is_the_same_whatever_is_sent(
    link: Link, objects: list[bytes], count: int, passes: int
) -> None:
    settings = Settings(passes=passes)
    sending = ConstantRate(transmitter(*objects, link=link, settings=settings), count, linger=0.1)
    nothing = ConstantRate(transmitter(link=link), count, linger=1e3)
    sent = turns(sending)
    for turn in sent:
        assert turn.lengths.tolist() == nothing.step(0.0).lengths.tolist()
        assert len(turn) == count
        assert len(np.unique(turn.lengths)) == 1
    listener = heard(sent)
    assert listener.delivered == {Key(7, n): c for n, c in enumerate(objects, 1)}
    assert listener.receiver.lost == 0
    assert listener.receiver.rejected == {}
    assert listener.receiver.idle == kinds(sent).count(Kind.IDLE) > 0
    assert len(listener.of(SenderFellSilent)) == 1
    assert listener.receiver.frames == len(sent) * count


@pytest.mark.parametrize(
    ("code", "link"),
    [
        ("zfec", SERIAL),
        ("repeat", SERIAL),
        ("zfec", FIBRE),
        ("repeat", FIBRE),
        ("raptorq", FIBRE),
        ("leopard", FIBRE),
    ],
)
def test_every_code(code: str, link: Link) -> None:
    if lacks := CODES[code].lacks:
        pytest.skip(f"{code} lacks {lacks}")
    settings = Settings(code=code, redundancy=1.0)
    objects = (b"", b"x", content(5_000), content(100_000))
    sent = turns(ConstantRate(transmitter(*objects, link=link, settings=settings), 5))
    assert len({length for turn in sent for length in turn.lengths.tolist()}) == 1
    assert heard(sent).delivered == {Key(7, n): c for n, c in enumerate(objects, 1)}


def test_long_announcements_folders_and_failures_are_no_longer_than_data() -> None:
    long_name = BytesSource(b"content", b"n" * 4096)
    broken = BytesSource(content(50_000), b"broken")
    broken.fails_at = 20_000
    folder = Folder(b"", b"folder")
    sent = turns(ConstantRate(transmitter(long_name, broken, folder), 3))
    assert {length for turn in sent for length in turn.lengths.tolist()} == {222}
    listener = heard(sent)
    assert set(listener.delivered) == {Key(7, 1), Key(7, 3)}
    assert [event.key for event in listener.of(ObjectVoided)] == [Key(7, 2)]


def test_tagged_frames_are_all_as_long() -> None:
    key = LinkKey.generate()
    sending = ConstantRate(transmitter(content(3_000), tagger=key), 4, linger=1.0)
    sent = turns(sending)
    assert {length for turn in sent for length in turn.lengths.tolist()} == {222 + key.extra}
    rows = np.concatenate([turn.equal_rows() for turn in sent])
    assert len(key.accepted(rows, lambda *_: pytest.fail("refused"))) == len(rows)


def test_what_is_not_ready_is_filled_and_comes_when_it_is() -> None:
    work = Slow()
    data = content(40_000)
    sending = ConstantRate(transmitter(data, ahead=work), 10)
    sent = [sending.step(0.0) for _ in range(20)]
    beats = kinds(sent).count(Kind.HEARTBEAT)
    assert beats == 1 + 199 // 51, "one a second, and the first"
    assert kinds(sent).count(Kind.IDLE) == 200 - beats
    work.let = True
    sent += turns(sending)
    assert heard(sent).delivered == {Key(7, 1): data}


def test_objects_may_come_at_any_time() -> None:
    inside = transmitter()
    states = [Supplied.PREPARING] * 5 + [Supplied.OPEN] * 50 + [Supplied.CLOSED] * 100
    asked = iter(states)
    data = [content(700, seed) for seed in range(3)]
    when = {3: 1, 20: 2, 40: 3}

    class Dropped(Given):
        turn = 0

        def poll(self) -> Supplied:
            if self.turn in when:
                number = when[self.turn]
                inside.add(number, BytesSource(data[number - 1]))
            self.turn += 1
            return next(asked)

    sending = ConstantRate(inside, 2, supply=Dropped())
    sent = turns(sending)
    assert set(kinds(sent[:5])) == {Kind.IDLE, Kind.HEARTBEAT}, "what is being filled is left alone"
    assert len(sent) >= 56, "as long as more may come, it goes on"
    assert heard(sent).delivered == {Key(7, n): d for n, d in enumerate(data, 1)}
    assert sum(isinstance(e, ObjectSent) for e in inside.events()) == 3


def test_lingers_for_that_long_and_rests() -> None:
    sending = ConstantRate(transmitter(b"x"), 5, linger=10.0)
    sent = []
    while not sending.resting:
        sent.append(sending.step(0.0))
    assert heard(sent).delivered == {Key(7, 1): b"x"}
    rest = turns(sending)
    frames_in_10_s = 10 * SERIAL.rate / 222
    assert abs(5 * (len(rest) + 1) - frames_in_10_s) <= 10


def test_without_an_end_it_goes_on_until_it_is_stopped() -> None:
    sending = ConstantRate(transmitter(b"x"), 5, linger=None)
    sent = turns(sending, 1_000)
    assert len(sent) == 1_000
    assert sending.resting
    sending.stop()
    last = turns(sending)
    assert len(last) == 1
    final = frame.parse_full(last[0].piece(4)[None])
    assert (final.kind[0], final.code[0]) == (Kind.HEARTBEAT, Beat.LAST)
    listener = heard(sent + last)
    assert listener.receiver.lost == 0
    assert listener.receiver.senders[7].sent == 5_004


def test_stopped_in_the_middle_the_last_turn_is_a_whole_one() -> None:
    source = BytesSource(content(100_000))
    sending = ConstantRate(transmitter(source), 7)
    sent = [sending.step(0.0) for _ in range(9)]
    assert not sending.resting
    sending.stop()
    sent += turns(sending)
    assert [len(turn) for turn in sent] == [7] * 10
    assert source.closed


def test_idle_frames_look_like_noise_and_are_the_same_every_time() -> None:
    first, again = (turns(ConstantRate(transmitter(), 8, linger=3.0)) for _ in range(2))
    assert [t.data.tobytes() for t in first] == [t.data.tobytes() for t in again]
    rows = np.concatenate([turn.equal_rows() for turn in first])
    bits = np.unpackbits(frame.payload(rows[rows[:, 0] & 0x0F == Kind.IDLE]))
    assert abs(bits.mean() - 0.5) < 0.02


def test_work_that_is_done_at_once_is_done_when_it_is_asked_for() -> None:
    calls = []
    pending = AtOnce(lambda: calls.append(1))
    assert pending.done()
    assert not calls
    pending.result()
    assert calls == [1]
