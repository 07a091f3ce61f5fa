"""Many small files from `diode send` to `diode recv` over UDP on loopback: files a second.

From the start of `send` until `recv` has ended, all files in their places and in the ledger. Three
ways side by side in one run: in bundles; each file an object of its own; and `tar | diode send -`,
where what arrives is one archive that nobody has unpacked. After each run every file is compared
with what was sent. On /dev/shm where there is one, since it is not the disk that is measured;
TMPDIR otherwise, or with BENCH_FOLDER anywhere else.

The rate is BENCH_RATE for all of them. Without bundles a fiftieth of the files is sent, and
the figure is a rate, too: what comes faster than it can be put in place is not kept for ever.
"""

from __future__ import annotations

import filecmp
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import diode, heading, median

FILES = int(os.environ.get("BENCH_FILES", "100000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
RATE = os.environ.get("BENCH_RATE", "400M")
SIZE = 1000
IN_A_FOLDER = 1000
PATIENCE = 600


def make(folder: Path, count: int) -> Path:
    top = folder / f"files-{count}"
    for number in range(count):
        if number % IN_A_FOLDER == 0:
            (top / f"{number // IN_A_FOLDER:03}").mkdir(parents=True)
        path = top / f"{number // IN_A_FOLDER:03}" / f"{number:06}.txt"
        path.write_bytes(os.urandom(SIZE))
    return top


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def processor() -> float:
    """Seconds of processor time of all that was started here and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def transfer(folder: Path, what: str, count: int, *options: str) -> float:
    """Seconds until everything is there; what: a folder, or `-` for a tar of all of them."""
    inbox, url = folder / "inbox", f"udp://127.0.0.1:{free_port()}"
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    listen = diode("recv", inbox, "--from", url, "--count", count, "--idle", "20s", "--json")
    events = (folder / "events").open("w+")
    receiver = subprocess.Popen(listen, stdout=events, env=environment)
    deadline = time.monotonic() + PATIENCE
    while '"listening"' not in (folder / "events").read_text():
        assert receiver.poll() is None, "the receiver did not begin"
        assert time.monotonic() < deadline, "the receiver does not listen"
        time.sleep(0.01)
    start = time.perf_counter()
    send = diode("send", what, "--to", f"{url}?rate={RATE}", "-q", *options)
    if what == "-":
        tar = subprocess.Popen(["tar", "c", "-C", folder, f"files-{FILES}"], stdout=subprocess.PIPE)
        subprocess.run(send, check=True, env=environment, stdin=tar.stdout)
        tar.wait()
    else:
        subprocess.run(send, check=True, env=environment)
    code = receiver.wait(PATIENCE)
    took = time.perf_counter() - start
    text = (folder / "events").read_text().splitlines()
    told = sum(json.loads(line)["event"] == "object_delivered" for line in text)
    assert (code, told) == (0, count), f"exit code {code}, {told} of {count} delivered"
    return took


def verify(inbox: Path, top: Path, count: int) -> None:
    same = 0
    for here, _, names in os.walk(top):
        there = inbox / Path(here).relative_to(top.parent)
        match, *_ = filecmp.cmpfiles(here, there, names, shallow=False)
        same += len(match)
    assert same == count, f"{same} of {count} files are the same"


def main() -> None:
    parent = os.environ.get("BENCH_FOLDER")
    if parent is None:
        parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    heading(f"{FILES:,} files of {SIZE} bytes over udp: at {RATE}, in {parent}, median of {RUNS}")
    print(
        f"  {'':28}{'files':>9}{'seconds':>10}{'files/s':>10}{'CPU us/file':>13}{'of bundled':>12}"
    )
    bundled = 0.0
    few = max(1, FILES // 50)
    for title, count, options in (
        ("in bundles", FILES, ()),
        ("--no-bundle", few, ("--no-bundle",)),
        ("tar | diode send -", FILES, ()),
    ):
        took, before = [], processor()
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory(dir=parent) as name:
                folder = Path(name)
                top = make(folder, count)
                if title.startswith("tar"):
                    took.append(transfer(folder, "-", 1))
                else:
                    took.append(transfer(folder, str(top), count, *options))
                    verify(folder / "inbox", top, count)
                shutil.rmtree(folder / "inbox")
        seconds, cpu = median(took), (processor() - before) / RUNS / count * 1e6
        rate = count / seconds
        bundled = bundled or rate
        share = rate / bundled
        print(
            f"  {title:28}{count:>9,}{seconds:>10.2f}{rate:>10,.0f}{cpu:>13,.0f}{share:>12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
