"""Confinement: once everything is open, a process gives up what it no longer needs.

A receiver hears bytes that somebody hostile may have chosen. Should they ever find a hole in a
parser or a library, what they then have is a process that can write into the inbox and its
state folder, and nothing more: no other file, no program, no network, no way to write to the
link. A sender that went wrong can still not read from the link or open it to read.

Three means, each as far as the system has it: Landlock for files (landlock.py), seccomp for system
calls (seccomp.py), and what every Unix has: no core dumps, which would hold what went over the
link, and a umask. None can be taken back. What could not be had is said, not hidden.

Landlock holds for the thread that asks for it and what that one starts, so it comes before
any other thread; a thread that a library started before (PortAudio's) is mentioned.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

from diode.errors import ConfinementError

STRICT_UMASK = 0o077


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a process may still do. Paths mean what is beneath them."""

    sends: bool
    """The link is written to and never read; else the other way round."""
    own: tuple[str, ...] = ()
    """Folders that files are made, renamed and removed in."""
    read: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    """Where the link's device may have to be opened again, in its one direction."""
    remove: tuple[str, ...] = ()
    """Folders that temporary files and folders of ours are to be removed from."""
    devices: tuple[str, ...] = ()
    """What is read, written and controlled: sound cards."""
    standard: int | None = None
    """The standard descriptor that is the link, if one is."""
    apart: int = 1 << 30
    """First of the numbers that only descriptors of links have."""
    local_sockets: bool = False
    """Whether sockets of this machine are needed."""
    network: bool = False
    """Whether it is its business to talk to others: an uploader's, and nobody else's."""


CLIENT = Bounds(
    sends=False, read=("/etc", "/run/systemd/resolve", "/usr/share/ca-certificates"), network=True
)
"""What has no link and no files, and talks to servers: names and certificates are looked up."""


@dataclass(slots=True)
class Confinement:
    """What was done."""

    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Sentences on what is not confined."""

    def __str__(self) -> str:
        return ", ".join(self.done) or "none"


def no_core() -> None:
    """No core dumps: they would hold what went over the link, and keys."""
    try:
        import resource  # noqa: PLC0415  POSIX only
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def umask_for(mode: int) -> int:
    """077, opened for those whom the mode of delivered files lets read, so that they can get there.

    A mode of 0440 gives 027: who may read the files may enter the folders made for them.
    """
    readers = mode & 0o044
    return STRICT_UMASK & ~(readers | readers >> 2)


def confine(bounds: Bounds) -> Confinement:
    """Confine this process, as far as this system can. There is no way back."""
    done = Confinement()
    library = _library(done)  # finding it takes rights that Landlock is about to take away
    _landlock(bounds, done)
    if library is not None:
        _seccomp(library, bounds, done)
    return done


def required(done: Confinement) -> None:
    """Raise ConfinementError unless everything was done."""
    if done.missing:
        raise ConfinementError(
            f"not confined as --sandbox required asks: {'; '.join(done.missing)}",
            hint="leave out --sandbox required to run with what there is",
        )


def _landlock(bounds: Bounds, done: Confinement) -> None:
    from diode.confine import landlock  # noqa: PLC0415  Linux only

    version = landlock.abi()
    if version < landlock.OLDEST:
        what = f"is too old (ABI {version})" if version else "is not to be had"
        done.missing.append(f"Landlock {what} on this kernel: files are open to this process")
        return
    threads = _threads()
    try:
        landlock.restrict(version, _rules(bounds), network=bounds.network)
    except OSError as error:
        done.missing.append(f"Landlock failed ({error.strerror}): files are open to this process")
        return
    done.done.append(f"landlock ABI {version}")
    if news := landlock.missing(version):
        done.missing.append(f"Landlock ABI {version} does not know {', '.join(news)}")
    if threads > 1:
        done.missing.append(f"{threads - 1} threads of libraries were there before Landlock")


def _rules(bounds: Bounds) -> list[tuple[str, int]]:
    from diode.confine import landlock as rights  # noqa: PLC0415

    link = rights.WRITE if bounds.sends else rights.READ
    return [
        *((path, rights.OWN) for path in bounds.own),
        *((path, rights.LOOK) for path in (*bounds.read, *_libraries())),
        *((path, rights.REMOVE_DIR | rights.REMOVE_FILE) for path in bounds.remove),
        *((path, link | rights.IOCTL) for path in bounds.link),
        *((path, rights.LOOK | rights.WRITE | rights.IOCTL) for path in bounds.devices),
        (os.devnull, rights.READ | rights.WRITE),
    ]


def _libraries() -> list[str]:
    """Where Python and shared libraries may still load something from."""
    import sysconfig  # noqa: PLC0415

    packages = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    system = ["/usr/lib", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo"]
    return [*dict.fromkeys([*packages, *standard, own, *system, "/etc/localtime", "/dev/urandom"])]


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _library(done: Confinement) -> Any:
    """What makes seccomp's filters, or None."""
    try:
        from diode.confine import seccomp  # noqa: PLC0415  Linux only

        return seccomp.load()
    except ImportError as error:
        done.missing.append(f"no seccomp ({error}): all system calls are open")
        return None


def _seccomp(library: Any, bounds: Bounds, done: Confinement) -> None:
    from diode.confine import seccomp  # noqa: PLC0415

    try:
        seccomp.restrict(
            library,
            sends=bounds.sends,
            standard=bounds.standard,
            apart=bounds.apart,
            local_sockets=bounds.local_sockets,
            network=bounds.network,
        )
    except OSError as error:
        done.missing.append(f"seccomp failed ({error.strerror}): all system calls are open")
        return
    done.done.append("seccomp on")
