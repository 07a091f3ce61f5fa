"""Records: payloads, groups with parity, and what a receiver makes of their frames.

Whatever the bytes, nothing is raised. Records that come out are ones that could have been sent; of
`every` a topic's numbers go up one by one but for gaps that are told; what is held is what is
counted, and stays within its bounds. (Of stream 0 numbers may begin anew.)
"""

from __future__ import annotations

import harness

with harness.instrumented():
    import numpy as np

    from diode import frame, inflow, record, record_group, topics
    from diode.events import RecordGap, RecordsHeard
    from diode.frame import Kind
    from diode.inflow import Inflow
    from diode.record import EVERY, Record

TOPICS = (b"a", b"b/c", b"b/d", b"+", b"\xff", b"x" * 255)


def payload(choices: harness.Choices) -> bytes:
    """Records, a few bytes of which may be wrong."""
    numbers = (1, 2, 3, 0, record.SEQUENCES - 1, choices.word())
    records = [
        Record(
            choices.of(*TOPICS),
            choices.take(choices.byte() % 8),
            choices.of(None, choices.byte()),
            choices.byte() % 3,
            bool(choices.byte() & 1),
            choices.of(*numbers),
            choices.byte() % 9 % 8,
        )
        for _ in range(choices.byte() % 5)
    ]
    made = bytearray(b"".join(record.pack(records)) or choices.take(20))
    if made and choices.byte() & 1:
        made[choices.word() % len(made)] ^= choices.byte()
    return bytes(made)


def frame_of(choices: harness.Choices, part: bytes) -> np.ndarray:
    rows = frame.blank_rows(1, len(part))
    frame.fill_full(
        rows,
        Kind.RECORD,
        code=choices.of(0, 0, 1, 2, 3, choices.byte()),
        sender=choices.of(1, 2),
        number=choices.of(1, 1, 0, 2, choices.word()),
        block=choices.of(0, 1, choices.word()),
        symbol=choices.of(0, 1, 2) << 8 | choices.of(0, 1, 2, choices.byte()),
    )
    frame.payload(rows)[0] = np.frombuffer(part, np.uint8)
    return rows


class Watched:
    """An inflow whose events are looked at."""

    def __init__(self) -> None:
        self.inflow = Inflow(lambda *_: None)
        self.last: dict[tuple[int, int, bytes], int] = {}

    def see(self, events: list) -> None:
        for event in events:
            if event.stream == 0:
                continue
            if isinstance(event, RecordGap):
                key = event.sender, event.stream, event.topic
                assert key not in self.last or event.first == self._after(key)
                self.last[key] = event.last
            elif isinstance(event, RecordsHeard):
                assert event.records
                for one in event.records:
                    assert topics.good(one.topic)
                    if event.class_ == EVERY:
                        key = event.sender, event.stream, one.topic
                        assert key not in self.last or one.sequence == self._after(key)
                        self.last[key] = one.sequence
        held = sum(line.size for line in self.inflow._every.values())
        assert held == self.inflow._held <= inflow.HELD

    def _after(self, key: tuple[int, int, bytes]) -> int:
        return (self.last[key] + 1) % record.SEQUENCES


def check_groups(choices: harness.Choices) -> None:
    """What parity gives back is what was sent, unless a frame of another group is among it."""
    payloads = [choices.take(1 + choices.byte() % 20) for _ in range(1 + choices.byte() % 6)]
    added = record_group.parity(payloads, 0.5)
    groups, longest = record_group.Groups(), max(map(len, payloads))
    wanted = {part.ljust(longest, b"\0") for part in payloads}
    for number, part in enumerate(payloads):
        if choices.byte() & 1:
            assert groups.source(0, number, part) == []
    for number, part in zip(added.numbers, added.payloads, strict=True):
        assert set(groups.parity(0, added.k, number, part.tobytes())) <= wanted


def target(data: bytes) -> None:
    record.unpacked(data)
    choices = harness.Choices(data)
    check_groups(choices)
    watched, now = Watched(), 0.0
    for _ in range(12):
        part = payload(choices)
        found = record.unpacked(part)
        again = record.unpacked(b"".join(record.pack(found.records)))
        assert again.records == found.records
        watched.see(watched.inflow.take(frame_of(choices, part), now))
        now += choices.of(0.0, 1.0, 50.0)
        watched.see(watched.inflow.tick(now))


if __name__ == "__main__":
    harness.run(target)
