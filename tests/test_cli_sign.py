"""`diode send --sign` and `diode recv --verify` as a user has them."""

from __future__ import annotations

import os

import pytest
from cli import Ran, Shell, make
from pair import BytesSource, transmit

from diode import line
from diode.frame import Frames
from diode.seal import SecretKey

CONTENT_SIZE = 50_000


@pytest.fixture
def signing(shell: Shell) -> Shell:
    """Two pairs of keys and a file."""
    shell.run("keygen", "ours", "--comment", "plant 7")
    shell.run("keygen", "theirs")
    make(shell.folder / "a.bin", CONTENT_SIZE)
    return shell


def send(shell: Shell, *options: object, to: str = "cap", what: str = "a.bin") -> None:
    sent = shell.run("send", what, "--to", f"file:{to}", *options)
    assert sent.code == 0, sent.err


def recv(shell: Shell, *options: object, cap: str = "cap", inbox: str = "inbox") -> Ran:
    return shell.run("recv", inbox, "--from", f"file:{cap}", *options)


def public(shell: Shell, name: str = "ours") -> str:
    return (shell.folder / f"{name}.pub").read_text().strip()


def inbox_files(shell: Shell, inbox: str = "inbox") -> list[str]:
    return sorted(n for n in os.listdir(shell.folder / inbox) if n != ".diode")


def test_signed_object_is_delivered_and_its_signer_named(signing: Shell) -> None:
    send(signing, "--sign", "ours")
    ran = recv(signing, "--verify", "ours.pub")
    assert ran.code == 0
    assert "delivered a.bin" in ran.err
    assert "signed by plant 7 " in ran.err
    ran = recv(signing, "--verify", "ours.pub", "--json", inbox="two")
    (event,) = ran.events("object_delivered")
    assert event["signed_by"] == "plant 7"
    assert len(event["signed_by_key"]) == 19


def test_a_key_without_a_comment_is_named_by_its_fingerprint(signing: Shell) -> None:
    send(signing, "--sign", "theirs")
    both = ["--verify", "ours.pub", "--verify", public(signing, "theirs")]
    (event,) = recv(signing, *both, "--json").events("object_delivered")
    assert event["signed_by"] == event["signed_by_key"]


def test_without_keys_signatures_do_not_matter(signing: Shell) -> None:
    send(signing, "--sign", "ours")
    (event,) = recv(signing, "--json").events("object_delivered")
    assert event["signed_by"] is None


REFUSED = [
    pytest.param([], "unsigned", "send --sign", id="unsigned"),
    pytest.param(["--sign", "theirs"], "unknown-key", "--verify", id="unknown key"),
]


@pytest.mark.parametrize(("options", "reason", "hint"), REFUSED)
def test_refused(signing: Shell, options: list[str], reason: str, hint: str) -> None:
    send(signing, *options)
    ran = recv(signing, "--verify", "ours.pub")
    assert ran.code == 3
    assert ran.err.count("a.bin (") == 1
    assert "is not accepted" in ran.err
    assert hint in ran.err
    assert ran.out == ""
    assert inbox_files(signing) == []
    assert os.listdir(signing.folder / "inbox/.diode/parts") == []
    ran = recv(signing, "--verify", "ours.pub", "--json")
    (event,) = ran.events("object_quarantined")
    assert (event["name"], event["number"], event["reason"]) == ("a.bin", 1, reason)
    assert event["sender"] > 0
    (link,) = ran.events("link")[-1:]
    assert link["reasons"]["signature"] > 0


@pytest.mark.parametrize("stop", [["--once"], ["--count", "2"]])
def test_exit_code_12_when_it_was_the_one_asked_for(signing: Shell, stop: list[str]) -> None:
    send(signing)
    ran = recv(signing, "--verify", "ours.pub", *stop)
    assert ran.code == 12
    assert "hint:" in ran.err
    ran = recv(signing, "--verify", "ours.pub", *stop, "--json")
    (error,) = ran.events("error")
    assert error["code"] == 12


def test_exit_code_12_on_standard_output(signing: Shell) -> None:
    send(signing)
    ran = recv(signing, "--verify", "ours.pub", inbox="-")
    assert (ran.code, ran.out) == (12, "")


def test_once_waits_for_a_signed_one(signing: Shell) -> None:
    make(signing.folder / "evil.bin", 100)
    send(signing, what="evil.bin")
    send(signing, "--sign", "ours", to="cap2")
    both = (signing.folder / "cap").read_bytes() + (signing.folder / "cap2").read_bytes()
    (signing.folder / "cap3").write_bytes(both)
    ran = recv(signing, "--verify", "ours.pub", "--once", cap="cap3")
    assert inbox_files(signing) == ["a.bin"]
    assert ran.code == 3, "one object was refused, the one asked for came"
    (signing.folder / "cap3").write_bytes(both[::-1])
    assert recv(signing, "--verify", "ours.pub", "--once", cap="cap3", inbox="x").code == 4


