"""`send --receipt`: what a receiver says that it has, believed or not, and what follows from it.

Whatever is carried back to a sender is a way in. So a receipt is taken only when it is asked for on
the command line; its signature is checked before anything else of it is looked at; and all that it
can do is to say of objects that were sent whether they arrived (service/returned.py).
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode.cli import complete
from diode.errors import Partial, SourceError, UsageError
from diode.objects import escape
from diode.receipt import opened
from diode.service.history import History, Sent
from diode.service.receipts import STDIN, keys, number_of, read, shown
from diode.service.resuming import NOTHING_KNOWN, Queue, Returned, encoded
from diode.service.returned import Receipted, believable
from diode.source import folder
from diode.source.bundle import BundleSource
from diode.source.files import DirectorySource, FileSource
from diode.source.stream import StreamSource
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.assembly import Source
    from diode.cli.preparing import Listing
    from diode.cli.report import Report
    from diode.objects import Manifest
    from diode.receipt import Receipt
    from diode.service.state import SenderState

TOLD = 20
"""Objects or ranges told one by one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says about receipts."""

    source: str | None
    keys: tuple[str, ...]
    unsigned: bool
    ledger: str | None


@dataclass(frozen=True, slots=True)
class Given:
    """A receipt that was vouched for, or none."""

    receipt: Receipt | None = None
    ledger: int | None = None
    """The ledger that receipts are to be accepted of from now on."""


def receipt_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `send` about receipts, as one argument: `asked`."""

    @functools.wraps(command)
    def gathered(
        receipt: str | None,
        receipt_keys: tuple[str, ...],
        unsigned_receipt: bool,
        receipt_ledger: str | None,
        **rest: Any,
    ) -> Any:
        asked = Asked(receipt, receipt_keys, unsigned_receipt, receipt_ledger)
        return command(asked=asked, **rest)

    receipt = click.option(
        "--receipt",
        metavar="FILE",
        help="Leave out what this receipt says arrived, send what is missing; - reads its text.",
    )
    key = click.option(
        "--receipt-key",
        "receipt_keys",
        multiple=True,
        metavar="PUBKEY",
        shell_complete=complete.files,
        help="Accept receipts signed by this key. Repeatable.",
    )
    unsigned = click.option(
        "--unsigned-receipt", is_flag=True, help="Accept the receipt whoever made it."
    )
    ledger = click.option(
        "--receipt-ledger",
        metavar="NAME",
        help="Accept receipts of another ledger than before: its eight hexadecimal digits.",
    )
    return receipt(key(unsigned(ledger(gathered))))


def given(paths: tuple[str, ...], asked: Asked) -> Given:
    """The receipt that these options name, read and vouched for, if they name one."""
    if asked.source is None:
        if asked.keys or asked.unsigned or asked.ledger:
            raise UsageError("--receipt-key, --unsigned-receipt, --receipt-ledger need --receipt")
        return Given()
    if asked.source == STDIN and STDIN in paths:
        raise UsageError("the receipt and the object both want standard input")
    if asked.unsigned == bool(asked.keys):
        raise UsageError(
            "a receipt has to be signed by a key that is known here"
            if not asked.unsigned
            else "--unsigned-receipt and --receipt-key contradict each other",
            hint="--receipt-key KEY.pub, or --unsigned-receipt to believe whoever made it",
        )
    ledger = None if asked.ledger is None else number_of(asked.ledger, "--receipt-ledger")
    return Given(opened(read(asked.source), keys(asked.keys) or None), ledger)


def nothing(report: Report, listed: Listing) -> int:
    """The last words, and the exit code, where nothing is missing that could be sent."""
    report.say("there is nothing that could be sent again")
    return Partial.exit_code if listed.unreadable else 0


