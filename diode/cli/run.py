"""diode run: a sender with drop folders, or a receiver, as a configuration describes it."""

from __future__ import annotations

import os
import shlex
from importlib import import_module
from typing import TYPE_CHECKING

import click

from diode.cli import complete, options, run_examples
from diode.cli.report import Report
from diode.errors import ConfigurationError, UsageError
from diode.objects import escape
from diode.service import config
from diode.service.hook_process import resolved
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.service.config import Config, Receiver, Sender


@click.command(short_help="the service: a sender with drop folders, or a receiver")
@click.argument("path", required=False, metavar="CONFIG.toml", shell_complete=complete.files)
@click.option("--check", is_flag=True, help="Say whether it could start, and start nothing.")
@click.option(
    "--example",
    type=click.Choice(["sender", "receiver"]),
    help="Print a configuration to begin with.",
)
@options.manners
def command(
    path: str | None, check: bool, example: str | None, json_: bool, quiet: bool, verbose: bool
) -> int:
    """Run what CONFIG.toml describes until it is stopped: a sender, or a receiver.

    \b
      diode run --example sender > sender.toml
      diode run sender.toml --check
      diode run sender.toml
      kill -HUP PID                                read the configuration again

    A sender takes the files that are put into its drop folders, sends them by priority, and stays
    on air with heartbeats when there is nothing to send. A receiver listens and delivers. Both go
    on where they were after a kill or a power cut. SIGTERM ends them in order, in two seconds.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    if example is not None:
        report.result(run_examples.EXAMPLES[example].rstrip())
        return 0
    if path is None:
        raise UsageError("there is no configuration to run", hint="diode run CONFIG.toml")
    found = config.read(path)
    problems = list(_missing(found))
    if problems:
        lines = "\n".join(f"{escape(path)}: {problem}" for problem in problems)
        raise ConfigurationError(lines, hint="diode run --check tries again and starts nothing")
    if check:
        _tell(report, path, found)
        return 0
    if found.sender is not None:
        from diode.cli import run_sender

        return run_sender.run(report, path, found.sender)
    assert found.receiver is not None
    from diode.cli import run_receiver

    return run_receiver.run(report, path, found.receiver)


def _missing(found: Config) -> Iterator[str]:
    """What the configuration names and this machine has not."""
    if found.sender is not None:
        yield from _of_sender(found.sender)
    elif found.receiver is not None:
        yield from _of_receiver(found.receiver)


def _of_sender(sender: Sender) -> Iterator[str]:
    for number, drop in enumerate(sender.drop, 1):
        where = f"sender.drop[#{number}].folder"
        yield from _folder(where, drop.folder)
        rights = os.R_OK | os.X_OK | (0 if drop.after == "keep" else os.W_OK)
        if os.path.isdir(drop.folder) and not os.access(drop.folder, rights):
            folder = escape(drop.folder)
            yield f'{where}: this user may not use {folder} as after = "{drop.after}" asks'
    yield from _places("sender.records", "acquire", "acquirer", sender.sources)
    keys = (("sign", sender.sign), ("link-key", sender.link_key))
    for key, file in (*keys, *(("encrypt-to", one) for one in sender.recipients)):
        yield from _file(f"sender.{key}", file)
    yield from _programs("sender", sender.commands)
    yield from _metrics("sender", sender.metrics)


def _of_receiver(receiver: Receiver) -> Iterator[str]:
    files = [
        *(("verify", one) for one in receiver.verifiers),
        *(("identity", one) for one in receiver.identities),
        ("link-key", receiver.link_key),
    ]
    for key, file in files:
        yield from _file(f"receiver.{key}", file)
    if "://" not in receiver.inbox:
        parent = os.path.dirname(os.path.abspath(receiver.inbox))
        if not os.path.isdir(receiver.inbox):
            yield from _folder("receiver.inbox", parent)
    yield from _places("receiver.records-to", "publish", "publisher", receiver.sinks)
    yield from _programs("receiver", receiver.commands)
    yield from _metrics("receiver", receiver.metrics)


def _programs(role: str, commands: dict[str, list[str]]) -> Iterator[str]:
    for kind, words in commands.items():
        try:
            resolved(shlex.join(words), f"{role}.on-{kind}")
        except UsageError as error:
            yield str(error)


def _places(where: str, family: str, make: str, texts: tuple[str, ...]) -> Iterator[str]:
    """Sources or sinks of records that cannot be, or whose packages are missing."""
    for text in texts:
        try:
            getattr(import_module(f"diode.{family}"), make)(text)
        except UsageError as error:
            yield f"{where}: {error}{f' ({error.hint})' if error.hint else ''}"


def _metrics(role: str, metrics: config.Metrics | None) -> Iterator[str]:
    if metrics is not None and metrics.textfile is not None:
        folder = os.path.dirname(os.path.abspath(metrics.textfile))
        yield from _folder(f"{role}.metrics.textfile", folder)


def _folder(where: str, folder: str) -> Iterator[str]:
    if not os.path.isdir(folder):
        yield f"{where}: there is no folder {escape(folder)}; mkdir -p {escape(folder)} makes it"


def _file(where: str, file: str | None) -> Iterator[str]:
    if file is not None and not os.access(file, os.R_OK):
        yield f"{where}: {escape(file)} is not there or cannot be read by this user"


def _tell(report: Report, path: str, found: Config) -> None:
    """What the configuration means."""
    role = "sender" if found.sender else "receiver"
    report.event("configuration", path=path, role=role)
    if found.sender is not None:
        to = " ".join(found.sender.urls)
        folders = plural(len(found.sender.drop), "drop folder")
        sources = found.sender.sources
        of = [folders] if found.sender.drop else []
        of += [f"records of {plural(len(sources), 'source')}"] if sources else []
        report.result(f"{escape(path)} is a sender of {' and '.join(of)} to {escape(to)}")
        for drop in sorted(found.sender.drop, key=lambda drop: -drop.priority):
            what = "0 to 9" if drop.subfolders == "priorities" else str(drop.priority)
            report.result(f"  {escape(drop.folder)}: priority {what}, then {drop.after}")
    elif found.receiver is not None:
        one = found.receiver
        urls = " ".join(one.urls)
        report.result(f"{escape(path)} is a receiver from {escape(urls)} to {escape(one.inbox)}")
