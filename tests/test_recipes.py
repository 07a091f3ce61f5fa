"""The recipes as text: each is complete, and what it says to type can be typed.

That they do what they say is for `make test-recipes`, with the programs they are about.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from test_manual import commands_of, parses

RECIPES = Path(__file__).parents[1] / "recipes"
FOLDERS = sorted(path for path in RECIPES.iterdir() if path.name[0].isdigit())
NAMES = [path.name for path in FOLDERS]


def typed(page: Path) -> list[str]:
    """The indented lines of a page, those that go on with the next joined to it."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(r"^ {4,}(?:\w+\$\s+)?(.+)$", text, re.MULTILINE)
    return [line for line in lines if "──" not in line]


def test_each_is_in_the_table() -> None:
    table = re.findall(
        r"^\| \[([^]]+)\]\(([^)]+)\)", (RECIPES / "README.md").read_text(), re.MULTILINE
    )
    assert table == [(name, name) for name in NAMES]
    assert len(NAMES) == 12


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_a_recipe_is_complete(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert "**On loss:**" in page
    assert len(page.splitlines()) <= 60, "a page"
    assert (folder / "test.sh").exists()
    for link in re.findall(r"\]\(([^):]+)\)", page):
        assert (folder / link.partition("#")[0]).exists(), link
    beside = {path.name for path in folder.iterdir()} - {"README.md", "test.sh"}
    assert all(f"({name})" in page for name in beside), f"{beside} are not all told of"


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_what_it_says_to_type_parses(folder: Path) -> None:
    found = [words for line in typed(folder / "README.md") for words in commands_of(line)]
    assert found
    for words in found:
        given = [*words[: words.index("…")], "--to", "-"] if "…" in words else words
        parses(given[: given.index("&&")] if "&&" in given else given)


SCRIPTS = sorted(
    path for path in RECIPES.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_scripts_are_scripts(script: Path) -> None:
    shell = script.read_text().partition("\n")[0].rpartition("/")[2].removeprefix("env ")
    assert shell in {"sh", "bash"}
    assert os.access(script, os.X_OK) or script.name == "test.sh"
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
