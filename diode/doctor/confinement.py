"""What this system has to confine a receiver and a sender with: Landlock and seccomp (confine/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.confine import landlock, seccomp
from diode.doctor import Check, hint, ok

if TYPE_CHECKING:
    from diode.doctor.machine import Machine


def checks(machine: Machine) -> list[Check]:
    """Both, as this kernel has them."""
    modules = machine.line("/sys/kernel/security/lsm").split(",")
    return [judge_landlock(landlock.abi(), modules), judge_seccomp(_missing(), _filters(machine))]


def judge_landlock(abi: int, modules: list[str]) -> Check:
    """modules: security modules that are switched on, where the kernel tells."""
    name = "landlock"
    if abi < landlock.OLDEST:
        what = "not to be had: files stay open to a receiver that was broken into"
        if any(modules) and "landlock" not in modules:
            words = ",".join(["landlock", *modules])
            return hint(
                name, what, f"grep LINUX /etc/default/grub  # add lsm={words} to it; update-grub"
            )
        return hint(
            name, what, "uname -r  # 5.19 or later is wanted, with CONFIG_SECURITY_LANDLOCK"
        )
    lacks = landlock.missing(abi)
    found = f"ABI {abi}"
    return ok(name, f"{found}; newer kernels also forbid {', '.join(lacks)}" if lacks else found)


def judge_seccomp(missing: str, filters: bool) -> Check:
    """missing: why the library cannot be used, if so. filters: whether the kernel has them."""
    name = "seccomp"
    if not filters:
        what = "this kernel has no filters of system calls"
        return hint(name, what, "uname -r  # a kernel with CONFIG_SECCOMP_FILTER is wanted")
    if missing:
        mend = "pip install 'diode-fec[confine]' && apt install libseccomp2"
        return hint(name, f"{missing}: system calls are not filtered", mend)
    return ok(name, "system calls can be filtered")


def _missing() -> str:
    try:
        seccomp.load()
    except ImportError as error:
        return str(error)
    return ""


def _filters(machine: Machine) -> bool:
    known = machine.line("/proc/sys/kernel/seccomp/actions_avail")
    return not known or "errno" in known.split()
