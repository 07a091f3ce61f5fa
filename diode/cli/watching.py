"""What `diode recv` says of what happens: to people on stderr, to programs as events."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from diode import events
from diode.cli import alarming, reading, verifying
from diode.cli.listening import Listening, Silent
from diode.cli.progress import Interval, Ration, Shown
from diode.errors import DestinationError
from diode.objects import Type, escape
from diode.service.notify import Unasked
from diode.wording import plural, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diode.cli.report import Report
    from diode.events import Key
    from diode.health import Alarm
    from diode.incoming import Incoming
    from diode.objects import Manifest
    from diode.ordering import GivenUp
    from diode.service.disk import Disk
    from diode.service.notify import Notifier
    from diode.service.receiver import Session
    from diode.service.uploads import Facts
    from diode.sink import Delivered, Unpacked

LINK_INTERVAL = 10.0
GLIMPSE = 0.25
"""Seconds between two lines of a waterfall."""
MAX_DETAILS = 20
"""Different refusals told one by one with -v; after that they are only counted."""


class Place(Protocol):
    """Where objects go: what is said of one that is there, and what happens next."""

    event: str
    word: str

    def placed(self, each: Sequence[Facts], shared: Facts) -> None:
        """Objects, or files of one, are there; both: the fields of their events."""

    def begin(self, disk: Disk) -> None:
        """Listening begins. disk: where work on the sink is done."""

    def tick(self, session: Session) -> None:
        """Some bytes, or some time, have passed."""

    def finish(self, session: Session) -> DestinationError | None:
        """Listening is over: wait for the rest; what keeps it from getting there."""

    def close(self) -> None:
        """Whatever is left is left to the next start."""


@dataclass(slots=True)
class AtHand:
    """A folder, or standard output: what is there is delivered."""

    report: Report
    quiet: bool = False
    """Standard output is for something else."""
    event: str = "object_delivered"
    word: str = "delivered"

    def placed(self, each: Sequence[Facts], shared: Facts) -> None:  # noqa: ARG002
        if not (self.report.json or self.quiet or sys.stdout.isatty()):
            self.report.result(*(one["path"] for one in each if one["path"] != "-"))

    def begin(self, disk: Disk) -> None:
        """Nothing is left to do."""

    def tick(self, session: Session) -> None:
        """Nor here."""

    def finish(self, session: Session) -> None:
        """Nor here."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Watcher:
    """Shows and reports what a session sees."""

    report: Report
    bar: Shown
    place: Place
    heard: Listening = field(default_factory=Silent)
    notifier: Notifier = field(default_factory=Unasked)
    _refusals: verifying.Refusals = field(default_factory=verifying.Refusals)
    untold: int = 0
    """Refusals that were only counted, because too many came."""
    unstored: DestinationError | None = None
    """What kept objects from getting where they were to go."""
    _refusing: Ration = field(default_factory=Ration)
    _details: int = 0
    _blocks: dict[Key, tuple[int, int]] = field(default_factory=dict)
    _progress: Interval = field(default_factory=Interval)
    _link: Interval = field(default_factory=lambda: Interval(LINK_INTERVAL))
    _fall: Interval = field(default_factory=lambda: Interval(GLIMPSE))

    def event(self, event: events.Event, session: Session) -> None:  # noqa: ARG002
        report = self.report
        match event:
            case events.SenderHeard(sender):
                report.detail(f"hearing sender {sender:08x}")
                report.event("sender_heard", sender=sender)
            case events.ObjectAnnounced(key, manifest):
                report.event(
                    "object_announced",
                    name=escape(manifest.name),
                    size=manifest.size,
                    sha256=manifest.digest.hex(),
                    sender=key.sender,
                    number=key.number,
                )
                report.detail(f"announced: {escape(manifest.name)}, {size(manifest.size)}, {key}")
            case events.BlockSpoiled(key, block):
                report.warn(
                    f"block {block} of {key} contradicts its check; waiting for more symbols"
                )
            case events.FrameRejected(reason, count, detail) if detail:
                self._refusal(reason, count, detail)
            case events.ObjectQuarantined():
                self._refusals.tell(report, event)
            case events.RecordGap():
                self._record_gap(event)
            case events.ObjectVoided(key):
                report.event("object_void", sender=key.sender, number=key.number)
            case _:
                pass

    def _record_gap(self, gap: events.RecordGap) -> None:
        topic = escape(gap.topic)
        self.report.event(
            "record_gap", sender=gap.sender, topic=topic, first=gap.first, last=gap.last
        )
        if self._refusing.take():
            some = f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"
            self.report.warn(f"records {some} of {topic} ({gap.sender:08x}) did not come")
        else:
            self.untold += 1

    def delivered(self, key: Key, incoming: Incoming, how: Delivered, session: Session) -> None:
        manifest = incoming.manifest
        path = how.path + ("/" if manifest.type == Type.DIRECTORY else "")
        facts = self._facts(key, incoming, session)
        one = _told(manifest.name, path, manifest.size, how)
        self._placed([one], facts | {"bundle": False})
        if how.path == "-":
            return
        what = "already there" if how.duplicate else self.place.word
        details = _details(incoming)
        self.report.say(f"{what} {escape(path)} ({size(manifest.size)}{details})")

    def unpacked(self, key: Key, incoming: Incoming, how: Unpacked, session: Session) -> None:
        facts = self._facts(key, incoming, session) | {"bundle": True}
        each = []
        for member, where in how.files:
            path = where.path + ("/" if member.type == Type.DIRECTORY else "")
            each.append(_told(member.name, path, member.size, where))
        self._placed(each, facts)
        there = sum(where.duplicate for _, where in how.files)
        already = f", {there:,} of them already there" if there else ""
        total = size(sum(member.size for member, _ in how.files))
        name = escape(incoming.manifest.name)
        self.report.say(f"{self.place.word} {name} ({total}{already}{_details(incoming)})")

    def _placed(self, each: Sequence[Facts], shared: Facts) -> None:
        self.report.events(self.place.event, each, shared)
        self.place.placed(each, shared)

    def _facts(self, key: Key, incoming: Incoming, session: Session) -> Facts:
        """What is said of an object that came, besides its name and place; as in the ledger."""
        received = session.receiver.senders.get(key.sender)
        came = incoming.came._asdict()
        return {
            "sender": key.sender,
            "number": key.number,
            "encrypted": incoming.manifest.encrypted,
            **came,
            "signed_by": came["signed_by"] or None,
            "signed_by_key": came["signed_by_key"] or None,
            "frames": received.frames if received else 0,
            "object_frames": came["frames"],
        }

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:  # noqa: ARG002
        self.report.event(
            "object_known", name=escape(manifest.name), sender=key.sender, number=key.number
        )
        self.report.say(f"{escape(manifest.name)} ({key}) was delivered before")

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:  # noqa: ARG002
        if not self._refusing.take():
            self.untold += 1
            return
        self.report.event(
            "object_incomplete",
            name=escape(manifest.name),
            sender=key.sender,
            number=key.number,
            reason=why,
        )
        self.report.warn(f"{escape(manifest.name)} ({key}) is not delivered: {why}")

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:  # noqa: ARG002
        self.report.event(
            "object_held", name=escape(manifest.name), sender=key.sender, number=key.number
        )
        self.report.detail(f"{escape(manifest.name)} ({key}) is whole and waits for its turn")

    def gave_up(self, gap: GivenUp, session: Session) -> None:  # noqa: ARG002
        self.report.event("gap", sender=gap.sender, first=gap.first, last=gap.last, given_up=True)
        self.report.warn(
            f"{numbers_of(gap.first, gap.last)} of sender {gap.sender:08x} did not come in time; "
            "later ones are delivered, send these again under new numbers"
        )

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:  # noqa: ARG002
        # --once, --count and the end of the line are the only ends that trouble has.
        what = f"{error}; listening goes on, {size(needed)} and more wait for it"
        self.report.error(DestinationError(what, hint=error.hint))

    def notice(self, text: str) -> None:
        self.report.warn(text)

    def alarm(self, alarm: Alarm, raised: bool) -> None:
        """Something that a person should look at has begun, or is over."""
        alarming.tell(self.report, alarm, raised)

    def tick(self, session: Session) -> None:
        receiver = session.receiver
        self.notifier.progressed()
        if self._progress.due():
            symbols = done = 0
            for incoming in receiver.objects.values():
                held, needed = incoming.collector.symbols
                symbols, done = symbols + needed, done + held
            name = next(reversed(receiver.objects.values()), None)
            text = escape(name.manifest.name)[-30:] if name else "listening"
            rate = session.line_bytes / max(0.1, session.clock() - session.started)
            text = (
                f"{text}, {_pass(session)}{size(rate)}/s, {receiver.frames:,} frames, "
                f"{receiver.lost:,} lost, {session.deliveries.delivered:,} delivered"
            )
            self.bar.update(done, symbols or None, text, self.heard.text())
            self.notifier.status(text)
            self.report.event(
                "progress",
                frames=receiver.frames,
                lost=receiver.lost,
                rejected=sum(receiver.rejected.values()) + sum(session.line.rejected.values()),
                symbols=done,
                total_symbols=symbols,
                delivered=session.deliveries.delivered,
            )
        if self.report.verbose and self.report.live and self._fall.due():
            self.report.detail(self.heard.waterfall())
        if self._link.due():
            self.link(session)
        self.place.tick(session)

    def figures(self, session: Session) -> dict[str, int]:
        """What the medium and the way to it have counted."""
        counted = self.heard.fields() | reading.figures(session.carrier)
        return {name: count for name, count in counted.items() if isinstance(count, int)}

    def link(self, session: Session) -> None:
        """The state of the link."""
        receiver = session.receiver
        self.report.event(
            "link",
            frames=receiver.frames,
            rejected=sum(receiver.rejected.values()) + sum(session.line.rejected.values()),
            lost=receiver.lost,
            idle=receiver.idle,
            silent_seconds=round(session.clock() - session.last_frame, 1),
            bytes=session.line_bytes,
            noise=session.line.noise,
            unwritten=session.unwritten,
            waiting=len(session.deliveries.waiting),
            untold=self.untold,
            **reading.figures(session.carrier),
            reasons=dict(receiver.rejected + session.line.rejected),
            records=receiver.records.heard,
            record_gaps=receiver.records.gaps,
            **self.heard.fields(),
        )

    def _refusal(self, reason: str, count: int, detail: str) -> None:
        if not self._refusing.take():
            self.untold += 1
            return
        self._details += 1
        self.report.event("frame_rejected", reason=reason, count=count, detail=escape(detail))
        if self._details <= MAX_DETAILS:
            self.report.detail(f"refused ({reason}): {escape(detail)}")


def _told(name: bytes, path: str, count: int, how: Delivered) -> Facts:
    """What of a delivery is told of each file. count: its bytes."""
    return {
        "name": escape(name),
        "path": path,
        "size": count,
        "sha256": how.sha256,
        "duplicate": how.duplicate,
    }


def _details(incoming: Incoming) -> str:
    """What had to be repaired, and who signed, in words."""
    repaired = (
        f", {plural(incoming.decoded_blocks, 'block')} of {incoming.collector.geometry.blocks}"
        " repaired"
        if incoming.decoded_blocks
        else ""
    )
    return repaired + verifying.signed(incoming.verdict)


def _pass(session: Session) -> str:
    """Which pass is on air, as the sender's last heartbeat said; empty where it did not."""
    heard = next(reversed(session.receiver.senders.values()), None)
    if heard is None or not heard.number_of_pass:
        return ""
    return f"pass {heard.number_of_pass}" + (f"/{heard.passes}, " if heard.passes else ", ")


def numbers_of(first: int, last: int) -> str:
    """A range of object numbers in words."""
    return f"object {first}" if first == last else f"objects {first} to {last}"
