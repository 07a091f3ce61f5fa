"""A machine that systemd has started: systemd as the first process of namespaces of its own.

It has its own processes, mounts and control groups. /etc and /var are layers over those of this
machine, so what is installed there is gone with it. This Python, its packages and this source are
in /run (PROGRAM), since services do not see the home folder in which they may lie. Root,
`unshare` and a kernel with overlayfs and the second version of control groups are needed; tests
skip aloud without them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BOOT = r"""
set -e
mount --make-rprivate /
umount --recursive /sys/fs/cgroup || true
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mount -t tmpfs none /tmp  # which systemd empties first of all
for name in etc var; do
  mkdir -p /run/$name/upper /run/$name/work
  mount -t overlay none -o lowerdir=/$name,upperdir=/run/$name/upper,workdir=/run/$name/work /$name
done
while read -r from to; do
  mkdir -p $to
  mount --bind $from $to
done <<<"$PLACES"
rm -rf /etc/systemd/system/*
printf '[Unit]\nDescription=nothing but what is started\nDefaultDependencies=no\n' \
  > /etc/systemd/system/bare.target
container=lxc exec /lib/systemd/systemd --system --unit=bare.target --log-target=console
"""
PATIENCE = 20.0
PLACES = {
    "/run/python": sys.base_prefix,
    "/run/packages": sysconfig.get_path("purelib"),
    "/run/source": str(Path(__file__).resolve().parents[1]),
}
PROGRAM = f"/run/python/bin/python{sys.version_info.major}.{sys.version_info.minor} -m diode"
"""What starts `diode` there, with ENVIRONMENT."""
ENVIRONMENT = "PYTHONPATH=/run/source:/run/packages LD_LIBRARY_PATH=/run/python/lib"


class Machine:
    """One that runs."""

    def __init__(self, first: int) -> None:
        self._first = first

    def run(self, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._first), "--all", *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str) -> None:
        self.run("mkdir", "-p", os.path.dirname(path))
        (Path(f"/proc/{self._first}/root") / path.lstrip("/")).write_text(text)

    def shows(self, unit: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        said = self.run("systemctl", "show", unit).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


@contextlib.contextmanager
def started() -> Iterator[Machine]:
    """A machine, until the end of the context."""
    for tool in ("unshare", "nsenter", "systemctl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install util-linux systemd)")
    if os.geteuid() or not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is started by root, where it is installed")
    spaces = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--mount-proc", "--fork")
    process = subprocess.Popen(
        ["unshare", *spaces, "--kill-child", "bash", "-c", BOOT],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PLACES": "\n".join(f"{v} {k}" for k, v in PLACES.items())},
    )
    try:
        yield _up(process)
    finally:
        process.kill()
        process.communicate()


def _up(process: subprocess.Popen[bytes]) -> Machine:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            said = process.communicate()[0].decode(errors="replace")
            pytest.skip(f"systemd cannot be started here: {said[-300:]}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            machine = Machine(int(children[0]))
            up = machine.run("systemctl", "is-active", "bare.target", check=False)
            if up.stdout.strip() == "active":
                return machine
        time.sleep(0.1)
    pytest.skip("systemd does not come up here")
