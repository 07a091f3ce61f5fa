"""All drop folders of a sender, and the flows that their files wait in, most urgent first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from diode.service.places import Place, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diode.flow import Flow
    from diode.service.config import Drop
    from diode.service.spool import Entry
    from diode.source.drop import Parts, Ripe
    from diode.source.files import Identity
    from diode.source.watch import News, Watch

QUICKEST, SLOWEST = 0.05, 1.0
"""Seconds between two scans."""
SHARE = 9
"""Times that a scan took, until the next one: a folder that is huge takes a tenth of the time."""


class Queues:
    """The places and flows as the configuration has them."""

    def __init__(
        self,
        drops: Sequence[Drop],
        skipped: Callable[[str, str], object],
        watch: Watch,
        remembered: Callable[[str], dict[Parts, Identity]],
    ) -> None:
        """remembered: what was taken from a folder before this process was started."""
        self._skipped = skipped
        self._watch = watch
        self._remembered = remembered
        self.places: list[Place] = []
        self.waiting: dict[str, Waiting] = {}
        self._former: dict[str, Place] = {}
        """Places that are no more in the configuration; what they had queued goes on."""
        self._scan: Iterator[tuple[Place, Ripe] | None] = iter(())
        self._due = 0.0
        """When the next scan begins."""
        self._soonest = 0.0
        """When it may begin, if something came."""
        self._begun: float | None = None
        """Since when one has been going on."""
        self.arrange(drops)

    @property
    def flows(self) -> list[Flow]:
        return [flow for place in self.places for flow in place.flows]

    @property
    def urgent(self) -> list[Waiting]:
        """The flows, the highest priority first."""
        return sorted(self.waiting.values(), key=lambda w: -w.flow.priority)

    def arrange(self, drops: Sequence[Drop]) -> None:
        """From now on these are the drop folders. What is known of those that stay holds."""
        before = {place.folder: place for place in self.places} | self._former
        self.places = []
        for drop in drops:
            place = before.pop(os.path.realpath(drop.folder), None)
            if place is None:
                place = Place(drop, self._skipped)
                place.files.taken = self._remembered(place.folder)
            else:
                place.change(drop)
            self.places.append(place)
        self._former = before
        ripe = [one for waiting in self.waiting.values() for one in waiting.pop_all()]
        for flow in self.flows:
            if flow.name in self.waiting:
                self.waiting[flow.name].flow = flow
            else:
                self.waiting[flow.name] = Waiting(flow)
        for folder, one in ripe:  # it is found again, in the flow that it belongs to now
            if place := self.place(folder):
                place.files.forget(one.parts, one.found.identity)
        self._scan, self._due = iter(()), 0.0

    def place(self, folder: str) -> Place | None:
        """The place of that folder, also one that is no more in the configuration."""
        places = {p.folder: p for p in (*self._former.values(), *self.places)}
        return places.get(folder)

    def of_entry(self, entry: Entry) -> Waiting | None:
        """The flow of an object that was queued before; None: it has none any more."""
        files = self.files_of(entry)
        if not files or len(files) < len(entry.files):
            return None
        folder, ripe = files[0]
        place = next(p for p in self.places if p.folder == folder)
        return self.waiting.get(place.flow_name(ripe.priority))

    def files_of(self, entry: Entry) -> list[tuple[str, Ripe]]:
        """Its files, each with its folder, as far as they belong to one that is there now."""
        places = {place.folder: place for place in self.places}
        found = []
        for file in entry.files:
            place = places.get(file.folder)
            ripe = place.files.known(file.parts, file.identity) if place else None
            if ripe is not None:
                found.append((file.folder, ripe))
        return found

    # Looking --------------------------------------------------------------------------------

    def due(self, now: float) -> float:
        """Seconds until there is something to look at."""
        return 0.0 if self._begun is not None else max(0.0, self._due - now)

    def look(self, clock: Callable[[], float]) -> None:
        """Scan on, a piece; what is ripe waits in its flow from then on."""
        if self._begun is None:
            if clock() < self._due:
                return
            self._begun, self._scan = clock(), self._whole_scan(clock)
        while True:
            try:
                found = next(self._scan)
            except StopIteration:
                self._end_scan(clock())
                return
            if found is None:
                return
            self._queue(*found)

    def came(self, news: Sequence[News]) -> None:
        """What a watch has told."""
        for folder, parts, moved in news:
            place = next((p for p in self.places if p.folder == folder), None)
            ripe = place.files.arrived(parts) if place and moved else None
            if place is not None and ripe is not None:
                self._queue(place, ripe)
        if news and self._begun is None:
            self._due = min(self._due, self._soonest)

    def gone(self) -> list[tuple[str, Parts]]:
        """Files that had been taken and are not there any more, since the last time."""
        found = [
            (place.folder, parts)
            for place in self.places
            for parts in place.files.gone
            if parts not in place.files.taken  # another of that name has come since
        ]
        for place in self.places:
            place.files.gone = []
        return found

    def _whole_scan(self, clock: Callable[[], float]) -> Iterator[tuple[Place, Ripe] | None]:
        for place in self.places:
            self._watch.add(place.folder, ())
            for ripe in place.files.scan(clock):
                yield None if ripe is None else (place, ripe)
            for parts in place.files.folders:
                self._watch.add(place.folder, parts)

    def _end_scan(self, now: float) -> None:
        took = now - (self._begun or 0.0)
        settle = min((place.config.settle for place in self.places), default=SLOWEST)
        interval = min(SLOWEST, max(QUICKEST, settle / 2))
        self._due = now + max(interval, SHARE * took)
        self._soonest = now + max(QUICKEST, SHARE * took)
        self._begun = None

    def _queue(self, place: Place, ripe: Ripe) -> None:
        place.files.take(ripe)
        self.waiting[place.flow_name(ripe.priority)].add(place.folder, ripe)
