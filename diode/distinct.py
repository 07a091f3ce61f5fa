"""Which different numbers there are in a column of headers, and where each of them is.

Most batches hold frames of one kind, of one object, of a few blocks, and that is quick; but whoever
is hostile sends a batch of nothing but different ones, which must not take time by the square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diode.frame import I64, Column

_MOST = np.iinfo(np.int64).max


def parted(values: Column) -> list[tuple[int, slice | I64]]:
    """The different values, in order, and where each of them is, in order."""
    if len(values) and (values == values[0]).all():
        return [(int(values[0]), slice(None))]
    order = np.argsort(values, kind="stable")
    edges = np.flatnonzero(np.diff(values[order])) + 1
    return [(int(values[part[0]]), part) for part in np.split(order, edges) if len(part)]


def different(values: I64) -> tuple[I64, I64]:
    """The different values among these (n,), in order, and which of them each is, (n,).

    As np.unique, without sorting where they lie close together, as the blocks of a link do.
    """
    first = int(values.min(initial=_MOST))
    near = values - first
    if len(values) and int(near.max()) < 4 * len(values):
        there = np.bincount(near) > 0
        return np.flatnonzero(there) + first, (np.cumsum(there) - 1)[near]
    return np.unique(values, return_inverse=True)
