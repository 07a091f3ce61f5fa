"""A headless Chromium, for tests of pages; they skip aloud where there is none."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    """A browser of playwright's."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not there: pip install playwright"
    )
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no browser: sudo apt install chromium")
    with playwright.sync_playwright() as driver:
        # Its own sandbox needs user namespaces, and these tests may be root's.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
