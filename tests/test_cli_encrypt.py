"""`keygen --encrypt`, `send --encrypt-to`, `recv --identity`: what a user sees and gets."""

from __future__ import annotations

import json
import os
import stat

import pytest
from cli import Ran, Shell, make

from diode.envelope import Identity, Recipient
from diode.errors import KeyFileError
from diode.service import keys
from diode.service.state import LAST_NUMBER

CONTENT_SIZE = 50_000


@pytest.fixture
def sealing(shell: Shell) -> Shell:
    """Two pairs of keys to encrypt with, one to sign with, and a file."""
    shell.run("keygen", "ours", "--encrypt", "--comment", "the archive")
    shell.run("keygen", "theirs", "--encrypt")
    shell.run("keygen", "signer")
    make(shell.folder / "a.bin", CONTENT_SIZE)
    return shell


def send(shell: Shell, *options: object, to: str = "cap", what: str = "a.bin") -> Ran:
    sent = shell.run("send", what, "--to", f"file:{to}", *options)
    assert sent.code == 0, sent.err
    return sent


def recv(shell: Shell, *options: object, cap: str = "cap", inbox: str = "inbox") -> Ran:
    return shell.run("recv", inbox, "--from", f"file:{cap}", *options)


def delivered(shell: Shell, inbox: str = "inbox") -> bool:
    there = (shell.folder / inbox / "a.bin").read_bytes()
    return there == (shell.folder / "a.bin").read_bytes()


def test_a_pair_is_made(sealing: Shell) -> None:
    folder = sealing.folder
    identity = Identity.parse((folder / "ours").read_text())
    assert Recipient.parse((folder / "ours.pub").read_text()) == [identity.public]
    assert identity.comment == "the archive"
    assert stat.S_IMODE((folder / "ours").stat().st_mode) == 0o600
    made = sealing.run("keygen", "third", "--encrypt", "--json")
    (event,) = made.events("key")
    assert event["public"].startswith("diode-x25519-pub ")
    assert "third decrypts" in sealing.run("keygen", "third", "--encrypt", "--force").err


def test_encrypted_object_is_delivered(sealing: Shell) -> None:
    sent = send(sealing, "--encrypt-to", "ours.pub", "-v")
    assert "encrypting for " in sent.err and "the archive" in sent.err
    ran = recv(sealing, "--identity", "ours", "-v")
    assert ran.code == 0, ran.err
    assert "decrypting for " in ran.err
    assert delivered(sealing)
    (event,) = recv(sealing, "--identity", "ours", "--json", inbox="two").events("object_delivered")
    assert event["encrypted"] is True
    assert event["name"] == "a.bin"
    assert event["signed_by"] is None


def test_what_is_sent_in_the_open_is_told_to_be(sealing: Shell) -> None:
    sent = sealing.run("send", "a.bin", "--to", "file:cap", "--json")
    assert sent.events("object_sent")[0]["encrypted"] is False
    (event,) = recv(sealing, "--identity", "ours", "--json").events("object_delivered")
    assert event["encrypted"] is False
    sent = sealing.run("send", "a.bin", "--to", "file:cap", "--json", "--encrypt-to", "ours.pub")
    assert sent.events("object_sent")[0]["encrypted"] is True


def test_several_recipients_and_several_identities(sealing: Shell) -> None:
    line = (sealing.folder / "theirs.pub").read_text().strip()
    send(sealing, "--encrypt-to", "ours.pub", "--encrypt-to", line)
    for identity in ("ours", "theirs"):
        assert recv(sealing, "--identity", identity, inbox=identity + ".in").code == 0
        assert delivered(sealing, identity + ".in")
    send(sealing, "--encrypt-to", "theirs.pub", to="cap2")
    both = ["--identity", "ours", "--identity", "theirs"]
    assert recv(sealing, *both, cap="cap2", inbox="both").code == 0


