"""Loss over the last minute, hour and day, in bounded memory.

A window is a ring of buckets, each for a step of time: the newest one is being filled, the oldest
one is emptied when time comes round to it. So a window of n buckets covers between n - 1 and n
steps. What was lost shows when the next frame comes, and is counted then. Frames that turn up after
they were counted as lost are taken off again, where they are counted.

`History` keeps the minutes of a day apart, for a plot, and gives them out for the next run.

No clock is read here: time comes with each call, monotonic, and of the wall only to name minutes.
"""

from __future__ import annotations

from collections import deque

from diode.health import Loss, Sample

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
MINUTES = 1440
"""Samples that are kept: a day."""


class Window:
    """A ring of buckets."""

    def __init__(self, step: float, buckets: int) -> None:
        self._step = step
        self._frames = [0] * buckets
        self._lost = [0] * buckets
        self._now: int | None = None

    def add(self, now: float, frames: int, lost: int) -> None:
        """So many more frames came, and so many more were lost; none of both lets time pass."""
        at, size = int(now // self._step), len(self._frames)
        if self._now is None:
            self._now = at
        for passed in range(min(at - self._now, size)):
            index = (at - passed) % size
            self._frames[index] = self._lost[index] = 0
        self._now = max(self._now, at)
        if self._now - at < size:
            self._frames[at % size] += frames
            self._lost[at % size] += lost

    @property
    def counts(self) -> tuple[int, int]:
        """Frames that came, and that were lost."""
        return sum(self._frames), max(0, sum(self._lost))

    @property
    def loss(self) -> float | None:
        """Share of the frames that did not come; None where none were sent."""
        frames, lost = self.counts
        return lost / (frames + lost) if frames + lost > 0 else None


class Losses:
    """Of one sender, or of a whole line."""

    def __init__(self) -> None:
        self.minute = Window(5.0, 12)
        self.hour = Window(MINUTE, 60)
        self.day = Window(1800.0, 48)
        self._before = (0, 0)

    def count(self, now: float, frames: int, lost: int) -> tuple[int, int]:
        """So many frames have come in all, and so many were lost; how many more that is."""
        more = max(0, frames - self._before[0]), lost - self._before[1]
        self._before = frames, lost
        for window in (self.minute, self.hour, self.day):
            window.add(now, *more)
        return more

    def recall(self, when: float, frames: int, lost: int) -> None:
        """Count what came in an earlier run, at a time before all others that are counted yet."""
        for window in (self.hour, self.day):
            window.add(when, frames, lost)

    @property
    def loss(self) -> Loss:
        return Loss(self.minute.loss, self.hour.loss, self.day.loss)


def merged(old: list[Sample], new: list[Sample]) -> list[Sample]:
    """The minutes of both, each once, in order."""
    known = {sample.time: sample for sample in (*old, *new)}
    return [known[time] for time in sorted(known)]


class History:
    """The minutes of the last day."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=MINUTES)
        """Those that are over, and that are of the last day."""
        self._begun: float | None = None
        self._name = 0.0
        self._frames = self._lost = 0

    @property
    def current(self) -> Sample:
        """The minute that is not over."""
        return Sample(self._name, self._frames, max(0, self._lost))

    def count(self, now: float, wall: float, frames: int, lost: int) -> bool:
        """So many more came, and were lost; whether a minute is over with that."""
        begun = now // MINUTE
        over = self._begun is not None and begun > self._begun
        if over:
            self.samples.append(self.current)
        if over or self._begun is None:
            self._name = float(round(wall - now % MINUTE))
            self._frames = self._lost = 0
        if self._begun is None and self.samples:
            last = self.samples[-1]
            if abs(self._name - last.time) < MINUTE / 2:  # the run before began this minute
                self._frames, self._lost = last.frames, last.lost
                self.samples.pop()
        self._begun = max(begun, self._begun or begun)
        self._frames += frames
        self._lost += lost
        return over

    def recall(self, samples: list[Sample], wall: float) -> list[tuple[float, Sample]]:
        """Take back those of an earlier run; each that is of the last day, with its age."""
        known = [(wall - sample.time, sample) for sample in samples]
        lately = [(age, sample) for age, sample in known if 0 <= age < DAY]
        self.samples.extend(sample for _, sample in lately)
        return lately
