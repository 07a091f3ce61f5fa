import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time as real_time
from pathlib import Path

import pytest
from ptys import FakeTime, Pty, batch, noise, socat_line

from diode.carrier import open_receiving, open_sending, ports, serial, terminal
from diode.carrier.pace import LEAD
from diode.errors import CarrierError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="pseudo-terminals as Linux has them"
)


@pytest.fixture
def pty(tmp_path):
    with Pty(tmp_path / "port") as terminal:
        yield terminal


def read_until(carrier, count):
    heard = b""
    while len(heard) < count and (part := carrier.read(5)):
        heard += part
    return heard


def test_round_trip_over_a_one_way_line(tmp_path):
    data = noise(300_000)
    with socat_line(tmp_path) as (tx, rx):
        receiver = open_receiving(f"serial:{rx}?baud=12M")
        sender = open_sending(f"serial:{tx}?baud=12M")
        assert sender.rate == receiver.rate == 1.2e6
        thread = threading.Thread(target=lambda: (sender.write(batch(data)), sender.drain()))
        thread.start()
        heard = read_until(receiver, len(data))
        thread.join()
        sender.close()
        receiver.close()
    assert heard == data


@pytest.mark.parametrize("baud", [300, 115_200, 2_000_000, 12_000_000])
def test_paced_to_the_line(pty, baud):
    time = FakeTime(overshoot=0.0001)
    seconds = 1.0 if baud > 9600 else 3.0
    data = noise(int(baud / 10 * seconds))
    sender = open_sending(f"serial:{pty.path}?baud={baud}", clock=time.clock, sleep=time.sleep)
    start = time.now
    sender.write(batch(data))
    assert time.now - start == pytest.approx(seconds - LEAD, rel=0.03)
    sender.drain()
    assert time.now - start == pytest.approx(seconds, rel=0.01)
    assert pty.wait_for(len(data)) == data
    sender.close()


def test_never_more_than_50_ms_ahead(pty, monkeypatch):
    time = FakeTime(overshoot=0.0001)
    sender = open_sending(f"serial:{pty.path}?baud=1M", clock=time.clock, sleep=time.sleep)
    sent = []
    write = terminal.SendingTerminal.write

    def noted(port, data):
        sent.append((time.now, len(data)))
        write(port, data)

    monkeypatch.setattr(terminal.SendingTerminal, "write", noted)
    for stall in (0, 0.5, 0.03):
        time.now += stall
        begin, out = time.now, 0
        sent.clear()
        sender.write(batch(noise(50_000)))
        for now, count in sent:
            out += count
            assert count <= 1000
            assert out <= (now - begin + LEAD) * 100_000 + 1e-3
    sender.close()


def test_the_drivers_word_is_heard(pty, monkeypatch):
    time = FakeTime()
    queue = [20_000, 11_000, 5_000]
    sender = open_sending(f"serial:{pty.path}?baud=1M", clock=time.clock, sleep=time.sleep)
    monkeypatch.setattr(terminal.SendingTerminal, "queued", lambda _: queue.pop(0))
    sender.write(batch(b"x"))
    assert time.sleeps == [pytest.approx(0.15), pytest.approx(0.06)]
    sender.close()


def test_raw_8n1_without_any_handshake(pty):
    for opener, mode in ((open_sending, os.O_WRONLY), (open_receiving, os.O_RDONLY)):
        carrier = opener(f"serial:{pty.path}?baud=250000")
        fd = carrier._port._fd
        iflag, oflag, cflag, lflag, _, _, cc = termios.tcgetattr(fd)
        assert (iflag, oflag, lflag) == (termios.IGNBRK, 0, 0)
        off = termios.CRTSCTS | termios.PARENB | termios.CSTOPB | termios.HUPCL
        assert not cflag & off
        assert cflag & termios.CLOCAL and cflag & termios.CSIZE == termios.CS8
        assert cc[termios.VMIN] in (1, b"\x01") and cc[termios.VTIME] in (0, b"\0")
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == mode
        assert not os.get_inheritable(fd)
        carrier.close()


def test_only_the_receiver_enables_the_receiver():
    assert not terminal._control(receiving=False) & termios.CREAD
    assert terminal._control(receiving=True) & termios.CREAD


