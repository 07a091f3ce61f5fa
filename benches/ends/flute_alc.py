"""Both ends of FLUTE (RFC 6726) as a user of the package `flute-alc` writes them, for the bench.

The package makes packets of a file and files of packets; sockets, pace and the end of it are its
user's. Run by the interpreter that has the package:

    flute_alc.py send HOST PORT FILE BITS_PER_SECOND SYMBOL K PARITY INTERLEAVED
    flute_alc.py recv HOST PORT FOLDER

The receiver ends when the library says on standard output, the only place where it does, that an
object is complete; by then it has compared the MD5 of the whole content.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time

from flute import receiver, sender

TSI = 1
TOGETHER = 16
"""Packets between two looks at the clock, or at what the library said."""
SO_RCVBUFFORCE = 33
HEADERS = 28
"""Bytes of IPv4 and UDP."""


def paced(source: sender.Sender, link: socket.socket, rate: float) -> None:
    """All packets, at so many bits per second; 0: as fast as may be."""
    start, sent = time.monotonic(), 0
    for count, packet in enumerate(iter(source.read, None)):
        link.send(packet)
        sent += len(packet) + HEADERS
        if rate and count % TOGETHER == 0:
            ahead = 8 * sent / rate - (time.monotonic() - start)
            if ahead > 0:
                time.sleep(ahead)


def send(host: str, port: str, file: str, rate: str, *numbers: str) -> int:
    symbol, k, parity, interleaved = map(int, numbers)
    if parity:
        # the under-specified scheme has block numbers of 32 bits; those of the other end at 256
        oti = sender.Oti.new_reed_solomon_rs28_under_specified(symbol, k, parity)
    else:
        oti = sender.Oti.new_no_code(symbol, k)
    config = sender.Config()
    config.interleave_blocks = interleaved
    source = sender.Sender(TSI, oti, config)
    source.add_file(file, 0, "application/octet-stream", None, None)
    source.publish()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((host, int(port)))
        paced(source, link, float(rate))
    return 0


def recv(host: str, port: str, folder: str) -> int:
    said, there = os.pipe()
    os.dup2(there, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        link.bind((host, int(port)))
        endpoint = receiver.UDPEndpoint(host, int(port))
        sink = receiver.MultiReceiver(receiver.ObjectWriterBuilder(folder), receiver.Config())
        link.setblocking(False)
        while True:
            ready, _, _ = select.select([said, link], [], [])
            if said in ready and b"is completed" in os.read(said, 65536):
                return 0
            with contextlib.suppress(BlockingIOError):
                for _ in range(TOGETHER):
                    sink.push(endpoint, link.recv(65536))


if __name__ == "__main__":
    sys.exit({"send": send, "recv": recv}[sys.argv[1]](*sys.argv[2:]))
