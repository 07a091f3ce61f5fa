"""The process that runs an operator's command: outside the sandbox, and told verified facts only.

    receiver --(Request)--> hook process --fork, exec--> the command
             <--(Said, Ended)--

A confined process can start no program. So this one is forked before the confinement and stays
outside it; it has no carrier, no inbox and no key, and all that it ever gets from the receiver are
the variables of one call after the other. The command is the operator's, resolved once at the
start; no shell sees it. Of what came over the link only the path of the file becomes an argument,
where the operator wrote `{path}`: it is absolute, begins with a slash, and fills its word or what
is behind the `=` of an option, so no name can be read as an option, as another path or as a second
command. Variables hold any bytes but NUL.

Each message is a line of JSON; one call at a time. The command has a session of its own, standard
input from nowhere, and output that is read to its end whatever it writes: the first lines of a
burst are handed on, the rest counted. After `timeout` its process group gets SIGTERM, and
GRACE seconds later SIGKILL. When the receiver is gone, by an orderly end or by SIGKILL, the command
is ended in the same way, sooner: its call is made again at the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from diode import child
from diode.bucket import Bucket
from diode.errors import DiodeError, UsageError
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT = 600.0
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
ORPHANED = 1.0
"""The same when nobody waits for the command any more."""
MOST = 1 << 17
"""Bytes of a message: the longest name there is, escaped, and the longest path fit in."""
MOST_LINE = 1000
"""Characters of a line of output."""
LINES, LINES_AT_ONCE = 10, 100
"""Lines of output a second, and in a burst, that are handed on."""
CANNOT = 127
"""Status of a command that could not be started, as a shell has it."""
NAME = "diode-hooks"
KEPT = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ")
"""What a command gets of the environment, besides PATH."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLACE = "{path}"
"""Stands in a command for the path of the file."""
_SAFE_PLACE = re.compile(r"(--?[A-Za-z0-9][A-Za-z0-9_-]*=)?\{path\}")
LOOK = 20
"""Milliseconds between two looks at the clock."""
_PIECE = 1 << 16


def resolved(text: str, option: str) -> list[str]:
    """The words of a command, the first an absolute path. UsageError where it cannot be run."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"{option}: {error}", hint=f"quote as for a shell: {option} '/path/prog \"a word\"'"
        ) from None
    if not words:
        raise UsageError(f"{option} names no command", hint=f"{option} /path/prog")
    _check_places(words, option)
    found = shutil.which(words[0])
    if found is None:
        there = os.path.exists(words[0])
        why = "is not executable" if there else "is not there"
        hint = f"chmod +x {escape(words[0])}" if there else "give its path; no shell looks for it"
        raise UsageError(f"{option}: {escape(words[0])} {why}", hint=hint)
    return [os.path.abspath(found), *words[1:]]


def _check_places(words: list[str], option: str) -> None:
    """UsageError where a path, which the sender has named, would be read as more than a path."""
    for before, word in zip(["", *words], words, strict=False):
        if PLACE in word and (not before or before == "-c" or not _SAFE_PLACE.fullmatch(word)):
            raise UsageError(
                f"{option}: {PLACE} has to be a word of its own, or to stand behind --option=, for "
                f"the sender has a say in it; it is in {escape(word)}",
                hint='within a script of a shell, "$DIODE_PATH" is safe',
            )


@dataclass(frozen=True, slots=True)
class Said:
    """A line that the command wrote, escaped."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The command is over. status: its exit code, or minus the signal that ended it."""

    status: int
    seconds: float
    timed_out: bool = False
    left_out: int = 0
    """Lines that were not handed on."""


