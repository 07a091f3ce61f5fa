"""What `send` and `recv` may still do once their carrier is open, by carrier.

    serial:     its device in its one direction, if it may have to be opened again
    audio:      the sound devices, the sound system's settings, sockets of this machine
    all others  nothing; what they use is open. A socket of udp: neither can be replaced nor
                changed, and is used in its one direction only (carrier/sockets.py)

A device that comes back is another file, so it is the folder that stays open for it, mostly
/dev. Who runs as an ordinary user of the group `dialout` gives away nothing by that; who must
run as root can say reopen=0.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from diode import carrier, confine

if TYPE_CHECKING:
    from diode.carrier import CarrierUrl
    from diode.cli.report import Report

_SOUND_DEVICES = ("/dev/snd", "/dev/shm")  # noqa: S108  shared with the sound server
_SOUND_SETTINGS = ("/usr/share/alsa", "/etc/alsa", "/etc/asound.conf", "/etc/pulse", "/proc/asound")


def receiver(report: Report, url: str, folders: tuple[str, ...], mode: int, sandbox: str) -> str:
    """Confine a receiver whose carrier and sink are open; what was done, in words.

    folders: the sink's. mode: of delivered files. sandbox: auto, required or off.
    """
    os.umask(confine.umask_for(mode))
    temporary = tempfile.gettempdir()
    # A temporary folder of ours is removed at the end, for which its parent has to be written.
    parents = tuple(f for f in map(os.path.dirname, folders) if f == temporary)
    return _confine(report, _bounds(url, sends=False, own=folders, remove=parents), sandbox)


def sender(
    report: Report, url: str, state: str, paths: tuple[str, ...], spool: str | None, sandbox: str
) -> str:
    """Confine a sender; paths: all that it sends. spool: where standard input was put."""
    os.umask(confine.umask_for(0))
    spools = (spool,) if spool else ()
    removed = tuple(map(os.path.dirname, spools))
    bounds = _bounds(url, sends=True, own=(state,), read=(*paths, *spools), remove=removed)
    return _confine(report, bounds, sandbox)


def _bounds(
    url: str,
    *,
    sends: bool,
    own: tuple[str, ...],
    read: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
) -> confine.Bounds:
    parsed = carrier.parse(url)
    sound = parsed.scheme == "audio"
    standard = parsed.scheme == "-" or (parsed.scheme == "pcm" and parsed.path == "-")
    return confine.Bounds(
        sends=sends,
        own=own,
        read=(*read, *(_SOUND_SETTINGS if sound else ())),
        link=_device_folders(parsed),
        remove=remove,
        devices=_SOUND_DEVICES if sound else (),
        standard=(1 if sends else 0) if standard else None,
        apart=_apart(),
        local_sockets=sound,
    )


def _device_folders(url: CarrierUrl) -> tuple[str, ...]:
    if url.scheme != "serial" or url.number("reopen", 1, 0, 1e9) == 0:
        return ()
    return (os.path.dirname(os.path.realpath(url.path)),)


def _apart() -> int:
    try:
        from diode.carrier.apart import first
    except ImportError:  # no such numbers on this platform, nor seccomp
        return 1 << 30
    return first()


def _confine(report: Report, bounds: confine.Bounds, sandbox: str) -> str:
    confine.no_core()
    if sandbox == "off":
        report.warn("not confined: whatever takes over this process has all rights of its user")
        return "off"
    _load_the_rest()
    done = confine.confine(bounds)
    if sandbox == "required":
        confine.required(done)
    report.detail(f"sandbox: {done}")
    for what in done.missing:
        report.detail(f"sandbox: {what}")
    return str(done)


def _load_the_rest() -> None:
    """What is otherwise loaded at first use, by means that are about to be given up."""
    from diode.code import zfec

    zfec.engine()
