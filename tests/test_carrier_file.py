import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ptys import FakeTime, batch, noise

from diode.carrier import open_receiving, open_sending
from diode.errors import CarrierError, DestinationError
from diode.frame import EMPTY, Frames


def write(url, *pieces, **options):
    carrier = open_sending(url, **options)
    for piece in pieces:
        carrier.write(batch(piece))
    carrier.drain()
    carrier.close()


def read_all(url):
    carrier = open_receiving(url)
    parts = []
    while data := carrier.read(None):
        parts.append(data)
    assert carrier.read(None) == b""
    carrier.close()
    carrier.close()
    return parts


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_round_trip(tmp_path, size):
    data = noise(size)
    write(f"file:{tmp_path / 'cap'}", data)
    parts = read_all(f"file:{tmp_path / 'cap'}")
    assert b"".join(parts) == data
    assert all(len(part) <= 1 << 20 for part in parts)


def test_sending_begins_anew_or_appends(tmp_path):
    url = f"file:{tmp_path / 'cap'}"
    write(url, b"old and long")
    write(url, b"new", b"er")
    write(url + "?append=1", b", more")
    assert b"".join(read_all(url)) == b"newer, more"


def test_nothing_to_write(tmp_path):
    carrier = open_sending(f"file:{tmp_path / 'cap'}")
    carrier.write(EMPTY)
    carrier.drain()
    carrier.close()
    carrier.close()
    assert (tmp_path / "cap").read_bytes() == b""


def test_pieces_follow_each_other(tmp_path):
    carrier = open_sending(f"file:{tmp_path / 'cap'}")
    carrier.write(Frames.of_pieces([b"ab", b"c", b"def"]).part(1, 3))
    carrier.close()
    assert (tmp_path / "cap").read_bytes() == b"cdef"


def test_paced_by_rate(tmp_path):
    time = FakeTime(overshoot=0.0001)
    start = time.now
    write(f"file:{tmp_path / 'cap'}?rate=8M", noise(500_000), clock=time.clock, sleep=time.sleep)
    assert time.now - start == pytest.approx(0.5, rel=0.01)
    assert (tmp_path / "cap").stat().st_size == 500_000


def test_rate_is_known(tmp_path):
    (tmp_path / "cap").touch()
    carrier = open_receiving(f"file:{tmp_path / 'cap'}?rate=80k")
    assert carrier.rate == 10_000
    carrier.close()


@pytest.mark.parametrize("opener", [open_sending, open_receiving])
def test_directory(tmp_path, opener):
    with pytest.raises(CarrierError, match="is a directory") as caught:
        opener(f"file:{tmp_path}")
    assert caught.value.exit_code == 10
    assert caught.value.hint


def test_missing(tmp_path):
    with pytest.raises(CarrierError, match="folder does not exist") as caught:
        open_sending(f"file:{tmp_path}/no/cap")
    assert caught.value.hint == f"mkdir -p {tmp_path}/no"
    with pytest.raises(CarrierError, match="no such file") as caught:
        open_receiving(f"file:{tmp_path}/cap")
    assert "--to file:" in caught.value.hint


def test_no_permission(tmp_path):
    target = tmp_path / "cap"
    target.touch()
    target.chmod(0)
    root = os.geteuid() == 0
    if root:
        tmp_path.chmod(0o700)
        os.seteuid(65534)
    try:
        for opener in (open_sending, open_receiving):
            with pytest.raises(CarrierError, match="no permission") as caught:
                opener(f"file:{target}")
            assert caught.value.exit_code == 10
            assert "ls -ld" in caught.value.hint
    finally:
        if root:
            os.seteuid(0)


def test_full_disk():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    carrier = open_sending("file:/dev/full")
    with pytest.raises(DestinationError) as caught:
        carrier.write(batch(b"x"))
    assert caught.value.exit_code == 13
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    carrier.close()


def test_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    data = noise(200_000)
    sender = threading.Thread(target=write, args=(f"file:{tmp_path / 'fifo'}", data))
    sender.start()
    assert b"".join(read_all(f"file:{tmp_path / 'fifo'}")) == data
    sender.join()


def test_named_pipe_whose_reader_leaves(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    carrier = open_sending(f"file:{tmp_path / 'fifo'}")
    os.close(reader)
    with pytest.raises(CarrierError, match="reader went away"):
        carrier.write(batch(b"x"))
    carrier.close()


def test_silence_on_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    carrier = open_receiving(f"file:{tmp_path / 'fifo'}")
    assert carrier.read(0) is None
    assert carrier.read(0.01) is None
    os.write(writer, b"x")
    assert carrier.read(0) == b"x"
    os.close(writer)
    assert carrier.read(0) == b""
    carrier.close()


def test_a_sender_loads_no_serial_code(tmp_path):
    code = (
        "import sys; from diode.carrier import open_sending; "
        f"open_sending('file:{tmp_path}/cap').close(); "
        "sys.exit(any('serial' in m or 'impair' in m for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class BadMedium:
    """Stands for os.read of a file some pages of which cannot be read."""

    def __init__(self, monkeypatch, bad, partial):
        """partial: whether a read ends before a bad page, or fails as a whole."""
        self.bad, self.partial, self.real = bad, partial, os.read
        self.calls = 0
        monkeypatch.setattr(os, "read", self.read)

    def read(self, fd, most):
        self.calls += 1
        here = os.lseek(fd, 0, os.SEEK_CUR)
        hit = [page for page in self.bad if page * 4096 < here + most and here < (page + 1) * 4096]
        if not hit or here >= os.fstat(fd).st_size:
            return self.real(fd, most)
        before = min(hit) * 4096 - here
        if self.partial and before > 0:
            return self.real(fd, before)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("bad", [[0], [3], [3, 4, 9], [99], [0, 50, 99], [*range(100)]], ids=len)
def test_what_cannot_be_read_is_left_out(tmp_path, monkeypatch, bad, partial):
    content = os.urandom(99 * 4096 + 1000)
    (tmp_path / "cap").write_bytes(content)
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    told = []
    carrier = open_receiving(f"file:{tmp_path}/cap", notice=told.append)
    medium = BadMedium(monkeypatch, bad, partial)
    parts = []
    while (data := carrier.read(None)) != b"":
        parts.append(data or b"")
        assert medium.calls < 1000
    assert b"".join(parts) == b"".join(p for n, p in enumerate(pages) if n not in bad)
    assert len(told) == 1 and told[0].endswith("cap could not be read")
    carrier.close()


def test_a_pipe_that_fails_has_no_place_behind_it(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    carrier = open_receiving(f"file:{tmp_path}/fifo")
    os.write(writer, b"x")

    def fails(_fd, _most):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", fails)
    with pytest.raises(CarrierError, match="cannot be read"):
        carrier.read(None)
    carrier.close()
    os.close(writer)
