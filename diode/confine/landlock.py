"""Landlock: which files a process may still touch, whatever it is made to try.

Linux 5.13 and later let any process give up rights for itself and for all that it starts, without
privileges: a ruleset says which kinds of access are handled, rules say beneath which folders
they stay allowed, and everything handled and not allowed is EACCES from then on. What is
already open stays open with the rights it was opened with, and `stat` is never denied.

Each kernel knows more kinds than the one before (its ABI number): 1 files, 2 moving between
folders, 3 truncation, 4 TCP, 5 ioctls on devices, 6 abstract sockets and signals to others. ABI 1
forbids every move between folders, which a delivery is, so it is not used. Rules hang on
folders or files as they are now: what is later put in a file's place is another file.

Running programs is handled and allowed nowhere. Loading shared libraries needs reading only.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst. The numbers of the three
system calls are the same on every architecture but Alpha.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38

EXECUTE, WRITE, READ, LIST, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_FILE, MAKE_SOCKET, MAKE_FIFO, MAKE_BLOCK = (1 << n for n in range(6, 12))
MAKE_LINK, MOVE, TRUNCATE, IOCTL = (1 << n for n in range(12, 16))

_ON_FILES = EXECUTE | WRITE | READ | TRUNCATE | IOCTL
"""The rights that a rule on something that is no folder may name."""
_HANDLED = {1: (1 << 13) - 1, 2: MOVE, 3: TRUNCATE, 5: IOCTL}
"""ABI number to the file rights that came with it."""
_TCP, _SCOPES = 0b11, 0b11
OLDEST, NEWEST = 2, 6
_NEWS = {
    3: "truncation",
    4: "TCP",
    5: "ioctls on devices",
    6: "abstract sockets and signals",
}

LOOK = READ | LIST
OWN = LOOK | WRITE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_FILE | MOVE | TRUNCATE
"""What a folder of our own needs; no links, devices, sockets, pipes, programs."""


def abi() -> int:
    """The kernel's ABI number; 0 where there is no Landlock or it is switched off."""
    if not sys.platform.startswith("linux") or os.uname().machine == "alpha":
        return 0
    return max(0, _call(_CREATE, None, 0, _ASK_VERSION))


def missing(version: int) -> list[str]:
    """What kernels forbid that are newer than this one."""
    return [what for number, what in _NEWS.items() if number > version]


def restrict(version: int, rules: Iterable[tuple[str, int]], *, network: bool = False) -> None:
    """Give up everything but what (path, rights) allow, for this thread and all it starts.

    network: keep TCP. Paths that are not there are left out. Raises OSError when the kernel
    refuses.
    """
    handled = sum(bits for number, bits in _HANDLED.items() if number <= version)
    ruleset = struct.pack("=Q", handled)
    if version >= 4:
        ruleset += struct.pack("=Q", 0 if network else _TCP)
    if version >= 6:
        ruleset += struct.pack("=Q", _SCOPES)
    descriptor = _checked(_call(_CREATE, ruleset, len(ruleset), 0))
    try:
        for path, rights in rules:
            _allow(descriptor, path, rights & handled)
        no_new_privileges()
        _checked(_call(_RESTRICT, descriptor, 0))
    finally:
        os.close(descriptor)


def no_new_privileges() -> None:
    """No program that is started gets more rights than we have. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    _checked(libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES
        if rights:
            rule = struct.pack("=Qi", rights, place)
            _checked(_call(_ADD, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call; -1 with errno set when it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *passed))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
