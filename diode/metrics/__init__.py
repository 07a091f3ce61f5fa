"""Metrics of a receiver or a sender, in the text format of Prometheus.

    Health, Sending ──> families ──> exposition ──> a file for node_exporter (textfile.py)
                                               └──> a listener, if configured (listener.py)

Every number is one of `health.py`; nothing is counted here. What the sender counts, and what the
receiver learnt of it from heartbeats, stand beside each other under different names.

Labels are few whatever comes over the link: of the senders, which anybody on the line can make up,
only the `SENDERS` heard last have series of their own, and reasons are this program's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from diode.health import Health, LinkState, Sending
from diode.metrics import records
from diode.metrics.families import counter, gauge, one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import GaugeMetricFamily, Metric

    from diode.health import Alarm, SenderHealth
    from diode.metrics.families import Labelled, Value

SENDERS = 16
ALARMS = (
    *("silent", "losing", "repair", "disk", "gap", "refused", "gone"),
    *("record_gap", "records_dropped", "sink_away", "source_away"),
)
"""Alarms that have a series whether they are raised or not, so that rules can rely on them."""


def exposition(state: Health | Sending) -> bytes:
    """All that is known, as text/plain; version=0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(_receiver(state) if isinstance(state, Health) else _sender(state)))
    return generate_latest(registry)


