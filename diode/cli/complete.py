"""What a shell may offer for a word of the command line that is half typed.

Each function is `shell_complete=` of an option or argument: it gets what is there of the word and
gives the items that may be meant. Nothing here opens a carrier, and nothing may fail or take
long: somebody has pressed the tab key.

An item of type `more` is not the whole word, so no space belongs behind it: `serial:`, a folder,
`?baud=`. `file` and `dir` leave names to the shell.
"""

from __future__ import annotations

import glob
import importlib
import os
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from diode import carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

Item = CompletionItem[str]

SCHEMES = {
    "serial": "a serial line",
    "udp": "datagrams over one fibre strand",
    "file": "line bytes in a file",
    "wav": "sound in a file",
    "pcm": "sound as raw samples",
    "audio": "sound on a sound card",
    "-": "standard input or output",
}
_STARTS = {"udp": "udp://", "-": "-", "audio": "audio:?"}
_FILES = {"file", "wav", "pcm"}
_PORTS = ("/dev/diode-*", "/dev/serial/by-id/*", "/dev/ttyUSB*", "/dev/ttyACM*")
_BAUDS = ("9600", "19200", "57600", "115200", "230400", "460800", "921600", "2000000", "3000000")


def carriers(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
    """Carrier URLs: schemes, then ports or files, then keys, then their values."""
    body, mark, query = incomplete.partition("?")
    scheme, colon, path = body.partition(":")
    if mark:
        return _query(scheme if colon or scheme == "-" else "", f"{body}?", query)
    if not colon:
        names = [n for n in carrier.CARRIERS if n.startswith(incomplete)]
        kinds = ["plain" if name == "-" else "more" for name in names]
        starts = [_STARTS.get(name, f"{name}:") for name in names]
        return [
            Item(start, kind, SCHEMES.get(name))
            for start, kind, name in zip(starts, kinds, names, strict=True)
        ]
    if scheme == "serial":
        found = [*port_names(path), *([] if not path else _paths(path))]
        return [_named(f"{scheme}:{name}", name) for name in dict.fromkeys(found)]
    if scheme in _FILES:
        return [_named(f"{scheme}:{name}", name) for name in _paths(path)]
    return []


def ports(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
    """Serial ports."""
    return [
        _named(name, name) for name in dict.fromkeys([*port_names(incomplete), *_paths(incomplete)])
    ]


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
    """Files, as the shell knows them."""
    return [Item(incomplete, "file")]


def folders(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Item]:
    """Folders, as the shell knows them."""
    return [Item(incomplete, "dir")]


def captures(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
    """Files or carrier URLs that can be read."""
    scheme = incomplete.partition(":")[0]
    if ":" in incomplete and scheme in _FILES:
        return carriers(ctx, param, incomplete)
    return files(ctx, param, incomplete)


def port_names(start: str) -> list[str]:
    """The ports of this machine whose names begin so, the names that stay first."""
    found = [name for pattern in _PORTS for name in sorted(glob.glob(pattern))]
    return [name for name in found if name.startswith(start)]


def _paths(start: str) -> list[str]:
    """The files whose names begin so; hidden ones if that is asked for."""
    try:
        return sorted(glob.glob(glob.escape(os.path.expanduser(start)) + "*"))[:1000]
    except (OSError, ValueError):
        return []


def _named(word: str, path: str) -> Item:
    """A path within a word: what is below a folder may come."""
    return Item(f"{word}/", "more") if os.path.isdir(path) else Item(word)


def _query(scheme: str, before: str, query: str) -> list[Item]:
    """Keys that are not there yet, or values of the last one."""
    given, mark, last = query.rpartition("&")
    before += given + mark
    key, equals, value = last.partition("=")
    if equals:
        offered = _BAUDS if (scheme, key) == ("serial", "baud") else _VALUES.get(key, tuple)()
        return [Item(f"{before}{key}={one}") for one in offered if one.startswith(value)]
    taken = {pair.partition("=")[0] for pair in given.split("&")}
    keys = sorted(_keys(scheme) - taken)
    return [Item(f"{before}{one}=", "more") for one in keys if one.startswith(key)]


def _keys(scheme: str) -> frozenset[str]:
    if scheme not in carrier.CARRIERS:
        return frozenset()
    try:
        keys = importlib.import_module(carrier.CARRIERS[scheme]).KEYS
    except ImportError:  # an extra that is not installed
        return frozenset()
    assert isinstance(keys, frozenset)
    return keys


def _modems() -> list[str]:
    from diode.modem import AUTO, FSK
    from diode.modem.afsk import NAMED
    from diode.modem.profile import PROFILES

    return [*PROFILES, *NAMED, FSK, AUTO]


def _interfaces() -> list[str]:
    import socket

    try:
        return [name for _, name in socket.if_nameindex()]
    except (OSError, AttributeError):
        return []


_VALUES: dict[str, Callable[[], Iterable[str]]] = {
    "modem": _modems,
    "interface": _interfaces,
    "format": lambda: ("s16le", "s16be", "s24le", "s32le", "f32le", "u8"),
    "bits": lambda: ("8", "16", "24", "32", "float"),
    "mtu": lambda: ("1500", "9000"),
    "reopen": lambda: ("0", "30", "600"),
    **dict.fromkeys(("append", "broadcast"), lambda: ("1",)),
    **dict.fromkeys(("gso", "gro"), lambda: ("0",)),
}
"""What may stand behind a key, where it is one of a few."""
