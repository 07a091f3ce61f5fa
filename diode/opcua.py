"""Values of OPC UA as payloads of records: what its source and its sink agree on.

    {"Type": "Double", "Body": 21.5, "Node": "ns=2;s=Boiler.Temp", "Name": "2:Temp", "Status": 0}

A variant of OPC UA has a type that a number in JSON has not, and a node has an id and a name
besides its place in the tree, which is the topic. Names of types are those of the standard (part 6,
5.1.2). Status is the exact code, and left out where it is Good. Time stamps and quality are the
record's. Structures, and whatever else has no form here, are not carried.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACES = "Server/NamespaceArray"
"""The topic, below that of the server, of the names behind the numbers of namespaces."""
WHOLE = ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
REAL = ("Float", "Double")
TEXT = ("String", "LocalizedText", "XmlElement")
MOST = 1000
"""Elements of an array."""


class Unfit(ValueError):
    """A value that has no form here."""


_TO_JSON: dict[str, Callable[[Any], Any]] = {
    "Boolean": bool,
    **dict.fromkeys(WHOLE, int),
    **dict.fromkeys(REAL, lambda one: float(one) if math.isfinite(one) else str(one)),
    "String": str,
    "XmlElement": str,
    "LocalizedText": lambda one: str(one.Text or ""),
    "DateTime": lambda one: one.replace(tzinfo=one.tzinfo or UTC).isoformat(),
    "ByteString": lambda one: base64.b64encode(one).decode(),
    "Guid": str,
}
_FROM_JSON: dict[str, Callable[[Any], Any]] = {
    "Boolean": bool,
    **dict.fromkeys(WHOLE, int),
    **dict.fromkeys(REAL, float),
    **dict.fromkeys(TEXT, str),
    "DateTime": lambda one: datetime.fromisoformat(one).astimezone(UTC).replace(tzinfo=None),
    "ByteString": lambda one: base64.b64decode(one, validate=True),
    "Guid": UUID,
}


def body(kind: str, value: Any) -> Any:
    """A value of that type as JSON has it. Unfit where it has none."""
    return _converted(kind, value, _TO_JSON)


def value(kind: str, given: Any) -> Any:
    """The value of that type that JSON has as this; ValueError, TypeError where it is none."""
    return _converted(kind, given, _FROM_JSON)


def _converted(kind: str, given: Any, how: dict[str, Callable[[Any], Any]]) -> Any:
    if given is None:
        return None
    if kind not in how:
        raise Unfit(f"a value of type {kind}")
    if isinstance(given, list | tuple):
        if len(given) > MOST:
            raise Unfit(f"an array of {len(given):,} elements")
        return [_converted(kind, one, how) for one in given]
    return how[kind](given)


def packed(kind: str, given: Any, node: str, name: str, status: int) -> bytes:
    """The payload of a value. Unfit where there is none."""
    fields = {"Type": kind, "Body": body(kind, given), "Node": node, "Name": name}
    if status:
        fields["Status"] = status
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def unpacked(payload: bytes) -> dict[str, Any] | None:
    """The fields of such a payload; None for one of another kind."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "Body" not in found:
        return None
    texts = (found.get("Type"), found.get("Node", ""), found.get("Name", ""))
    if not all(isinstance(text, str) and len(text) < 500 for text in texts):
        return None
    status = found.get("Status", 0)
    good = isinstance(status, int) and 0 <= status < 1 << 32
    return found if good else None
