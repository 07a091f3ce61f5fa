"""Many small files from `send` to `recv`, as a user sees it."""

from __future__ import annotations

import hashlib
import os
import sqlite3

import pytest
from cli import Shell
from faults import contents
from ptys import Pty

from diode.sink.stream import BUNDLED


def small(shell: Shell, count: int = 30) -> dict[str, bytes]:
    """Small files in folders, one large one between them."""
    made = {f"d/{n % 3}/{n:03}": os.urandom(n * 20) for n in range(count)}
    made["d/1/large"] = os.urandom(900_000)
    for name, content in made.items():
        path = shell.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (shell.folder / "d/empty").mkdir()
    return made


@pytest.mark.parametrize("signed", [False, True])
def test_files_arrive_and_each_is_told_of(shell: Shell, signed: bool) -> None:
    made = small(shell)
    options: list[str] = []
    if signed:
        assert shell.run("keygen", "k").code == 0
        options = ["--sign", "k"]
    sent = shell.run("send", "d", "--to", "file:cap", "--json", *options)
    assert sent.code == 0, sent.err
    told = {e["name"]: e for e in sent.events("object_sent")}
    assert told.keys() == made.keys() | {"d/empty"}
    assert {e["number"] for e in told.values() if e["bundle"]} == {1, 3}
    assert [name for name, e in told.items() if not e["bundle"]] == ["d/1/large"]
    check = ["--verify", "k.pub"] if signed else []
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--json", *check)
    assert ran.code == 0, ran.err
    assert contents(shell.folder / "inbox") == made
    assert (shell.folder / "inbox/d/empty").is_dir()
    came = {e["name"]: e for e in ran.events("object_delivered")}
    assert came.keys() == told.keys()
    for name, content in made.items():
        digest = hashlib.sha256(content).hexdigest()
        assert (came[name]["size"], came[name]["sha256"]) == (len(content), digest)
        assert (told[name]["size"], told[name]["sha256"]) == (len(content), digest)
        assert came[name]["number"] == told[name]["number"]
        assert came[name]["bundle"] == told[name]["bundle"]
        assert (came[name]["signed_by"] is not None) == signed
    again = shell.run("recv", "inbox", "--from", "file:cap", "--json", *check)
    assert again.events("object_delivered") == []
    assert len(again.events("object_known")) == 3


def test_in_words(shell: Shell) -> None:
    made = small(shell)
    sent = shell.run("send", "d", "--to", "file:cap")
    assert "sent 32 files in 3 objects" in sent.err
    ran = shell.run("recv", "inbox", "--from", "file:cap")
    assert sorted(ran.out.split()) == sorted([*made, "d/empty/"])
    assert "delivered d/0/000 and" in ran.err
    alone = shell.run("send", "d", "--to", "file:cap2", "--no-bundle")
    assert "sent 32 objects" in alone.err
    ran = shell.run("recv", "inbox2", "--from", "file:cap2")
    assert contents(shell.folder / "inbox2") == made


def test_a_bundle_may_go_beyond_the_count(shell: Shell) -> None:
    small(shell)
    assert shell.run("send", "d", "--to", "file:cap").code == 0
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--once", "--json")
    assert ran.code == 0
    delivered = ran.events("object_delivered")
    assert len(delivered) > 1, "a bundle may go beyond"
    assert len({e["number"] for e in delivered}) == 1
    ran = shell.run("recv", "more", "--from", "file:cap", "--count", "33", "--json")
    assert ran.code == 0
    assert len(ran.events("object_delivered")) == 32


def test_standard_output_refuses_a_bundle(shell: Shell) -> None:
    for name in ("a", "b"):
        (shell.folder / name).write_bytes(name.encode())
    assert shell.run("send", "a", "b", "--to", "file:cap").code == 0
    ran = shell.run("recv", "-", "--from", "file:cap")
    assert (ran.code, ran.out) == (3, "")
    assert BUNDLED in ran.err
    assert shell.run("send", "a", "b", "--to", "file:cap2", "--no-bundle").code == 0
    assert shell.run("recv", "-", "--from", "file:cap2").out == "a"


def test_strict_order_counts_a_bundle_as_one(shell: Shell) -> None:
    made = small(shell)
    assert shell.run("send", "d", "--to", "file:cap", "--keep-order").code == 0
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--ordered", "--json")
    assert ran.code == 0, ran.err
    numbers = [e["number"] for e in ran.events("object_delivered")]
    assert numbers == sorted(numbers)
    assert contents(shell.folder / "inbox") == made


def test_encrypted_bundle(shell: Shell) -> None:
    made = small(shell)
    assert shell.run("keygen", "--encrypt", "box").code == 0
    sent = shell.run("send", "d", "--to", "file:cap", "--encrypt-to", "box.pub")
    assert sent.code == 0, sent.err
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--identity", "box")
    assert ran.code == 0, ran.err
    assert contents(shell.folder / "inbox") == made


def test_a_bundle_is_gone_on_with(shell: Shell, tmp_path) -> None:
    """Killed on a slow line, the same command finds the same bundle by its digest."""
    for n in range(10):
        (shell.folder / "d").mkdir(exist_ok=True)
        (shell.folder / f"d/{n}").write_bytes(os.urandom(1000))
    with Pty(tmp_path / "port") as port:
        command = ("send", "d", "--to", f"serial:{port.link}?baud=57600", "--passes", "2", "--json")
        process = shell.start(*command)
        port.wait_for(15_000)
        process.kill()
        process.wait()
        # A file that changed makes another bundle.
        ran = shell.run(*command)
        assert ran.code == 0, ran.err
        (resumed,) = ran.events("resumed")
        assert (resumed["objects"], resumed["withdrawn"]) == (1, 0)
        assert {e["number"] for e in ran.events("object_sent")} == {1}
        (shell.folder / "line").write_bytes(bytes(port.heard))
    ran = shell.run("recv", "inbox", "--from", "file:line")
    assert ran.code == 0, ran.err
    assert len(contents(shell.folder / "inbox")) == 10
    with sqlite3.connect(shell.folder / "inbox/.diode/ledger.db") as db:
        states = db.execute("SELECT state, COUNT(*) FROM objects GROUP BY state").fetchall()
    assert dict(states) == {"bundle": 1, "delivered": 10}
