"""The objects of one flow on their way: passes over them, and the group on air.

Every object once, then every object once more: a repeated pass comes after the whole previous
one, and what is added meanwhile waits for the next. Within a pass (passes.py), blocks are collected
into interleaving groups, read from their source, coded and put in the order on air. What is held in
memory is the group on air and those that come next, which may be assembled beside the sending
(`Ahead`). A flow that is pre-empted keeps both until it goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diode.assembly import assemble
from diode.errors import SourceError
from diode.passes import Pass, frames_before, place_of

if TYPE_CHECKING:
    from diode.ahead import Ahead, Pending
    from diode.assembly import Outgoing
    from diode.coder import Coder
    from diode.flow import Flow
    from diode.frame import U8, Frames
    from diode.group import Group, Place, Spare
    from diode.plan import Link, Settings


@dataclass(slots=True)
class Progress:
    """Where the transmission stands; frames are those of the passes planned so far."""

    frames: int = 0
    total_frames: int = 0
    number_of_pass: int = 0
    """Of the flow that was served last."""
    passes: int = 1
    objects: int = 0
    line_frames: int = 0
    """Frames of every kind since the start of this run."""
    idle_frames: int = 0
    """Those of them that carried nothing."""
    line_bytes: int = 0
    """Bytes they made on the line; counted by whoever encodes them."""
    line_time: float = 0.0
    """Bytes of line time that they are expected to take."""


class Failed(NamedTuple):
    """An object whose source failed, and how."""

    outgoing: Outgoing
    reason: str


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the flows of a transmitter have in common."""

    sender: int
    link: Link
    ahead: Ahead
    """How a group is assembled while another one is sent."""
    coder: Coder
    spare: Spare
    depth: int
    """Groups that are assembled ahead."""


@dataclass(slots=True, eq=False)
class Traffic:
    """One flow."""

    flow: Flow
    settings: Settings
    workshop: Workshop
    progress: Progress
    number_of_pass: int = 0
    place: Place | None = None
    """How far it has come; None before the first frame of a group is handed out."""
    objects: dict[Outgoing, None] = field(default_factory=dict)
    over: list[Outgoing] = field(default_factory=list)
    """Objects of which a pass has ended, to be told."""
    failed: list[Failed] = field(default_factory=list)
    """Objects that have left because their source failed, to be told."""
    _pass: Pass | None = None
    _begun: bool = False
    """Whether all groups of the pass have been begun."""
    _coming: deque[Pending] = field(default_factory=deque)
    _start: Place | None = None
    _group: Group | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is left to send."""
        return not (self.objects or self._group or self._coming or self._pass)

    def add(self, outgoing: Outgoing) -> None:
        """Queue an object: it is of the pass that begins next."""
        self.objects[outgoing] = None
        frames = self.frames_of(outgoing)
        self.progress.total_frames += frames * max(1, self.settings.passes)
        self.progress.frames += frames * outgoing.passes_done

    def go_on(self, place: Place) -> None:
        """Begin where an earlier run with the same objects has stopped; before the first frame."""
        self._start = self.place = place
        self.number_of_pass = place.number_of_pass - 1
        for outgoing in self.objects:
            if outgoing.number == place.number:
                self.progress.frames += frames_before(
                    outgoing, place.block, self.settings, self.workshop.link
                )
                break
            self.progress.frames += self.frames_of(outgoing)

    def prepare(self) -> None:
        """Have the first group ready, before the line is first used."""
        if self._group is None:
            self._group = self._next_group(wait=True)
        self.progress.number_of_pass = self.number_of_pass

    def take(self, room: int, *, wait: bool) -> tuple[Frames, U8] | None:
        """The next frames, as many as fit into `room` bytes but at least one, and their lanes.

        wait: for a group that is not assembled yet. None: there are none, or none yet.
        """
        if self._group is None:
            self._group = self._next_group(wait=wait)
        group = self._group
        if group is None:
            return None
        first = group.next
        part = group.take(room)
        lanes = group.lane[first : group.next]
        self.progress.frames += len(part)
        self.progress.number_of_pass = self.number_of_pass
        self.progress.passes = self.settings.passes
        self.place = replace(group.place, frames=group.next)
        if group.next == len(group):
            self._group = None
            self.workshop.spare.give_back(group.stacks)
        return part, lanes

    def leave(self, outgoing: Outgoing) -> None:
        """Take an object out of the queue. Its source is the caller's to close."""
        outgoing.gone = True
        del self.objects[outgoing]

    def stop(self) -> None:
        """Send nothing more, and let go of all sources."""
        for coming in self._coming:
            coming.result()  # whoever reads the sources must have finished by then
        self._coming.clear()
        self._pass = self._group = None
        self._begun = False
        for outgoing in self.objects:
            outgoing.source.close()
        self.objects.clear()

    def frames_of(self, outgoing: Outgoing) -> int:
        """Frames of an object in one pass."""
        whole = max(1, outgoing.geometry.blocks)
        return frames_before(outgoing, whole, self.settings, self.workshop.link)

    # Passes and groups ----------------------------------------------------------------------

    def _next_group(self, *, wait: bool) -> Group | None:
        """The next interleaving group; None when all passes are done. Those after are begun.

        wait: for one that is not assembled yet; None otherwise.
        """
        while self._begin():
            if not self._coming:
                self._end_pass()
                continue
            if not (wait or self._coming[0].done()):
                return None
            assembled = self._coming.popleft().result()
            for outgoing, reason in assembled.failed.items():
                if not outgoing.gone:
                    self._fail(outgoing, reason)
            self._begin()
            if assembled.members:
                place = place_of(assembled.members, self.number_of_pass)
                group = self._begun_before(assembled.group(place))
                if group.next < len(group):
                    return group
        return None

    def _begin(self) -> bool:
        """Have the next groups assembled, as many as may be ahead; False: nothing is left."""
        if self._pass is None:  # what is added from now on waits for the next
            if not self.objects:
                return False
            self._pass = Pass(tuple(self.objects), self.settings, self.workshop.link, self._start)
            self._begun = False
            self.number_of_pass += 1
        shop = self.workshop
        while not self._begun and len(self._coming) < shop.depth:
            members = self._pass.next_group()
            if members:
                work = partial(assemble, members, shop.sender, shop.link, shop.spare, shop.coder)
                self._coming.append(shop.ahead(work))
            self._begun = not members
        return True

    def _end_pass(self) -> None:
        over, self._pass, self._start = self._pass, None, None
        assert over is not None
        for outgoing in over.objects:
            if outgoing.gone:
                continue
            try:
                outgoing.source.check()
            except SourceError as error:
                self._fail(outgoing, str(error))
                continue
            outgoing.passes_done += 1
            self.over.append(outgoing)
            if outgoing.passes_done == self.settings.passes:
                self.leave(outgoing)

    def _fail(self, outgoing: Outgoing, reason: str) -> None:
        self.leave(outgoing)
        outgoing.source.close()
        self.failed.append(Failed(outgoing, reason))

    def _begun_before(self, group: Group) -> Group:
        """Leave out what an earlier run has sent of the group with which this one starts."""
        start, self._start = self._start, None
        if start is not None and start.check == group.place.check:
            group.next = min(start.frames, len(group))
            self.progress.frames += group.next
        return group
