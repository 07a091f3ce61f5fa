"""Is the clock right? For information only: no decision of diode's hangs on it.

What it stands in are records: times in the ledger, in signatures, in logs. The kernel says whether
anything has set it (adjtimex(2), STA_UNSYNC).
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import TYPE_CHECKING

from diode.doctor import Check, hint, ok, unknown

if TYPE_CHECKING:
    from diode.doctor.machine import Machine

_UNSYNCHRONISED = 5
"""What adjtimex returns then (TIME_ERROR)."""
_STRUCT = 512
"""Bytes that hold a struct timex of every architecture; the first number, modes, is 0: ask only."""
BORN = 1_735_689_600.0
"""2025: before it no version of diode was."""


def checks(machine: Machine) -> list[Check]:
    """One check."""
    daemon = machine.runs("chronyd", "systemd-timesyncd", "ntpd", "ntpsec", "ptp4l")
    return [judge(time.time(), synchronised(), daemon)]


def judge(now: float, synchronised: bool | None, daemon: str) -> Check:
    """now: seconds since 1970."""
    name = "clock"
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0.0, min(now, 4e9))))
    if not BORN <= now < 4e9:
        mend = "date -s 'YYYY-MM-DD hh:mm' && hwclock --systohc  # is its battery flat?"
        return hint(name, f"it says {stamp}, which cannot be; times in records are wrong", mend)
    if synchronised:
        return ok(name, f"{stamp}, synchronised{f' by {daemon}' if daemon else ''}")
    if synchronised is None:
        return unknown(name, stamp)
    what = f"{stamp}, not synchronised: only times in records depend on it"
    mend = "timedatectl set-ntp true  # or by hand: date -s 'YYYY-MM-DD hh:mm' && hwclock -w"
    return hint(name, what, mend)


def synchronised() -> bool | None:
    """Whether something keeps the clock right; None where the kernel does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state = int(library.adjtimex(ctypes.create_string_buffer(_STRUCT)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED
