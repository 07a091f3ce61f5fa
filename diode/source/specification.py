"""The specification of a folder that is sent, made from what was read of it and sent with it.

It says what was sent, not what is there: what could not be read, or is no regular file, is not in
it. `photos` goes with `photos.mtree`, whose paths begin in `photos`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode import mtree
from diode.mtree import Entry
from diode.objects import Type, wire_name
from diode.source.bundle import BundleSource, Sent, SpooledSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diode.source.bundle import Source, Spool

SUFFIX = b".mtree"
UNNAMED = b"manifest"
"""Of a folder that is sent without a name of its own."""


def specification(top: tuple[str, ...], sources: Iterable[Source], spool: Spool) -> SpooledSource:
    """Of the folder of that name there."""
    name = wire_name(top)
    lines = mtree.mtree(_entries(name + b"/" if name else b"", sources))
    return SpooledSource((name or UNNAMED) + SUFFIX, b"".join(lines), spool)


def _entries(before: bytes, sources: Iterable[Source]) -> Iterator[Entry]:
    for source in sources:
        whole = Sent(source.name, source.size, source.digest.hex(), source.type)
        for one in source.members if isinstance(source, BundleSource) else [whole]:
            directory = one.type == Type.DIRECTORY
            if (one.name + b"/" * directory).startswith(before):
                path = one.name.removeprefix(before) if one.name + b"/" != before else b""
                yield Entry(path, directory, one.size, one.sha256)
