"""Make what share/ has for other programs, the manual and completions: `make man`.

A page for each verb comes from the command line's own definitions, so that it says what `--help`
says. What stands in a file NAME.SECTION.md beside this one becomes a page of that name; diode.1.md
is added to the page of the program. `tests/test_manual.py` holds share/man against this.

For the completions see diode/cli/completion.py; here they get their places.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import configuration
import roff
from diode import errors
from diode.cli import INTERRUPTED, completion, diode

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
OUT = HERE.parent / "share" / "man"
DATE = "2026-11-26"
"""Of the last change that readers would want to know of: a page must not change by itself."""
VERSION = importlib.metadata.version("diode-fec")
EXTRA = "diode.1.md"
COMPLETIONS = {
    "bash": "bash-completion/completions/diode",
    "zsh": "zsh/site-functions/_diode",
    "fish": "fish/vendor_completions.d/diode.fish",
}
"""Where shells look for them, below share/."""


def commands(command: click.Command, name: str, parent: click.Context | None) -> Iterator:
    """(context, command) of a command and all below it."""
    context = click.Context(command, parent, name, **command.context_settings)
    yield context, command
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from commands(found, child, context)


def page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _texts(command: click.Command) -> tuple[list[str], list[str]]:
    """The paragraphs of a help text, and its examples."""
    paragraphs, examples = [], []
    for part in (command.help or "").replace("\r", "").split("\n\n"):
        rows = part.split("\n")
        if rows[0].strip() == "\b":
            examples.append("\n".join(row.removeprefix("  ") for row in rows[1:]))
        elif part.strip():
            paragraphs.append(part)
    return paragraphs, examples


def _option(record: tuple[str, str]) -> str:
    """An option as `--help` has it: names, what follows them, text."""
    names, text = record
    shown = []
    for word in names.split(" "):
        comma = "," if word.endswith(",") else ""
        bare = word.removesuffix(",")
        shown.append((roff.bold(bare) if bare.startswith("-") else roff.italic(bare)) + comma)
    return roff.item(" ".join(shown), roff.prose(text or "Not described."))


def _references(names: list[tuple[str, int]]) -> str:
    return ",\n".join(rf"\fB{roff.escape(name)}\fR({number})" for name, number in names)


def _synopsis(context: click.Context, command: click.Command) -> str:
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"{roff.bold(context.command_path)} {roff.italic(pieces)}"


def _verb(context: click.Context, command: click.Command) -> list[str]:
    """What all pages of commands have."""
    paragraphs, examples = _texts(command)
    short = command.get_short_help_str(limit=200).rstrip(".")
    body = [
        roff.section("name"),
        f"{roff.escape(page_name(context))} \\- {roff.escape(short)}",
        roff.section("synopsis"),
        _synopsis(context, command),
        roff.section("description"),
        *(".PP\n" * bool(number) + roff.prose(text) for number, text in enumerate(paragraphs)),
    ]
    records = [
        record for p in command.get_params(context) if (record := p.get_help_record(context))
    ]
    if records:
        body += [roff.section("options"), *map(_option, records)]
    if isinstance(command, click.Group):
        body += [roff.section("commands"), *_children(context, command)]
    if examples:
        body += [roff.section("examples"), *map(roff.example, examples)]
    return body


def _children(context: click.Context, group: click.Group) -> Iterator[str]:
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        if child is not None and not child.hidden:
            path = f"{page_name(context)}-{name}"
            tag = rf"\fB{roff.escape(path)}\fR(1)"
            yield roff.item(tag, roff.prose(child.get_short_help_str(limit=200)))


def exit_codes() -> dict[int, str]:
    """What each exit code means, from the errors that have it."""
    found = {0: "All well.", INTERRUPTED: "Interrupted."}
    todo = [errors.DiodeError]
    for error in todo:
        found.setdefault(error.exit_code, " ".join((error.__doc__ or "").split()))
        todo += error.__subclasses__()
    return dict(sorted(found.items()))


def _exit_status() -> list[str]:
    rows = [roff.item(str(code), roff.prose(text)) for code, text in exit_codes().items()]
    return [roff.section("exit status"), *rows]


def pages() -> dict[str, str]:
    """All pages: `man1/diode-send.1` to its text."""
    config = configuration.module()
    texts = {file.name: file.read_text() for file in sorted(HERE.glob("*.[1-8].md"))}
    if config is None:
        del texts[f"{configuration.PAGE}.5.md"]
    others = [(name, int(number)) for name, number in (_split(f) for f in texts if f != EXTRA)]
    found = {}
    for context, command in commands(diode, "diode", None):
        body = _verb(context, command)
        see = [("diode", 1), *others]
        if context.parent is None:
            body += [*_exit_status(), *roff.markdown(texts[EXTRA])]
            see = others
        body += [roff.section("see also"), _references(see)]
        name = page_name(context)
        found[f"man1/{name}.1"] = roff.page(name, 1, DATE, VERSION, body)
    for file, text in texts.items():
        if file != EXTRA:
            name, number = _split(file)
            keys = configuration.sections(config) if name == configuration.PAGE and config else ()
            see = [roff.section("see also"), _references([("diode", 1)])]
            body = [*roff.markdown(text), *keys, *see]
            path = f"man{number}/{name}.{number}"
            found[path] = roff.page(name, int(number), DATE, VERSION, body)
    return found


def _split(file: str) -> tuple[str, str]:
    """`diode-troubleshooting.7.md`: its name and section."""
    name, number = file.removesuffix(".md").rsplit(".", 1)
    return name, number


def main() -> int:
    for shell, path in COMPLETIONS.items():
        file = OUT.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(completion.script(shell))
    made = pages()
    for old in OUT.glob("man*/*"):
        if f"{old.parent.name}/{old.name}" not in made:
            old.unlink()
    for path, text in made.items():
        (OUT / path).parent.mkdir(parents=True, exist_ok=True)
        (OUT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
