"""Cases of the threat model that no other file holds; the table of all is in README.md."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import resource
import shutil
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cli import Shell, make
from inboxes import Thing, descriptors, some, tree
from mounts import with_mounts
from pair import BytesSource, Listener, everything, transmit
from sessions import Carrier, Clock, Observer

from diode import line
from diode.code import CODES
from diode.errors import DestinationError
from diode.events import Key
from diode.frame import Frames
from diode.limits import Limits
from diode.objects import Announcement, Manifest, Status, Type
from diode.plan import Link, Settings
from diode.service.receiver import Session, Stop
from diode.sink.folder import Inbox
from diode.transmitter import Transmitter


def encoded(name: str, frames: list[np.ndarray]) -> list[bytes]:
    pieces = line.encoder(name).encode(Frames.of_pieces(frames)).pieces()
    return [bytes(piece) for piece in pieces]


def found(name: str, data: bytes) -> list[bytes]:
    decoder = line.decoder(name)
    batches = decoder.feed(np.frombuffer(data, np.uint8)) + decoder.flush()
    return [bytes(row) for rows in batches for row in rows]


def heard(name: str, data: bytes) -> Listener:
    listener = Listener()
    decoder = line.decoder(name)
    batches = decoder.feed(np.frombuffer(data, np.uint8)) + decoder.flush()
    listener.take(listener.receiver.receive(batches, 0.0))
    return listener


# What arrives -----------------------------------------------------------------------------------


def test_nothing_at_all(shell: Shell) -> None:
    """T01: an empty capture is told as such, and leaves nothing."""
    (shell.folder / "empty").touch()
    ran = shell.run("recv", "inbox", "--from", "file:empty", "--once")
    assert ran.code == 4
    assert "nothing was heard" in ran.err and "hint:" in ran.err
    assert tree(shell.folder / "inbox", ".diode") == {}


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_every_truncation_costs_few_frames(name: str) -> None:
    """T04: cut short anywhere, a frame is lost; without its end mark, at most the next one too."""
    frames = transmit(b"x" * 20)
    pieces = encoded(name, frames[:6])
    for length in range(1, len(pieces[1])):
        data = pieces[0] + pieces[1][:length] + b"".join(pieces[2:])
        got = found(name, data)
        lost = [f for f in frames[:6] if bytes(f) not in got]
        assert bytes(frames[0]) in got
        assert len(lost) <= (1 if name == "rs" else 2), length
        assert all(g in [bytes(f) for f in frames] for g in got)


def test_the_largest_size_there_is(tmp_path: Path) -> None:
    """T08: refused by its number alone; no byte of memory or disk is spent."""
    cut = (CODES["zfec"].id, 200, 250, 1024)
    manifest = Manifest(Status.COMPLETE, Type.FILE, b"x", (1 << 63) - 1, bytes(32), *cut, 1, None)
    transmitter = Transmitter(7, Settings(), Link())
    transmitter.add(1, BytesSource(b"small"))
    frames = everything(transmitter)
    forged = Announcement(manifest).serialize()
    inbox = Inbox(str(tmp_path / "inbox"))
    listener = Listener()
    tracemalloc.start()
    listener.receiver._announced(Key(7, 9), 0, forged)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert sum(listener.receiver.rejected.values()) == 1
    assert tree(tmp_path / "inbox", ".diode") == {}
    assert os.listdir(tmp_path / "inbox/.diode/parts") == []
    inbox.close()
    assert listener.hear(frames).delivered == {Key(7, 1): b"small"}


def test_a_terabyte_of_nothing(tmp_path: Path) -> None:
    """T30: the quota is for what is really held, and the first block of a giant fits into it."""
    size = 1 << 40
    inbox = Inbox(str(tmp_path / "inbox"), quota=1 << 20)
    evicted = []
    inbox.evicted = lambda key, why: evicted.append(key)
    cut = (CODES["zfec"].id, 200, 250, 30_000)
    manifest = Manifest(Status.COMPLETE, Type.FILE, b"x", size, bytes(32), *cut, 1, None)
    key = Key(7, 1)
    assert inbox.announce(key, manifest, Announcement(manifest).serialize())
    taken = sum(p.stat().st_blocks * 512 for p in (tmp_path / "inbox").rglob("*"))
    assert taken < 1 << 21
    small = Thing(some(300), key=Key(7, 2))
    small.give(inbox)
    inbox.close()


def test_bytes_of_two_senders_mixed(shell: Shell) -> None:
    """T40: two lines soldered together, byte by byte: what is whole is right, nothing is mixed."""
    rng = np.random.default_rng(1)
    a = b"".join(encoded("cobs", transmit(some(4_000), sender=1)))
    b = b"".join(encoded("cobs", transmit(some(4_000, 2), sender=2)))
    mixed = bytearray()
    while a or b:  # turns of one byte to a few frames
        take = int(10 ** rng.uniform(0, 4))
        mixed += a[:take] + b[: take // 2]
        a, b = a[take:], b[take // 2 :]
    listener = heard("cobs", bytes(mixed))
    assert listener.receiver.senders.keys() <= {1, 2}
    for key, content in listener.delivered.items():
        assert content == some(4_000, key.sender)
    assert heard(
        "cobs", bytes(mixed) + b"\0" + b"".join(encoded("cobs", transmit(b"next")))
    ).delivered


def test_the_inbox_is_swapped_all_the_time(tmp_path: Path) -> None:
    """T26: a folder below the inbox turns into a link and back while files are delivered."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine").write_bytes(b"mine")
    inbox = Inbox(str(tmp_path / "inbox"))
    inner = tmp_path / "inbox/d"
    inner.mkdir()
    before = tree(victim)
    over = threading.Event()

    def swap() -> None:
        for turn in itertools.takewhile(lambda _: not over.is_set(), itertools.count()):
            with contextlib.suppress(OSError):  # a folder is made again between any two of these
                inner.rename(tmp_path / f"aside{turn}")
                inner.symlink_to(victim)
            if inner.is_symlink():
                inner.unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(120):
            thing = Thing(some(50, number), b"d/%d" % number, Key(7, number))
            with contextlib.suppress(DestinationError):  # the folder went in mid-delivery
                thing.give(inbox)
    finally:
        over.set()
        thread.join()
    inbox.close()
    assert tree(victim) == before
    assert sum(1 for p in tmp_path.glob("*/**/*") if p.name.isdigit()) > 0


