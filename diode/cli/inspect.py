"""diode inspect: explain the frames in a capture."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from diode import carrier, frame, line
from diode.cli import complete, confinement, options
from diode.cli.output import Plot
from diode.cli.progress import progress
from diode.cli.report import Report
from diode.errors import NothingHeard, Partial, UsageError
from diode.frame import Kind, Reject, flat, portions
from diode.inspection import Inspection, Seen, code_name
from diode.objects import Type, escape
from diode.service.receiver import PIECE
from diode.tag import TAGGED
from diode.wording import plural, size

if TYPE_CHECKING:
    from diode.carrier.sound import Ear
    from diode.cli.picture import Picture
    from diode.events import Key
    from diode.frame import U8
    from diode.line import Decoder
    from diode.tag import Tags


SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".au")
"""Ends of names that say that a capture is a sound."""
SOUND = {"wav", "pcm", "audio"}
"""Schemes of carriers of sound."""

_KINDS = {int(kind) for kind in Kind}


@click.command(short_help="explain the frames in a capture")
@click.argument(
    "captures", nargs=-1, required=True, metavar="CAPTURE...", shell_complete=complete.captures
)
@options.heard_line
@options.link_key
@click.option(
    "--plot", type=click.Path(), help="Draw a sound: waterfall, frames, eye, tone energies."
)
@options.impair
@options.sandbox
@options.manners
def command(
    captures: tuple[str, ...],
    line_name: str | None,
    link_key: str | None,
    plot: str | None,
    impair: str | None,
    sandbox: str,
    json_: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Explain the frames in CAPTURE: a file of line bytes or of sound, a carrier URL or - (stdin).

    \b
      diode inspect photos.cap
      diode inspect tape.wav --plot tape.png    where in the sound they are
      diode inspect stick1.cap stick2.cap       what both together hold
      diode inspect -v photos.cap | less        every frame

    Says for each object whether the captures hold enough of it; exit code 3 where one does not,
    4 where there is no frame at all.
    """
    report = Report(json_=json_, quiet=quiet, verbose=verbose)
    tags = options.tagging(link_key)
    inspection = Inspection(tags)
    heard = noise = 0
    rejected: Counter[str] = Counter()
    urls = tuple(map(_url, captures))
    target = None if plot is None else _plot(plot, urls)
    confinement.inspector(report, urls, sandbox)
    for url in urls:
        decoder = line.decoder(options.line_for(carrier.facts(url), line_name, line.AUTO))
        heard += _read(report, url, impair, decoder, inspection, tags, target)
        noise += decoder.noise
        rejected += decoder.rejected
    objects = inspection.resolved()
    frames = inspection.kinds.total()
    report.event(
        "capture",
        bytes=heard,
        frames=frames,
        noise=noise,
        rejected=dict(rejected + inspection.untold),
        kinds={_kind(kind): count for kind, count in inspection.kinds.items()},
    )
    refused = rejected.total()
    report.result(
        f"{size(heard)}, {plural(frames, 'frame')}, {refused:,} refused, {size(noise)} of noise"
    )
    if records := inspection.kinds[Kind.RECORD]:
        report.result(f"{plural(records, 'frame')} of records: recv --records-to - shows them")
    _tell_untold(report, inspection)
    if not frames:
        raise _nothing(inspection)
    short = _tell_objects(report, inspection, objects)
    return Partial.exit_code if short else 0


_UNTOLD = {
    Reject.KEYED: "made with a link key: --link-key KEYFILE explains them",
    Reject.TAG: "keyed, with a wrong tag",
    Reject.UNTAGGED: "without a tag",
    Reject.LENGTH: "keyed, and too short for a tag",
}


def _tell_untold(report: Report, inspection: Inspection) -> None:
    """What a receiver with this key, or without one, would refuse."""
    for why, count in sorted(inspection.untold.items()):
        report.result(f"{plural(count, 'frame')} not counted: {_UNTOLD[why]}")


def _nothing(inspection: Inspection) -> NothingHeard:
    if not inspection.untold:
        return NothingHeard("there is no frame in it", hint="is it a capture of line bytes?")
    hint = "--link-key takes the key of this link, made by: diode keygen NAME --link"
    return NothingHeard("there is no frame in it that counts", hint=hint)


def _url(capture: str) -> str:
    if capture == "-" or ":" in capture.partition("?")[0]:
        return capture
    scheme = "wav:" if capture.lower().endswith(SOUNDS) else "file:"
    return scheme + capture.replace("%", "%25").replace("?", "%3F")


def _read(
    report: Report,
    url: str,
    impair: str | None,
    decoder: Decoder,
    inspection: Inspection,
    tags: Tags,
    plot: Plot | None,
) -> int:
    medium = carrier.open_receiving(url, impair=impair, notice=report.warn)
    picture = _picture(medium) if plot is not None else None
    heard = 0
    try:
        with progress(report, "reading") as bar:
            while data := medium.read(None):
                heard += len(flat(data))
                for portion in portions(data, PIECE):
                    _take(report, decoder.feed(portion), inspection, tags)
                bar.update(heard, None, size(heard))
            _take(report, decoder.flush(), inspection, tags)
            if picture is not None and plot is not None:
                picture.flush()
                picture.draw(plot, url)
    finally:
        medium.close()
    return heard


