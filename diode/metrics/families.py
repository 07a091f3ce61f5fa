"""Families of metrics, made of values that may not be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = float | int | None
Labelled = tuple[tuple[str, ...], Value]
"""Values of labels, and that of the sample."""
Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


def gauge(name: str, text: str, values: Iterable[Labelled], *labels: str) -> GaugeMetricFamily:
    """A family; values that are not known are left out."""
    return _filled(GaugeMetricFamily(f"diode_{name}", text, labels=labels), values)


def counter(name: str, text: str, values: Iterable[Labelled], *labels: str) -> CounterMetricFamily:
    """The same of what only grows."""
    return _filled(CounterMetricFamily(f"diode_{name}", text, labels=labels), values)


def _filled(family: Family, values: Iterable[Labelled]) -> Family:
    for labelled, value in values:
        if value is not None:
            family.add_metric(labelled, float(value))
    return family


def one(value: Value) -> list[Labelled]:
    return [((), value)]