# Sequence and replay ----------------------------------------------------------------------------


def test_a_sender_restored_from_a_backup(shell: Shell) -> None:
    """T37: a number used before is not delivered again, and it is said which object that was."""
    make(shell.folder / "one", 5_000)
    make(shell.folder / "two", 5_000, 2)
    assert shell.run("send", "one", "--to", "file:cap1", "--state", "state").code == 0
    (shell.folder / "state").rename(shell.folder / "backup")
    assert shell.run("send", "one", "--to", "file:cap2", "--state", "state").code == 0
    shutil.rmtree(shell.folder / "state")
    (shell.folder / "backup").rename(shell.folder / "state")
    assert shell.run("recv", "inbox", "--from", "file:cap1").code == 0
    # One number too few in the state: the next object gets one that is used.
    state = (shell.folder / "state/sender.json").read_text()
    (shell.folder / "state/sender.json").write_text(state.replace('"number":1', '"number":0'))
    assert shell.run("send", "two", "--to", "file:cap3", "--state", "state").code == 0
    ran = shell.run("recv", "inbox", "--from", "file:cap3", "--json")
    assert ran.code == 3
    (refused,) = ran.events("object_incomplete")
    assert (refused["name"], refused["number"]) == ("two", 1)
    assert "restored from a backup" in refused["reason"]
    assert not (shell.folder / "inbox/two").exists()
    # With the folder gone, the sender is another one, and its numbers are new.
    shutil.rmtree(shell.folder / "state")
    assert shell.run("send", "two", "--to", "file:cap4", "--state", "state").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap4").code == 0
    assert (shell.folder / "inbox/two").exists()


