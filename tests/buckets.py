"""A real S3 server to deliver into: moto's, in a process of its own, on a port of its own.

Its buckets are in its memory. It takes any credentials until `lock` is called. `Gate` stands before
it as a bad line would: slow, or cut in the middle of an upload.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

PROGRAM = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"


class Server:
    """An S3 server."""

    def __init__(self, port: int = 0) -> None:
        pytest.importorskip("moto", reason="no S3 server to try: pip install 'moto[s3]' flask")
        pytest.importorskip("flask_cors", reason="moto's server needs flask and flask-cors")
        pytest.importorskip("s3fs", reason="s3fs is not installed")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.port = int(self.process.stdout.readline())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What a client has to know; port: of what stands before the server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @functools.cached_property
    def client(self):
        """A client besides the one that is tried."""
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def make(self, bucket: str) -> None:
        self.client.create_bucket(Bucket=bucket)

    def keys(self, bucket: str) -> list[str]:
        return [
            one["Key"] for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        ]

    def read(self, bucket: str, key: str) -> bytes:
        with self.client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            return body.read()

    def lock(self) -> None:
        """From now on only credentials that the server knows are good, and it knows none."""
        self._asked(0)

    def unlock(self) -> None:
        self._asked(1_000_000_000)

    def _asked(self, unchecked: int) -> None:
        """How many requests more are answered whoever asks."""
        body = str(unchecked).encode()
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.url + "/moto-api/reset-auth", body, plain)
        urllib.request.urlopen(request, timeout=30).close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Gate:
    """A line to the server, of a rate that can be set and which can be cut."""

    def __init__(self, to: int) -> None:
        """to: the server's port."""
        self._to = to
        self.rate = 0.0
        """Bytes a second towards the server; 0 is as fast as it gets."""
        self.shut = False
        """Whether what wants through is turned away."""
        self.passed = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End what is under way, and let nothing through any more."""
        self.shut = True
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.shut:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            threading.Thread(target=self._join, args=(client, server), daemon=True).start()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 14)
                    if not data:
                        return
                    if end is client:
                        self.passed += len(data)
                        if self.rate:
                            time.sleep(len(data) / self.rate)
                    (server if end is client else client).sendall(data)


def wait_for(what, seconds: float = 60) -> None:
    """Until a condition holds; fails loudly where it never does."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


@contextlib.contextmanager
def variables(new: dict[str, str]):
    """These variables of the environment, for a while."""
    before = dict(os.environ)
    os.environ.update(new)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
