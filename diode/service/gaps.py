"""Ranges of object numbers: which are missing, and which of those a person has dismissed.

An object that was sent again has another number, so the number under which it never came would be
missing for ever. Whoever has seen to it dismisses the numbers that are missing now
(`dismissed.json` in the state folder); a receiver that runs takes that up within a second.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diode.health import Health, Numbers, SenderHealth
from diode.service import snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Range = tuple[int, int]
Dismissed = dict[str, list[Numbers]]
"""By sender, eight hexadecimal digits."""
MOST = 4096
"""Ranges that are remembered as dismissed, of a sender."""


def union(*lists: Iterable[Sequence[int]]) -> list[Range]:
    """All these ranges as one list, in order and apart."""
    merged: list[Range] = []
    for first, last in sorted((r[0], r[1]) for r in chain(*lists)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def without(ranges: Iterable[Sequence[int]], others: Iterable[Sequence[int]]) -> list[Range]:
    """What of the ranges is in none of the others."""
    left: list[Range] = []
    taken = union(others)
    for start, end in union(ranges):
        first = start
        for low, high in taken:
            if high < first or low > end:
                continue
            if low > first:
                left.append((first, low - 1))
            first = high + 1
        if first <= end:
            left.append((first, end))
    return left


def total(ranges: Iterable[Sequence[int]]) -> int:
    """How many numbers that are."""
    return sum(r[1] - r[0] + 1 for r in ranges)


def plain(ranges: Iterable[Numbers]) -> list[Range]:
    return [(r.first, r.last) for r in ranges]


def read(folder: str) -> Dismissed:
    """What was dismissed there. Raises PermissionError."""
    return snapshots.read(folder, snapshots.DISMISSED, Dismissed) or {}


def dismiss(folder: str, health: Health) -> int:
    """Dismiss what is missing by that health; how many numbers. Raises OSError."""
    known = read(folder)
    for sender in health.senders:
        if sender.missing:
            ranges = union(plain(known.get(sender.sender, [])), plain(sender.missing))
            known[sender.sender] = [Numbers(*one) for one in ranges[-MOST:]]
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        snapshots.write(here, snapshots.DISMISSED, known)
        if os.geteuid() == 0:  # the receiver, which may be another user, has to read it
            owner = os.fstat(here)
            os.chown(
                snapshots.DISMISSED, owner.st_uid, owner.st_gid, dir_fd=here, follow_symlinks=False
            )
    finally:
        os.close(here)
    return sum(total(plain(sender.missing)) for sender in health.senders)


def seen_to(sender: SenderHealth, dismissed: Dismissed) -> SenderHealth:
    """The same without what was dismissed."""
    missing = plain(sender.missing)
    left = without(missing, plain(dismissed.get(sender.sender, [])))
    if left == missing:
        return sender
    count = sender.missing_objects - total(missing) + total(left)
    return replace(sender, missing=[Numbers(*one) for one in left], missing_objects=count)
