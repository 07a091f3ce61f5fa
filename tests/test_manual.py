"""The manual: pages that say what the command line says, in roff that is right."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import msgspec
import pytest

import diode as package
from diode.cli import diode
from diode.errors import DiodeError

ROOT = Path(__file__).resolve().parents[1]
MANUAL = ROOT / "manual"
SHARE = ROOT / "share/man"
sys.path.insert(0, str(MANUAL))

import configuration  # noqa: E402
import make_pages  # noqa: E402
import roff  # noqa: E402

PAGES = sorted(str(p.relative_to(SHARE)) for p in SHARE.glob("man*/*"))
TROUBLE = MANUAL / "diode-troubleshooting.7.md"


def test_pages_are_what_the_command_line_says() -> None:
    head = (SHARE / "man1/diode.1").read_text().splitlines()[0]
    if roff.made_with() not in head:
        pytest.skip(f"the pages were made with another click: {head}")
    made = make_pages.pages()
    assert sorted(made) == PAGES, "make man"
    stale = [name for name, text in made.items() if (SHARE / name).read_text() != text]
    assert not stale, "make man"


def test_every_verb_has_a_page() -> None:
    names = {make_pages.page_name(c) for c, _ in make_pages.commands(diode, "diode", None)}
    assert {"diode", "diode-send", "diode-recv", "diode-linktest-recv"} <= names
    assert {f"man1/{name}.1" for name in names} == {p for p in PAGES if p.startswith("man1/")}


@pytest.mark.parametrize("name", PAGES)
def test_roff_is_right(name: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed (apt install mandoc)")
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", SHARE / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", PAGES)
def test_groff_has_no_warnings(name: str) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed (apt install man-db groff)")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", SHARE / name],
        capture_output=True,
        text=True,
        check=False,
    )
    if "minimized" in done.stdout:
        pytest.skip("man is not the real one here (unminimize)")
    assert (done.returncode, done.stderr) == (0, "")


HOSTILE = [
    ".so /etc/passwd",
    "'so /etc/passwd",
    r"\fBbold\fP \n[.x] \\ \e",
    '--dry-run -v a-b ~/x ^ ` \' "quoted"',
    "… µ é 漢 ‑",
    '.\\" a comment',
    "   .TH x",
]


@pytest.mark.parametrize("tool", ["mandoc", "groff"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_characters_mean_themselves(tool: str, text: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    body = [".SH NAME", "x \\- y", ".SH A", roff.example(text), ".SH B", roff.prose(text)]
    source = roff.page("x", 1, "2026-01-01", "1", body)
    command = {
        "mandoc": ["mandoc", "-Tutf8", "-O", "width=200"],
        "groff": ["groff", "-man", "-Tutf8", "-P-c", "-rLL=200n"],
    }[tool]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=True)
    shown = re.sub("(.)\b\\1|_\b", r"\1", done.stdout.decode())
    shown = re.sub("\x1b\\[[0-9;]*m", "", shown)
    example = shown.partition("\nA\n")[2].partition("\nB\n")
    assert text.strip() in example[0]
    assert " ".join(text.split()) in example[2]


def test_what_is_not_known_is_no_silent_loss() -> None:
    for text in ("> a quotation", "1. first", "![picture](x)", "<b>html</b>\n"):
        with pytest.raises((ValueError, KeyError)):
            roff.markdown(text)


def test_exit_codes_are_those_of_the_errors() -> None:
    codes = make_pages.exit_codes()
    assert list(codes) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 130]
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)) >= {str(c) for c in codes}


def test_every_key_of_a_configuration_is_told() -> None:
    config = configuration.module()
    if config is None:
        pytest.skip("this version has no diode run")
    text = make_pages.pages()["man5/diode-run.toml.5"]
    for struct in (config.Sender, config.Receiver, config.Drop, config.Carousel, config.Metrics):
        for field in msgspec.structs.fields(struct):
            told = rf"\.TP\n\\fB{re.escape(roff.escape(field.encode_name))}\\fR\n\w"
            assert re.search(told, text), f"{struct.__name__}.{field.name} says nothing"


def test_examples_of_a_configuration_are_ones() -> None:
    config = configuration.module()
    if config is None:
        pytest.skip("this version has no diode run")
    text = (MANUAL / "diode-run.toml.5.md").read_text()
    examples = re.findall(r"(?:^    .*\n|^\n)+", text, re.MULTILINE)
    examples = [textwrap.dedent(e) for e in examples if "= " in e]
    assert len(examples) == 2
    for example in examples:
        config.parse(example.encode(), "example")


# Help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [c.command_path for c, _ in make_pages.commands(diode, "diode", None)],
)
def test_help_leads_with_examples(path: str) -> None:
    """What it does in a sentence, then examples that begin with this verb."""
    (command,) = [c for x, c in make_pages.commands(diode, "diode", None) if x.command_path == path]
    said, examples = command.help.split("\n\n")[:2]
    assert said.strip()
    mark, *rows = examples.rstrip().split("\n")
    assert mark.strip() == "\b", "the second paragraph is no example"
    assert any(path in row for row in rows)


def examples() -> list[str]:
    """Every command in a help text."""
    found = []
    for _, command in make_pages.commands(diode, "diode", None):
        for text in make_pages._texts(command)[1]:
            found += [row.strip() for row in text.strip().split("\n")]
    return found


def commands_of(text: str) -> list[list[str]]:
    """The commands of `diode` in a line of shell, without what stands before and behind."""
    text = re.split(r"\s{3,}", text.strip())[0]
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|;<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words, found, current = list(lexer), [], []
    for word in [*words, "|"]:
        if set(word) <= set("|;<>()"):
            found.append(current)
            current = []
        else:
            current.append(word)
    return [c[c.index("diode") :] for c in found if "diode" in c]


def parses(words: list[str]) -> None:
    """The command line takes these words; click's error where it does not. Nothing is run."""
    command, context = diode, click.Context(diode, info_name="diode")
    words = words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        if not isinstance(command, click.Group):
            try:
                command.make_context(name, list(words), parent=context)
            except click.BadParameter as error:
                if "does not exist" not in error.message:  # a file of the example's is not here
                    raise
        else:
            context = click.Context(command, parent=context, info_name=name)


