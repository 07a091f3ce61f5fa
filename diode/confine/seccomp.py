"""seccomp: which system calls a process may still make.

A filter in the kernel looks at the number and the plain arguments of each call. It cannot follow
pointers, so paths are Landlock's business (landlock.py); what it can tell is a call that neither
end has any use for, and the number of a descriptor. So the link's descriptor, which has a number
of its own (carrier/apart.py), can be made good for one direction only, even if somebody
managed to get it with both.

It is a list of what is denied, not of what is allowed: an interpreter and its libraries
use too many calls, and others with every version. A denied call fails with EPERM, on the
link's descriptor with EBADF, and nothing is killed. io_uring is denied because it would
make other calls without the filter's seeing them.

All threads of the process get the filter. It comes from libseccomp through pyseccomp, the extra
`confine`; without these there is none.
"""

from __future__ import annotations

import errno
import importlib
import socket
import termios
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = ("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
_NETWORK: tuple[str, ...] = (
    *("socket", "connect", "bind", "listen", "accept", "accept4", "setsockopt"),
)
_PLACES = (
    *("mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns"),
    *("open_by_handle_at", "quotactl", "swapon", "swapoff", "acct"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
    *("symlink", "symlinkat", "mknod", "mknodat"),
)
_KERNEL = (
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kcmp"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "iopl", "ioperm", "modify_ldt"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
)
_READING = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2"), 0),
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg", "splice", "tee", "copy_file_range"), 0),
    "sendfile": 1,
}
"""Calls that read, and which of their arguments they read from."""
_WRITING = {
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2", "vmsplice"), 0),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg", "sendfile"), 0),
    "tee": 1,
    **dict.fromkeys(("splice", "copy_file_range"), 2),
}
_TYPING = ("TIOCSTI", "TIOCLINUX")
"""Ioctls that put characters into a terminal's input."""
_DRIVING = ("TIOCMBIS", "TIOCMBIC", "TIOCMSET")
"""Ioctls that set modem lines: DTR and RTS would be a way back."""
_ASKING = ("TIOCMGET", "TIOCMIWAIT", "TIOCGICOUNT")
"""Ioctls that ask for modem lines: CTS, DSR, DCD and RI would be a way in."""

Rule = tuple[int, str, tuple[Any, ...]]


def load() -> Any:
    """The library; ImportError with the reason when it is not there."""
    try:
        return importlib.import_module("pyseccomp")
    except ImportError as error:
        raise ImportError("pyseccomp is not installed") from error
    except Exception as error:  # RuntimeError and OSError where libseccomp is missing
        raise ImportError("libseccomp is not installed") from error


def restrict(
    library: Any,
    *,
    sends: bool,
    standard: int | None,
    apart: int,
    local_sockets: bool,
    network: bool = False,
) -> None:
    """Deny it all to every thread of this process, for good. Raises OSError.

    sends: the link is written to, else it is read. standard: the standard descriptor that is the
    link, if one is; apart: first of the numbers that only links have. local_sockets: leave
    those of this machine (AF_UNIX), which sound servers need; network: leave all.
    """
    filtered = library.SyscallFilter(library.ALLOW)
    filtered.set_attr(library.Attr.CTL_TSYNC, 1)
    rules = [
        *_denied(library, sends, local_sockets, network),
        *_one_way(library, sends, standard, apart),
    ]
    for action, name, arguments in rules:
        if library.resolve_syscall(library.Arch.NATIVE, name) >= 0:
            filtered.add_rule(action, name, *arguments)
    filtered.load()


def _denied(library: Any, sends: bool, local_sockets: bool, network: bool) -> Iterator[Rule]:
    no = library.ERRNO(errno.EPERM)
    if local_sockets and not network:
        yield no, "socket", (library.Arg(0, library.NE, int(socket.AF_UNIX)),)
    sockets = () if local_sockets or network else _NETWORK
    for name in (*_PROGRAMS, *sockets, *_PLACES, *_KERNEL):
        yield no, name, ()
    for request in (*_TYPING, *_DRIVING, *(_ASKING if sends else ())):
        number = getattr(termios, request, None)
        if number is not None:
            # The number has 32 bits, in an argument that may have 64.
            yield no, "ioctl", (library.Arg(1, library.MASKED_EQ, 0xFFFFFFFF, number),)


def _one_way(library: Any, sends: bool, standard: int | None, apart: int) -> Iterator[Rule]:
    no = library.ERRNO(errno.EBADF)
    for name, index in (_READING if sends else _WRITING).items():
        yield no, name, (library.Arg(index, library.GE, apart),)
        if standard is not None:
            yield no, name, (library.Arg(index, library.EQ, standard),)
