"""Key files: made once, read at the start of a run, never shown.

A secret key is readable by its owner alone, or it is refused: a key that others could read is
no proof of anything. Both files are new files, created with their final mode, on disk before
the call returns; with `force` each replaces the old one by a rename. A process that holds a
secret key writes no core dump. No message quotes a key file.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from diode import keytext
from diode.errors import KeyFileError
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diode.keytext import Public, Secret
    from diode.tag import LinkKey

MAX_KEY_FILE = 1 << 16
OPTIONS = {
    "diode-ed25519-pub": "--verify",
    "diode-ed25519-secret": "--sign",
    "diode-x25519-pub": "--encrypt-to",
    "diode-x25519-secret": "--identity",
    "diode-link-secret": "--link-key",
}
"""Which option takes a key of which kind."""
_REMARKS = {
    "diode-ed25519-secret": "# A secret key of diode. It stays on the machine that signs, readable "
    "by its owner alone.\n",
    "diode-x25519-secret": "# A secret key of diode. It stays on the machine that decrypts, "
    "readable by its owner alone.\n",
    "diode-link-secret": "# A link key of diode, for both ends of a link, readable by its owner "
    "alone.\n",
}
_Public = TypeVar("_Public", bound="Public")
_Secret = TypeVar("_Secret", bound="Secret")


class Pair(Protocol):
    """A secret key with a public half (seal.SecretKey, envelope.Identity)."""

    @property
    def KIND(self) -> str: ...

    @property
    def line(self) -> str: ...

    @property
    def public(self) -> Public: ...


def no_core_dumps() -> None:
    """From now on this process, which is going to hold a secret, writes none."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read_secret(path: str, kind: type[_Secret]) -> _Secret:
    """The secret key in that file. KeyFileError where it is not one, or not kept secret."""
    if path.startswith(keytext.SECRET):
        _never_here()
    no_core_dumps()
    option = OPTIONS[kind.KIND]
    with _explained(path), _opened(path) as descriptor:
        text, facts = _text(descriptor), os.fstat(descriptor)
        if text.startswith(keytext.PUBLIC):
            raise KeyFileError(
                f"{escape(path)} is a public key, and {option} needs a secret one",
                hint=f"{option} takes the secret key, the file without .pub",
            )
        if facts.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(
                f"{escape(path)} belongs to another user",
                hint="make a key of your own with: diode keygen NAME",
            )
        if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(
                f"{escape(path)} can be read by others (mode {stat.S_IMODE(facts.st_mode):04o})",
                hint=f"chmod 600 {escape(path)}, if nobody has read it yet",
            )
    try:
        return kind.parse(text)
    except KeyFileError as error:
        hint = f"{option} takes a secret key of diode keygen"
        raise KeyFileError(f"{escape(path)}: {error}", hint=hint) from None


def read_public(source: str, kind: type[_Public]) -> list[_Public]:
    """The public keys in that file, or in that line itself. KeyFileError where there is none."""
    option = OPTIONS[kind.KIND]
    try:
        if source.startswith(tuple(f"{word} " for word in keytext.PUBLIC)):
            return kind.parse(source)
        if source.startswith(keytext.SECRET):
            _never_here()
        with _explained(source), _opened(source) as descriptor:
            text = _text(descriptor)
    except KeyFileError as error:
        hint = error.hint or f"{option} takes a .pub file of diode keygen, or the line in it"
        raise KeyFileError(str(error), hint=hint) from None
    try:
        return kind.parse(text)
    except KeyFileError as error:
        hint = f"{option} takes a public key: {escape(source)}.pub, perhaps"
        raise KeyFileError(f"{escape(source)}: {error}", hint=hint) from None


def write_pair(path: str, secret: Pair, *, force: bool = False) -> str:
    """Write the secret key to `path` (0600) and its public half to `path`.pub (0644).

    The path of the public key. KeyFileError where one of them is there already and `force`
    does not say to replace it, or where they cannot be written.
    """
    public = path + ".pub"
    lines = {
        path: (_REMARKS[secret.KIND] + secret.line, 0o600),
        public: (secret.public.line, 0o644),
    }
    _write_new(lines, force=force)
    return public


def write_link(path: str, secret: LinkKey, *, force: bool = False) -> None:
    """Write a link key to `path` (0600). KeyFileError as `write_pair`."""
    _write_new({path: (_REMARKS[secret.KIND] + secret.line, 0o600)}, force=force)


def _write_new(contents: Mapping[str, tuple[str, int]], *, force: bool) -> None:
    """Write all of these files, text and mode each, or none."""
    no_core_dumps()
    path = next(iter(contents))
    there = [p for p in contents if os.path.lexists(p)]
    if there and not force:
        raise KeyFileError(
            f"{escape(there[0])} is there already",
            hint="choose another name, or replace the key for good with --force",
        )
    written: list[str] = []
    with _explained(path):
        try:
            for target, (line, mode) in contents.items():
                name = target + ".new" if force else target
                if force:
                    _remove(name)
                written.append(_write(name, line + "\n", mode))
            for target in contents if force else ():
                os.rename(target + ".new", target)
        except OSError:
            for name in written:
                _remove(name)
            raise
        _sync(os.path.dirname(path) or ".")


def _never_here() -> NoReturn:
    raise KeyFileError(
        "a secret key must not stand on a command line, where every user can read it",
        hint="give the path of its file, and replace this key",
    )


def _write(path: str, text: str, mode: int) -> str:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        content = memoryview(text.encode())
        while content:
            content = content[os.write(descriptor, content) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    except OSError:
        _remove(path)
        raise
    finally:
        os.close(descriptor)
    return path


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise KeyFileError(
            f"key file {escape(path)}: {why}", hint="diode keygen NAME makes a pair of keys"
        ) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    # Not to wait for the writer of a pipe that has the name of a key.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise KeyFileError(f"{escape(path)} is not a file")
        yield descriptor
    finally:
        os.close(descriptor)


def _text(descriptor: int) -> str:
    content = os.read(descriptor, MAX_KEY_FILE)
    if not content.isascii():
        raise KeyFileError(
            "this is no key file: it is not ASCII text",
            hint="diode keygen NAME makes keys",
        )
    return content.decode()