class Intake:
    """What is known of earlier runs, and what a receipt says of them."""

    def __init__(self, report: Report, state: SenderState, given: Given) -> None:
        """Raises ReceiptError where the receipt must not be acted on."""
        self._report = report
        self.history = History(state.folder, state.sender)
        if self.history.aside:
            report.warn(
                f"the history of what was sent was damaged and is now {escape(self.history.aside)};"
                " receipts for that are of no use any more"
            )
        self.returned: Returned = NOTHING_KNOWN
        self._receipted: Receipted | None = None
        receipt = given.receipt
        if receipt is not None:
            believable(receipt, state.sender, state.number, self.history.newest, given.ledger)
            self.history.accepted(receipt.ledger, receipt.count)
            self.returned = self._receipted = Receipted(receipt, self.history)
            self._tell(receipt)

    @property
    def receipted(self) -> bool:
        return self._receipted is not None

    def _tell(self, receipt: Receipt) -> None:
        self._report.event(
            "receipt",
            sender=receipt.sender,
            ledger=f"{receipt.ledger:08x}",
            highest=receipt.highest,
            received=receipt.count,
            missing=receipt.missing,
            closed=receipt.closed,
        )
        self._report.say(
            f"receipt: {receipt.count:,} of {receipt.highest:,} objects arrived"
            + (f", missing {shown(receipt.missing)}" if receipt.missing else "")
        )

    def list_missing(self, listed: Listing, hard_links: bool) -> tuple[str, ...]:
        """Put what is missing on the list, each object by itself; the paths of it."""
        paths: list[str] = []
        for sent in self._receipted.missing() if self._receipted else ():
            if not sent.files:
                self._cannot(
                    listed,
                    sent,
                    "it was no file here (standard input, or a list of --manifest): give it again",
                )
            group: list[folder.Found] = []
            for path, name in sent.files:
                try:
                    group += folder.find(
                        path, name, lambda _path, _why: None, hard_links=hard_links
                    )
                except SourceError as error:
                    self._cannot(listed, sent, str(error))
                    continue
                paths.append(path)
            listed.groups.append(group)
            listed.found += group
        return tuple(paths)

    def _cannot(self, listed: Listing, sent: Sent, why: str) -> None:
        listed.unreadable.append(escape(sent.name))
        self._report.warn(f"object {sent.number:,} ({escape(sent.name)}) is missing; {why}")

    def taken_up(self, queue: Queue, sources: Sequence[tuple[Source, Manifest]]) -> None:
        """Numbers are given: remember what they stand for, before they are on air."""
        by_manifest = {encoded(manifest): source for source, manifest in sources}
        for at, number in queue.arrived.items():
            source, manifest = sources[at]
            source.close()
            self._report.event("object_arrived", name=escape(manifest.name), number=number)
            self._report.detail(f"{escape(manifest.name)} arrived as object {number:,}")
        self.history.record(
            Sent(entry.number, entry.manifest, _files(by_manifest[entry.manifest]))
            for entry in queue.entries
            if entry.number in queue.sources and entry.number not in queue.withdrawn
        )
        for number in queue.withdrawn:
            self.history.forget(number)
        if self._receipted is not None:
            self._conclude(queue, [manifest for _, manifest in sources])

    def _conclude(self, queue: Queue, manifests: list[Manifest]) -> None:
        again, new = len(queue.again), len(queue.sources) - len(queue.again)
        self._report.event("receipt_used", arrived=len(queue.arrived), again=again, new=new)
        self._report.say(
            f"{plural(len(queue.arrived), 'object')} arrived and not sent, {again:,} sent again"
            + (f", {new:,} sent as new" if new else "")
        )
        assert self._receipted is not None
        named = {manifest.name for manifest in manifests}
        others = [sent for sent in self._receipted.missing() if sent.name not in named]
        for sent in others[:TOLD]:
            where = f", {escape(sent.files[0][0])}" if sent.files else ""
            self._report.warn(
                f"object {sent.number:,} ({escape(sent.name)}{where}) is missing too, and is no "
                "PATH of this command; without PATH all that is missing is sent"
            )
        if len(others) > TOLD:
            self._report.warn(f"{len(others) - TOLD:,} more objects are missing")

    def void(self, number: int) -> None:
        """That number will not be taken any more."""
        self.history.forget(number)

    def close(self) -> None:
        self.history.close()


def _files(source: Source) -> tuple[tuple[str, str], ...]:
    """Where it was read and what it is called: one, or one for each member of a bundle."""
    match source:
        case BundleSource():
            pairs = list(zip(source.paths, (m.name for m in source.members), strict=True))
        case StreamSource():
            return ()
        case FileSource() | DirectorySource():
            pairs = [(source.path, source.name)]
        case _:
            return ()
    return tuple((os.path.abspath(path), os.fsdecode(name)) for path, name in pairs)
