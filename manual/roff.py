"""Text and Markdown to roff, by the macros of man(7), which groff and mandoc both know.

Everything that is not ours to write is escaped: a backslash, a line that begins with a dot or an
apostrophe (which would be a request), a hyphen that must be a minus sign when it is copied, the
characters that groff turns into typographic ones, and all that is not ASCII.

Of Markdown what the texts here use: headings, paragraphs, lists, tables, indented or fenced
blocks; code, emphasis and links in a line. What else there is, is an error: a page must
not lose text without a word.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

_SPECIAL = {
    "\\": r"\(rs",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    '"': r"\(dq",
}
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def escape(text: str) -> str:
    """Text that means itself anywhere in a line but at its beginning."""
    return "".join(
        _SPECIAL.get(c, c) if c.isascii() else f"\\[u{ord(c):04X}]" for c in text if c >= " "
    )


def line(text: str) -> str:
    """Text that is escaped already, as a line of its own, which cannot be a request."""
    return rf"\&{text}" if text.startswith((".", "'")) else text


def bold(text: str) -> str:
    return rf"\fB{escape(text)}\fR"


def italic(text: str) -> str:
    return rf"\fI{escape(text)}\fR"


def prose(text: str) -> str:
    """A paragraph's text, options in it in bold."""
    words = " ".join(text.split())
    parts, last = [], 0
    for match in _OPTION.finditer(words):
        parts += [escape(words[last : match.start()]), bold(match[0])]
        last = match.end()
    return line("".join([*parts, escape(words[last:])]))


def example(text: str) -> str:
    """Lines as they are, indented."""
    rows = [line(escape(row)) for row in text.strip("\n").split("\n")]
    return "\n".join([".PP", ".RS 4", ".EX", *rows, ".EE", ".RE"])


def section(title: str) -> str:
    return f".SH {escape(title.upper())}"


def item(tag: str, text: str) -> str:
    """A term, as roff, and what it means, as roff."""
    return f".TP\n{line(tag)}\n{text}"


def made_with() -> str:
    """What the first line says: with another click help texts may have other words."""
    return f"Made by manual/make_pages.py, with click {importlib.metadata.version('click')}."


def page(name: str, number: int, date: str, version: str, body: list[str]) -> str:
    """A whole page."""
    title = f'.TH {escape(name.upper())} {number} {date} "diode {escape(version)}" "diode"'
    made = rf".\" {made_with()}"
    text = "\n".join([made, title, *body]) + "\n"
    return re.sub(r"^(\.S[HS] .*)\n\.PP$", r"\1", text, flags=re.MULTILINE)


def markdown(text: str) -> list[str]:
    """The body of a page. ValueError for what is not known here."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return list(_blocks(iter(tokens)))


def _blocks(tokens: Iterator[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "heading_open":
                macro = {"h1": ".SH", "h2": ".SH", "h3": ".SS"}[token.tag]
                yield f"{macro} {_inline(next(tokens)).removeprefix(chr(92) + '&')}"
            case "paragraph_open":
                yield f".PP\n{_inline(next(tokens))}"
            case "code_block" | "fence":
                yield example(token.content)
            case "bullet_list_open":
                yield from _list(tokens)
            case "table_open":
                yield from _table(tokens)
            case "heading_close" | "paragraph_close":
                pass
            case other:
                raise ValueError(f"{other} is not known here")


def _list(tokens: Iterator[Token]) -> Iterator[str]:
    """Each item is one paragraph."""
    for token in tokens:
        if token.type == "inline":
            yield f".IP \\(bu 2\n{_inline(token)}"
        elif token.type == "bullet_list_close":
            return
        elif token.type not in {
            *("list_item_open", "list_item_close", "paragraph_open", "paragraph_close"),
        }:
            raise ValueError(f"{token.type} in a list is not known here")


def _table(tokens: Iterator[Token]) -> Iterator[str]:
    """A row of two columns is a term and its meaning; the head is left out."""
    row: list[str] = []
    head = True
    for token in tokens:
        if token.type == "inline":
            row.append(_inline(token))
        elif token.type == "thead_close":
            head = False
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and not head:
            yield item(row[0], "\n".join(row[1:]))
        elif token.type == "table_close":
            return


def _inline(token: Token) -> str:
    """One paragraph's content."""
    parts: list[str] = []
    for child in token.children or []:
        match child.type:
            case "text":
                parts.append(escape(child.content))
            case "code_inline":
                parts.append(bold(child.content))
            case "em_open" | "strong_open":
                parts.append(r"\fI" if child.type == "em_open" else r"\fB")
            case "em_close" | "strong_close":
                parts.append(r"\fR")
            case "softbreak":
                parts.append("\n")
            case "link_open" | "link_close":
                pass  # links of these texts lead to other pages, and their text names them
            case other:
                raise ValueError(f"{other} is not known here")
    return "\n".join(line(row) for row in "".join(parts).split("\n"))
