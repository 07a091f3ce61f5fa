"""The sending loop: everything is written, then drained; an interruption ends in order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pair import BytesSource, Listener, content

from diode import line
from diode.errors import CarrierError
from diode.events import Key, SenderFellSilent
from diode.frame import Frames
from diode.plan import Link, Settings
from diode.service.lanes import Lane
from diode.service.sender import transmit
from diode.transmitter import Transmitter

CONTENT = content(2_000_000)


class Carrier:
    """Keeps what is written, and notes every call."""

    def __init__(self, rate: float | None = None, fails: Callable[[int], None] | None = None):
        self.rate = rate
        self.calls: list[str] = []
        self.written = bytearray()
        self._fails = fails or (lambda _: None)

    def write(self, pieces: Frames) -> None:
        self.calls.append("write")
        self._fails(self.calls.count("write"))
        self.written += bytes(pieces.data)

    def drain(self) -> None:
        self.calls.append("drain")

    def close(self) -> None:
        self.calls.append("close")


def sender(link: Link | None = None) -> Transmitter:
    transmitter = Transmitter(7, Settings(), link or Link())
    transmitter.add(1, BytesSource(CONTENT))
    return transmitter


def heard(carrier: Carrier) -> Listener:
    listener = Listener()
    decoder = line.decoder("cobs")
    rows = decoder.feed(np.frombuffer(bytes(carrier.written), np.uint8)) + decoder.flush()
    listener.take(listener.receiver.receive(rows, 0.0))
    return listener


def test_everything_is_written_and_then_drained() -> None:
    carrier, shown = Carrier(), []
    transmit(
        sender(),
        Lane(line.encoder("cobs"), carrier),
        shown=lambda: shown.append(len(carrier.calls)),
    )
    assert carrier.calls == ["write"] * (len(carrier.calls) - 1) + ["drain"]
    assert len(carrier.calls) > 5
    assert shown == [*range(1, len(carrier.calls)), len(carrier.calls) - 1]
    listener = heard(carrier)
    assert listener.delivered == {Key(7, 1): CONTENT}
    assert len(listener.of(SenderFellSilent)) == 1


def test_interruption_sends_a_last_heartbeat_and_comes_through() -> None:
    def interrupt(write: int) -> None:
        if write == 3:
            raise KeyboardInterrupt

    whole, carrier, shown = Carrier(), Carrier(fails=interrupt), []
    transmit(sender(), Lane(line.encoder("cobs"), whole))
    with pytest.raises(KeyboardInterrupt):
        transmit(sender(), Lane(line.encoder("cobs"), carrier), shown=lambda: shown.append(1))
    assert carrier.calls == ["write"] * 4, "two slices, one lost, one with the heartbeat"
    assert len(shown) == 3
    listener = heard(carrier)
    assert listener.delivered == {}
    (last,) = listener.of(SenderFellSilent)
    assert last.sender == 7
    assert len(carrier.written) < len(whole.written) / 2


def test_interruption_between_writes() -> None:
    carrier = Carrier()

    def shown() -> None:
        if carrier.calls.count("write") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transmit(sender(), Lane(line.encoder("cobs"), carrier), shown=shown)
    assert carrier.calls == ["write"] * 3
    assert len(heard(carrier).of(SenderFellSilent)) == 1


def test_carrier_that_is_gone_is_neither_written_to_nor_drained() -> None:
    def gone(write: int) -> None:
        if write == 2:
            raise CarrierError("gone")

    carrier, shown = Carrier(fails=gone), []
    with pytest.raises(CarrierError, match="gone"):
        transmit(sender(), Lane(line.encoder("cobs"), carrier), shown=lambda: shown.append(1))
    assert carrier.calls == ["write"] * 2
    assert len(shown) == 2


def test_clock_is_asked_only_where_there_is_a_rate() -> None:
    asked = []

    def clock() -> float:
        asked.append(1)
        return float(len(asked))

    first, second = Carrier(), Carrier()
    transmit(sender(), Lane(line.encoder("cobs"), first))
    transmit(sender(), Lane(line.encoder("cobs"), second))
    assert first.written == second.written, "the same objects and state give the same bytes"
    timed = Carrier(rate=1e6)
    transmit(sender(Link(rate=1e6)), Lane(line.encoder("cobs"), timed), clock=clock)
    assert len(asked) > len(first.calls)
    assert heard(timed).delivered == {Key(7, 1): CONTENT}


def test_nothing_to_send_still_says_so() -> None:
    carrier = Carrier()
    transmit(Transmitter(7, Settings(), Link()), Lane(line.encoder("cobs"), carrier))
    assert carrier.calls[-1] == "drain"
    assert len(heard(carrier).of(SenderFellSilent)) == 1


def test_monotonic_clock_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("time.monotonic", lambda: float(asked.append(1) or len(asked)))
    transmit(sender(Link(rate=1e6)), Lane(line.encoder("cobs"), Carrier(rate=1e6)))
    assert asked


def test_pieces_are_handed_over_in_batches() -> None:
    class Counting(Carrier):
        sizes: tuple[int, ...] = ()

        def write(self, pieces: Frames) -> None:
            self.sizes += (len(pieces.data),)
            super().write(pieces)

    carrier = Counting()
    transmit(
        sender(Link(rate=1e6)), Lane(line.encoder("cobs"), carrier, batch=10_000), clock=lambda: 0.0
    )
    assert max(carrier.sizes) <= 10_000
    assert min(carrier.sizes[:-1]) > 10_000 - 1100
    assert heard(carrier).delivered == {Key(7, 1): CONTENT}


def test_an_interruption_leaves_no_piece_behind() -> None:
    transmitter = sender(Link(rate=1e6))
    carrier, steps = Carrier(), 0

    def shown() -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transmit(
            transmitter,
            Lane(line.encoder("cobs"), carrier, batch=10**9),
            shown=shown,
            clock=lambda: 0.0,
        )
    listener = heard(carrier)
    assert listener.receiver.frames == transmitter.progress.line_frames
