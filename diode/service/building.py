"""Files of drop folders as objects: the small ones in bundles, each with what it was made of.

What was queued before this process was started is built again from the same files, and is the same
object only if its manifest is: name, content, time, geometry (service/resuming.py).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.assembly import describe
from diode.errors import SourceError
from diode.objects import wire_name
from diode.plan import bundle_room
from diode.service.spool import File
from diode.source.bundle import BundleSource, gather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diode.assembly import Source
    from diode.flow import Flow
    from diode.objects import Manifest
    from diode.plan import Link, Settings
    from diode.service.spool import Entry
    from diode.source.bundle import StandingSpool
    from diode.source.drop import Ripe
    from diode.source.folder import Found


@dataclass(frozen=True, slots=True)
class Built:
    """An object that may get a number."""

    source: Source
    manifest: Manifest
    files: list[File]

    def discard(self) -> None:
        """It will not be read any more."""
        if isinstance(self.source, BundleSource):
            self.source.discard()


class Workbench:
    """Builds objects for one transmitter."""

    def __init__(self, settings: Settings, link: Link, spool: StandingSpool, *, kept: bool) -> None:
        """settings: the transmitter's, with its cipher. kept: whether there is a carousel."""
        self._settings = settings
        self._link = link
        self._spool = spool
        self.kept = kept

    def build(
        self,
        flow: Flow,
        things: Iterable[tuple[str, Ripe]],
        failed: Callable[[str, Ripe, SourceError], object],
        hashed: Callable[[int], object],
    ) -> Iterator[Built]:
        """Objects of these files, each with its drop folder. As `gather`."""
        waiting: defaultdict[bytes, deque[tuple[str, Ripe]]] = defaultdict(deque)
        by_found: dict[int, tuple[str, Ripe]] = {}

        def found() -> Iterator[Found]:
            for folder, ripe in things:
                waiting[wire_name(ripe.found.parts)].append((folder, ripe))
                by_found[id(ripe.found)] = (folder, ripe)
                yield ripe.found

        def taken(name: bytes) -> File:
            folder, ripe = waiting[name].popleft()
            del by_found[id(ripe.found)]
            assert ripe.found.identity is not None
            return File(folder, ripe.parts, ripe.found.identity)

        def lost(thing: Found, error: SourceError) -> None:
            one = by_found.pop(id(thing))
            waiting[wire_name(thing.parts)].remove(one)
            failed(*one, error)

        room = bundle_room(self._settings, self._link)
        for source in gather(found(), room, self._spool, lost, hashed):
            names = [m.name for m in source.members] if isinstance(source, BundleSource) else []
            files = [taken(name) for name in names or [source.name]]
            yield Built(source, self._described(source, flow), files)

    def again(
        self,
        flow: Flow,
        entry: Entry,
        things: Iterable[tuple[str, Ripe]],
        hashed: Callable[[int], object],
    ) -> Built | None:
        """The object of that entry, of these files; None where it is another by now."""

        def failed(_: str, __: Ripe, error: SourceError) -> None:
            raise error

        try:
            made = list(self.build(flow, things, failed, hashed))
        except SourceError:
            return None
        if len(made) == 1 and made[0].manifest == entry.manifest:
            return made[0]
        for one in made:
            one.discard()
        return None

    def _described(self, source: Source, flow: Flow) -> Manifest:
        """As the transmitter will describe it."""
        passes = self._settings.passes if flow.passes is None else flow.passes
        settings = dataclasses.replace(self._settings, passes=0 if self.kept else passes)
        return describe(source, settings, self._link)
