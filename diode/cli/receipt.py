"""diode receipt: what has come of a sender's objects, to be carried back to it by hand."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from diode import lettering
from diode.cli import complete, options
from diode.cli.report import Report
from diode.errors import DestinationError, SignatureError, UsageError
from diode.objects import escape
from diode.receipt import SIGNATURE, SIGNED, Receipt, bounded, opened, signer
from diode.service.receipts import keys, number_of, read, shown
from diode.sink import tally

if TYPE_CHECKING:
    from typing import Any

HEALTH = "health.json"
"""Where a running receiver says what it has heard (health.py)."""
MOST_HEALTH = 1 << 26
MOST_SENDERS = 20
"""Named, where there are several to choose from."""
MOST_QR = 4000
"""Characters; no QR code has room for more."""


@click.command(short_help="what has come, to be carried back to the sender")
@click.argument("path", metavar="INBOX|STATE", required=False)
@click.option("--sender", metavar="ID", help="Of which sender.  [default: the only one]")
@click.option(
    "--sign",
    "key_file",
    metavar="KEYFILE",
    shell_complete=complete.files,
    help="Sign with this secret key.",
)
@click.option("-o", "--output", type=click.Path(), help="Write a file to be carried.")
@click.option("--text", is_flag=True, help="Print lines to be copied by hand.  [default]")
@click.option("--qr", is_flag=True, help="Draw a QR code in the terminal.")
@click.option("--qr-file", type=click.Path(), help="Draw a QR code into this .png or .svg file.")
@click.option("--read", "source", metavar="FILE", help="Explain this receipt; - reads its text.")
@click.option(
    "--receipt-key",
    "receipt_keys",
    multiple=True,
    metavar="PUBKEY",
    shell_complete=complete.files,
    help="With --read: it has to be signed by this key. Repeatable.",
)
@options.manners
def command(
    path: str | None,
    sender: str | None,
    key_file: str | None,
    output: str | None,
    text: bool,
    qr: bool,
    qr_file: str | None,
    source: str | None,
    receipt_keys: tuple[str, ...],
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Say which objects of a sender have come whole and which are missing, for the sender to read.

    \b
      receiver$  diode receipt inbox --sign box -o receipt
      sender$    diode send --receipt receipt --receipt-key box.pub --to URL
      receiver$  diode receipt inbox --sign box --text
      sender$    diode send photos/ --receipt - --receipt-key box.pub --to URL

    The lines of --text have check letters, so a wrong letter is found and its line named. A
    receipt says whole objects only, by number: no names, no content. It is still something that
    flows back: carry one only where that is allowed (SECURITY.md).
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if source is not None:
        if path is not None:
            raise UsageError("--read explains a receipt and needs no INBOX")
        return _explain(report, source, receipt_keys)
    if path is None:
        raise UsageError("Missing argument 'INBOX|STATE'", hint="diode receipt INBOX")
    state = tally.state_of(path)
    receipt = of(state, _sender(state, sender))
    signed_by, data = _made(receipt, key_file)
    _tell(report, receipt, data, signed_by)
    if output is not None:
        _write(output, data)
        report.say(f"written to {escape(output)}")
    if qr or qr_file is not None:
        _draw(report, data, qr, qr_file)
    if text or not (output or qr or qr_file):
        for line in lettering.lines(data):
            report.result(line)
    return 0


def of(state: str, sender: int) -> Receipt:
    """The receipt for that sender, from the ledger in that folder."""
    known = tally.tally(state, sender)
    received = bounded(known.received)
    highest = max(known.highest, _heard(state, sender))
    if len(received) < len(known.received):
        highest = received[-1][1]  # of what is behind it nothing can be said
    closed = bounded(r for r in known.closed if r[1] <= highest)
    return Receipt(sender, tally.name_of(state), highest, received, closed)


class _Sender(msgspec.Struct):
    sender: str
    highest: int


class _Health(msgspec.Struct):
    senders: list[_Sender] = []


def _heard(state: str, sender: int) -> int:
    """The highest number that the sender's heartbeats named, if a receiver has written that down.

    The ledger alone does not know of objects behind the last one that came.
    """
    try:
        with open(os.path.join(state, HEALTH), "rb") as file:
            health = msgspec.json.decode(file.read(MOST_HEALTH), type=_Health)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return 0
    ours = f"{sender:08x}"
    heard = max((s.highest for s in health.senders if s.sender == ours), default=0)
    return heard if 0 <= heard < 1 << 32 else 0


def _sender(state: str, asked: str | None) -> int:
    if asked is not None:
        return number_of(asked, "--sender")
    known = tally.senders(state)
    if len(known) == 1:
        return known[0]
    if not known:
        raise UsageError(
            "nothing has come yet", hint="--sender ID makes a receipt that says so to a sender"
        )
    raise UsageError(
        f"objects of {len(known):,} senders have come",
        hint="one of: " + ", ".join(f"--sender {s:08x}" for s in known[:MOST_SENDERS]),
    )


def _made(receipt: Receipt, key_file: str | None) -> tuple[str | None, bytes]:
    """Who signs it, and the bytes."""
    if key_file is None:
        return None, receipt.unsigned()
    from diode.seal import SecretKey
    from diode.service.keys import read_secret

    secret = read_secret(key_file, SecretKey)
    return secret.public.fingerprint, receipt.signed(secret)


def _tell(report: Report, receipt: Receipt, data: bytes, signed_by: str | None) -> None:
    report.event(
        "receipt",
        sender=receipt.sender,
        ledger=f"{receipt.ledger:08x}",
        highest=receipt.highest,
        count=receipt.count,
        received=receipt.received,
        missing=receipt.missing,
        closed=receipt.closed,
        signed_by_key=signed_by,
        bits=receipt.bits,
        text=lettering.lines(data),
    )
    report.say(
        f"sender {receipt.sender:08x}: {receipt.count:,} of {receipt.highest:,} objects came"
        + (f", missing {shown(receipt.missing)}" if receipt.missing else "")
        + (f", not to come any more {shown(receipt.closed)}" if receipt.closed else "")
    )
    how = f"signed by {signed_by}" if signed_by else "not signed: anybody could have made it"
    report.say(f"ledger {receipt.ledger:08x}; {how}")


def _explain(report: Report, source: str, receipt_keys: tuple[str, ...]) -> int:
    """Say what a receipt says, and who signed it."""
    data = read(source)
    known = keys(receipt_keys)
    receipt = opened(data, None)
    by = signer(data, known)
    if known and by is None:
        raise SignatureError("the receipt is not signed by a key given here")
    signed = data[-SIGNATURE - 1 : -SIGNATURE] == bytes([SIGNED]) and receipt.unsigned() != data
    _tell(report, receipt, data, by.fingerprint if by else None)
    if signed and by is None:
        report.say("a signature is on it, which --receipt-key KEY.pub would check")
    report.say(f"{len(data):,} bytes; what a sender learns of it: at most {receipt.bits:,} bits")
    return 0


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DestinationError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error


def _draw(report: Report, data: bytes, terminal: bool, path: str | None) -> None:
    """As a QR code of the lines, in the shortest form in which they can be typed."""
    code = _code(lettering.compact(data))
    if path is not None:
        if not path.endswith((".png", ".svg")):
            raise UsageError(f"--qr-file ends in .png or .svg: {escape(path)}")
        try:
            code.save(path, scale=4)
        except OSError as error:
            raise DestinationError(f"{escape(path)}: {os.strerror(error.errno or 0)}") from error
        report.say(f"written to {escape(path)}")
    if terminal:
        drawn = io.StringIO()
        code.terminal(out=drawn, compact=_can(sys.stdout.encoding), border=2)
        for line in drawn.getvalue().splitlines():
            report.result(line)


def _can(encoding: str | None) -> bool:
    """Whether half blocks can be shown."""
    try:
        "\u2580".encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _code(text: str) -> Any:
    try:
        import segno
    except ImportError:
        raise UsageError(
            "QR codes need what is not installed: segno", hint="pip install 'diode-fec[qr]'"
        ) from None
    if len(text) > MOST_QR:
        raise UsageError("the receipt is too long for a QR code", hint="-o FILE, or --text")
    return segno.make(text, error="l", micro=False)