def test_descriptors_have_one_direction(pty):
    sender = open_sending(f"serial:{pty.path}")
    with pytest.raises(OSError) as caught:
        os.read(sender._port._fd, 1)
    assert caught.value.errno == errno.EBADF
    sender.close()
    receiver = open_receiving(f"serial:{pty.path}")
    with pytest.raises(OSError) as caught:
        os.write(receiver._port._fd, b"x")
    assert caught.value.errno == errno.EBADF
    receiver.close()


def test_nothing_from_the_far_end_stops_the_sender(pty):
    os.set_blocking(pty.master, False)
    sender = open_sending(f"serial:{pty.path}?baud=2M")
    data = noise(50_000)
    for start in range(0, len(data), 10_000):
        with contextlib.suppress(BlockingIOError):  # it is full: nobody reads it
            os.write(pty.master, b"\x13\x03\x1c" * 2000)  # XOFF, interrupt, quit
        sender.write(batch(data[start : start + 10_000]))
    sender.drain()
    assert pty.wait_for(len(data)) == data
    sender.close()


def test_rounded_rate_is_mentioned(pty, monkeypatch):
    for made, mentioned in ((115_200, False), (116_000, False), (119_000, True)):
        said = []
        monkeypatch.setattr(terminal, "set_up", lambda *_, made=made, **__: made)
        sender = open_sending(f"serial:{pty.path}", notice=said.append)
        assert sender.rate == made / 10
        assert bool(said) is mentioned
        assert all("119000" in text for text in said)
        sender.close()


def test_any_rate_is_read_back(pty):
    sender = open_sending(f"serial:{pty.path}?baud=123457")
    assert sender._port.baud == 123_457
    sender.close()


def test_rates_from_the_list(pty, monkeypatch):
    monkeypatch.setattr(terminal, "_ANY_RATE", False)
    carrier = open_receiving(f"serial:{pty.path}?baud=57600")
    assert termios.tcgetattr(carrier._port._fd)[5] == termios.B57600
    carrier.close()
    with pytest.raises(CarrierError) as caught:
        open_sending(f"serial:{pty.path}?baud=114000")
    assert "baud=115200" in caught.value.hint


def refused(opener, path, message, hint):
    with pytest.raises(CarrierError, match=message) as caught:
        opener(f"serial:{path}")
    assert caught.value.exit_code == 10
    assert hint in caught.value.hint


both = pytest.mark.parametrize("opener", [open_sending, open_receiving])


@both
def test_missing(opener, tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "list_ports", lambda: ["/dev/serial/by-id/usb-FTDI", "/dev/ttyS0"])
    refused(opener, tmp_path / "no", "no such port", "ports found: serial:/dev/serial/by-id/usb-FT")
    monkeypatch.setattr(ports, "list_ports", list)
    refused(opener, tmp_path / "no", "no such port", "no serial port was found")


@both
def test_directory(opener, tmp_path):
    refused(opener, tmp_path, "is a directory", "port")


@both
def test_not_a_terminal(opener, tmp_path):
    (tmp_path / "plain").touch()
    refused(opener, tmp_path / "plain", "not a serial port", f"file:{tmp_path}/plain")
    refused(opener, "/dev/null", "not a serial port", "file:/dev/null")
    os.mkfifo(tmp_path / "fifo")
    refused(opener, tmp_path / "fifo", "not a serial port", "file:")


@both
def test_busy(opener, pty):
    holder = opener(f"serial:{pty.path}")
    refused(opener, pty.path, "busy", "fuser")
    holder.close()
    holder.close()
    opener(f"serial:{pty.path}").close()


@both
def test_no_permission(opener, pty):
    Path(pty.path).chmod(0)
    root = os.geteuid() == 0
    if root:
        try:
            os.seteuid(65534)
        except OSError:
            pytest.skip("root that cannot become another user cannot be refused")
    try:
        refused(opener, pty.path, "no permission", "sudo usermod -aG dialout $USER")
    finally:
        if root:
            os.seteuid(0)


@both
def test_nothing_behind_it(opener, pty):
    for code in (errno.EIO, errno.ENXIO, errno.ENODEV):
        assert "no device" in str(terminal.refusal("/dev/ttyS9", OSError(code, "")))
    pty.close()
    path = pty.path
    if not Path(path).exists():  # another terminal may have taken the number by now
        refused(opener, path, "no such port", "port")


