"""diode plan: what sending will take and survive, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from diode.advice import advise, all_failure
from diode.cli import complete, lanes, options, plan_objects, plan_records, plan_report, signing
from diode.cli.plan_report import Measured, Plan
from diode.cli.report import Report
from diode.errors import UsageError
from diode.forecast import together
from diode.objects import escape

if TYPE_CHECKING:
    from diode.forecast import Planned
    from diode.plan import Link, Settings


@click.command(short_help="time on air, overhead, survivable losses")
@click.argument("paths", nargs=-1, metavar="[PATH...]", shell_complete=complete.files)
@click.option(
    "--size",
    "sizes",
    type=plan_objects.Files(),
    multiple=True,
    help="Size of a file, or 1000x3k for so many; repeatable.",
)
@click.option(
    "--carrier",
    "urls",
    required=True,
    multiple=True,
    metavar="URL",
    shell_complete=complete.carriers,
    help="Carrier, as for send --to; several share it.",
)
@plan_records.record_options
@options.planning
@options.cbr
@signing.options
@options.link_key
@click.option("--no-bundle", is_flag=True, help="Each small file is an object of its own.")
@click.option(
    "--linktest", "result", type=click.Path(), help="Reckon with a link test's saved result."
)
@click.option(
    "--want",
    type=float,
    help="With --linktest: probability of losing anything that is allowed.  [default: the test's]",
)
@options.manners
def command(
    paths: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...],
    urls: tuple[str, ...],
    records: plan_records.Asked,
    code: str | None,
    redundancy: float | None,
    loss: float | None,
    passes: int,
    burst: float,
    symbol_size: int | None,
    line: str | None,
    cbr: bool,
    key_file: str | None,
    encrypt_to: tuple[str, ...],
    link_key: str | None,
    no_bundle: bool,
    result: str | None,
    want: float | None,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compute time on air, overhead, and what losses files of these sizes survive.

    \b
      diode plan --size 10M --carrier 'serial:?baud=115200' --redundancy 25% --burst 500ms
      diode plan --size 1000x3k --size 5M --carrier 'serial:?baud=115200' --passes 2
      diode plan photos/ --encrypt-to archive.pub --carrier 'file:x?rate=100M'
      diode plan --size 1G --carrier 'udp:?rate=900M' --carrier 'udp:?rate=100M'
      diode plan --size 5M --carrier 'serial:?baud=115200' --line rs --linktest link.json
      diode plan --records 200/s --size 40 --carrier 'serial:?baud=115200' --loss 5%

    The device in the URL is not opened and may be left out. Of PATHs only names and sizes are
    looked at. With several objects, what is said to fail is any of them.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    test = _tested(result, want)
    given = (code, redundancy, loss, passes, burst, symbol_size)
    settings = options.settings(*given, bundle=not no_bundle)
    keys = signing.keys(report, key_file, encrypt_to)
    settings = replace(settings, cipher=keys.cipher)
    extra = options.tagging(link_key).extra
    named, settings, link = lanes.planned(_named(urls, line), settings, extra, cbr=cbr)
    if records.rate or records.topics:
        return records.tell(report, sizes, settings, link)
    what = plan_objects.objects(_files(report, paths, sizes), settings, link)
    items = plan_objects.planned(what, settings, link, keys.enclosing(bytes(32)), keys.signer)
    made = Plan(
        together(items, settings, link),
        settings,
        link,
        named,
        plan_objects.Summary.of(what),
        None if test is None else _measured(test, named, items, settings, link),
    )
    plan_report.tell(report, made)
    return 0


def _files(
    report: Report, paths: tuple[str, ...], sizes: tuple[tuple[int, int], ...]
) -> list[plan_objects.File]:
    def skipped(path: str, why: str) -> None:
        report.warn(f"skipped {escape(path)}: {why}")

    given = [plan_objects.File(size, count=count) for count, size in sizes]
    files = [*plan_objects.of_paths(paths, skipped), *given]
    if not files:
        hint = "--size 10M, --size 1000x3k, or a PATH"
        raise UsageError("there is nothing to plan for", hint=hint)
    return files


@dataclass(frozen=True, slots=True)
class _Test:
    """A link test's result, and what is wanted; None: what the test was to advise for."""

    path: str
    want: float | None


def _tested(path: str | None, want: float | None) -> _Test | None:
    if want is not None and not 0 < want < 1:
        raise UsageError(f"--want {want:g} is no probability", hint="--want 1e-9")
    if path is None:
        if want is not None:
            raise UsageError("--want goes with --linktest", hint=f"--linktest FILE --want {want:g}")
        return None
    return _Test(path, want)


def _measured(
    test: _Test, named: list[lanes.Named], items: list[Planned], settings: Settings, link: Link
) -> Measured:
    """Raises UsageError where the result does not fit."""
    from diode import plan
    from diode.cli import linktest_result

    if len(named) > 1:
        raise UsageError("a link test is of one lane", hint="plan each lane alone with its result")
    (one,) = named
    found = linktest_result.read(test.path)
    segment = found.segment(one.line, _modem(one.url))
    cut = plan.geometry(max(item.size for item in items), settings, link)
    channel = segment.channel(link, cut)
    sent = replace(settings, passes=max(1, settings.passes))
    target = test.want or found.loss_target
    return Measured(
        segment,
        channel,
        all_failure(channel, items, sent),
        advise(channel, items, target, sent),
        target,
        None if one.facts.kind != "bytes" else one.line,
        segment.like(link, cut),
    )


def _modem(url: str) -> str | None:
    """The modem that speaks on a carrier of sound; None on any other."""
    from diode.carrier import parse, sound

    parsed = parse(url)
    if parsed.scheme not in ("audio", "wav", "pcm"):
        return None
    return parsed.query.get("modem", sound.SPEAKING)


def _named(urls: tuple[str, ...], line_asked: str | None) -> list[lanes.Named]:
    """The lanes; what their URLs leave out of path or address does not matter."""
    whole = []
    for number, url in enumerate(urls, 1):
        scheme, colon, rest = url.partition(":")
        rest = rest.removeprefix("//")
        left_out = colon and (not rest or rest.startswith("?"))
        whole.append(f"{scheme}:any{number}{rest}" if left_out else url)
    return lanes.named(whole, line_asked)