def test_yesterday_again(shell: Shell) -> None:
    """T38, T39: a replay is known while the ledger is; without it, what lies there counts."""
    content = make(shell.folder / "x", 5_000)
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    os.remove(shell.folder / "inbox/x")
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert ran.events("object_known") and not ran.events("object_delivered")
    assert not (shell.folder / "inbox/x").exists()
    shutil.rmtree(shell.folder / "inbox/.diode")
    first = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert not first.events("object_delivered")[0]["duplicate"]  # first-seen is trusted
    shutil.rmtree(shell.folder / "inbox/.diode")
    second = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert second.events("object_delivered")[0]["duplicate"]
    assert {p.name: p.read_bytes() for p in (shell.folder / "inbox").glob("x*")} == {"x": content}


def test_a_state_that_is_required(shell: Shell) -> None:
    """T39: where it was deleted, replaced or damaged nothing starts, and nothing is made."""
    make(shell.folder / "x", 5_000)
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    begun = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    (name,) = {event["state"] for event in begun.events("listening")}
    inbox = shell.folder / "inbox"

    def refused(name: str) -> str:
        before = tree(inbox) if inbox.exists() else None
        ran = shell.run("recv", "inbox", "--from", "file:cap", "--require-state", name)
        assert ran.code == 14, ran.err
        assert "hint: " in ran.err and "on purpose" in ran.err
        assert (tree(inbox) if inbox.exists() else None) == before
        return ran.err

    right = ("recv", "inbox", "--from", "file:cap", "--require-state", name, "--json")
    assert shell.run(*right).events("object_known")
    assert f"is {name}, not 00000001" in refused("00000001")
    (inbox / "x").unlink()
    shutil.copytree(inbox, shell.folder / "backup")
    ledger = inbox / ".diode/ledger.db"
    ledger.write_bytes(ledger.read_bytes()[:5000])
    assert "damaged" in refused(name)
    shutil.rmtree(inbox / ".diode")
    assert "there is no state" in refused(name)
    shutil.rmtree(inbox)
    assert "there is no state" in refused(name)
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0  # begins another
    assert name in refused(name)
    shutil.rmtree(inbox)
    (shell.folder / "backup").rename(inbox)
    again = shell.run(*right)
    assert again.events("object_known") and not again.events("object_delivered")
    assert shell.run("recv", "-", "--from", "file:cap", "--require-state", name).code == 2


@pytest.mark.slow
def test_ten_thousand_small_files() -> None:
    """T46: all delivered, with memory for what is unfinished only."""
    objects = [BytesSource(b"%d" % n, b"%d" % n) for n in range(10_000)]
    listener = Listener(Limits(objects=10_000)).hear(transmit(*objects), batch=512)
    assert len(listener.delivered) == 10_000
    assert listener.receiver.objects == {}


@pytest.mark.parametrize("count", [500])
def test_many_small_files(count: int) -> None:
    objects = [BytesSource(b"%d" % n, b"%d" % n) for n in range(count)]
    listener = Listener().hear(transmit(*objects), batch=512)
    assert len(listener.delivered) == count
    assert listener.receiver.objects == {}


# Disk -------------------------------------------------------------------------------------------


def test_files_may_not_be_that_large(shell: Shell) -> None:
    """T55: no death by a signal, and a way on when the limit is lifted."""
    content = make(shell.folder / "x", 200_000)
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        receiving = shell.start("recv", "inbox", "--from", "file:cap")  # has the limits of this one
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ran = shell.finish(receiving)
    assert ran.code == 13, ran.err
    assert "ulimit" in ran.err
    assert tree(shell.folder / "inbox", ".diode") == {}
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    assert (shell.folder / "inbox/x").read_bytes() == content


def test_no_inodes(shell: Shell) -> None:
    """T54: said as what it is, and all is delivered once there are some."""
    make(shell.folder / "x", 20_000)
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    said = with_mounts(
        shell,
        """
        mount -t tmpfs -o size=4m,nr_inodes=8,mode=755 tmpfs mnt || exit 77
        diode recv mnt --from file:cap && exit 1 || test $? = 13
        test ! -e mnt/x
        mount -o remount,nr_inodes=100 mnt
        diode recv mnt --from file:cap
        cmp x mnt/x
        """,
    )
    assert "inodes" in said


