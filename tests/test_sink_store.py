"""Stores: a folder and a memory through fsspec, and a real S3 server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
from buckets import Server, variables

pytest.importorskip("fsspec", reason="fsspec is not installed")

from diode.sink.store import Damaged, Store, Stored, is_store, local_folder, shown


@pytest.fixture(scope="module")
def server():
    server = Server()
    server.make("bucket")
    with variables(server.environment()):
        yield server
    server.kill()


def put(store: Store, folder, content: bytes, path: str) -> Stored:
    local = folder / "local"
    local.write_bytes(content)
    return store.put(str(local), path, len(content), hashlib.sha256(content).digest())


def test_what_is_a_store_and_what_may_be_shown_of_it():
    assert is_store("s3://bucket/x")
    assert not is_store("inbox")
    assert not is_store("/a:/b")
    assert shown("sftp://me:secret@host:22/in") == "sftp://host:22/in"
    assert shown("s3://bucket/x") == "s3://bucket/x"
    assert local_folder("file:///a/../b") == "/b"
    assert local_folder("s3://bucket") is None


@pytest.mark.parametrize("url", ["file", "memory"])
def test_files_are_moved_to_a_free_name_once_they_are_whole(tmp_path, url):
    root = f"{url}://{tmp_path}/store"
    store = Store(root)
    assert put(store, tmp_path, b"one", "d/a.txt") == (f"{root}/d/a.txt", False)
    assert put(store, tmp_path, b"one", "d/a.txt") == (f"{root}/d/a.txt", True)
    assert put(store, tmp_path, b"two", "d/a.txt") == (f"{root}/d/a.2.txt", False)
    assert put(store, tmp_path, b"two", "d/a.txt") == (f"{root}/d/a.2.txt", True)
    assert put(store, tmp_path, b"", "empty") == (f"{root}/empty", False)
    assert store.make_folder("nothing/in it").at == f"{root}/nothing/in it"
    system = store._system
    found = {name.rpartition("/store/")[2]: system.cat_file(name) for name in system.find(root)}
    assert found == {"d/a.txt": b"one", "d/a.2.txt": b"two", "empty": b""}
    assert system.isdir(f"{root}/nothing/in it")


def test_a_copy_that_differs_gets_no_name(tmp_path, monkeypatch):
    store = Store(f"file://{tmp_path}/store")
    real = store._system.put_file

    def damaging(local, remote, **more):
        real(local, remote, **more)
        with open(remote, "r+b") as file:
            file.write(b"X")

    monkeypatch.setattr(store._system, "put_file", damaging)
    with pytest.raises(Damaged):
        put(store, tmp_path, b"content", "a")
    assert os.listdir(tmp_path / "store") == []


DYING = """
import hashlib, os, sys
from diode.sink.store import Store

store = Store(sys.argv[1])
store._system.mv = lambda *_: os._exit(9)
store.put(sys.argv[2], "a", 7, hashlib.sha256(b"content").digest())
"""


def test_what_a_kill_left_is_overwritten_by_the_next_attempt(tmp_path):
    root, local = f"file://{tmp_path}/store", tmp_path / "local"
    local.write_bytes(b"content")
    assert subprocess.run([sys.executable, "-c", DYING, root, local], check=False).returncode == 9
    (left,) = os.listdir(tmp_path / "store")
    assert left.startswith(".diode-")
    put(Store(root), tmp_path, b"content", "a")
    assert os.listdir(tmp_path / "store") == ["a"]


def test_no_name_leads_out_of_the_prefix(tmp_path):
    from diode.objects import safe_parts

    store = Store(f"file://{tmp_path}/store/in")
    names = [
        b"../../x",
        b"/etc/passwd",
        b"..",
        b"a/../../../b",
        b"s3://other/x",
        b"~root/x",
        b"*?[",
    ]
    for name in names:
        put(store, tmp_path, name, "/".join(safe_parts(name)))
    below = [
        os.path.join(here, f) for here, _, files in os.walk(tmp_path / "store/in") for f in files
    ]
    assert len(below) == len(names)
    assert sorted(os.listdir(tmp_path)) == ["local", "store"]
    assert os.listdir(tmp_path / "store") == ["in"]


# S3 ---------------------------------------------------------------------------------------------


def test_objects_in_a_bucket_are_not_overwritten(server, tmp_path):
    store = Store("s3://bucket/pre/fix")
    assert put(store, tmp_path, b"one", "d/a.txt") == ("s3://bucket/pre/fix/d/a.txt", False)
    assert put(store, tmp_path, b"one", "d/a.txt").duplicate
    assert put(store, tmp_path, b"two", "d/a.txt").at == "s3://bucket/pre/fix/d/a.2.txt"
    assert put(store, tmp_path, b"", "empty").at == "s3://bucket/pre/fix/empty"
    assert server.read("bucket", "pre/fix/d/a.txt") == b"one"
    assert server.read("bucket", "pre/fix/d/a.2.txt") == b"two"
    assert server.read("bucket", "pre/fix/empty") == b""


def test_the_server_decides_whether_a_name_is_free(server, tmp_path, monkeypatch):
    store = Store("s3://bucket/race")
    put(store, tmp_path, b"theirs", "a")
    monkeypatch.setattr(store._system, "exists", lambda _: False)  # it came in this moment
    assert put(store, tmp_path, b"ours", "a").at == "s3://bucket/race/a.2"
    assert server.read("bucket", "race/a") == b"theirs"


def test_large_objects_go_in_parts_and_are_not_overwritten(server, tmp_path, monkeypatch):
    store = Store("s3://bucket/large")
    content, other = os.urandom(20 << 20), os.urandom(17 << 20)
    assert put(store, tmp_path, content, "big").at == "s3://bucket/large/big"
    assert put(store, tmp_path, content, "big").duplicate
    monkeypatch.setattr(store._system, "exists", lambda _: False)
    assert put(store, tmp_path, other, "big").at == "s3://bucket/large/big.2"
    assert server.read("bucket", "large/big") == content
    assert server.read("bucket", "large/big.2") == other


def test_names_that_mean_something_to_stores_are_names_here(server, tmp_path):
    from diode.objects import safe_parts

    store = Store("s3://bucket/names")
    for name in (
        b"a?versionId=7",
        b"**",
        b"a::b",
        b"%2e%2e",
        "grün ☃".encode(),
        b"\xff\xfe",
        b"a#b",
    ):
        path = "/".join(safe_parts(name))
        there = path.replace("?", "%3F")
        assert put(store, tmp_path, name, path) == (f"s3://bucket/names/{there}", False)
        assert server.read("bucket", f"names/{there}") == name


def test_without_a_bucket_nothing_is_stored(server, tmp_path):
    with pytest.raises(FileNotFoundError, match="bucket"):
        put(Store("s3://nowhere/x"), tmp_path, b"one", "a")


def test_a_protocol_that_there_is_not():
    with pytest.raises(ValueError, match="nonsense"):
        Store("nonsense://x")
