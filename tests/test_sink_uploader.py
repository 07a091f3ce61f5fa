"""The uploading process: what it may do, says, and does about one request."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import sys

import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed")

from diode.confine import landlock
from diode.sink import uploader
from diode.sink.store import Store
from diode.sink.uploader import Stored, Upload


@pytest.fixture
def store(tmp_path):
    (tmp_path / "outbox").mkdir()
    return Store(f"file://{tmp_path}/store")


def attempt(store, tmp_path, path="a", size=3, sha256="", folder=False):
    return uploader.upload(store, str(tmp_path / "outbox"), Upload(5, path, size, sha256, folder))


def test_a_request_is_answered_once_it_is_stored(store, tmp_path):
    (tmp_path / "outbox/a").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    at = f"file://{tmp_path}/store/a"
    assert attempt(store, tmp_path) == Stored(5, at, digest, duplicate=False)
    assert attempt(store, tmp_path, sha256=digest) == Stored(5, at, digest, duplicate=True)
    folder = attempt(store, tmp_path, "d/e", 0, folder=True)
    assert (folder.at, os.path.isdir(tmp_path / "store/d/e")) == (
        f"file://{tmp_path}/store/d/e",
        True,
    )


def test_what_is_not_what_was_put_there_is_not_stored(store, tmp_path):
    assert attempt(store, tmp_path).gone
    (tmp_path / "outbox/a").write_bytes(b"abc")
    assert attempt(store, tmp_path, size=4).gone
    assert attempt(store, tmp_path, sha256="00" * 32).gone
    assert not os.path.exists(tmp_path / "store/a")


def named(name: str) -> type[Exception]:
    return type(name, (Exception,), {})


@pytest.mark.parametrize(
    ("error", "words", "refused"),
    [
        (PermissionError("no"), "does not allow", True),
        (FileNotFoundError("the bucket"), "no such place", True),
        (named("NoCredentialsError")("x"), "no credentials", True),
        (OSError(errno.EBUSY, "slow down"), "does not take it", False),
        (named("EndpointConnectionError")("refused"), "EndpointConnectionError: refused", False),
        (TimeoutError("too late"), "does not take it", False),
    ],
)
def test_what_libraries_raise_is_told_with_a_next_step(error, words, refused):
    answer = uploader.explained(3, error)
    assert words in answer.message
    assert answer.hint
    assert (answer.number, answer.refused, answer.gone) == (3, refused, False)


def test_secrets_are_not_told(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very/secret+text")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-of-mine")
    secrets = uploader.secrets_of("sftp://me:pass-word@host/x")
    text = "at sftp://me:pass-word@host/x\nvery/secret+text a-session-of-mine" + 900 * "x"
    clean = uploader.Answers(secrets).clean(text)
    assert clean.startswith("at sftp://[not shown]@host/x [not shown] [not shown]xxx")
    assert len(clean) == 500


def test_half_a_request_is_left_out():
    whole = Upload(1, "a", 3, "")
    half = uploader.encode(whole)[:20]
    lines = (half + uploader.encode(whole) + b"\xff{}[]\n").splitlines(keepends=True)
    assert list(uploader.requests(lines)) == [whole]


CONFINED = """
import os, socket, subprocess, sys
from diode import confine
from diode.sink import uploader

outbox, port = sys.argv[1], int(sys.argv[2])
connect = socket.create_connection
print(confine.confine(uploader.bounds(outbox, None)), file=sys.stderr)

def tried(what, *arguments, **more):
    try:
        what(*arguments, **more)
        return "done"
    except OSError as error:
        return type(error).__name__

print(tried(open, outbox + "/a"))
print(tried(connect, ("127.0.0.1", port)))
print(tried(open, outbox + "/a", "r+"))
print(tried(open, outbox + "/b", "w"))
print(tried(os.unlink, outbox + "/a"))
print(tried(os.listdir, os.path.dirname(outbox)))
print(tried(open, os.path.dirname(outbox) + "/ledger.db"))
print(tried(subprocess.run, ["true"]))
"""


def test_a_worker_can_read_its_outbox_and_talk_to_others_and_nothing_more(tmp_path):
    if landlock.abi() < landlock.OLDEST:
        pytest.skip("this kernel has no Landlock")
    outbox = tmp_path / "st/outbox"
    outbox.mkdir(parents=True)
    (outbox / "a").write_bytes(b"abc")
    (tmp_path / "st/ledger.db").write_bytes(b"abc")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        tried = subprocess.run(
            [sys.executable, "-c", CONFINED, str(outbox), str(port)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert tried.stdout.split() == ["done", "done"] + 6 * ["PermissionError"], tried.stderr