def test_a_read_only_inbox(shell: Shell) -> None:
    """T61: told at the start, and no reason for anything afterwards."""
    make(shell.folder / "x", 20_000)
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    said = with_mounts(
        shell,
        """
        mount -t tmpfs -o size=4m,mode=755,ro tmpfs mnt || exit 77
        diode recv mnt --from file:cap && exit 1 || test $? = 13
        mount -o remount,rw mnt
        diode recv mnt --from file:cap
        cmp x mnt/x
        """,
    )
    assert "read-only" in said.lower()


CUT = """
import fcntl, os, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, (2).to_bytes(4, "little"))
"""


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_goes_after_a_delivery(shell: Shell, kind: str) -> None:
    """T52: the file system is cut off without writing its log; what was delivered is there."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"no mkfs.{kind} here")
    make(shell.folder / "x", 200_000)
    make(shell.folder / "d/y", 300)
    assert shell.run("send", "x", "d", "--to", "file:cap").code == 0
    (shell.folder / "cut.py").write_text(CUT)
    with_mounts(
        shell,
        f"""
        truncate -s {"16M" if kind == "ext4" else "320M"} disk
        mkfs.{kind} -q disk
        mount -o loop disk mnt || exit 77
        diode recv mnt/inbox --from file:cap
        {sys.executable} cut.py mnt || exit 77
        umount mnt
        mount -o loop disk mnt
        cmp x mnt/inbox/x
        cmp d/y mnt/inbox/d/y
        diode recv mnt/inbox --from file:cap --json > said
        grep -q object_known said && ! grep -q object_delivered said
        test $(ls mnt/inbox | wc -l) = 2
        umount mnt
        """,
    )


# Time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-3600, 10 * 365 * 86400, -1_700_000_000])
def test_the_wall_clock_decides_nothing(tmp_path: Path, monkeypatch, jump: float) -> None:
    """T69, T70, T72: it jumps in mid-transfer, or stands at 1970; all is delivered, once."""
    frames = encoded("cobs", transmit(some(30_000), settings=Settings(symbol_size=100)))
    real = time.time
    calls = itertools.count()

    def jumping() -> float:
        return real() + (jump if next(calls) % 2 else 0)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    clock = Clock()
    for again in range(2):
        inbox = Inbox(str(tmp_path / "inbox"), expire=60)
        pieces = [b"".join(frames[at : at + 20]) for at in range(0, len(frames), 20)]
        session = Session(
            Carrier(pieces, clock), line.decoder("cobs"), inbox, Observer(), clock=clock
        )
        session.run(Stop())
        inbox.close()
        assert (session.deliveries.delivered, session.deliveries.known) == (
            (1, 0) if not again else (0, 1)
        )
    monkeypatch.undo()
    time.tzset()


def test_a_soak_in_little_time() -> None:
    """T73: hours of carousel with loss and outages, on a clock that is only reckoned with."""
    rng = np.random.default_rng(1)
    listener = Listener(Limits(finished=64))
    before, memory, turns = descriptors(), [], 30
    number = 0
    tracemalloc.start()
    for turn in range(turns):
        transmitter = Transmitter(7, Settings(passes=2), Link(rate=11_520), highest_number=number)
        for _ in range(5):
            number += 1
            transmitter.add(number, BytesSource(some(2_000, number)))
        frames = everything(transmitter)
        keep = rng.random(len(frames)) >= 1e-3
        if turn % 10 == 5:  # an outage of an eighth of all
            at = int(rng.integers(0, len(frames)))
            keep[at : at + len(frames) // 8] = False
        listener.hear([f for f, k in zip(frames, keep, strict=True) if k])
        listener.events.clear()
        for content in listener.delivered.values():
            assert len(content) == 2_000
        assert len(listener.delivered) == 5
        listener.delivered.clear()
        memory.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert descriptors() == before
    assert memory[-1] < memory[turns // 2] + 100_000


# A serial line, bit by bit ----------------------------------------------------------------------

OVERSAMPLED = 16


def bits_of(data: bytes) -> np.ndarray:
    """What a sender puts on the wire: start bit, eight bits from the lowest up, stop bit."""
    rows = np.unpackbits(np.frombuffer(data, np.uint8)[:, None], axis=1, bitorder="little")
    out = np.ones((len(data), 10), np.uint8)
    out[:, 0] = 0
    out[:, 1:9] = rows
    return out.reshape(-1)


def bytes_of(bits: np.ndarray, rate: float = 1.0, *, inverted: bool = False) -> bytes:
    """What a receiver whose clock runs at `rate` times the sender's makes of it."""
    bits = bits ^ 1 if inverted else bits
    step = OVERSAMPLED / rate  # samples of the sender's clock between two of its bits
    level = np.repeat(np.concatenate([bits, np.full(20, not inverted, np.uint8)]), OVERSAMPLED)
    out = bytearray()
    at, last = 0, len(level) - int(10 * step) - 1
    falls = np.flatnonzero((level[:-1] == 1) & (level[1:] == 0)) + 1
    falls = np.concatenate([[0], falls]) if level[0] == 0 else falls
    while True:
        following = int(np.searchsorted(falls, at))
        if following == len(falls) or falls[following] > last:
            return bytes(out)
        start = int(falls[following])
        places = (start + step * (np.arange(10) + 0.5)).astype(int)
        seen = level[places]
        if seen[0] == 0 and seen[9] == 1:  # otherwise a framing error: the byte is dropped
            out.append(int(np.packbits(seen[1:9], bitorder="little")[0]))
        at = start + int(step * 9.5)


