"""Folders: is there room, is what is written there still there after a power cut, and how fast?

A delivery waits for the disk (fsync) three times, so the time that takes bounds how many small
objects are delivered a second. It is measured, with a file of one page that is removed again; the
middle of a few times counts. A disk that answers at once, in less time than any disk or
flash takes, may only say that it has written.

`Folder` is all that is known, `CHECKS` judge it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.doctor import Check, bad, hint, ok, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.doctor.machine import Machine

TRIES = 9
PAGE = 4096
PATIENCE = 3.0
"""Seconds of measuring."""
SLOW = 0.1
"""Seconds of fsync from which on a receiver of many small files feels it."""
TOO_FAST = 20e-6
"""Seconds: less than any disk takes."""
FULL = 100 << 20
"""Bytes free below which something will fail soon."""
SCARCE = 0.1
"""Share of free space, or of free files, below which it is worth a look."""
VOLATILE = {"tmpfs", "ramfs", "devtmpfs"}
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "sshfs", "fuse.sshfs", "ceph", "glusterfs"}
PLAIN = {"vfat", "exfat", "msdos"}
"""File systems without owners, modes and journals."""
RISKY = {"nobarrier", "barrier=0", "async,nobarrier", "data=writeback"}
"""Options of a mount that give up order on the disk for speed."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, as far as this machine tells. None and empty: it does not tell."""

    path: str
    purpose: str
    """inbox, state."""
    kind: str = "missing"
    """missing, folder, other."""
    permitted: bool = False
    mode: int = 0
    owner: str = ""
    mine: bool = True
    """Whether it is this user's, or root's."""
    system: str = ""
    """The file system's name."""
    options: frozenset[str] = frozenset()
    free: int | None = None
    share: float | None = None
    """Of the space that is free."""
    files: float | None = None
    """Share of the files there may be that are free."""
    sync: float | None = None
    """Seconds that fsync of a page takes."""

    @property
    def quoted(self) -> str:
        return shlex.quote(self.path)


def checks(path: str, purpose: str, machine: Machine) -> list[Check]:
    """What there is to say of a folder. purpose: what it is for."""
    return judge(look(path, purpose, machine))


def judge(folder: Folder) -> list[Check]:
    """All checks that concern this folder, each named after what it is for."""
    if folder.kind != "folder":
        return [_there(folder)]
    return [check for one in _CHECKS if (check := one(folder)) is not None]


# Looking ------------------------------------------------------------------------------------


def look(path: str, purpose: str, machine: Machine) -> Folder:
    """Gather what is known; writes a page into the folder to measure, and removes it."""
    whole = os.path.abspath(path)
    found = machine.status(whole)
    if found is None:
        return Folder(whole, purpose)
    if not stat.S_ISDIR(found.st_mode):
        return Folder(whole, purpose, "other")
    system, options = mount(machine.read("/proc/self/mountinfo") or "", machine.real(whole))
    free, share, files = _space(machine.path(whole))
    permitted = machine.permits(whole, write=True)
    return Folder(
        whole,
        purpose,
        "folder",
        permitted,
        stat.S_IMODE(found.st_mode),
        machine.user(found.st_uid),
        found.st_uid in (machine.uid, 0),
        system,
        options,
        free,
        share,
        files,
        measure(machine.path(whole)) if permitted and "ro" not in options else None,
    )


def mount(text: str, path: str) -> tuple[str, frozenset[str]]:
    """The file system that a path lies on, and its options, from /proc/self/mountinfo."""
    best, found = "", ("", frozenset[str]())
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        words, rest = left.split(), right.split()
        if not separator or len(words) < 6 or len(rest) < 3:
            continue
        point = _unescaped(words[4])
        within = path == point or path.startswith(point.rstrip("/") + "/")
        if within and len(point) >= len(best):  # a later mount hides one at the same place
            best, found = point, (rest[0], frozenset((words[5] + "," + rest[2]).split(",")))
    return found


def _unescaped(text: str) -> str:
    for code, char in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, char)
    return text


def _space(path: str) -> tuple[int | None, float | None, float | None]:
    try:
        found = os.statvfs(path)
    except OSError:
        return None, None, None
    share = found.f_bavail / found.f_blocks if found.f_blocks else None
    files = found.f_favail / found.f_files if found.f_files else None
    return found.f_bavail * found.f_frsize, share, files