class Process:
    """The hook process, as its receiver has it. To be started before a confinement and threads."""

    def __init__(
        self, command: list[str], timeout: float = TIMEOUT, folder: str | None = None
    ) -> None:
        """folder: where commands start, that of this process if not given. Raises UsageError where
        this system cannot have such a process.
        """
        if not hasattr(os, "fork"):
            raise UsageError("this system cannot run hooks: it does not fork")
        ours, theirs = socket.socketpair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.number = os.fork()
            if self.number == 0:
                ours.close()
                _serve(theirs, command, timeout, folder)
        except OSError as error:
            raise DiodeError(
                f"no process can be started to run hooks: {error.strerror}",
                hint="see the limits: ulimit -u, or TasksMax= of the service",
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._socket = ours
        self._heard = b""
        self._over = False

    def ask(self, variables: Mapping[str, str]) -> bool:
        """Have the command run with these; False where there is no process any more.

        Values are file system strings. ValueError where they are too long for a message.
        """
        line = json.dumps(dict(variables)).encode() + b"\n"
        if len(line) > MOST:
            raise ValueError(f"a call of {len(line):,} bytes")
        try:
            self._socket.sendall(line)
        except OSError:
            self._over = True
        return not self._over

    def answer(self) -> Said | Ended | None:
        """What it says next, waited for; None when it has ended or `hang_up` was called."""
        while b"\n" not in self._heard:
            try:
                piece = b"" if self._over else self._socket.recv(_PIECE)
            except OSError:
                piece = b""
            if not piece or len(self._heard) > MOST:
                self._over = True
                return None
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return _read(line)

    def hang_up(self) -> None:
        """It is to end, and the command with it. May be called from another thread."""
        self._over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Wait until it has ended."""
        self.hang_up()
        until = time.monotonic() + ORPHANED + GRACE
        with contextlib.suppress(ChildProcessError):
            while not os.waitpid(self.number, os.WNOHANG)[0] and time.monotonic() < until:
                time.sleep(0.002)
        self._socket.close()


def _read(line: bytes) -> Said | Ended | None:
    """An answer; None for one that makes no sense."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        fields = json.loads(line)
        if isinstance(fields, str):
            return Said(escape(fields)[:MOST_LINE])
        return Ended(int(fields[0]), float(fields[1]), bool(fields[2]), int(fields[3]))
    return None


# In the process -----------------------------------------------------------------------------------


def _serve(link: socket.socket, command: list[str], timeout: float, folder: str | None) -> NoReturn:
    """All that this process ever does. Called right after the fork, signals being blocked."""
    try:
        # Handlers, not SIG_IGN, which commands would inherit. The receiver decides what the end is.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        child.begin(NAME, {link.fileno()})
        heard = b""
        while piece := link.recv(_PIECE):
            heard += piece
            if b"\n" in heard:
                line, _, heard = heard.partition(b"\n")
                _Call(link, command, timeout, folder).run(json.loads(line))
            elif len(heard) > MOST:
                break
    except (OSError, ValueError):
        pass  # nobody listens any more
    finally:
        os._exit(0)


def _environment(variables: dict[str, Any]) -> dict[str, bytes]:
    """The whole environment of a command."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    ours = {name: str(value).replace("\0", "\\x00") for name, value in variables.items()}
    return {name: os.fsencode(value) for name, value in ({"PATH": PATH} | kept | ours).items()}


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[None]:
    """Close it in the end."""
    try:
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _Call:
    """One run of the command."""

    link: socket.socket
    command: list[str]
    timeout: float
    folder: str | None
    lines: Bucket = field(default_factory=lambda: Bucket(LINES, LINES_AT_ONCE))
    left_out: int = 0
    _rest: bytes = b""
    _cut: bool = False
    """Whether the line at hand is longer than what is told of it."""

    def run(self, variables: dict[str, Any]) -> None:
        began = time.monotonic()
        path = str(variables.get("DIODE_PATH", PLACE))
        command = [os.fsencode(word.replace(PLACE, path)) for word in self.command]
        try:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._say(f"{os.fsdecode(error.filename or command[0])}: {error.strerror}")
            self._answer([CANNOT, 0.0, False, 0])
            return
        timed_out = self._watch(process, began + self.timeout)
        took = round(time.monotonic() - began, 3)
        self._answer([process.returncode, took, timed_out, self.left_out])

    def _watch(self, process: subprocess.Popen[bytes], until: float) -> bool:
        """Until it has ended; whether it had to be made to."""
        assert process.stdout is not None
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(self.link, 0)  # POLLHUP comes unasked
        if hasattr(os, "pidfd_open"):  # Linux; elsewhere the next look finds out
            process_ends = os.pidfd_open(process.pid)
            poll.register(process_ends, select.POLLIN)
        else:
            process_ends = os.dup(output)
        stops = [(until, signal.SIGTERM), (until + GRACE, signal.SIGKILL)]
        timed_out = orphaned = False
        with process.stdout, closing(process_ends):
            while process.poll() is None:
                now = time.monotonic()
                if stops and now >= stops[0][0]:
                    timed_out = timed_out or not orphaned
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, stops.pop(0)[1])
                events = dict(poll.poll(LOOK))
                if output in events and not self._take(output):
                    poll.unregister(output)
                if events.get(self.link.fileno(), 0) & (select.POLLHUP | select.POLLERR):
                    poll.unregister(self.link)
                    orphaned = True
                    stops = [(now, signal.SIGTERM), (now + ORPHANED, signal.SIGKILL)]
            if timed_out or orphaned:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # whoever is left of its group
            self._take(output)
        self._line(self._rest)
        return timed_out

    def _take(self, output: int) -> bool:
        """Read what there is; False at its end."""
        for _ in range(64):  # and then look at the clock
            try:
                piece = os.read(output, _PIECE)
            except BlockingIOError:
                return True
            if not piece:
                return False
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._line(line)
            if len(self._rest) > MOST_LINE:
                self._line(self._rest[:MOST_LINE])
                self._rest, self._cut = b"", True
        return True

    def _line(self, line: bytes) -> None:
        cut, self._cut = self._cut, False
        if not line.strip() or cut:
            return
        if self.lines.full(time.monotonic()):
            self.left_out += 1
            return
        self.lines.pour()
        self._say(line[:MOST_LINE].decode("utf-8", "surrogateescape"))

    def _say(self, text: str) -> None:
        self._answer(text)

    def _answer(self, message: object) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self.link.sendall(json.dumps(message).encode() + b"\n")
