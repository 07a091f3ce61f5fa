"""What a line does to records: tried out, in its own time, with what sends and receives them.

The order on air follows from latencies, priorities and repeats (outflow.py), and no formula has all
of that. So records of a rate and size are given to a sender whose line takes as long as the real
one, and to a receiver that loses frames at random, and how long each took is counted. What all
repeats come to, which are spread over half a minute, is reckoned instead: sends of a record, times
the line bytes that one took with its share of headers and parity.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.events import RecordsHeard
from diode.outflow import Outflow, Pace
from diode.receiver import Receiver
from diode.record import EVERY, LATEST, Record, length
from diode.transmitter import Transmitter

if TYPE_CHECKING:
    from diode.plan import Link, Settings

COUNT = 30_000
"""Records that are tried, at most."""
SECONDS = 60.0
"""Of them, at most; and as long again for what is late."""
FASTEST = 1e9
"""Bytes per second of a link without a rate."""
SEED = 0xD10DE


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be sent. rate: records a second, over so many topics in turn. size: payload."""

    rate: float
    size: int
    topics: int
    every: bool

    def topic(self, number: int) -> bytes:
        """Of a length that topics often have."""
        return b"site/line-%02d/value-%04d" % (number % 100, number % self.topics)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What comes of it."""

    fits: bool
    record_bytes: float
    """Line bytes of a record each time it is sent, its share of headers and parity included."""
    sends: float
    """How often one is sent before it is replaced, or for the last time."""
    line_share: float | None
    """Of the line, what all records take; None where it has no rate."""
    median: float
    late: float
    """Seconds to be heard, of half and of 999 of 1,000 of those that were."""
    heard: float
    """Share of the records that were heard at all: of `latest`, others were replaced."""
    refused: str = ""
    """Why not one could be sent."""


def outlook(load: Load, settings: Settings, link: Link, loss: float) -> Outlook:
    """Try it. loss: share of frames lost at random."""
    rate = link.rate or FASTEST
    pace = Pace()
    outflow = Outflow(1, settings, link, streams=(1, 1), pace=pace)
    record = Record(load.topic(0), bytes(load.size), 0)
    if (size := length(record)) > outflow.longest:
        why = f"a record takes {size:,} bytes, and a frame here has room for {outflow.longest:,}"
        return Outlook(False, size, 0, None, 0, 0, 0, why)
    trial = _Trial(load, outflow, Transmitter(1, settings, link, records=outflow), link, loss)
    trial.run()
    each = trial.bytes / max(1, trial.sent)
    sends = _sends(load, pace)
    taken = np.sort(np.array(trial.waits or [0.0]))
    share = load.rate * each * sends / rate
    return Outlook(
        share <= 1,
        each,
        sends,
        share if link.rate else None,
        float(taken[len(taken) // 2]),
        float(taken[min(len(taken) - 1, int(len(taken) * 0.999))]),
        len(trial.waits) / max(1, trial.given),
    )


def _sends(load: Load, pace: Pace) -> float:
    """How often a record is sent."""
    if load.every:
        return 1 + len(pace.every)
    kept = load.topics / load.rate  # seconds until the next value of its topic
    sends, at = 1.0, 0.0
    for delay in pace.latest:
        at += delay
        sends += at < kept
    return sends + max(0.0, kept - at) / pace.cycle


class _Trial:
    """Both ends, and the line between them."""

    def __init__(
        self, load: Load, outflow: Outflow, sender: Transmitter, link: Link, loss: float
    ) -> None:
        self._load, self._outflow, self._sender, self._link = load, outflow, sender, link
        self._loss = loss
        self._chance = random.Random(SEED)
        self._receiver = Receiver(records=True)
        self._last: dict[bytes, int] = {}
        self._births: dict[tuple[bytes, int], float] = {}
        self.given = self.sent = 0
        self.bytes = 0.0
        self.waits: list[float] = []

    def run(self) -> None:
        load, now = self._load, 0.0
        rate = self._link.rate or FASTEST
        count = max(1, min(COUNT, int(load.rate * SECONDS)))
        end = count / load.rate
        self._sender.first(now)
        while now < end + min(SECONDS, end):
            while self.given < count and self.given / load.rate <= now:
                self._give(self.given / load.rate)
            frames = self._sender.next(now)
            if frames is None:
                soon = self.given / load.rate if self.given < count else end + SECONDS
                now = max(now + 1e-6, min(soon, self._sender.wake_at()))
                continue
            for piece in frames.pieces():
                taken = self._link.line_bytes(len(piece))
                now += taken / rate
                self.bytes += taken
                if self._chance.random() >= self._loss:
                    self._hear(np.ascontiguousarray(piece[None, :]), now)
        self.sent = sum(self._outflow.offered) + self._outflow.repeated
        self.sent -= self._outflow.replaced + sum(self._outflow.waiting)

    def _give(self, now: float) -> None:
        load, topic = self._load, self._load.topic(self.given)
        payload = self.given.to_bytes(8, "little")[: load.size].ljust(load.size, b"0")
        if load.every:
            number = self._last[topic] = self._last.get(topic, 0) + 1
            self._outflow.every(Record(topic, payload, 0, sequence=number), self.given, now)
            self._births[topic, number] = now
        else:
            self._outflow.latest(Record(topic, payload, self.given), now)
        self.given += 1

    def _hear(self, rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]], now: float) -> None:
        for event in self._receiver.receive([rows], now):
            if not isinstance(event, RecordsHeard):
                continue
            for one in event.records:
                if event.class_ == EVERY:
                    self.waits.append(now - self._births.pop((one.topic, one.sequence)))
                elif event.class_ == LATEST and one.time is not None:
                    self.waits.append(now - one.time / self._load.rate)
