"""Proofs that nothing goes the wrong way, and that both ends confine themselves.

T90 to T100 of the threat model, with the real processes on pseudo-terminals. That no code of the
other side is reachable or loaded is shown in test_layers.py (`no_code_of_the_other_side`);
what a carrier's type and descriptor allow, in test_carrier_serial.py.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from cli import Shell, make
from ptys import Pty, socat_line
from soundserver import sound_server
from test_layers import MODULES, closure, statements, tree

from diode import carrier, confine
from diode.carrier.apart import LINKS, first
from diode.carrier.coupling import Coupling
from diode.confine import landlock
from diode.errors import ConfinementError

ROOT = Path(__file__).resolve().parents[1]
MODEM = "TIOCMGET TIOCMIWAIT TIOCGICOUNT"
READING = re.compile(r"(p?read(v|64|v2)?|recv\w*|p?select6?|epoll_ctl|splice)\(")
WRITING = re.compile(r"(p?write(v|64|v2)?|send\w*|splice)\(")


def _seccomp_is_here() -> bool:
    if importlib.util.find_spec("pyseccomp") is None:
        return False
    try:
        importlib.import_module("pyseccomp")
    except (RuntimeError, OSError):
        return False
    return True


needs_landlock = pytest.mark.skipif(
    landlock.abi() < landlock.OLDEST, reason="this kernel has no Landlock that is new enough"
)
needs_seccomp = pytest.mark.skipif(
    not _seccomp_is_here(), reason="no pyseccomp (pip install pyseccomp; apt install libseccomp2)"
)


# System calls -------------------------------------------------------------------------------


def traced(shell: Shell, path: str, *arguments: object) -> list[str]:
    """Every system call of a run of `diode`, in words; `finish` is the caller's."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    probe = subprocess.run(
        ["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"strace may not trace here: {probe.stderr.strip()}")
    trace = shell.folder / "trace"
    prefix = ("strace", "-f", "-y", "-s", "0", "-o", str(trace))
    done = shell.finish(shell.start(*arguments, prefix=prefix))
    assert done.code == 0, done.err
    calls = [text.split(maxsplit=1)[1] for text in trace.read_text().splitlines()]
    assert any(path in call for call in calls)
    return calls


def opened(calls: list[str], path: str) -> list[str]:
    return [c for c in calls if c.startswith(("open(", "openat(")) and f'"{path}"' in c]


def on_port(calls: list[str], path: str) -> list[str]:
    """Calls on descriptors of the port, and waits for it."""
    return [c for c in calls if f"<{path}" in c and not c.startswith(("open(", "openat("))]


def test_send_never_reads_the_port_and_asks_no_modem_line(shell: Shell) -> None:
    """T90: the whole of a `diode send`, from its start to its end."""
    make(shell.folder / "file", 20_000)
    with Coupling(2_000_000) as line:
        port = line.tx_path
        calls = traced(shell, port, "send", "file", "--to", f"serial:{port}?baud=2000000")
    assert opened(calls, port)
    for call in opened(calls, port):
        assert "O_WRONLY" in call and "O_NOCTTY" in call and "O_RDWR" not in call
    used = on_port(calls, port)
    assert any(c.startswith("write(") for c in used)
    assert [c for c in used if READING.match(c)] == []
    assert [c for c in used if c.startswith(("poll(", "ppoll(")) and "POLLIN" in c] == []
    asked = re.compile("|".join([*MODEM.split(), "TIOCMBIS", "TIOCMBIC", "TIOCMSET"]))
    assert [c for c in calls if asked.search(c)] == []


def test_recv_never_writes_to_the_port(shell: Shell) -> None:
    """T95: opened for reading alone, and nothing but reads and set-up on it."""
    make(shell.folder / "file", 20_000)
    assert shell.run("send", "file", "--to", "file:capture").code == 0
    line = (shell.folder / "capture").read_bytes()
    with Pty(shell.folder / "port") as port:
        trace = shell.folder / "trace"
        feeding = threading.Thread(
            target=lambda: (seen_in(trace, f'"{port.path}"'), feed(port, line))
        )
        feeding.start()
        arguments = ("recv", "inbox", "--once", "--from", f"serial:{port.path}")
        calls = traced(shell, port.path, *arguments)
        feeding.join()
        assert bytes(port.heard) == b""
    assert opened(calls, port.path)
    for call in opened(calls, port.path):
        assert "O_RDONLY" in call and "O_NOCTTY" in call
    used = on_port(calls, port.path)
    assert any(c.startswith("read(") for c in used)
    assert [c for c in used if WRITING.match(c)] == []
    assert [c for c in used if re.search("TIOCM(SET|BIS|BIC)|TIOCSBRK|TCSBRK", c)] == []


def seen_in(trace: Path, word: str) -> None:
    """Wait until a traced process has come so far."""
    until = time.monotonic() + 40
    while time.monotonic() < until:
        if trace.exists() and word in trace.read_text(errors="replace"):
            return
        time.sleep(0.1)


def feed(port: Pty, line: bytes) -> None:
    """Play a line into a port, as a line does: what nobody takes in some seconds is lost."""
    time.sleep(0.5)
    os.set_blocking(port.master, False)
    until = time.monotonic() + 5
    while line and time.monotonic() < until:
        try:
            line = line[os.write(port.master, line[:1024]) :]
            until = time.monotonic() + 5
        except BlockingIOError:
            pass
        time.sleep(0.002)


# Noise into the sender ----------------------------------------------------------------------

TIMELESS = """
import sys, types
from diode.service import sender
sender.time = types.SimpleNamespace(monotonic=lambda: 0.0)  # heartbeats would tell the time
from diode.cli import main
sys.exit(main(sys.argv[1:]))
"""


def transmission(shell: Shell, name: str, noise: bytes) -> tuple[bytes, int]:
    """What a sender puts on its port while noise comes from there, and how much noise did."""
    came = 0
    with Pty(shell.folder / name) as port:
        os.set_blocking(port.master, False)
        arguments = ["send", "file", "--state", name + ".state"]
        arguments += ["--to", f"serial:{port.path}?baud=1000000"]
        process = subprocess.Popen(
            [sys.executable, "-c", TIMELESS, *arguments],
            cwd=shell.folder,
            env=shell.environment | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        port.wait_for(1)
        while came < len(noise):
            try:
                came += os.write(port.master, noise[came : came + 4096])
            except BlockingIOError:  # the terminal is full of what nobody reads
                termios.tcflush(port._slave, termios.TCIFLUSH)
                with contextlib.suppress(OSError, termios.error):
                    termios.tcsendbreak(port.master, 0)
        running = process.poll() is None
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        assert running or not noise, "the noise came too late"
        time.sleep(0.2)
        return bytes(port.heard), came


def test_a_megabyte_into_the_sender_changes_nothing(shell: Shell) -> None:
    """T91, T92: noise, XOFF and breaks towards the sender; not one byte of its output changes."""
    make(shell.folder / "file", 150_000)
    (shell.folder / "quiet.state").mkdir()
    identity = b'{"sender":7,"number":0,"frames":0}'
    (shell.folder / "quiet.state/sender.json").write_bytes(identity)
    shutil.copytree(shell.folder / "quiet.state", shell.folder / "loud.state")
    quiet, _ = transmission(shell, "quiet", b"")
    noise = (b"\x13" * 64 + os.urandom(190) + b"\x03\x1a\x00") * 4100
    loud, came = transmission(shell, "loud", noise)
    assert came > 1_000_000
    assert len(quiet) > 150_000
    assert loud == quiet


# Confinement --------------------------------------------------------------------------------

ATTEMPTS = """
import ctypes, errno, fcntl, json, os, resource, socket, sys, termios

libc = ctypes.CDLL(None)

def attempt(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    except termios.error as error:
        return errno.errorcode[error.args[0]]
    return "done"

def local_connect():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("nowhere")

def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))

def create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))

def spawn(program):
    pid = os.posix_spawn(program, [program], {})
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.EPERM, "")

def found(**more):
    return {
        "exec": attempt(os.execv, "/bin/true", ["true"]),
        "spawn": attempt(spawn, "/bin/true"),
        "socket": attempt(socket.socket),
        "udp": attempt(udp),
        "unix": attempt(local_connect),
        "read outside": attempt(open, "/etc/passwd"),
        "list outside": attempt(os.listdir, "/"),
        "write outside": attempt(create, "outside"),
        "remove outside": attempt(os.unlink, "victim"),
        "signal": attempt(os.kill, os.getppid(), 0),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "umask": os.umask(0o77),
        "no_new_privs": libc.prctl(39, 0, 0, 0, 0),
        "seccomp": libc.prctl(21, 0, 0, 0, 0),
        **more,
    }

def tell(**more):
    print(json.dumps(found(**more)), file=sys.stderr, flush=True)
"""

RECEIVER = """
import fcntl, os, sys
from diode.carrier.apart import apart
from diode.service import receiver
run = receiver.Session.run
both = apart(os.open(sys.argv[2], os.O_RDWR | os.O_NOCTTY))

def attempts(session, stop):
    os.makedirs("inbox/inner")
    tell(
        **{
            "symlink": attempt(os.symlink, "/etc/passwd", "inbox/link"),
            "fifo": attempt(os.mkfifo, "inbox/fifo"),
            "make inside": attempt(create, "inbox/inner/file"),
            "write to link": attempt(os.write, both, b"x"),
            "drive modem lines": attempt(fcntl.ioctl, both, termios.TIOCMSET, bytes(4)),
            "open to write": attempt(os.open, sys.argv[2], os.O_WRONLY | os.O_NOCTTY),
            "open to read": attempt(os.open, sys.argv[2], os.O_RDONLY | os.O_NOCTTY),
        }
    )
    run(session, stop)

receiver.Session.run = attempts
"""

READER = """
import fcntl, os, sys
from diode.carrier import reader
from diode.carrier.apart import apart
from diode.cli import confinement
confine, drain = confinement.reader, reader.Pump.drain
port, both = sys.argv[2], []

def opening(*arguments):
    both.append(apart(os.open(port, os.O_RDWR | os.O_NOCTTY)))
    return confine(*arguments)

def attempts(pump, medium):
    pump.notice(
        json.dumps(
            found(
                **{
                    "read inbox": attempt(os.listdir, "inbox"),
                    "write inbox": attempt(create, "inbox/file"),
                    "make folder": attempt(os.mkdir, "inbox/folder"),
                    "remove in inbox": attempt(os.unlink, "inbox/there"),
                    "truncate": attempt(os.truncate, "inbox/there", 0),
                    "own program": attempt(open, "/proc/self/exe"),
                    "write to link": attempt(os.write, both[0], b"x"),
                    "drive modem lines": attempt(fcntl.ioctl, both[0], termios.TIOCMSET, bytes(4)),
                    "open to write": attempt(os.open, port, os.O_WRONLY | os.O_NOCTTY),
                    "open to read": attempt(os.open, port, os.O_RDONLY | os.O_NOCTTY),
                }
            )
        )
    )
    drain(pump, medium)

confinement.reader, reader.Pump.drain = opening, attempts
"""

SENDER = """
import fcntl, os, sys
from diode.carrier.apart import apart
from diode.cli import send
transmit = send.transmit
both = apart(os.open(sys.argv[2], os.O_RDWR | os.O_NOCTTY))

def attempts(*arguments, **options):
    tell(
        **{
            "read from link": attempt(os.read, both, 1),
            "readv from link": attempt(os.readv, both, [bytearray(1)]),
            "ask modem lines": attempt(fcntl.ioctl, both, termios.TIOCMGET, bytes(4)),
            "wait for modem lines": attempt(fcntl.ioctl, both, termios.TIOCMIWAIT, 0),
            "count interrupts": attempt(fcntl.ioctl, both, termios.TIOCGICOUNT, bytes(80)),
            "type into terminal": attempt(fcntl.ioctl, both, termios.TIOCSTI, b"x"),
            "open to read": attempt(os.open, sys.argv[2], os.O_RDONLY | os.O_NOCTTY),
            "open to write": attempt(os.open, sys.argv[2], os.O_WRONLY | os.O_NOCTTY),
        }
    )
    transmit(*arguments, **options)

send.transmit = attempts
"""
MAIN = "\nfrom diode.cli import main\nsys.exit(main(sys.argv[3:]))\n"

DENIED = {
    "exec": {"EPERM", "EACCES"},
    "spawn": {"EPERM", "EACCES"},
    "read outside": {"EACCES"},
    "list outside": {"EACCES"},
    "write outside": {"EACCES"},
    "remove outside": {"EACCES"},
}


def attempts(shell: Shell, program: str, port: str, *arguments: str, code: int = 0) -> dict:
    """Run `diode` with a program that tries things once it is confined; what became of them."""
    (shell.folder / "victim").write_text("still here")
    os.chmod(shell.folder, 0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", ATTEMPTS + program + MAIN, "-", port, *arguments],
        cwd=shell.folder,
        # the programs load numpy before the command line could ask it for no threads
        env=shell.environment | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (out + err).decode()
    assert (shell.folder / "victim").read_text() == "still here"
    lines = err.decode().splitlines() + [
        json.loads(line).get("message", "") for line in out.decode().splitlines()
    ]
    found = json.loads(next(line for line in lines if line.startswith('{"exec"')))
    found["out"] = out.decode()
    return found


@needs_landlock
@needs_seccomp
def test_receiver_can_do_nothing_but_receive(shell: Shell) -> None:
    """T95, T96, T100: from within a receiver that still delivers."""
    content = make(shell.folder / "d/file", 20_000)
    assert shell.run("send", "d", "--to", "file:capture").code == 0
    with Pty(shell.folder / "port") as port:
        line = (shell.folder / "capture").read_bytes()
        feeding = threading.Thread(target=feed_when, args=(shell, "inbox/inner/file", port, line))
        feeding.start()
        found = attempts(
            shell, RECEIVER, port.path,
            *("recv", "inbox", "--once", "--json", "--sandbox", "required"),
            *("--from", f"serial:{port.path}"),
        )  # fmt: skip
        feeding.join()
        assert bytes(port.heard) == b""
    assert (shell.folder / "inbox/d/file").read_bytes() == content
    assert re.search(r'"sandbox": "landlock ABI \d+, seccomp on"', found["out"])
    for what, errors in DENIED.items():
        assert found[what] in errors, what
    for what in ("socket", "udp", "unix", "drive modem lines"):
        assert found[what] == "EPERM", what
    assert found["symlink"] in {"EPERM", "EACCES"}
    assert found["fifo"] in {"EPERM", "EACCES"}
    assert found["write to link"] == "EBADF"
    assert found["make inside"] == "done"
    assert found["open to read"] == found["open to write"] == "EACCES"  # that is the reader's
    assert found["core"] == [0, 0]
    assert found["umask"] == 0o027
    assert (found["no_new_privs"], found["seccomp"]) == (1, 2)
    if landlock.abi() >= 6:
        assert found["signal"] == "EPERM"


@needs_landlock
@needs_seccomp
def test_the_reader_can_open_no_file(shell: Shell) -> None:
    """T95, T96: from within the process that has the link, which goes on reading."""
    content = make(shell.folder / "d/file", 20_000)
    assert shell.run("send", "d", "--to", "file:capture").code == 0
    make(shell.folder / "inbox/there", 10)
    with Pty(shell.folder / "port") as port:
        line = (shell.folder / "capture").read_bytes()
        feeding = threading.Thread(target=feed_when, args=(shell, "inbox/.diode", port, line))
        feeding.start()
        found = attempts(
            shell, READER, port.path,
            *("recv", "inbox", "--once", "--json", "--sandbox", "required"),
            *("--from", f"serial:{port.path}"),
        )  # fmt: skip
        feeding.join()
        assert bytes(port.heard) == b""
    assert (shell.folder / "inbox/d/file").read_bytes() == content
    assert (shell.folder / "inbox/there").stat().st_size == 10
    assert re.search(r'"reader": "landlock ABI \d+, seccomp on"', found["out"])
    for what, errors in DENIED.items():
        assert found[what] in errors, what
    inbox = ("read inbox", "write inbox", "make folder", "remove in inbox", "own program")
    for what in inbox:
        assert found[what] == "EACCES", what
    assert found["truncate"] == ("EACCES" if landlock.abi() >= 3 else "done")
    for what in ("socket", "udp", "unix", "drive modem lines"):
        assert found[what] == "EPERM", what
    assert found["write to link"] == "EBADF"
    assert found["open to read"] == "done"  # it may come back
    assert found["open to write"] == "EACCES"
    assert found["core"] == [0, 0]
    assert found["umask"] == 0o077
    assert (found["no_new_privs"], found["seccomp"]) == (1, 2)
    if landlock.abi() >= 6:
        assert found["signal"] == "EPERM"


def test_who_has_the_files_never_has_the_link(shell: Shell) -> None:
    """T95: what the two processes of a receiver hold, seen from outside."""
    if not Path("/proc/self/fdinfo").is_dir():
        pytest.skip("this system does not tell what is open")
    with Pty(shell.folder / "port") as port:
        process = shell.start("recv", "inbox", "--json", "--from", f"serial:{port.path}")
        shell.listening(process)
        reader = shell.reader(process)
        inside, outside = held(reader), held(process.pid)
        assert [number for number, name in outside.items() if name == port.path] == []
        (link,) = [number for number, name in inside.items() if name == port.path]
        info = Path(f"/proc/{reader}/fdinfo/{link}").read_text()
        flags = int(re.search(r"^flags:\s*0([0-7]+)", info, re.MULTILINE)[1], 8)
        assert flags & os.O_ACCMODE == os.O_RDONLY
        assert [name for name in outside.values() if "/inbox" in name] != []
        shared = ("anon_inode:[eventfd]", "pipe:", os.devnull)
        assert [n for n in inside.values() if n != port.path and not n.startswith(shared)] == []


def held(process: int) -> dict[int, str]:
    """Descriptors of a process and what they are."""
    found = {}
    for each in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            found[int(each.name)] = os.readlink(each)
    return found


def feed_when(shell: Shell, there: str, port: Pty, line: bytes) -> None:
    """Play a line once a receiver has made that file or folder."""
    until = time.monotonic() + 30
    while not (shell.folder / there).exists() and time.monotonic() < until:
        time.sleep(0.05)
    feed(port, line)


@needs_landlock
@needs_seccomp
def test_sender_cannot_read_from_its_link(shell: Shell) -> None:
    """T90, T100: not even on a descriptor that is good for both directions."""
    make(shell.folder / "file", 20_000)
    with Pty(shell.folder / "port") as port:
        os.write(port.master, b"a word for the sender")
        found = attempts(
            shell, SENDER, port.path,
            *("send", "file", "--json", "--sandbox", "required"),
            *("--to", f"serial:{port.path}?baud=2000000"),
        )  # fmt: skip
        time.sleep(0.2)
        line = bytes(port.heard)
    (shell.folder / "capture").write_bytes(line)
    assert shell.run("recv", "inbox", "--from", "file:capture").code == 0
    for what, errors in DENIED.items():
        assert found[what] in errors, what
    assert found["read from link"] == found["readv from link"] == "EBADF"
    for what in ("ask modem lines", "wait for modem lines", "count interrupts"):
        assert found[what] == "EPERM", what
    for what in ("socket", "udp", "unix", "type into terminal"):
        assert found[what] == "EPERM", what
    assert found["open to write"] == "done"  # it may come back
    assert found["open to read"] == "EACCES"
    assert found["core"] == [0, 0]
    assert found["umask"] == 0o077


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("verb", ["inspect", "linktest"])
def test_what_only_looks_can_write_its_result_and_nothing_else(shell: Shell, verb: str) -> None:
    """T96: `inspect` and `linktest recv`, from within, while they read something hostile."""
    make(shell.folder / "file", 20_000)
    assert shell.run("send", "file", "--to", "file:capture").code == 0
    sent = shell.run("linktest", "send", "--to", "file:test", "--seconds", "0.1")
    assert sent.code == 0, sent.err
    arguments = {
        "inspect": ("inspect", "capture", "--json", "--sandbox", "required"),
        "linktest": (
            *("linktest", "recv", "--from", "file:test", "--save", "result", "--json"),
            *("--want", "1e-2", "--sandbox", "required"),
        ),
    }
    found = attempts(shell, LOOKER, os.devnull, *arguments[verb])
    for what, errors in DENIED.items():
        assert found[what] in errors, what
    for what in ("socket", "udp", "unix"):
        assert found[what] == "EPERM", what
    assert found["read other"] == "EACCES"
    assert found["read capture"] == ("done" if verb == "inspect" else "EACCES")
    assert found["write capture"] == "EACCES"
    assert (found["no_new_privs"], found["seccomp"]) == (1, 2)
    if verb == "linktest":
        assert json.loads((shell.folder / "result").read_text())["event"] == "linktest"


LOOKER = """
import os
from diode import line
decoder = line.decoder
told = []

def attempts(name):
    if not told:
        told.append(name)
        tell(
            **{
                "read other": attempt(open, "file"),
                "read capture": attempt(open, "capture"),
                "write capture": attempt(os.open, "capture", os.O_WRONLY),
            }
        )
    return decoder(name)

line.decoder = attempts
"""
SOCKET = """
import diode.carrier
opened = []

def keeping(function):
    def opens(*arguments, **options):
        opened.append(function(*arguments, **options))
        return opened[-1]
    return opens

def tell_of_socket(tell=tell):
    link = opened[0]._socket
    link.setblocking(False)
    tell(
        **{
            "recv": attempt(link.recv, 1, socket.MSG_DONTWAIT),
            "recvmsg": attempt(link.recvmsg, 1, 0, socket.MSG_DONTWAIT),
            "read": attempt(os.read, link.fileno(), 1),
            "sendto": attempt(link.sendto, b"x", ("127.0.0.1", 9)),
            "sendmsg": attempt(link.sendmsg, [b"x"], [], 0, ("127.0.0.1", 9)),
            "write": attempt(os.write, link.fileno(), b"x"),
            "connect": attempt(link.connect, ("127.0.0.1", 9)),
            "bind": attempt(link.bind, ("127.0.0.1", 0)),
            "listen": attempt(link.listen),
            "take off the filter": attempt(link.setsockopt, socket.SOL_SOCKET, 27, 0),
        }
    )
"""
SOCKET_SENDER = (
    SOCKET
    + """
from diode.cli import send
transmit = send.transmit
diode.carrier.open_sending = keeping(diode.carrier.open_sending)

def attempts(*arguments, **options):
    tell_of_socket()
    transmit(*arguments, **options)

send.transmit = attempts
"""
)
SOCKET_RECEIVER = (
    SOCKET
    + """
from diode.carrier import reader
diode.carrier.open_receiving = keeping(diode.carrier.open_receiving)

def attempts(pump, medium):
    tell_of_socket(lambda **more: pump.notice(json.dumps(found(**more))))

reader.Pump.drain = attempts
"""
)


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("sends", [True, False])
def test_a_socket_is_good_for_its_direction_only(shell: Shell, *, sends: bool) -> None:
    """T94, T95: neither end can turn its socket round, nor make another one."""
    make(shell.folder / "file", 20_000)
    options = ("--json", "--sandbox", "required")
    if sends:
        arguments = ("send", "file", "--to", "udp://127.0.0.1:9", *options)
        found = attempts(shell, SOCKET_SENDER, "-", *arguments)
        assert {found[what] for what in ("recv", "recvmsg", "read")} == {"EBADF"}
        assert {found[what] for what in ("sendto", "sendmsg")} == {"done"}
    else:
        # Nobody sends, and the carrier ends at once: what matters is what is refused.
        arguments = ("recv", "inbox", "--from", "udp://127.0.0.1:0", *options)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = tuple(a.replace(":0", f":{port}") for a in arguments)
        found = attempts(shell, SOCKET_RECEIVER, "-", *arguments, code=4)
        assert {found[what] for what in ("sendto", "sendmsg", "write")} == {"EBADF"}
        assert {found[what] for what in ("recv", "recvmsg")} == {"EAGAIN"}
    for what in ("connect", "bind", "listen", "take off the filter", "socket", "udp", "unix"):
        assert found[what] == "EPERM", what


def test_the_sender_of_datagrams_never_reads_its_socket(shell: Shell) -> None:
    """T94: by the system calls of a whole `send`."""
    make(shell.folder / "file", 200_000)
    calls = traced(shell, "socket(AF_INET", "send", "file", "--to", "udp://127.0.0.1:9")
    made = [c for c in calls if c.startswith("socket(AF_INET")]
    assert len(made) == 1 and "SOCK_DGRAM" in made[0]
    link = re.compile(r"\w+\((\d+)<")
    on_socket = [c for c in calls if (found := link.match(c)) and int(found[1]) >= first()]
    assert any(c.startswith("sendmsg(") for c in on_socket)
    assert [c for c in on_socket if READING.match(c)] == []
    assert [c for c in calls if c.startswith(("connect(", "bind(")) and "AF_INET" in c] == []
    assert [
        c
        for c in calls
        if c.startswith(("poll(", "ppoll(", "epoll_ctl(")) and f"fd={first()}<" in c
    ] == []


FREE = """
import os, resource, sys
from diode.cli import send
transmit = send.transmit

def look(*arguments, **options):
    status = open("/proc/thread-self/status").read()
    assert "Seccomp:\\t0" in status, status
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    open("/etc/passwd").close()
    transmit(*arguments, **options)

send.transmit = look
from diode.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_a_sandbox(shell: Shell) -> None:
    """It is said aloud, and core dumps are off all the same."""
    make(shell.folder / "file", 100)
    done = subprocess.run(
        [sys.executable, "-c", FREE, "send", "file", "--no-sandbox", "--to", "file:capture"],
        cwd=shell.folder,
        env=shell.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not confined" in done.stderr
    ran = shell.run("recv", "inbox", "--from", "file:capture", "--json", "--no-sandbox")
    assert ran.events("listening")[0]["sandbox"] == "off"
    assert "not confined" in ran.events("warning")[0]["message"]
    both = shell.run(
        "recv", "inbox", "--from", "file:capture", "--no-sandbox", "--sandbox=required"
    )
    assert both.code == 2


def test_what_cannot_be_had_is_said(shell: Shell) -> None:
    """Without the library there is no seccomp: told with -v, an error where it is required."""
    make(shell.folder / "file", 100)
    (shell.folder / "pyseccomp.py").write_text("raise ImportError('not here')")
    ran = shell.run("send", "file", "--to", "file:capture", "-v")
    assert ran.code == 0
    assert "no seccomp (pyseccomp is not installed)" in " ".join(ran.err.split())
    ran = shell.run("send", "file", "--to", "file:other", "--sandbox", "required")
    assert ran.code == 1
    assert "no seccomp" in ran.err and "hint:" in ran.err
    (shell.folder / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')")
    ran = shell.run("recv", "inbox", "--from", "file:capture", "-v")
    assert ran.code == 0
    assert "no seccomp (libseccomp is not installed)" in " ".join(ran.err.split())


@pytest.mark.parametrize(("abi", "told"), [(0, "not to be had"), (1, "too old (ABI 1)")])
def test_a_kernel_without_landlock(monkeypatch, abi: int, told: str) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    monkeypatch.setattr(landlock, "restrict", lambda *_, **__: pytest.fail("it is not there"))
    monkeypatch.setattr(confine, "_library", lambda _done: None)
    done = confine.confine(confine.Bounds(sends=True))
    assert str(done) == "none"
    assert told in done.missing[0]
    with pytest.raises(ConfinementError, match=re.escape(told)):
        confine.required(done)


def test_an_older_landlock_is_used_and_its_gaps_are_named(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    monkeypatch.setattr(
        landlock, "restrict", lambda version, _rules, network: asked.append((version, network))
    )
    monkeypatch.setattr(confine, "_library", lambda _done: None)
    monkeypatch.setattr(confine, "_threads", lambda: 3)
    done = confine.confine(confine.Bounds(sends=False))
    assert asked == [(3, False)]
    assert str(done) == "landlock ABI 3"
    assert "TCP, ioctls on devices" in done.missing[0]
    assert "2 threads" in done.missing[1]


@pytest.mark.parametrize(
    ("mode", "umask"), [(0, 0o077), (0o400, 0o077), (0o440, 0o027), (0o444, 0o022), (0o644, 0o022)]
)
def test_who_may_read_files_may_enter_their_folders(mode: int, umask: int) -> None:
    assert confine.umask_for(mode) == umask


def test_folders_of_files_for_a_group(shell: Shell) -> None:
    make(shell.folder / "d/file", 100)
    assert shell.run("send", "d", "--to", "file:capture").code == 0
    assert shell.run("recv", "inbox", "--from", "file:capture").code == 0
    assert (shell.folder / "inbox/d").stat().st_mode & 0o777 == 0o750
    assert (shell.folder / "inbox/d/file").stat().st_mode & 0o777 == 0o440
    assert shell.run("recv", "own", "--mode", "0400", "--from", "file:capture").code == 0
    assert (shell.folder / "own/d").stat().st_mode & 0o777 == 0o700


def test_the_link_has_a_number_that_nothing_else_gets(tmp_path: Path) -> None:
    with Pty(tmp_path / "port") as port:
        sender = carrier.open_sending(f"serial:{port.path}")
        descriptor = sender._port._fd
        assert first() <= descriptor < first() + LINKS
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.read(descriptor, 1)
        sender.close()
        receiver = carrier.open_receiving(f"serial:{port.path}")
        descriptor = receiver._port._fd
        assert first() <= descriptor < first() + LINKS
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.write(descriptor, b"x")
        receiver.close()


def test_few_descriptors_are_enough(shell: Shell) -> None:
    content = make(shell.folder / "file", 20_000)
    with socat_line(shell.folder) as (tx, rx):
        limited = ("prlimit", "--nofile=32:32")
        if shutil.which("prlimit") is None:
            pytest.skip("prlimit is not installed (apt install util-linux)")
        receiver = shell.start(
            "recv", "inbox", "--json", "--once", "--from", f"serial:{rx}", prefix=limited
        )
        shell.listening(receiver)
        sent = shell.finish(shell.start("send", "file", "--to", f"serial:{tx}", prefix=limited))
        assert sent.code == 0, sent.err
        assert shell.finish(receiver).code == 0
    assert (shell.folder / "inbox/file").read_bytes() == content


# Nothing that worked is forbidden -----------------------------------------------------------


def test_a_confined_sender_finds_its_port_again(shell: Shell) -> None:
    make(shell.folder / "file", 100_000)
    link = shell.folder / "port"
    with Pty(link) as port:
        sender = shell.start("send", "file", "--to", f"serial:{link}?baud=460800", "-v")
        assert len(port.wait_for(20_000)) >= 20_000
    with Pty(link) as port:
        ran = shell.finish(sender)
        time.sleep(0.2)
        assert len(port.heard) > 20_000
    assert ran.code == 0, ran.err
    assert "back, going on" in ran.err


def test_a_confined_receiver_finds_its_port_again(shell: Shell) -> None:
    content = make(shell.folder / "file", 50_000)
    assert shell.run("send", "file", "--to", "file:capture").code == 0
    line = (shell.folder / "capture").read_bytes()
    link = shell.folder / "port"
    with Pty(link) as port:
        receiver = shell.start("recv", "inbox", "--json", "--once", "--from", f"serial:{link}")
        shell.listening(receiver)
        feed(port, line[:20_000])
    with Pty(link) as port:
        while (told := json.loads(receiver.stdout.readline()))["event"] != "warning":
            pass
        while "back" not in json.loads(receiver.stdout.readline()).get("message", ""):
            pass
        feed(port, line[20_000:])
        feed(port, line[:20_000])
        ran = shell.finish(receiver)
    assert "gone" in told["message"]
    assert ran.code in (0, 3), ran.err
    assert (shell.folder / "inbox/file").read_bytes() == content


def test_streams_and_folders_elsewhere(shell: Shell, tmp_path: Path) -> None:
    """Temporary folders go, a state folder may be anywhere, and damage on purpose works."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    content = make(shell.folder / "file", 50_000)
    environment = shell.environment | {"TMPDIR": str(temporary)}
    me = [sys.executable, "-m", "diode"]
    sent = subprocess.run(
        [*me, "send", "-", "--name", "stream", "--to", "-", "--state", "sender"],
        *(), input=content, capture_output=True, cwd=shell.folder, env=environment, check=True,
    )  # fmt: skip
    heard = subprocess.run(
        [*me, "recv", "-", "--from", "-", "--impair", "flip=1e-5,seed=1"],
        *(), input=sent.stdout, capture_output=True, cwd=shell.folder, env=environment, check=True,
    )  # fmt: skip
    assert heard.stdout == content
    assert list(temporary.iterdir()) == []
    (shell.folder / "capture").write_bytes(sent.stdout)
    ran = shell.run("recv", "a/inbox", "--state", "b/state", "--from", "file:capture")
    assert ran.code == 0, ran.err
    assert (shell.folder / "a/inbox/stream").read_bytes() == content


def test_live_sound(shell: Shell, tmp_path: Path, monkeypatch) -> None:
    """PortAudio's threads and the sound server's socket survive the confinement."""
    with sound_server(tmp_path / "server") as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        content = make(shell.folder / "file", 300)
        url = "audio:?device=pulse&modem=cable"
        receiver = shell.start("recv", "inbox", "--json", "--once", "--from", url)
        shell.listening(receiver)
        sent = shell.run("send", "file", "--to", url, "-v")
        if (sent.code, "the device is gone" in sent.err) == (10, True):
            sent = shell.run("send", "file", "--to", url, "-v")  # the server ended the stream
        assert sent.code == 0, sent.err
        assert shell.finish(receiver).code == 0
    assert (shell.folder / "inbox/file").read_bytes() == content


# What leaks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carrier_name", "options"),
    [("file:{}", ["--line", "cobs"]), ("file:{}", ["--line", "rs"]), ("wav:{}?modem=cable", [])],
)
def test_unused_bytes_hold_nothing_of_the_heap(
    shell: Shell, carrier_name: str, options: list[str]
) -> None:
    """T99: the same files and state give the same bytes, whatever was in memory before."""
    make(shell.folder / "d/one", 3_001)
    make(shell.folder / "d/two", 7)
    (shell.folder / "d/empty").touch()
    lines = []
    for run, perturb in enumerate(("85", "170")):
        (shell.folder / f"state{run}").mkdir()
        identity = b'{"sender":9,"number":3,"frames":100}'
        (shell.folder / f"state{run}/sender.json").write_bytes(identity)
        where = ["--state", f"state{run}", "--to", carrier_name.format(f"line{run}")]
        memory = {"MALLOC_PERTURB_": perturb, "PYTHONHASHSEED": perturb, "PYTHONMALLOC": "malloc"}
        done = subprocess.run(
            [sys.executable, "-m", "diode", "send", "d", "--passes", "2", *options, *where],
            cwd=shell.folder,
            env=shell.environment | memory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines.append((shell.folder / f"line{run}").read_bytes())
    assert len(lines[0]) > 3_000
    assert lines[0] == lines[1]


def test_a_secret_key_is_never_shown(shell: Shell) -> None:
    """T100: not in what is said, in what is sent, in the state; on the command line is its file."""
    make(shell.folder / "file", 1_000)
    assert shell.run("keygen", "key").code == 0
    secret = (shell.folder / "key").read_text().split()[-1]
    assert len(secret) > 30
    ran = shell.run("send", "file", "--sign", "key", "--to", "file:capture", "-v", "--sandbox=auto")
    assert ran.code == 0, ran.err
    public = shell.folder / "key.pub"
    heard = shell.run("recv", "inbox", "--verify", public, "--from", "file:capture", "--json", "-v")
    assert heard.code == 0, heard.err
    for said in (ran.out, ran.err, heard.out, heard.err):
        assert secret not in said
    for path in shell.folder.rglob("*"):
        if path.is_file() and path.name != "key":
            assert secret.encode() not in path.read_bytes(), path
    os.chmod(shell.folder / "key", 0o640)
    ran = shell.run("send", "file", "--sign", "key", "--to", "file:capture")
    assert ran.code != 0
    assert secret not in ran.err


def test_no_archive_is_opened() -> None:
    """T31: nothing that runs in a receiver knows an archive, a compression or a pickle."""
    archives = {"tarfile", "zipfile", "gzip", "bz2", "lzma", "zlib", "zstandard"}
    objects = {"pickle", "marshal", "shelve", "xml", "yaml"}
    for name in closure("diode.cli.recv"):
        found = {module.partition(".")[0] for module in foreign(name)}
        assert not found & (archives | objects), name


def foreign(name: str) -> set[str]:
    """All modules that one of ours imports, by whatever name."""
    found = set()
    for statement, _ in statements(tree(name)):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            found.add(statement.module or "")
    return found


def test_the_time_of_day_is_only_written_down() -> None:
    """T69, T70: the ledger and the log ask for it, which write it for people, and what shows people
    how a receiver is. Records have times of their own: those of their sources, and when they were
    heard; how long a database keeps them goes by the latter.
    """
    asks = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"time.time", "time.time_ns"}
    }
    assert asks == {
        "diode.sink.ledger",
        "diode.service.spool",
        "diode.cli.run_told",
        "diode.doctor.clock",
        "diode.cli.log",
        "diode.service.reading_health",
        "diode.service.vitals",
        *(f"diode.acquire.{name}" for name in ("lines", "modbus", "mqtt", "opcua", "syslog")),
        "diode.publish.sqlite",
        "diode.service.record_delivery",
        "diode.service.record_presence",
    }
    assert {name for name in MODULES if "datetime" in foreign(name)} == {
        *("diode.acquire.lines", "diode.publish.lines"),  # which read and write times of others
        *("diode.opcua", "diode.acquire.opcua", "diode.publish.opcua"),
    }
