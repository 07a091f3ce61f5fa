"""`diode recv` into a store: a real S3 server, real processes, both killed at will."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess

import pytest
from buckets import KEY_ID, SECRET, Gate, Server, wait_for
from cli import Shell, make

INTO = ("recv", "s3://bucket/in", "--state", "st", "--json", "--from")


@pytest.fixture(scope="module")
def running():
    server = Server()
    yield server
    server.kill()


@pytest.fixture
def server(running, shell, monkeypatch):
    """A server with an empty bucket, which the shell's commands know."""
    running.unlock()
    running.make("bucket")
    for key in running.keys("bucket"):
        running.client.delete_object(Bucket="bucket", Key=key)
    know(monkeypatch, running.environment())
    return running


@pytest.fixture
def gate(server, monkeypatch):
    """A line before the server."""
    gate = Gate(server.port)
    know(monkeypatch, server.environment(gate.port))
    yield gate
    gate.close()


def know(monkeypatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def sent(shell: Shell, *names: str) -> None:
    assert shell.run("send", *names, "--no-bundle", "--to", "file:cap").code == 0


def outbox(shell: Shell) -> list[str]:
    return sorted(name for _, _, names in os.walk(shell.folder / "st/outbox") for name in names)


def events(lines: list[str], name: str) -> list[dict]:
    return [event for event in map(json.loads, lines) if event["event"] == name]


class Output:
    """The events of a running command, as they come."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.lines: list[str] = []
        self._file = process.stdout
        os.set_blocking(self._file.fileno(), False)
        self._rest = b""

    def seen(self, name: str) -> list[dict]:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._file.fileno(), 1 << 16):
                self._rest += piece
        *whole, self._rest = self._rest.split(b"\n")
        self.lines += [line.decode() for line in whole]
        return events(self.lines, name)


def test_objects_arrive_in_a_bucket(server: Server, shell: Shell) -> None:
    small, large = make(shell.folder / "d/small", 1000), make(shell.folder / "large", 20_000_000)
    sent(shell, "d", "large")
    received = shell.run(*INTO, "file:cap")
    assert received.code == 0, received.out + received.err
    assert server.keys("bucket") == ["in/d/small", "in/large"]
    assert server.read("bucket", "in/d/small") == small
    assert server.read("bucket", "in/large") == large
    spooled = {e["name"]: e for e in received.events("object_spooled")}
    delivered = {e["name"]: e for e in received.events("object_delivered")}
    assert spooled.keys() == delivered.keys() == {"d/small", "large"}
    for name, event in delivered.items():
        assert event.pop("path") == f"s3://bucket/in/{name}"
        assert spooled[name].pop("path") == name
        assert event == spooled[name] | {"event": "object_delivered"}
    (uploading,) = received.events("uploading")
    assert uploading["store"] == "s3://bucket/in"
    assert outbox(shell) == []
    again = shell.run(*INTO, "file:cap")
    assert again.code == 0
    assert len(again.events("object_known")) == 2
    assert server.keys("bucket") == ["in/d/small", "in/large"]


def test_bundles_and_empty_folders_arrive_too(server: Server, shell: Shell) -> None:
    contents = {f"d/{n}": make(shell.folder / f"d/{n}", 100 + n, n) for n in range(20)}
    (shell.folder / "d/empty").mkdir()
    assert shell.run("send", "d", "--to", "file:cap").code == 0
    received = shell.run(*INTO, "file:cap")
    assert received.code == 0, received.out
    assert len(received.events("object_delivered")) == 21
    assert {k: server.read("bucket", k) for k in server.keys("bucket")} == {
        f"in/{name}": content for name, content in contents.items()
    }
    assert outbox(shell) == []


def test_a_name_that_is_taken_gets_a_sibling(server: Server, shell: Shell) -> None:
    server.client.put_object(Bucket="bucket", Key="in/a", Body=b"theirs")
    make(shell.folder / "a", 500)
    sent(shell, "a")
    received = shell.run(*INTO, "file:cap", "--once")
    assert received.code == 0
    assert [e["path"] for e in received.events("object_delivered")] == ["s3://bucket/in/a.2"]
    assert server.read("bucket", "in/a") == b"theirs"


def refused(shell: Shell, *words: str) -> None:
    """What is said and done of a store that refuses; the outbox keeps it all."""
    make(shell.folder / "a", 500)
    make(shell.folder / "b", 600)
    sent(shell, "a", "b")
    received = shell.run(*INTO, "file:cap")
    assert received.code == 13, received.out
    assert received.events("object_delivered") == []
    error = received.events("error")[-1]
    assert "(2 in the outbox)" in error["message"]
    assert "the next start uploads the rest" in error["hint"]
    for word in words:
        assert word in error["message"] + error["hint"]
    assert outbox(shell) == ["a", "b"]
    assert SECRET not in received.out + received.err
    assert SECRET[:8] not in received.out + received.err


def after(shell: Shell, server: Server) -> None:
    """The next start uploads what waits, and tells all that there is to tell."""
    (shell.folder / "nothing").write_bytes(b"")
    received = shell.run(*INTO, "file:nothing")
    assert received.code == 4
    assert server.keys("bucket") == ["in/a", "in/b"]
    delivered = received.events("object_delivered")
    assert sorted(e["name"] for e in delivered) == ["a", "b"]
    assert {e["signed_by"] for e in delivered} == {None}
    assert sorted(e["number"] for e in delivered) == [1, 2]
    assert outbox(shell) == []


def test_wrong_credentials(server: Server, shell: Shell) -> None:
    server.lock()
    refused(shell, "does not allow", "credentials")
    server.unlock()
    after(shell, server)


def test_no_bucket(server: Server, shell: Shell) -> None:
    server.client.delete_bucket(Bucket="bucket")
    refused(shell, "bucket", "make the bucket")
    server.make("bucket")
    after(shell, server)


def test_what_was_damaged_while_it_waited_is_not_stored(server: Server, shell: Shell) -> None:
    server.lock()
    make(shell.folder / "a", 500)
    sent(shell, "a")
    assert shell.run(*INTO, "file:cap").code == 13
    server.unlock()
    waiting = shell.folder / "st/outbox/a"
    waiting.unlink()
    waiting.write_bytes(bytes(500))
    (shell.folder / "st/spooled.jsonl").unlink()
    received = shell.run(*INTO, "file:cap")
    assert received.code == 13, received.out
    assert "as it came" in received.events("error")[-1]["message"]
    assert received.events("object_delivered") == []
    assert server.keys("bucket") == []
    assert outbox(shell) == ["a"]


def test_a_hook_waits_for_the_store(server: Server, shell: Shell) -> None:
    server.lock()
    make(shell.folder / "a", 500)
    sent(shell, "a")
    command = ("--on-delivery", "/bin/sh -c 'echo $DIODE_PATH'")
    away = shell.run(*INTO, "file:cap", *command)
    assert away.code == 13
    assert away.events("hook") == []
    server.unlock()
    (shell.folder / "nothing").write_bytes(b"")
    ran = shell.run(*INTO, "file:nothing", *command)
    assert [(e["name"], e["status"]) for e in ran.events("hook")] == [("a", 0)]
    assert [e["text"] for e in ran.events("hook_output")] == ["s3://bucket/in/a"]
    assert shell.run(*INTO, "file:nothing", *command).events("hook") == []


@pytest.mark.slow
def test_no_credentials(server: Server, shell: Shell, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(shell.folder))
    refused(shell, "credentials", "AWS_ACCESS_KEY_ID")
    know(monkeypatch, server.environment())
    after(shell, server)


@pytest.mark.slow
def test_a_server_killed_and_begun_anew_gets_what_it_missed(shell: Shell, monkeypatch) -> None:
    server = Server()
    know(monkeypatch, server.environment())
    server.make("bucket")
    contents = {name: make(shell.folder / name, 3000, seed) for seed, name in enumerate("abc")}
    sent(shell, "a", "b", "c")
    server.kill()
    receiving = shell.start(*INTO, "file:cap")
    output = Output(receiving)
    wait_for(lambda: output.seen("error"))
    (error,) = output.seen("error")
    assert "listening goes on" in error["message"]
    assert output.seen("object_delivered") == []
    server = Server(server.port)
    server.make("bucket")
    assert receiving.wait(60) == 0
    assert {e["name"] for e in output.seen("object_delivered")} == set("abc")
    assert {k: server.read("bucket", k) for k in server.keys("bucket")} == {
        f"in/{name}": content for name, content in contents.items()
    }
    server.kill()


def uploading(
    shell: Shell, gate: Gate, *, size: int = 9_000_000, rate: float = 5e6
) -> tuple[bytes, subprocess.Popen[bytes]]:
    """A receiver with a large file on its slow way into the store; its content."""
    content = make(shell.folder / "large", size)
    sent(shell, "large")
    gate.rate = rate
    receiving = shell.start(*INTO, "file:cap")
    wait_for(lambda: gate.passed > rate / 10)
    return content, receiving


def test_a_slow_store_and_one_cut_in_mid_upload_get_it_once(
    server: Server, gate: Gate, shell: Shell
) -> None:
    content, receiving = uploading(shell, gate, size=20_000_000, rate=8e6)
    output = Output(receiving)
    gate.cut()
    assert server.keys("bucket") == []
    gate.rate, gate.shut = 0, False
    assert receiving.wait(120) == 0  # whatever the client waits for: its patience is a minute
    (delivered,) = output.seen("object_delivered")
    assert not delivered["duplicate"]
    assert server.keys("bucket") == ["in/large"]
    assert server.read("bucket", "in/large") == content


@pytest.mark.parametrize("moment", ["under way", "about to be told"])
def test_a_receiver_killed_in_mid_upload_delivers_once(
    server: Server, gate: Gate, shell: Shell, moment: str
) -> None:
    content, receiving = uploading(shell, gate)
    if moment == "about to be told":
        os.kill(receiving.pid, signal.SIGSTOP)  # it hears of no end
        wait_for(lambda: server.keys("bucket") == ["in/large"])
    supervisor = uploader_of(receiving.pid)
    processes = [supervisor, *children(supervisor)]
    assert len(processes) == 2
    receiving.kill()
    receiving.wait()
    assert outbox(shell) == ["large"]
    wait_for(lambda: all(map(gone, processes)))
    if moment == "under way":
        (shell.folder / "st/spooled.jsonl").write_text('{"path": "larg')  # cut by a power cut
    gate.rate = 0
    received = shell.run(*INTO, "file:cap")
    assert received.code == 0, received.out
    (delivered,) = received.events("object_delivered")
    assert (delivered["path"], delivered["name"]) == ("s3://bucket/in/large", "large")
    assert delivered["sha256"] == hashlib.sha256(content).hexdigest()
    assert delivered["duplicate"] is (moment == "about to be told")
    assert delivered["number"] == 1
    assert ("signed_by" in delivered) is (moment == "about to be told")
    assert server.keys("bucket") == ["in/large"]
    assert server.read("bucket", "in/large") == content
    assert outbox(shell) == []


def children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def uploader_of(receiver: int) -> int:
    """The process that begins workers."""
    for child in children(receiver):
        with open(f"/proc/{child}/cmdline", "rb") as file:
            if b"supervise" in file.read():
                return child
    raise AssertionError("there is no uploader")


def test_an_uploader_that_is_killed_is_begun_anew(server: Server, gate: Gate, shell: Shell) -> None:
    content, receiving = uploading(shell, gate)
    output = Output(receiving)
    gate.rate = 0
    (worker,) = children(uploader_of(receiving.pid))
    os.kill(worker, signal.SIGKILL)
    assert receiving.wait(60) == 0
    assert any("begun anew" in e["message"] for e in output.seen("warning"))
    assert server.read("bucket", "in/large") == content
    assert server.keys("bucket") == ["in/large"]


@pytest.mark.slow
def test_without_any_uploader_listening_goes_on_and_the_next_start_uploads(
    server: Server, gate: Gate, shell: Shell
) -> None:
    content, receiving = uploading(shell, gate)
    output = Output(receiving)
    supervisor = uploader_of(receiving.pid)
    (worker,) = children(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert receiving.wait(60) == 13
    assert "has ended" in output.seen("error")[-1]["message"]
    gate.rate = 0
    (shell.folder / "nothing").write_bytes(b"")
    shell.run(*INTO, "file:nothing")
    assert server.read("bucket", "in/large") == content


def gone(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2][0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_ctrl_c_leaves_the_rest_to_the_next_start(server: Server, gate: Gate, shell: Shell) -> None:
    content, receiving = uploading(shell, gate, rate=1e6)
    output = Output(receiving)
    receiving.send_signal(signal.SIGINT)
    assert receiving.wait(30) == 130
    assert any("the next start uploads" in e["message"] for e in output.seen("warning"))
    gate.rate = 0
    received = shell.run(*INTO, "file:cap")
    assert received.code == 0
    assert server.read("bucket", "in/large") == content


@pytest.mark.slow
def test_a_store_that_is_away_fills_the_outbox_up_to_the_quota(
    server: Server, gate: Gate, shell: Shell
) -> None:
    gate.cut()
    contents = {name: make(shell.folder / name, 400_000, seed) for seed, name in enumerate("abc")}
    sent(shell, "a", "b")
    receiving = shell.start(*INTO, "file:cap", "--quota", "1MB")
    output = Output(receiving)
    wait_for(lambda: len(output.seen("object_spooled")) == 2)
    receiving.send_signal(signal.SIGINT)
    assert receiving.wait(30) == 130
    (shell.folder / "cap").unlink()
    sent(shell, "c")
    receiving = shell.start(*INTO, "file:cap", "--quota", "1MB")
    output = Output(receiving)
    wait_for(lambda: any("outbox is full" in e["message"] for e in output.seen("error")))
    assert outbox(shell) == ["a", "b"]
    gate.shut = False
    assert receiving.wait(90) == 13  # c had no room, and the capture is over
    assert server.keys("bucket") == ["in/a", "in/b"]
    assert shell.run(*INTO, "file:cap", "--quota", "1MB").code == 0
    assert {k: server.read("bucket", k) for k in server.keys("bucket")} == {
        f"in/{name}": content for name, content in contents.items()
    }


def test_what_has_to_be_said_for_a_store(shell: Shell, monkeypatch) -> None:
    stateless = shell.run("recv", "s3://bucket", "--from", "file:cap")
    assert (stateless.code, "--state DIR" in stateless.err) == (2, True)
    exact = shell.run(*INTO, "file:cap", "--names", "exact")
    assert (exact.code, "--names exact" in exact.out) == (2, True)
    (shell.folder / "cap").write_bytes(b"")
    unknown = shell.run("recv", "nonsense://x", "--state", "st", "--from", "file:cap")
    assert (unknown.code, "nonsense" in unknown.err) == (2, True)
    broken = shell.folder / "without/fsspec"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('No module named fsspec')")
    path = os.pathsep.join([str(broken.parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    missing = shell.run(*INTO, "file:cap")
    assert missing.code == 2
    (error,) = missing.events("error")
    assert error["hint"] == "pip install 'diode-fec[store]'"
    assert KEY_ID not in missing.out
