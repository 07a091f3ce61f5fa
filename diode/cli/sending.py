"""What one run of `diode send` keeps at hand, and what it says of what has become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.objects import escape
from diode.sent import ObjectSent, SourceFailed
from diode.source.bundle import BundleSource, Sent
from diode.wording import plural, seconds, size

if TYPE_CHECKING:
    from diode.cli.course import Course
    from diode.cli.preparing import Preparation
    from diode.cli.recording import NoSources, Sources
    from diode.cli.report import Report
    from diode.objects import Manifest
    from diode.plan import Settings
    from diode.transmitter import Transmitter


@dataclass(slots=True)
class Sending:
    """What one run of `diode send` keeps at hand."""

    report: Report
    preparation: Preparation
    course: Course
    records: Sources | NoSources
    failed: int = 0
    objects: int = 0
    files: int = 0
    """What people count: the members of a bundle each."""
    file_bytes: int = 0

    @property
    def transmitter(self) -> Transmitter:
        return self.preparation.transmitter

    def report_events(self) -> None:
        """Tell what the transmitter has finished."""
        for event in self.transmitter.events():
            match event:
                case ObjectSent():
                    self._sent(event, self.preparation.manifests[event.number])
                case SourceFailed():
                    self._failed(event)
                case _:
                    pass

    def _failed(self, event: SourceFailed) -> None:
        self.failed += event.number not in self.course.withdrawn
        self.course.void(event.number)
        self.report.event(
            "object_void",
            name=escape(event.name),
            sender=self.transmitter.sender,
            number=event.number,
            reason=event.reason,
        )
        self.report.warn(f"{event.reason}; the receiver is told not to deliver it")

    def _sent(self, event: ObjectSent, manifest: Manifest) -> None:
        sender = self.transmitter.sender
        self.report.detail(f"sent {escape(event.name)} as {sender:08x}:{event.number}")
        source = self.preparation.sources[event.number]
        bundled = isinstance(source, BundleSource)
        one = Sent(manifest.name, manifest.size, manifest.digest.hex())
        self.objects += 1
        files = source.members if isinstance(source, BundleSource) else [one]
        self.files += len(files)
        self.file_bytes += sum(file.size for file in files)
        each = (
            {"name": escape(file.name), "size": file.size, "sha256": file.sha256} for file in files
        )
        shared = {
            "sender": sender,
            "number": event.number,
            "passes": event.passes,
            "encrypted": manifest.encrypted,
            "bundle": bundled,
        }
        self.report.events("object_sent", each, shared)

    def conclude(self, settings: Settings) -> None:
        """The last words."""
        if self.records and not self.objects:
            return
        frames = self.transmitter.progress.line_frames
        rate = self.transmitter.link.rate
        took = ""
        if rate:
            line_time = self.transmitter.progress.line_time
            took = f", about {seconds(line_time / rate)} of line time"
        self.report.say(
            f"sent {self._what()}, {size(self.file_bytes)}, in "
            f"{plural(settings.passes, 'pass').replace('passs', 'passes')}: "
            f"{frames:,} frames{took}; what arrived cannot be known here"
        )

    def _what(self) -> str:
        """`3 objects`, or `300 files in 2 objects` where some of them went together."""
        objects = plural(self.objects, "object")
        if self.files == self.objects:
            return objects
        return f"{plural(self.files, 'file')} in {objects}"