@pytest.mark.parametrize("identity", [[], ["--identity", "theirs"]], ids=["none", "another"])
def test_without_the_identity_it_is_refused(sealing: Shell, identity: list[str]) -> None:
    send(sealing, "--encrypt-to", "ours.pub")
    ran = recv(sealing, *identity)
    assert ran.code == 3
    assert ran.err.count("is not accepted") == 1
    assert "--identity KEYFILE" in ran.err
    assert "a.bin" not in ran.err
    assert os.listdir(sealing.folder / "inbox/.diode/parts") == []
    ran = recv(sealing, *identity, "--json")
    (event,) = ran.events("object_quarantined")
    assert (event["name"], event["number"], event["reason"]) == (None, 1, "sealed")
    assert event["size"] == CONTENT_SIZE
    ran = recv(sealing, *identity, "--once")
    assert ran.code == 3, "no signature is missing"
    assert recv(sealing, "--identity", "ours").code == 0
    assert delivered(sealing)


def test_signed_and_encrypted(sealing: Shell) -> None:
    send(sealing, "--encrypt-to", "ours.pub", "--sign", "signer")
    ran = recv(sealing, "--identity", "ours", "--verify", "signer.pub", "--json")
    (event,) = ran.events("object_delivered")
    assert event["encrypted"] and event["signed_by_key"]
    ran = recv(sealing, "--verify", "signer.pub", inbox="two")
    assert ran.code == 3
    assert "--identity" in ran.err


def test_to_standard_output(sealing: Shell) -> None:
    make(sealing.folder / "note", 100)
    (sealing.folder / "note").write_bytes(b"for your eyes only\n")
    send(sealing, "--encrypt-to", "ours.pub", what="note")
    assert recv(sealing, "--identity", "ours", inbox="-").out == "for your eyes only\n"
    assert recv(sealing, inbox="-").out == ""


