"""What `diode run` is to do: one TOML file that describes a sender or a receiver.

Keys are those of the command line's options and mean the same. What cannot be decided from the file
alone (whether folders and keys are there) is not decided here.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from diode import carrier, endpoint, flow
from diode.errors import ConfigurationError, DiodeError, UsageError
from diode.objects import escape
from diode.plan import Settings
from diode.service import strict
from diode.service.strict import Bytes, Mistake, Mode, Seconds, Share, Within
from diode.source.allowing import AllowList
from diode.topics import Patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGEST = 1 << 20
"""Bytes of a configuration."""
DAYS = 3650.0
_Asked = dict[str, str | list[str] | None]
Sandbox = Literal["auto", "required", "off"]
Long = Annotated[Seconds, Within(0, DAYS * 86400, "a time up to ten years, such as 2s or 7d")]
Positive = Annotated[
    Seconds, Within(0.001, DAYS * 86400, "a time from 1ms to ten years, such as 2s or 7d")
]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A table of the file."""


class Metrics(_Table, frozen=True):
    """Where Prometheus finds the numbers."""

    textfile: str | None = None
    listen: str | None = None


class Carousel(_Table, frozen=True):
    """What is repeated while there is nothing new: the last N objects, those of so much time."""

    last: Annotated[int, Within(1, 1_000_000, "a whole number from 1 to 1,000,000")] | None = None
    seconds: Positive | None = msgspec.field(default=None, name="for")


class AtMost(_Table, frozen=True):
    """How many files of a drop folder may cross in a time; the others wait."""

    files: Annotated[int, Within(1, 1_000_000, "a whole number from 1 to 1,000,000")]
    per: Positive = Seconds(3600)


class Drop(_Table, frozen=True):
    """A drop folder."""

    folder: str
    priority: Annotated[int, Within(0, 9, "a whole number from 0 to 9")] = 0
    """Higher goes first."""
    weight: Annotated[float, Within(0.001, 1000, "a number from 0.001 to 1000")] = 1.0
    """Its share among those of its priority."""
    subfolders: Literal["names", "priorities"] = "names"
    settle: Annotated[Seconds, Within(0, 86400, "a time up to a day, such as 2s")] = Seconds(2)
    passes: Annotated[int, Within(1, 1_000_000, "a whole number from 1 to 1,000,000")] | None = None
    """Those of the sender where none are given."""
    after: Literal["delete", "move", "keep"] = "keep"
    only: str | list[str] = msgspec.field(default_factory=list)
    """Patterns of names, such as *.sig, that may cross; all others stay and are told of."""
    max_size: Bytes | None = None
    """Files with more bytes may not cross."""
    at_most: AtMost | None = None

    @property
    def allowed(self) -> AllowList:
        """What may cross."""
        most = None if self.at_most is None else (self.at_most.files, float(self.at_most.per))
        return AllowList(_many(self.only), self.max_size, most)


class Sender(_Table, frozen=True):
    """The sending side."""

    to: str | list[str]
    drop: list[Drop] = msgspec.field(default_factory=list)
    records: str | list[str] = msgspec.field(default_factory=list)
    """Sources of records."""
    every: list[str] = msgspec.field(default_factory=list)
    """Patterns of topics of which each record matters."""
    records_away: Positive = Seconds(60)
    """A source that is away for so long is an alarm."""
    state: str | None = None
    line: Literal["cobs", "rs"] | None = None
    code: Literal["zfec", "repeat", "raptorq", "leopard"] | None = None
    redundancy: Annotated[Share, Within(0, 100, "a share from 0% to 10000%")] | None = None
    loss: Annotated[Share, Within(0, 1, "a share from 0% to 100%")] | None = None
    passes: Annotated[int, Within(1, 1_000_000, "a whole number from 1 to 1,000,000")] = 1
    burst: Annotated[Seconds, Within(0, 3600, "a time up to an hour, such as 500ms")] = Seconds(0.5)
    symbol_size: Annotated[int, Within(1, 65535, "a whole number from 1 to 65,535")] | None = None
    keep_order: bool = False
    bundle: bool = True
    cbr: bool = False
    sign: str | None = None
    encrypt_to: str | list[str] = msgspec.field(default_factory=list)
    link_key: str | None = None
    jobs: Annotated[int, Within(0, 64, "a whole number from 0 to 64")] = 0
    sandbox: Sandbox = "auto"
    impair: str | None = None
    heartbeat: Annotated[Seconds, Within(0.1, 86400, "a time from 100ms to a day, such as 10s")] = (
        Seconds(10)
    )
    carousel: Carousel | None = None
    on_alarm: str | list[str] | None = None
    metrics: Metrics | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        return _many(self.to)

    @property
    def sources(self) -> tuple[str, ...]:
        """Of records."""
        return _many(self.records)

    @property
    def commands(self) -> dict[str, list[str]]:
        """The programs to run, by kind; words of a command line, no shell."""
        return _commands({"alarm": self.on_alarm})

    @property
    def recipients(self) -> tuple[str, ...]:
        return _many(self.encrypt_to)

    @property
    def carousel_kept(self) -> flow.Carousel:
        """How much of what was sent is sent again."""
        asked = self.carousel
        return flow.NOTHING_KEPT if asked is None else flow.Carousel(asked.last, asked.seconds)

    @property
    def settings(self) -> Settings:
        """What planning is asked for. UsageError where it contradicts itself."""
        return Settings(
            self.code,
            self.redundancy,
            self.passes,
            self.burst,
            self.symbol_size,
            self.keep_order,
            self.loss,
            bundle=self.bundle,
        )