def test_once_ends_when_the_sender_is_done(signing: Shell) -> None:
    """On a line that stays open: the object came to nothing, and there will be no other."""
    send(signing)
    os.mkfifo(signing.folder / "line")
    wire = os.open(signing.folder / "line", os.O_RDWR)
    try:
        os.set_blocking(wire, False)
        arguments = ["recv", "inbox", "--from", "file:line", "--verify", "ours.pub", "--once"]
        process = signing.start(*arguments, "--json")
        signing.listening(process)
        capture = (signing.folder / "cap").read_bytes()
        while capture:
            try:
                capture = capture[os.write(wire, capture) :]
            except BlockingIOError:
                assert process.poll() is None
        assert signing.finish(process).code == 12
    finally:
        os.close(wire)


def test_unfinished_objects_are_verified_with_today_s_keys(signing: Shell) -> None:
    send(signing, "--sign", "ours")
    capture = (signing.folder / "cap").read_bytes()
    (signing.folder / "half").write_bytes(capture[: len(capture) // 3])
    (signing.folder / "rest").write_bytes(capture[len(capture) // 3 :])
    assert recv(signing, "--verify", "ours.pub", cap="half").code == 3
    ran = recv(signing, "--verify", "theirs.pub", "--json", cap="rest")
    assert ran.code == 3
    assert [e["reason"] for e in ran.events("object_quarantined")] == ["unknown-key"]
    assert inbox_files(signing) == []
    ran = recv(signing, "--verify", "ours.pub", "--json", cap="rest")
    assert ran.code == 0
    assert ran.events("object_delivered")[0]["signed_by"] == "plant 7"


def test_an_unsigned_part_of_an_earlier_run_is_not_finished(signing: Shell) -> None:
    send(signing)
    capture = (signing.folder / "cap").read_bytes()
    (signing.folder / "half").write_bytes(capture[: len(capture) // 3])
    recv(signing, cap="half")
    ran = recv(signing, "--verify", "ours.pub")
    assert ran.code == 3
    assert inbox_files(signing) == []


def test_void_is_signed(signing: Shell) -> None:
    path = signing.folder / "a.bin"
    program = ["send", "a.bin", "--to", "file:cap?rate=400k", "--passes", "2", "--sign", "ours"]
    process = signing.start(*program, "--json")
    for said in process.stdout:
        if b'"progress"' in said:
            break
    path.write_bytes(b"changed")
    signing.finish(process)
    ran = recv(signing, "--verify", "ours.pub", "--json")
    assert ran.events("object_quarantined") == []
    assert ran.events("object_void")


def test_signed_sending_is_reproducible(signing: Shell) -> None:
    for number in ("1", "2"):
        (signing.folder / number).mkdir()
        (signing.folder / number / "sender.json").write_text('{"sender":7,"number":4,"frames":9}')
        send(signing, "--sign", "ours", "--state", number, to=f"cap{number}")
    assert (signing.folder / "cap1").read_bytes() == (signing.folder / "cap2").read_bytes()


def test_signed_content_with_a_wrong_digest_is_not_delivered(signing: Shell) -> None:
    source = BytesSource(b"content" * 100)
    source.digest = bytes(32)
    signer = SecretKey.parse((signing.folder / "ours").read_text())
    frames = Frames.of_pieces(transmit(source, signer=signer))
    (signing.folder / "cap").write_bytes(bytes(line.encoder("cobs").encode(frames).data))
    ran = recv(signing, "--verify", "ours.pub", "--json")
    assert ran.code == 3
    assert ran.events("object_delivered") == ran.events("object_quarantined") == []
    assert ran.events("object_incomplete")[0]["reason"] == "digest"
    assert inbox_files(signing) == []


def test_errors(signing: Shell) -> None:
    (signing.folder / "ours").chmod(0o644)
    ran = signing.run("send", "a.bin", "--to", "file:cap", "--sign", "ours")
    assert ran.code == 2
    assert "chmod 600 ours" in ran.err
    assert not (signing.folder / "cap").exists()
    send(signing)
    for wrong in ("theirs", "missing.pub", "a.bin", "diode-ed25519-pub AAAA"):
        ran = recv(signing, "--verify", wrong)
        assert ran.code == 2, wrong
        assert "hint:" in ran.err
    assert not (signing.folder / "inbox").exists()


def test_no_secret_shows_anywhere(signing: Shell) -> None:
    secret = (signing.folder / "ours").read_text().splitlines()[-1].split()[1]
    sent = signing.run("send", "a.bin", "--to", "file:cap", "--sign", "ours", "-v")
    received = recv(signing, "--verify", "ours.pub", "-v")
    assert "signing with " in sent.err
    shown = sent.out + sent.err + received.out + received.err
    assert secret not in shown
    for folder, _, names in os.walk(signing.folder):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, signing.folder) != "ours":
                with open(path, "rb") as file:
                    assert secret.encode() not in file.read(), path
    process = signing.start("send", "a.bin", "--to", "file:slow?rate=100k", "--sign", "ours")
    try:
        for part in ("cmdline", "environ"):
            with open(f"/proc/{process.pid}/{part}", "rb") as file:
                assert secret.encode() not in file.read()
    finally:
        process.kill()
