"""The processes that bring records and take them: with a network, and without the link.

    source process --(Batch)--> sender                  receiver --(Batch)--> sink process
                   <-(Taken)---                                  <-(Taken)---

Sources and sinks talk to brokers and servers, so they need a network, which no process with a
carrier has, nor one that works on what a link brings. Each has a process of its own, forked before
there are carriers, keys, threads and a confinement; a socket of this machine is all that connects
them, and each message is one packet of it. Whoever takes over a source can make readings up, and
whoever takes over a sink can swallow them; neither gets at the link or at files.

A batch is answered when what matters of it is safe, and the next one is sent then: so nothing
queues up between the two, and each side drops, or keeps on disk, what it has no room for.

There are two processes. The first one begins the second anew when that dies, since a confined
process can start nothing. Both end with the one that they work for, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import msgspec

from diode import child, confine
from diode.errors import ConfinementError, DiodeError
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MOST = 1 << 17
"""Bytes of a message: what a socket takes as one packet whatever its buffers are."""
BATCH = 48 << 10
"""Bytes of payloads and topics of one batch, about."""
AGAIN, SELDOM = 1.0, 30.0
"""Seconds before a worker that died is begun anew; doubled each time, up to the second."""
LONGEST_WORD = 500


class Reading(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A record on its way between two processes."""

    class_: int
    topic: bytes
    payload: bytes
    time: int | None = None
    quality: int = 0
    retain: bool = False
    sequence: int = 0
    repeats: int = 0
    sender: int = 0
    heard: int = 0
    """When it came over the link, by this machine's clock: nanoseconds since 1970."""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.topic) + len(self.payload) + 50


class Batch(msgspec.Struct, tag=True, array_like=True):
    """Records. live: whether the link is up, of a batch for a sink."""

    number: int
    readings: list[Reading]
    live: bool = True


class Taken(msgspec.Struct, tag=True, array_like=True):
    """Of that batch all of `latest` was taken, and so many of `every`, the first ones."""

    number: int
    every: int


class Said(msgspec.Struct, tag=True, array_like=True):
    """Something that the operator should know, as it is.

    Whoever shows it names the process and escapes the text (`shown`). An empty one is not shown,
    and only says what is known with it.
    """

    text: str = ""
    warning: bool = True
    there: bool | None = None
    """Whether the other side, a broker or a file, is there, where that has changed."""
    refused: int = 0
    """Records that it is about, which cannot be sent."""
    dropped: int = 0
    """And those that there was no room for."""

    def __post_init__(self) -> None:
        """Names of files and topics may be no UTF-8, and that cannot be packed."""
        self.text = self.text.encode("utf-8", "replace").decode()


class Ready(msgspec.Struct, tag=True, array_like=True):
    """A worker has begun, and knows of no batch."""


class End(msgspec.Struct, tag=True, array_like=True):
    """Nothing more will come."""


Message = Batch | Taken | Said | Ready | End
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Channel:
    """One end of what connects two processes. One thread sends, and one receives."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._one = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError when nobody is there any more."""
        data = msgspec.msgpack.encode(message)
        with self._one:
            self.link.sendall(data)

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message, waited for so long. None: none came, or one that makes no sense.

        Raises EOFError when nobody is there any more.
        """
        if seconds is not None and not select.select([self.link], [], [], seconds)[0]:
            return None
        try:
            data = self.link.recv(MOST)
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        try:
            return _DECODER.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            return None

    def hang_up(self) -> None:
        """Let both ends know that it is over. May be called by another thread."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)


class Process:
    """A source's or a sink's process, as the one has it that it works for."""

    def __init__(
        self,
        name: str,
        work: Callable[[Channel], None],
        bounds: confine.Bounds,
        sandbox: str,
        kept: Collection[int] = (),
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """To be made before there are threads, carriers and keys. Raises DiodeError.

        name: 15 characters at most. work: what it does, until it ends. kept: descriptors that it
        needs; 0 is standard input. sandbox: auto, required or off. before: done in the process
        before it is confined.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MOST)
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.number = os.fork()
            if self.number == 0:
                ours.close()
                _supervise(theirs, name, before, work, bounds, sandbox, kept)
        except OSError as error:
            raise DiodeError(
                f"no process can be started for records: {error.strerror}",
                hint="see the limits: ulimit -u, or TasksMax= of the service",
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
            theirs.close()
        self.channel = Channel(ours)

    def close(self) -> None:
        """End it, and wait for that."""
        self.channel.hang_up()
        until = time.monotonic() + 5.0
        with contextlib.suppress(ChildProcessError):
            while not os.waitpid(self.number, os.WNOHANG)[0] and time.monotonic() < until:
                time.sleep(0.002)
        self.channel.link.close()


def said(error: BaseException) -> str:
    """What a library raised, on one line of bearable length."""
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:LONGEST_WORD]


def shown(name: str, text: str) -> str:
    """What a process of that name for people has said, for terminals and logs."""
    return f"{name}: {escape(text)}"


# In the processes -------------------------------------------------------------------------------


def _supervise(
    link: socket.socket,
    name: str,
    before: Callable[[], None],
    work: Callable[[Channel], None],
    bounds: confine.Bounds,
    sandbox: str,
    kept: Collection[int],
) -> NoReturn:
    """Have a worker as long as there is somebody to work for."""
    try:
        child.ignore_signals()
        descriptors = {link.fileno(), *(number for number in kept if number > 2)}
        child.begin(name, descriptors, standard=0 in kept)
        pause = AGAIN
        while True:
            began = time.monotonic()
            number = os.fork()
            if number == 0:
                _work(link, before, work, bounds, sandbox)
            _, status = os.waitpid(number, 0)
            if os.waitstatus_to_exitcode(status) == 0 or _abandoned(link, 0.0):
                break
            pause = AGAIN if time.monotonic() - began > SELDOM else min(2 * pause, SELDOM)
            words = f"its process died and is begun anew in {pause:g} s"
            Channel(link).send(Said(words, there=False))
            if _abandoned(link, pause):
                break
    except OSError:
        pass
    finally:
        os._exit(0)


def _abandoned(link: socket.socket, seconds: float | None = None) -> bool:
    """Wait so long, or for ever; whether there is nobody to work for meanwhile."""
    poll = select.poll()
    poll.register(link, 0)  # POLLHUP comes unasked
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def _work(
    link: socket.socket,
    before: Callable[[], None],
    work: Callable[[Channel], None],
    bounds: confine.Bounds,
    sandbox: str,
) -> NoReturn:
    channel, code = Channel(link), 1
    try:
        confine.no_core()
        os.umask(confine.STRICT_UMASK)
        before()
        if sandbox != "off":
            done = confine.confine(bounds)
            if sandbox == "required":
                confine.required(done)
        threading.Thread(target=_end_with, args=(link,), daemon=True).start()
        channel.send(Ready())
        work(channel)
        channel.send(End())
        _abandoned(link)
        code = 0
    except (DiodeError, ConfinementError) as error:
        hint = f"; {error.hint}" if getattr(error, "hint", "") else ""
        with contextlib.suppress(OSError):
            channel.send(Said(f"{error}{hint}", there=False))
    except EOFError:
        code = 0
    except BaseException as error:  # noqa: BLE001  it is told, and the work is begun anew
        with contextlib.suppress(OSError):
            channel.send(Said(f"{type(error).__name__}: {said(error)}", there=False))
    finally:
        os._exit(code)


def _end_with(link: socket.socket) -> None:
    """End with the one that this works for."""
    _abandoned(link)
    os._exit(0)