@pytest.mark.parametrize("text", examples())
def test_examples_of_help_texts_parse(text: str) -> None:
    for words in commands_of(text):
        parses(words)


def test_commands_are_found_in_lines() -> None:
    assert commands_of("tar c x | sudo diode send - --to -   a word # more") == [
        ["diode", "send", "-", "--to", "-"]
    ]
    assert commands_of("source <(diode completion bash)") == [["diode", "completion", "bash"]]
    assert commands_of("ls -l") == []


def test_a_wrong_option_does_not_parse() -> None:
    with pytest.raises((click.UsageError, DiodeError)):
        parses(shlex.split("diode send x --to - --no-such-option"))


# Troubleshooting --------------------------------------------------------------------------------


def entries() -> list[tuple[str, list[str]]]:
    """(what is seen, commands) of each entry."""
    parts = re.split(r"^### ", TROUBLE.read_text(), flags=re.MULTILINE)[1:]
    return [
        (
            part.split("\n")[0],
            [row.strip() for row in re.findall(r"^    (.+)$", part, re.MULTILINE)],
        )
        for part in parts
    ]


@pytest.mark.parametrize(("seen", "commands"), entries(), ids=[seen for seen, _ in entries()])
def test_troubleshooting(seen: str, commands: list[str]) -> None:
    """What it says a command says is in the code; what it says to type can be typed."""
    if message := re.fullmatch("`(.+)`", seen):
        assert message[1] in SOURCE, "no command says so"
    for text in commands:
        for words in commands_of(text):
            parses(words)
        first = text.removeprefix("sudo ").split()[0]
        assert first in KNOWN, text


SOURCE = "".join(p.read_text() for p in Path(package.__file__).parent.rglob("*.py"))
KNOWN = {
    *("diode", "/opt/diode/bin/diode", "/opt/diode/bin/pip", "pip", "python3"),
    *("stty", "timeout", "usermod", "fuser", "dmesg", "ls", "install", "chmod", "df", "pgrep"),
    *("systemctl", "journalctl", "sysctl"),
}


def test_most_entries_have_a_command_and_a_message() -> None:
    found = entries()
    assert len(found) >= 25
    assert [seen for seen, commands in found if not commands] == [
        "`this system cannot set a serial port to`",
        "`was delivered before`",
    ]
    assert sum(seen.startswith("`") for seen, _ in found) >= 20


def test_the_manual_is_linked() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "(manual/diode-troubleshooting.7.md)" in readme