def test_half_now_half_later_and_without_the_identity_in_between(sealing: Shell) -> None:
    send(sealing, "--encrypt-to", "ours.pub")
    capture = (sealing.folder / "cap").read_bytes()
    (sealing.folder / "half").write_bytes(capture[: len(capture) // 3])
    (sealing.folder / "rest").write_bytes(capture[len(capture) // 3 :])
    ran = recv(sealing, "--identity", "ours", cap="half")
    assert ran.code == 3
    assert "a.bin" in ran.err
    ran = recv(sealing, cap="rest", inbox="inbox")
    assert ran.code == 3
    assert len(os.listdir(sealing.folder / "inbox/.diode/parts")) == 1, "what came is kept"
    assert recv(sealing, "--identity", "ours", cap="rest").code == 0
    assert delivered(sealing)


def test_what_is_kept_of_an_unfinished_object(sealing: Shell) -> None:
    """Its announcement and symbols as they were heard; recovered blocks are the receiver's own."""
    (sealing.folder / "a.bin").write_bytes(b"secret words " * 4000)
    send(sealing, "--encrypt-to", "ours.pub", "--symbol-size", "1000")
    capture = (sealing.folder / "cap").read_bytes()
    (sealing.folder / "half").write_bytes(capture[: len(capture) // 2])
    recv(sealing, "--identity", "ours", cap="half")
    (part,) = (sealing.folder / "inbox/.diode/parts").iterdir()
    assert b"a.bin" not in (part / "announcement").read_bytes()
    assert len((part / "journal").read_bytes()) > 10_000
    assert b"secret" not in (part / "journal").read_bytes()


def test_sending_is_reproducible_and_needs_the_secret(sealing: Shell) -> None:
    state = {"sender": 7, "number": 4, "frames": 9, "secret": "A" * 43 + "="}
    for number, secret in (("1", "A"), ("2", "A"), ("3", "B")):
        (sealing.folder / number).mkdir()
        state["secret"] = secret * 42 + "A="
        (sealing.folder / number / "sender.json").write_text(json.dumps(state))
        options = ("--sign", "signer", "--encrypt-to", "ours.pub", "--state", number)
        send(sealing, *options, to=f"cap{number}")
    one, two, three = ((sealing.folder / f"cap{n}").read_bytes() for n in "123")
    assert one == two
    assert one != three


def test_a_sender_out_of_numbers_encrypts_with_the_secret_that_it_keeps(sealing: Shell) -> None:
    kept = sealing.folder / "state" / "sender.json"
    kept.parent.mkdir()
    spent = {"sender": 7, "number": LAST_NUMBER, "frames": 0, "secret": "A" * 43 + "="}
    kept.write_text(json.dumps(spent))
    options = ("--encrypt-to", "ours.pub", "--state", "state")
    send(sealing, *options)
    drawn = json.loads(kept.read_text())
    assert drawn["sender"] != spent["sender"]
    assert drawn["secret"] != spent["secret"]
    kept.write_text(json.dumps(drawn | {"number": 0, "frames": 0}))
    send(sealing, *options, to="again")
    one, two = ((sealing.folder / name).read_bytes() for name in ("cap", "again"))
    assert one == two


def test_void_is_enclosed(sealing: Shell) -> None:
    path = sealing.folder / "a.bin"
    program = ["send", "a.bin", "--to", "file:cap?rate=400k", "--passes", "2"]
    process = sealing.start(*program, "--encrypt-to", "ours.pub", "--json")
    for said in process.stdout:
        if b'"progress"' in said:
            break
    path.write_bytes(b"changed")
    sealing.finish(process)
    ran = recv(sealing, "--identity", "ours", "--json")
    assert ran.events("object_quarantined") == []
    assert ran.events("object_void")


def test_inspect(sealing: Shell) -> None:
    send(sealing, "--encrypt-to", "ours.pub")
    ran = sealing.run("inspect", "cap")
    assert ran.code == 0
    assert "encrypted, name not known here, 50 kB: complete" in ran.out
    assert "sha256" not in ran.out
    (event,) = sealing.run("inspect", "cap", "--json").events("object")
    assert (event["name"], event["sha256"], event["encrypted"]) == (None, None, True)
    assert sealing.run("inspect", "-v", "cap").code == 0


def test_errors(sealing: Shell) -> None:
    for wrong in ("signer.pub", "ours", "missing.pub", "a.bin", "diode-x25519-pub AAAA"):
        ran = sealing.run("send", "a.bin", "--to", "file:cap", "--encrypt-to", wrong)
        assert ran.code == 2, wrong
        assert "hint: --encrypt-to" in ran.err or "keygen" in ran.err, ran.err
    assert not (sealing.folder / "cap").exists()
    assert not (sealing.folder / "state").exists(), "no object number is used up"
    send(sealing, "--encrypt-to", "ours.pub")
    for wrong in ("signer", "ours.pub", "missing", "a.bin"):
        ran = recv(sealing, "--identity", wrong)
        assert ran.code == 2, wrong
        assert "hint:" in ran.err
    (sealing.folder / "ours").chmod(0o644)
    assert "chmod 600 ours" in recv(sealing, "--identity", "ours").err
    assert not (sealing.folder / "inbox").exists()


def test_too_many_recipients(sealing: Shell) -> None:
    many = []
    for number in range(17):
        many += ["--encrypt-to", Identity(bytes([number] * 32)).public.line]
    ran = sealing.run("send", "a.bin", "--to", "file:cap", *many)
    assert ran.code == 2
    assert "17 recipients" in ran.err and "hint:" in ran.err
    send(sealing, *many[2:])


def test_secrets_show_nowhere(sealing: Shell) -> None:
    secret = (sealing.folder / "ours").read_text().split()[-3]
    assert len(secret) == 44
    sent = send(sealing, "--encrypt-to", "ours.pub", "-v")
    received = recv(sealing, "--identity", "ours", "-v")
    state = json.loads((sealing.folder / "state/diode/sender.json").read_text())["secret"]
    assert len(state) == 44
    assert stat.S_IMODE((sealing.folder / "state/diode/sender.json").stat().st_mode) == 0o600
    shown = sent.out + sent.err + received.out + received.err
    assert secret not in shown and state not in shown
    for path in sealing.folder.rglob("*"):
        if path.is_file() and path.name != "ours":
            assert secret.encode() not in path.read_bytes(), path
        if path.is_file() and path.name != "sender.json":
            assert state.encode() not in path.read_bytes(), path


def test_a_public_key_that_is_a_secret_is_refused_and_not_repeated(sealing: Shell) -> None:
    secret = Identity(bytes(range(32)))
    for read in (
        lambda: keys.read_secret(secret.line, Identity),
        lambda: keys.read_public(secret.line, Recipient),
    ):
        with pytest.raises(KeyFileError, match="command line") as caught:
            read()
        assert secret.line.split()[1] not in str(caught.value) + caught.value.hint
