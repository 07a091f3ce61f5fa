"""Commands from a process in which the libraries are loaded already.

The tests start the program thousands of times, and most of a short command's time is the loading
of numpy and its like. Here one process for each pytest process loads them once; each command is a
fork of it, with standard streams, a folder and an environment of its own, and loads `diode` itself
anew. It is a real process: it can be killed, it confines itself, it exits with its code. Nothing of
`diode` is loaded before the fork, nor what `diode` loads only where it is wanted.

What an interpreter or a library reads from the environment when it starts is as it was when that
process started: where such a variable differs, there is another one.

A request goes over a Unix stream socket: JSON, and the command's three standard streams as
SCM_RIGHTS. The answer is the command's process number, and when it has ended, its exit status, each
8 bytes in the machine's order.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARIES = (
    "click", "concurrent.futures", "crcmod", "ctypes", "dataclasses", "fastcrc", "json", "logging",
    "msgspec", "multiprocessing", "numpy", "selectors", "sqlite3", "subprocess", "zfec",
)  # fmt: skip
READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "OMP_", "OPENBLAS_")  # how they begin
NUMBER = struct.Struct("=q")
LARGEST = 1 << 20  # bytes of a request: names and variables


def run(
    arguments: list[str], stdin: bytes, folder: Path, environment: dict[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """Run `python -m diode` with these; its exit code (less than 0: a signal), stdout, stderr.

    Raises subprocess.TimeoutExpired, after killing it, as `subprocess.run` does.
    """
    at_start = {name: text for name, text in environment.items() if name.startswith(READ_AT_START)}
    request = json.dumps([arguments, os.fspath(folder), environment]).encode()
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_server(tuple(sorted(at_start.items()))))
        socket.send_fds(connection, [request], theirs)
        connection.shutdown(socket.SHUT_WR)
        for each in theirs:
            os.close(each)
        (process,) = _number(connection)
        connection.settimeout(timeout)
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write, pipes[0][1], stdin)
            out, err = (pool.submit(_read, pipe[0]) for pipe in pipes[1:])
            try:
                (status,) = _number(connection)
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            return os.waitstatus_to_exitcode(status), out.result(), err.result()


def _number(connection: socket.socket) -> tuple[int]:
    answer = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    assert len(answer) == NUMBER.size, "the process that starts commands has ended"
    return NUMBER.unpack(answer)


def _write(pipe: int, content: bytes) -> None:
    with os.fdopen(pipe, "wb") as file:
        try:
            file.write(content)
            file.flush()
        except BrokenPipeError:
            pass


def _read(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


@functools.cache
def _server(at_start: tuple[tuple[str, str], ...]) -> str:
    """Start the process that has the libraries, with these variables; where it listens."""
    others = {k: text for k, text in os.environ.items() if not k.startswith(READ_AT_START)}
    folder = tempfile.TemporaryDirectory(prefix="warm")
    address = os.path.join(folder.name, "commands")
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,  # pipes, as the streams of the commands are
        stdout=subprocess.PIPE,
        env=others | dict(at_start),
    )
    assert server.stdout.readline() == b"ready\n"

    def end() -> None:
        server.kill()
        server.communicate()
        folder.cleanup()

    atexit.register(end)
    return address


def _serve(address: str) -> None:
    """Fork for each request a process that starts the command and tells how it ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
            os._exit(0)
        connection.close()


def _attend(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, _, _ = socket.recv_fds(connection, LARGEST, 3)
    while more := connection.recv(LARGEST):
        request += more
    process = os.fork()
    if process == 0:
        connection.close()
        _become(*json.loads(request), streams)
    for each in streams:
        os.close(each)
    connection.sendall(NUMBER.pack(process))
    _, status = os.waitpid(process, 0)
    connection.sendall(NUMBER.pack(status))


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]
) -> None:
    """Be `python -m diode` with these arguments; does not return."""
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[0] = folder
    sys.argv[1:] = arguments
    runpy.run_module("diode", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
