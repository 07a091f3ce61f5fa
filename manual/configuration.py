"""The tables and keys of `diode run`'s configuration, from the structs that read it.

A key says what stands behind it in the source, or what the option of its name says of itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import typing
from typing import TYPE_CHECKING, Any

import click
import msgspec

import roff
from diode.cli import diode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PAGE = "diode-run.toml"
SIDES = {"sender": "send", "receiver": "recv"}
"""Tables, and whose options their keys are."""
OTHERWISE = {
    "Sender.bundle": "Whether small files go together as one object.",
    "Sender.drop": "Folders whose files are sent: one table [[sender.drop]] for each.",
    "Sender.heartbeat": "Time between two signs of life while there is nothing to send.",
    "Sender.records": "Sources of readings, diode-records(7).",
    "Sender.every": "Patterns of topics of which each record matters, such as alarms/#.",
    "Sender.records_away": "Raise the alarm when a source was away for so long.",
    "Sender.on_alarm": "A program to run when an alarm is raised or cleared, without a shell.",
    "Receiver.records_to": "Where readings go, diode-records(7).",
    "Sender.passes": "Times everything is sent, with fresh parity.",
    "Receiver.inbox": "A folder, or a store (s3://...).",
    "Receiver.on_delivery": "A program to run after each delivery, without a shell.",
    "Receiver.on_alarm": "A program to run when an alarm is raised or cleared, without a shell.",
    "Drop.folder": "The folder. A file in it is sent once it does not change any more.",
    "Drop.subfolders": "What folders in it are: a part of names, or priorities, 0 to 9.",
    "Drop.settle": "How long a file must not have changed.",
    "Drop.passes": "Times its files are sent; those of the sender if not given.",
    "Drop.after": "What becomes of a file that was sent: delete, move to sent/, keep.",
    "AtMost.files": "So many files at once, or spread over the time.",
    "AtMost.per": "The time.",
    "Carousel.last": "Repeat so many objects.",
    "Carousel.seconds": "Repeat what was sent within that time.",
    "Metrics.textfile": "A file for the node exporter, written anew each second.",
    "Metrics.listen": "Address and port of this machine to answer Prometheus at.",
}
"""What the option of the name does not say, or says otherwise."""


def module() -> ModuleType | None:
    """The one that reads configurations; None where this version has none."""
    try:
        return importlib.import_module("diode.service.config")
    except ModuleNotFoundError:
        return None


def sections(config: ModuleType) -> Iterator[str]:
    """The body of the page: a section for each table, and for the tables within them."""
    inner: dict[str, type] = {}
    for name, verb in SIDES.items():
        struct = getattr(config, name.capitalize())
        yield f".SH {roff.escape(f'[{name}]')}"
        yield from _keys(struct, _options(verb), inner)
    told: set[str] = set()
    while title := next((title for title in inner if title not in told), ""):
        told.add(title)
        struct = inner[title]
        yield f".SH {roff.escape(title)}"
        yield roff.prose(inspect.getdoc(struct) or "")
        yield from _keys(struct, {}, inner)


def _options(verb: str) -> dict[str, str]:
    """What the options of a verb say, by name."""
    command = diode.get_command(click.Context(diode), verb)
    assert command is not None
    found = {}
    for param in command.params:
        for name in param.opts:
            found[name.lstrip("-")] = getattr(param, "help", None) or ""
    return found


def _keys(struct: type, options: dict[str, str], inner: dict[str, type]) -> Iterator[str]:
    told, hints = _told(struct), typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        for table in _tables(hints[field.name]):
            title = f"[[sender.{field.encode_name}]]" if table.__name__ == "Drop" else ""
            inner.setdefault(title or f"The table {field.encode_name}", table)
            told.setdefault(field.name, inspect.getdoc(table) or "")
        other = OTHERWISE.get(f"{struct.__name__}.{field.name}")
        says = other or told.get(field.name) or options.get(field.encode_name) or ""
        parts = [says.partition("  [default")[0].strip(), _default(field)]
        yield roff.item(roff.bold(field.encode_name), roff.prose(" ".join(filter(None, parts))))


def _told(struct: type) -> dict[str, str]:
    """The string behind each field in the source."""
    (definition,) = ast.parse(inspect.getsource(struct)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, behind in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(behind, ast.Expr):
            text = ast.literal_eval(behind.value)
            found[ast.unparse(field.target)] = " ".join(text.split())
    return found


def _tables(kind: Any) -> Iterator[type]:
    """The structs in an annotation."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in typing.get_args(kind):
        yield from _tables(part)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "Required."
    value = field.default
    if value in (None, msgspec.NODEFAULT):
        return ""
    shown = {
        "Seconds": lambda: f"{value / 86400:g}d" if value >= 86400 else f"{value:g}s",
        "Share": lambda: f"{value:.0%}",
        "Mode": lambda: f"{value:04o}",
        "Bytes": lambda: f"{value >> 20}MiB" if value % (1 << 20) == 0 else f"{value // 10**6}MB",
        "bool": lambda: str(value).lower(),
    }.get(type(value).__name__, lambda: str(value))
    return f"[default: {shown()}]"
