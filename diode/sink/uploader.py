"""The process that brings an outbox into a store: it has the network, and may read the outbox.

    receiver --(Upload)--> uploader --> store
             <-(Ready, Stored, Failed, Unusable)-

A receiver is confined and has no network; this process has, and hears nothing of the link but files
that are whole and verified. It believes the receiver, and the receiver does what follows from its
answers: it removes from the outbox what is stored. So this process may read the outbox and no more,
and whoever takes it over from the store's side can withhold files, or say that they are stored,
but neither change what came nor hear what comes.

Each message is a line of JSON, empty lines between them. One request has one answer and is tried
once: when to try again is for the receiver to say. A request that is made a second time, since
either process was killed, finds its own file in the store and is answered as a duplicate.

It is two processes. The first one, `supervise`, begins the second one, `work`, anew when that dies:
the receiver, once confined, can start nothing. Both end with the receiver, whose end of standard
input is closed then, however it ended; an upload that is under way is given up.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec

from diode import confine
from diode.sink.store import Damaged, Store, local_folder, sha256, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

Sandbox = Literal["auto", "required", "off"]
EXTRA = "pip install 'diode-fec[store]'"
AGAIN = 1.0
"""Seconds before a worker that died is begun anew; doubled each time, up to the next."""
SELDOM = 30.0
_SETTINGS = (
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "BOTO_CONFIG", "FSSPEC_CONFIG_DIR"),
)
"""Variables that name files which say how a store is reached."""
_ROTATED = "AWS_WEB_IDENTITY_TOKEN_FILE"
"""The same, of a file that is replaced again and again, so that its folder is needed."""
_HOME = (".aws", ".ssh", ".config", ".netrc", ".azure")
_SYSTEM = ("/etc", "/run/systemd/resolve", "/usr/share/ca-certificates", "/usr/local/share")


class Settings(msgspec.Struct):
    """The first line: what the process is for."""

    url: str
    outbox: str
    sandbox: Sandbox


class Upload(msgspec.Struct, tag=True):
    """A file or an empty folder of the outbox is to go into the store."""

    number: int
    path: str
    size: int
    sha256: str
    """Hexadecimal; empty where it is not known any more."""
    folder: bool = False


class Ready(msgspec.Struct, tag=True):
    """A worker has begun, and knows of no request."""

    at_once: int
    done: list[str]
    missing: list[str]
    """What of it is confined, and what not."""


class Unusable(msgspec.Struct, tag=True):
    """There will be none."""

    message: str
    hint: str = ""
    unconfined: bool = False


class Stored(msgspec.Struct, tag=True):
    """It is in the store."""

    number: int
    at: str
    sha256: str
    duplicate: bool


class Failed(msgspec.Struct, tag=True):
    """It is not. refused: trying again helps only when somebody has changed something."""

    number: int
    message: str
    hint: str = ""
    refused: bool = False
    gone: bool = False
    """It is not in the outbox, or not what was put there."""


Answer = Ready | Unusable | Stored | Failed


def encode(message: msgspec.Struct) -> bytes:
    """One message. A line that a killed process left unfinished ends before it."""
    return b"\n" + msgspec.json.encode(message) + b"\n"


# Two processes ----------------------------------------------------------------------------------


def command(role: Literal["supervise", "work"]) -> list[str]:
    """How to start one of them, with the modules of this process."""
    program = f"import sys; sys.path[:] = {sys.path!r}; import diode.sink.uploader as u; u.{role}()"
    return [sys.executable, "-I", "-c", program]


def supervise() -> NoReturn:
    """Have a worker as long as there is a receiver."""
    _ignore_signals()
    pause = AGAIN
    settings = _first_line()
    while True:
        began = time.monotonic()
        with subprocess.Popen(command("work"), env={**os.environ, _HANDED: settings}) as worker:
            code = worker.wait()
        if code == 0 or _abandoned(0.0):
            sys.exit(0)
        pause = AGAIN if time.monotonic() - began > SELDOM else min(2 * pause, SELDOM)
        if _abandoned(pause):
            sys.exit(0)


_HANDED = "DIODE_UPLOADER"


def _first_line() -> str:
    """Standard input up to the first line's end: the rest of it is for the worker."""
    line = bytearray()
    while (byte := os.read(0, 1)) and byte != b"\n":
        line += byte
    return line.decode()


def _abandoned(seconds: float) -> bool:
    """Wait so long; whether the receiver has gone meanwhile."""
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP comes unasked
    return bool(poll.poll(seconds * 1000))