class _Families(Collector):
    """Families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return []


def _alarms(alarms: Iterable[Alarm]) -> GaugeMetricFamily:
    raised = {alarm.name for alarm in alarms}
    known = ALARMS + tuple(sorted(raised - set(ALARMS)))
    values = [((name,), float(name in raised)) for name in known]
    return gauge("alarm", "Whether a person should look at it now.", values, "alarm")


# The receiver -----------------------------------------------------------------------------------


def _receiver(health: Health) -> Iterator[Metric]:
    yield from _line(health)
    yield from _objects(health)
    yield from _disk(health)
    yield from _of_senders(health.senders[-SENDERS:])
    if health.records is not None:
        yield from records.heard(health.records, health.time)
    yield _alarms(health.alarms)
    yield gauge("told_timestamp_seconds", "When the receiver told this.", one(health.time))
    yield gauge("start_timestamp_seconds", "When the receiver started.", one(health.started))


def _line(health: Health) -> Iterator[Metric]:
    line = health.line
    states = [((state.value,), float(line.state is state)) for state in LinkState]
    yield gauge("link_state", "1 for the state that the link is in.", states, "state")
    frames: list[Labelled] = [
        (("heard",), line.frames),
        (("lost",), line.lost),
        (("idle",), line.idle),
    ]
    yield counter(
        "frames", "Frames by what became of them; idle ones were heard.", frames, "result"
    )
    rejected = [((reason,), count) for reason, count in sorted(line.rejected.items())]
    yield counter("frames_rejected", "Frames that were not used, by reason.", rejected, "reason")
    yield counter("line_bytes", "Bytes heard on the line.", one(line.bytes))
    yield counter("noise_bytes", "Bytes that belong to no frame.", one(line.noise))
    dropped = "Bytes heard that found no room in the buffer."
    yield counter("dropped_bytes", dropped, one(line.dropped_bytes))
    kernel = "Datagrams that this machine's kernel dropped."
    yield counter("kernel_dropped", kernel, one(line.kernel_dropped))
    loss = line.loss
    yield gauge(
        "loss_ratio",
        "Share of the frames sent that did not come.",
        [(("minute",), loss.minute), (("hour",), loss.hour), (("day",), loss.day)],
        "over",
    )
    age = None if line.last_heard is None else max(0.0, health.time - line.last_heard)
    yield gauge("last_frame_age_seconds", "Seconds since a frame was heard.", one(age))
    limit = "Silence after which a person is to look."
    yield gauge("silence_limit_seconds", limit, one(health.silence))


def _objects(health: Health) -> Iterator[Metric]:
    repair, counts = health.repair, health.outcomes
    yield gauge(
        "repair_used_ratio",
        "Repair needed as a share of the repair available; at 1 an object fails.",
        [(("last",), repair.last), (("hour",), repair.hour), (("worst",), repair.worst)],
        "over",
    )
    yield counter(
        "objects",
        "Objects since the receiver started, by what became of them.",
        [
            (("delivered",), counts.delivered),
            (("refused",), counts.refused),
            (("quarantined",), counts.quarantined),
            (("known",), counts.known),
        ],
        "result",
    )
    yield gauge(
        "objects_pending",
        "Objects that nothing final has become of.",
        [
            (("unfinished",), health.unfinished_objects),
            (("held",), counts.held),
            (("waiting",), counts.waiting),
        ],
        "state",
    )
    missing = "Object numbers that senders have used and nothing was heard of."
    yield gauge("objects_missing", missing, one(health.missing_objects))


def _disk(health: Health) -> Iterator[Metric]:
    disk = health.disk
    yield gauge("disk_free_bytes", "Free where objects go.", one(disk.free))
    yield gauge("disk_size_bytes", "Size of the file system where objects go.", one(disk.size))
    yield gauge("unfinished_bytes", "Bytes of unfinished objects.", one(disk.unfinished))
    yield gauge("quota_bytes", "Bytes that unfinished objects may take.", one(disk.quota))
    unwritten = "Times that something could not be written."
    yield counter("unwritten", unwritten, one(disk.unwritten))


_OF_A_SENDER: tuple[tuple[str, bool, str, Callable[[SenderHealth], Value]], ...] = (
    ("frames_heard", True, "Frames heard of a sender.", lambda s: s.frames),
    ("frames_lost", True, "Frames lost on the way.", lambda s: s.lost),
    ("frames_sent", True, "Its own count of frames, from heartbeats.", lambda s: s.sent),
    ("silent_seconds", False, "Seconds since it was heard.", lambda s: s.silent_seconds),
    ("ended", False, "1 when it said that it was done for now.", lambda s: float(s.ended)),
    ("uptime_seconds", False, "Seconds since its start, as it says.", lambda s: s.uptime),
    ("rate_bytes_per_second", False, "Rate of its line, as it says.", lambda s: s.rate),
    ("queued_objects", False, "Objects in its queue, as it says.", lambda s: s.queued),
    ("highest_number", False, "Highest object number used.", lambda s: s.highest),
    ("missing_objects", False, "Its objects never heard of.", lambda s: s.missing_objects),
)


def _of_senders(senders: list[SenderHealth]) -> Iterator[Metric]:
    for name, counts, text, value in _OF_A_SENDER:
        family = counter if counts else gauge
        values = [((sender.sender,), value(sender)) for sender in senders]
        yield family(f"sender_{name}", text, values, "sender")


# The sender -------------------------------------------------------------------------------------


def _sender(sending: Sending) -> Iterator[Metric]:
    yield counter("sending_frames", "Frames that this sender ever sent.", one(sending.frames))
    line_bytes = "Bytes on the line since the start."
    yield counter("sending_line_bytes", line_bytes, one(sending.line_bytes))
    rate = "Rate of the line."
    yield gauge("sending_rate_bytes_per_second", rate, one(sending.rate or None))
    yield counter(
        "sending_objects",
        "Objects since the start; whether those sent arrived is not known here.",
        [(("sent",), sending.sent), (("failed",), sending.failed)],
        "result",
    )
    queue = [((flow.name,), flow) for flow in sending.queue[:SENDERS]]
    yield gauge(
        "sending_queue_objects",
        "Objects that wait or are on air, by flow.",
        [(name, flow.objects) for name, flow in queue],
        "flow",
    )
    yield gauge(
        "sending_queue_bytes",
        "Their bytes.",
        [(name, flow.bytes) for name, flow in queue],
        "flow",
    )
    kept = "Objects that are repeated while there is nothing else to send."
    yield gauge("sending_carousel_objects", kept, one(sending.carousel))
    yield gauge("sending_highest_number", "Highest object number used.", one(sending.highest))
    yield gauge("sending_running", "0 after an orderly end.", one(float(sending.running)))
    if sending.records is not None:
        yield from records.offered(sending.records)
    yield _alarms(sending.alarms)
    yield gauge("told_timestamp_seconds", "When the sender told this.", one(sending.time))
    yield gauge("start_timestamp_seconds", "When the sender started.", one(sending.started))
