"""What a plan is made for: files by size and number, or those that are there, as objects to send.

Small files that follow each other go in bundles, by the rule of source/bundle.py, which reads them;
here only sizes and names count. How long an announcement is follows from making one, with the
keys that the objects will be sent with.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode import bundle, plan, quantity
from diode.announcements import AnnouncementSymbols
from diode.forecast import Planned
from diode.objects import MAX_NAME, Manifest, Status, Type, wire_name
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diode.assembly import Encloser, Signer
    from diode.plan import Link, Settings

NAME = b"a-name-of-usual-length/and-a-file.ext"
"""For files of which only the size is known."""
MOST = 10_000_000
"""Files of a plan."""
EXACT = 300
"""Different sizes that are planned one by one; more are put together, within half a percent."""
MANY = 200.0


class Files(click.ParamType[tuple[int, int]]):
    """How many files, and of what size: 10M, 1000x3k."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*(?:([0-9]{1,9})\s*[xX*]\s*)?(\S.*)", value)
        count = int(match[1] or 1) if match else 0
        if not (match and 0 < count <= MOST):
            self.fail(f"{value!r} is not a size such as 10M, or 1000x3k", param, ctx)
        try:
            return count, quantity.size(match[2])
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class File:
    """Some files, or empty directories, of one size that follow each other."""

    size: int
    name: bytes = NAME
    count: int = 1
    directory: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """Some objects of one size. members: files in each; 0 where it is no bundle."""

    size: int
    name: bytes
    type: Type
    count: int = 1
    members: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What is sent, counted as people count it."""

    files: int
    bundles: int
    bundled: int
    """Files in bundles."""

    @classmethod
    def of(cls, what: list[Object]) -> Summary:
        bundles = sum(one.count for one in what if one.members)
        bundled = sum(one.count * one.members for one in what)
        alone = sum(one.count for one in what if not one.members)
        return cls(alone + bundled, bundles, bundled)

    def __str__(self) -> str:
        files = plural(self.files, "file")
        if not self.bundles:
            return files
        return f"{files}, {self.bundled:,} of them in {plural(self.bundles, 'bundle')}"


def of_paths(paths: tuple[str, ...], skipped: Callable[[str, str], object]) -> Iterator[File]:
    """What is there. Raises SourceError as `folder.find` does."""
    from diode.source import folder

    for path in paths:
        for found in folder.find(path, None, skipped):
            name = wire_name(found.parts)
            yield File(0 if found.directory else found.size, name, 1, found.directory)


def objects(files: Iterable[File], settings: Settings, link: Link) -> list[Object]:
    """What these files are sent as, in their order."""
    most = plan.bundle_room(settings, link)
    done: list[Object] = []
    open_: list[File] = []  # what the next bundle holds so far
    for file in files:
        each = bundle.entry_size(file.name) + file.size
        if not most or file.size > most // plan.BUNDLE_SHARE - bundle.entry_size(file.name):
            done += _closed(open_)
            open_ = []
            done.append(_alone(file, file.count))
            continue
        left = file.count
        while left:
            fit = _room(open_, each, most)
            if fit == 0:
                done += _closed(open_)
                open_ = []
                if left > (full := _room([], each, most)):
                    whole = left // full - (left % full == 0)
                    done += [_bundle([_some(file, full)], whole)] if whole else []
                    left -= whole * full
                continue
            taken = min(left, fit)
            open_.append(_some(file, taken))
            left -= taken
    return done + _closed(open_)


def _some(file: File, count: int) -> File:
    return File(file.size, file.name, count, file.directory)


def _room(open_: list[File], each: int, most: int) -> int:
    """How many more fit a bundle, each of that many bytes with its entry."""
    used = bundle.EMPTY + sum(f.count * (bundle.entry_size(f.name) + f.size) for f in open_)
    members = sum(f.count for f in open_)
    return max(0, min((most - used) // each, bundle.MAX_MEMBERS - members))


def _closed(open_: list[File]) -> list[Object]:
    """The bundle; a single file goes as itself."""
    if sum(file.count for file in open_) > 1:
        return [_bundle(open_, 1)]
    return [_alone(file, 1) for file in open_]


def _alone(file: File, count: int) -> Object:
    type_ = Type.DIRECTORY if file.directory else Type.FILE
    return Object(file.size, file.name, type_, count)


def _bundle(files: list[File], count: int) -> Object:
    members = sum(f.count for f in files)
    size = sum(f.count * (bundle.entry_size(f.name) + f.size) for f in files)
    name = b"%s and %d more" % (files[0].name[-200:], members - 1)
    return Object(bundle.EMPTY + size, name, Type.BUNDLE, count, members)


def planned(
    what: list[Object], settings: Settings, link: Link, encloser: Encloser, signer: Signer
) -> list[Planned]:
    """By size and announcement: how many objects there are. Sizes are rounded up where many."""
    sizes = {one.size for one in what}
    rounded = {size: size for size in sizes}
    if len(sizes) > EXACT:
        rounded = {size: _rounded(size) for size in sizes}
    counts: Counter[tuple[int, int, Type]] = Counter()
    for one in what:
        counts[rounded[one.size], min(len(one.name), MAX_NAME), one.type] += one.count
    found: Counter[tuple[int, int, int]] = Counter()
    for (size, name, type_), count in counts.items():
        symbols = _announced(size, name, type_, settings, link, encloser, signer)
        found[size, symbols.count, symbols.size] += count
    return [Planned(size, n, count, long) for (size, count, long), n in sorted(found.items())]


def _rounded(size: int) -> int:
    step = max(1, int(10.0 ** math.floor(math.log10(max(1, size))) / MANY))
    return -(-size // step) * step


def _announced(
    size: int,
    name: int,
    type_: Type,
    settings: Settings,
    link: Link,
    encloser: Encloser,
    signer: Signer,
) -> AnnouncementSymbols:
    """The announcement of an object of that kind, as long as it will be."""
    cut = plan.geometry(size, settings, link)
    now = 1_800_000_000_000_000_000
    manifest = Manifest(
        Status.COMPLETE, type_, b"n" * max(1, name), size, bytes(32),
        cut.code, cut.k, cut.n, cut.symbol_size, settings.passes, now, cut.cipher,
    )  # fmt: skip
    enclosed = encloser.enclose(1, 1000, manifest, signer.id)
    announcement = signer.sign(1, 1000, enclosed.announcement)
    room = plan.announcement_room(settings, link)
    return AnnouncementSymbols.of(announcement, room, filled=settings.filled)
