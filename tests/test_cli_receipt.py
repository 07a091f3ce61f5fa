"""Receipts from the ledger of a receiver to the next run of its sender, by the command line."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from cli import Ran, Shell, make, wait_until
from ptys import Pty

from diode import lettering
from diode.receipt import Receipt, opened
from diode.seal import SecretKey
from diode.service import history
from diode.service.history import History
from diode.sink import tally

KEY = ("--receipt-key", "box.pub")
PLAIN = ("--no-bundle", "--json")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `six` has it. What was sent has its paths there: history.db is made to fit."""
    shell = Shell(tmp_path_factory.mktemp("begun"))
    assert shell.run("keygen", "box", "-q").code == 0
    for number in range(1, 7):
        name = f"p/f{number}"
        make(shell.folder / name, 1000 * number, number)
        assert shell.run("send", name, "--name", name, "--to", f"file:cap{number}").code == 0
    return shell.folder


@pytest.fixture
def six(shell: Shell, begun: Path) -> dict[str, bytes]:
    """Six files that were sent, as objects 1 to 6, each into a capture of its own; a key."""
    shutil.copytree(begun, shell.folder, dirs_exist_ok=True)
    db = sqlite3.connect(shell.folder / "state/diode/history.db")
    db.execute("UPDATE sent SET files=REPLACE(files, ?, ?)", (str(begun), str(shell.folder)))
    db.commit()
    db.close()
    return {f"p/{path.name}": path.read_bytes() for path in (shell.folder / "p").iterdir()}


def receive(shell: Shell, *numbers: int, inbox: str = "inbox") -> None:
    for number in numbers:
        shell.run("recv", inbox, "--from", f"file:cap{number}")


def receipt(shell: Shell, *more: str, inbox: str = "inbox") -> None:
    ran = shell.run("receipt", inbox, "--sign", "box", "-o", "r", *more)
    assert ran.code == 0, ran.err


def send(shell: Shell, *arguments: str, stdin: bytes = b"", to: str = "again") -> Ran:
    return shell.run("send", *arguments, *PLAIN, "--to", f"file:{to}", stdin=stdin)


def numbers(ran: Ran) -> list[int]:
    return sorted(e["number"] for e in ran.events("object_sent"))


# What arrived, what is missing -------------------------------------------------------------------


def test_what_arrived_is_left_out_and_what_is_missing_keeps_its_number(
    shell: Shell, six: dict[str, bytes]
) -> None:
    receive(shell, 1, 3, 6)
    receipt(shell)
    make(shell.folder / "p/new", 500)
    ran = send(shell, "p", "--receipt", "r", *KEY)
    assert ran.code == 0, ran.out
    assert numbers(ran) == [2, 4, 5, 7]
    (told,) = ran.events("receipt")
    assert (told["received"], told["highest"], told["missing"]) == (3, 6, [[2, 2], [4, 5]])
    (used,) = ran.events("receipt_used")
    assert (used["arrived"], used["again"], used["new"]) == (3, 3, 1)
    assert shell.run("recv", "inbox", "--from", "file:again").code in (0, 3)
    assert {n: (shell.folder / "inbox" / n).read_bytes() for n in six} == six
    receipt(shell)
    full = send(shell, "p", "--receipt", "r", *KEY)
    assert full.code == 0
    assert numbers(full) == []
    assert len(full.events("object_arrived")) == 7


def test_without_a_path_all_that_is_missing_is_sent(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 2, 6)
    receipt(shell)
    (shell.folder / "p/f3").unlink()
    ran = send(shell, "--receipt", "r", *KEY)
    assert ran.code == 3, "one of them is not there any more"
    assert numbers(ran) == [1, 4, 5]
    assert any("p/f3) is missing" in e["message"] for e in ran.events("warning"))
    shell.run("recv", "inbox", "--from", "file:again")
    assert sorted(p.name for p in (shell.folder / "inbox/p").iterdir()) == [
        *("f1", "f2", "f4", "f5", "f6")
    ]