def measure(folder: str, clock: Callable[[], float] = time.perf_counter) -> float | None:
    """Seconds that fsync of a page takes, the middle of some; None where nothing can be written."""
    took: list[float] = []
    try:
        descriptor, name = tempfile.mkstemp(prefix=".diode-doctor-", dir=folder)
    except OSError:
        return None
    try:
        until = clock() + PATIENCE
        while len(took) < TRIES and (not took or clock() < until):
            os.pwrite(descriptor, os.urandom(PAGE), 0)
            begun = clock()
            os.fsync(descriptor)
            took.append(clock() - begun)
    except OSError:
        return None
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(name)
    return sorted(took)[len(took) // 2]


# Judging ------------------------------------------------------------------------------------


def _there(folder: Folder) -> Check:
    name = folder.purpose
    if folder.kind == "missing":
        return hint(name, f"there is no {folder.path} yet", f"mkdir -m 700 {folder.quoted}")
    if folder.kind == "other":
        return bad(name, f"{folder.path} is no folder", f"ls -ld {folder.quoted}")
    return ok(name, folder.path)


def _permission(folder: Folder) -> Check:
    name = f"{folder.purpose} permission"
    facts = f"mode {folder.mode:04o}, owner {folder.owner}"
    if not folder.permitted:
        mend = f"chown $USER {folder.quoted} && chmod u+rwx {folder.quoted}"
        return bad(name, f"this user may not write there ({facts})", mend)
    if folder.mode & 0o022 and not folder.mode & stat.S_ISVTX:
        what = f"others may write there ({facts}), and change what was delivered"
        grave = folder.mode & 0o002 or folder.purpose != "inbox"
        return (bad if grave else hint)(name, what, f"chmod go-w {folder.quoted}")
    if not folder.mine:
        return hint(name, f"it is another user's ({facts})", f"chown $USER {folder.quoted}")
    return ok(name, facts)


def _system(folder: Folder) -> Check | None:
    name, system = f"{folder.purpose} file system", folder.system
    if not system:
        return None
    elsewhere = "findmnt -t ext4,xfs,btrfs  # a folder on one of these is better"
    if "ro" in folder.options:
        mend = f"mount -o remount,rw $(findmnt -no TARGET -T {folder.quoted})"
        return bad(name, f"{system}, read-only", mend)
    if system in VOLATILE:
        return bad(name, f"{system}: it is gone after a power cut", elsewhere)
    if system in NETWORK:
        what = f"{system}: over a network, which may be away, and renames it in its own way"
        return hint(name, what, elsewhere)
    if system in PLAIN:
        return hint(name, f"{system}: it has no owners and no journal", elsewhere)
    if risky := sorted(folder.options & RISKY):
        mend = f"grep -n {risky[0]} /etc/fstab  # take it out, and mount again"
        return bad(name, f"{system} with {', '.join(risky)}: a power cut may undo fsync", mend)
    return ok(name, system)


def _room(folder: Folder) -> Check:
    name = f"{folder.purpose} room"
    if folder.free is None or folder.share is None:
        return unknown(name, "this file system does not tell", f"df -h {folder.quoted}")
    found = f"{folder.free / 1e9:.3g} GB free, {folder.share:.0%}"
    mend = f"du -xh {folder.quoted} | sort -h | tail  # and see recv --quota"
    if folder.free < FULL:
        return bad(name, found, mend)
    if folder.files is not None and folder.files < SCARCE:
        return hint(name, f"{found}, but only {folder.files:.1%} of the files there may be", mend)
    return hint(name, found, mend) if folder.share < SCARCE else ok(name, found)


def _sync(folder: Folder) -> Check:
    name = f"{folder.purpose} fsync"
    if folder.sync is None:
        return unknown(name, "nothing could be written to time it")
    found = f"{folder.sync * 1e3:.3g} ms"
    if folder.sync > SLOW:
        what = f"{found}: at most {1 / (3 * folder.sync):.2g} small objects a second are delivered"
        return hint(name, what, "iotop -o  # what else writes? A faster disk helps, too")
    if folder.sync < TOO_FAST and folder.system not in VOLATILE:
        what = f"{found}: faster than any disk; it may only say that it has written"
        return hint(
            name, what, "hdparm -W0 DEVICE  # in a virtual machine: cache=none or writethrough"
        )
    return ok(name, found)


_CHECKS: tuple[Callable[[Folder], Check | None], ...] = (
    *(_there, _permission, _system, _room, _sync),
)
