"""Families of metrics, made of values that may not be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = float | int | None
Labelled = tuple[tuple[str, ...], Value]
"""Values of labels, and that of the sample."""


def gauge(name: str, text: str, values: Iterable[Labelled], *labels: str) -> GaugeMetricFamily:
    """A family; values that are not known are left out."""
    family = GaugeMetricFamily(f"diode_{name}", text, labels=labels)
    for labelled, value in values:
        if value is not None:
            family.add_metric(labelled, float(value))
    return family


def counter(name: str, text: str, values: Iterable[Labelled], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"diode_{name}", text, labels=labels)
    for labelled, value in values:
        if value is not None:
            family.add_metric(labelled, float(value))
    return family


def one(value: Value) -> list[Labelled]:
    return [((), value)]
