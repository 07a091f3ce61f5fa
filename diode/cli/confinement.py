"""What each process may still do once it has what it works with.

A process that has a carrier, the sender or the reader of a receiver, by carrier:

    serial:     its device in its one direction, if it may have to be opened again
    audio:      the sound devices, the sound system's settings, sockets of this machine
    all others  nothing; what they use is open. A socket of udp: neither can be replaced nor
                changed, and is used in its one direction only (carrier/sockets.py)

The rest of a receiver has its folders and no carrier at all; `inspect`, which opens one recording
after the other, may read these and nothing else.

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


def reader(url: str, sandbox: str) -> confine.Confinement:
    """Confine this process, which has a carrier open and only reads it.

    sandbox: auto, required or off. Raises ConfinementError where it is required and not to be had.
    """
    confine.no_core()
    os.umask(confine.STRICT_UMASK)
    if sandbox == "off":
        return confine.Confinement()
    done = confine.confine(_bounds((url,), sends=False))
    if sandbox == "required":
        confine.required(done)
    return done


def receiver(
    report: Report, folders: tuple[str, ...], mode: int, sandbox: str, files: tuple[str, ...] = ()
) -> str:
    """Confine what works on what another process reads; what was done, in words.

    folders: the sink's. mode: of delivered files. files: to be read later on.
    """
    os.umask(confine.umask_for(mode))
    temporary = tempfile.gettempdir()
    # A temporary folder of ours is removed at the end, for which its parent has to be written.
    parents = tuple(f for f in map(os.path.dirname, folders) if f == temporary)
    bounds = confine.Bounds(sends=False, own=folders, read=files, remove=parents, apart=_apart())
    return _confine(report, bounds, sandbox)


def inspector(report: Report, urls: tuple[str, ...], sandbox: str) -> str:
    """Confine a process that is going to open and read these carriers itself."""
    os.umask(confine.STRICT_UMASK)
    return _confine(report, _bounds(urls, sends=False, read=tuple(map(_path, urls))), sandbox)


def sender(
    report: Report,
    urls: tuple[str, ...],
    state: str,
    paths: tuple[str, ...],
    spool: str | None,
    sandbox: str,
) -> str:
    """Confine a sender on these carriers; paths: all that it sends. spool: where standard input
    was put.
    """
    os.umask(confine.umask_for(0))
    spools = (spool,) if spool else ()
    removed = tuple(map(os.path.dirname, spools))
    bounds = _bounds(urls, sends=True, own=(state,), read=(*paths, *spools), remove=removed)
    return _confine(report, bounds, sandbox)


def service_sender(
    report: Report,
    urls: tuple[str, ...],
    own: tuple[str, ...],
    read: tuple[str, ...],
    sandbox: str,
) -> str:
    """Confine a sender that stays on air. own: folders in which it changes files. read: those, and
    files, that it looks at.
    """
    os.umask(confine.umask_for(0))
    return _confine(report, _bounds(urls, sends=True, own=own, read=read), sandbox)


def _bounds(
    urls: tuple[str, ...],
    *,
    sends: bool,
    own: tuple[str, ...] = (),
    read: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
) -> confine.Bounds:
    parsed = [carrier.parse(url) for url in urls]
    sound = any(one.scheme == "audio" for one in parsed)
    standard = any(carrier.facts(url).standard for url in urls)
    return confine.Bounds(
        sends=sends,
        own=own,
        read=(*read, *(_SOUND_SETTINGS if sound else ())),
        link=tuple(folder for one in parsed for folder in _device_folders(one)),
        remove=remove,
        devices=_SOUND_DEVICES if sound else (),
        standard=(1 if sends else 0) if standard else None,
        apart=_apart(),
        local_sockets=sound,
    )


def _path(url: str) -> str:
    """The file that a carrier reads; nothing where it reads none."""
    parsed = carrier.parse(url)
    return parsed.path if parsed.scheme in {"file", "wav", "pcm"} else os.devnull


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
    return told(report, "sandbox", done)


def told(report: Report, what: str, done: confine.Confinement) -> str:
    """Tell who asks for it what was done and what was not; the first, in words."""
    report.detail(f"{what}: {done}")
    for missing in done.missing:
        report.detail(f"{what}: {missing}")
    return str(done)


def _load_the_rest() -> None:
    """What is otherwise loaded at first use, by means that are about to be given up."""
    from diode.code import zfec

    zfec.engine()