class Receiver(_Table, frozen=True):
    """The receiving side."""

    from_: str | list[str] = msgspec.field(name="from")
    inbox: str
    state: str | None = None
    require_state: str | None = None
    line: Literal["auto", "cobs", "rs"] | None = None
    verify: str | list[str] = msgspec.field(default_factory=list)
    identity: str | list[str] = msgspec.field(default_factory=list)
    link_key: str | None = None
    names: Literal["safe", "exact"] = "safe"
    mode: Mode = Mode(0o440)
    max_object: Bytes | None = None
    quota: Bytes = Bytes(2_000_000_000)
    expire: Positive = Seconds(7 * 86400)
    ordered: bool = False
    give_up_after: Positive | None = None
    buffer: Annotated[Bytes, Within(1 << 16, 1 << 30, "a size from 64KiB to 1GiB")] = Bytes(1 << 25)
    sandbox: Sandbox = "auto"
    impair: str | None = None
    records_to: str | list[str] = msgspec.field(default_factory=list)
    """Sinks of records."""
    records_away: Positive = Seconds(60)
    """A sink that takes nothing for so long is an alarm."""
    silence: Positive | None = None
    """Nothing heard for so long is an alarm."""
    on_delivery: str | list[str] | None = None
    hook_timeout: Positive = Seconds(600)
    hook_folder: str | None = None
    """Where the command of on-delivery starts."""
    on_alarm: str | list[str] | None = None
    metrics: Metrics | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        return _many(self.from_)

    @property
    def commands(self) -> dict[str, list[str]]:
        """The programs to run, by kind; words of a command line, no shell."""
        return _commands(self.asked)

    @property
    def asked(self) -> _Asked:
        """The same as they were written."""
        return {"delivery": self.on_delivery, "alarm": self.on_alarm}

    @property
    def verifiers(self) -> tuple[str, ...]:
        return _many(self.verify)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Of records."""
        return _many(self.records_to)

    @property
    def identities(self) -> tuple[str, ...]:
        return _many(self.identity)


class Config(_Table, frozen=True):
    """The whole file."""

    sender: Sender | None = None
    receiver: Receiver | None = None


def read(path: str) -> Config:
    """The configuration in a file. ConfigurationError with all that is wrong with it."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{escape(path)}: {os.strerror(error.errno or 0)}",
            hint="diode run --example sender > sender.toml",
        ) from error
    return parse(content, path)


def parse(content: bytes, path: str) -> Config:
    """The configuration in these bytes of that file. ConfigurationError."""
    if len(content) > LARGEST:
        _fail(path, [Mistake("", f"this is no configuration: more than {LARGEST:,} bytes")])
    try:
        tables = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        _fail(path, [Mistake("", f"line {line} is not UTF-8")])
    except tomllib.TOMLDecodeError as error:
        _fail(path, [Mistake("", f"not TOML: {escape(str(error))}")])
    except RecursionError:
        _fail(path, [Mistake("", "not a configuration: tables nested without end")])
    found: list[Mistake] = []
    config = strict.convert(tables, Config, "", found)
    if not found:
        found += mistakes(config)
    if found:
        _fail(path, found)
    assert isinstance(config, Config)
    return config


def mistakes(config: Config) -> Iterator[Mistake]:
    """What contradicts itself, or cannot be."""
    if (config.sender is None) == (config.receiver is None):
        both = "both are" if config.sender else "neither is"
        yield Mistake("", f"expected one of the tables [sender] and [receiver], {both} there")
    elif config.sender is not None:
        yield from _of_sender(config.sender)
    elif config.receiver is not None:
        yield from _of_receiver(config.receiver)