def _ignore_signals() -> None:
    """Ctrl-C and service managers signal all processes; the receiver decides what the end is."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def work() -> NoReturn:
    """Carry out requests until standard input ends."""
    _ignore_signals()
    settings = msgspec.json.decode(os.environ.pop(_HANDED), type=Settings)
    answers = Answers(secrets_of(settings.url))
    try:
        store, done = _open(settings)
    except Exception as error:  # noqa: BLE001  the receiver tells it
        answers.say(_unusable(settings.url, error))
        os._exit(0)
    if settings.sandbox == "required" and done.missing:
        answers.say(Unusable("; ".join(done.missing), unconfined=True))
        os._exit(0)
    answers.say(Ready(store.at_once, done.done, done.missing))
    with ThreadPoolExecutor(store.at_once) as threads:
        for request in requests(iter(sys.stdin.buffer.readline, b"")):
            threads.submit(_carry_out, store, settings.outbox, request, answers)
        os._exit(0)  # nobody waits for what is under way


def _open(settings: Settings) -> tuple[Store, confine.Confinement]:
    """Confined first: the network's threads start with the store."""
    importlib.import_module("fsspec")
    folder = local_folder(settings.url)
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    confine.no_core()
    os.umask(confine.STRICT_UMASK)
    done = confine.Confinement()
    if settings.sandbox != "off":
        done = confine.confine(bounds(settings.outbox, folder))
    return Store(settings.url), done


def bounds(outbox: str, folder: str | None) -> confine.Bounds:
    """What a worker may still do. folder: the store, where it is one of this machine."""
    home = os.path.expanduser("~")
    named = [value for name in _SETTINGS if (value := os.environ.get(name))]
    if token := os.environ.get(_ROTATED):
        named.append(os.path.dirname(token))
    read = (outbox, *_SYSTEM, *(os.path.join(home, name) for name in _HOME), *named)
    own = () if folder is None else (folder,)
    return confine.Bounds(sends=False, own=own, read=read, network=True)


def requests(lines: Iterable[bytes]) -> Iterable[Upload]:
    """What can be read of them; the rest of a line that another worker began is left out."""
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=Upload)


class Answers:
    """Standard output, for several threads. Nothing secret passes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._one = threading.Lock()

    def say(self, answer: Answer) -> None:
        if isinstance(answer, Failed | Unusable):
            answer.message = self.clean(answer.message)
        with self._one:
            data = memoryview(encode(answer))
            while data:
                data = data[os.write(1, data) :]

    def clean(self, text: str) -> str:
        """Text of a library, without what must not be shown, on one line of bearable length."""
        for secret in self._secrets:
            text = text.replace(secret, "[not shown]")
        return " ".join(text.split())[:500]


def secrets_of(url: str) -> set[str]:
    """What this process knows and must not say: credentials of the environment and of the URL."""
    words = ("SECRET", "TOKEN", "PASSWORD", "PASSWD", "_KEY", "CREDENTIAL")
    found = {v for n, v in os.environ.items() if any(w in n.upper() for w in words)}
    if shown(url) != url:
        user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        found |= {user, user.partition(":")[2]}
    return {text for text in found if len(text) >= 6}


# One upload -------------------------------------------------------------------------------------


def _carry_out(store: Store, outbox: str, request: Upload, answers: Answers) -> None:
    try:
        answers.say(upload(store, outbox, request))
    except BrokenPipeError:
        os._exit(0)


def upload(store: Store, outbox: str, request: Upload) -> Stored | Failed:
    """One attempt."""
    number, path = request.number, os.path.join(outbox, request.path)
    try:
        if request.folder:
            stored = store.make_folder(request.path)
            return Stored(number, stored.at, "", stored.duplicate)
        with open(path, "rb", buffering=0) as file:
            digest = sha256(file.read)
            size = file.tell()
    except FileNotFoundError:
        return Failed(number, "it is not in the outbox any more", gone=True)
    except OSError as error:
        return Failed(number, f"{request.path}: {error.strerror}", "see the system's log")
    if size != request.size or (request.sha256 and digest.hex() != request.sha256):
        return Failed(number, "it is not what was put into the outbox", gone=True)
    try:
        stored = store.put(path, request.path, size, digest)
    except Exception as error:  # noqa: BLE001  each library has errors of its own
        return explained(number, error)
    return Stored(number, stored.at, digest.hex(), stored.duplicate)


def explained(number: int, error: Exception) -> Failed:
    """What a library raised, in words of ours where they are clearer."""
    kind = type(error).__name__
    text = f"{kind}: {error}"
    if isinstance(error, Damaged):
        return Failed(number, str(error), "it is uploaded again")
    if kind in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return Failed(number, "there are no credentials for the store", hint, refused=True)
    if isinstance(error, PermissionError):
        hint = "are the credentials right, and may they write there?"
        return Failed(number, f"the store does not allow it ({error})", hint, refused=True)
    if isinstance(error, FileNotFoundError):
        hint = "make the bucket or the folder, or correct the URL"
        return Failed(number, f"the store has no such place ({error})", hint, refused=True)
    hint = "it is tried again and again: is the store up, and reachable from here?"
    return Failed(number, f"the store does not take it ({text})", hint)


def _unusable(url: str, error: Exception) -> Unusable:
    if isinstance(error, ImportError):
        return Unusable(f"{shown(url)} needs what is not installed: {error}", EXTRA)
    return Unusable(f"{shown(url)}: {error}", "see the list: python -m fsspec.registry")
