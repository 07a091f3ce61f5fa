"""Bounds on what a receiver holds, whatever arrives.

Every number that a manifest or a frame can make the receiver spend is held against one of these
before anything is allocated. Peak memory is about `memory` + `begun` + `orphans` +
`announcements`, and what Python and numpy take themselves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a receiver holds, whatever arrives. Defaults suit a box with 256 MB."""

    max_object: int = 1 << 50
    """Bytes of the largest object accepted."""
    max_blocks: int = 1 << 24
    """Blocks of an object: two bit arrays, 16 MB each at the limit once blocks come in."""
    blocks_in_all: int = 1 << 25
    """Blocks of all unfinished objects together; those of which nothing came go first."""
    max_block: int = 12 << 20
    """Bytes of one block: what a single frame may make the receiver set aside. To decode one takes
    up to four times as much besides; senders make none of more than 12 MiB (plan.py)."""
    memory: int = 64 << 20
    """Bytes of unfinished blocks in memory, over all objects; the oldest are parked."""
    begun: int = 64 << 20
    """Bytes on top of these that the frames of one call may set aside, until the next call parks.
    A frame of 13 bytes can begin a block of `max_block`; what a sender interleaves is less."""
    orphans: int = 8 << 20
    """Bytes of data frames kept for manifests not heard yet."""
    objects: int = 4096
    """Unfinished objects known at a time."""
    finished: int = 65_536
    """Finished objects remembered, so that their repeats are known as such."""
    quarantined: int = 4096
    """Objects refused for their signature, remembered so that each is told of once."""
    senders: int = 256
    announcements: int = 1 << 20
    """Bytes of partly heard announcements."""
