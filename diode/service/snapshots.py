"""Small files in a state folder that say how things are, for other processes to read.

Each is one struct as JSON, replaced whole: who reads finds one or the other, never half of one. It
is written each second and worth nothing after a power cut, so nothing is fsynced.

Who reads may be another user, root too, so nothing is followed and nothing is waited for: a link, a
pipe or a huge file in the place of one of these is not read, and nothing in it but printable ASCII
gets to whoever reads: a receiver that was taken over writes these files, too. What cannot be read
is as good as not there: the next one comes in a second.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from diode.health import Clock

HEALTH = "health.json"
HISTORY = "history.json"
SENDING = "sending.json"
DISMISSED = "dismissed.json"
"""Missing numbers that a person says are settled, by sender: list of [first, last]."""
MODE = 0o640
"""The group may read: of whoever watches."""
LARGEST = 8 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_UNSHOWN = re.compile(rb'(\\\\|\\")|\\u[0-9a-fA-F]{4}|\\.|[^\x20-\x7e\n]+')
"""In JSON: what is no printable ASCII when it is decoded; the group, what is all the same."""

T = TypeVar("T")


def write(folder: int, name: str, value: object) -> None:
    """Replace the file of that name in the folder with that descriptor. Raises OSError."""
    beside = f"{name}.new"
    descriptor = os.open(beside, _FLAGS, MODE, dir_fd=folder)
    try:
        os.fchmod(descriptor, MODE)
        content = memoryview(msgspec.json.encode(value) + b"\n")
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError:
        with contextlib.suppress(OSError):  # a full disk: what is half there is in the way
            os.unlink(beside, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)


def read(folder: str, name: str, kind: type[T]) -> T | None:
    """What that file says; None where it is not there or says nothing of that kind.

    Raises PermissionError.
    """
    try:
        descriptor = os.open(os.path.join(folder, name), _READ)
    except PermissionError:
        raise
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return None
        content = file.read(LARGEST)
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(_UNSHOWN.sub(_shown, content), type=kind)
    return None


def _shown(match: re.Match[bytes]) -> bytes:
    return match[1] or b"?"


@functools.cache
def boot() -> str:
    """Since which start of the machine its clocks run; empty where the system does not tell.

    To be asked once before this process is confined.
    """
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


def age(written: Clock, time: float, here: Clock, now: float) -> float:
    """Seconds since a value was written.

    written: its own clock; time: its time of day. here, now: the same of this process. Where both
    run since the same start of the machine the time of day plays no part.
    """
    if written.boot and written.boot == here.boot:
        return max(0.0, here.seconds - written.seconds)
    return max(0.0, now - time)
