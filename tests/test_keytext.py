"""Keys as lines of text: every kind, and what does not pass for one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import keytext
from diode.envelope import Identity, Recipient
from diode.errors import KeyFileError
from diode.keytext import Public, Secret
from diode.seal import PublicKey, SecretKey
from diode.tag import LinkKey

SECRET = SecretKey(bytes(range(32)), "plant 7")
OTHER = SecretKey(bytes(range(32, 64)))
KINDS = (PublicKey, SecretKey, Recipient, Identity, LinkKey)
SECRETS = pytest.mark.parametrize(
    "kind", [k for k in KINDS if issubclass(k, Secret)], ids=lambda kind: kind.KIND
)


def test_every_kind_has_a_class_and_a_name():
    assert sorted(k.KIND for k in KINDS) == sorted(keytext.KINDS)
    assert {k.KIND for k in KINDS if issubclass(k, Public)} == set(keytext.PUBLIC)
    assert {k.KIND for k in KINDS if issubclass(k, Secret)} == set(keytext.SECRET)


@SECRETS
def test_a_secret_of_any_kind_crosses_as_text(kind):
    secret = kind(bytes(range(32)), "what for")
    assert kind.parse(f"# a remark\n{secret.line}\n") == secret
    assert secret.line.split()[0] == kind.KIND


def test_one_kind_is_not_taken_for_another():
    for key in (SECRET, Identity(SECRET.raw), SECRET.public, Identity(SECRET.raw).public):
        for kind in KINDS:
            if isinstance(key, kind):
                continue
            with pytest.raises(KeyFileError, match=f"is {keytext.KINDS[key.KIND]} where") as caught:
                kind.parse(key.line)
            assert key.line.split()[1] not in str(caught.value)


def test_lines():
    assert PublicKey.parse(SECRET.public.line) == [SECRET.public]
    assert SecretKey.parse(SECRET.line) == SECRET
    assert SecretKey.parse(OTHER.line).comment == ""
    assert SECRET.public.line.startswith(
        "diode-ed25519-pub A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJV"
    )
    assert SECRET.public.line.endswith("= plant 7")
    assert OTHER.line == f"diode-ed25519-secret {base64.b64encode(OTHER.raw).decode()}"


def test_a_file_of_keys():
    text = f"# ours\n\n{SECRET.public.line}\n  {OTHER.public.line}  \n"
    assert PublicKey.parse(text) == [SECRET.public, OTHER.public]
    with pytest.raises(KeyFileError, match="more than one"):
        SecretKey.parse(f"{SECRET.line}\n{OTHER.line}")


def test_fingerprint():
    assert SECRET.public.fingerprint.replace("-", "") == SECRET.public.id.hex()
    assert len(SECRET.public.fingerprint) == 19


@SECRETS
def test_a_secret_shows_in_no_representation(kind):
    secret = kind(bytes(range(32)), "x")
    shown = f"{secret!r} {secret}"
    assert secret.raw.hex() not in shown
    assert repr(secret.raw) not in shown
    assert base64.b64encode(secret.raw).decode() not in shown


WRONG = {
    "empty": "",
    "remarks": "# nothing\n",
    "another kind": "ssh-ed25519 AAAA",
    "short": "diode-ed25519-pub AAAA",
    "not base64": "diode-ed25519-pub " + "!" * 44,
    "no key": "diode-ed25519-pub",
    "long": f"diode-ed25519-pub {base64.b64encode(bytes(33)).decode()}",
    "the secret": SECRET.line,
    "escape in the comment": SECRET.public.line + "\x1b[2J",
    "long comment": SECRET.public.line + "x" * 300,
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_no_public_key_is_refused_and_not_quoted(text):
    with pytest.raises(KeyFileError) as caught:
        PublicKey.parse(text)
    for word in text.split()[1:2]:
        assert word not in str(caught.value)


@examples(300)
@given(st.text(max_size=200))
def test_any_text_as_a_key(text):
    with pytest.raises(KeyFileError):
        SecretKey.parse(text)
