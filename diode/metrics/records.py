"""Metrics of records. None has a topic as a label: topics come over the link, or from a broker.

Sources and sinks are labels, as they are configured, without passwords: there are as many series as
somebody has written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.metrics.families import counter, gauge, one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from diode.metrics.families import Labelled
    from diode.record_health import Peer, RecordsIn, RecordsOut

PEERS = 32
"""Sources or sinks that have series."""


def heard(records: RecordsIn, now: float) -> Iterator[Metric]:
    """Of a receiver. now: when that was told."""
    classes: list[Labelled] = [(("latest",), records.latest), (("every",), records.every)]
    yield counter("records_heard", "Records heard that were new, by class.", classes, "class")
    yield counter("records_known", "Records heard again.", one(records.known))
    missing = "Records of every that never came."
    yield counter("records_missing", missing, one(records.missing))
    dropped = "Records heard, and dropped since a sink or the disk took nothing."
    yield counter("records_dropped", dropped, one(records.dropped))
    unstored = "Records of every that wait for the disk."
    yield gauge("records_unstored", unstored, one(records.unstored))
    yield gauge("records_topics", "Topics that are known.", one(records.topics))
    age = None if records.newest is None else max(0.0, now - records.newest)
    yield gauge("records_age_seconds", "Seconds since a new record was heard.", one(age))
    sinks = records.sinks[:PEERS]
    waiting: list[Labelled] = [((sink.name,), sink.waiting) for sink in sinks]
    yield gauge("records_waiting", "Records that a sink has not taken yet.", waiting, "sink")
    taken: list[Labelled] = [((sink.name,), sink.taken) for sink in sinks]
    yield counter("records_taken", "Records that a sink has taken.", taken, "sink")
    text = "Seconds since when a sink takes nothing; 0 where it does."
    yield gauge("records_sink_away_seconds", text, _away(sinks), "sink")


def offered(records: RecordsOut) -> Iterator[Metric]:
    """Of a sender."""
    classes: list[Labelled] = [(("latest",), records.latest), (("every",), records.every)]
    yield counter("sending_records", "Records that sources have offered.", classes, "class")
    replaced = "Values that a newer one has replaced before they were sent."
    yield counter("sending_records_replaced", replaced, one(records.replaced))
    repeated = "Times that a record was sent again."
    yield counter("sending_records_repeated", repeated, one(records.repeated))
    refused = "What cannot be a record, or cannot be sent."
    yield counter("sending_records_refused", refused, one(records.refused))
    dropped = "Records that came faster than they were taken."
    yield counter("sending_records_dropped", dropped, one(records.dropped))
    waiting = "Records that were not sent once."
    yield gauge("sending_records_waiting", waiting, one(records.waiting))
    kept = "Records of every that are on disk until they are sent for the last time."
    yield gauge("sending_records_kept", kept, one(records.kept))
    yield gauge("sending_records_spool_bytes", "Their bytes.", one(records.kept_bytes))
    yield gauge("sending_records_quota_bytes", "And how many may be.", one(records.quota))
    yield gauge("sending_records_topics", "Topics that are known.", one(records.topics))
    sources = records.sources[:PEERS]
    taken: list[Labelled] = [((source.name,), source.taken) for source in sources]
    yield counter("sending_records_taken", "Records that a source has given.", taken, "source")
    text = "Seconds since when a source is away; 0 where it is there."
    yield gauge("sending_records_source_away_seconds", text, _away(sources), "source")


def _away(peers: Sequence[Peer]) -> list[Labelled]:
    return [((peer.name,), peer.away_seconds) for peer in peers]
