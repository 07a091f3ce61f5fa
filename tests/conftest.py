from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder with the command line in it."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()
