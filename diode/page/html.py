"""HTML as a value: text is escaped where it becomes HTML, here and nowhere else."""

from __future__ import annotations

import html
from typing import NamedTuple


class Html(NamedTuple):
    """Markup that is right as it stands."""

    text: str


def element(name: str, *children: Html | str, **attributes: str | float | bool) -> Html:
    """An element. Attributes: `class_` is class, `data_of` data-of; True has no value, False is
    left out.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    inside = joined(*children).text
    return Html(f"<{name}{given}>{inside}</{name}>")


def joined(*parts: Html | str) -> Html:
    return Html("".join(p.text if isinstance(p, Html) else html.escape(p) for p in parts))


def _attribute(key: str, value: str | float | bool) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
