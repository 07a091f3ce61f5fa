"""What `send --sign` and `--encrypt-to` take: who signs an object, and who is to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from diode.assembly import Unenclosed, Unsigned
from diode.block import PLAIN
from diode.cli import complete

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.assembly import Encloser, Signer
    from diode.cli.report import Report
    from diode.envelope import Recipient


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `send` that name keys."""
    encrypt_to = click.option(
        "--encrypt-to",
        multiple=True,
        metavar="PUBKEY",
        shell_complete=complete.files,
        help="Encrypt for this public key: a file, or the line itself. Repeatable.",
    )
    sign = click.option(
        "--sign",
        "key_file",
        metavar="KEYFILE",
        shell_complete=complete.files,
        help="Sign with this secret key.",
    )
    return sign(encrypt_to(command))


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs, and what puts objects into envelopes, given the sender's secret."""

    signer: Signer
    enclosing: Callable[[bytes], Encloser]
    cipher: int = PLAIN
    """What it encrypts blocks with (wire 5.2); known before the secret is."""
    recipients: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Whose keys they are; the same for the same announcements."""
        return (self.signer.id.hex(), *self.recipients)


def keys(report: Report, key_file: str | None, encrypt_to: tuple[str, ...]) -> Keys:
    """What the options name. KeyFileError where a key is none, UsageError for too many."""
    signer = _signer(report, key_file)
    if not encrypt_to:
        return Keys(signer, lambda _: Unenclosed())
    from diode.envelope import Recipients

    recipients = _recipients(report, encrypt_to)
    names = tuple(sorted(recipient.fingerprint for recipient in recipients))
    return Keys(signer, lambda secret: Recipients(recipients, secret), Recipients.cipher, names)


def _signer(report: Report, key_file: str | None) -> Signer:
    if key_file is None:
        return Unsigned()
    from diode.seal import SecretKey
    from diode.service.keys import read_secret

    secret = read_secret(key_file, SecretKey)
    report.detail(f"signing with {secret.public.fingerprint}")
    return secret


def _recipients(report: Report, encrypt_to: tuple[str, ...]) -> list[Recipient]:
    from diode.envelope import Recipient, distinct
    from diode.service.keys import no_core_dumps, read_public

    no_core_dumps()  # the sender's state has a secret
    recipients = distinct(key for source in encrypt_to for key in read_public(source, Recipient))
    for recipient in recipients:
        report.detail(f"encrypting for {recipient.fingerprint} {recipient.comment}".rstrip())
    return recipients
