"""Last values as gauges, for Prometheus to scrape: `prometheus://127.0.0.1:9781`.

    diode_record{topic="boiler/temp",sender="0d10de07"} 21.5
    diode_record_quality{…} 0       0 good, 1 uncertain, 2 bad
    diode_record_time_seconds{…}    when it was measured, by its source
    diode_record_heard_seconds{…}   when it was heard

Payloads that are numbers, true or false, or values of OPC UA that are, have gauges; others are
counted in diode_records_total like all.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from diode import confine
from diode.errors import CarrierError
from diode.publish import PORTS, TOPICS
from diode.service.record_process import Said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading


def number(payload: bytes) -> float | None:
    """The number that a payload is; None where it is none."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        try:
            found = float(payload)
        except ValueError:
            return None
    if isinstance(found, dict):
        found = found.get("Body", found.get("value"))
    if not isinstance(found, bool | int | float):
        return None
    try:
        value = float(found)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


class Sink:
    """Holds the last values."""

    bounds = confine.CLIENT
    kept = ()

    def __init__(self, place: Endpoint) -> None:
        place.known("stale")
        self._place = place
        self._values: OrderedDict[tuple[int, bytes], tuple[Reading, float]] = OrderedDict()
        self._count = 0

    def open(self, say: Say) -> None:
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(self)
        place = self._place
        try:
            host, port = place.host or "127.0.0.1", place.port or PORTS["prometheus"]
            self._server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise CarrierError(error.strerror or "it cannot listen there") from error
        say(Said(f"http://{place.address}/metrics", warning=False, there=True))

    def publish(self, readings: list[Reading]) -> None:
        self._count += len(readings)
        for one in readings:
            value = number(one.payload)
            if value is not None:
                self._values[one.sender, one.topic] = one, value
                self._values.move_to_end((one.sender, one.topic))
        while len(self._values) > TOPICS:
            self._values.popitem(last=False)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client asks for it."""
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        labels = ["topic", "sender"]
        value = GaugeMetricFamily("diode_record", "Last value.", labels=labels)
        quality = GaugeMetricFamily(
            "diode_record_quality", "0 good, 1 uncertain, 2 bad.", labels=labels
        )
        at = GaugeMetricFamily("diode_record_time_seconds", "When measured.", labels=labels)
        heard = GaugeMetricFamily("diode_record_heard_seconds", "When heard.", labels=labels)
        for one, found in list(self._values.values()):
            of = [one.topic.decode(), f"{one.sender:08x}"]
            value.add_metric(of, found)
            quality.add_metric(of, one.quality)
            heard.add_metric(of, one.heard / 1e9)
            if one.time is not None:
                at.add_metric(of, one.time / 1e9)
        yield from (value, quality, at, heard)
        yield CounterMetricFamily("diode_records", "Records published.", value=self._count)
