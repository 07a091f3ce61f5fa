"""Folders that somebody else could change: refused before anything is put there.

Who can write to a folder can rename what is in it and put something else in its place, and who owns
it can give himself that right. So all folders from the root down to one of ours must belong to
root or to us, and may be written by nobody else; the group they may be written by is root's or our
primary one, whose members the operator chose. In a folder with the sticky bit (/tmp) only the owner
of a thing can rename it, so there it is enough that the next one down is root's or ours.

Links on the way are followed like this too, and must be root's or ours. The folder itself must be
none: what it is called is what it is.
"""

from __future__ import annotations

import os
import stat

from diode.errors import UnsafeFolder
from diode.objects import escape

MOST_LINKS = 40
"""As the kernel has it: more are a circle."""


def check_folder(path: str, *, shared: bool = False) -> None:
    """Raise UnsafeFolder where others could change the folder, or what is above it.

    shared: others put things there or take them out, as a group or under the sticky bit.
    OSError where it is not there.
    """
    if not hasattr(os, "geteuid"):
        return  # no such owners and modes on this platform
    whole = os.path.join(os.getcwd(), path).rstrip("/")
    if stat.S_ISLNK(os.lstat(whole or "/").st_mode):
        real = os.path.realpath(whole)
        raise UnsafeFolder(
            f"{escape(path)} is a symbolic link",
            hint=f"name what it points to: {escape(real)}",
        )
    pending, here, links = _parts(whole), "/", 0
    _judge(path, here, os.lstat(here), final=not pending, shared=shared)
    while pending:
        part = pending.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        inner = os.path.join(here, part)
        status = os.lstat(inner)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            _owned(path, inner, status)
            target = os.readlink(inner)
            if links > MOST_LINKS:
                raise UnsafeFolder(f"{escape(path)}: the links on the way have no end")
            here = "/" if target.startswith("/") else here
            pending += _parts(target)
            continue
        here = inner
        _judge(path, here, status, final=not pending, shared=shared)


def _parts(path: str) -> list[str]:
    """Components, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _judge(path: str, here: str, status: os.stat_result, *, final: bool, shared: bool) -> None:
    _owned(path, here, status)
    mode, group = status.st_mode, status.st_gid
    sticky = mode & stat.S_ISVTX and (shared or not final)
    ours = group in (0, os.getegid()) or (final and shared)
    others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not ours)
    if others and not sticky:
        raise UnsafeFolder(
            f"{escape(path)}: other users may write to {escape(here)}",
            hint=f"chmod {'o-w' if ours else 'go-w'} {escape(here)}, or choose another place",
        )


def _owned(path: str, here: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise UnsafeFolder(
            f"{escape(path)}: {escape(here)} belongs to another user (uid {status.st_uid})",
            hint="choose a place where all folders above belong to root or to who runs this, "
            "or run it as that user",
        )
