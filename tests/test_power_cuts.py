"""T51: the power goes at each flush of the disk that the receiver writes to.

The receiver works on a file system on a disk that remembers its writes and flushes
(disk_server.py). Then, for each flush, that disk is put together as a power cut behind it would
have left it, without and with some of the pages written since, and mounted, which replays the
file system's own log. What is there has to be right at once, and a receiver that is started on it
has to end with everything, once.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from cli import Shell, make
from faults import contents
from mounts import with_mounts
from recording_disk import Cut, cuts

HERE = Path(__file__).parent
SIZES = {"ext4": "16M", "xfs": "320M", "btrfs": "128M"}
"""Kinds of file systems, and the least that each makes do with, about."""
STAMP = """
import json, sys, time
for line in sys.stdin:
    print(json.dumps([time.monotonic(), json.loads(line)]))
"""


@pytest.fixture
def sent(shell: Shell) -> dict[str, bytes]:
    """Three files in a capture, and the first part of it."""
    made = {"a.bin": make(shell.folder / "a.bin", 100)}
    made["d/b.bin"] = make(shell.folder / "d/b.bin", 300_000, 2)
    made["d/c.bin"] = make(shell.folder / "d/c.bin", 20_000, 3)
    ran = shell.run("send", "a.bin", "d", "--to", "file:capture", "--symbol-size", "512")
    assert ran.code == 0, ran.err
    whole = (shell.folder / "capture").read_bytes()
    (shell.folder / "half").write_bytes(whole[: len(whole) // 2])
    return made


def record(shell: Shell, kind: str) -> list[tuple[float, dict]]:
    """Receive on a disk that remembers; `base` is as it was before, `log` what happened then.

    What the receiver said, and when.
    """
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"no mkfs.{kind} here (apt install e2fsprogs xfsprogs btrfs-progs)")
    try:
        import mfusepy  # noqa: F401  as the server does
    except (ImportError, OSError) as error:
        pytest.skip(f"no FUSE here (pip install mfusepy, apt install fuse3): {error}")
    (shell.folder / "stamp.py").write_text(STAMP)
    with_mounts(
        shell,
        f"""
        truncate -s {SIZES[kind]} disk
        mkfs.{kind} -q disk
        trap 'kill $server $stamping 2> /dev/null || :' EXIT
        cp --sparse=always disk base
        mkdir fuse
        {sys.executable} {HERE}/disk_server.py disk log fuse & server=$!
        until test -e fuse/disk; do kill -0 $server || exit 77; sleep 0.05; done
        mount -o loop fuse/disk mnt || exit 77
        diode recv mnt/inbox --from file:half --json || test $? = 3
        mkfifo pipe
        {sys.executable} stamp.py < pipe > stamped & stamping=$!
        diode recv mnt/inbox --from file:capture --json > pipe
        wait $stamping
        umount mnt
        umount fuse
        wait $server
        """,
    )
    lines = (shell.folder / "stamped").read_text().splitlines()
    return [(when, event) for when, event in map(json.loads, lines)]


def delivered_in(inbox: Path) -> set[str]:
    """Paths that the ledger says are delivered."""
    ledger = inbox / ".diode/ledger.db"
    if not ledger.exists():
        return set()
    db = sqlite3.connect(ledger)
    try:
        if not db.execute("SELECT name FROM sqlite_master").fetchall():
            return set()  # the power went before its tables were there
        rows = db.execute("SELECT path FROM objects WHERE state = 'delivered'").fetchall()
    finally:
        db.close()
    return {path.decode() for (path,) in rows}


def power_cut(shell: Shell, cut: Cut, sent: dict[str, bytes], told: set[str]) -> None:
    """Mount the disk as it was then, and go on. told: paths that were said to be delivered."""
    with_mounts(
        shell,
        """
        rm -rf before after image
        cp --sparse=always base image
        mount -o loop image mnt
        mkdir before after
        test ! -d mnt/inbox || cp -a mnt/inbox before
        code=0
        diode recv mnt/inbox --from file:capture --json > again 2> again.err || code=$?
        echo $code > code
        cp -a mnt/inbox after
        umount mnt
        """,
    )
    folder = shell.folder
    where = f"after {cut}\n{(folder / 'again').read_text()}\n{(folder / 'again.err').read_text()}"
    before = contents(folder / "before/inbox")
    for name, content in before.items():
        assert sent[name] == content, f"{name} {where}"
    assert told <= before.keys(), f"said to be delivered and gone {where}"
    assert delivered_in(folder / "before/inbox") <= before.keys(), f"in the ledger only {where}"
    assert (folder / "code").read_text() == "0\n", where
    again = [json.loads(line) for line in (folder / "again").read_text().splitlines()]
    anew = {e["path"] for e in again if e["event"] == "object_delivered"}
    assert not anew & told, f"delivered again {where}"
    assert contents(folder / "after/inbox") == sent, where
    assert list((folder / "after/inbox/.diode/parts").iterdir()) == [], where
    assert delivered_in(folder / "after/inbox") == sent.keys(), where


def cut_everywhere(
    shell: Shell, sent: dict[str, bytes], kind: str, share: float, stride: int, first: int
) -> int:
    """How many flushes there were."""
    said = record(shell, kind)
    met = 0
    for cut in cuts(shell.folder / "log", shell.folder / "base", share):
        met += 1
        if cut.number % stride == first:
            told = {
                e["path"] for at, e in said if e["event"] == "object_delivered" and at < cut.time
            }
            power_cut(shell, cut, sent, told)
    print(f"{kind}: {met} flushes, {share:.0%} of the pages written since")
    return met


@pytest.mark.parametrize("kind", SIZES)
def test_nothing_is_left_behind(shell: Shell, sent: dict[str, bytes], kind: str) -> None:
    """Without a cut; each kind lists and removes in its own way."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"no mkfs.{kind} here (apt install e2fsprogs xfsprogs btrfs-progs)")
    with_mounts(
        shell,
        f"""
        truncate -s {SIZES[kind]} disk
        mkfs.{kind} -q disk
        mount -o loop disk mnt || exit 77
        diode recv mnt/inbox --from file:half || test $? = 3
        diode recv mnt/inbox --from file:capture
        cp -a mnt/inbox inbox
        umount mnt
        """,
    )
    assert contents(shell.folder / "inbox") == sent
    assert list((shell.folder / "inbox/.diode/parts").iterdir()) == []


def test_power_goes_at_some_flushes(shell: Shell, sent: dict[str, bytes]) -> None:
    assert cut_everywhere(shell, sent, "ext4", 0.5, 19, 11) > 20


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("kind", SIZES)
def test_power_goes_at_every_flush(
    shell: Shell, sent: dict[str, bytes], kind: str, share: float
) -> None:
    assert cut_everywhere(shell, sent, kind, share, 1, 0) > 20