def test_a_killed_holder_locks_nobody_out(pty):
    code = (
        "import os, signal; from diode.carrier import open_sending\n"
        f"port = open_sending('serial:{pty.path}'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not fcntl.ioctl(pty.master, 0x80045440, bytes(4))[0]  # TIOCGEXCL
    open_sending(f"serial:{pty.path}").close()


def test_sender_goes_on_when_the_port_comes_back(tmp_path):
    link = tmp_path / "port"
    first, later = Pty(link), []
    time, said = FakeTime(), []
    sender = open_sending(
        f"serial:{link}?baud=1M", notice=said.append, clock=time.clock, sleep=time.sleep
    )
    data = noise(40_000)
    sender.write(batch(data[:10_000]))
    first.wait_for(10_000)
    first.close()
    link.unlink()

    def replug():
        if len(time.sleeps) >= before + 4 and not later:
            later.append(Pty(link))

    before = len(time.sleeps)
    time.on_sleep = replug
    sender.write(batch(data[10_000:]))
    sender.drain()
    try:
        assert later[0].wait_for(30_000) == data[10_000:]  # the interrupted slice came again
    finally:
        sender.close()
        later[0].close()
    assert ["gone" in text for text in said] == [True, False]
    assert "reopening" in said[0] and "back" in said[1]
    waits = [pause for pause in time.sleeps[before:] if pause > LEAD][:3]
    assert waits == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.4)]


def test_sender_gives_up_after_its_patience(tmp_path):
    link = tmp_path / "port"
    time, said = FakeTime(), []
    with Pty(link) as pty:
        sender = open_sending(
            f"serial:{link}?reopen=7", notice=said.append, clock=time.clock, sleep=time.sleep
        )
    pty.link.unlink()
    start = time.now
    with pytest.raises(CarrierError, match="did not come back within 7 s") as caught:
        sender.write(batch(b"x"))
    assert caught.value.exit_code == 10
    assert time.now - start == pytest.approx(7)
    assert len(said) == 1
    sender.drain()
    sender.close()


def test_receiver_listens_again_when_the_port_comes_back(tmp_path):
    link = tmp_path / "port"
    time, said = FakeTime(), []
    with Pty(link) as pty:
        receiver = open_receiving(
            f"serial:{link}", notice=said.append, clock=time.clock, sleep=time.sleep
        )
        os.write(pty.master, b"before")
        assert receiver.read(5) == b"before"
        assert receiver.read(0) is None
    link.unlink()
    start = time.now
    assert receiver.read(1.0) is None
    assert time.now - start == pytest.approx(1.0)  # it waited, and did not spin
    assert len(time.sleeps) < 6
    with Pty(link) as pty:
        time.now += 2
        assert receiver.read(0.5) is None
        os.write(pty.master, b"after")
        assert receiver.read(5) == b"after"
        receiver.close()
    assert receiver.read(0) == b""
    assert "gone" in said[0] and "back" in said[1] and len(said) == 2


@pytest.mark.parametrize("timeout", [None, 0.5, 100])
def test_receiver_ends_when_the_port_stays_away(tmp_path, timeout):
    time = FakeTime()
    with Pty(tmp_path / "port") as pty:
        receiver = open_receiving(
            f"serial:{pty.link}?reopen=9", notice=str, clock=time.clock, sleep=time.sleep
        )
    pty.link.unlink()
    start = time.now
    while (heard := receiver.read(timeout)) is None:
        assert time.now - start <= 9.01
    assert heard == b""
    assert time.now - start == pytest.approx(9)
    assert receiver.read(timeout) == b""
    receiver.close()