@pytest.mark.parametrize("name", ["cobs", "rs"])
def test_a_bit_lost_on_the_wire(name: str) -> None:
    """T76: a few bytes are garbage, and few frames are gone."""
    frames = transmit(some(3_000), settings=Settings(symbol_size=97))
    bits = bits_of(b"".join(encoded(name, frames)))
    assert bytes_of(bits) == b"".join(encoded(name, frames))
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = int(rng.integers(0, len(bits)))
        got = found(name, bytes_of(np.delete(bits, at)))
        lost = [f for f in frames if bytes(f) not in got]
        assert len(lost) <= 2, at


@pytest.mark.parametrize("percent", [-4, -2, 2, 4])
def test_a_clock_that_is_a_little_off(percent: int) -> None:
    """T77: within what a UART forgives, nothing is lost."""
    data = b"".join(encoded("cobs", transmit(some(3_000))))
    assert bytes_of(bits_of(data), 1 + percent / 100) == data


@pytest.mark.parametrize(("rate", "inverted"), [(0.5, False), (2, False), (1.08, False), (1, True)])
def test_the_wrong_speed_or_polarity(shell: Shell, rate: float, *, inverted: bool) -> None:
    """T77, T78: not a frame is found, and the speed is what the user is told to look at."""
    data = b"".join(encoded("cobs", transmit(some(3_000))))
    (shell.folder / "cap").write_bytes(bytes_of(bits_of(data), rate, inverted=inverted))
    ran = shell.run("recv", "inbox", "--from", "file:cap")
    assert ran.code == 4
    assert "none of it a frame" in ran.err or inverted
    assert "speed" in ran.err
    assert tree(shell.folder / "inbox", ".diode") == {}


def test_a_payload_that_pretends(shell: Shell) -> None:
    """T31: bombs and climbing archives are bytes like others."""
    import gzip
    import io
    import tarfile
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../up", "x")
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    made = {
        "a.gz": gzip.compress(bytes(3_000_000)),
        "b.zip": packed.getvalue(),
        "c.tar": tape.getvalue(),
    }
    for name, content in made.items():
        (shell.folder / name).write_bytes(content)
    assert shell.run("send", *made, "--to", "file:cap").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    here = shell.folder / "inbox"
    assert {p.name: p.read_bytes() for p in here.iterdir() if p.name != ".diode"} == made


def test_every_case_is_accounted_for() -> None:
    """The table in README.md has each case once, and the tests it names are there."""
    here = Path(__file__).parent
    rows = re.findall(
        r"^\| (T\d+) \| .+ \| (.+) \|$", (here / "README.md").read_text(), re.MULTILINE
    )
    assert [case for case, _ in rows] == [f"T{number}" for number in range(1, 101)]
    for case, how in rows:
        named = re.findall(r"`(\w+\.py)::(\w+)`", how)
        assert named or how.startswith("open: "), case
        for file, test in named:
            assert f"\ndef {test}(" in (here / file).read_text(), f"{case}: {file}::{test}"
