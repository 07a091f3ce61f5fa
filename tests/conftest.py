from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Shell
from hypothesis.configuration import set_hypothesis_home_dir

# What it keeps would lie in the source tree otherwise, with the paths of whoever ran the tests.
set_hypothesis_home_dir(str(Path(tempfile.gettempdir()) / "diode-hypothesis"))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder with the command line in it."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()
