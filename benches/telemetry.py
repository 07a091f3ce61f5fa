"""Records: how late they are on a line beside a file, and how many a second one process sends.

The first part runs `diode send` and `diode recv` on a line of 115,200 baud made of two terminals,
with a file that takes far longer than the test, and 50 records a second of 40 bytes. A record is as
old as the time between being written to the one's standard input and read from the other's
standard output. The second part gives one process as many records as it takes, on UDP to this
machine, and counts what arrives there.

    benches/telemetry.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from side_by_side import heading

from diode import carrier, frame
from diode.carrier.coupling import Coupling
from diode.cli import lanes
from diode.outflow import Outflow
from diode.plan import Settings
from diode.record import Record, unpacked
from diode.transmitter import Transmitter

RATE, SIZE, TOPICS = 50, 40, 50


def diode(folder: Path, *arguments: str, stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "diode", *arguments],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def line_by_line(process: subprocess.Popen[bytes], ages: list[float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        record = json.loads(line)
        ages.append(time.time() - float(record["payload"].split()[0]))


def beside_a_file(seconds: float) -> np.ndarray:
    """Ages of records in seconds, each the first time that it came."""
    ages: list[float] = []
    with tempfile.TemporaryDirectory() as name, Coupling(115_200) as line:
        folder = Path(name)
        (folder / "bulk").write_bytes(os.urandom(5_000_000))
        url = f"serial:{line.rx_path}?baud=115200"
        receiver = diode(folder, "recv", "in", "--records-to", "-", "--from", url, stdin=-3)
        threading.Thread(target=line_by_line, args=(receiver, ages), daemon=True).start()
        url = f"serial:{line.tx_path}?baud=115200"
        sender = diode(folder, "send", "bulk", "--records", "-", "--to", url, stdin=-1)
        assert sender.stdin is not None
        sender.stdin.write(b"warm 0\n")
        sender.stdin.flush()
        while not ages:  # both are there, and the file is on its way
            time.sleep(0.05)
        ages.clear()
        began = time.monotonic()
        for number in range(int(seconds * RATE)):
            payload = f"{time.time():.6f} ".ljust(SIZE, "x")
            sender.stdin.write(f"plant/value-{number % TOPICS:02d} {payload}\n".encode())
            sender.stdin.flush()
            time.sleep(max(0.0, began + (number + 1) / RATE - time.monotonic()))
        time.sleep(2)
        for process in (sender, receiver):
            process.terminate()
            process.wait()
    return np.sort(np.array(ages))


class Counter(threading.Thread):
    """Takes datagrams and counts the records in them."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(daemon=True)
        self.listening = listening
        self.datagrams: list[bytes] = []

    def run(self) -> None:
        try:
            while True:
                self.datagrams.append(self.listening.recv(2048))
        except OSError:
            pass

    def records(self) -> int:
        """Different ones."""
        seen = set()
        for datagram in self.datagrams:
            row = np.frombuffer(datagram, np.uint8)[None, :]
            parsed = frame.parse_full(row)
            if parsed.kind[0] == frame.Kind.RECORD and parsed.code[0] == 0:
                found = unpacked(parsed.payload[0].tobytes()).records
                seen |= {(one.topic, one.sequence) for one in found}
        return len(seen)


def one_process(seconds: float) -> tuple[float, float, float]:
    """Records a second, the share of the processor's time, and the share that arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        listening.bind(("127.0.0.1", 0))
        counter = Counter(listening)
        counter.start()
        url = f"udp://127.0.0.1:{listening.getsockname()[1]}?rate=900M"
        named = lanes.named((url,), None)
        named, settings, link = lanes.planned(named, Settings(), 0, cbr=False)
        outflow = Outflow(7, settings, link, streams=(1, 1))
        sender = Transmitter(7, settings, link, records=outflow)
        out = carrier.open_sending(url)
        topics = [b"plant/line-%02d/value-%03d" % (n % 20, n) for n in range(1000)]
        given, began, cpu = 0, time.monotonic(), time.thread_time()
        sender.first(0.0)
        while (now := time.monotonic()) < began + seconds:
            for topic in topics:
                outflow.latest(Record(topic, b"x" * SIZE, given), now)
            given += len(topics)
            while (frames := sender.next(now)) is not None:
                out.write(named[0].encoder.encode(frames))
        took, spent = time.monotonic() - began, time.thread_time() - cpu
        out.close()
        time.sleep(0.5)
        sent = given - outflow.replaced
    return sent / took, spent / took, counter.records() / sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    heading("records")
    ages = beside_a_file(10 if quick else 60)
    median, late, worst = (float(np.quantile(ages, q)) * 1000 for q in (0.5, 0.99, 1.0))
    print(f"115,200 baud beside a file, {RATE} a second of {SIZE} bytes, {len(ages):,} heard:")
    print(f"  {median:.0f} ms median, {late:.0f} ms for 99 %, {worst:.0f} ms at most")
    rate, busy, arrived = one_process(2 if quick else 10)
    print(f"UDP: {rate:,.0f} records a second of {SIZE} bytes from one process, ", end="")
    print(f"{busy:.0%} of a core busy, {arrived:.1%} of them arrived in source frames")


if __name__ == "__main__":
    main()
