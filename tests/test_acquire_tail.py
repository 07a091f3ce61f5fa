import contextlib
import os
import threading
from types import SimpleNamespace

import pytest
from cli import wait_until

from diode import endpoint
from diode.acquire import tail
from diode.acquire.lines import Lines
from diode.errors import UsageError


class Following:
    """Follows a file in a thread until the test is over."""

    def __init__(self, path, at_end, monkeypatch):
        self.records, self.seen, stop = [], [], threading.Event()

        def look(_seconds):
            if stop.wait(0.01):
                raise SystemExit

        monkeypatch.setattr(tail, "time", SimpleNamespace(sleep=look))
        self.stop = stop.set
        lines = Lines("auto", lambda topic, payload, **_: self.records.append(payload), print)

        def follow():
            with contextlib.suppress(SystemExit):
                tail.follow(str(path), lines, self.seen.append, at_end=at_end)

        self.thread = threading.Thread(target=follow)
        self.thread.start()

    def wait(self, *payloads):
        wait_until(lambda: self.records == list(payloads))


@pytest.fixture
def following(monkeypatch):
    started = []

    def start(path, *, at_end=False):
        started.append(Following(path, at_end, monkeypatch))
        return started[-1]

    yield start
    for one in started:
        one.stop()
        one.thread.join()


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def test_over_a_rotation(tmp_path, following):
    path = tmp_path / "log"
    path.write_bytes(b"a 1\n")
    one = following(path)
    one.wait(b"1")
    append(path, b"a 2\na 3")
    one.wait(b"1", b"2")
    with path.open("ab") as old:
        path.rename(tmp_path / "log.1")
        old.write(b"3\n")  # who writes still has the old one open
    path.write_bytes(b"a 4\n")
    one.wait(b"1", b"2", b"33", b"4")


def test_at_the_end_and_cut_short(tmp_path, following):
    path = tmp_path / "log"
    path.write_bytes(b"a 1\n")
    one = following(path, at_end=True)
    wait_until(one.thread.is_alive)
    threading.Event().wait(0.1)
    append(path, b"a 2\n")
    one.wait(b"2")
    os.truncate(path, 0)
    append(path, b"a 3\n")
    one.wait(b"2", b"3")


def test_a_file_that_is_not_there_yet(tmp_path, following):
    path = tmp_path / "log"
    one = following(path, at_end=True)
    threading.Event().wait(0.1)
    path.write_bytes(b"a 1\n")
    one.wait(b"1")


def test_a_folder_that_is_not_there():
    with pytest.raises(UsageError, match="no such folder"):
        tail.Source(endpoint.parse("tail:/nowhere/log", {}))