def test_bundles_come_again_as_they_were(shell: Shell, six: dict[str, bytes]) -> None:
    for number in range(30):
        make(shell.folder / f"d/{number}", 50, number)
    (shell.folder / "d/empty").mkdir()
    assert shell.run("send", "d", "--to", "file:lost").code == 0
    assert shell.run("send", "p/f1", "--name", "last", "--to", "file:cap7").code == 0
    receive(shell, 1, inbox="other")
    assert shell.run("recv", "other", "--from", "file:cap7").code in (0, 3)
    receipt(shell, inbox="other")
    ran = shell.run("send", "--receipt", "r", *KEY, "--to", "file:again", "--json")
    assert ran.code == 0, ran.out
    sent = ran.events("object_sent")
    assert sum(e["number"] == 7 and e["bundle"] for e in sent) == 31
    assert {e["number"] for e in sent} == {2, 3, 4, 5, 6, 7}, "nothing goes with what did not"


def test_content_that_changed_goes_as_something_new(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 2, 3, 4, 6)
    receipt(shell)
    make(shell.folder / "p/f5", 77, 9)
    ran = send(shell, "p", "--receipt", "r", *KEY)
    assert numbers(ran) == [7]


def test_other_settings_send_under_new_numbers_and_not_what_arrived(
    shell: Shell, six: dict[str, bytes]
) -> None:
    receive(shell, 1, 2, 3, 4, 6)
    receipt(shell)
    ran = send(shell, "p", "--receipt", "r", *KEY, "--symbol-size", "128")
    assert numbers(ran) == [7]


def test_numbers_that_were_given_up_are_not_used_again(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 6)
    state = tally.state_of(str(shell.folder / "inbox"))
    from diode.sink.ledger import Ledger

    (sender,) = tally.senders(state)
    ledger = Ledger(f"{state}/ledger.db")
    ledger.give_up(sender, 2, 5)
    ledger.close()
    receipt(shell)
    ran = send(shell, "--receipt", "r", *KEY)
    assert numbers(ran) == [7, 8, 9, 10]
    (told,) = ran.events("receipt")
    assert told["closed"] == [[2, 5]]


def test_what_is_no_path_of_the_command_is_named(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 6)
    receipt(shell)
    path = shell.folder / "p/f2"
    ran = send(shell, str(path), "--name", "p/f2", "--receipt", "r", *KEY)
    assert numbers(ran) == [2]
    said = [e["message"] for e in ran.events("warning")]
    assert len([text for text in said if "is missing too" in text]) == 3


