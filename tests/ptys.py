"""Pseudo-terminals for tests of serial lines: a pair joined by socat, and loose ends."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
import tty

import pytest

from diode.frame import Frames


@contextlib.contextmanager
def socat_line(folder):
    """Two terminals joined one way, as the paths (tx, rx)."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed (apt install socat)")
    tx, rx = folder / "tx", folder / "rx"
    ends = [f"PTY,raw,echo=0,link={end}" for end in (tx, rx)]
    with subprocess.Popen(["socat", "-u", *ends]) as process:
        try:
            until = time.monotonic() + 10
            while not (tx.exists() and rx.exists()):
                assert time.monotonic() < until and process.poll() is None, "socat did not start"
                time.sleep(0.005)
            yield str(tx), str(rx)
        finally:
            process.terminate()


class Pty:
    """A raw pseudo-terminal with a name of its own choice; `heard` fills while it is open."""

    def __init__(self, link):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self.heard = bytearray()
        self.changed = threading.Condition()
        self._slave = slave
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        self.link = link
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(self.path)

    def _listen(self):
        import select

        ready = select.poll()
        ready.register(self.master, select.POLLIN)
        ready.register(self._wake[0], select.POLLIN)
        while all(fd != self._wake[0] for fd, _ in ready.poll()):
            data = os.read(self.master, 1 << 16)
            with self.changed:
                self.heard += data
                self.changed.notify_all()

    def wait_for(self, count):
        """What was heard, once it is that many bytes; or what there is after 5 s."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.heard) >= count, 5)
            return bytes(self.heard)

    def close(self):
        """Unplug it."""
        if self._thread is None:
            return
        os.write(self._wake[1], b"x")
        self._thread.join()
        self._thread = None
        for fd in (*self._wake, self._slave, self.master):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FakeTime:
    """A clock that moves only when somebody sleeps, and then a little too far."""

    def __init__(self, overshoot=0.0):
        self.now = 1000.0
        self.overshoot = overshoot
        self.sleeps = []
        self.on_sleep = lambda: None

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.now += seconds + self.overshoot
        self.on_sleep()


def batch(data):
    """Bytes as one piece."""
    return Frames.of_pieces([bytes(data)])


def noise(count, seed=0):
    """Random bytes, the same for the same seed."""
    import numpy as np

    return np.random.default_rng(seed).bytes(count)
