"""`diode verify`: what was delivered is read again, and everything that is not so is named."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli import Ran, Shell, make, wait_until
from inboxes import Thing
from ptys import socat_line

from diode.cli import main
from diode.errors import DestinationError
from diode.events import Key
from diode.objects import Type
from diode.sink import audit
from diode.sink.folder import Inbox


@pytest.fixture
def verify(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """`diode verify inbox` in this process."""
    monkeypatch.chdir(tmp_path)

    def verifying(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main(["verify", "inbox", *arguments])
        return Ran(code, *capfd.readouterr())

    return verifying


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Path]:
    """A folder with five files in it."""
    sink = Inbox(str(tmp_path / "inbox"))
    for number, name in enumerate((b"a", b"sub/b", b"sub/c", b"d\x1b[31m\n", b"sub/e"), 1):
        Thing(b"content of %d" % number, name, Key(7, number)).give(sink)
    sink.close()
    return tmp_path / "inbox"


def kinds(ran: Ran) -> dict[str, list[str]]:
    """Paths by what was found there."""
    return {kind: sorted(e["path"] for e in ran.events(kind)) for kind in audit.Kind}


def test_all_as_it_came(inbox: Path, verify: Callable[..., Ran]) -> None:
    ran = verify("--json")
    assert ran.code == 0
    paths = ["a", "d%1B[31m%0A", "sub/b", "sub/c", "sub/e"]
    assert kinds(ran) == {"verified": paths, "changed": [], "gone": [], "unknown": []}
    one = next(e for e in ran.events("verified") if e["path"] == "sub/b")
    digest = hashlib.sha256(b"content of 2").hexdigest()
    assert (one["sha256"], one["size"], one["sender"], one["number"]) == (digest, 12, 7, 2)
    assert ran.events("verification") == [
        {"event": "verification", "verified": 5, "changed": 0, "gone": 0, "unknown": 0,
         "missing": 0}
    ]  # fmt: skip
    assert verify().err == "5 files as delivered\n"


def test_every_kind_of_damage_is_named(inbox: Path, verify: Callable[..., Ran]) -> None:
    (inbox / "a").chmod(0o600)
    (inbox / "a").write_bytes(b"content of 9")
    (inbox / "sub/b").unlink()
    (inbox / "sub/c").unlink()
    (inbox / "sub/c").mkdir()
    (inbox / "sub/x\x1b[32m").write_bytes(b"who put that here")
    ran = verify("--json")
    assert ran.code == 3
    assert kinds(ran) == {
        "verified": ["d%1B[31m%0A", "sub/e"],
        "changed": ["a", "sub/c"],
        "gone": ["sub/b"],
        "unknown": ["sub/x\\x1b[32m"],
    }
    told = verify()
    assert told.code == 3
    assert "\x1b" not in told.err
    for words in (
        "a (00000007:1) is not what was delivered: sha256 ",
        "sub/b (00000007:2) is not there any more",
        "sub/c (00000007:3) is not what was delivered: a folder",
        "sub/x\\x1b[32m was not delivered by diode",
        "2 files as delivered, 2 changed, 1 gone, 1 unknown",
    ):
        assert words in told.err


def test_one_bit_is_enough(inbox: Path, verify: Callable[..., Ran]) -> None:
    before = (inbox / "a").stat()
    content = bytearray((inbox / "a").read_bytes())
    content[5] ^= 1
    (inbox / "a").chmod(0o600)
    (inbox / "a").write_bytes(content)
    os.utime(inbox / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(verify("--json"))["changed"] == ["a"]


def test_what_was_taken_out_on_purpose(inbox: Path, verify: Callable[..., Ran]) -> None:
    (inbox / "a").unlink()
    shutil.rmtree(inbox / "sub")
    assert verify().code == 3
    ran = verify("--taken")
    assert ran.code == 0
    assert "1 file as delivered, 4 gone" in ran.err


def test_no_link_is_followed(inbox: Path, verify: Callable[..., Ran]) -> None:
    outside = inbox.parent / "outside"
    outside.mkdir()
    for name in ("b", "c", "e"):
        shutil.copy(inbox / "sub" / name, outside / name)
    shutil.copy(inbox / "a", outside / "a")
    (inbox / "a").unlink()
    (inbox / "a").symlink_to(outside / "a")
    shutil.rmtree(inbox / "sub")
    (inbox / "sub").symlink_to(outside)
    (inbox / "more").symlink_to(outside)
    ran = verify("--json")
    found = kinds(ran)
    assert found["changed"] == ["a", "sub/b", "sub/c", "sub/e"]
    assert found["verified"] == ["d%1B[31m%0A"]
    assert all("link" in event["found"] for event in ran.events("changed"))


def test_a_pipe_in_the_place_of_a_file_holds_up_nothing(
    inbox: Path, verify: Callable[..., Ran]
) -> None:
    (inbox / "a").unlink()
    os.mkfifo(inbox / "a")
    assert kinds(verify("--json"))["changed"] == ["a"]


def test_a_name_that_was_used_twice(inbox: Path, verify: Callable[..., Ran]) -> None:
    """The first one was taken out, so that the second one got its place."""
    (inbox / "a").unlink()
    sink = Inbox(str(inbox))
    assert Thing(b"another", b"a", Key(8, 1)).give(sink).path == "a"
    sink.close()
    (event,) = [e for e in verify("--json").events("verified") if e["path"] == "a"]
    assert (event["sender"], event["number"]) == (8, 1)
    (inbox / "a").unlink()
    (inbox / "a").write_bytes(b"content of 1")
    (event,) = [e for e in verify("--json").events("verified") if e["path"] == "a"]
    assert (event["sender"], event["number"]) == (7, 1)


def test_empty_files_and_folders(tmp_path: Path, verify: Callable[..., Ran]) -> None:
    sink = Inbox(str(tmp_path / "inbox"))
    Thing(b"", b"empty", Key(7, 1)).give(sink)
    Thing(b"", b"folder", Key(7, 2), type=Type.DIRECTORY).give(sink)
    sink.close()
    assert kinds(verify("--json"))["verified"] == ["empty", "folder"]
    (tmp_path / "inbox/folder").rmdir()
    assert kinds(verify("--json"))["gone"] == ["folder"]


def test_what_is_being_delivered_is_known(
    inbox: Path, verify: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Inbox(str(inbox))

    def crash(*_args: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    thing = Thing(b"new", b"new", Key(7, 6))
    thing.announce(sink)
    thing.write(sink)
    real = sink._ledger.record
    monkeypatch.setattr(
        sink._ledger, "record", lambda *how: real(*how) if how[2] == "begun" else crash()
    )
    with pytest.raises(DestinationError):
        thing.deliver(sink)
    found = kinds(verify("--json"))
    sink.close()
    assert (inbox / "new").exists()
    assert found["unknown"] == []


def test_what_comes_in_the_meantime_is_no_stranger(
    inbox: Path, verify: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = audit.Audit._files

    def slow(self: audit.Audit) -> Iterator[str]:
        sink = Inbox(str(inbox))
        Thing(b"new", b"new", Key(7, 6)).give(sink)
        sink.close()
        return real(self)

    monkeypatch.setattr(audit.Audit, "_files", slow)
    assert kinds(verify("--json"))["unknown"] == []


def test_damaged_ledger(inbox: Path, verify: Callable[..., Ran]) -> None:
    with sqlite3.connect(inbox / ".diode/ledger.db") as db:
        db.execute("UPDATE objects SET size = 13 WHERE number = 3")
    db.close()
    ran = verify()
    assert ran.code == 3
    assert "cannot be read: a row contradicts its check" in ran.err


def test_no_state(tmp_path: Path, verify: Callable[..., Ran]) -> None:
    (tmp_path / "inbox").mkdir()
    assert verify().code == 2


def test_a_state_elsewhere_and_only_counted(tmp_path: Path, verify: Callable[..., Ran]) -> None:
    sink = Inbox(str(tmp_path / "inbox"), state=str(tmp_path / "memory"))
    for number in range(60):
        Thing(b"%d" % number, b"%03d" % number, Key(7, number + 1)).give(sink)
    sink.close()
    shutil.rmtree(tmp_path / "inbox")
    (tmp_path / "inbox").mkdir()
    ran = verify("--state", "memory")
    assert ran.err.count("is not there any more") == 50
    assert "more of these are only counted" in ran.err
    assert "0 files as delivered, 60 gone" in ran.err
    assert verify("--state", "memory", "-v").err.count("is not there any more") == 60


def test_while_a_receiver_runs_and_gaps(shell: Shell) -> None:
    for number in range(1, 4):
        make(shell.folder / f"{number}.bin", 20_000, seed=number)
    with socat_line(shell.folder) as (tx, rx):
        receiver = shell.start("recv", "inbox", "--json", "--from", f"serial:{rx}?baud=1000000")
        shell.listening(receiver)
        for number in range(1, 4):
            to = "file:lost" if number == 2 else f"serial:{tx}?baud=1000000"
            assert shell.run("send", f"{number}.bin", "--to", to).code == 0
        wait_until((shell.folder / "inbox/3.bin").exists)
        wait_until(lambda: shell.run("verify", "inbox", "--json").events("gap"))
        ran = shell.run("verify", "inbox", "--json")
        assert receiver.poll() is None
    assert ran.code == 3
    assert kinds(ran)["verified"] == ["1.bin", "3.bin"]
    (gap,) = ran.events("gap")
    assert (gap["first"], gap["last"]) == (2, 2)
    assert ran.events("verification")[0]["missing"] == 1
    assert shell.run("recv", "inbox", "--from", "file:lost").code == 11


def test_a_bundle(shell: Shell) -> None:
    for number in range(40):
        make(shell.folder / f"many/{number}.bin", 100, seed=number)
    assert shell.run("send", "many", "--to", "file:cap").code == 0
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 0
    assert shell.run("verify", "inbox").err == "40 files as delivered\n"
