"""What a source's process has read and the sender has not taken yet.

    source ─ put ─> latest: one value a topic ─┐
                    every: a queue, bounded ───┴─> batches ─> sender, which answers each

A source puts records here from any thread, and never waits, unless it can say to whoever gives it
the records that they come too fast (a pipe, a file, a broker that keeps what is not acknowledged).
What has no room is dropped, counted, and named now and then.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode import record
from diode.bucket import Bucket
from diode.record import EVERY, LATEST
from diode.service.record_process import BATCH, Batch, Reading, Said, Taken
from diode.topics import Patterns
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.service.record_process import Channel

ROOM = 4 << 20
"""Bytes of `every` that wait here, and of `latest`, at most."""
AGAIN = 0.2
"""Seconds after which what the sender had no room for is offered again."""
TOLD = 10.0
"""Seconds between two words about what was refused or dropped."""


@dataclass(slots=True)
class _Waiting:
    reading: Reading
    taken: Callable[[], object] | None


class Gathering:
    """Used by any number of threads, `run` by one."""

    def __init__(self, channel: Channel, every: tuple[str, ...]) -> None:
        """every: patterns of topics of which each record matters."""
        self._channel = channel
        self._patterns = Patterns(every)
        self._changed = threading.Condition()
        self._latest: dict[bytes, _Waiting] = {}
        self._every: deque[_Waiting] = deque()
        self._sizes = [0, 0]
        self._over = False
        self._number = os.getpid() << 32
        self._untold: dict[str, int] = {}
        self._refused = self._dropped = 0
        self._words = Bucket(1 / TOLD, 3)

    def put(
        self,
        topic: bytes,
        payload: bytes,
        *,
        time: int | None = None,
        quality: int = 0,
        retain: bool = False,
        taken: Callable[[], object] | None = None,
        wait: bool = False,
    ) -> None:
        """A record. taken: called when the sender has it, on its disk if it is of `every`.

        wait: until there is room. What cannot be a record is refused by name.
        """
        class_ = EVERY if self._patterns.match(topic) else LATEST
        new = Reading(class_, topic, payload, time, quality, retain)
        why = record.refusal(record.Record(topic, payload), record.MAX_PAYLOAD * 2)
        if why:
            self.refuse(f"refused {topic[:80].decode(errors='replace')}: {why}")
            if taken:
                taken()
            return
        with self._changed:
            while wait and not self._over and self._sizes[class_] > ROOM:
                self._changed.wait()
            if self._sizes[class_] > ROOM:
                name = topic.decode(errors="replace")
                self._drop(f"dropped {name}: no room, it comes faster than it is taken")
                return
            self._add(_Waiting(new, taken))
            self._changed.notify_all()

    def _add(self, one: _Waiting) -> None:
        new = one.reading
        self._sizes[new.class_] += new.size
        if new.class_ == EVERY:
            self._every.append(one)
            return
        old = self._latest.get(new.topic)
        if old is not None:
            self._sizes[LATEST] -= old.reading.size
            if old.taken:
                old.taken()  # it has been replaced, and nobody will miss it
        self._latest[new.topic] = one

    def refuse(self, words: str) -> None:
        """Something that is no record: count it, and tell of it now and then."""
        self._refused += 1
        self._note(words)

    def _drop(self, words: str) -> None:
        self._dropped += 1
        self._note(words)

    def _note(self, words: str) -> None:
        self._untold[words] = self._untold.get(words, 0) + 1
        if len(self._untold) > 100:
            self._untold.pop(next(iter(self._untold)))
        self.tell()

    def tell(self) -> None:
        """Say what was refused or dropped, if it is time to."""
        if self._untold and not self._words.full(time.monotonic()):
            self._words.pour()
            self._tell()

    def _tell(self) -> None:
        words, self._untold = next(iter(self._untold)), {}
        refused, self._refused = self._refused, 0
        dropped, self._dropped = self._dropped, 0
        others = refused + dropped - 1
        more = f" (and {plural(others, 'more record')})" if others else ""
        self._channel.send(Said(words + more, refused=refused, dropped=dropped))

    def say(self, text: str, *, warning: bool = True) -> None:
        """Something that the operator should know, as it is."""
        self._channel.send(Said(text, warning))

    def there(self, text: str = "") -> None:
        """What is read from, a broker or a file, is there now; some words about that."""
        self._channel.send(Said(text, warning=False, there=True))

    def away(self, text: str, *, warning: bool = True) -> None:
        """It is not there any more, or not yet, and why."""
        self._channel.send(Said(text, warning, there=False))

    def end(self) -> None:
        """No more will be put."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def run(self) -> None:
        """Hand over until `end` was called and everything is. EOFError where nobody takes it."""
        while True:
            with self._changed:
                while not (self._latest or self._every or self._over):
                    self._changed.wait(TOLD)
                    self.tell()
                if not (self._latest or self._every):
                    if self._untold:
                        self._tell()
                    return
                latest, every = self._batch()
            self._number += 1
            self._channel.send(Batch(self._number, [one.reading for one in (*latest, *every)]))
            while True:
                answer = self._channel.receive()
                if isinstance(answer, Taken) and answer.number == self._number:
                    break  # others are for the worker that was here before
            self._settle(latest, every, answer.every)

    def _batch(self) -> tuple[list[_Waiting], list[_Waiting]]:
        size, latest, every = 0, [], []
        while self._latest and size < BATCH // 2:
            topic = next(iter(self._latest))
            latest.append(self._latest.pop(topic))
            size += latest[-1].reading.size
        self._sizes[LATEST] -= size
        for one in self._every:
            if size >= BATCH:
                break
            every.append(one)
            size += one.reading.size
        return latest, every

    def _settle(self, latest: list[_Waiting], every: list[_Waiting], count: int) -> None:
        with self._changed:
            for _ in range(min(count, len(every))):
                self._sizes[EVERY] -= self._every.popleft().reading.size
            self._changed.notify_all()
        for one in (*latest, *every[:count]):
            if one.taken:
                one.taken()
        if count < len(every):
            time.sleep(AGAIN)
