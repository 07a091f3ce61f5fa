"""diode keygen: a pair of keys to sign and verify with, or to encrypt and decrypt with."""

from __future__ import annotations

import click

from diode.cli import options
from diode.cli.report import Report
from diode.envelope import Identity
from diode.errors import UsageError
from diode.keytext import clean_comment
from diode.objects import escape
from diode.seal import SecretKey
from diode.service import keys
from diode.tag import LinkKey


@click.command(short_help="make a pair of keys to sign or to encrypt with")
@click.argument("name", metavar="NAME")
@click.option("--encrypt", is_flag=True, help="A pair to encrypt and decrypt with.")
@click.option("--link", is_flag=True, help="A link key, for both ends of a link.")
@click.option("--comment", default="", help="What to call the key: shown as the signer.")
@click.option("--force", is_flag=True, help="Replace keys of that name. They are gone then.")
@options.manners
def command(
    name: str,
    encrypt: bool,
    link: bool,
    comment: str,
    force: bool,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Make a secret key NAME, to sign with, and a public one NAME.pub, to verify with.

    \b
      diode keygen plant7 --comment 'plant 7, outflow'
      diode send report.pdf --sign plant7 --to 'serial:/dev/ttyUSB0?baud=115200'
      diode recv inbox --verify plant7.pub --from 'serial:/dev/ttyUSB1?baud=115200'

    NAME stays on the sending machine. NAME.pub is one line of text: carry it to the receivers, or
    type it there, and compare the fingerprint that is printed at both ends.

    With --encrypt, NAME decrypts and stays on the receiving machine, and NAME.pub goes to the
    senders:

    \b
      diode keygen archive --encrypt
      diode send report.pdf --encrypt-to archive.pub --to 'serial:/dev/ttyUSB0?baud=115200'
      diode recv inbox --identity archive --from 'serial:/dev/ttyUSB1?baud=115200'

    With --link there is one key, NAME, which send and recv both take with --link-key.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if link:
        return _link_key(report, name, clean_comment(comment), encrypt, force)
    kind = Identity if encrypt else SecretKey
    secret = kind.generate(clean_comment(comment))
    path = keys.write_pair(name, secret, force=force)
    public = secret.public
    report.event(
        "key",
        secret_path=escape(name),
        public_path=escape(path),
        public=public.line,
        fingerprint=public.fingerprint,
    )
    report.result(public.line)
    report.result(public.fingerprint)
    does = ("decrypts", "encrypts") if encrypt else ("signs", "verifies")
    report.say(f"{escape(name)} {does[0]}, {escape(path)} {does[1]}")
    return 0


def _link_key(report: Report, name: str, comment: str, encrypt: bool, force: bool) -> int:
    if encrypt:
        raise UsageError(
            "--link and --encrypt make different keys", hint="make one after the other"
        )
    key = LinkKey.generate(comment)
    keys.write_link(name, key, force=force)
    report.event("key", secret_path=escape(name), fingerprint=key.fingerprint)
    report.result(key.fingerprint)
    report.say(f"{escape(name)} tags frames at both ends of a link: carry it to the other one")
    return 0
