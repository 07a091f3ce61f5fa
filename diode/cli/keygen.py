"""diode keygen: a pair of keys to sign objects with and to verify them."""

from __future__ import annotations

import click

from diode import seal
from diode.cli import options
from diode.cli.report import Report
from diode.objects import escape
from diode.service import keys


@click.command(short_help="make a pair of keys to sign with")
@click.argument("name", metavar="NAME")
@click.option("--comment", default="", help="What to call the key: shown as the signer.")
@click.option("--force", is_flag=True, help="Replace keys of that name. They are gone then.")
@options.manners
def command(name: str, comment: str, force: bool, json_: bool, quiet: bool, verbose: bool) -> int:
    """Make a secret key NAME, to sign with, and a public one NAME.pub, to verify with.

    \b
      diode keygen plant7 --comment 'plant 7, outflow'
      diode send report.pdf --sign plant7 --to 'serial:/dev/ttyUSB0?baud=115200'
      diode recv inbox --verify plant7.pub --from 'serial:/dev/ttyUSB1?baud=115200'

    NAME stays on the sending machine. NAME.pub is one line of text: carry it to the receivers, or
    type it there, and compare the fingerprint that is printed at both ends.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    secret = seal.SecretKey.generate(seal.clean_comment(comment))
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
    report.say(f"{escape(name)} signs, {escape(path)} verifies")
    return 0