def _plot(path: str, urls: tuple[str, ...]) -> Plot:
    """The picture to draw, while files can still be made."""
    if len(urls) > 1:
        raise UsageError("a picture shows one capture", hint=f"diode inspect {urls[0]}")
    if carrier.parse(urls[0]).scheme not in SOUND:
        raise UsageError(f"{urls[0]} has no sound to draw", hint="--plot goes with a sound file")
    return Plot(path)


def _picture(medium: carrier.ReceivingCarrier) -> Picture:
    """A picture of what a carrier of sound is about to hear."""
    from diode.cli.picture import Picture

    ear: Ear = getattr(medium, "ear")  # noqa: B009  carriers of sound have it
    picture = Picture(ear.modem, ear.rate)
    ear.overhear = picture.feed
    return picture


def _take(report: Report, batches: list[U8], inspection: Inspection, tags: Tags) -> None:
    inspection.take(batches)
    if report.verbose:
        for rows in batches:
            for row in rows:
                _tell_frame(report, row, _tag(row[None, :], tags))


def _tag(rows: U8, tags: Tags) -> str:
    """What there is to say of a frame's tag."""
    if rows[0, 0] >> 4 != TAGGED:
        return ""
    why: list[Reject] = []
    tags.accepted(rows, lambda reason, _: why.append(reason))
    unproved = {Reject.KEYED: ", keyed", Reject.TAG: ", keyed, wrong tag"}
    return unproved.get(why[0], ", keyed, too short") if why else ", keyed, right tag"


def _tell_frame(report: Report, row: U8, tag: str) -> None:
    """One frame on one line."""
    rows = row[None, :]
    kind = int(row[0]) & 0x0F
    if kind == Kind.COMPACT:
        compact = frame.parse_compact(rows)
        report.result(
            f"compact    {int(compact.sequence[0]):5d}  alias {int(compact.alias[0]):04x}  "
            f"block {int(compact.block[0])} symbol {int(compact.symbol[0])}  {len(row)} bytes{tag}"
        )
    elif len(row) >= frame.HEADER + frame.CHECK:
        full = frame.parse_full(rows)
        report.result(
            f"{_kind(kind):10s} {int(full.sequence[0]):5d}  "
            f"{int(full.sender[0]):08x}:{int(full.number[0])}  "
            f"block {int(full.block[0])} symbol {int(full.symbol[0])}  {len(row)} bytes{tag}"
        )


def _kind(kind: int) -> str:
    return Kind(kind).name.lower() if kind in _KINDS else f"kind-{kind}"


def _tell_objects(report: Report, inspection: Inspection, objects: dict[Key, Seen]) -> int:
    """What there is of each object; how many are short."""
    short = 0
    for key, seen in sorted(objects.items()):
        short += _tell_object(report, key, seen)
    for name, seen in sorted(inspection.aliases.items()):
        short += 1
        report.event("alias", alias=name, data_frames=seen.data_frames)
        report.result(
            f"alias {name:04x}: {plural(seen.data_frames, 'data frame')} without a manifest"
        )
    for sender, reception in sorted(inspection.senders.items()):
        report.event("sender", sender=sender, lost=reception.lost)
        report.result(f"sender {sender:08x}: {reception.lost:,} frames lost")
    return short


def _tell_object(report: Report, key: Key, seen: Seen) -> int:
    manifest = seen.manifest
    if manifest is None:
        report.event(
            "object", sender=key.sender, number=key.number, name=None, data_frames=seen.data_frames
        )
        report.result(f"{key}: {plural(seen.data_frames, 'data frame')} without a manifest")
        return 1
    cut = manifest.geometry
    recoverable, lacking = seen.recoverable()
    report.event(
        "object",
        sender=key.sender,
        number=key.number,
        name=None if manifest.concealed else escape(manifest.name),
        size=manifest.size,
        sha256=None if manifest.concealed else manifest.digest.hex(),
        encrypted=manifest.encrypted,
        void=seen.void,
        code=code_name(manifest),
        k=cut.k,
        symbol_size=cut.symbol_size,
        blocks=cut.blocks,
        blocks_recoverable=recoverable,
        symbols_lacking=lacking,
        manifests=seen.manifests,
        data_frames=seen.data_frames,
        repeated=seen.repeated,
    )
    what = "directory" if manifest.type == Type.DIRECTORY else size(manifest.size)
    if seen.void:
        state = "void: its source failed"
    elif lacking:
        state = (
            f"{recoverable} of {plural(cut.blocks, 'block')} recoverable, {lacking:,} symbols short"
        )
    else:
        state = "complete"
    name = "encrypted, name not known here" if manifest.concealed else escape(manifest.name)
    digest = "" if manifest.concealed else f"; sha256 {manifest.digest.hex()[:16]}"
    report.result(f"{key}  {name}, {what}: {state}")
    report.result(
        f"    {code_name(manifest)}, {plural(cut.blocks, 'block')} of {cut.k} x {cut.symbol_size} "
        f"bytes; {plural(seen.manifests, 'manifest')}, {plural(seen.data_frames, 'data frame')} "
        f"({seen.repeated:,} repeated){digest}"
    )
    return int(lacking > 0 and not seen.void)