def _of_sender(sender: Sender) -> Iterator[Mistake]:
    yield from _of_urls("sender.to", sender.urls)
    if sender.cbr and len(sender.urls) > 1:
        yield Mistake("sender.cbr", "a constant rate has one lane, and several URLs are given")
    if sender.loss is not None and sender.redundancy is not None:
        yield Mistake("sender.loss", "loss and redundancy contradict each other; give one of them")
    else:
        yield from _asked("sender", lambda: sender.settings)
    one = sender.carousel
    if one is not None and one.last is None and one.seconds is None:
        yield Mistake("sender.carousel", 'expected "last", "for" or both; found neither')
    if not (sender.drop or sender.sources):
        yield Mistake("sender.drop", "expected one drop folder or more, or records; found none")
    yield from _of_records(sender)
    yield from _of_commands("sender", {"alarm": sender.on_alarm})
    taken = {"the state folder": _whole(sender.state)} if sender.state else {}
    for number, drop in enumerate(sender.drop, 1):
        here, path = f"sender.drop[#{number}].folder", _whole(drop.folder)
        for other, there in taken.items():
            if path == there:
                yield Mistake(here, f"{strict.shown(drop.folder)} is {other} already")
            elif os.path.commonpath((path, there)) in (path, there):
                yield Mistake(
                    here, f"{strict.shown(drop.folder)} and {other} are inside each other"
                )
        taken[f"that of drop folder #{number}"] = path


def _of_records(sender: Sender) -> Iterator[Mistake]:
    if sender.every and not sender.sources:
        yield Mistake("sender.every", "this goes with records")
    if sender.sources and sender.recipients:
        yield Mistake("sender.records", "records are not encrypted, as encrypt-to asks for")
    if any(_is_standard(source) for source in sender.sources):
        yield Mistake("sender.records", 'a service has no use for standard input: "-"')
    for pattern in sender.every:
        yield from _asked("sender.every", partial(Patterns, (pattern,)))
    for source in sender.sources:
        yield from _asked("sender.records", partial(endpoint.parse, source, {}))


def _of_receiver(receiver: Receiver) -> Iterator[Mistake]:
    yield from _of_urls("receiver.from", receiver.urls)
    if receiver.give_up_after is not None and not receiver.ordered:
        yield Mistake("receiver.give-up-after", "this goes with ordered = true")
    yield from _of_sinks(receiver)
    if receiver.inbox == "-":
        yield Mistake("receiver.inbox", 'expected a folder or a store, found "-"')
    if "://" in receiver.inbox and receiver.state is None:
        yield Mistake("receiver.state", "what waits for a store has to lie in a folder: name one")
    if "://" in receiver.inbox and receiver.names == "exact":
        yield Mistake("receiver.names", 'stores do not take every byte; expected "safe"')
    yield from _of_commands("receiver", receiver.asked)


def _of_sinks(receiver: Receiver) -> Iterator[Mistake]:
    if receiver.sinks and receiver.verifiers and receiver.link_key is None:
        yield Mistake("receiver.records-to", "records are not signed; link-key vouches for them")
    if any(_is_standard(sink) for sink in receiver.sinks):
        yield Mistake("receiver.records-to", 'a service has no use for standard output: "-"')
    for sink in receiver.sinks:
        yield from _asked("receiver.records-to", partial(endpoint.parse, sink, {}))


def _of_commands(role: str, asked: _Asked) -> Iterator[Mistake]:
    for kind, words in asked.items():
        try:
            if words is not None and not _commands({kind: words})[kind]:
                yield Mistake(f"{role}.on-{kind}", "expected a program, found nothing")
        except ValueError as error:  # a quotation mark is not closed
            yield Mistake(f"{role}.on-{kind}", f"not a command: {str(error).lower()}")


def _of_urls(path: str, urls: tuple[str, ...]) -> Iterator[Mistake]:
    if not urls:
        yield Mistake(path, "expected one URL or more, found none")
    for url in urls:
        if urls.count(url) > 1:
            yield Mistake(path, f"{strict.shown(url)} is given twice")
            return
        if _is_standard(url):
            yield Mistake(path, f"a service has no use for standard input and output: {url!r}")
        else:
            yield from _asked(path, partial(carrier.facts, url))


def _is_standard(url: str) -> bool:
    """Whether the link would be standard input or output."""
    return url.partition("?")[0] in ("-", "pcm:-", "wav:-", "file:-")


def _asked(path: str, ask: Callable[[], object]) -> Iterator[Mistake]:
    """What others say about a value."""
    try:
        ask()
    except UsageError as error:
        yield Mistake(path, f"{error}{f' ({error.hint})' if error.hint else ''}")
    except DiodeError as error:
        yield Mistake(path, str(error))


def _commands(asked: _Asked) -> dict[str, list[str]]:
    return {
        kind: shlex.split(words) if isinstance(words, str) else words
        for kind, words in asked.items()
        if words is not None
    }


def _many(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _whole(path: str) -> str:
    return os.path.realpath(path)


def _fail(path: str, found: list[Mistake]) -> None:
    lines = [f"{escape(path)}: {mistake}" for mistake in found]
    raise ConfigurationError("\n".join(lines), hint="diode run --example sender|receiver shows how")
