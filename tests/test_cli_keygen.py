"""`diode keygen`, and key files: modes, owners, what is refused, and that no secret shows."""

from __future__ import annotations

import os
import stat

import pytest
from cli import Shell

from diode.errors import KeyFileError
from diode.seal import PublicKey, SecretKey
from diode.service import keys


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def secret_word(path) -> str:
    """The secret itself, as it stands in its file."""
    return path.read_text().splitlines()[-1].split()[1]


def test_a_pair_is_made(shell: Shell) -> None:
    made = shell.run("keygen", "plant7", "--comment", "plant 7, outflow")
    assert made.code == 0
    line, fingerprint = made.out.splitlines()
    assert (shell.folder / "plant7.pub").read_text() == line + "\n"
    secret = SecretKey.parse((shell.folder / "plant7").read_text())
    assert PublicKey.parse(line) == [secret.public]
    assert fingerprint == secret.public.fingerprint
    assert secret.comment == "plant 7, outflow"
    assert (shell.folder / "plant7").read_text().startswith("# ")
    assert (mode(shell.folder / "plant7"), mode(shell.folder / "plant7.pub")) == (0o600, 0o644)
    assert secret_word(shell.folder / "plant7") not in made.out + made.err


def test_json(shell: Shell) -> None:
    made = shell.run("keygen", "k", "--json")
    (event,) = made.events("key")
    assert (event["secret_path"], event["public_path"]) == ("k", "k.pub")
    assert PublicKey.parse(event["public"])[0].fingerprint == event["fingerprint"]
    assert secret_word(shell.folder / "k") not in made.out + made.err


def test_a_wide_umask_makes_no_wide_secret(tmp_path) -> None:
    old = os.umask(0)
    try:
        keys.write_pair(str(tmp_path / "k"), SecretKey.generate())
    finally:
        os.umask(old)
    assert (mode(tmp_path / "k"), mode(tmp_path / "k.pub")) == (0o600, 0o644)


@pytest.mark.parametrize("there", ["k", "k.pub"])
def test_nothing_is_overwritten(shell: Shell, there: str) -> None:
    (shell.folder / there).write_text("mine")
    ran = shell.run("keygen", "k")
    assert ran.code == 2
    assert f"{there} is there already" in ran.err
    assert "hint:" in ran.err
    assert "--force" in ran.err
    assert (shell.folder / there).read_text() == "mine"
    assert sorted(os.listdir(shell.folder)) == [there]


def test_force_replaces_both(shell: Shell) -> None:
    first = shell.run("keygen", "k").out
    second = shell.run("keygen", "k", "--force").out
    assert first != second
    assert PublicKey.parse((shell.folder / "k.pub").read_text()) == PublicKey.parse(
        second.splitlines()[0]
    )
    assert mode(shell.folder / "k") == 0o600
    assert sorted(os.listdir(shell.folder)) == ["k", "k.pub"]


def test_a_link_is_not_followed(shell: Shell) -> None:
    (shell.folder / "k").symlink_to("elsewhere")
    assert shell.run("keygen", "k").code == 2
    assert not (shell.folder / "elsewhere").exists()


def test_a_folder_that_is_not_there(shell: Shell) -> None:
    ran = shell.run("keygen", "no/k")
    assert ran.code == 2
    assert "No such file" in ran.err


def test_a_public_half_that_cannot_be_written_leaves_no_secret(tmp_path, monkeypatch) -> None:
    write = keys._write

    def failing(path: str, text: str, mode: int) -> str:
        if path.endswith(".pub"):
            raise OSError(28, "No space left on device")
        return write(path, text, mode)

    monkeypatch.setattr(keys, "_write", failing)
    with pytest.raises(KeyFileError, match="No space left"):
        keys.write_pair(str(tmp_path / "k"), SecretKey.generate())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("comment", ["two\nlines", "x" * 300, "\x1b[2J"])
def test_comments_are_one_printable_line(shell: Shell, comment: str) -> None:
    ran = shell.run("keygen", "k", "--comment", comment)
    assert ran.code == 2
    assert os.listdir(shell.folder) == []


# Reading ----------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path) -> str:
    path = str(tmp_path / "k")
    keys.write_pair(path, SecretKey(bytes(range(32)), "x"))
    return path


def test_reading(pair: str) -> None:
    secret = keys.read_secret(pair, SecretKey)
    assert keys.read_public(pair + ".pub", PublicKey) == [secret.public]
    assert keys.read_public(secret.public.line, PublicKey) == [secret.public]


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o610, 0o620, 0o602, 0o644, 0o666])
def test_a_secret_that_others_can_use_is_refused(pair: str, wide: int) -> None:
    os.chmod(pair, wide)
    with pytest.raises(KeyFileError, match=f"mode {wide:04o}") as caught:
        keys.read_secret(pair, SecretKey)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("narrow", [0o600, 0o400])
def test_a_secret_of_its_owner_is_taken(pair: str, narrow: int) -> None:
    os.chmod(pair, narrow)
    assert keys.read_secret(pair, SecretKey).comment == "x"


def test_a_secret_of_somebody_else_is_refused(pair: str, monkeypatch) -> None:
    owner = os.stat(pair).st_uid
    facts = list(os.stat(pair))
    facts[4] = owner + 1000
    monkeypatch.setattr(keys.os, "fstat", lambda _: os.stat_result(facts))
    with pytest.raises(KeyFileError, match="belongs to another user"):
        keys.read_secret(pair, SecretKey)


def test_swapped_files_are_told_apart(pair: str) -> None:
    with pytest.raises(KeyFileError, match="is a public key") as caught:
        keys.read_secret(pair + ".pub", SecretKey)
    assert "without .pub" in caught.value.hint
    with pytest.raises(KeyFileError, match="is a secret key") as caught:
        keys.read_public(pair, PublicKey)
    assert ".pub" in caught.value.hint


READ = [
    pytest.param(lambda path: keys.read_secret(path, SecretKey), id="secret"),
    pytest.param(lambda path: keys.read_public(path, PublicKey), id="public"),
]


@pytest.mark.parametrize("read", READ)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(read) -> None:
    secret = SecretKey(bytes(range(32)))
    with pytest.raises(KeyFileError, match="command line") as caught:
        read(secret.line)
    assert secret.line.split()[1] not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("read", READ)
def test_what_is_no_key_file(tmp_path, read) -> None:
    for name, content in [("empty", b""), ("binary", b"\xff\0" * 40), ("big", b"x" * 200_000)]:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(KeyFileError):
            read(str(tmp_path / name))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="is not a file"):
        read(str(tmp_path / "fifo"))
    with pytest.raises(KeyFileError, match="No such file") as caught:
        read(str(tmp_path / "missing"))
    assert "keygen" in caught.value.hint
