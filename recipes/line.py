"""A serial line for the recipes' tests: two terminals, from one to the other, and never back.

line.py TX RX makes both and links to them, and carries bytes until it is ended. As on a wire
nobody is waited for: what a receiver that is late or not there does not take is lost, beyond what
fits a buffer. (Two terminals joined by socat would hold the sender up instead.)
"""

import os
import select
import sys
import tty

BUFFER = 1 << 17


def terminal(link: str) -> tuple[int, int]:
    """Both ends of a new one; its own end stays open, so that others may come and go."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.symlink(os.ttyname(theirs), link)
    return ours, theirs


def main() -> None:
    tx, _ = terminal(sys.argv[1])
    rx, _ = terminal(sys.argv[2])
    os.set_blocking(rx, False)
    held = b""
    while True:
        readable, writable, _ = select.select([tx], [rx] if held else [], [])
        if readable:
            held = (held + os.read(tx, 1 << 16))[:BUFFER]
        if writable:
            held = held[os.write(rx, held[:4096]) :]


if __name__ == "__main__":
    main()