def test_interrupt_comes_through_a_full_port():
    master, slave = os.openpty()  # nobody reads it
    path = os.ttyname(slave)
    code = (
        "import signal\n"
        "from diode.carrier import open_sending\n"
        "from diode.frame import Frames\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell ignores it\n"
        f"port = open_sending('serial:{path}?baud=12M')\n"
        "print('open', flush=True)\n"
        "try: port.write(Frames.of_pieces([bytes(1_000_000)]))\n"
        "except KeyboardInterrupt: raise SystemExit(130) from None\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"open\n"
        real_time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        try:
            assert child.wait(10) == 130
        finally:
            child.kill()
    os.close(master)
    os.close(slave)


CHILD = """
from diode.carrier import open_sending
from diode.frame import Frames
port = open_sending({url!r})
port.write(Frames.of_pieces([bytes(20_000)]))
port.drain()
port.close()
"""


def test_system_calls_of_the_sender_show_no_way_back(pty, tmp_path):
    """T90: what the kernel was asked for while a sender used its port."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    log = tmp_path / "strace"
    reads = "read,pread64,readv,preadv,preadv2,recvfrom,recvmsg"
    waits = "poll,ppoll,select,pselect6,epoll_ctl"
    calls = f"{reads},{waits},ioctl,openat,write"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", f"trace={calls}"]
    child = [sys.executable, "-c", CHILD.format(url=f"serial:{pty.path}?baud=2M")]
    done = subprocess.run([*command, *child], capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower() and not pty.heard:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert len(pty.wait_for(20_000)) == 20_000

    lines = [line for line in log.read_text().splitlines() if pty.path in line]
    opened = [line for line in lines if " openat(" in line]
    assert len(opened) == 1
    assert "O_WRONLY" in opened[0] and "O_NOCTTY" in opened[0] and "O_RDWR" not in opened[0]
    assert any(" write(" in line for line in lines)
    kinds = {re.sub(r"^\d+ +", "", line).partition("(")[0] for line in lines}
    assert kinds <= {"openat", "write", "ioctl"}, kinds
    asked = {re.search(r"ioctl\([^,]+, (\w+)", line)[1] for line in lines if " ioctl(" in line}
    modem = {"TIOCMGET", "TIOCMIWAIT", "TIOCMBIS", "TIOCMBIC", "TIOCMSET", "TIOCGICOUNT"}
    assert not asked & modem
    assert {"TCSETS2", "TCSBRK"} <= asked


class FakeSerial:
    """What pyserial gives on a platform without termios."""

    def __init__(self, path, baud, **options):
        if path == "COM9":
            raise FileNotFoundError(path)
        assert not any(options.values())
        self.waiting, self.written, self.timeout = b"hello", b"", -1
        self.out_waiting = 3

    @property
    def in_waiting(self):
        return len(self.waiting)

    def read(self, count):
        data, self.waiting = self.waiting[:count], self.waiting[count:]
        return data

    def write(self, data):
        self.written += data

    def flush(self):
        self.out_waiting = 0

    def close(self):
        self.written = None


def test_ports_through_pyserial(monkeypatch):
    import serial as pyserial

    monkeypatch.setattr(pyserial, "Serial", FakeSerial)
    sender, receiver = ports.SendingPort("COM1", 9600), ports.ReceivingPort("COM2", 9600)
    sender.write(memoryview(b"abc"))
    assert sender._port.written == b"abc" and sender.queued() == 3
    sender.drain()
    assert sender.queued() == 0
    assert receiver.read(0.5) == b"hello" and receiver.read(0.5) is None
    assert receiver._port.timeout == 0.5
    sender.close()
    receiver.close()
    with pytest.raises(CarrierError, match="COM9") as caught:
        ports.SendingPort("COM9", 9600)
    assert caught.value.exit_code == 10


def test_port_names_that_stay(tmp_path, monkeypatch):
    device, by_id = tmp_path / "ttyUSB0", tmp_path / "by-id"
    device.touch()
    monkeypatch.setattr(ports, "BY_ID", by_id)
    assert ports.stable_name(str(device)) == str(device)
    by_id.mkdir()
    (by_id / "usb-FTDI_A").symlink_to(tmp_path / "ttyUSB7")
    (by_id / "usb-FTDI_B").symlink_to(device)
    assert ports.stable_name(str(device)) == str(by_id / "usb-FTDI_B")
    assert ports.stable_name("/nowhere") == "/nowhere"
    assert isinstance(ports.list_ports(), list)


def test_defaults():
    assert serial.DEFAULT_BAUD == 115_200 and serial.MAX_BAUD == 12_000_000
