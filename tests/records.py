"""Both ends of records joined by a channel and a clock of their own, for tests."""

import random

import numpy as np

from diode import events, stamp
from diode.outflow import Outflow, Pace
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.record import EVERY, LATEST, Record
from diode.standing import Standing
from diode.supply import Supplied
from diode.transmitter import Transmitter

SENDER = 7
SLOW = Link(11_520.0, 1024, lambda length: length + 2)


def reading(topic, payload=b"1", **more):
    topic = topic.encode() if isinstance(topic, str) else topic
    return Record(topic, payload, **more)


class Open:
    """A supply that brings nothing and does not end."""

    def poll(self):
        return Supplied.OPEN

    def stop(self):
        pass


class Pair:
    """A sender and a receiver of records, and the line between them in virtual time."""

    def __init__(
        self, *, link=SLOW, settings=None, lossy=lambda now: False, pace=None, streams=(1, 1)
    ):
        self.link, self.lossy, self.now = link, lossy, 0.0
        self.outflow = Outflow(SENDER, settings or Settings(), link, streams=streams, pace=pace)
        self.transmitter = Transmitter(SENDER, settings or Settings(), link, records=self.outflow)
        self.turns = Standing(self.transmitter, Open())
        self.receiver = Receiver(records=True)
        self.numbers = {}
        self.values, self.log, self.gaps, self.heard = {}, {}, [], []
        self.frames = 0

    def every(self, topic, payload=b"1", **more):
        number = self.numbers[topic] = self.numbers.get(topic, 0) + 1
        self.outflow.every(reading(topic, payload, sequence=number, **more), number, self.now)

    def latest(self, topic, payload=b"1", **more):
        self.outflow.latest(reading(topic, payload, **more), self.now)

    def run(self, until):
        """Let the line work until then."""
        while self.now < until:
            frames = self.turns.step(self.now)
            if frames is not None and len(frames):
                self.frames += len(frames)
                for piece in frames.pieces():
                    self.now += self.link.line_bytes(len(piece)) / self.link.rate
                    if not self.lossy(self.now):
                        self.hear(piece.copy())
            else:
                self.now = max(self.now + 1e-4, min(until, self.turns.wake_at()))
            self.take(self.receiver.tick(self.now))

    def hear(self, piece):
        assert stamp.check_rows(piece[None, :]).all()
        self.take(self.receiver.receive([np.ascontiguousarray(piece[None, :])], self.now))

    def take(self, happened):
        for event in happened:
            match event:
                case events.RecordsHeard(_, class_, _, records):
                    for one in records:
                        self.heard.append((self.now, one))
                        if class_ == LATEST:
                            self.values[one.topic.decode()] = one.payload
                        else:
                            assert class_ == EVERY
                            self.log.setdefault(one.topic.decode(), []).append(one.payload)
                case events.RecordGap():
                    self.gaps.append(event)


def dropping(share, *, outage=0.0, each=30.0, seed=1):
    """A line that loses that share of frames, and all in an outage at the end of each period."""
    chance = random.Random(seed)
    return lambda now: chance.random() < share or (outage > 0 and now % each > each - outage)


__all__ = ["EVERY", "LATEST", "Pace", "Pair", "dropping", "reading"]