def test_an_unfinished_run_goes_on_with_what_did_not_arrive(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("keygen", "box", "-q").code == 0
    for number in range(4):
        make(shell.folder / f"p/f{number}", 60_000, number)
    with Pty(tmp_path / "port") as port:
        to = f"serial:{port.link}?baud=460800"
        command = ("send", "p", "--keep-order", "--to", to)
        sender = shell.start(*command)
        wait_until(lambda: len(port.heard) > 150_000)
        sender.send_signal(signal.SIGKILL)
        sender.wait()
        (shell.folder / "cap9").write_bytes(bytes(port.heard))
        receive(shell, 9)
        came = sorted(path.name for path in (shell.folder / "inbox/p").iterdir())
        assert 0 < len(came) < 4
        receipt(shell)
        ran = shell.run(*command, "--receipt", "r", *KEY, "--json")
    assert ran.code == 0, ran.out
    assert len(ran.events("resumed")) == 1
    arrived = [e["name"] for e in ran.events("object_arrived")]
    assert arrived == [f"p/{name}" for name in came]
    assert len(numbers(ran)) == 4 - len(came)
    assert max(numbers(ran)) <= 4


# Text, QR codes, explanations --------------------------------------------------------------------


def test_typed_lines_and_the_line_that_is_wrong(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 2, 3)
    text = shell.run("receipt", "inbox", "--sign", "box").out
    assert len(text.splitlines()) == 5
    lines = text.splitlines()
    wrong = lines[2].replace(lines[2][5], "A" if lines[2][5] != "A" else "B", 1)
    bad = "\n".join([*lines[:2], wrong, *lines[3:]])
    ran = send(shell, "--receipt", "-", *KEY, stdin=bad.encode())
    assert ran.code == 1
    assert "line 3 is not as it was written" in ran.events("error")[0]["message"]
    ran = send(shell, "--receipt", "-", *KEY, stdin=text.lower().encode())
    assert ran.code == 0, ran.out
    (told,) = ran.events("receipt")
    assert told["received"] == 3, "nothing is said of what the receiver never heard of"
    assert numbers(ran) == []


def test_heartbeats_tell_of_objects_behind_the_last_one(
    shell: Shell, six: dict[str, bytes]
) -> None:
    receive(shell, 1, 2)
    state = Path(tally.state_of(str(shell.folder / "inbox")))
    (sender,) = tally.senders(str(state))
    heard = {"senders": [{"sender": f"{sender:08x}", "highest": 6, "more": 1}], "line": {}}
    (state / "health.json").write_text(json.dumps(heard))
    receipt(shell)
    assert numbers(send(shell, "--receipt", "r", *KEY)) == [3, 4, 5, 6]


def test_qr_codes(shell: Shell, six: dict[str, bytes]) -> None:
    pytest.importorskip("segno", reason="segno is not installed (extra qr)")
    receive(shell, 1)
    ran = shell.run("receipt", "inbox", "--qr", "--qr-file", "x.png")
    assert ran.code == 0
    assert len(ran.out.splitlines()) > 10
    assert (shell.folder / "x.png").read_bytes().startswith(b"\x89PNG")
    ran = shell.run("receipt", "inbox", "--qr-file", "x.svg", "--text")
    assert b"<svg" in (shell.folder / "x.svg").read_bytes()
    assert opened(lettering.parse(ran.out), None).received == ((1, 1),)
    assert shell.run("receipt", "inbox", "--qr-file", "x.pdf").code == 2


def test_explained(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 4)
    receipt(shell)
    ran = shell.run("receipt", "--read", "r", "--receipt-key", "box.pub", "--json")
    assert ran.code == 0
    (told,) = ran.events("receipt")
    assert told["missing"] == [[2, 3]]
    assert told["count"] == 2
    assert told["signed_by_key"]
    assert "at most" in shell.run("receipt", "--read", "r").err
    assert shell.run("keygen", "other", "-q").code == 0
    assert shell.run("receipt", "--read", "r", "--receipt-key", "other.pub").code == 12


def test_several_senders_have_to_be_named(shell: Shell, six: dict[str, bytes]) -> None:
    make(shell.folder / "q", 10)
    assert shell.run("send", "q", "--state", "elsewhere", "--to", "file:cap7").code == 0
    receive(shell, 1, 7)
    ran = shell.run("receipt", "inbox")
    assert ran.code == 2
    assert ran.err.count("--sender ") == 2
    (first, second) = tally.senders(tally.state_of(str(shell.folder / "inbox")))
    for sender in (first, second):
        text = shell.run("receipt", "inbox", "--sender", f"{sender:08x}").out
        assert opened(lettering.parse(text), None).sender == sender


def test_the_ledger_is_not_changed(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1)
    ledger = shell.folder / "inbox/.diode/ledger.db"
    before = ledger.read_bytes()
    receipt(shell)
    receipt(shell)
    assert ledger.read_bytes() == before


# What is not believed ----------------------------------------------------------------------------


def refused(shell: Shell, *arguments: str, code: int, words: str, stdin: bytes = b"") -> None:
    ran = send(shell, *arguments, stdin=stdin)
    assert ran.code == code, ran.out
    (error,) = ran.events("error")
    assert words in error["message"] + error["hint"]
    assert not (shell.folder / "again").exists(), "nothing was sent"


def made(shell: Shell, receipt: Receipt, key: SecretKey | None = None) -> None:
    data = receipt.unsigned() if key is None else receipt.signed(key)
    (shell.folder / "r").write_bytes(data)


def identity(shell: Shell) -> int:
    return json.loads((shell.folder / "state/diode/sender.json").read_text())["sender"]


def test_a_receipt_has_to_be_signed_unless_that_is_waived(
    shell: Shell, six: dict[str, bytes]
) -> None:
    receive(shell, 1, 2, 3, 4, 5, 6)
    assert shell.run("receipt", "inbox", "-o", "r").code == 0
    refused(shell, "p", "--receipt", "r", code=2, words="--receipt-key KEY.pub")
    refused(shell, "p", "--receipt", "r", *KEY, code=12, words="not signed by a key")
    refused(shell, "p", "--receipt", "r", *KEY, "--unsigned-receipt", code=2, words="contradict")
    refused(shell, "p", "--unsigned-receipt", code=2, words="need --receipt")
    made(shell, Receipt(identity(shell), 1, 6, ((1, 6),)), SecretKey.generate())
    refused(shell, "p", "--receipt", "r", *KEY, code=12, words="not signed by a key")
    assert numbers(send(shell, "p", "--receipt", "r", "--unsigned-receipt")) == []


def test_for_another_sender_and_of_what_was_never_sent(shell: Shell, six: dict[str, bytes]) -> None:
    waived = ("--receipt", "r", "--unsigned-receipt")
    made(shell, Receipt(identity(shell) ^ 1, 1, 6, ((1, 6),)))
    refused(shell, "p", *waived, code=1, words="is for sender")
    made(shell, Receipt(identity(shell), 1, 7, ((1, 7),)))
    refused(shell, "p", *waived, code=1, words="speaks of object 7")
    (shell.folder / "r").write_bytes(b"\xd1\x01" + b"\xff" * 200_000)
    refused(shell, "p", *waived, code=1, words="at most")
    refused(shell, "p", *waived[:1], "none", waived[2], code=1, words="No such file")


def test_an_older_one_and_another_ledger(shell: Shell, six: dict[str, bytes]) -> None:
    receive(shell, 1, 2)
    receipt(shell)
    (shell.folder / "r").rename(shell.folder / "old")
    receive(shell, 3)
    receipt(shell)
    assert numbers(send(shell, "p", "--receipt", "r", *KEY)) == [7, 8, 9]
    (shell.folder / "again").unlink()
    refused(shell, "p", "--receipt", "old", *KEY, code=1, words="older than one")
    receive(shell, 1, 2, 3, 4, inbox="elsewhere")
    receipt(shell, inbox="elsewhere")
    name = f"{tally.name_of(tally.state_of(str(shell.folder / 'elsewhere'))):08x}"
    refused(shell, "p", "--receipt", "r", *KEY, code=1, words=f"--receipt-ledger {name}")
    ran = send(shell, "p", "--receipt", "r", *KEY, "--receipt-ledger", name)
    assert ran.code == 0, ran.out


def test_usage(shell: Shell) -> None:
    assert shell.run("receipt").code == 2
    assert shell.run("receipt", "nowhere").code == 2
    (shell.folder / "empty").mkdir()
    assert shell.run("receipt", "empty").code == 2
    assert shell.run("receipt", "empty", "--read", "x").code == 2
    refused(shell, code=2, words="Missing argument")


# What a sender remembers -------------------------------------------------------------------------


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    from pair import BytesSource

    from diode.assembly import describe
    from diode.plan import Link, Settings
    from diode.service.resuming import encoded

    kept = History(str(tmp_path), 7, most=10)
    manifests = [describe(BytesSource(b"%d" % n), Settings(), Link()) for n in range(25)]
    for n, manifest in enumerate(manifests, 1):
        kept.record([history.Sent(n, encoded(manifest), ((f"/p/{n}", "name"),))])
    assert [s.number for s in kept.within(1, 99)] == list(range(16, 26))
    assert kept.alike(manifests[24])[0].files == (("/p/25", "name"),)
    kept.forget(25)
    assert kept.alike(manifests[24]) == []
    kept.close()


def test_a_damaged_history_is_put_aside(shell: Shell, six: dict[str, bytes]) -> None:
    path = shell.folder / "state/diode/history.db"
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    path.write_bytes(b"no database" * 500)
    ran = send(shell, "p")
    assert ran.code == 0
    assert any("history.db.corrupt-1" in e["message"] for e in ran.events("warning"))
    db = sqlite3.connect(path)
    assert db.execute("SELECT COUNT(*) FROM sent").fetchone() == (6,)
    db.close()


def test_what_was_made_void_is_forgotten(shell: Shell, tmp_path: Path) -> None:
    """Its number is spent: nobody would take the same under it."""
    make(shell.folder / "x", 300_000)
    with Pty(tmp_path / "port") as port:
        to = f"serial:{port.link}?baud=460800"
        sender = shell.start("send", "x", "--to", to, "--json")
        wait_until(lambda: len(port.heard) > 1000)
        make(shell.folder / "x", 299_000, 2)
        ran = shell.finish(sender)
    assert len(ran.events("object_void")) == 1
    db = sqlite3.connect(shell.folder / "state/diode/history.db")
    assert db.execute("SELECT COUNT(*) FROM sent").fetchone() == (0,)
    db.close()
